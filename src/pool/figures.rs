//! What one shard's part of a pool says of itself.

use tokio::time::Instant;

use super::conn::ServerRow;
use super::local::LocalPool;
use super::snapshot::PoolCounts;

impl LocalPool {
    /// Figures for the reader.
    #[must_use]
    pub fn counts(&self) -> PoolCounts {
        let all = self.registry.all();
        let busy = all.iter().filter(|tether| tether.holder().is_some()).count();
        PoolCounts {
            checkouts: self.checkouts.get(),
            queries: self.queries.get(),
            transactions: self.transactions.get(),
            errors: self.errors.get(),
            error_classes: *self.error_classes.borrow(),
            waits: *self.waits.borrow(),
            timeouts: self.timeouts.get(),
            from_clients: self.from_clients.get(),
            from_servers: self.from_servers.get(),
            prepared: all.iter().fold(0, |sum, tether| sum.saturating_add(tether.prepared.get() as u64)),
            waiting: self.places.borrow().len(),
            longest_wait: self.places.borrow().longest_wait(Instant::now()),
            idle: self.idle.borrow().len(),
            busy,
        }
    }

    pub(super) fn servers(&self) -> Vec<ServerRow> {
        let standing = self.pool.standing();
        self.registry.all().iter().map(|tether| tether.row(standing)).collect()
    }
}
