//! What everybody else may know of a pool's users: for the console, the
//! status page, readiness, and the words of a client's error.

use std::time::SystemTime;

use super::chronicle::Steps;
use super::generation::GenerationId;
use super::life::GenerationState;
use crate::clock::Moment;

/// One pool's users at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperSnapshot {
    /// Where the users come from, in one word: [`super::Source::kind`].
    pub source: &'static str,
    /// Oldest first; the latest few that are over stay listed.
    pub generations: Vec<GenerationSnapshot>,
    /// The one that all checkouts get; `None`: nobody can be served.
    pub active: Option<GenerationId>,
    /// How often one generation took over from another.
    pub rotations: u64,
    /// When the next user is due; `None` while one is on its way.
    pub next_issue: Option<Moment>,
    /// Calls for a user that failed since the last that did not.
    pub failures: u32,
    /// What went wrong last, until a new generation becomes active.
    pub last_error: Option<String>,
    /// Why the server could not be asked for the users last time; `None` once it could.
    pub server_error: Option<String>,
    /// No new user will come: the keeper is stopping or has stopped.
    pub stopping: bool,
}

impl KeeperSnapshot {
    pub(super) fn new(source: &'static str) -> Self {
        Self {
            source,
            generations: Vec::new(),
            active: None,
            rotations: 0,
            next_issue: None,
            failures: 0,
            last_error: None,
            server_error: None,
            stopping: false,
        }
    }

    /// The generation with this id, if it is listed.
    #[must_use]
    pub fn generation(&self, id: GenerationId) -> Option<&GenerationSnapshot> {
        self.generations.iter().find(|generation| generation.id == id)
    }
}

/// One generation at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationSnapshot {
    /// Which one of its pool.
    pub id: GenerationId,
    /// The database user; empty while it is being issued.
    pub user: String,
    /// The source's name for the lease; empty while it is being issued.
    pub lease_id: String,
    /// Where it is in its life.
    pub state: GenerationState,
    /// When it was asked for, on the wall clock.
    pub issued_at: SystemTime,
    /// When it ends; meaningless while it is being issued.
    pub end: Moment,
    /// From when on that is nearer than the retries for a successor allow for; meaningless while it
    /// is being issued.
    pub late_from: Moment,
    /// When the token ends that it was issued under; `None` if that is not known or never.
    pub token_end: Option<Moment>,
    /// How often its lease was renewed.
    pub renewals: u32,
    /// When it took which step.
    pub steps: Steps,
}
