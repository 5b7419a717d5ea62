//! How long clients wait for a server connection.

use serde::Serialize;

use super::figures::milliseconds;
use crate::pool::PoolCounts;

/// Those that wait now, and those that did.
#[derive(Debug, Serialize)]
pub(super) struct Waits {
    now: usize,
    longest_seconds: Option<f64>,
    served: u64,
    p50_seconds: Option<f64>,
    p99_seconds: Option<f64>,
    timeouts: u64,
}

impl Waits {
    pub(super) fn of(counts: &PoolCounts) -> Self {
        // JSON has no infinity: that is null too.
        let percentile = |percent| counts.waits.percentile(percent).filter(|bound| bound.is_finite());
        Self {
            now: counts.waiting,
            longest_seconds: counts.longest_wait.map(|wait| milliseconds(wait.as_secs_f64())),
            served: counts.waits.count(),
            p50_seconds: percentile(50),
            p99_seconds: percentile(99),
            timeouts: counts.timeouts,
        }
    }
}
