//! Drives one pool's [`Life`]: does what it says, with the source and the
//! fleet, and tells it what came of it.
//!
//! One task owns the core. Everything that awaits is a task of its own whose
//! answer comes back as an [`Event`]; one that panics or takes far too long
//! comes back as a failure, so that the core never waits for nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};

use super::chronicle::{Chronicle, PastEvent};
use super::counts::{Calls, KeeperCounts};
use super::fleet::Fleet;
use super::generation::{Generation, GenerationId};
use super::life::{Effect, Event, GenerationState, Life, Notice};
use super::settings::RotationSettings;
use super::snapshot::{GenerationSnapshot, KeeperSnapshot};
use super::source::{Issued, Recovery, Source, SourceError};
use crate::clock::Moment;
use history::History;
use tally::Tally;

mod ask;
mod history;
mod journal;
mod listen;
mod tally;
#[cfg(test)]
mod tests;

/// The boot clock may jump (a suspend): look at it at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How long cleaning up after an earlier crash may keep the first user waiting.
const RECOVER_PATIENCE: Duration = Duration::from_secs(5);
/// Bounds for calls that should bound themselves.
const SOURCE_PATIENCE: Duration = Duration::from_secs(120);
/// What users get to be revoked in when every handle was dropped without a shutdown.
const ABANDONED_WITHIN: Duration = Duration::from_secs(5);

/// Keeps one pool in valid users. Cheap to clone; all clones are one keeper.
///
/// When the last one is dropped, the keeper stops by itself and revokes what
/// it can within five seconds.
#[derive(Debug, Clone)]
pub struct Keeper {
    commands: mpsc::UnboundedSender<Command>,
    snapshot: watch::Receiver<KeeperSnapshot>,
    counts: Arc<Mutex<KeeperCounts>>,
    chronicle: Arc<Mutex<Chronicle>>,
    calls: Arc<Calls>,
}

/// What a shutdown could not finish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Users that were not revoked in time. They end by themselves.
    pub left: Vec<GenerationSnapshot>,
    /// A user was being issued when time ran out: it may exist.
    pub issuing: bool,
}

impl ShutdownReport {
    /// Whether every user is revoked.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.left.is_empty() && !self.issuing
    }
}

#[derive(Debug)]
enum Command {
    Rotate(oneshot::Sender<bool>),
    Shutdown(Moment),
}

impl Keeper {
    /// Starts the keeper on the current tokio runtime. It first has the source
    /// clean up after an earlier crash, then asks for the first user; neither
    /// failure ends it.
    #[must_use]
    pub fn spawn(
        pool_name: String,
        source: Arc<dyn Source>,
        fleet: Arc<dyn Fleet>,
        rotation: RotationSettings,
    ) -> Self {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (publisher, snapshot) = watch::channel(KeeperSnapshot::new(source.kind()));
        let (counts, chronicle, calls) = (Arc::default(), Arc::default(), source.calls());
        let driver = Driver {
            pool: pool_name,
            source,
            fleet,
            life: Life::new(rotation, rand::random()),
            held: HashMap::new(),
            tasks: JoinSet::new(),
            if_lost: HashMap::new(),
            started: false,
            stop_by: None,
            recover_failures: 0,
            recover_looks: 0,
            last_error: None,
            server_error: None,
            publisher,
            tally: Tally::new(Arc::clone(&counts)),
            history: History::new(Arc::clone(&chronicle)),
        };
        tokio::spawn(driver.run(inbox));
        Self { commands, snapshot, counts, chronicle, calls }
    }

    /// Asks for a new generation now. Returns whether one is due because of
    /// it: `false` while one is on its way already and while stopping.
    /// Cancel safe.
    pub async fn rotate(&self) -> bool {
        let (answer, accepted) = oneshot::channel();
        self.commands.send(Command::Rotate(answer)).is_ok() && accepted.await.unwrap_or(false)
    }

