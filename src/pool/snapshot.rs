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

/// What one shard did for a pool, and what it has now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Transactions finished.
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
