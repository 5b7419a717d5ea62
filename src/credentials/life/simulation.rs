//! The core against a simulated world: a source that fails, hangs, denies and
//! gives short leases; a server that refuses logins and loses users; a fleet
//! that drains when it likes; an operator who rotates. Whatever happens, the
//! promises below hold.

mod world;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use self::world::{Mood, World, world};
use super::{Effect, Event, GenerationState, Life, Notice};
use crate::clock::Moment;
use crate::credentials::fleet::{SurveyError, UserState, VerifyError};
use crate::credentials::generation::GenerationId;
use crate::credentials::schedule::Deadline;
use crate::credentials::settings::{RenewPolicy, RotationSettings};
use crate::credentials::source::{SourceError, Term};
use crate::credentials::vault::Refusals;
use crate::secret::Secret;

#[derive(Debug)]
struct User {
    born: Moment,
    longest: Duration,
    /// When Vault removes it, whatever happens.
    vault_end: Moment,
    /// Renewals that its login is good for.
    uses: Option<u32>,
    /// What the core was told.
    end: Moment,
    /// With the outage's extension.
    served_end: Moment,
    alive: bool,
    known_gone: bool,
    verified: bool,
    retired: bool,
    cut: bool,
    drained: bool,
    over: bool,
}

#[derive(Debug)]
enum Pending {
    Answer(Event),
    Second,
    Stop,
}

struct Sim {
    world: World,
    rotation: RotationSettings,
    dice: SmallRng,
    life: Life,
    now: Moment,
    queue: BTreeMap<(Moment, u64), Pending>,
    sequence: u64,
    users: HashMap<GenerationId, User>,
    active: Option<GenerationId>,
    issuing: bool,
    surveying: bool,
    stop_by: Option<Moment>,
    /// When, and whether it was denied.
    issues: Vec<(Moment, bool)>,
    refusals: Refusals,
    /// Logins that Vault refused, row by row: one that it lets in begins another.
    refused: Vec<Vec<Moment>>,
    calm_from: Moment,
    done: bool,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const START: Moment = Moment::from_nanos(1_000_000_000_000);

impl Sim {
    fn new(world: World) -> Self {
        let rotation = RotationSettings {
            outage_grace: ms(world.outage_grace),
            drain_timeout: ms(world.drain_timeout),
            renew: world.renew,
            ..RotationSettings::default()
        };
        Self {
            dice: SmallRng::seed_from_u64(world.seed),
            life: Life::new(rotation.clone(), world.seed ^ 1),
            rotation,
            now: START,
            queue: BTreeMap::new(),
            sequence: 0,
            users: HashMap::new(),
            active: None,
            issuing: false,
            surveying: false,
            stop_by: None,
            issues: Vec::new(),
            refusals: Refusals::default(),
            refused: vec![Vec::new()],
            calm_from: START + ms(world.moods.iter().map(|(_, length)| length).sum()),
            done: false,
            world,
        }
    }

    fn chance(&mut self, parts: u32, of: u32) -> bool {
        self.dice.random_range(0..of) < parts
    }

