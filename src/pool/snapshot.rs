//! What shards say of themselves.

use std::time::Duration;

use super::classes::ErrorClasses;
use super::conn::ServerRow;
use crate::histogram::Histogram;

/// What one shard has.
#[derive(Debug, Clone, Default)]
pub struct ShardSnapshot {
    /// By pool index.
    pub pools: Vec<PoolSnapshot>,
}

/// What one shard has of one pool.
#[derive(Debug, Clone, Default)]
pub struct PoolSnapshot {
    /// Figures.
    pub counts: PoolCounts,
    /// One row for each connection.
    pub servers: Vec<ServerRow>,
}

impl PoolCounts {
    /// Both together.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            checkouts: self.checkouts.saturating_add(other.checkouts),
            queries: self.queries.saturating_add(other.queries),
            transactions: self.transactions.saturating_add(other.transactions),
            query_time: self.query_time.saturating_add(other.query_time),
            transaction_time: self.transaction_time.saturating_add(other.transaction_time),
            client_parses: self.client_parses.saturating_add(other.client_parses),
            server_parses: self.server_parses.saturating_add(other.server_parses),
            binds: self.binds.saturating_add(other.binds),
            errors: self.errors.saturating_add(other.errors),
            error_classes: self.error_classes.and(&other.error_classes),
            waits: self.waits.and(&other.waits),
            timeouts: self.timeouts.saturating_add(other.timeouts),
            from_clients: self.from_clients.saturating_add(other.from_clients),
            from_servers: self.from_servers.saturating_add(other.from_servers),
            prepared: self.prepared.saturating_add(other.prepared),
            waiting: self.waiting.saturating_add(other.waiting),
            longest_wait: self.longest_wait.max(other.longest_wait),
            idle: self.idle.saturating_add(other.idle),
            busy: self.busy.saturating_add(other.busy),
        }
    }
}

/// What one shard did for a pool, and what it has now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Connections handed to clients.
    pub checkouts: u64,
    /// Queries of clients answered: a Query, a FunctionCall, or all up to a Sync.
    pub queries: u64,
    /// Of those, the ones that left no transaction open.
    pub transactions: u64,
    /// How long servers worked for clients: from a message that found nothing owed to the answer that
    /// left nothing owed, of what is answered.
    pub query_time: Duration,
    /// How long transactions that are over were open.
    pub transaction_time: Duration,
    /// Parse messages of clients.
    pub client_parses: u64,
    /// Statements that servers prepared for clients.
    pub server_parses: u64,
    /// Bind messages of clients.
    pub binds: u64,
    /// ErrorResponses that the server sent.
    pub errors: u64,
    /// Those errors by the class of their SQLSTATE.
    pub error_classes: ErrorClasses,
    /// How long clients that got an upstream had waited for it; who found one idle did not wait.
    pub waits: Histogram,
    /// Clients that got none within `checkout_timeout`.
    pub timeouts: u64,
    /// Bytes that came from clients.
    pub from_clients: u64,
    /// Bytes that came from the server for them.
    pub from_servers: u64,
    /// Statements prepared on its upstreams, as of when each was given back last.
    pub prepared: u64,
    /// Clients waiting for an upstream.
    pub waiting: usize,
    /// How long the one among them that has waited longest has; `None`: nobody waits.
    pub longest_wait: Option<Duration>,
    /// Idle upstreams.
    pub idle: usize,
    /// Upstreams that a client holds.
    pub busy: usize,
}
