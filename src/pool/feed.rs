//! Opens connections: for clients that wait, and ahead of a switch.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::conn::Conn;
use super::hunger::{Sight, is_hungry};
use super::ledger::Claim;
use super::local::LocalPool;
use super::places::CheckoutError;
use super::profile::Profile;
use super::settings::PoolMode;
use super::slot::Slot;

use crate::upstream::{DialError, dial};
use crate::wire::ErrorFields;

/// Pause after a failed dial: doubled each time, up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long a client waits for one of the connections there are before another is opened for it.
const OPENS_AFTER: Duration = Duration::from_millis(1);
/// So many connections are opened at once where there are others.
const LANES: usize = 2;
/// So many, if somebody has waited for so long: those there are do not come round.
const MANY_LANES: usize = 8;
const LONG: Duration = Duration::from_millis(20);
/// How long waiting clients of a shard may stand still before other shards are asked for a connection.
const PATIENCE: Duration = Duration::from_millis(2);
/// A client that has waited for so long, with every connection taken, makes a pool saturated.
const SATURATED_AFTER: Duration = Duration::from_millis(500);

impl LocalPool {
    /// Opens connections for waiting clients, as far as the limits allow; beyond that the
    /// other shards are asked.
    pub(super) fn feed(self: &Rc<Self>) {
        self.follow_active();
        loop {
            let waiting = self.places.borrow().len();
            if waiting == 0 {
                self.weigh(Sight::Room);
                return;
            }
            let dialling = self.under_way();
            if self.pausing.get() || self.looking_again.get() || dialling >= self.lanes(waiting, dialling) {
                return;
            }
            let Some(key) = self.places.borrow().wanted(dialling) else { return };
            let slot = self.slot_for_clients(Claim::Usual);
            if let Some(slot) = slot {
                if !self.is_worth_it() {
                    return;
                }
                self.open(slot, key);
            } else if !self.sacrifice(&key) {
                self.call_for_help();
                return;
            }
        }
    }

    /// How many connections may be under way for so many who wait. After a failure one at a time probes the server.
    /// Beside connections that come round, a few are opened at a time: most of those who wait have one sooner
    /// than another process is there.
    fn lanes(&self, waiting: usize, dialling: usize) -> usize {
        if self.failures.get() > 0 {
            return 1;
        }
        if self.in_service() == 0 || self.pool.settings().mode == PoolMode::Session {
            return waiting;
        }
        let waited = if dialling < LANES { None } else { self.places.borrow().longest_wait(Instant::now()) };
        waiting.min(if waited >= Some(LONG) { MANY_LANES } else { LANES })
    }

    /// Whether another connection is opened for those who wait. Beside connections that come round only for one who
    /// has waited a little: most have one before a new one could be there, and each costs the server's machine a
    /// process. If not, it is looked again soon.
    fn is_worth_it(self: &Rc<Self>) -> bool {
        if self.in_service() == 0 || self.pool.settings().mode == PoolMode::Session {
            return true;
        }
        let waited = self.places.borrow().longest_wait(Instant::now());
        if waited.is_none_or(|waited| waited >= OPENS_AFTER) {
            return true;
        }
        self.looking_again.set(true);
        let local = self.clone();
        spawn_local(async move {
            sleep(OPENS_AFTER).await;
            local.looking_again.set(false);
            local.feed();
        });
        false
    }

    /// All connections that there may be are open.
    fn call_for_help(self: &Rc<Self>) {
        if self.seen.get().serving().is_some() {
            let now = Instant::now();
            let (waited, waiting) = (self.places.borrow().longest_wait(now), self.places.borrow().len());
            if let Some(waited) = waited.filter(|waited| *waited >= SATURATED_AFTER) {
                self.pool.tell_full(now, waited, waiting);
            }
        }
        if self.hungry.get() {
            return;
        }
        let held = self.pool.ledger().held(self.shard);
        if !self.weigh(Sight::Full { held }) && !self.patient.replace(true) {
            let local = self.clone();
            spawn_local(async move {
                local.wait_patiently().await;
                local.patient.set(false);
            });
        }
    }

