//! A snapshot as JSON (`/status`). What is not named here is not told: no password, no token, no lease id.
//!
//! `docs/http.md` specifies every field; a test compares the two.

use std::collections::BTreeMap;

use serde::Serialize;

use super::rules::{Reason, ready};
use crate::credentials::GenerationSnapshot;
use crate::pool::PoolMode;
use crate::session::ClientState;
use crate::snapshot::{DatabaseSnapshot, Snapshot};

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    uptime_seconds: u64,
    stopping: bool,
    ready: bool,
    reasons: Vec<Reason>,
    threads: Threads,
    databases: Vec<Database>,
}

#[derive(Debug, Serialize)]
struct Threads {
    answering: usize,
    blocked: Vec<usize>,
}

#[derive(Debug, Serialize)]
struct Database {
    database: String,
    source: &'static str,
    pool_mode: &'static str,
    active_generation: Option<u64>,
    next_user_in_seconds: Option<f64>,
    failures: u32,
    last_error: Option<String>,
    server_error: Option<String>,
    rotations: u64,
    clients: Clients,
    servers: Servers,
    transactions: u64,
    errors: u64,
    generations: Vec<Generation>,
}

#[derive(Debug, Serialize)]
struct Clients {
    active: usize,
    waiting: usize,
    idle: usize,
}

#[derive(Debug, Serialize)]
struct Servers {
    busy: usize,
    idle: usize,
    pool_size: usize,
    max_server_connections: usize,
}

#[derive(Debug, Serialize)]
struct Generation {
    generation: u64,
    user: Option<String>,
    state: String,
    expires_in_seconds: Option<f64>,
    connections: usize,
    renewals: u32,
}

impl Status {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let verdict = ready(snapshot, snapshot.now.boot);
        let clients = clients(snapshot);
        let database =
            |(index, database): (usize, &DatabaseSnapshot)| Database::of(snapshot, index, database, &clients);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: snapshot.started.until(snapshot.now.boot).as_secs(),
            stopping: snapshot.stopping,
            ready: verdict.ok,
            reasons: verdict.reasons,
            threads: Threads { answering: snapshot.shards.len(), blocked: snapshot.silent.clone() },
            databases: snapshot.databases.iter().enumerate().map(database).collect(),
        }
    }
}

/// Clients by database, counted in one pass: there may be ten thousand.
fn clients(snapshot: &Snapshot) -> BTreeMap<&str, Clients> {
    let mut found: BTreeMap<&str, Clients> = BTreeMap::new();
    for client in &snapshot.clients {
        let of = found.entry(&client.database).or_insert(Clients { active: 0, waiting: 0, idle: 0 });
        let count = match client.state {
            ClientState::Active => &mut of.active,
            ClientState::Waiting => &mut of.waiting,
            ClientState::Idle => &mut of.idle,
        };
        *count = count.saturating_add(1);
    }
    found
}

impl Database {
    fn of(
        snapshot: &Snapshot,
        index: usize,
        database: &DatabaseSnapshot,
        clients: &BTreeMap<&str, Clients>,
    ) -> Self {
        let counts = snapshot.counts(index);
        let clients = clients.get(database.name.as_str());
        let clients = clients.map_or((0, 0, 0), |known| (known.active, known.waiting, known.idle));
        let keeper = &database.keeper;
        Self {
            database: database.name.clone(),
            source: keeper.source,
            pool_mode: match database.mode {
                PoolMode::Transaction => "transaction",
                PoolMode::Session => "session",
            },
            active_generation: database.active.map(|id| id.number()),
            next_user_in_seconds: keeper
                .next_issue
                .map(|at| milliseconds(snapshot.now.boot.until(at).as_secs_f64())),
            failures: keeper.failures,
            last_error: database.last_error().map(str::to_owned),
            server_error: keeper.server_error.clone(),
            rotations: keeper.rotations,
            clients: Clients { active: clients.0, waiting: clients.1, idle: clients.2 },
            servers: Servers {
                busy: counts.busy,
                idle: counts.idle,
                pool_size: database.size,
                max_server_connections: database.max_server_connections,
            },
            transactions: counts.transactions,
            errors: counts.errors,
            generations: keeper
                .generations
                .iter()
                .map(|generation| Generation::of(snapshot, database, generation))
                .collect(),
        }
    }
}

