//! What each event changes. What time then brings about is in [`super::Life::handle`].

use std::time::Duration;

use super::event::{Event, GenerationState, Notice};
use super::member::{Member, Renewal, Shutdown, Stage};
use super::{Effect, Life, SHORTEST_LIFE};
use crate::clock::Moment;
use crate::credentials::fleet::{UserState, VerifyError};
use crate::credentials::generation::GenerationId;
use crate::credentials::schedule::{self, GAP, Trouble};
use crate::credentials::settings::RenewPolicy;
use crate::credentials::source::{SourceError, Term};

/// Users that die within this time of one another are not replaced at once.
const DEATH_MEMORY: Duration = Duration::from_secs(60);
/// How long an extended user may go on once the source answers again.
const HANDOVER: Duration = Duration::from_secs(10);
/// Clients that ask have the server asked again no more often than this.
const WISH_GAP: Duration = Duration::from_secs(1);
/// Refusals after which a user is left to its end.
const REVOKE_REFUSALS: u32 = 5;

impl Life {
    pub(super) fn take(&mut self, now: Moment, event: Event) {
        match event {
            Event::Start => self.next_issue = self.next_issue.or(Some(now)),
            Event::Issued(term) => self.issued(now, &term),
            Event::IssueFailed(error) => self.issue_failed(now, &error),
            Event::Verified(id) => self.verified(now, id),
            Event::VerifyFailed(id, error) => self.verify_failed(now, id, &error),
            Event::Warmed(id) => {
                if let Some(Stage::Warming { until }) = self.member_mut(id).map(|member| &mut member.stage) {
                    *until = now.min(*until);
                }
            }
            Event::Drained(id) => self.drained(now, id),
            Event::Renewed(id, term) => self.renewed(now, id, &term),
            Event::RenewFailed(id, error) => self.renew_failed(now, id, &error),
            Event::Revoked(id) => self.revoked(id),
            Event::RevokeFailed(id, error) => self.revoke_failed(now, id, &error),
            Event::Surveyed(states) => {
                self.survey.in_flight = false;
                self.survey.failures = 0;
                // Newest first: a successor that is gone too must not take over.
                for (id, state) in states.into_iter().rev() {
                    self.surveyed(now, id, state);
                }
            }
            Event::SurveyFailed(error) => {
                self.survey.in_flight = false;
                self.survey.failures = self.survey.failures.saturating_add(1);
                self.tell(Notice::SurveyFailed { error: error.to_string(), failures: self.survey.failures });
            }
            Event::Suspicion => self.survey.suspected = true,
            Event::Wanted => self.wanted(now),
            Event::Rotate => {
                if self.may_rotate() {
                    self.next_issue = Some(now);
                }
            }
            Event::SourceChanged if self.may_rotate() => self.next_issue = Some(now),
            Event::SourceChanged => self.outdated = true,
            Event::Shutdown(by) => self.shutdown(now, by),
            Event::Tick => {}
        }
    }

    fn issued(&mut self, now: Moment, term: &Term) {
        if !self.issuing {
            return;
        }
        self.issuing = false;
        self.troubles = 0;
        self.outage = false;
        self.end_extension(now + HANDOVER);
        let id = self.next_id;
        self.next_id = id.next();
        let useless = term.end().since(term.sent) < SHORTEST_LIFE || term.end() <= now;
        let stage = if useless || self.stop.is_some() {
            Stage::Revoking { retry_at: Some(now), failures: 0 }
        } else {
            Stage::Verifying { retry_at: Some(now), tried: now, failures: 0, refused_since: None }
        };
        self.members.push(Member::new(id, term, stage));
        if useless {
            self.tell(Notice::Ended { id });
            self.issue_later(now);
        }
    }

    fn issue_failed(&mut self, now: Moment, error: &SourceError) {
        if !self.issuing {
            return;
        }
        self.issuing = false;
        self.troubles = self.troubles.saturating_add(1);
        let trouble = Trouble::from(error);
        self.outage = trouble == Trouble::Unavailable;
        if !self.outage {
            self.end_extension(now);
        }
        let asked = match error {
            SourceError::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        };
        let retry_in =
            if self.outdated { Duration::ZERO } else { self.retry_in(now, trouble, self.troubles, asked) };
        self.next_issue = Some(now + retry_in);
        let time_left = self.time_left(now);
        self.tell(Notice::IssueFailed {
            error: error.to_string(),
            failures: self.troubles,
            retry_in,
            time_left,
        });
    }

    /// The source answers again: who serves past its end does so no later than `by`.
    fn end_extension(&mut self, by: Moment) {
        for member in self.members.iter_mut().filter(|member| member.is_active()) {
            if let Some(until) = member.extended.filter(|until| by < *until) {
                member.extended = Some(until.min(by));
                self.effects.push(Effect::MoveEnd(member.id, by.max(member.end)));
            }
        }
    }

