//! One moment on every clock.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::clock::Moment;
use crate::session::ClientRow;

/// One moment on every clock.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The clock of leases.
    pub boot: Moment,
    /// The clock of connections.
    pub instant: Instant,
    /// The clock that people read.
    pub wall: SystemTime,
}

impl Now {
    /// Reads the clocks.
    #[must_use]
    pub fn read() -> Self {
        Self { boot: Moment::now(), instant: Instant::now(), wall: SystemTime::now() }
    }

    /// Seconds since a time of the wall clock, to the millisecond; 0 if that is yet to come.
    #[must_use]
    pub fn seconds_since(&self, time: SystemTime) -> f64 {
        milliseconds(self.wall.duration_since(time).unwrap_or_default())
    }

    /// How long a client has waited for a server connection; zero if it does not wait.
    #[must_use]
    pub fn waited(&self, client: &ClientRow) -> Duration {
        client.waiting_since.map_or(Duration::ZERO, |since| self.instant.saturating_duration_since(since))
    }

    /// The wall clock's time of an earlier instant.
    #[must_use]
    pub fn wall_of(&self, instant: Instant) -> Option<SystemTime> {
        self.wall.checked_sub(self.instant.saturating_duration_since(instant))
    }

    /// The same of an earlier moment on the clock of leases.
    #[must_use]
    pub fn wall_at(&self, moment: Moment) -> Option<SystemTime> {
        self.wall.checked_sub(moment.until(self.boot))
    }
}

/// Seconds; milliseconds are enough for a person, and more digits would only look exact.
pub(super) fn milliseconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e3).round() / 1e3
}
