//! Times as JSON shows them.

use std::time::SystemTime;

use crate::clock::Moment;
use crate::snapshot::Snapshot;

/// Milliseconds are enough for a person, and more digits would only look exact.
pub(super) fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

/// Seconds from then to the snapshot.
pub(super) fn ago(snapshot: &Snapshot, then: Moment) -> f64 {
    milliseconds(then.until(snapshot.now.boot).as_secs_f64())
}

/// RFC 3339 in UTC.
pub(super) fn date(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