    async fn wait_patiently(self: &Rc<Self>) {
        let mut first = self.places.borrow().first();
        loop {
            sleep(PATIENCE).await;
            let now_first = self.places.borrow().first();
            if now_first.is_none() || self.hungry.get() {
                return;
            }
            let worse_off = self.pool.ledger().is_worse_off(self.shard);
            if self.weigh(Sight::Watched { stood_still: now_first == first, worse_off }) {
                return;
            }
            first = now_first;
        }
    }

    /// Whether this shard is hungry now; the others are told when that changes.
    pub(super) fn weigh(&self, sight: Sight) -> bool {
        let (was, waiting) = (self.hungry.get(), self.places.borrow().len());
        let is = is_hungry(was, waiting, sight);
        self.hungry.set(is);
        match (was, is) {
            (false, true) => self.pool.mark_hungry(self.shard, waiting),
            (true, false) => self.pool.clear_hungry(self.shard),
            _ => {}
        }
        is
    }

    /// Closes an idle connection of another profile to make room. True if there was one.
    fn sacrifice(&self, key: &Arc<Profile>) -> bool {
        let victim = {
            let mut idle = self.idle.borrow_mut();
            let at = idle.iter().position(|conn| conn.key != *key);
            at.map(|at| idle.remove(at))
        };
        victim.map(Conn::close).is_some()
    }

    pub(super) fn open(self: &Rc<Self>, slot: Slot, key: Arc<Profile>) {
        self.dialling.set(self.dialling.get().saturating_add(1));
        let local = self.clone();
        spawn_local(async move {
            let result = local.dial(slot, key.clone()).await;
            local.dialling.set(local.dialling.get().saturating_sub(1));
            local.dialled(result, &key);
        });
    }

    /// What came of a dial for whoever wants a connection.
    pub(super) fn dialled(self: &Rc<Self>, result: Result<Conn, DialError>, key: &Arc<Profile>) {
        match result {
            Ok(conn) => {
                if self.failures.replace(0) > 0 {
                    self.pool.set_trouble(None);
                    self.feed();
                }
                self.arrive(conn);
            }
            Err(error) => self.dial_failed(&error, key),
        }
    }

    pub(super) async fn dial(&self, slot: Slot, key: Arc<Profile>) -> Result<Conn, DialError> {
        let login = slot.generation().login();
        let connected = dial(self.pool.target(), &login.user, &login.password, key.as_pairs()).await?;
        Ok(Conn::new(connected, key, slot, &self.registry))
    }

    fn dial_failed(self: &Rc<Self>, error: &DialError, key: &Arc<Profile>) {
        let settings = self.pool.settings();
        if error.refusals().any(|fields| is_suspicious(&fields.sqlstate)) {
            self.pool.suspect();
        }
        if let Some(fields) = error.refusals().next()
            && key.iter().next().is_some()
            && error.refusals().all(blames_the_client)
        {
            let owner = self.places.borrow_mut().serve(key);
            if let Some(owner) = owner {
                owner.settle(Err(CheckoutError::Refused(Box::new(fields.clone()))));
            }
            self.feed();
            return;
        }
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        if failures == 0 {
            warn!(pool = %settings.name, error = %error, "connecting to PostgreSQL failed");
        } else {
            debug!(pool = %settings.name, error = %error, failures, "connecting to PostgreSQL failed");
        }
        self.pool.set_trouble(Some(error.to_string()));
        if !self.pausing.replace(true) {
            let pause = SHORTEST_PAUSE.saturating_mul(1 << failures.min(4)).min(LONGEST_PAUSE);
            let local = self.clone();
            spawn_local(async move {
                sleep(pause).await;
                local.pausing.set(false);
                local.feed();
            });
        }
    }
}

/// What a removed, locked or expired user causes (28P01, 28000, 42501, 42704).
#[must_use]
pub(crate) fn is_suspicious(sqlstate: &str) -> bool {
    matches!(sqlstate, "28P01" | "28000" | "42501" | "42704")
}

/// Whether a refused login is about the client's own startup parameters and not about the
/// user, the server's state or its limits.
fn blames_the_client(fields: &ErrorFields) -> bool {
    let class = fields.sqlstate.get(..2).unwrap_or("");
    !matches!(class, "28" | "53" | "57" | "08" | "XX" | "58" | "3D" | "55")
}
