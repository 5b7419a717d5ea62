//! What one shard did for the clients of a pool: counted on its thread, read by who looks.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::classes::ErrorClasses;
use crate::histogram::Histogram;

/// A number that one thread counts up.
#[derive(Debug, Default)]
pub(super) struct Counter(Cell<u64>);

impl Counter {
    #[inline]
    pub(super) fn add(&self, more: u64) {
        self.0.set(self.0.get().wrapping_add(more));
    }

    pub(super) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Of what [`PoolCounts`](super::PoolCounts) says, all that only grows.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) checkouts: Counter,
    pub(super) queries: Counter,
    pub(super) transactions: Counter,
    pub(super) query_time: Cell<Duration>,
    pub(super) transaction_time: Cell<Duration>,
    pub(super) client_parses: Counter,
    pub(super) server_parses: Counter,
    pub(super) binds: Counter,
    pub(super) errors: Counter,
    pub(super) error_classes: RefCell<ErrorClasses>,
    pub(super) waits: RefCell<Histogram>,
    pub(super) timeouts: Counter,
    pub(super) from_clients: Counter,
    pub(super) from_servers: Counter,
}
