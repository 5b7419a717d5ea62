//! What others see of a client.

use std::cell::Cell;
use std::net::SocketAddr;
use std::task::Waker;

use tokio::time::Instant;

use crate::pool::{ClientId, Ties, TimeoutSettings};

/// What a client is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// Holds no upstream.
    Idle,
    /// Waits for an upstream.
    Waiting,
    /// Holds an upstream.
    Active,
}

/// One row of SHOW CLIENTS.
#[derive(Debug, Clone)]
pub struct ClientRow {
    /// Its number.
    pub id: ClientId,
    /// The database it asked for.
    pub database: String,
    /// The user it said it is.
    pub user: String,
    /// Its `application_name`.
    pub application_name: String,
    /// Where it comes from; `None`: the Unix socket.
    pub address: Option<SocketAddr>,
    /// What it is doing.
    pub state: ClientState,
    /// What it keeps its upstream for between transactions.
    pub ties: Ties,
    /// Since when it keeps it; `None`: it does not.
    pub pinned_since: Option<Instant>,
    /// Since when it waits, while it does.
    pub waiting_since: Option<Instant>,
    /// When it came.
    pub since: Instant,
    /// The shard that serves it.
    pub shard: usize,
}

impl ClientRow {
    /// Whether it keeps its upstream between transactions.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.pinned_since.is_some()
    }
}

/// How many clients of one database do what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// The database they asked for.
    pub database: String,
    /// Clients that hold no upstream.
    pub idle: u64,
    /// Clients that wait for one.
    pub waiting: u64,
    /// Clients that hold one.
    pub active: u64,
    /// Of those, clients that keep it between transactions.
    pub pinned: u64,
}

impl ClientCounts {
    pub(super) fn count(&mut self, cell: &ClientCell) {
        let count = match cell.state.get() {
            ClientState::Idle => &mut self.idle,
            ClientState::Waiting => &mut self.waiting,
            ClientState::Active => &mut self.active,
        };
        *count = count.saturating_add(1);
        self.pinned = self.pinned.saturating_add(u64::from(cell.pinned.get().is_some()));
    }
}

/// Why a session is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// KILL at the console.
    Killed,
    /// `client_idle_timeout`.
    Idle,
}

impl ClientCell {
    /// Whether it has had an upstream, or has waited for one, since this was asked last.
    pub(super) fn was_active(&self, now: Instant) -> bool {
        let idle = self.state.get() == ClientState::Idle;
        let active = !idle || self.idle_since.get().is_none();
        if idle && active {
            self.idle_since.set(Some(now));
        }
        active
    }

    /// Tells a client to end that has said nothing for longer than it may.
    pub(super) fn look_after(&self, timeouts: &TimeoutSettings, now: Instant) {
        if self.state.get() != ClientState::Idle || self.ends.get().is_some() {
            return;
        }
        match self.idle_since.get() {
            None => self.idle_since.set(Some(now)),
            Some(since) if timeouts.is_idle_for_long(since, now) => {
                self.ends.set(Some(Farewell::Idle));
                self.waker.wake_by_ref();
            }
            Some(_) => {}
        }
    }
}

/// Why a client keeps its upstream, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pinned {
    pub(super) ties: Ties,
    pub(super) since: Instant,
}

/// A client as others on its thread see it.
#[derive(Debug)]
pub(super) struct ClientCell {
    pub(super) id: ClientId,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) application_name: String,
    pub(super) address: Option<SocketAddr>,
    pub(super) state: Cell<ClientState>,
    /// It keeps its upstream between transactions.
    pub(super) pinned: Cell<Option<Pinned>>,
    /// Its session is to end.
    pub(super) ends: Cell<Option<Farewell>>,
    /// Since when it was seen without an upstream; `None`: it has had one since.
    pub(super) idle_since: Cell<Option<Instant>>,
    /// Since when it waits, or waited last.
    pub(super) waiting_since: Cell<Instant>,
    pub(super) since: Instant,
    pub(super) waker: Waker,
}
