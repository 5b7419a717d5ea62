//! One generation as the core sees it: where it is in its life, and what is
//! due for it when.

use std::time::Duration;

use super::event::GenerationState;
use crate::clock::Moment;
use crate::credentials::fleet::CutReason;
use crate::credentials::generation::GenerationId;
use crate::credentials::schedule::{self, Deadline};
use crate::credentials::settings::{RenewPolicy, RotationSettings};
use crate::credentials::source::Term;

/// How long a cut generation may take to report that it is drained.
const CUT_PATIENCE: Duration = Duration::from_secs(5);
/// How long the connections of a user that never served may take to close.
const UNUSED_DRAIN: Duration = Duration::from_secs(2);

/// A stop that is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shutdown {
    pub(super) since: Moment,
    pub(super) by: Moment,
}

#[derive(Debug)]
pub(super) enum Stage {
    Verifying {
        /// `None` while a login is under way.
        retry_at: Option<Moment>,
        /// When the last one began.
        tried: Moment,
        failures: u32,
        /// Since when the server has been saying no.
        refused_since: Option<Moment>,
    },
    Warming {
        until: Moment,
    },
    Active {
        /// When the next user is due, or a renewal that takes its place.
        rotate_at: Moment,
    },
    Retiring {
        since: Moment,
        /// Whether clients ever got it.
        served: bool,
        cancelled: bool,
        cut: Option<Moment>,
    },
    Revoking {
        /// `None` while a call is under way.
        retry_at: Option<Moment>,
        failures: u32,
    },
    Over(GenerationState),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// The next one is not before this moment.
    From(Moment),
    InFlight,
    /// The source will not give more.
    Exhausted,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: GenerationId,
    /// When the user was asked for.
    pub(super) born: Moment,
    /// When the latest term was asked for.
    pub(super) sent: Moment,
    /// What the source promised.
    pub(super) end: Moment,
    /// The longest that was granted at a time.
    pub(super) longest: Duration,
    /// The latest renewal gave less than that.
    pub(super) capped: bool,
    /// Past its end while the source is unreachable: until then.
    pub(super) extended: Option<Moment>,
    /// When the user was found gone.
    pub(super) gone: Option<Moment>,
    pub(super) renewal: Renewal,
    pub(super) renew_failures: u32,
    pub(super) renewals: u32,
    pub(super) stage: Stage,
}

impl Member {
    pub(super) fn new(id: GenerationId, term: &Term, stage: Stage) -> Self {
        Self {
            id,
            born: term.sent,
            sent: term.sent,
            end: term.end(),
            longest: term.sent.until(term.end()),
            capped: false,
            extended: None,
            gone: None,
            renewal: if term.renewable { Renewal::From(term.sent) } else { Renewal::Exhausted },
            renew_failures: 0,
            renewals: 0,
            stage,
        }
    }

    pub(super) fn state(&self) -> GenerationState {
        match self.stage {
            Stage::Over(state) => state,
            _ if self.gone.is_some() => GenerationState::Dead,
            Stage::Verifying { .. } => GenerationState::Verifying,
            Stage::Warming { .. } => GenerationState::Warming,
            Stage::Active { .. } => GenerationState::Active,
            Stage::Retiring { .. } => GenerationState::Retiring,
            Stage::Revoking { .. } => GenerationState::Drained,
        }
    }

    pub(super) fn is_active(&self) -> bool {
        matches!(self.stage, Stage::Active { .. })
    }

    /// Issued, but not active yet.
    pub(super) fn is_successor(&self) -> bool {
        matches!(self.stage, Stage::Verifying { .. } | Stage::Warming { .. })
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }

    /// Until when it may serve.
    pub(super) fn served_end(&self) -> Moment {
        self.extended.map_or(self.end, |until| until.max(self.end))
    }

    /// What its lease alone says.
    pub(super) fn deadline(&self) -> Deadline {
        match self.extended {
            Some(until) if until > self.end => Deadline::of_lease(self.longest, until),
            _ => self.lease_deadline(),
        }
    }

    /// As [`Member::deadline`], of the promised end.
    pub(super) fn lease_deadline(&self) -> Deadline {
        Deadline::of_lease(self.longest, self.end)
    }

