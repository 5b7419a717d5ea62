//! What a keeper and a source have done since the start, in figures.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// Why a generation takes no more checkouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetireReason {
    /// Its successor was due.
    Schedule,
    /// Somebody asked for a successor.
    Asked,
    /// What users are issued with was replaced.
    SourceChanged,
    /// Somebody else removed the user.
    UserGone,
    /// PostgreSQL would not let it in.
    NotVerified,
    /// Its end came.
    Ended,
    /// The process stops.
    Stopping,
}

impl RetireReason {
    /// One word for tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Asked => "asked",
            Self::SourceChanged => "source_changed",
            Self::UserGone => "user_gone",
            Self::NotVerified => "not_verified",
            Self::Ended => "ended",
            Self::Stopping => "stopping",
        }
    }
}

impl From<RotationReason> for RetireReason {
    /// Of the one that a new generation takes over from.
    fn from(reason: RotationReason) -> Self {
        match reason {
            RotationReason::Start | RotationReason::Schedule => Self::Schedule,
            RotationReason::Asked => Self::Asked,
            RotationReason::SourceChanged => Self::SourceChanged,
            RotationReason::UserGone => Self::UserGone,
        }
    }
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

/// Calls of a source over HTTP. Counted on the control runtime alone, so a lock is cheap enough.
#[derive(Debug, Default)]
pub struct Calls(Mutex<CallCounts>);

/// How many calls there were, and how long they took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// By operation and status, in words of closed sets.
    pub requests: BTreeMap<(&'static str, &'static str), u64>,
    /// By operation.
    pub took: BTreeMap<&'static str, Histogram>,
}

impl Calls {
    /// One more.
    pub(super) fn count(&self, operation: &'static str, status: &'static str, took: Duration) {
        let mut counts = self.lock();
        let count = counts.requests.entry((operation, status)).or_default();
        *count = count.saturating_add(1);
        counts.took.entry(operation).or_default().observe(took);
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