impl Generation {
    fn of(snapshot: &Snapshot, database: &DatabaseSnapshot, generation: &GenerationSnapshot) -> Self {
        Self {
            generation: generation.id.number(),
            user: (!generation.user.is_empty()).then(|| generation.user.clone()),
            state: generation.state.to_string(),
            expires_in_seconds: snapshot.expires_in(generation),
            connections: database.connections.get(&generation.id).copied().unwrap_or(0),
            renewals: generation.renewals,
        }
    }
}

fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::clock::Moment;
    use crate::credentials::{CallCounts, GenerationId, GenerationState, KeeperCounts, KeeperSnapshot};

    fn snapshot() -> Snapshot {
        let generation = GenerationSnapshot {
            id: GenerationId::FIRST,
            user: "u1".into(),
            lease_id: "database/creds/app/hush".into(),
            state: GenerationState::Active,
            issued_at: std::time::SystemTime::UNIX_EPOCH,
            end: Moment::from_nanos(100_500_000_000),
            late_from: Moment::default(),
            token_end: None,
            retired: None,
            renewals: 2,
        };
        let database = DatabaseSnapshot {
            name: "app".into(),
            mode: PoolMode::Session,
            size: 5,
            max_server_connections: 9,
            target: crate::snapshot::TargetSnapshot::default(),
            keeper: KeeperSnapshot {
                source: "vault",
                generations: vec![generation],
                active: Some(GenerationId::FIRST),
                rotations: 3,
                next_issue: Some(Moment::from_nanos(42_000_000_000)),
                failures: 1,
                last_error: Some("sealed".into()),
                server_error: None,
                stopping: false,
            },
            keeper_counts: KeeperCounts::default(),
            calls: CallCounts::default(),
            active: Some(GenerationId::FIRST),
            was_active: true,
            connections: BTreeMap::from([(GenerationId::FIRST, 4)]),
            trouble: None,
        };
        let mut snapshot = Snapshot { databases: vec![database], silent: vec![1], ..Snapshot::empty() };
        snapshot.now.boot = Moment::from_nanos(40_000_000_000);
        snapshot.started = Moment::from_nanos(10_000_000_000);
        snapshot
    }

    #[test]
    fn all_is_told_but_lease_ids() {
        let text = serde_json::to_string(&Status::of(&snapshot())).unwrap();
        assert!(!text.contains("hush") && !text.contains("lease"), "{text}");
        let status: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&status["uptime_seconds"], &status["ready"]), (&30.into(), &false.into()));
        assert_eq!(status["reasons"][0]["reason"], "user_ends");
        assert_eq!(status["threads"]["blocked"][0], 1);
        let database = &status["databases"][0];
        assert_eq!(
            (&database["next_user_in_seconds"], &database["pool_mode"]),
            (&2.0.into(), &"session".into())
        );
        let generation = &database["generations"][0];
        assert_eq!(
            (&generation["expires_in_seconds"], &generation["connections"]),
            (&60.5.into(), &4.into())
        );
    }

    #[test]
    fn the_documentation_has_every_field() {
        fn fields(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    for (name, value) in map {
                        found.push(name.clone());
                        fields(value, found);
                    }
                }
                Value::Array(list) => list.iter().for_each(|value| fields(value, found)),
                _ => {}
            }
        }
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/http.md");
        let text = std::fs::read_to_string(file).unwrap();
        let mut names = vec!["thread".to_owned()];
        fields(&serde_json::to_value(Status::of(&snapshot())).unwrap(), &mut names);
        for name in names {
            let rows = [format!("`{name}` |"), format!(".{name}` |")];
            assert!(rows.iter().any(|row| text.contains(row)), "no field {name} in docs/http.md");
        }
    }
}
