//! What the driver hears of without being asked for a user: suspicion, a changed
//! source, and what an earlier crash left behind.

use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Driver, source_bound};
use crate::credentials::schedule::{self, Trouble};
use crate::credentials::source::{Recovery, SourceError};

/// The least time between two looks for suspicion, or for wishes.
const SUSPICION_PAUSE: Duration = Duration::from_millis(50);
/// The least time between two looks at whether the source changed.
const CHANGE_PAUSE: Duration = Duration::from_millis(200);

/// PostgreSQL misses a client that crashed only when it writes to it, or by its own timeouts:
/// soon at first, then rarely, for as long as this process lives.
fn look_again_in(looks: u32) -> Duration {
    Duration::from_secs(if looks <= 24 { 5 } else { 600 })
}

impl Driver {
    pub(super) fn recovered(&mut self, outcome: Result<Recovery, SourceError>) {
        match outcome {
            Ok(Recovery { removed, in_use }) => {
                if removed > 0 {
                    tracing::info!(pool = %self.pool, users = removed, "removed users of an earlier run");
                }
                if in_use > 0 {
                    self.recover_looks = self.recover_looks.saturating_add(1);
                    self.recover(look_again_in(self.recover_looks));
                }
            }
            Err(error) => {
                self.recover_failures = self.recover_failures.saturating_add(1);
                let fraction = rand::random();
                let trouble = Trouble::from(&error);
                // Nothing waits for this: as slow as with a user that lives for days.
                let long = Some(Duration::from_secs(86_400));
                let wait = schedule::retry_in(trouble, self.recover_failures, long, None, fraction);
                tracing::warn!(pool = %self.pool, %error, retry_in = wait.as_secs_f64(), "cannot look for users of an earlier run");
                self.recover(wait);
            }
        }
    }

    pub(super) fn recover(&mut self, after: Duration) {
        let source = Arc::clone(&self.source);
        self.start_task(Answer::StartAnyway, async move {
            tokio::time::sleep(after).await;
            Answer::Recovered(source_bound(source.recover()).await)
        });
    }

    pub(super) fn listen_for_suspicion(&mut self) {
        let fleet = Arc::clone(&self.fleet);
        self.start_task(Answer::Suspicion, async move {
            tokio::time::sleep(SUSPICION_PAUSE).await;
            fleet.suspicion().await;
            Answer::Suspicion
        });
    }

    pub(super) fn listen_for_wishes(&mut self) {
        let fleet = Arc::clone(&self.fleet);
        self.start_task(Answer::Wanted, async move {
            tokio::time::sleep(SUSPICION_PAUSE).await;
            fleet.wanted().await;
            Answer::Wanted
        });
    }

    pub(super) fn listen_for_change(&mut self) {
        let source = Arc::clone(&self.source);
        self.start_task(Answer::SourceChanged, async move {
            tokio::time::sleep(CHANGE_PAUSE).await;
            source.changed().await;
            Answer::SourceChanged
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_crashed_is_looked_for_soon_and_then_rarely() {
        let waits: Vec<u64> =
            [1, 24, 25, u32::MAX].map(look_again_in).iter().map(Duration::as_secs).collect();
        assert_eq!(waits, [5, 5, 600, 600]);
    }
}
