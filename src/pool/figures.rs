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
        let work = &self.work;
        PoolCounts {
            checkouts: work.checkouts.get(),
            queries: work.queries.get(),
            transactions: work.transactions.get(),
            query_time: work.query_time.get(),
            transaction_time: work.transaction_time.get(),
            client_parses: work.client_parses.get(),
            server_parses: work.server_parses.get(),
            binds: work.binds.get(),
            errors: work.errors.get(),
            error_classes: *work.error_classes.borrow(),
            waits: *work.waits.borrow(),
            timeouts: work.timeouts.get(),
            from_clients: work.from_clients.get(),
            from_servers: work.from_servers.get(),
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
