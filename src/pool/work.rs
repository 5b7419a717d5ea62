//! What one shard did for the clients of a pool: counted on its thread, read by who looks.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::Instant;

use super::classes::ErrorClasses;
use super::conn::Conn;
use super::local::LocalPool;
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

impl LocalPool {
    /// A client's messages went to the server, which has something to do for it.
    #[inline]
    pub fn server_works(&self, conn: &Conn) {
        let activity = &conn.tether().activity;
        if !activity.is_at_work() {
            activity.begins(Instant::now());
        }
    }

    /// Counts a client's query that was answered, and the transaction if that ended with it. `more`: the server
    /// still works for the client.
    #[inline]
    pub fn count_answer(&self, conn: &Conn, ends_transaction: bool, more: bool) {
        let work = &self.work;
        let spent = conn.tether().activity.answered(Instant::now(), ends_transaction, more);
        work.queries.add(1);
        work.query_time.set(work.query_time.get().saturating_add(spent.query));
        if ends_transaction {
            work.transactions.add(1);
            work.transaction_time.set(work.transaction_time.get().saturating_add(spent.transaction));
        }
    }

    /// Counts a client's message that prepares a statement (Parse) or readies it for execution (Bind).
    #[inline]
    pub fn count_request(&self, kind: u8) {
        match kind {
            b'P' => self.work.client_parses.add(1),
            b'B' => self.work.binds.add(1),
            _ => {}
        }
    }

    /// Counts a ParseComplete of the server, whoever asked for it.
    #[inline]
    pub fn count_server_parse(&self) {
        self.work.server_parses.add(1);
    }

    /// Counts an error that the server sent.
    pub fn count_error(&self, sqlstate: &str) {
        self.work.errors.add(1);
        self.work.error_classes.borrow_mut().count(sqlstate);
    }

    /// Counts what was read from a client.
    #[inline]
    pub fn count_from_client(&self, bytes: usize) {
        self.work.from_clients.add(bytes as u64);
    }

    /// Counts what was read from the server.
    #[inline]
    pub fn count_from_server(&self, bytes: usize) {
        self.work.from_servers.add(bytes as u64);
    }
}
