//! The life of a pool's generations: decides what is done with which user, and
//! when.
//!
//! ```text
//! issue → verify → warm → active → retiring → drained → revoked
//!            └───────┴───────────────┴─► dead (found gone) ─┘
//! ```
//!
//! No I/O, no clock, no task: [`Life::handle`] takes the time and what
//! happened and returns what to do; [`Life::next_wake`] says when to come back
//! with [`Event::Tick`]. It never sees a password. [`super::keeper`] does what
//! it says.
//!
//! Kept true here, and tested by simulation: one call for a new user at a time;
//! at most one successor; a failed call takes nothing away from a user that is
//! valid; nothing serves past its end but by `outage_grace`; whatever was
//! issued is revoked, or told of.

mod answers;
mod event;
mod member;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

pub use event::GenerationState;
pub(crate) use event::{Effect, Event, Notice};

use self::member::{Member, Renewal, Shutdown, Stage};
use super::generation::GenerationId;
use super::schedule::{self, GAP, Trouble};
use super::settings::RotationSettings;
use crate::clock::Moment;

/// A life shorter than this is not worth a switch.
const SHORTEST_LIFE: Duration = Duration::from_millis(500);
/// Surveys are at least this far apart, however suspicious a session is.
const SUSPICION_GAP: Duration = Duration::from_millis(100);
/// How many generations stay listed after their end.
const REMEMBERED: usize = 5;

/// One generation, for snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) id: GenerationId,
    pub(crate) state: GenerationState,
    pub(crate) end: Moment,
    pub(crate) late_from: Moment,
    pub(crate) renewals: u32,
}

#[derive(Debug, Default)]
struct Survey {
    in_flight: bool,
    last: Option<Moment>,
    suspected: bool,
    failures: u32,
}

/// The generations of one pool.
#[derive(Debug)]
pub(crate) struct Life {
    rotation: RotationSettings,
    dice: SmallRng,
    /// Oldest first.
    members: Vec<Member>,
    next_id: GenerationId,
    issuing: bool,
    /// When the next user is due; `None` before the start.
    next_issue: Option<Moment>,
    last_issue: Option<Moment>,
    /// The source changed since the last user was asked for.
    outdated: bool,
    /// Calls for a user that failed since the last that did not.
    troubles: u32,
    /// Whether the last of them could not reach the source.
    outage: bool,
    /// Users that PostgreSQL refused since the last switch.
    refused: u32,
    deaths: u32,
    last_death: Option<Moment>,
    survey: Survey,
    stop: Option<Shutdown>,
    done: bool,
    activations: u64,
    effects: Vec<Effect>,
}

impl Life {
    /// No generation yet; nothing happens before [`Event::Start`]. The seed
    /// makes this instance's jitter.
    pub(crate) fn new(rotation: RotationSettings, seed: u64) -> Self {
        Self {
            rotation,
            dice: SmallRng::seed_from_u64(seed),
            members: Vec::new(),
            next_id: GenerationId::FIRST,
            issuing: false,
            next_issue: None,
            last_issue: None,
            outdated: false,
            troubles: 0,
            outage: false,
            refused: 0,
            deaths: 0,
            last_death: None,
            survey: Survey::default(),
            stop: None,
            done: false,
            activations: 0,
            effects: Vec::new(),
        }
    }

    /// Takes in what happened, and whatever time brought about, and says what
    /// to do, in this order. `now` never goes back.
    pub(crate) fn handle(&mut self, now: Moment, event: Event) -> Vec<Effect> {
        if self.done {
            return Vec::new();
        }
        self.take(now, event);
        self.advance(now);
        std::mem::take(&mut self.effects)
    }

    /// When [`Event::Tick`] is due, if nothing happens before. Always later
    /// than the last `now`.
    pub(crate) fn next_wake(&self) -> Option<Moment> {
        if self.done {
            return None;
        }
        let replaced = self.warming().is_some();
        let of_members = self.members.iter().filter_map(|member| self.member_due(member, replaced));
        let others = [self.issue_due(), self.survey_due(), self.stop.map(|stop| stop.by)];
        of_members.chain(others.into_iter().flatten()).min()
    }

