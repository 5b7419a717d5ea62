//! What the driver hears of without being asked for a user: suspicion, a changed
//! source, and what an earlier crash left behind.

use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Driver, source_bound};
use crate::credentials::schedule::{self, Trouble};
use crate::credentials::source::SourceError;

/// The least time between two looks for suspicion.
const SUSPICION_PAUSE: Duration = Duration::from_millis(50);
/// The least time between two looks at whether the source changed.
const CHANGE_PAUSE: Duration = Duration::from_millis(200);

impl Driver {
    pub(super) fn recovered(&mut self, outcome: Result<usize, SourceError>) {
        match outcome {
            Ok(0) => {}
            Ok(users) => tracing::info!(pool = %self.pool, users, "removed users of an earlier run"),
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

    pub(super) fn listen_for_change(&mut self) {
        let source = Arc::clone(&self.source);
        self.start_task(Answer::SourceChanged, async move {
            tokio::time::sleep(CHANGE_PAUSE).await;
            source.changed().await;
            Answer::SourceChanged
        });
    }
}
