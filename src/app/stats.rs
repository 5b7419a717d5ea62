//! Figures of one pool, added up by the reader.

use tokio::sync::oneshot;

use crate::pool::{ShardMessage, ShardPort};

/// What a pool did and has, over all shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Transactions finished since the start.
    pub transactions: u64,
    /// Errors that the server sent since the start.
    pub errors: u64,
    /// Clients waiting for an upstream.
    pub waiting: usize,
    /// Idle upstreams.
    pub idle: usize,
    /// Upstreams that a client holds.
    pub busy: usize,
}

impl PoolStats {
    /// Asks every shard; one that has ended counts as empty.
    pub(super) async fn gather(shards: &[ShardPort], pool: usize) -> Self {
        let mut sum = Self::default();
        for shard in shards {
            let (reply, answer) = oneshot::channel();
            shard.send(ShardMessage::Snapshot { reply });
            let Ok(snapshot) = answer.await else { continue };
            if let Some(pool) = snapshot.pools.get(pool) {
                sum.transactions = sum.transactions.saturating_add(pool.counts.transactions);
                sum.errors = sum.errors.saturating_add(pool.counts.errors);
                sum.waiting = sum.waiting.saturating_add(pool.counts.waiting);
                sum.idle = sum.idle.saturating_add(pool.counts.idle);
                sum.busy = sum.busy.saturating_add(pool.counts.busy);
            }
        }
        sum
    }
}
