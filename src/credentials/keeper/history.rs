//! Remembers for people what the core is told and asks for: the steps of each generation, and events in words.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Moment;
use crate::credentials::chronicle::{Chronicle, EventLevel, RetireReason, Steps};
use crate::credentials::counts::RotationReason;
use crate::credentials::fleet::{CutReason, UserState};
use crate::credentials::generation::GenerationId;
use crate::credentials::life::{Effect, Event, Notice};

/// What stands for a lease's id in words that others said.
const HIDDEN: &str = "(id)";

/// One keeper's past.
#[derive(Debug, Default)]
pub(super) struct History {
    chronicle: Arc<Mutex<Chronicle>>,
    steps: HashMap<GenerationId, Steps>,
    stopping: bool,
}

/// How much it matters, whom it concerns, and in words.
type Told = (EventLevel, Option<GenerationId>, String);

impl History {
    pub(super) fn new(chronicle: Arc<Mutex<Chronicle>>) -> Self {
        Self { chronicle, ..Self::default() }
    }

    /// The steps so far.
    pub(super) fn steps(&self, id: GenerationId) -> Steps {
        self.steps.get(&id).copied().unwrap_or_default()
    }

    /// Before the core is told; `may_rotate` is what it says of a new generation then.
    pub(super) fn event(&mut self, event: &Event, may_rotate: bool, now: Moment) {
        match event {
            Event::Shutdown(_) if !self.stopping => {
                self.stopping = true;
                self.tell(now, (EventLevel::Info, None, "stopping: every user will be revoked".into()), "");
            }
            Event::Rotate if may_rotate => {
                self.tell(now, (EventLevel::Info, None, "somebody asks for a new user".into()), "");
            }
            _ => {}
        }
    }

    /// A user is there; it was asked for at `sent`.
    pub(super) fn issued(&mut self, id: GenerationId, sent: Moment, now: Moment) {
        self.steps.entry(id).or_default().issued = Some(sent);
        self.tell(now, (EventLevel::Info, Some(id), "user issued".into()), "");
    }

    /// What the core asks for. `why` is why the generation that may become active was wanted; `lease`
    /// is what the generation concerned must not be told by.
    pub(super) fn effect(&mut self, effect: &Effect, why: RotationReason, lease: &str, now: Moment) {
        match effect {
            Effect::Retire(id) => {
                let stopping = self.stopping;
                let steps = self.steps.entry(*id).or_default();
                steps.retired = Some(now);
                if stopping {
                    steps.reason.get_or_insert(RetireReason::Stopping);
                }
            }
            Effect::Tell(notice) => self.notice(notice, why, now),
            Effect::Forget(id) => drop(self.steps.remove(id)),
            _ => {}
        }
        if let Some(told) = words_of(effect) {
            self.tell(now, told, lease);
        }
    }

    fn notice(&mut self, notice: &Notice, why: RotationReason, now: Moment) {
        match notice {
            Notice::Activated { id, before } => {
                self.steps.entry(*id).or_default().activated = Some(now);
                if let Some(before) = before {
                    self.because(*before, replaced(why));
                }
            }
            Notice::Closed { id } => self.because(*id, RetireReason::UserEnds),
            Notice::Ended { id } => self.because(*id, RetireReason::TooShort),
            Notice::GivenUp { id, .. } => self.because(*id, RetireReason::NotVerified),
            Notice::Gone { id, .. } => {
                self.because(*id, RetireReason::UserGone);
                self.over(*id, now);
            }
            Notice::Revoked { id } | Notice::Left { id } => self.over(*id, now),
            _ => {}
        }
    }

    fn because(&mut self, id: GenerationId, reason: RetireReason) {
        self.steps.entry(id).or_default().reason.get_or_insert(reason);
    }

    fn over(&mut self, id: GenerationId, now: Moment) {
        self.steps.entry(id).or_default().gone.get_or_insert(now);
    }

    fn tell(&self, now: Moment, (level, generation, text): Told, lease: &str) {
        let text = if lease.is_empty() { text } else { text.replace(lease, HIDDEN) };
        self.chronicle.lock().unwrap_or_else(PoisonError::into_inner).tell(now, level, generation, &text);
    }
}

