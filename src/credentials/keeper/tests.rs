//! The keeper against a fake source and fleet, and what it logs.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{Keeper, KeeperSnapshot};
use crate::clock::Moment;
use crate::credentials::fleet::{CutReason, Fleet, SurveyError, UserState, VerifyError};
use crate::credentials::generation::{Generation, GenerationId, Login};
use crate::credentials::life::GenerationState;
use crate::credentials::settings::RotationSettings;
use crate::credentials::source::{Grant, Issued, LeaseToken, Recovery, Source, SourceError, Term};
use crate::secret::Secret;

const PASSWORD: &str = "a-password-nobody-may-read";

/// A source and a fleet that share what exists.
#[derive(Default)]
pub(super) struct World {
    lease: Duration,
    recover_fails: AtomicBool,
    issue_panics: AtomicBool,
    revoke_hangs: AtomicBool,
    calls: AtomicUsize,
    users: Mutex<BTreeMap<String, UserState>>,
    steps: Mutex<Vec<String>>,
    suspicion: Notify,
}

impl World {
    pub(super) fn with_lease(ms: u64) -> Arc<Self> {
        Arc::new(Self { lease: Duration::from_millis(ms), ..Self::default() })
    }

    fn keeper(self: &Arc<Self>) -> Keeper {
        let rotation = RotationSettings { jitter: 0.0, ..RotationSettings::default() };
        let (source, fleet) = (Arc::clone(self), Arc::clone(self));
        Keeper::spawn("app".into(), source, fleet, rotation)
    }

    fn step(&self, what: &str, id: GenerationId) {
        self.steps.lock().unwrap().push(format!("{what} {id}"));
    }

    fn steps(&self) -> Vec<String> {
        self.steps.lock().unwrap().clone()
    }

    fn users(&self) -> Vec<String> {
        self.users.lock().unwrap().keys().cloned().collect()
    }
}

#[async_trait]
impl Source for World {
    fn kind(&self) -> &'static str {
        "fake"
    }

    async fn recover(&self) -> Result<Recovery, SourceError> {
        if self.recover_fails.load(Ordering::Relaxed) {
            return Err(SourceError::Unavailable {
                message: "no admin connection".into(),
                retry_after: None,
            });
        }
        Ok(Recovery { removed: 3, in_use: 1 })
    }

    async fn issue(&self) -> Result<Issued, SourceError> {
        assert!(!self.issue_panics.swap(false, Ordering::Relaxed), "a fault of the source");
        let user = format!("v-app-{}", self.calls.fetch_add(1, Ordering::Relaxed) + 1);
        self.users.lock().unwrap().insert(user.clone(), UserState::Alive);
        Ok(Issued {
            login: Login { user: user.clone(), password: Secret::new(PASSWORD.into()) },
            grant: Grant { lease_id: format!("lease/{user}"), token: LeaseToken::None },
            term: Term { sent: Moment::now(), lease: self.lease, token_end: None, renewable: false },
        })
    }

    async fn renew(&self, _: &Issued) -> Result<Term, SourceError> {
        Err(SourceError::Gone { message: "not renewable".into() })
    }

    async fn revoke(&self, issued: &Issued) -> Result<(), SourceError> {
        if self.revoke_hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.users.lock().unwrap().remove(&issued.login.user);
        Ok(())
    }
}

#[async_trait]
impl Fleet for World {
    async fn verify(&self, generation: &Arc<Generation>) -> Result<(), VerifyError> {
        self.step("verify", generation.id());
        Ok(())
    }

    async fn warm(&self, generation: &Arc<Generation>) -> usize {
        self.step("warm", generation.id());
        2
    }

    fn activate(&self, generation: &Arc<Generation>) {
        self.step("activate", generation.id());
    }

    fn retire(&self, generation: GenerationId) {
        self.step("retire", generation);
    }

    fn deactivate(&self, generation: GenerationId) {
        self.step("deactivate", generation);
    }

    fn cancel_busy(&self, generation: GenerationId) {
        self.step("cancel", generation);
    }

    fn cut(&self, generation: GenerationId, _: CutReason) {
        self.step("cut", generation);
    }

    fn connections(&self, _: GenerationId) -> usize {
        2
    }

    async fn drained(&self, generation: GenerationId) {
        self.step("drained", generation);
    }

    async fn survey(&self, users: &[String], _: Duration) -> Result<Vec<UserState>, SurveyError> {
        let known = self.users.lock().unwrap();
        Ok(users.iter().map(|user| known.get(user).copied().unwrap_or(UserState::Dropped)).collect())
    }

    async fn suspicion(&self) {
        self.suspicion.notified().await;
    }

    async fn wanted(&self) {
        std::future::pending().await
    }
}

async fn until(keeper: &Keeper, what: impl FnMut(&KeeperSnapshot) -> bool) -> KeeperSnapshot {
    let mut snapshot = keeper.subscribe();
    let found = tokio::time::timeout(Duration::from_secs(20), snapshot.wait_for(what)).await;
    found.expect("in time").expect("the keeper lives").clone()
}

