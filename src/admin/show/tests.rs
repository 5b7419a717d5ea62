//! The tables of a made-up process, and their documentation.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::*;
use crate::clock::Moment;
use crate::credentials::{CallCounts, GenerationId, GenerationState, KeeperCounts, KeeperSnapshot, Steps};
use crate::pool::{ClientId, PoolCounts, PoolSnapshot, ShardSnapshot};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn generation(number: u64, state: GenerationState, end: u64) -> GenerationSnapshot {
    let known = state != GenerationState::Issuing;
    let text = |text: String| if known { text } else { String::new() };
    GenerationSnapshot {
        id: GenerationId::from_number(number),
        user: text(format!("u{number}")),
        lease_id: text(format!("lease/{number}")),
        state,
        issued_at: at(number),
        end: Moment::from_nanos(end * 1_000_000_000),
        late_from: Moment::default(),
        renewals: 2,
        steps: Steps::default(),
    }
}

fn client(id: u64, state: ClientState, shard: usize, since: Instant) -> ClientRow {
    ClientRow {
        id: ClientId(id),
        database: "app".into(),
        user: "anyone".into(),
        application_name: "psql".into(),
        address: (id == 1).then(|| "127.0.0.1:4711".parse().unwrap()),
        state,
        since,
        shard,
    }
}

/// One pool with four generations, on two shards of which the first did not answer.
fn view() -> Snapshot {
    let instant = Instant::now() + Duration::from_secs(1000);
    let now = Now { boot: Moment::from_nanos(100_500_000_000), instant, wall: at(5000) };
    let since = instant - Duration::from_secs(10);
    let keeper = KeeperSnapshot {
        source: "local",
        generations: vec![
            generation(1, GenerationState::Revoked, 90),
            generation(2, GenerationState::Retiring, 130),
            generation(3, GenerationState::Active, 160),
            generation(4, GenerationState::Issuing, 0),
        ],
        active: Some(GenerationId::from_number(3)),
        rotations: 2,
        next_issue: None,
        failures: 0,
        last_error: None,
        server_error: None,
        stopping: false,
    };
    let server = |generation, client: Option<u64>| ServerRow {
        generation: GenerationId::from_number(generation),
        user: format!("u{generation}"),
        pid: client.map(|_| 77),
        client: client.map(ClientId),
        peer: Peer::Unix("/run/.s.PGSQL.5432".into()),
        opened: since,
    };
    let part = PoolSnapshot {
        counts: PoolCounts {
            transactions: 7,
            errors: 1,
            waiting: 1,
            idle: 1,
            busy: 1,
            ..PoolCounts::default()
        },
        servers: vec![server(2, Some(1)), server(3, None)],
    };
    Snapshot {
        now,
        started: Moment::default(),
        databases: vec![DatabaseSnapshot {
            name: "app".into(),
            mode: PoolMode::Session,
            size: 5,
            max_server_connections: 9,
            keeper,
            keeper_counts: KeeperCounts::default(),
            calls: CallCounts::default(),
            events: Vec::new(),
            active: Some(GenerationId::from_number(3)),
            was_active: true,
            connections: BTreeMap::from([(GenerationId::from_number(2), 4)]),
            trouble: Some("no route".into()),
        }],
        shards: vec![(1, ShardSnapshot { pools: vec![part] })],
        silent: vec![0],
        ended: Vec::new(),
        stopping: false,
        client_counts: Vec::new(),
        clients: vec![
            client(1, ClientState::Active, 0, since),
            client(2, ClientState::Waiting, 1, since),
            client(3, ClientState::Idle, 1, since),
        ],
    }
}

/// Every value of one column, as text.
fn values(table: &Table, column: &str) -> Vec<String> {
    let index = table.columns.iter().position(|each| each.name == column).unwrap();
    let text = |value: &Value| match value {
        Value::Int(Some(number)) => number.to_string(),
        Value::Float(Some(number)) => number.to_string(),
        Value::Text(Some(text)) => text.clone(),
        Value::Time(Some(time)) => time.duration_since(UNIX_EPOCH).unwrap().as_secs().to_string(),
        _ => "∅".into(),
    };
    table.rows.iter().map(|row| text(&row[index])).collect()
}

#[test]
fn every_row_has_a_value_of_the_right_type_for_each_column() {
    let view = view();
    for (show, word, _) in Show::ALL {
        let table = show.table(&view);
        assert!(!table.rows.is_empty(), "{word}");
        for row in &table.rows {
            assert_eq!(row.len(), table.columns.len(), "{word}");
            for (value, column) in row.iter().zip(table.columns) {
                let kind = match value {
                    Value::Int(_) => Kind::Int8,
                    Value::Float(_) => Kind::Float8,
                    Value::Text(_) => Kind::Text,
                    Value::Time(_) => Kind::Timestamptz,
                };
                assert_eq!(kind, column.kind, "{word} {}", column.name);
            }
        }
    }
    assert_eq!(Snapshot::empty().clients.len(), 0);
}

