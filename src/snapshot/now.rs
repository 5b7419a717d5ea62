//! One moment on every clock.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::clock::Moment;

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
