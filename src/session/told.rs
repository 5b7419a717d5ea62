//! What an operator is told of clients and their upstreams: who ran under which user from when to
//! when (`log.audit`), and who waited for long (`log.slow_checkout`).

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_micros;
use tokio::time::Instant;
use tracing::{info, warn};

use super::roll::ClientCell;
use crate::pool::{Conn, LocalPool};

/// What is told (`[log]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TellSettings {
    /// A client that waited at least this long for an upstream is worth a line; zero: none is.
    pub slow_checkout: Duration,
    /// One line for each time that a client held an upstream.
    pub audit: bool,
}

impl Default for TellSettings {
    fn default() -> Self {
        Self { slow_checkout: Duration::from_secs(1), audit: false }
    }
}

impl TellSettings {
    /// Whether a wait is told.
    fn is_slow(self, waited: Duration) -> bool {
        !self.slow_checkout.is_zero() && waited >= self.slow_checkout
    }

    /// A client has got the upstream that it waited for.
    pub(super) fn waited(self, since: Instant, cell: &ClientCell, local: &LocalPool) {
        // Nobody is slow while the pool is paused.
        let since = local.paused_until().map_or(since, |until| until.max(since));
        let waited = since.elapsed();
        if self.is_slow(waited) {
            warn!(
                pool = %local.pool().settings().name,
                client = cell.id.0,
                application_name = %cell.application_name,
                waited = waited.as_secs_f64(),
                "slow checkout"
            );
        }
    }

    /// A client has an upstream from now on; the line is written when what is returned is dropped.
    pub(super) fn holds(self, cell: &Rc<ClientCell>, conn: &Conn) -> Option<Box<Tenure>> {
        self.audit.then(|| Box::new(Tenure::new(cell.clone(), conn)))
    }
}

/// The same, where it can be changed while others read it.
#[derive(Debug)]
pub(super) struct AtomicTell {
    /// Nanoseconds.
    slow_checkout: AtomicU64,
    audit: AtomicBool,
}

impl AtomicTell {
    pub(super) fn new(settings: TellSettings) -> Self {
        let tell = Self { slow_checkout: AtomicU64::new(0), audit: AtomicBool::new(false) };
        tell.set(settings);
        tell
    }

    pub(super) fn set(&self, settings: TellSettings) {
        let nanos = u64::try_from(settings.slow_checkout.as_nanos()).unwrap_or(u64::MAX);
        self.slow_checkout.store(nanos, Ordering::Relaxed);
        self.audit.store(settings.audit, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn get(&self) -> TellSettings {
        TellSettings {
            slow_checkout: Duration::from_nanos(self.slow_checkout.load(Ordering::Relaxed)),
            audit: self.audit.load(Ordering::Relaxed),
        }
    }
}

/// A client that holds an upstream. Dropping it tells from when to when.
#[derive(Debug)]
pub(super) struct Tenure {
    cell: Rc<ClientCell>,
    from: SystemTime,
    generation: u64,
    user: String,
    pid: Option<u32>,
}

impl Tenure {
    fn new(cell: Rc<ClientCell>, conn: &Conn) -> Self {
        let generation = conn.generation();
        Self {
            cell,
            from: SystemTime::now(),
            generation: generation.id().number(),
            user: generation.login().user.clone(),
            pid: conn.cancel_key().map(|key| key.pid),
        }
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        let cell = &self.cell;
        info!(
            target: "leasehold::audit",
            pool = %cell.database,
            client = cell.id.0,
            address = cell.address.map_or_else(|| "unix".to_owned(), |address| address.to_string()),
            client_user = %cell.user,
            application_name = %cell.application_name,
            generation = self.generation,
            user = %self.user,
            pid = self.pid,
            from = %format_rfc3339_micros(self.from),
            until = %format_rfc3339_micros(SystemTime::now()),
            "ran"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_what_lasts_as_long_as_the_threshold_and_zero_is_none() {
        for (threshold, waited, expected) in
            [(1000, 999, false), (1000, 1000, true), (0, 0, false), (0, 60_000, false), (1, 1, true)]
        {
            let settings =
                TellSettings { slow_checkout: Duration::from_millis(threshold), ..TellSettings::default() };
            assert_eq!(settings.is_slow(Duration::from_millis(waited)), expected, "{threshold} {waited}");
        }
    }
}
