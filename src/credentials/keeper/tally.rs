//! Counts what a keeper does, from what its core is told and what it asks for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Moment;
use crate::credentials::counts::{KeeperCounts, RotationOutcome, RotationReason};
use crate::credentials::fleet::UserState;
use crate::credentials::generation::GenerationId;
use crate::credentials::life::{Effect, Event, Notice};

/// Figures that others read, and what has to be remembered for them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Arc<Mutex<KeeperCounts>>,
    /// Why the next generation is wanted.
    reason: RotationReason,
    active: Option<GenerationId>,
    asked: Option<Moment>,
    served: HashSet<GenerationId>,
    retired: HashMap<GenerationId, Moment>,
}

/// One more.
fn add(count: &mut u64) {
    *count = count.saturating_add(1);
}

impl Tally {
    pub(super) fn new(counts: Arc<Mutex<KeeperCounts>>) -> Self {
        Self { counts, ..Self::default() }
    }

    /// Why the next generation is wanted.
    pub(super) fn reason(&self) -> RotationReason {
        self.reason
    }

    fn counts(&self) -> MutexGuard<'_, KeeperCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the core is told; `may_rotate` is what it says of a new generation then.
    pub(super) fn event(&mut self, event: &Event, may_rotate: bool, now: Moment) {
        match event {
            Event::Rotate if may_rotate => self.reason = RotationReason::Asked,
            Event::SourceChanged => self.reason = RotationReason::SourceChanged,
            Event::Drained(id) => {
                if let Some(since) = self.retired.remove(id) {
                    self.counts().drains.observe(since.until(now));
                }
            }
            Event::Surveyed(states) => {
                let gone = states.iter().any(|(_, state)| *state != UserState::Alive);
                let counts = &mut *self.counts();
                add(if gone { &mut counts.watches_gone } else { &mut counts.watches_alive });
            }
            Event::SurveyFailed(_) => add(&mut self.counts().watches_failed),
            Event::Renewed(..) => add(&mut self.counts().renewals),
            Event::RenewFailed(..) => add(&mut self.counts().renewals_failed),
            _ => {}
        }
    }

    /// What the core asks for.
    pub(super) fn effect(&mut self, effect: &Effect, now: Moment) {
        match effect {
            Effect::Issue(_) => self.asked = Some(now),
            Effect::Retire(id) if self.served.remove(id) => {
                self.retired.insert(*id, now);
            }
            Effect::Forget(id) => {
                self.retired.remove(id);
            }
            Effect::Tell(notice) => self.notice(notice, now),
            _ => {}
        }
    }

    fn notice(&mut self, notice: &Notice, now: Moment) {
        match notice {
            Notice::Activated { id, .. } => {
                self.active = Some(*id);
                self.served.insert(*id);
                if let Some(asked) = self.asked.take() {
                    self.counts().switches.observe(asked.until(now));
                }
                self.tried(RotationOutcome::Switched);
                self.reason = RotationReason::Schedule;
            }
            Notice::IssueFailed { .. } => self.tried(RotationOutcome::NotIssued),
            Notice::GivenUp { .. } => self.tried(RotationOutcome::NotVerified),
            Notice::Ended { .. } => self.tried(RotationOutcome::TooShort),
            // One that retires is not replaced.
            Notice::Gone { id, .. } if self.active.is_none_or(|active| active <= *id) => {
                self.reason = RotationReason::UserGone;
            }
            Notice::Revoked { .. } => add(&mut self.counts().revocations),
            Notice::RevokeFailed { .. } => add(&mut self.counts().revocations_failed),
            Notice::Left { .. } => add(&mut self.counts().revocations_left),
            _ => {}
        }
    }

    fn tried(&self, outcome: RotationOutcome) {
        add(self.counts().rotations.entry((self.reason, outcome)).or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn second(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn reasons_outcomes_and_times_are_those_of_the_generation_concerned() {
        let (one, two) = (GenerationId::FIRST, GenerationId::from_number(2));
        let counts = Arc::default();
        let mut tally = Tally::new(Arc::clone(&counts));
        let activated = |id, before| Effect::Tell(Notice::Activated { id, before });
        tally.effect(&Effect::Issue(one), second(1));
        tally.effect(&activated(one, None), second(2));
        tally.event(&Event::Rotate, false, second(3));
        tally.event(&Event::Rotate, true, second(4));
        let failed = Notice::IssueFailed {
            error: String::new(),
            failures: 1,
            retry_in: Duration::ZERO,
            time_left: None,
        };
        tally.effect(&Effect::Issue(two), second(5));
        tally.effect(&Effect::Tell(failed), second(6));
        tally.effect(&Effect::Issue(two), second(10));
        tally.effect(&activated(two, Some(one)), second(14));
        tally.effect(&Effect::Retire(one), second(14));
        tally.event(&Event::Drained(one), true, second(44));
        // Of the one that retired: no reason for another.
        tally.effect(&Effect::Tell(Notice::Gone { id: one, state: UserState::Dropped }), second(45));
        assert_eq!(tally.reason, RotationReason::Schedule);
        tally.effect(&Effect::Tell(Notice::Gone { id: two, state: UserState::Dropped }), second(46));
        assert_eq!(tally.reason, RotationReason::UserGone);
        let counts = counts.lock().unwrap().clone();
        let some: Vec<_> = counts.rotations().filter(|(_, _, count)| *count > 0).collect();
        assert_eq!(some, [("start", "switched", 1), ("asked", "switched", 1), ("asked", "not_issued", 1)]);
        assert_eq!(counts.rotations().count(), 20);
        assert_eq!((counts.switches.count(), counts.switches.sum()), (2, Duration::from_secs(5)));
        assert_eq!((counts.drains.count(), counts.drains.sum()), (1, Duration::from_secs(30)));
    }
}
