//! The generations of one database.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures::{ago, date};
use crate::clock::Moment;
use crate::credentials::{GenerationId, GenerationSnapshot, RetireReason};
use crate::snapshot::{DatabaseSnapshot, Snapshot};

/// One generation.
#[derive(Debug, Serialize)]
pub(super) struct Generation {
    generation: u64,
    user: Option<String>,
    state: String,
    issued_at: Option<String>,
    issued_seconds_ago: Option<f64>,
    activated_seconds_ago: Option<f64>,
    retired_seconds_ago: Option<f64>,
    retired_because: Option<&'static str>,
    gone_seconds_ago: Option<f64>,
    expires_in_seconds: Option<f64>,
    connections: usize,
    busy: usize,
    idle: usize,
    renewals: u32,
}

/// Connections that a client holds, and others.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    busy: usize,
    idle: usize,
}

impl Generation {
    /// All that are listed, oldest first.
    pub(super) fn all(snapshot: &Snapshot, index: usize, database: &DatabaseSnapshot) -> Vec<Self> {
        let held = held(snapshot, index);
        let of = |generation: &GenerationSnapshot| {
            let held = held.get(&generation.id).copied().unwrap_or_default();
            Self::of(snapshot, database, generation, held)
        };
        database.keeper.generations.iter().map(of).collect()
    }

    fn of(
        snapshot: &Snapshot,
        database: &DatabaseSnapshot,
        generation: &GenerationSnapshot,
        held: Held,
    ) -> Self {
        let steps = &generation.steps;
        let ago = |step: Option<Moment>| step.map(|at| ago(snapshot, at));
        let known = !generation.user.is_empty();
        Self {
            generation: generation.id.number(),
            user: known.then(|| generation.user.clone()),
            state: generation.state.to_string(),
            issued_at: known.then(|| date(generation.issued_at)),
            issued_seconds_ago: ago(steps.issued),
            activated_seconds_ago: ago(steps.activated),
            retired_seconds_ago: ago(steps.retired),
            retired_because: steps.reason.map(RetireReason::word),
            gone_seconds_ago: ago(steps.gone),
            expires_in_seconds: snapshot.expires_in(generation),
            connections: database.connections.get(&generation.id).copied().unwrap_or(0),
            busy: held.busy,
            idle: held.idle,
            renewals: generation.renewals,
        }
    }
}

fn held(snapshot: &Snapshot, index: usize) -> BTreeMap<GenerationId, Held> {
    let mut found: BTreeMap<GenerationId, Held> = BTreeMap::new();
    let shards = snapshot.shards.iter().filter_map(|(_, shard)| shard.pools.get(index));
    for server in shards.flat_map(|pool| &pool.servers) {
        let held = found.entry(server.generation).or_default();
        let count = if server.client.is_some() { &mut held.busy } else { &mut held.idle };
        *count = count.saturating_add(1);
    }
    found
}