    fn verified(&mut self, now: Moment, id: GenerationId) {
        let until = now + schedule::warm_patience(self.time_left(now));
        let serves = self.active().is_some();
        if let Some(member) = self.member_mut(id)
            && matches!(member.stage, Stage::Verifying { retry_at: None, .. })
        {
            member.stage = Stage::Warming { until };
            if serves {
                self.effects.push(Effect::Warm(id));
            }
        }
    }

    fn verify_failed(&mut self, now: Moment, id: GenerationId, error: &VerifyError) {
        let (serves, refused) = (self.active().is_some(), self.refused);
        let refuses = !matches!(error, VerifyError::Unreachable { .. });
        let Some(member) = self.member_mut(id) else { return };
        let life = member.born.until(member.end);
        let Stage::Verifying { retry_at: retry_at @ None, failures, refused_since, .. } = &mut member.stage
        else {
            return;
        };
        *retry_at = Some(now);
        *failures = failures.saturating_add(1);
        if refuses {
            *refused_since = refused_since.or(Some(now));
        }
        let failures = *failures;
        let give_up = refuses
            && refused_since.is_some_and(|since| {
                since.until(now) >= schedule::verify_patience(life, serves, refused) && failures > 1
            });
        let retry_in =
            self.retry_in(now, Trouble::Unavailable, failures, None).min(Duration::from_secs(5)).max(GAP);
        if let Some(Stage::Verifying { retry_at, .. }) = self.member_mut(id).map(|member| &mut member.stage) {
            *retry_at = Some(now + retry_in);
        }
        let time_left = self.time_left(now);
        self.tell(Notice::VerifyFailed { id, error: error.to_string(), failures, retry_in, time_left });
        if give_up {
            self.discard(now, id);
            let retry_in = self.issue_later(now);
            self.tell(Notice::GivenUp { id, retry_in });
        }
    }

    /// A client asks while nobody serves because the server said no: it is asked again at once.
    /// A source that said no is not.
    fn wanted(&mut self, now: Moment) {
        if self.active().is_some() {
            return;
        }
        for member in &mut self.members {
            if let Stage::Verifying { retry_at: Some(at), tried, .. } = &mut member.stage {
                *at = now.max(*tried + WISH_GAP).min(*at);
            }
        }
    }

    fn drained(&mut self, now: Moment, id: GenerationId) {
        if let Some(member) = self.member_mut(id)
            && matches!(member.stage, Stage::Retiring { .. })
        {
            member.stage = Stage::Revoking { retry_at: Some(now), failures: 0 };
        }
    }

    fn renewed(&mut self, now: Moment, id: GenerationId, term: &Term) {
        let end = term.end();
        let (fraction, rotation) = (self.fraction(), self.rotation.clone());
        let Some(member) = self.member_mut(id) else { return };
        if member.renewal != Renewal::InFlight {
            return;
        }
        let again = term.renewable && schedule::grew(member.end, end, term.sent);
        member.renewal = if again { Renewal::From(now + GAP) } else { Renewal::Exhausted };
        member.renew_failures = 0;
        member.renewals = member.renewals.saturating_add(1);
        if !matches!(member.stage, Stage::Active { .. } | Stage::Retiring { .. }) {
            return;
        }
        if let Stage::Retiring { cancelled, .. } = &mut member.stage
            && end > member.end
        {
            *cancelled = false;
        }
        (member.sent, member.end) = (term.sent, end);
        member.capped = !schedule::is_full(member.longest, term.sent, end);
        member.longest = member.longest.max(term.sent.until(end));
        // An answer that gives nothing must not cost an extended user its handover.
        member.extended = member.extended.map(|until| until.min(now + HANDOVER)).filter(|until| end < *until);
        let served_end = member.served_end();
        let turn = rotation.renew == RenewPolicy::UntilMax && member.is_active();
        let issue_at = turn.then(|| {
            let rotate_at = member.rotate_at(&rotation, fraction);
            member.stage = Stage::Active { rotate_at };
            member.issue_at(&rotation, rotate_at)
        });
        self.effects.push(Effect::MoveEnd(id, served_end));
        self.tell(Notice::Renewed { id, again });
        if let Some(issue_at) = issue_at {
            // What is due by now was asked for by somebody, or has been asked for.
            self.next_issue = self.next_issue.map(|at| if at > now { issue_at } else { at });
        }
    }

