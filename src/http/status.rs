//! A snapshot as JSON (`/status`). What is not named here is not told: no password, no token, no lease id.
//!
//! `docs/http.md` specifies every field; a test compares the two.

mod figures;
mod past;
mod users;
mod waits;

use std::collections::BTreeMap;

use serde::Serialize;

use self::figures::milliseconds;
use self::past::{Event, Vault};
use self::users::Generation;
use self::waits::Waits;
use super::rules::{Reason, ready};
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
    paused: bool,
    disabled: bool,
    next_user_in_seconds: Option<f64>,
    failures: u32,
    last_error: Option<String>,
    server_error: Option<String>,
    rotations: u64,
    clients: Clients,
    servers: Servers,
    waits: Waits,
    transactions: u64,
    errors: u64,
    generations: Vec<Generation>,
    vault: Option<Vault>,
    events: Vec<Event>,
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
            paused: database.paused,
            disabled: database.disabled,
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
            waits: Waits::of(&counts),
            transactions: counts.transactions,
            errors: counts.errors,
            generations: Generation::all(snapshot, index, database),
            vault: Vault::of(snapshot, database),
            events: database.events.iter().map(|event| Event::of(snapshot, event)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::clock::Moment;
    use crate::credentials::{
        CallCounts, EventLevel, FailedCall, GenerationId, GenerationSnapshot, GenerationState, KeeperCounts,
        KeeperSnapshot, PastEvent, RetireReason, Steps,
    };
    use crate::histogram::Histogram;
    use crate::pool::PinCounts;
    use crate::pool::{PoolCounts, PoolSnapshot, ShardSnapshot};

    fn second(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

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
            renewals: 2,
            steps: Steps {
                issued: Some(second(20)),
                activated: Some(second(21)),
                retired: Some(second(30)),
                reason: Some(RetireReason::Asked),
                gone: Some(second(39)),
            },
        };
        let database = DatabaseSnapshot {
            name: "app".into(),
            mode: PoolMode::Session,
            size: 5,
            min_size: 0,
            reserve_size: 0,
            server_lifetime: std::time::Duration::ZERO,
            max_server_connections: 9,
            pins: PinCounts::default(),
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
            calls: CallCounts {
                requests: BTreeMap::from([(("issue", "503"), 2), (("login", "ok"), 5)]),
                last_ok: Some(second(38)),
                last_failed: Some(FailedCall { at: second(37), operation: "issue", status: "503" }),
                ..CallCounts::default()
            },
            events: vec![PastEvent {
                at: second(36),
                level: EventLevel::Warn,
                generation: Some(GenerationId::FIRST),
                text: "not revoked".into(),
                times: 3,
            }],
            active: Some(GenerationId::FIRST),
            was_active: true,
            connections: BTreeMap::from([(GenerationId::FIRST, 4)]),
            paused: false,
            disabled: false,
            trouble: None,
        };
        let mut snapshot = Snapshot { databases: vec![database], silent: vec![1], ..Snapshot::empty() };
        let mut waits = Histogram::default();
        waits.observe(std::time::Duration::from_millis(40));
        let counts = PoolCounts {
            waits,
            longest_wait: Some(std::time::Duration::from_secs(3)),
            ..PoolCounts::default()
        };
        let part = PoolSnapshot { counts, servers: Vec::new() };
        snapshot.shards = vec![(0, ShardSnapshot { pools: vec![part] })];
        snapshot.now.boot = second(40);
        snapshot.now.wall = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(60);
        snapshot.started = second(10);
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
        assert_eq!(generation["issued_at"], "1970-01-01T00:00:00.000Z");
        let ago = ["issued", "activated", "retired", "gone"]
            .map(|step| generation[format!("{step}_seconds_ago")].as_f64().unwrap());
        assert_eq!((ago, &generation["retired_because"]), ([20.0, 19.0, 10.0, 1.0], &"asked".into()));
        let waits = &database["waits"];
        assert_eq!((&waits["longest_seconds"], &waits["p99_seconds"]), (&3.0.into(), &0.05.into()));
        let vault = &database["vault"];
        assert_eq!((&vault["requests_ok"], &vault["requests_failed"]), (&5.into(), &2.into()));
        assert_eq!(vault["last_failure"]["seconds_ago"], 3.0);
        let event = &database["events"][0];
        assert_eq!((&event["at"], &event["times"]), (&"1970-01-01T00:00:56.000Z".into(), &3.into()));
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