/// The generation that an effect concerns.
pub(super) fn concerns(effect: &Effect) -> Option<GenerationId> {
    words_of(effect).and_then(|(_, generation, _)| generation)
}

fn replaced(why: RotationReason) -> RetireReason {
    match why {
        RotationReason::Start | RotationReason::Schedule => RetireReason::Schedule,
        RotationReason::Asked => RetireReason::Asked,
        RotationReason::SourceChanged => RetireReason::SourceChanged,
        RotationReason::UserGone => RetireReason::UserGone,
    }
}

/// What there is to say of an effect; the levels are those of the log.
fn words_of(effect: &Effect) -> Option<Told> {
    use EventLevel::{Info, Warn};
    let (level, id, text) = match effect {
        Effect::Warm(id) => (Info, id, "logged in; connections are opened ahead".to_owned()),
        Effect::Retire(id) => (Info, id, "retired: no new checkouts, connections drain".to_owned()),
        Effect::CancelBusy(id) => (Warn, id, "what is busy is cancelled".to_owned()),
        Effect::Cut(id, reason) => {
            let why = match reason {
                CutReason::LeaseEnded => "its lease or token ends",
                CutReason::Revoked => "the user was removed",
                CutReason::DrainTimeout => "drain_timeout is over",
                CutReason::Shutdown => "the proxy stops",
            };
            (Warn, id, format!("what is left is cut: {why}"))
        }
        Effect::Tell(notice) => return words_of_notice(notice),
        _ => return None,
    };
    Some((level, Some(*id), text))
}