    /// From when on it is nearer to its end than the retries for a successor allow for. `grace` is
    /// what it may serve on for past its end, as things are.
    pub(super) fn late_from(&self, rotation: &RotationSettings, grace: Duration) -> Moment {
        let close = Deadline::of_lease(self.longest, self.end + grace).close;
        schedule::late_from(self.end - self.longest, self.end, close, rotation)
    }

    /// What ends its connections, whichever comes first, and why.
    pub(super) fn last_call(
        &self,
        rotation: &RotationSettings,
        stop: Option<Shutdown>,
    ) -> (Deadline, CutReason) {
        let mut first = (self.deadline(), CutReason::LeaseEnded);
        let mut bound = |deadline: Deadline, reason: CutReason| {
            if deadline.cut < first.0.cut {
                first.1 = reason;
            }
            first.0.cancel = first.0.cancel.min(deadline.cancel);
            first.0.cut = first.0.cut.min(deadline.cut);
        };
        if let Stage::Retiring { since, served, .. } = self.stage {
            let timeout =
                if served { rotation.drain_timeout } else { UNUSED_DRAIN.min(rotation.drain_timeout) };
            bound(Deadline::of_drain(since, timeout), CutReason::DrainTimeout);
        }
        if let Some(since) = self.gone {
            bound(Deadline::of_grace(since, rotation.revoked_grace), CutReason::Revoked);
        }
        if let Some(stop) = stop {
            bound(Deadline::of_shutdown(stop.since, stop.by), CutReason::Shutdown);
        }
        first
    }

    /// When a retired generation is next cancelled, cut, or given up as stuck.
    pub(super) fn drain_due(&self, rotation: &RotationSettings, stop: Option<Shutdown>) -> Option<Moment> {
        let Stage::Retiring { cancelled, cut, .. } = self.stage else { return None };
        if let Some(cut) = cut {
            let patience = stop.map_or(CUT_PATIENCE, |stop| CUT_PATIENCE.min(cut.until(stop.by) / 2));
            return Some(cut + patience);
        }
        let (deadline, _) = self.last_call(rotation, stop);
        Some(if cancelled { deadline.cut } else { deadline.cancel })
    }

    /// When its turn to serve is over: when of a whole life, up to its end, no more is left than
    /// [`RotationSettings::at`] leaves.
    pub(super) fn rotate_at(&self, rotation: &RotationSettings, fraction: f64) -> Moment {
        schedule::rotate_at(self.end - self.longest, self.end, rotation, fraction)
    }

    /// When the next user is to be asked for, with its turn over at `rotate_at`.
    pub(super) fn issue_at(&self, rotation: &RotationSettings, rotate_at: Moment) -> Moment {
        if self.is_renewed_instead(rotation) {
            schedule::issue_unanswered_at(rotate_at, self.lease_deadline().close)
        } else {
            rotate_at
        }
    }

    /// Whether it is given more time where the next user would be asked for.
    fn is_renewed_instead(&self, rotation: &RotationSettings) -> bool {
        let may = rotation.renew == RenewPolicy::UntilMax && self.renewal != Renewal::Exhausted;
        may && !self.capped && self.renew_failures == 0
    }

    /// When to ask for more time: for a generation that drains, for one that should have been
    /// replaced by now, and for one that is to serve on. Never if the operator says so.
    pub(super) fn renew_due(&self, rotation: &RotationSettings, replaced: bool) -> Option<Moment> {
        let Renewal::From(not_before) = self.renewal else { return None };
        if self.gone.is_some() || rotation.renew == RenewPolicy::Never {
            return None;
        }
        let usual = schedule::renew_at(self.sent, self.end);
        let due = match self.stage {
            Stage::Active { rotate_at } if !replaced && self.is_renewed_instead(rotation) => rotate_at,
            Stage::Active { rotate_at } if !replaced => {
                let close = self.lease_deadline().close;
                usual.max(rotate_at + rotate_at.until(close) / 2)
            }
            Stage::Retiring { since, served: true, cut: None, .. }
                if since + rotation.drain_timeout > self.end =>
            {
                usual
            }
            _ => return None,
        };
        Some(due.max(not_before))
    }

    /// Whether pg_roles is asked for it: never before it was verified.
    pub(super) fn is_surveyed(&self) -> bool {
        self.gone.is_none()
            && matches!(
                self.stage,
                Stage::Warming { .. }
                    | Stage::Active { .. }
                    | Stage::Retiring { served: true, cut: None, .. }
            )
    }
}
