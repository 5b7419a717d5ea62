//! Looks after a shard's part of a pool at each tick: connections that came of age, that were idle for
//! long, that are beyond `pool_size` or short of `min_pool_size`.

use std::rc::Rc;
use std::sync::Arc;

use tokio::task::spawn_local;
use tokio::time::Instant;
use tracing::debug;

use super::conn::Conn;
use super::ledger::Claim;
use super::limits::Limits;
use super::local::LocalPool;
use super::profile::Profile;
use super::settings::PoolMode;
use super::spread::batch;
use super::upkeep::{from_reserve, overdue, pace, spare, to_minimum};
use crate::clock::Moment;

impl LocalPool {
    /// Idle connections that are not handed out any more: those of a replaced user a few at a time, if it is
    /// still good and the new one has room beside them.
    pub(super) fn part_from(&self, old: Vec<Conn>, at_once: bool) {
        let limits = self.pool.limits();
        let room = limits.max_server_connections >= limits.size.saturating_mul(2);
        if at_once || !room {
            old.into_iter().for_each(Conn::close);
            return;
        }
        let now = Moment::now();
        let left = old.iter().map(|conn| now.until(conn.generation().end())).min().unwrap_or_default();
        let mut leaving = self.leaving.borrow_mut();
        leaving.extend(old);
        let batch = batch(leaving.len(), left).max(self.leaving_batch.get());
        self.leaving_batch.set(batch);
    }

    /// Closes so many of them.
    pub(super) fn close_leaving(&self, most: usize) {
        let gone: Vec<Conn> = {
            let mut leaving = self.leaving.borrow_mut();
            let keep = leaving.len().saturating_sub(most);
            let gone = leaving.split_off(keep);
            if leaving.is_empty() {
                self.leaving_batch.set(0);
            }
            gone
        };
        gone.into_iter().for_each(Conn::close);
    }

    /// After clients that wait were fed.
    pub(super) fn tend(self: &Rc<Self>, now: Instant, limits: &Limits) {
        self.end_one_of_age(now, limits);
        self.close_spare(now, limits);
        self.open_from_reserve(now, limits);
        self.open_to_minimum(limits);
    }

    /// The connection that is longest overdue: closed if it is idle, else once it is given back.
    fn end_one_of_age(&self, now: Instant, limits: &Limits) {
        if self.coming.get().is_some() {
            return;
        }
        let Some(serving) = self.seen.get().serving() else { return };
        let last = self.last_of_age.get();
        if last.is_some_and(|last| now.saturating_duration_since(last) < pace(limits)) {
            return;
        }
        let due = self.registry.most(|tether| {
            if tether.generation.id() != serving || tether.is_of_age() {
                return None;
            }
            overdue(now.saturating_duration_since(tether.opened), limits, tether.fraction)
        });
        let Some(due) = due else { return };
        due.come_of_age();
        self.last_of_age.set(Some(now));
        let old: Vec<Conn> =
            self.idle.borrow_mut().extract_if(.., |conn| conn.tether().is_of_age()).collect();
        debug!(pool = %self.pool.settings().name, busy = old.is_empty(), "a connection reached server_lifetime");
        old.into_iter().for_each(Conn::close);
    }

    /// Those at the front were idle longest.
    fn close_spare(&self, now: Instant, limits: &Limits) {
        if self.coming.get().is_some() {
            return;
        }
        let Some(serving) = self.seen.get().serving() else { return };
        let waited_for =
            !self.places.borrow().is_empty() || self.pool.hungry_other_than(self.shard).is_some();
        let going: Vec<Conn> = {
            let mut idle = self.idle.borrow_mut();
            let spans = idle.iter().map(|conn| conn.tether().idle_for(now));
            let decide = |open| spare(spans, open, waited_for, limits);
            let count = self.pool.ledger().dismiss(serving, decide);
            idle.drain(..count).collect()
        };
        if going.is_empty() {
            return;
        }
        let count = going.len();
        going.into_iter().for_each(Conn::close);
        self.pool.ledger().gone(serving, count);
        debug!(pool = %self.pool.settings().name, count, "idle connections that are not needed were closed");
    }

    /// For clients that have waited for long though all is as it should be: the pool is too small for them.
    fn open_from_reserve(self: &Rc<Self>, now: Instant, limits: &Limits) {
        if limits.reserve_size == 0 || self.failures.get() > 0 || self.pausing.get() {
            return;
        }
        if self.coming.get().is_some() {
            return;
        }
        let Some(serving) = self.seen.get().serving() else { return };
        let overdue = self.places.borrow().waiting_for(now, limits.reserve_timeout, self.paused_until.get());
        for _ in 0..from_reserve(overdue, self.under_way(), limits) {
            let Some(key) = self.places.borrow().wanted(self.under_way()) else { return };
            let Some(slot) = self.pool.take_slot(serving, self.shard, Claim::Reserve) else { return };
            debug!(pool = %self.pool.settings().name, overdue, "a connection of the reserve is opened");
            self.open(slot, key);
        }
    }

    /// Where clients are: on the first shard, and on others that have been used.
    fn open_to_minimum(self: &Rc<Self>, limits: &Limits) {
        let at_home = self.shard == 0 || self.most_used.get() > 0;
        if !at_home
            || self.coming.get().is_some()
            || self.pausing.get()
            || self.filling.get()
            || self.pool.is_disabled()
        {
            return;
        }
        let Some(serving) = self.seen.get().serving() else { return };
        let waiting = self.places.borrow().len();
        if to_minimum(self.open_now(), waiting, self.dialling.get(), limits) == 0 {
            return;
        }
        let Some(slot) = self.pool.take_slot(serving, self.shard, Claim::Minimum) else { return };
        let key: Arc<Profile> = self.asked_last.borrow().clone();
        self.filling.set(true);
        let local = self.clone();
        spawn_local(async move {
            let result = local.dial(slot, key.clone()).await;
            local.filling.set(false);
            if result.is_err() {
                // It may be the client's own settings that the server does not like.
                local.asked_last.take();
            }
            local.dialled(result, &key);
        });
    }

    /// Connections being opened that whoever waits can have: in session mode one opened ahead has
    /// the settings of another client.
    pub(super) fn under_way(&self) -> usize {
        let ahead = self.filling.get() && self.pool.settings().mode == PoolMode::Transaction;
        self.dialling.get().saturating_add(usize::from(ahead))
    }

    fn open_now(&self) -> usize {
        self.seen.get().serving().map_or(0, |id| self.pool.ledger().open(id))
    }
}
