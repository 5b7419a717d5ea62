//! What happened: Vault's answers and the events of a database's users.

use serde::Serialize;

use super::figures::{ago, date};
use crate::credentials::{GenerationId, PastEvent};
use crate::snapshot::{DatabaseSnapshot, Snapshot};

/// Whether Vault answers.
#[derive(Debug, Serialize)]
pub(super) struct Vault {
    requests_ok: u64,
    requests_failed: u64,
    last_success_seconds_ago: Option<f64>,
    last_failure: Option<Failure>,
}

#[derive(Debug, Serialize)]
struct Failure {
    seconds_ago: f64,
    operation: &'static str,
    status: &'static str,
}

impl Vault {
    /// `None`: the users come from elsewhere.
    pub(super) fn of(snapshot: &Snapshot, database: &DatabaseSnapshot) -> Option<Self> {
        let calls = &database.calls;
        let (requests_ok, requests_failed) = calls.sums();
        (database.keeper.source == "vault").then(|| Self {
            requests_ok,
            requests_failed,
            last_success_seconds_ago: calls.last_ok.map(|at| ago(snapshot, at)),
            last_failure: calls.last_failed.map(|call| Failure {
                seconds_ago: ago(snapshot, call.at),
                operation: call.operation,
                status: call.status,
            }),
        })
    }
}

/// One event.
#[derive(Debug, Serialize)]
pub(super) struct Event {
    at: Option<String>,
    seconds_ago: f64,
    level: &'static str,
    generation: Option<u64>,
    text: String,
    times: u32,
}

impl Event {
    pub(super) fn of(snapshot: &Snapshot, event: &PastEvent) -> Self {
        Self {
            at: snapshot.now.wall_at(event.at).map(date),
            seconds_ago: ago(snapshot, event.at),
            level: event.level.word(),
            generation: event.generation.map(GenerationId::number),
            text: event.text.to_string(),
            times: event.times,
        }
    }
}