    /// Retires everything, cuts what is left when time runs short, and revokes
    /// every user. Resolves when all are revoked or `within` is over. Cancel
    /// safe: the shutdown goes on.
    pub async fn shutdown(&self, within: Duration) -> ShutdownReport {
        let asked = self.commands.send(Command::Shutdown(Moment::now() + within)).is_ok();
        let mut snapshot = self.snapshot.clone();
        if asked {
            // The channel closes when the driver is done. The slack is for a machine that is slow.
            let done = async { while snapshot.changed().await.is_ok() {} };
            let _ = tokio::time::timeout(within + Duration::from_secs(1), done).await;
        }
        let last = self.snapshot();
        let is_left = |generation: &&GenerationSnapshot| {
            !matches!(
                generation.state,
                GenerationState::Issuing | GenerationState::Revoked | GenerationState::Dead
            )
        };
        ShutdownReport {
            left: last.generations.iter().filter(is_left).cloned().collect(),
            issuing: last.generations.iter().any(|generation| generation.state == GenerationState::Issuing),
        }
    }

    /// How things are.
    #[must_use]
    pub fn snapshot(&self) -> KeeperSnapshot {
        self.snapshot.borrow().clone()
    }

    /// What it has done since the start.
    #[must_use]
    pub fn counts(&self) -> KeeperCounts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The latest of what happened, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<PastEvent> {
        self.chronicle.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// What its source has asked of others over HTTP.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// How things are, and every change. Closes when the keeper has ended.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<KeeperSnapshot> {
        self.snapshot.clone()
    }
}

/// What is known of one issued user outside the core.
struct Held {
    user: String,
    lease_id: String,
    issued_at: SystemTime,
    token_end: Option<Moment>,
    /// Credential and grant; dropped, and so wiped, when the user is over.
    keys: Option<(Arc<Issued>, Arc<Generation>)>,
}

/// What a task comes back with.
enum Answer {
    Event(Event),
    Issued(Result<Issued, SourceError>),
    Recovered(Result<Recovery, SourceError>),
    Suspicion,
    Wanted,
    SourceChanged,
    StartAnyway,
}

