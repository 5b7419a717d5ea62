//! What all threads share of one pool.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::catalog::Catalog;
use super::functions::Functions;
use super::gate::{Gate, Standing};
use super::ledger::{Claim, Ledger};
use super::limits::{AtomicLimits, Limits};
use super::message::{ShardMessage, ShardPort};
use super::pins::Pins;
use super::settings::PoolSettings;
use super::slot::{Landlord, Slot};
use super::watch::Watch;
use crate::credentials::{Generation, GenerationId};
use crate::net::TlsError;
use crate::upstream::Target;
use crate::wire::ErrorFields;

/// How long a client waits for the server to be asked again, beside the login itself.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// A saturated pool is told of once in this time.
const TELL_FULL_EVERY: Duration = Duration::from_secs(60);

/// What came of the last login of a user that was to serve.
#[derive(Debug, Clone, Default)]
enum Verdict {
    /// It serves, or there was none.
    #[default]
    Good,
    /// The server said no, in its own words if there were any.
    No(Option<Box<ErrorFields>>),
}

/// One `[databases.NAME]`: which generation is active, and the connections' limits.
#[derive(Debug)]
pub struct Pool {
    settings: PoolSettings,
    index: usize,
    target: Target,
    ports: Vec<ShardPort>,
    /// All that a checkout reads.
    pub(super) gate: Gate,
    /// New clients are refused.
    disabled: AtomicBool,
    was_active: AtomicBool,
    /// Connections opened so far.
    opened: AtomicU64,
    /// How many connections are open to each host.
    at_hosts: Box<[AtomicUsize]>,
    /// One bit a shard: it has clients waiting and nothing to give them.
    hungry: AtomicU64,
    limits: AtomicLimits,
    pins: Arc<Pins>,
    ledger: Mutex<Ledger>,
    pub(super) drained: Notify,
    pub(super) suspicion: Notify,
    pub(super) wish: Notify,
    verdict: watch::Sender<Verdict>,
    pub(super) watch: Watch,
    pub(super) catalog: Catalog,
    trouble: Mutex<Option<String>>,
    /// When it was last told that clients wait.
    told_full: Mutex<Option<Instant>>,
}

impl Pool {
    /// A pool without a user yet. `index` is its place in every shard's list,
    /// `ports` the shards (at most 64).
    ///
    /// # Errors
    /// [`TlsError`] if TLS towards its server cannot be set up.
    pub fn new(settings: PoolSettings, index: usize, ports: Vec<ShardPort>) -> Result<Self, TlsError> {
        let target = Target::new(settings.upstream.clone())?;
        let limits = Limits::of(&settings);
        let ledger = Ledger::new(limits, ports.len());
        let pins = Pins::new(settings.pins);
        let at_hosts = settings.upstream.hosts.iter().map(|_| AtomicUsize::new(0)).collect();
        Ok(Self {
            settings,
            index,
            target,
            ports,
            gate: Gate::default(),
            disabled: AtomicBool::new(false),
            was_active: AtomicBool::new(false),
            opened: AtomicU64::new(0),
            at_hosts,
            hungry: AtomicU64::new(0),
            limits: AtomicLimits::new(limits),
            pins,
            ledger: Mutex::new(ledger),
            drained: Notify::new(),
            suspicion: Notify::new(),
            wish: Notify::new(),
            verdict: watch::Sender::default(),
            watch: Watch::default(),
            catalog: Catalog::default(),
            trouble: Mutex::new(None),
            told_full: Mutex::new(None),
        })
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    /// The limits that hold now; those in its settings are the ones it started with.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// Other limits from now on. Where there may be more connections, clients that wait get them at once;
    /// where there may be fewer, what is beyond that closes as it becomes idle and nobody waits.
    pub fn change(&self, limits: Limits) {
        self.limits.set(limits);
        self.ledger().change(limits);
        self.broadcast(|| ShardMessage::Kick { pool: self.index });
    }

    /// The clients that keep an upstream of it.
    #[inline]
    #[must_use]
    pub fn pins(&self) -> &Arc<Pins> {
        &self.pins
    }

    /// The functions of its database that leave state in their connection; `None`: none is known.
    #[inline]
    #[must_use]
    pub fn functions(&self) -> Option<Arc<Functions>> {
        self.catalog.functions()
    }

    /// Its place in every shard's list.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Where its connections go.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The hosts that connections are open to.
    pub(super) fn hosts_in_use(&self) -> Vec<usize> {
        let open = self.at_hosts.iter().map(|open| open.load(Ordering::Relaxed));
        open.enumerate().filter(|(_, open)| *open > 0).map(|(host, _)| host).collect()
    }

    /// Whether a user was ever active: before that clients are answered 57P03 at once.
    #[must_use]
    pub fn was_active(&self) -> bool {
        self.was_active.load(Ordering::Acquire)
    }

    /// The generation whose connections clients get; `None` while paused too.
    #[inline]
    #[must_use]
    pub fn active(&self) -> Option<GenerationId> {
        self.gate.read().serving()
    }

    /// The active generation, paused or not.
    #[must_use]
    pub fn chosen(&self) -> Option<GenerationId> {
        self.gate.read().chosen()
    }

    #[inline]
    pub(super) fn standing(&self) -> Standing {
        self.gate.read()
    }

    /// Whether new clients are refused.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.disabled.load(Ordering::Acquire)
    }

    /// Refuses new clients, or takes them again; those who are connected go on.
    pub fn set_disabled(&self, disabled: bool) {
        self.disabled.store(disabled, Ordering::Release);
    }

