//! What the core is told, and what it asks for.

use std::fmt;
use std::time::Duration;

use crate::clock::Moment;
use crate::credentials::fleet::{CutReason, SurveyError, UserState, VerifyError};
use crate::credentials::generation::GenerationId;
use crate::credentials::source::{SourceError, Term};

/// Something that happened. Every [`Effect`] that says so is answered by one
/// of these, once, in whatever order.
#[derive(Debug)]
pub(crate) enum Event {
    /// Begin: the first user may be asked for.
    Start,
    /// The user asked for by [`Effect::Issue`] is there.
    Issued(Term),
    /// It is not.
    IssueFailed(SourceError),
    /// The user logged in on every host of the pool.
    Verified(GenerationId),
    /// It did not.
    VerifyFailed(GenerationId, VerifyError),
    /// As many connections are open as will be.
    Warmed(GenerationId),
    /// A retired generation has no connection left.
    Drained(GenerationId),
    /// A lease was renewed.
    Renewed(GenerationId, Term),
    /// It was not.
    RenewFailed(GenerationId, SourceError),
    /// The user is removed at the source.
    Revoked(GenerationId),
    /// It may still be there.
    RevokeFailed(GenerationId, SourceError),
    /// What pg_roles says.
    Surveyed(Vec<(GenerationId, UserState)>),
    /// The survey could not be made: says nothing about any user.
    SurveyFailed(SurveyError),
    /// A session met an error that a dropped user would explain.
    Suspicion,
    /// A client asked while nobody serves.
    Wanted,
    /// An operator wants a new generation now.
    Rotate,
    /// What users are issued with was replaced: those that are there, and those on their way, are
    /// to be followed by another.
    SourceChanged,
    /// Stop: everything is to be revoked by this moment.
    Shutdown(Moment),
    /// Time passed.
    Tick,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Ask the source for a user; it will be this generation. Answered.
    Issue(GenerationId),
    /// Log in with it on every host. Answered.
    Verify(GenerationId),
    /// Open connections ahead. Answered.
    Warm(GenerationId),
    /// All checkouts from here on. Followed by [`Effect::Retire`] of the one before.
    Activate(GenerationId),
    /// No checkouts any more, from no generation.
    Deactivate(GenerationId),
    /// Close what is idle, and the rest as it is given back. Answered by [`Event::Drained`].
    Retire(GenerationId),
    /// CancelRequest for what is busy.
    CancelBusy(GenerationId),
    /// FATAL, and close.
    Cut(GenerationId, CutReason),
    /// The user now ends at this moment.
    MoveEnd(GenerationId, Moment),
    /// Ask for more time. Answered.
    Renew(GenerationId),
    /// Remove the user. Answered.
    Revoke(GenerationId),
    /// Ask pg_roles for these users, within this time. Answered.
    Survey(Vec<GenerationId>, Duration),
    /// The generation is no longer listed.
    Forget(GenerationId),
    /// Something to log.
    Tell(Notice),
    /// The stop is complete, or its time is up.
    Done,
}

/// Something that an operator may want to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// No user was issued; the next try comes after `retry_in`.
    IssueFailed { error: String, failures: u32, retry_in: Duration, time_left: Option<Duration> },
    /// A user was issued whose life is over or too short to be used.
    Ended { id: GenerationId },
    /// The new user could not log in.
    VerifyFailed {
        id: GenerationId,
        error: String,
        failures: u32,
        retry_in: Duration,
        time_left: Option<Duration>,
    },
    /// It could not for too long: another one is asked for after `retry_in`.
    GivenUp { id: GenerationId, retry_in: Duration },
    /// The switch.
    Activated { id: GenerationId, before: Option<GenerationId> },
    /// The serving user is close to its end, and there is no other.
    Closed { id: GenerationId },
    /// The user was removed by somebody else.
    Gone { id: GenerationId, state: UserState },
    /// The serving user goes on past its end, while the source is unreachable.
    Extended { id: GenerationId, until: Moment },
    /// The lease was renewed.
    Renewed { id: GenerationId, again: bool },
    /// It was not; `None`: and will not be tried again.
    RenewFailed { id: GenerationId, error: String, retry_in: Option<Duration> },
    /// Connections are left after the cut; the user is revoked all the same.
    Stuck { id: GenerationId },
    /// The user is gone from the source.
    Revoked { id: GenerationId },
    /// It may not be.
    RevokeFailed { id: GenerationId, error: String, retry_in: Duration },
    /// It could not be revoked, or not in time: it ends by itself.
    Left { id: GenerationId },
    /// The survey failed this many times in a row.
    SurveyFailed { error: String, failures: u32 },
}

/// Where a generation is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GenerationState {
    /// The source has been asked for a user.
    Issuing,
    /// The user is there and has to log in on every host.
    Verifying,
    /// Connections are opened ahead of the switch.
    Warming,
    /// All checkouts get it.
    Active,
    /// No new checkouts; what is out comes back, or is cut at the deadline.
    Retiring,
    /// No connection is left; the user is being revoked.
    Drained,
    /// The user is removed.
    Revoked,
    /// The user was found gone: somebody else removed it.
    Dead,
    /// The user could not be revoked and ends by itself.
    Left,
}

impl fmt::Display for GenerationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Issuing => "issuing",
            Self::Verifying => "verifying",
            Self::Warming => "warming",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Drained => "drained",
            Self::Revoked => "revoked",
            Self::Dead => "dead",
            Self::Left => "left",
        })
    }
}