    fn push(&mut self, after: Duration, pending: Pending) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), pending);
    }

    fn answer(&mut self, after: Duration, event: Event) {
        self.push(after, Pending::Answer(event));
    }

    fn latency(&mut self) -> Duration {
        ms(self.dice.random_range(1..=(self.world.lease / 30).clamp(2, 300)))
    }

    fn mood(&mut self) -> Mood {
        let mut at = START;
        for (mood, length) in self.world.moods.clone() {
            at = at + ms(length);
            if self.now < at {
                return if mood == Mood::Flaky && self.chance(1, 2) { Mood::Well } else { mood };
            }
        }
        Mood::Well
    }

    /// How a call to the source ends: when, and with which error.
    fn call(&mut self) -> (Duration, Option<SourceError>) {
        let latency = self.latency();
        let unavailable = |retry_after| SourceError::Unavailable { message: "down".into(), retry_after };
        match self.mood() {
            Mood::Well => (latency, None),
            Mood::Unavailable | Mood::Flaky => {
                let asked = self.chance(1, 4).then_some(ms(7_000));
                (latency, Some(unavailable(asked)))
            }
            Mood::Denied => (latency, Some(SourceError::Denied { message: "no".into() })),
            Mood::Hanging => (ms(30_000), Some(unavailable(None))),
        }
    }

    fn term(&self, born: Moment) -> Term {
        let lease = ms(self.world.lease).min(self.now.until(born + ms(self.world.max_ttl)));
        let token_end = self.world.token.map(|token| born + ms(token));
        Term { sent: self.now, lease, token_end, renewable: self.world.renewable }
    }

    /// The answer to a renewal that Vault lets through.
    fn renewal(&mut self, id: GenerationId) -> Result<Term, SourceError> {
        let now = self.now;
        let user = self.user(id);
        let (born, left) = (user.born, user.uses);
        if user.vault_end <= now || left == Some(0) {
            return Err(SourceError::Gone { message: "not to be had".into() });
        }
        user.uses = left.map(|left| left - 1);
        let term = self.term(born);
        Ok(Term { renewable: term.renewable && left != Some(1), ..term })
    }

    /// A login: as [`Sim::call`], where one that was refused too often is not even tried.
    fn login(&mut self) -> (Duration, Option<SourceError>) {
        let secret = Secret::new("wrong".to_owned());
        if self.refusals.wait(self.now, &secret).is_some() {
            return (ms(1), Some(SourceError::Denied { message: "not tried".into() }));
        }
        let (after, error) = self.call();
        match &error {
            Some(SourceError::Denied { .. }) if self.world.locks => {
                self.refusals.refused(self.now, &secret);
                self.refused.last_mut().expect("a row").push(self.now);
            }
            None => {
                self.refusals.succeeded();
                self.refused.push(Vec::new());
            }
            Some(_) => {}
        }
        (after, error)
    }

    /// Time goes on to the next thing that happens, which is told to the core.
    fn step(&mut self) {
        let wake = self.life.next_wake();
        let due = self.queue.keys().next().map(|(at, _)| *at);
        let late = ms(self.dice.random_range(0..3));
        if wake.is_some_and(|wake| due.is_none_or(|due| wake + late <= due)) {
            self.now = self.now.max(wake.unwrap_or(self.now) + late);
            return self.tell(Event::Tick);
        }
        let Some(((at, _), pending)) = self.queue.pop_first() else { panic!("nothing will ever happen") };
        self.now = self.now.max(at);
        match pending {
            Pending::Answer(event) => self.deliver(event),
            Pending::Second => self.second(),
            Pending::Stop => {
                let by = self.now + ms(self.world.stop_within);
                self.stop_by = Some(by);
                self.tell(Event::Shutdown(by));
            }
        }
    }

    fn second(&mut self) {
        if self.stop_by.is_none() {
            self.push(ms(1_000), Pending::Second);
        }
        if self.now < self.calm_from && self.chance(self.world.drops, 1_000) {
            let one = self.users.values_mut().find(|user| user.alive && !user.over);
            if let Some(user) = one {
                user.alive = false;
            }
            if self.chance(1, 2) {
                self.tell(Event::Suspicion);
            }
        }
        if self.chance(self.world.rotates, 1_000) {
            self.tell(Event::Rotate);
        }
    }

    fn deliver(&mut self, event: Event) {
        match &event {
            Event::Issued(term) => {
                self.issuing = false;
                let id = GenerationId::from_number(self.users.len() as u64 + 1);
                let user = User {
                    born: term.sent,
                    longest: term.sent.until(term.end()),
                    vault_end: term.end(),
                    uses: self.world.uses,
                    end: term.end(),
                    served_end: term.end(),
                    alive: true,
                    known_gone: false,
                    verified: false,
                    retired: false,
                    cut: false,
                    drained: false,
                    over: false,
                };
                self.users.insert(id, user);
            }
            Event::IssueFailed(error) => {
                self.issuing = false;
                if let Some(last) = self.issues.last_mut() {
                    last.1 = matches!(error, SourceError::Denied { .. });
                }
            }
            Event::Verified(id) => self.user(*id).verified = true,
            Event::Surveyed(states) => {
                self.surveying = false;
                for (id, state) in states {
                    self.user(*id).known_gone |= *state != UserState::Alive;
                }
            }
            Event::SurveyFailed(_) => self.surveying = false,
            Event::Drained(id) => self.user(*id).drained = true,
            Event::Renewed(id, term) => {
                let user = self.user(*id);
                (user.vault_end, user.end, user.served_end) = (term.end(), term.end(), term.end());
                user.longest = user.longest.max(term.sent.until(term.end()));
            }
            _ => {}
        }
        self.tell(event);
    }

    fn user(&mut self, id: GenerationId) -> &mut User {
        self.users.get_mut(&id).expect("a user that was issued")
    }

    fn tell(&mut self, event: Event) {
        let effects = self.life.handle(self.now, event);
        assert!(self.life.next_wake().is_none_or(|wake| wake > self.now), "a wake for nothing");
        for effect in effects {
            assert!(!self.done, "{effect:?} after the end");
            self.perform(effect);
        }
        let now = self.now;
        for (id, user) in &self.users {
            let held = user.verified && !user.drained && !user.over;
            assert!(!held || user.cut || now <= user.served_end, "generation {id} outlives its user");
        }
    }

    /// The serving user is only taken away when there is a reason.
    fn check_let_go(&mut self, id: GenerationId, what: &str) {
        let (now, stopping) = (self.now, self.stop_by.is_some());
        let user = self.user(id);
        let over = Deadline::of_lease(user.longest, user.end).close <= now;
        assert!(stopping || user.known_gone || over, "{what} of valid generation {id}");
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Issue(_) => {
                assert!(!self.issuing, "two issues at once");
                assert!(self.stop_by.is_none(), "an issue while stopping");
                self.issuing = true;
                self.issues.push((self.now, false));
                let (after, error) = self.login();
                let renewable = self.world.renewable && self.world.uses != Some(0);
                let issued = || Event::Issued(Term { renewable, ..self.term(self.now) });
                let event = error.map_or_else(issued, Event::IssueFailed);
                self.answer(after, event);
            }
            Effect::Verify(id) => {
                let after = self.latency();
                let refuses = if self.now < self.calm_from { self.world.refuses } else { 0 };
                let user = self.user(id);
                let event = if !user.alive || self.chance(refuses, 100) {
                    let message = "no".into();
                    if self.chance(1, 3) {
                        Event::VerifyFailed(id, VerifyError::Unreachable { message })
                    } else {
                        Event::VerifyFailed(id, VerifyError::Refused { sqlstate: "28P01".into(), message })
                    }
                } else {
                    Event::Verified(id)
                };
                self.answer(after, event);
            }
            Effect::Warm(id) => {
                let after = self.latency() * self.dice.random_range(1..20);
                self.answer(after, Event::Warmed(id));
            }
            Effect::Activate(id) => {
                let now = self.now;
                let user = self.user(id);
                assert!(user.verified && !user.known_gone && !user.retired, "{user:?} is activated");
                assert!(now < user.end, "{user:?} is activated after its end");
                self.active = Some(id);
            }
            Effect::Deactivate(id) => {
                assert_eq!(self.active, Some(id));
                self.check_let_go(id, "deactivate");
                self.active = None;
            }
            Effect::Retire(id) => {
                assert_ne!(self.active, Some(id), "nothing took over");
                let user = self.user(id);
                assert!(!user.retired, "retired twice");
                user.retired = true;
                if !self.chance(self.world.sticky, 100) {
                    let longest = self.world.lease * 2;
                    let after = ms(self.dice.random_range(0..longest));
                    self.answer(after, Event::Drained(id));
                }
            }
            Effect::CancelBusy(id) => assert!(self.user(id).retired),
            Effect::Cut(id, _) => {
                let now = self.now;
                let user = self.user(id);
                assert!(user.retired && !user.cut);
                assert!(now <= user.served_end, "cut too late");
                user.cut = true;
                if !user.drained && self.chance(9, 10) {
                    let after = self.latency();
                    self.answer(after, Event::Drained(id));
                }
            }
            Effect::MoveEnd(id, end) => {
                let latest = self.user(id).end + self.rotation.outage_grace;
                assert!(end <= latest, "extended beyond the grace");
                self.user(id).served_end = end;
            }
            Effect::Renew(id) => {
                assert_ne!(self.rotation.renew, RenewPolicy::Never, "renewed");
                let (after, error) = self.call();
                let renewed = error.map_or_else(|| self.renewal(id), Err);
                let failed = |error| Event::RenewFailed(id, error);
                self.answer(after, renewed.map_or_else(failed, |term| Event::Renewed(id, term)));
            }
            Effect::Revoke(id) => {
                let (after, error) = self.call();
                let event = error.map_or(Event::Revoked(id), |error| Event::RevokeFailed(id, error));
                assert!(self.active != Some(id), "revokes the serving user");
                self.answer(after, event);
            }
            Effect::Survey(ids, _) => {
                assert!(!self.surveying, "two surveys at once");
                self.surveying = true;
                let after = self.latency();
                if self.chance(1, 20) {
                    let error = SurveyError { message: "no connection".into() };
                    return self.answer(after, Event::SurveyFailed(error));
                }
                let mut states = Vec::new();
                for id in ids {
                    assert!(self.user(id).verified, "surveyed before it was verified");
                    states
                        .push((id, if self.user(id).alive { UserState::Alive } else { UserState::Dropped }));
                }
                self.answer(after, Event::Surveyed(states));
            }
            Effect::Forget(id) => assert!(self.user(id).over),
            Effect::Tell(Notice::Revoked { id } | Notice::Left { id }) => {
                let user = self.user(id);
                assert!(!user.over, "told twice");
                user.over = true;
            }
            Effect::Tell(_) => {}
            Effect::Done => {
                self.done = true;
                let by = self.stop_by.expect("stopped because it was told to");
                assert!(!self.issuing || self.now >= by, "left a user in flight before time was up");
                for (id, user) in &self.users {
                    assert!(user.over, "generation {id} is neither revoked nor told of: {user:?}");
                }
            }
        }
    }

    /// The bad times, two calm minutes, and a stop.
    fn run(&mut self) {
        let stop = START.until(self.calm_from) + ms(120_000);
        self.push(stop, Pending::Stop);
        self.push(ms(1_000), Pending::Second);
        self.tell(Event::Start);
        while !self.done {
            self.step();
        }
        self.check_rate();
    }

    fn check_rate(&self) {
        for (index, (from, _)) in self.issues.iter().enumerate() {
            let later = || self.issues.iter().skip(index);
            let in_ten = later().take_while(|(at, _)| from.until(*at) < ms(10_000)).count();
            assert!(in_ten <= 50, "{in_ten} issues in ten seconds");
            let denied = later().take_while(|(at, denied)| *denied && from.until(*at) < ms(60_000)).count();
            let asked = (self.world.rotates as usize * 60 / 1_000) * 2 + 10;
            assert!(denied <= 30 + asked, "{denied} denied issues in a minute");
        }
        for row in &self.refused {
            // Vault's own count.
            let mut in_a_row = 1;
            for pair in row.windows(2) {
                in_a_row = if pair[0].until(pair[1]) <= ms(900_000) { in_a_row + 1 } else { 1 };
                assert!(in_a_row < 5, "locked out: {row:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promises_hold(world in world()) {
        Sim::new(world).run();
    }

    #[test]
    fn after_the_bad_times_there_is_service_again(world in world()) {
        // A token or a lease of a second may end between two steps: not here.
        let world = World { token: world.token.map(|token| token.max(5_000)), lease: world.lease.max(5_000), ..world };
        let world = World { max_ttl: world.max_ttl.max(world.lease), rotates: 0, locks: false, ..world };
        let mut sim = Sim::new(world);
        let calm = sim.calm_from + ms(110_000);
        sim.push(ms(1_000), Pending::Second);
        sim.tell(Event::Start);
        while sim.now < calm {
            sim.step();
        }
        prop_assert!(sim.life.active().is_some());
        let living = sim.life.views().filter(|view| view.state == GenerationState::Active).count();
        prop_assert_eq!(living, 1);
    }
}
