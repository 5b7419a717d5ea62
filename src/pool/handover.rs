//! From one user to the next without anybody's noticing.
//!
//! A connection that has just been opened is slow at first: the server's process has read no catalog yet. Were all of
//! them new at once, whoever asks then would wait for all of that. So those of the coming user take the places
//! of the active one's one at a time, ahead of the switch, and serve from then on; what the switch itself finds
//! is a pool that is in use already.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::conn::Conn;
use super::ledger::Claim;
use super::local::LocalPool;
use super::profile::Profile;
use super::settings::PoolMode;
use super::slot::Slot;
use super::spread::pause;
use crate::clock::Moment;
use crate::credentials::{CutReason, Generation, GenerationId};

impl LocalPool {
    /// Whether clients may have this connection: one of the active user, or of the one that is to follow it.
    pub(super) fn wants(&self, conn: &Conn) -> bool {
        let standing = self.seen.get();
        conn.is_wanted(standing) || self.coming.get().is_some_and(|id| conn.is_early(standing, id))
    }

    /// Takes over what another thread made active.
    pub(super) fn follow_active(&self) {
        let now = self.pool.standing();
        if self.seen.get() == now {
            return;
        }
        self.seen.set(now);
        self.most_used.set(0);
        if now.chosen() == self.coming.get() {
            self.coming.set(None);
        }
        let old: Vec<Conn> = self.idle.borrow_mut().extract_if(.., |conn| !self.wants(conn)).collect();
        self.part_from(old, now.is_paused());
    }

    /// Another thread made a generation active, or none.
    pub(super) fn active_changed(self: &Rc<Self>) {
        self.follow_active();
        loop {
            // What is there serves those who wait before anything is dialled.
            let Some(conn) = self.idle.borrow_mut().pop() else { break };
            let owner = self.places.borrow_mut().serve(&conn.key);
            match owner {
                Some(owner) => self.hand_over(conn, &owner),
                None => {
                    self.idle.borrow_mut().push(conn);
                    break;
                }
            }
        }
        self.feed();
    }

    /// Closes what is idle of a generation that takes no more checkouts.
    pub(super) fn retire(self: &Rc<Self>, generation: GenerationId) {
        if self.coming.get() == Some(generation) {
            self.coming.set(None);
        }
        self.follow_active();
        let gone: Vec<Conn> = self.idle.borrow_mut().extract_if(.., |conn| !self.wants(conn)).collect();
        if !gone.is_empty() {
            gone.into_iter().for_each(Conn::close);
            self.feed();
        }
    }

    /// Tells every holder of a connection of this generation to let go.
    pub(super) fn cut(self: &Rc<Self>, generation: GenerationId, reason: CutReason) {
        self.retire(generation);
        self.close_leaving(usize::MAX);
        for tether in self.registry.all() {
            if tether.generation.id() == generation {
                tether.cut(reason);
            }
        }
    }

    /// Connections of this shard that clients have or may have, those apart that are about to be closed.
    pub(super) fn in_service(&self) -> usize {
        self.registry.len().saturating_sub(self.leaving.borrow().len())
    }

    /// One of the replaced user's that is about to be closed, for a client that would have to wait for a new one: all that
    /// were opened ahead are busy.
    pub(super) fn pop_leaving(&self, key: &Arc<Profile>) -> Option<Conn> {
        if self.in_service() == 0 {
            return None;
        }
        let standing = self.seen.get();
        let mut leaving = self.leaving.borrow_mut();
        let at = leaving.iter().rposition(|conn| conn.is_spare(standing) && conn.key == *key)?;
        Some(leaving.remove(at))
    }

    /// A place for one more connection that clients may have now: those of the coming user count as well.
    pub(super) fn slot_for_clients(&self, claim: Claim) -> Option<Slot> {
        let serving = self.seen.get().serving()?;
        if let Some(coming) = self.coming.get() {
            let ledger = self.pool.ledger();
            if ledger.open(serving).saturating_add(ledger.open(coming)) >= self.pool.limits().size {
                return None;
            }
        }
        self.pool.take_slot(serving, self.shard, claim)
    }

    /// Opens as many connections of a coming generation as clients of this shard used at
    /// once under the active one; returns how many were opened. Stops when the generation
    /// becomes active meanwhile: from then on waiting clients say how many are needed.
    pub(super) async fn warm(self: &Rc<Self>, generation: &Arc<Generation>) -> usize {
        if self.pool.active().is_none() || self.pool.settings().mode == PoolMode::Session {
            // Nobody to take over from; or each would need its client's profile.
            return 0;
        }
        let (wanted, id) = (self.most_used.get(), generation.id());
        let pause = pause(wanted, self.left_of_active());
        self.coming.set(Some(id));
        let mut opened: usize = 0;
        let goes_on = || {
            // It may be retired before it was active, and a paused pool opens nothing.
            self.coming.get() == Some(id) && self.pool.active() != Some(id) && !self.pool.is_paused()
        };
        while opened < wanted && goes_on() {
            let Some(slot) = self.pool.take_slot(id, self.shard, Claim::Usual) else { break };
            match self.dial(slot, Arc::default()).await {
                Ok(conn) => self.enters(conn),
                Err(error) => {
                    warn!(pool = %self.pool.settings().name, generation = %id, %error, "warming failed");
                    break;
                }
            }
            opened = opened.saturating_add(1);
            sleep(pause).await;
        }
        opened
    }

    /// A connection of the coming user serves in place of one of the active user's.
    fn enters(self: &Rc<Self>, conn: Conn) {
        self.follow_active();
        if self.wants(&conn) && !conn.is_wanted(self.seen.get()) {
            self.let_one_go();
        }
        self.arrive(conn);
    }

    /// Closes one connection of the active user: the one that was idle longest, or a busy one once it
    /// is given back.
    fn let_one_go(&self) {
        let Some(serving) = self.seen.get().serving() else { return };
        let idle = {
            let mut idle = self.idle.borrow_mut();
            let at = idle.iter().position(|conn| conn.generation().id() == serving);
            at.map(|at| idle.remove(at))
        };
        match idle {
            Some(conn) => conn.close(),
            None => {
                let busy = self.registry.most(|tether| {
                    let stays = tether.generation.id() == serving && !tether.is_of_age();
                    (stays && tether.holder().is_some()).then_some(())
                });
                busy.into_iter().for_each(|tether| tether.come_of_age());
            }
        }
    }

    /// How long the active user may still serve.
    fn left_of_active(&self) -> Duration {
        let active = self.pool.active().and_then(|id| self.pool.generation(id));
        active.map_or(Duration::ZERO, |active| Moment::now().until(active.end()))
    }
}