    /// The generations, oldest first, the latest few that are over included.
    pub(crate) fn views(&self) -> impl Iterator<Item = View> + '_ {
        let issuing = self.issuing.then_some(View {
            id: self.next_id,
            state: GenerationState::Issuing,
            end: Moment::default(),
            late_from: Moment::default(),
            renewals: 0,
        });
        let grace = if self.outage { self.rotation.outage_grace } else { Duration::ZERO };
        let view = move |m: &Member| View {
            id: m.id,
            state: m.state(),
            end: m.served_end(),
            late_from: m.late_from(&self.rotation, grace),
            renewals: m.renewals,
        };
        self.members.iter().map(view).chain(issuing)
    }

    /// How often one generation took over from another.
    pub(crate) fn rotations(&self) -> u64 {
        self.activations.saturating_sub(1)
    }

    /// Calls for a user that failed since the last that did not.
    pub(crate) fn troubles(&self) -> u32 {
        self.troubles
    }

    /// The generation that all checkouts get.
    pub(crate) fn active(&self) -> Option<GenerationId> {
        self.active_member().map(|member| member.id)
    }

    /// When the next user is due, if none is on its way.
    pub(crate) fn next_issue(&self) -> Option<Moment> {
        self.issue_due()
    }

    /// Whether [`Event::Rotate`] would do anything: not while a new generation
    /// is on its way, and not while stopping.
    pub(crate) fn may_rotate(&self) -> bool {
        self.issue_due().is_some()
    }

    fn active_member(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.is_active())
    }

    fn successor(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.is_successor())
    }

    fn warming(&self) -> Option<&Member> {
        self.members.iter().find(|member| matches!(member.stage, Stage::Warming { .. }))
    }

    fn member_mut(&mut self, id: GenerationId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    fn ids(&self, which: impl Fn(&Member) -> bool) -> Vec<GenerationId> {
        self.members.iter().filter(|member| which(member)).map(|member| member.id).collect()
    }

    /// How long the active generation may still serve.
    fn time_left(&self, now: Moment) -> Option<Duration> {
        self.active_member().map(|member| now.until(member.deadline().close))
    }

    fn fraction(&mut self) -> f64 {
        self.dice.random()
    }

    fn retry_in(
        &mut self,
        now: Moment,
        trouble: Trouble,
        failures: u32,
        asked: Option<Duration>,
    ) -> Duration {
        let fraction = self.fraction();
        schedule::retry_in(trouble, failures, self.time_left(now), asked, fraction)
    }

    fn tell(&mut self, notice: Notice) {
        self.effects.push(Effect::Tell(notice));
    }

    // When things are due. `advance` acts on exactly these, so that a wake is
    // never for nothing.

    fn issue_due(&self) -> Option<Moment> {
        if self.issuing || self.stop.is_some() || self.successor().is_some() {
            return None;
        }
        let gap_over = self.last_issue.map_or(Moment::default(), |last| last + GAP);
        self.next_issue.map(|at| at.max(gap_over))
    }

    fn survey_due(&self) -> Option<Moment> {
        if self.survey.in_flight || self.stop.is_some() || !self.members.iter().any(Member::is_surveyed) {
            return None;
        }
        let interval = self.rotation.watch_interval.max(SUSPICION_GAP);
        let wait = if self.survey.suspected { SUSPICION_GAP } else { interval };
        Some(self.survey.last.map_or(Moment::default(), |last| last + wait))
    }

    fn member_due(&self, member: &Member, replaced: bool) -> Option<Moment> {
        let step = match member.stage {
            Stage::Verifying { retry_at, .. } => {
                let close = member.deadline().close;
                Some(retry_at.map_or(close, |at| at.min(close)))
            }
            Stage::Warming { until } => Some(until.min(member.deadline().close)),
            Stage::Active { .. } => Some(member.deadline().close),
            Stage::Retiring { .. } => member.drain_due(&self.rotation, self.stop),
            Stage::Revoking { retry_at, .. } => retry_at,
            Stage::Over(_) => None,
        };
        let renew = member.renew_due(&self.rotation, replaced);
        step.into_iter().chain(renew).min()
    }

    // What time brings about, in this order: a successor takes over before the
    // one it replaces is closed.

    fn advance(&mut self, now: Moment) {
        self.drop_unusable(now);
        self.switch(now);
        self.extend(now);
        self.close(now);
        self.verify(now);
        self.drain(now);
        self.renew(now);
        self.revoke(now);
        self.issue(now);
        self.ask_pg_roles(now);
        self.forget();
        self.finish(now);
    }

    /// Successors whose own life is over before they served.
    fn drop_unusable(&mut self, now: Moment) {
        for id in self.ids(|member| member.is_successor() && member.deadline().close <= now) {
            self.tell(Notice::Ended { id });
            self.discard(now, id);
            self.issue_later(now);
        }
    }

    fn switch(&mut self, now: Moment) {
        if self.stop.is_some() {
            return;
        }
        let Some(Member { id, stage: Stage::Warming { until }, .. }) = self.warming() else { return };
        let (id, until) = (*id, *until);
        if until <= now || self.active().is_none() {
            self.activate(now, id);
        }
    }

    fn activate(&mut self, now: Moment, id: GenerationId) {
        let before = self.active();
        let fraction = self.fraction();
        let rotation = self.rotation.clone();
        let Some(member) = self.member_mut(id) else { return };
        let rotate_at = member.rotate_at(&rotation, fraction);
        let issue_at = member.issue_at(&rotation, rotate_at);
        member.stage = Stage::Active { rotate_at };
        self.effects.push(Effect::Activate(id));
        self.tell(Notice::Activated { id, before });
        if let Some(before) = before {
            self.retire(now, before, true);
        }
        self.activations = self.activations.saturating_add(1);
        self.refused = 0;
        self.next_issue = Some(if self.outdated { now } else { issue_at });
    }

    /// Lets the active user serve on past its end while nobody can be asked for another.
    fn extend(&mut self, now: Moment) {
        let grace = self.rotation.outage_grace;
        if !self.outage || grace.is_zero() || self.stop.is_some() {
            return;
        }
        let Some(member) = self.members.iter_mut().find(|member| member.is_active()) else { return };
        if member.extended.is_none() && member.deadline().close <= now {
            let (id, until) = (member.id, member.end + grace);
            member.extended = Some(until);
            self.effects.push(Effect::MoveEnd(id, until));
            self.tell(Notice::Extended { id, until });
        }
    }

    /// Fails closed: the active user is about to end, and there is no other.
    fn close(&mut self, now: Moment) {
        for id in self.ids(|member| member.is_active() && member.deadline().close <= now) {
            self.effects.push(Effect::Deactivate(id));
            self.tell(Notice::Closed { id });
            self.retire(now, id, true);
            self.hurry(now);
        }
    }

    /// Nobody serves any more: what waits for another user waits no longer than that allows.
    fn hurry(&mut self, now: Moment) {
        let trouble = if self.outage { Trouble::Unavailable } else { Trouble::Denied };
        let wait = match self.troubles {
            0 => Duration::ZERO,
            failures => self.retry_in(now, trouble, failures, None),
        };
        self.next_issue = self.next_issue.map(|at| at.min(now + wait));
        for member in &mut self.members {
            if let Stage::Verifying { retry_at: Some(at), .. } = &mut member.stage {
                *at = now.min(*at);
            }
        }
    }

    fn verify(&mut self, now: Moment) {
        for member in &mut self.members {
            if let Stage::Verifying { retry_at, tried, .. } = &mut member.stage
                && retry_at.is_some_and(|at| at <= now)
            {
                (*retry_at, *tried) = (None, now);
                self.effects.push(Effect::Verify(member.id));
            }
        }
    }

    fn drain(&mut self, now: Moment) {
        let (rotation, stop) = (&self.rotation, self.stop);
        for member in &mut self.members {
            let id = member.id;
            // Cancel and cut may both be due, after a suspend.
            while member.drain_due(rotation, stop).is_some_and(|due| due <= now) {
                let (_, reason) = member.last_call(rotation, stop);
                let Stage::Retiring { cancelled, cut, .. } = &mut member.stage else { break };
                if !*cancelled {
                    *cancelled = true;
                    self.effects.push(Effect::CancelBusy(id));
                } else if cut.is_none() {
                    *cut = Some(now);
                    self.effects.push(Effect::Cut(id, reason));
                } else {
                    member.stage = Stage::Revoking { retry_at: Some(now), failures: 0 };
                    self.effects.push(Effect::Tell(Notice::Stuck { id }));
                }
            }
        }
    }

    fn renew(&mut self, now: Moment) {
        let replaced = self.warming().is_some();
        for member in &mut self.members {
            if member.renew_due(&self.rotation, replaced).is_some_and(|due| due <= now) {
                member.renewal = Renewal::InFlight;
                self.effects.push(Effect::Renew(member.id));
            }
        }
    }

    fn revoke(&mut self, now: Moment) {
        for member in &mut self.members {
            if let Stage::Revoking { retry_at, .. } = &mut member.stage
                && retry_at.is_some_and(|at| at <= now)
            {
                *retry_at = None;
                self.effects.push(Effect::Revoke(member.id));
            }
        }
    }

    fn issue(&mut self, now: Moment) {
        if self.issue_due().is_some_and(|due| due <= now) {
            self.issuing = true;
            self.outdated = false;
            self.last_issue = Some(now);
            self.effects.push(Effect::Issue(self.next_id));
        }
    }

    fn ask_pg_roles(&mut self, now: Moment) {
        if self.survey_due().is_some_and(|due| due <= now) {
            self.survey.in_flight = true;
            self.survey.suspected = false;
            self.survey.last = Some(now);
            let patience = self.rotation.watch_interval.clamp(Duration::from_secs(1), Duration::from_secs(5));
            let ids = self.ids(Member::is_surveyed);
            self.effects.push(Effect::Survey(ids, patience));
        }
    }

    fn forget(&mut self) {
        let over = self.members.iter().filter(|member| member.is_over()).count();
        let mut surplus = over.saturating_sub(REMEMBERED);
        let effects = &mut self.effects;
        self.members.retain(|member| {
            let keep = surplus == 0 || !member.is_over();
            if !keep {
                surplus -= 1;
                effects.push(Effect::Forget(member.id));
            }
            keep
        });
    }

    fn finish(&mut self, now: Moment) {
        let Some(stop) = self.stop else { return };
        let complete = !self.issuing && self.members.iter().all(Member::is_over);
        if !complete && now < stop.by {
            return;
        }
        for member in self.members.iter_mut().filter(|member| !member.is_over()) {
            member.stage = Stage::Over(GenerationState::Left);
            self.effects.push(Effect::Tell(Notice::Left { id: member.id }));
        }
        self.done = true;
        self.effects.push(Effect::Done);
    }

    // Steps that several causes share.

    /// No new checkouts; its connections end as they come back.
    fn retire(&mut self, now: Moment, id: GenerationId, served: bool) {
        if let Some(member) = self.member_mut(id) {
            if member.extended.is_some() {
                // Past its end: what runs gets a moment, nothing starts.
                member.extended = member.extended.map(|until| until.min(now + Duration::from_secs(5)));
            }
            member.stage = Stage::Retiring { since: now, served, cancelled: false, cut: None };
            self.effects.push(Effect::Retire(id));
        }
    }

    /// A user that will never serve: its connections close, then it is revoked.
    fn discard(&mut self, now: Moment, id: GenerationId) {
        self.retire(now, id, false);
    }

    /// After a user that could not be used.
    fn issue_later(&mut self, now: Moment) -> Duration {
        self.refused = self.refused.saturating_add(1);
        let wait = self.retry_in(now, Trouble::Refused, self.refused, None);
        self.next_issue = Some(now + wait);
        wait
    }
}