#[tokio::test]
async fn users_follow_one_another_and_all_are_revoked() {
    let world = World::with_lease(1_000);
    let keeper = world.keeper();
    until(&keeper, |s| s.rotations >= 2).await;
    let report = keeper.shutdown(Duration::from_secs(4)).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(world.users(), Vec::<String>::new());
    let first = ["verify 1", "activate 1", "verify 2", "warm 2", "activate 2", "retire 1", "drained 1"];
    assert_eq!(world.steps().get(..first.len()).expect("steps"), first);
    let last = keeper.snapshot();
    assert!(last.stopping && last.active.is_none());
    assert!(last.generations.iter().all(|g| g.state == GenerationState::Revoked), "{last:?}");
    assert!(!keeper.rotate().await);
    assert!(keeper.shutdown(Duration::from_secs(1)).await.is_clean());
}

#[tokio::test]
async fn rotate_brings_a_new_generation_and_says_if_it_cannot() {
    let world = World::with_lease(3_600_000);
    let keeper = world.keeper();
    let first = until(&keeper, |s| s.active.is_some()).await;
    assert_eq!(first.source, "fake");
    let generation = first.active.and_then(|id| first.generation(id)).expect("listed");
    assert_eq!((generation.user.as_str(), generation.lease_id.as_str()), ("v-app-1", "lease/v-app-1"));
    assert!(generation.issued_at.elapsed().is_ok_and(|age| age < Duration::from_secs(5)));
    assert!(keeper.rotate().await);
    until(&keeper, |s| s.active == Some(GenerationId::from_number(2))).await;
    until(&keeper, |s| s.generations.iter().any(|g| g.state == GenerationState::Revoked)).await;
    assert_eq!(world.users(), ["v-app-2"]);
}

#[tokio::test]
async fn a_dropped_user_is_noticed_and_replaced() {
    let world = World::with_lease(3_600_000);
    let keeper = world.keeper();
    until(&keeper, |s| s.active.is_some()).await;
    world.users.lock().unwrap().clear();
    world.suspicion.notify_one();
    let now = until(&keeper, |s| s.active == Some(GenerationId::from_number(2))).await;
    assert_eq!(now.generation(GenerationId::FIRST).map(|g| g.state), Some(GenerationState::Dead));
    assert!(world.steps().contains(&"deactivate 1".to_owned()));
}

#[tokio::test]
async fn neither_a_failed_recovery_nor_a_panic_of_the_source_ends_the_keeper() {
    let world = World::with_lease(3_600_000);
    world.recover_fails.store(true, Ordering::Relaxed);
    world.issue_panics.store(true, Ordering::Relaxed);
    let keeper = world.keeper();
    let failed = until(&keeper, |s| s.failures > 0).await;
    assert!(failed.last_error.is_some_and(|error| error.contains("lost")));
    let well = until(&keeper, |s| s.active.is_some()).await;
    assert_eq!((well.failures, well.last_error), (0, None));
}

#[tokio::test]
async fn a_keeper_that_everybody_dropped_revokes_its_users() {
    let world = World::with_lease(3_600_000);
    let keeper = world.keeper();
    until(&keeper, |s| s.active.is_some()).await;
    let mut snapshot = keeper.subscribe();
    drop(keeper);
    while snapshot.changed().await.is_ok() {}
    assert_eq!(world.users(), Vec::<String>::new());
}

#[tokio::test]
async fn a_shutdown_ends_in_time_and_says_who_is_left() {
    let world = World::with_lease(3_600_000);
    let keeper = world.keeper();
    until(&keeper, |s| s.active.is_some()).await;
    world.revoke_hangs.store(true, Ordering::Relaxed);
    let began = Moment::now();
    let report = keeper.shutdown(Duration::from_millis(300)).await;
    assert!(began.until(Moment::now()) < Duration::from_secs(1));
    assert!(!report.is_clean());
    assert_eq!(
        report.left.first().map(|g| (g.user.as_str(), g.state)),
        Some(("v-app-1", GenerationState::Left))
    );
}

/// What is logged on this thread, as text without times.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Listens until the second value is dropped.
    pub(super) fn listen() -> (Self, Listening) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        // With a single subscriber in the process, tracing asks the thread that meets an event first
        // whether anybody listens: a test next door that has none would switch it off for us too.
        let second = tracing::Dispatch::new(tracing_subscriber::registry());
        (log, Listening { _first: tracing::subscriber::set_default(subscriber), _second: second })
    }

    /// All of it since the last call.
    pub(super) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).expect("text")
    }
}

pub(super) struct Listening {
    _first: tracing::subscriber::DefaultGuard,
    _second: tracing::Dispatch,
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_tells_each_step_with_its_fields_and_no_secret() {
    let (log, _listening) = Log::listen();
    let world = World::with_lease(3_600_000);
    let keeper = world.keeper();
    until(&keeper, |s| s.active.is_some()).await;
    keeper.rotate().await;
    until(&keeper, |s| s.rotations == 1).await;
    assert!(keeper.shutdown(Duration::from_secs(4)).await.is_clean());
    let text = log.take();
    for part in [
        "removed users of an earlier run pool=app users=3",
        "user issued pool=app generation=1 user=v-app-1 ttl=3",
        "active pool=app generation=2 user=v-app-2 ttl=3",
        "connections=2",
        "retiring pool=app generation=1",
        "revoked pool=app generation=2",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(PASSWORD));
}
