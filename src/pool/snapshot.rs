//! What shards say of themselves.

use super::conn::ServerRow;

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
            errors: self.errors.saturating_add(other.errors),
            waiting: self.waiting.saturating_add(other.waiting),
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
    /// ErrorResponses that the server sent.
    pub errors: u64,
    /// Clients waiting for an upstream.
    pub waiting: usize,
    /// Idle upstreams.
    pub idle: usize,
    /// Upstreams that a client holds.
    pub busy: usize,
}
