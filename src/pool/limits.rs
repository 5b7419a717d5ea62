//! The limits of a pool that can be changed while it serves.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::settings::PoolSettings;

/// `pool_size`, `max_server_connections` and `checkout_timeout`, as they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most connections of the active generation, over all shards.
    pub size: usize,
    /// The most connections of all generations together.
    pub max_server_connections: usize,
    /// How long a client waits for an upstream.
    pub checkout_timeout: Duration,
}

impl Limits {
    /// What the settings say.
    #[must_use]
    pub fn of(settings: &PoolSettings) -> Self {
        let PoolSettings { size, max_server_connections, checkout_timeout, .. } = *settings;
        Self { size, max_server_connections, checkout_timeout }
    }
}

/// The same, where others read them meanwhile.
#[derive(Debug)]
pub(super) struct AtomicLimits {
    size: AtomicUsize,
    max_server_connections: AtomicUsize,
    /// Nanoseconds.
    checkout_timeout: AtomicU64,
}

impl AtomicLimits {
    pub(super) fn new(limits: Limits) -> Self {
        let new = Self {
            size: AtomicUsize::new(0),
            max_server_connections: AtomicUsize::new(0),
            checkout_timeout: AtomicU64::new(0),
        };
        new.set(limits);
        new
    }

    pub(super) fn set(&self, limits: Limits) {
        let nanos = u64::try_from(limits.checkout_timeout.as_nanos()).unwrap_or(u64::MAX);
        self.size.store(limits.size, Ordering::Relaxed);
        self.max_server_connections.store(limits.max_server_connections, Ordering::Relaxed);
        self.checkout_timeout.store(nanos, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Limits {
        Limits {
            size: self.size.load(Ordering::Relaxed),
            max_server_connections: self.max_server_connections.load(Ordering::Relaxed),
            checkout_timeout: Duration::from_nanos(self.checkout_timeout.load(Ordering::Relaxed)),
        }
    }
}
