//! What an operator orders of a pool: pause and resume, new connections, no new clients.

use super::message::ShardMessage;
use super::shared::Pool;

impl Pool {
    /// No client gets a connection from here on, and every connection is closed once it is given
    /// back. False if it was paused.
    pub fn pause(&self) -> bool {
        let fresh = self.gate.pause();
        if fresh {
            if let Some(id) = self.chosen() {
                self.watch.close(id);
            }
            self.tell_standing();
        }
        fresh
    }

    /// Waits until no connection is left; false if the pause is over before that. Cancel safe.
    pub async fn paused(&self) -> bool {
        loop {
            let changed = self.drained.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.is_paused() {
                return false;
            }
            if self.ledger().is_empty() {
                return true;
            }
            changed.await;
        }
    }

    /// Clients get connections again. False if it was not paused.
    pub fn resume(&self) -> bool {
        let resumed = self.gate.resume();
        if resumed {
            // Who waits for the pause to be complete waits for nothing.
            self.drained.notify_waiters();
            self.tell_standing();
        }
        resumed
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.gate.read().is_paused()
    }

    /// Every connection that is open now is closed once it is given back; idle ones at once.
    pub fn reconnect(&self) {
        self.gate.begin_era();
        self.tell_standing();
    }

    fn tell_standing(&self) {
        self.broadcast(|| ShardMessage::ActiveChanged { pool: self.index() });
    }
}