#[test]
fn generations_tell_what_is_left_of_their_lease() {
    let table = Show::Generations.table(&view());
    assert_eq!(values(&table, "generation"), ["1", "2", "3", "4"]);
    assert_eq!(values(&table, "user"), ["u1", "u2", "u3", "∅"]);
    assert_eq!(values(&table, "state"), ["revoked", "retiring", "active", "issuing"]);
    assert_eq!(values(&table, "expires_in"), ["∅", "29.5", "59.5", "∅"]);
    assert_eq!(values(&table, "connections"), ["0", "4", "0", "0"]);
    assert_eq!(values(&table, "lease_id")[1], "lease/2");
    assert_eq!(values(&table, "issued_at")[2], "3");
}

#[test]
fn pools_add_up_their_shards_and_clients() {
    let mut view = view();
    let row = |view: &Snapshot| {
        let table = Show::Pools.table(view);
        let names = table.columns.iter().map(|column| column.name);
        names.map(|name| format!("{name}={}", values(&table, name)[0])).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        row(&view),
        "database=app pool_mode=session generation=3 user=u3 clients_active=1 clients_waiting=1 clients_idle=1 \
         servers_idle=1 servers_busy=1 pool_size=5 max_server_connections=9 transactions=7 errors=1 rotations=2 \
         last_error=no route"
    );
    let again = view.shards[0].clone();
    view.shards.push(again);
    view.databases[0].keeper.active = None;
    view.databases[0].keeper.last_error = Some("Vault is sealed".into());
    let row = row(&view);
    assert!(row.contains("generation=∅ user=∅") && row.contains("servers_idle=2"), "{row}");
    assert!(row.contains("transactions=14") && row.ends_with("last_error=Vault is sealed"), "{row}");
}

#[test]
fn clients_and_servers_refer_to_each_other() {
    let view = view();
    let clients = Show::Clients.table(&view);
    assert_eq!(values(&clients, "id"), ["1", "2", "3"]);
    assert_eq!(values(&clients, "state"), ["active", "waiting", "idle"]);
    assert_eq!(values(&clients, "address"), ["127.0.0.1:4711", "unix", "unix"]);
    assert_eq!(values(&clients, "connected_since"), ["4990"; 3]);
    let servers = Show::Servers.table(&view);
    assert_eq!(values(&servers, "client"), ["1", "∅"]);
    assert_eq!(values(&servers, "state"), ["busy", "idle"]);
    assert_eq!(values(&servers, "pid"), ["77", "∅"]);
    assert_eq!(values(&servers, "address")[0], "/run/.s.PGSQL.5432");
    assert_eq!(values(&servers, "shard"), ["1", "1"]);
}

#[test]
fn a_rotation_says_what_became_of_it() {
    let rotated =
        |accepted, stopping| Rotated { database: format!("{accepted}-{stopping}"), accepted, stopping };
    let table = rotation(vec![rotated(true, false), rotated(false, false), rotated(false, true)]);
    assert_eq!(values(&table, "database"), ["true-false", "false-false", "false-true"]);
    assert_eq!(values(&table, "answer"), ["issuing", "under way", "stopping"]);
}

#[test]
fn the_documentation_has_every_column_and_command() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/console.md");
    let text = std::fs::read_to_string(file).unwrap();
    let tables = Show::ALL.iter().map(|(show, word, _)| (format!("SHOW {word}"), show.columns()));
    for (command, columns) in tables.chain([("ROTATE".to_owned(), rotation_columns())]) {
        let mut expected = format!("## {command}\n");
        let (_, section) = text.split_once(&expected).unwrap_or_else(|| panic!("no section {command}"));
        let section = section.split("\n## ").next().unwrap();
        expected = "| column | type | meaning |\n|---|---|---|\n".into();
        for column in columns {
            expected.push_str(&format!(
                "| `{}` | {} | {} |\n",
                column.name,
                column.kind.name(),
                column.meaning
            ));
        }
        assert!(section.contains(&expected), "{command} should read:\n{expected}");
    }
    for row in help() {
        let [Value::Text(Some(command)), Value::Text(Some(meaning))] = &row[..] else { panic!("{row:?}") };
        assert!(text.contains(&format!("| `{command}` | {meaning} |")), "{command}: {meaning}");
    }
}
