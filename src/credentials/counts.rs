//! What a keeper and a source have done since the start, in figures.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Moment;
use crate::histogram::Histogram;

/// Why a new generation is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RotationReason {
    /// There has been none yet.
    #[default]
    Start,
    /// The one that serves gets old.
    Schedule,
    /// Somebody asked for it.
    Asked,
    /// What users are issued with was replaced.
    SourceChanged,
    /// Somebody else removed the user.
    UserGone,
}

/// What came of one try for a new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RotationOutcome {
    /// It serves.
    Switched,
    /// The source gave no user.
    NotIssued,
    /// PostgreSQL would not let the user in.
    NotVerified,
    /// The user's life was over before it could serve.
    TooShort,
}

impl RotationReason {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Start, "start"),
        (Self::Schedule, "schedule"),
        (Self::Asked, "asked"),
        (Self::SourceChanged, "source_changed"),
        (Self::UserGone, "user_gone"),
    ];
}

impl RotationOutcome {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Switched, "switched"),
        (Self::NotIssued, "not_issued"),
        (Self::NotVerified, "not_verified"),
        (Self::TooShort, "too_short"),
    ];
}

/// What one keeper has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeeperCounts {
    pub(super) rotations: BTreeMap<(RotationReason, RotationOutcome), u64>,
    /// From asking the source for a user to the moment at which all checkouts get it.
    pub switches: Histogram,
    /// From the last checkout of a generation that served to its last connection's end.
    pub drains: Histogram,
    /// Surveys of pg_roles that found every user there.
    pub watches_alive: u64,
    /// Surveys that found one gone.
    pub watches_gone: u64,
    /// Surveys that could not be made.
    pub watches_failed: u64,
    /// Leases renewed.
    pub renewals: u64,
    /// Calls to renew one that failed.
    pub renewals_failed: u64,
    /// Users revoked.
    pub revocations: u64,
    /// Calls to revoke one that failed.
    pub revocations_failed: u64,
    /// Users that were given up on: they end by themselves.
    pub revocations_left: u64,
}

impl KeeperCounts {
    /// Tries for a new generation, by reason and outcome in one word each; all there are.
    pub fn rotations(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        RotationReason::ALL.into_iter().flat_map(move |(reason, why)| {
            RotationOutcome::ALL.into_iter().map(move |(outcome, what)| {
                (why, what, self.rotations.get(&(reason, outcome)).copied().unwrap_or(0))
            })
        })
    }
}

/// The status of a call that succeeded.
pub(super) const OK: &str = "ok";

/// Calls of a source over HTTP. Counted on the control runtime alone, so a lock is cheap enough.
#[derive(Debug, Default)]
pub struct Calls(Mutex<CallCounts>);

/// A call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedCall {
    /// When it did.
    pub at: Moment,
    /// What it was for.
    pub operation: &'static str,
    /// What came of it.
    pub status: &'static str,
}

impl CallCounts {
    /// Calls that succeeded, and calls that did not.
    #[must_use]
    pub fn sums(&self) -> (u64, u64) {
        self.requests.iter().fold((0, 0), |(ok, failed), ((_, status), count)| match *status {
            OK => (ok.saturating_add(*count), failed),
            _ => (ok, failed.saturating_add(*count)),
        })
    }
}

/// How many calls there were, and how long they took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// By operation and status, in words of closed sets.
    pub requests: BTreeMap<(&'static str, &'static str), u64>,
    /// By operation.
    pub took: BTreeMap<&'static str, Histogram>,
    /// When the last one succeeded.
    pub last_ok: Option<Moment>,
    /// The last one that did not.
    pub last_failed: Option<FailedCall>,
}

impl Calls {
    /// One more, that began at `sent` and has an answer now.
    pub(super) fn count(&self, operation: &'static str, status: &'static str, sent: Moment, now: Moment) {
        let mut counts = self.lock();
        let count = counts.requests.entry((operation, status)).or_default();
        *count = count.saturating_add(1);
        counts.took.entry(operation).or_default().observe(sent.until(now));
        if status == OK {
            counts.last_ok = Some(now);
        } else {
            counts.last_failed = Some(FailedCall { at: now, operation, status });
        }
    }

    /// All so far.
    #[must_use]
    pub fn counts(&self) -> CallCounts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, CallCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_each_outcome_is_known() {
        let (calls, second) = (Calls::default(), |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000));
        calls.count("login", OK, second(1), second(2));
        calls.count("issue", "503", second(3), second(5));
        calls.count("issue", "503", second(6), second(9));
        calls.count("login", OK, second(7), second(8));
        let counts = calls.counts();
        let last = FailedCall { at: second(9), operation: "issue", status: "503" };
        assert_eq!((counts.last_ok, counts.last_failed), (Some(second(8)), Some(last)));
        assert_eq!((counts.sums(), counts.took["issue"].sum().as_secs()), ((2, 2), 5));
    }
}
