//! What one shard's part of a pool is told that it did, and what it says of itself.

use tokio::time::Instant;

use super::conn::{Conn, ServerRow};
use super::local::LocalPool;
use super::snapshot::PoolCounts;

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
        // A server that became a standby meanwhile, unless the client asked for a read-only transaction itself.
        if sqlstate == "25006" && self.pool.settings().upstream.target_session_attrs.can_exclude() {
            self.pool.suspect();
        }
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
