//! A core that is told things one by one, with a clock that the test moves.

use super::{G1, G2, at, ms};
use crate::clock::Moment;
use crate::credentials::fleet::UserState;
use crate::credentials::generation::GenerationId;
use crate::credentials::life::{Effect, Event, GenerationState, Life, Notice};
use crate::credentials::settings::RotationSettings;
use crate::credentials::source::Term;

/// A core, its clock, and everything it asked for but surveys and notices.
pub(super) struct Script {
    pub(super) life: Life,
    pub(super) now: Moment,
    pub(super) notices: Vec<Notice>,
}

impl Script {
    pub(super) fn new(rotation: RotationSettings) -> Self {
        Self { life: Life::new(rotation, 7), now: at(1_000), notices: Vec::new() }
    }

    /// Without jitter: rotation is due at 70 %.
    pub(super) fn plain() -> Self {
        Self::new(RotationSettings { jitter: 0.0, ..RotationSettings::default() })
    }

    pub(super) fn tell(&mut self, event: Event) -> Vec<Effect> {
        let all = self.life.handle(self.now, event);
        assert!(self.life.next_wake().is_none_or(|wake| wake > self.now), "a wake for nothing");
        let mut rest = Vec::new();
        for effect in all {
            match effect {
                Effect::Tell(notice) => self.notices.push(notice),
                Effect::Survey(ids, _) => {
                    let alive = ids.into_iter().map(|id| (id, UserState::Alive)).collect();
                    self.life.handle(self.now, Event::Surveyed(alive));
                }
                other => rest.push(other),
            }
        }
        rest
    }

    pub(super) fn survey(&mut self, states: &[(GenerationId, UserState)]) -> Vec<Effect> {
        self.tell(Event::Surveyed(states.to_vec()))
    }

    /// Lets time pass, waking the core when it wants to, until it asks for something.
    pub(super) fn next(&mut self) -> (Moment, Vec<Effect>) {
        for _ in 0..10_000 {
            let Some(wake) = self.life.next_wake() else { break };
            self.now = wake;
            let effects = self.tell(Event::Tick);
            if !effects.is_empty() {
                return (self.now, effects);
            }
        }
        panic!("nothing will ever happen");
    }

    /// Lets time pass until `moment`; nothing may be asked for before.
    pub(super) fn quiet_until(&mut self, moment: Moment) {
        while let Some(wake) = self.life.next_wake().filter(|wake| *wake <= moment) {
            self.now = wake;
            assert_eq!(self.tell(Event::Tick), [], "at {:?}", self.now);
        }
        self.now = moment;
    }

    pub(super) fn term(&self, lease: u64) -> Term {
        Term { sent: self.now, lease: ms(lease), token_end: None, renewable: false }
    }

    pub(super) fn renewable(&self, lease: u64) -> Term {
        Term { renewable: true, ..self.term(lease) }
    }

    pub(super) fn renewable_minute(&self) -> Term {
        self.renewable(60_000)
    }

    /// Brings the first generation into use.
    pub(super) fn first(&mut self, term: Term) {
        assert_eq!(self.tell(Event::Start), [Effect::Issue(G1)]);
        assert_eq!(self.tell(Event::Issued(term)), [Effect::Verify(G1)]);
        assert_eq!(self.tell(Event::Verified(G1)), [Effect::Activate(G1)]);
    }

    /// From the moment the second is due until it took over.
    pub(super) fn second(&mut self, term: fn(&Self) -> Term) {
        let (_, effects) = self.next();
        assert_eq!(effects, [Effect::Issue(G2)]);
        let term = term(self);
        assert_eq!(self.tell(Event::Issued(term)), [Effect::Verify(G2)]);
        assert_eq!(self.tell(Event::Verified(G2)), [Effect::Warm(G2)]);
        assert_eq!(self.tell(Event::Warmed(G2)), [Effect::Activate(G2), Effect::Retire(G1)]);
    }

    pub(super) fn state(&self, id: GenerationId) -> GenerationState {
        self.life.views().find(|view| view.id == id).map(|view| view.state).expect("listed")
    }
}
