//! The limits of a pool that can be changed while it serves.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::settings::PoolSettings;
use super::timeouts::TimeoutSettings;

/// How many connections there may be and for how long, and how long clients wait for one, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most connections of the active generation, over all shards.
    pub size: usize,
    /// So many of them are kept open.
    pub min_size: usize,
    /// So many more than `size` may be opened for clients that have waited for `reserve_timeout`.
    pub reserve_size: usize,
    /// The most connections of all generations together.
    pub max_server_connections: usize,
    /// How long a client waits for an upstream.
    pub checkout_timeout: Duration,
    /// How long a client waits before the reserve is opened for it.
    pub reserve_timeout: Duration,
    /// How old an upstream may become; zero: as old as its user.
    pub server_lifetime: Duration,
    /// How long an upstream may be idle; zero: for ever.
    pub server_idle_timeout: Duration,
    /// Bounds on what clients do.
    pub timeouts: TimeoutSettings,
}

impl Limits {
    /// What the settings say.
    #[must_use]
    pub fn of(settings: &PoolSettings) -> Self {
        Self {
            size: settings.size,
            min_size: settings.min_size,
            reserve_size: settings.reserve_size,
            max_server_connections: settings.max_server_connections,
            checkout_timeout: settings.checkout_timeout,
            reserve_timeout: settings.reserve_timeout,
            server_lifetime: settings.server_lifetime,
            server_idle_timeout: settings.server_idle_timeout,
            timeouts: settings.timeouts,
        }
    }
}

/// The same, where others read them meanwhile.
#[derive(Debug, Default)]
pub(super) struct AtomicLimits {
    size: AtomicUsize,
    min_size: AtomicUsize,
    reserve_size: AtomicUsize,
    max_server_connections: AtomicUsize,
    checkout_timeout: AtomicSpan,
    reserve_timeout: AtomicSpan,
    server_lifetime: AtomicSpan,
    server_idle_timeout: AtomicSpan,
    query_timeout: AtomicSpan,
    transaction_timeout: AtomicSpan,
    idle_transaction_timeout: AtomicSpan,
    client_idle_timeout: AtomicSpan,
}

impl AtomicLimits {
    pub(super) fn new(limits: Limits) -> Self {
        let new = Self::default();
        new.set(limits);
        new
    }

    pub(super) fn set(&self, limits: Limits) {
        self.size.store(limits.size, Ordering::Relaxed);
        self.min_size.store(limits.min_size, Ordering::Relaxed);
        self.reserve_size.store(limits.reserve_size, Ordering::Relaxed);
        self.max_server_connections.store(limits.max_server_connections, Ordering::Relaxed);
        self.checkout_timeout.set(limits.checkout_timeout);
        self.reserve_timeout.set(limits.reserve_timeout);
        self.server_lifetime.set(limits.server_lifetime);
        self.server_idle_timeout.set(limits.server_idle_timeout);
        self.query_timeout.set(limits.timeouts.query);
        self.transaction_timeout.set(limits.timeouts.transaction);
        self.idle_transaction_timeout.set(limits.timeouts.idle_transaction);
        self.client_idle_timeout.set(limits.timeouts.client_idle);
    }

    pub(super) fn get(&self) -> Limits {
        Limits {
            size: self.size.load(Ordering::Relaxed),
            min_size: self.min_size.load(Ordering::Relaxed),
            reserve_size: self.reserve_size.load(Ordering::Relaxed),
            max_server_connections: self.max_server_connections.load(Ordering::Relaxed),
            checkout_timeout: self.checkout_timeout.get(),
            reserve_timeout: self.reserve_timeout.get(),
            server_lifetime: self.server_lifetime.get(),
            server_idle_timeout: self.server_idle_timeout.get(),
            timeouts: TimeoutSettings {
                query: self.query_timeout.get(),
                transaction: self.transaction_timeout.get(),
                idle_transaction: self.idle_transaction_timeout.get(),
                client_idle: self.client_idle_timeout.get(),
            },
        }
    }
}

/// A duration in nanoseconds.
#[derive(Debug, Default)]
struct AtomicSpan(AtomicU64);

impl AtomicSpan {
    fn set(&self, span: Duration) {
        self.0.store(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