struct Driver {
    pool: String,
    source: Arc<dyn Source>,
    fleet: Arc<dyn Fleet>,
    life: Life,
    held: HashMap<GenerationId, Held>,
    tasks: JoinSet<Answer>,
    /// What to believe of a task that never came back.
    if_lost: HashMap<Id, Answer>,
    started: bool,
    /// When a stop must be over.
    stop_by: Option<Moment>,
    recover_failures: u32,
    recover_looks: u32,
    last_error: Option<String>,
    server_error: Option<String>,
    publisher: watch::Sender<KeeperSnapshot>,
    tally: Tally,
    history: History,
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        self.recover(Duration::ZERO);
        self.start_task(Answer::StartAnyway, async {
            tokio::time::sleep(RECOVER_PATIENCE).await;
            Answer::StartAnyway
        });
        self.listen_for_suspicion();
        self.listen_for_wishes();
        self.listen_for_change();
        let mut abandoned = false;
        loop {
            self.publish();
            let now = Moment::now();
            let sleep =
                self.life.next_wake().map_or(LONGEST_SLEEP, |wake| now.until(wake).min(LONGEST_SLEEP));
            let event = tokio::select! {
                command = inbox.recv(), if !abandoned => match command {
                    Some(Command::Rotate(answer)) => {
                        let _ = answer.send(self.life.may_rotate());
                        Some(Event::Rotate)
                    }
                    Some(Command::Shutdown(by)) => Some(self.stopping(by)),
                    None => {
                        abandoned = true;
                        Some(self.stopping(Moment::now() + ABANDONED_WITHIN))
                    }
                },
                Some(joined) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    self.answer_of(joined).and_then(|answer| self.take(answer))
                }
                () = tokio::time::sleep(sleep) => Some(Event::Tick),
            };
            let Some(event) = event else { continue };
            let now = Moment::now();
            let may_rotate = self.life.may_rotate();
            self.tally.event(&event, may_rotate, now);
            self.history.event(&event, may_rotate, now);
            for effect in self.life.handle(now, event) {
                self.remember(&effect, now);
                if effect == Effect::Done {
                    let left = self.stop_by.map_or(Duration::ZERO, |by| Moment::now().until(by));
                    let _ = tokio::time::timeout(left, self.source.close()).await;
                    self.finish();
                    return;
                }
                self.perform(effect);
            }
        }
    }

    fn remember(&mut self, effect: &Effect, now: Moment) {
        let held = history::concerns(effect).and_then(|id| self.held.get(&id));
        let lease = held.map_or("", |held| held.lease_id.as_str());
        self.history.effect(effect, self.tally.reason(), lease, now);
        self.tally.effect(effect, now);
    }

    fn stopping(&mut self, by: Moment) -> Event {
        self.stop_by = Some(self.stop_by.map_or(by, |earlier| earlier.min(by)));
        self.publisher.send_modify(|snapshot| snapshot.stopping = true);
        Event::Shutdown(by)
    }

    /// What is still under way is dropped with the driver.
    fn finish(self) {
        self.log_finished();
        self.publish();
    }

    fn answer_of(&mut self, joined: Result<(Id, Answer), JoinError>) -> Option<Answer> {
        match joined {
            Ok((id, answer)) => {
                self.if_lost.remove(&id);
                Some(answer)
            }
            Err(error) => {
                tracing::error!(pool = %self.pool, panicked = error.is_panic(), "a call was lost");
                self.if_lost.remove(&error.id())
            }
        }
    }

    fn take(&mut self, answer: Answer) -> Option<Event> {
        match answer {
            Answer::Event(event) => {
                self.hear(&event);
                Some(event)
            }
            Answer::Issued(Err(error)) => Some(Event::IssueFailed(error)),
            Answer::Issued(Ok(issued)) => Some(self.hold(issued)),
            Answer::Suspicion => {
                self.listen_for_suspicion();
                Some(Event::Suspicion)
            }
            Answer::Wanted => {
                self.listen_for_wishes();
                Some(Event::Wanted)
            }
            Answer::SourceChanged => {
                self.listen_for_change();
                Some(Event::SourceChanged)
            }
            Answer::Recovered(outcome) => {
                self.recovered(outcome);
                self.start()
            }
            Answer::StartAnyway => self.start(),
        }
    }

    /// What an answer says beside the core: whether the server answers, when a token ends.
    fn hear(&mut self, event: &Event) {
        match event {
            Event::SurveyFailed(error) => self.server_error = Some(error.to_string()),
            Event::Surveyed(_) | Event::Verified(_) => self.server_error = None,
            Event::Renewed(id, term) => {
                if let Some(held) = self.held.get_mut(id) {
                    held.token_end = term.token_end;
                }
            }
            _ => {}
        }
    }

    fn start(&mut self) -> Option<Event> {
        let first = !self.started;
        self.started = true;
        first.then_some(Event::Start)
    }

    fn hold(&mut self, issued: Issued) -> Event {
        let term = issued.term;
        // The core is waiting for exactly this one.
        let issuing = self.life.views().find(|view| view.state == GenerationState::Issuing);
        if let Some(id) = issuing.map(|view| view.id) {
            let generation = Arc::new(Generation::new(id, issued.login.clone(), term.end()));
            let held = Held {
                user: issued.login.user.clone(),
                lease_id: issued.grant.lease_id.clone(),
                issued_at: SystemTime::now() - term.sent.until(Moment::now()),
                token_end: term.token_end,
                keys: Some((Arc::new(issued), generation)),
            };
            self.held.insert(id, held);
            self.log_issued(id, &term);
            self.history.issued(id, term.sent, Moment::now());
        }
        Event::Issued(term)
    }

    /// Runs something that comes back with an answer; `if_lost` if it panics.
    fn start_task(&mut self, if_lost: Answer, task: impl Future<Output = Answer> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.if_lost.insert(id, if_lost);
    }

    fn keys(&self, id: GenerationId) -> Option<(Arc<Issued>, Arc<Generation>)> {
        self.held.get(&id).and_then(|held| held.keys.clone())
    }

    fn perform(&mut self, effect: Effect) {
        self.log_effect(&effect);
        let (source, fleet) = (Arc::clone(&self.source), Arc::clone(&self.fleet));
        match effect {
            Effect::Issue(_) => self.start_task(Answer::Issued(Err(lost())), async move {
                Answer::Issued(source_bound(source.issue()).await)
            }),
            Effect::Verify(id) => self.verify(id),
            Effect::Warm(id) => {
                let Some((_, generation)) = self.keys(id) else { return };
                self.start_task(Answer::Event(Event::Warmed(id)), async move {
                    fleet.warm(&generation).await;
                    Answer::Event(Event::Warmed(id))
                });
            }
            Effect::Activate(id) => {
                let Some((_, generation)) = self.keys(id) else { return };
                self.fleet.activate(&generation);
            }
            Effect::Deactivate(id) => self.fleet.deactivate(id),
            Effect::Retire(id) => {
                self.fleet.retire(id);
                self.start_task(Answer::Event(Event::Tick), async move {
                    fleet.drained(id).await;
                    Answer::Event(Event::Drained(id))
                });
            }
            Effect::CancelBusy(id) => self.fleet.cancel_busy(id),
            Effect::Cut(id, reason) => self.fleet.cut(id, reason),
            Effect::MoveEnd(id, end) => {
                if let Some((_, generation)) = self.keys(id) {
                    generation.set_end(end);
                }
            }
            Effect::Renew(id) => self.renew(id),
            Effect::Revoke(id) => self.revoke(id),
            Effect::Survey(ids, patience) => self.survey(ids, patience),
            Effect::Forget(id) => drop(self.held.remove(&id)),
            Effect::Tell(notice) => self.tell(&notice),
            Effect::Done => {}
        }
    }

    fn tell(&mut self, notice: &Notice) {
        self.log_notice(notice);
        match notice {
            Notice::IssueFailed { error, .. } | Notice::VerifyFailed { error, .. } => {
                self.last_error = Some(error.clone());
            }
            Notice::Activated { .. } => self.last_error = None,
            Notice::Revoked { id } | Notice::Left { id } => {
                if let Some(held) = self.held.get_mut(id) {
                    held.keys = None;
                }
            }
            _ => {}
        }
    }

    fn publish(&self) {
        let generations = self.life.views().map(|view| {
            let held = self.held.get(&view.id);
            GenerationSnapshot {
                id: view.id,
                user: held.map(|held| held.user.clone()).unwrap_or_default(),
                lease_id: held.map(|held| held.lease_id.clone()).unwrap_or_default(),
                state: view.state,
                issued_at: held.map_or(SystemTime::UNIX_EPOCH, |held| held.issued_at),
                end: view.end,
                late_from: view.late_from,
                token_end: held.and_then(|held| held.token_end),
                renewals: view.renewals,
                steps: self.history.steps(view.id),
            }
        });
        let generations: Vec<_> = generations.collect();
        self.publisher.send_if_modified(|snapshot| {
            let new = KeeperSnapshot {
                source: snapshot.source,
                generations,
                active: self.life.active(),
                rotations: self.life.rotations(),
                next_issue: self.life.next_issue(),
                failures: self.life.troubles(),
                last_error: self.last_error.clone(),
                server_error: self.server_error.clone(),
                stopping: snapshot.stopping,
            };
            let changed = *snapshot != new;
            *snapshot = new;
            changed
        });
    }
}

async fn source_bound<T>(call: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
    match tokio::time::timeout(SOURCE_PATIENCE, call).await {
        Ok(answer) => answer,
        Err(_) => Err(SourceError::Unavailable {
            message: format!("no answer within {} s", SOURCE_PATIENCE.as_secs()),
            retry_after: None,
        }),
    }
}

fn lost() -> SourceError {
    SourceError::Unavailable {
        message: "the call was lost: a fault of this program, please report it".to_owned(),
        retry_after: None,
    }
}