    /// A generation by id, while it is known.
    #[must_use]
    pub fn generation(&self, id: GenerationId) -> Option<Arc<Generation>> {
        self.ledger().generation(id)
    }

    /// What stands in the way of service, for the error that a client gets.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says (or, with `None`, unsays) what stands in the way of service.
    pub fn set_trouble(&self, text: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// A session met an SQLSTATE that a removed user causes: look at once.
    pub fn suspect(&self) {
        self.suspicion.notify_one();
    }

    /// A login failed; what is about the user or its role is not for clients, who know of none.
    pub(super) fn say_no(&self, said: Option<Box<ErrorFields>>) {
        let said =
            said.filter(|fields| !matches!(fields.sqlstate.get(..2).unwrap_or_default(), "28" | "42" | "22"));
        self.verdict.send_replace(Verdict::No(said));
    }

    pub(super) fn say_yes(&self) {
        self.verdict.send_replace(Verdict::Good);
    }

    /// A client came while nobody serves: the server is asked again, at most once a second. Waits
    /// for what comes of it where it said no before; what it says if it does so again. Cancel safe.
    pub async fn ask_again(&self) -> Option<Box<ErrorFields>> {
        let mut verdict = self.verdict.subscribe();
        let said_no = matches!(*verdict.borrow_and_update(), Verdict::No(_));
        self.wish.notify_one();
        if !said_no || self.chosen().is_some() {
            return None;
        }
        let within = ANSWERED_WITHIN.saturating_add(self.settings.upstream.connect_timeout);
        let _ = timeout(within, verdict.changed()).await;
        match &*verdict.borrow() {
            Verdict::No(said) if self.chosen().is_none() => said.clone(),
            _ => None,
        }
    }

    /// The parameters that the server reported when the active user was verified.
    #[must_use]
    pub fn server_params(&self) -> Arc<Vec<(String, String)>> {
        self.watch.params()
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_active(&self, id: Option<GenerationId>) {
        self.gate.choose(id);
        if id.is_some() {
            self.was_active.store(true, Ordering::Release);
        }
    }

    /// Stops being active only if this is the active one.
    pub(super) fn unset_active(&self, id: GenerationId) {
        self.gate.unchoose(id);
    }

    /// A place for one more connection of `id` on `shard`.
    pub(super) fn take_slot(self: &Arc<Self>, id: GenerationId, shard: usize, claim: Claim) -> Option<Slot> {
        // Read first: what is dialled while another era begins is of the earlier one.
        let era = self.standing().era();
        let generation = self.ledger().take(id, shard, claim)?;
        Some(Slot::new(self.clone(), generation, era, shard))
    }

    pub(super) fn broadcast(&self, mut message: impl FnMut() -> ShardMessage) {
        for port in &self.ports {
            port.send(message());
        }
    }

    pub(super) fn send_to(&self, shard: usize, message: ShardMessage) {
        if let Some(port) = self.ports.get(shard) {
            port.send(message);
        }
    }

    /// This shard has clients waiting and can open no connection for them.
    pub(super) fn mark_hungry(&self, shard: usize, wanted: usize) {
        self.hungry.fetch_or(1 << shard, Ordering::AcqRel);
        for (other, port) in self.ports.iter().enumerate() {
            if other != shard {
                port.send(ShardMessage::Hungry { pool: self.index, shard, wanted });
            }
        }
    }

    /// Clients have waited for so long since all connections are taken: told once a minute.
    #[cold]
    pub(super) fn tell_full(&self, now: Instant, waited: Duration, waiting: usize) {
        let mut told = self.told_full.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| now.saturating_duration_since(told) < TELL_FULL_EVERY) {
            return;
        }
        *told = Some(now);
        let limits = self.limits();
        warn!(
            pool = %self.settings.name,
            pool_size = limits.size,
            max_server_connections = limits.max_server_connections,
            waiting,
            waited = waited.as_secs_f64(),
            "pool saturated: every server connection is taken and clients wait; raise pool_size, or look for \
             long transactions with SHOW SERVERS"
        );
    }

    pub(super) fn clear_hungry(&self, shard: usize) {
        self.hungry.fetch_and(!(1 << shard), Ordering::AcqRel);
    }

    /// A hungry shard other than `shard`, the next one round.
    #[inline]
    pub(super) fn hungry_other_than(&self, shard: usize) -> Option<usize> {
        let others = self.hungry.load(Ordering::Relaxed) & !(1 << shard);
        if others == 0 {
            return None;
        }
        let after = u32::try_from(shard).unwrap_or(0).saturating_add(1) & 63;
        let distance = others.rotate_right(after).trailing_zeros();
        usize::try_from(distance.saturating_add(after) & 63).ok()
    }

    /// A place is free: its own shard and those that asked may want it.
    fn kick(&self, shard: usize) {
        let wanted = self.hungry.load(Ordering::Acquire) | (1 << shard);
        for (shard, port) in self.ports.iter().enumerate() {
            if wanted & (1 << shard) != 0 {
                port.send(ShardMessage::Kick { pool: self.index });
            }
        }
    }
}

impl Landlord for Pool {
    fn number(&self) -> u64 {
        self.opened.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    fn arrived(&self, host: usize) {
        if let Some(open) = self.at_hosts.get(host) {
            open.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn left(&self, host: usize) {
        if let Some(open) = self.at_hosts.get(host) {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn moved(&self, from: usize, to: usize) {
        self.ledger().moved(from, to);
    }

    fn given_back(&self, generation: GenerationId, shard: usize) {
        let empty = self.ledger().give(generation, shard);
        if empty {
            self.drained.notify_waiters();
        }
        self.kick(shard);
    }
}