fn words_of_notice(notice: &Notice) -> Option<Told> {
    use EventLevel::{Error, Info, Warn};
    let (level, id, text) = match notice {
        Notice::IssueFailed { error, time_left: Some(_), .. } => {
            return Some((Warn, None, format!("no new user, the active one serves on: {error}")));
        }
        Notice::IssueFailed { error, time_left: None, .. } => {
            return Some((Error, None, format!("no new user, and none to serve with: {error}")));
        }
        Notice::SurveyFailed { error, failures: 1 } => {
            return Some((Warn, None, format!("cannot ask pg_roles for our users: {error}")));
        }
        Notice::SurveyFailed { .. } => return None,
        Notice::Ended { id } => (Warn, id, "its life is over before it could be used".to_owned()),
        Notice::VerifyFailed { id, error, .. } => (Warn, id, format!("cannot log in: {error}")),
        Notice::GivenUp { id, .. } => (Error, id, "given up: PostgreSQL does not let it in".to_owned()),
        Notice::Activated { id, before: None } => (Info, id, "active: all checkouts get it".to_owned()),
        Notice::Activated { id, before: Some(before) } => {
            (Info, id, format!("active: takes over from generation {}", before.number()))
        }
        Notice::Closed { id } => (Error, id, "ends, and there is no other: clients wait".to_owned()),
        Notice::Gone { id, state } => {
            let what = match state {
                UserState::Dropped => "was dropped",
                UserState::NoLogin => "lost LOGIN",
                UserState::Expired => "is past VALID UNTIL",
                UserState::Alive => "is there",
            };
            (Warn, id, format!("the user {what}, by somebody else"))
        }
        Notice::Extended { id, .. } => {
            (Warn, id, "serves on past its end while the source is unreachable".to_owned())
        }
        Notice::Renewed { id, .. } => (Info, id, "lease renewed".to_owned()),
        Notice::RenewFailed { id, error, .. } => (Warn, id, format!("lease not renewed: {error}")),
        Notice::Stuck { id } => (Error, id, "connections are left after the cut".to_owned()),
        Notice::Revoked { id } => (Info, id, "revoked: the user is gone".to_owned()),
        Notice::RevokeFailed { id, error, .. } => (Warn, id, format!("not revoked: {error}")),
        Notice::Left { id } => (Error, id, "could not be revoked: it ends by itself".to_owned()),
    };
    Some((level, Some(*id), text))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ONE: GenerationId = GenerationId::FIRST;

    fn second(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    /// A history, and effects that reach it a second apart from second 1 on.
    fn after(history: &mut History, why: RotationReason, effects: &[Effect]) {
        for (at, effect) in (1..).zip(effects) {
            history.effect(effect, why, "", second(at));
        }
    }

    #[test]
    fn a_generation_has_its_steps_and_the_first_reason() {
        let two = GenerationId::from_number(2);
        let activated = |id, before| Effect::Tell(Notice::Activated { id, before });
        let gone = |id| Effect::Tell(Notice::Gone { id, state: UserState::Dropped });
        let given_up = Effect::Tell(Notice::GivenUp { id: ONE, retry_in: Duration::ZERO });
        let revoked = |id| Effect::Tell(Notice::Revoked { id });
        let replaced = [activated(ONE, None), activated(two, Some(ONE)), Effect::Retire(ONE), revoked(ONE)];
        let lost = [activated(ONE, None), gone(ONE), Effect::Retire(ONE), revoked(ONE)];
        let taken = [activated(ONE, None), gone(ONE), activated(two, Some(ONE)), Effect::Retire(ONE)];
        let refused = [Effect::Retire(ONE), given_up, revoked(ONE)];
        let closed = [activated(ONE, None), Effect::Tell(Notice::Closed { id: ONE }), Effect::Retire(ONE)];
        use RetireReason::{Asked, NotVerified, UserEnds, UserGone};
        let cases = [
            (&replaced[..], Some(1), 3, Some(4), Asked),
            (&lost[..], Some(1), 3, Some(2), UserGone),
            (&taken[..], Some(1), 4, Some(2), UserGone),
            (&refused[..], None, 1, Some(3), NotVerified),
            (&closed[..], Some(1), 3, None, UserEnds),
        ];
        for (effects, activated, retired, gone, reason) in cases {
            let mut history = History::default();
            after(&mut history, RotationReason::Asked, effects);
            let steps = history.steps(ONE);
            assert_eq!(steps.activated, activated.map(second), "{effects:?}");
            assert_eq!((steps.retired, steps.gone), (Some(second(retired)), gone.map(second)), "{effects:?}");
            assert_eq!(steps.reason, Some(reason), "{effects:?}");
            history.effect(&Effect::Forget(ONE), RotationReason::Start, "", second(9));
            assert_eq!(history.steps(ONE), Steps::default());
        }
    }

    #[test]
    fn a_stop_is_the_reason_of_those_that_had_none() {
        let mut history = History::default();
        history.issued(ONE, second(1), second(2));
        history.event(&Event::Shutdown(second(9)), true, second(3));
        after(&mut history, RotationReason::Schedule, &[Effect::Retire(ONE)]);
        let steps = history.steps(ONE);
        assert_eq!((steps.issued, steps.reason), (Some(second(1)), Some(RetireReason::Stopping)));
    }

    #[test]
    fn events_are_told_in_words_without_the_lease() {
        let mut history = History::default();
        let error = "vault: no lease database/creds/app/hush here".to_owned();
        let failed = Notice::RevokeFailed { id: ONE, error, retry_in: Duration::ZERO };
        let survey = |failures| Effect::Tell(Notice::SurveyFailed { error: "away".into(), failures });
        let effects = [
            (Effect::Warm(ONE), Some("1 info logged in; connections are opened ahead")),
            (
                Effect::Cut(ONE, CutReason::DrainTimeout),
                Some("1 warn what is left is cut: drain_timeout is over"),
            ),
            (Effect::Tell(failed), Some("1 warn not revoked: vault: no lease (id) here")),
            (survey(1), Some("0 warn cannot ask pg_roles for our users: away")),
            (survey(2), None),
            (Effect::Verify(ONE), None),
            (
                Effect::Tell(Notice::Closed { id: ONE }),
                Some("1 error ends, and there is no other: clients wait"),
            ),
        ];
        let mut expected = Vec::new();
        for (effect, text) in effects {
            history.effect(&effect, RotationReason::Schedule, "database/creds/app/hush", second(1));
            expected.extend(text);
        }
        let told = history.chronicle.lock().unwrap().all();
        let told = told.iter().map(|event| {
            let number = event.generation.map_or(0, GenerationId::number);
            format!("{number} {} {}", event.level.word(), event.text)
        });
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}