    fn renew_failed(&mut self, now: Moment, id: GenerationId, error: &SourceError) {
        let (trouble, asked) = match error {
            SourceError::Gone { .. } => (None, None),
            SourceError::Unavailable { retry_after, .. } => (Some(Trouble::Unavailable), *retry_after),
            _ => (Some(Trouble::Denied), None),
        };
        let fraction = self.fraction();
        let (until_max, untroubled) = (self.rotation.renew == RenewPolicy::UntilMax, self.troubles == 0);
        let Some(member) = self.member_mut(id) else { return };
        if member.renewal != Renewal::InFlight {
            return;
        }
        // Once, so that no backoff of the calls for a user is cut short again and again.
        let issue_instead = until_max && untroubled && member.is_active() && member.renew_failures == 0;
        member.renew_failures = member.renew_failures.saturating_add(1);
        let left = Some(now.until(member.deadline().close));
        let retry_in =
            trouble.map(|t| schedule::retry_in(t, member.renew_failures, left, asked, fraction).max(GAP));
        member.renewal = retry_in.map_or(Renewal::Exhausted, |wait| Renewal::From(now + wait));
        if retry_in.is_none() {
            // A lease that is gone took its user with it, or will.
            self.survey.suspected = true;
        }
        if issue_instead {
            self.next_issue = self.next_issue.map(|at| at.min(now));
        }
        self.tell(Notice::RenewFailed { id, error: error.to_string(), retry_in });
    }

    fn revoked(&mut self, id: GenerationId) {
        if let Some(member) = self.member_mut(id)
            && matches!(member.stage, Stage::Revoking { retry_at: None, .. })
        {
            let gone = member.gone.is_some();
            member.stage = Stage::Over(if gone { GenerationState::Dead } else { GenerationState::Revoked });
            self.tell(Notice::Revoked { id });
        }
    }

    fn revoke_failed(&mut self, now: Moment, id: GenerationId, error: &SourceError) {
        if matches!(error, SourceError::Gone { .. }) {
            return self.revoked(id);
        }
        let stopping = self.stop.is_some();
        let fraction = self.fraction();
        let trouble = Trouble::from(error);
        let Some(member) = self.member_mut(id) else { return };
        let ended = member.end <= now;
        let Stage::Revoking { retry_at: retry_at @ None, failures } = &mut member.stage else { return };
        *failures = failures.saturating_add(1);
        let refused = trouble == Trouble::Denied && *failures >= REVOKE_REFUSALS;
        // Revoking is no login with a guessable secret: it needs no long waits, but it must not hammer.
        let mut retry_in = schedule::retry_in(Trouble::Refused, *failures, None, None, fraction);
        if stopping {
            retry_in = retry_in.min(Duration::from_secs(1));
        }
        *retry_at = Some(now + retry_in);
        if refused || (ended && *failures > 1) {
            member.stage = Stage::Over(GenerationState::Left);
        }
        let left = member.is_over();
        self.tell(Notice::RevokeFailed { id, error: error.to_string(), retry_in });
        if left {
            self.tell(Notice::Left { id });
        }
    }

    fn surveyed(&mut self, now: Moment, id: GenerationId, state: UserState) {
        if state == UserState::Alive {
            return;
        }
        let Some(member) = self.member_mut(id).filter(|member| member.is_surveyed()) else { return };
        // Its time is up anyway, or it serves on through an outage.
        let due = member.extended.is_some() || member.lease_deadline().close <= now;
        if state == UserState::Expired && due {
            return;
        }
        let (active, successor) = (member.is_active(), member.is_successor());
        self.tell(Notice::Gone { id, state });
        if successor {
            self.discard(now, id);
        }
        if active {
            if let Some(successor) = self.warming().map(|member| member.id) {
                // Ready as it is, it takes over in this very step.
                self.activate(now, successor);
            } else {
                self.effects.push(Effect::Deactivate(id));
                self.retire(now, id, true);
            }
        }
        if let Some(member) = self.member_mut(id) {
            member.gone = Some(now);
        }
        if successor || (active && self.active().is_none()) {
            self.replace(now);
        }
    }

    /// A user was taken away before its time: the next one comes at once, but
    /// not if that happens again and again.
    fn replace(&mut self, now: Moment) {
        let again = self.last_death.is_some_and(|last| last.until(now) < DEATH_MEMORY);
        self.deaths = if again { self.deaths.saturating_add(1) } else { 1 };
        self.last_death = Some(now);
        let wait = match self.deaths {
            1 => Duration::ZERO,
            deaths => self.retry_in(now, Trouble::Refused, deaths - 1, None),
        };
        self.next_issue = Some(now + wait);
        if self.active().is_none() {
            for member in &mut self.members {
                if let Stage::Verifying { retry_at: Some(at), .. } = &mut member.stage {
                    *at = now.min(*at);
                }
            }
        }
    }

    fn shutdown(&mut self, now: Moment, by: Moment) {
        let by = self.stop.map_or(by, |stop| stop.by.min(by));
        let since = self.stop.map_or(now, |stop| stop.since);
        self.stop = Some(Shutdown { since, by });
        for id in self.ids(Member::is_successor) {
            self.discard(now, id);
        }
        for id in self.ids(Member::is_active) {
            self.effects.push(Effect::Deactivate(id));
            self.retire(now, id, true);
        }
        for member in &mut self.members {
            // What waits for its next try to be revoked tries now.
            if let Stage::Revoking { retry_at: Some(at), .. } = &mut member.stage {
                *at = now.min(*at);
            }
        }
    }
}
