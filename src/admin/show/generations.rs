//! SHOW GENERATIONS: issued users, and who is on their connections.

use std::collections::HashSet;

use crate::admin::table::{Column, Kind, Value, column};
use crate::credentials::{GenerationSnapshot, GenerationState, RetireReason};
use crate::pool::ClientId;
use crate::snapshot::{DatabaseSnapshot, Snapshot};

pub(super) const COLUMNS: &[Column] = &[
    column("database", Kind::Text, "The database that clients ask for."),
    column("source", Kind::Text, "Where its users come from: `vault` or `local`."),
    column("generation", Kind::Int8, "Number of the generation, from 1 for each database."),
    column("user", Kind::Text, "The database user; NULL while it is being issued."),
    column(
        "state",
        Kind::Text,
        "`issuing`, `verifying`, `warming`, `active`, `retiring`, `drained`, `revoked`, `dead` (somebody else removed the user) or `left` (could not be revoked, ends by itself).",
    ),
    column("lease_id", Kind::Text, "The source's name for the lease; NULL while it is being issued."),
    column("issued_at", Kind::Timestamptz, "When the user was asked for; NULL while it is being issued."),
    column("age", Kind::Float8, "Seconds since then."),
    column(
        "expires_in",
        Kind::Float8,
        "Seconds until lease or token ends, whichever is first; NULL while it is being issued and when the user is gone.",
    ),
    column(
        "token_expires_in",
        Kind::Float8,
        "Seconds until the token ends that the user was issued under; NULL also where there is none or it does not end.",
    ),
    column("connections", Kind::Int8, "Server connections of this user, those being opened included."),
    column("idle", Kind::Int8, "Those that no client holds."),
    column("busy", Kind::Int8, "Those that a client holds."),
    column("draining", Kind::Int8, "Those of `busy` that are waited for, so that the user can be revoked."),
    column(
        "pinned",
        Kind::Int8,
        "Those of `busy` that a client in transaction mode keeps between transactions.",
    ),
    column("renewals", Kind::Int8, "How often the lease was renewed."),
    column(
        "retire_reason",
        Kind::Text,
        "Why it takes no more checkouts: `schedule` (its successor was due), `asked` (ROTATE), `source_changed`, `user_gone`, `not_verified`, `too_short`, `user_ends` or `stopping`; NULL while it may take some.",
    ),
];

pub(super) fn rows(view: &Snapshot) -> Vec<Vec<Value>> {
    let pinned = view.clients.iter().filter(|client| client.is_pinned()).map(|client| client.id);
    let pinned: HashSet<ClientId> = pinned.collect();
    let mut rows = Vec::new();
    for (index, pool) in view.databases.iter().enumerate() {
        for generation in &pool.keeper.generations {
            rows.push(row(view, pool, generation, &Use::of(view, index, generation, &pinned)));
        }
    }
    rows
}

/// Who is on a generation's connections.
struct Use {
    idle: usize,
    busy: usize,
    pinned: usize,
}

impl Use {
    fn of(
        view: &Snapshot,
        index: usize,
        generation: &GenerationSnapshot,
        pinned: &HashSet<ClientId>,
    ) -> Self {
        let servers = view.servers(index).filter(|(_, server)| server.generation == generation.id);
        servers.fold(Self { idle: 0, busy: 0, pinned: 0 }, |mut sum, (_, server)| {
            let count = if server.client.is_some() { &mut sum.busy } else { &mut sum.idle };
            *count = count.saturating_add(1);
            let kept = server.client.is_some_and(|client| pinned.contains(&client));
            sum.pinned = sum.pinned.saturating_add(usize::from(kept));
            sum
        })
    }
}

fn row(view: &Snapshot, pool: &DatabaseSnapshot, generation: &GenerationSnapshot, on: &Use) -> Vec<Value> {
    let known = |text: &str| Value::Text((!text.is_empty()).then(|| text.to_owned()));
    let issued_at = (generation.state != GenerationState::Issuing).then_some(generation.issued_at);
    let drains = !matches!(
        generation.state,
        GenerationState::Issuing
            | GenerationState::Verifying
            | GenerationState::Warming
            | GenerationState::Active
    );
    vec![
        Value::text(&pool.name),
        Value::text(pool.keeper.source),
        Value::count(generation.id.number()),
        known(&generation.user),
        Value::text(generation.state.to_string()),
        known(&generation.lease_id),
        Value::Time(issued_at),
        Value::Float(issued_at.map(|at| view.now.seconds_since(at))),
        Value::Float(view.expires_in(generation)),
        Value::Float(view.token_expires_in(generation)),
        Value::count(pool.connections.get(&generation.id).copied().unwrap_or(0)),
        Value::count(on.idle),
        Value::count(on.busy),
        Value::count(if drains { on.busy } else { 0 }),
        Value::count(on.pinned),
        Value::count(generation.renewals),
        Value::Text(generation.steps.reason.map(RetireReason::word).map(str::to_owned)),
    ]
}
