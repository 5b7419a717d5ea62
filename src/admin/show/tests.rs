//! The tables of a made-up process, and their documentation.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::*;
use crate::clock::Moment;
use crate::credentials::{
    CallCounts, GenerationId, GenerationSnapshot, GenerationState, KeeperCounts, KeeperSnapshot,
    RetireReason, Steps,
};
use crate::histogram::Histogram;
use crate::net::Peer;
use crate::pool::{ClientId, PinCounts, PoolCounts, PoolMode, PoolSnapshot, ServerRow, ShardSnapshot, Ties};
use crate::session::{ClientRow, ClientState};
use crate::snapshot::{DatabaseSnapshot, Now, TargetSnapshot};

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
        token_end: (number == 3).then(|| Moment::from_nanos(200_000_000_000)),
        renewals: 2,
        steps: Steps {
            reason: (state == GenerationState::Retiring).then_some(RetireReason::Asked),
            ..Steps::default()
        },
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
        ties: if id == 1 { Ties::LISTEN } else { Ties::default() },
        pinned_since: (id == 1).then(|| since + Duration::from_secs(4)),
        waiting_since: (state == ClientState::Waiting).then(|| since + Duration::from_micros(2_500_000)),
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
        number: 10 + generation,
        generation: GenerationId::from_number(generation),
        user: format!("u{generation}"),
        pid: client.map(|_| 77),
        client: client.map(ClientId),
        peer: Peer::Unix("/run/.s.PGSQL.5432".into()),
        opened: since,
        tls: client.map(|_| "TLSv1.3"),
        prepared: 3,
        cancels: 0,
        outdated: false,
    };
    let mut waits = Histogram::default();
    waits.observe(Duration::from_micros(1_500));
    let part = PoolSnapshot {
        counts: PoolCounts {
            transactions: 7,
            query_time: Duration::from_micros(70),
            transaction_time: Duration::from_micros(80),
            client_parses: 6,
            server_parses: 2,
            binds: 5,
            errors: 1,
            checkouts: 8,
            queries: 9,
            from_clients: 100,
            from_servers: 1000,
            waits,
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
            min_size: 2,
            reserve_size: 3,
            server_lifetime: Duration::from_secs(3600),
            max_server_connections: 9,
            pins: PinCounts::default(),
            target: TargetSnapshot { host: "db1".into(), port: 5433, dbname: "shop".into() },
            keeper,
            keeper_counts: KeeperCounts::default(),
            calls: CallCounts::default(),
            events: Vec::new(),
            active: Some(GenerationId::from_number(3)),
            was_active: true,
            connections: BTreeMap::from([(GenerationId::from_number(2), 4)]),
            paused: false,
            disabled: false,
            trouble: Some("no route".into()),
        }],
        shards: vec![(1, ShardSnapshot { pools: vec![part] })],
        silent: vec![0],
        ended: Vec::new(),
        stopping: false,
        everybody: 5,
        period: None,
        client_counts: Vec::new(),
        clients: vec![
            client(1, ClientState::Active, 0, since),
            client(2, ClientState::Waiting, 1, since),
            client(3, ClientState::Idle, 1, since),
        ],
    }
}

/// The table of a made-up process.
fn table(show: Show, view: &Snapshot) -> Table {
    let mut shown = ShownSettings::default();
    shown.add("listen.max_clients", "70".into(), false, true);
    shown.add("rotation.at", "0.7".into(), true, false);
    show.table(&Sight { view, shown: &shown, status: "VmPeak:\t9 kB\nVmHWM:\t  20 kB\nVmRSS:\t  12 kB\n" })
}

/// A table's first row, as `column=value`.
fn first(table: &Table) -> String {
    let names = table.columns.iter().map(|column| column.name);
    names.map(|name| format!("{name}={}", values(table, name)[0])).collect::<Vec<_>>().join(" ")
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
        let table = self::table(*show, &view);
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
    let table = self::table(Show::Generations, &view());
    assert_eq!(values(&table, "generation"), ["1", "2", "3", "4"]);
    assert_eq!(values(&table, "user"), ["u1", "u2", "u3", "∅"]);
    assert_eq!(values(&table, "state"), ["revoked", "retiring", "active", "issuing"]);
    assert_eq!(values(&table, "expires_in"), ["∅", "29.5", "59.5", "∅"]);
    assert_eq!(values(&table, "connections"), ["0", "4", "0", "0"]);
    assert_eq!(values(&table, "lease_id")[1], "lease/2");
    assert_eq!(values(&table, "issued_at"), ["1", "2", "3", "∅"]);
    assert_eq!(values(&table, "age")[1..], ["4998", "4997", "∅"]);
    assert_eq!(values(&table, "token_expires_in"), ["∅", "∅", "99.5", "∅"]);
    for (column, expected) in [
        ("idle", ["0", "0", "1", "0"]),
        ("busy", ["0", "1", "0", "0"]),
        ("draining", ["0", "1", "0", "0"]),
        ("pinned", ["0", "1", "0", "0"]),
        ("retire_reason", ["∅", "asked", "∅", "∅"]),
    ] {
        assert_eq!(values(&table, column), expected, "{column}");
    }
}

#[test]
fn pools_add_up_their_shards_and_clients() {
    let mut view = view();
    assert_eq!(
        first(&table(Show::Pools, &view)),
        "database=app user=u3 cl_active=2 cl_waiting=1 cl_active_cancel_req=0 cl_waiting_cancel_req=0 sv_active=1 \
         sv_active_cancel=0 sv_being_canceled=0 sv_idle=1 sv_used=0 sv_tested=0 sv_login=0 maxwait=7 \
         maxwait_us=500000 pool_mode=session load_balance_hosts=∅ cl_idle=1 cl_pinned=1 generation=3 pool_size=5 \
         max_server_connections=9 errors=1 timeouts=0 rotations=2 last_error=no route"
    );
    let again = view.shards[0].clone();
    view.shards.push(again);
    view.shards[0].1.pools[0].servers[1].cancels = 2;
    view.databases[0].keeper.active = None;
    view.databases[0].keeper.last_error = Some("Vault is sealed".into());
    let row = first(&table(Show::Pools, &view));
    for part in
        ["user=∅", "generation=∅", "sv_active=2", "sv_active_cancel=2", "sv_being_canceled=1", "sv_idle=1"]
    {
        assert!(row.contains(&format!("{part} ")), "{part}: {row}");
    }
    assert!(row.contains("errors=2") && row.ends_with("last_error=Vault is sealed"), "{row}");
    // Nobody knows what a silent thread has; where all answer, the rest is being opened.
    assert!(row.contains("sv_login=0 "), "{row}");
    view.shards.pop();
    view.silent.clear();
    assert_eq!(values(&table(Show::Pools, &view), "sv_login"), ["2"]);
}

#[test]
fn databases_tell_where_they_go() {
    assert_eq!(
        first(&table(Show::Databases, &view())),
        "name=app host=db1 port=5433 database=shop force_user=∅ pool_size=5 min_pool_size=2 reserve_pool_size=3 \
         server_lifetime=3600 pool_mode=session load_balance_hosts=∅ max_connections=9 current_connections=4 \
         max_client_connections=0 current_client_connections=3 paused=0 disabled=0 reserve_pool=3"
    );
}

#[test]
fn stats_are_totals_and_averages() {
    let view = view();
    let totals = "database=app server_assignment_count=8 xact_count=7 query_count=9 bytes_received=100 \
                  bytes_sent=1000 xact_time=80 query_time=70 wait_time=1500 client_parse_count=6 \
                  server_parse_count=2 bind_count=5";
    assert_eq!(first(&table(Show::StatsTotals, &view)), totals);
    let stats = table(Show::Stats, &view);
    let (all, total, average) = (
        &stats.rows[0],
        &table(Show::StatsTotals, &view).rows[0],
        &table(Show::StatsAverages, &view).rows[0],
    );
    assert_eq!((&all[..12], &all[12..]), (&total[..], &average[1..]));
    for (one, other) in stats.columns[1..12].iter().zip(Show::StatsTotals.columns()[1..].iter()) {
        let name = other.name.trim_start_matches("bytes_");
        assert_eq!((one.name, one.meaning), (format!("total_{name}").as_str(), other.meaning));
    }
}

#[test]
fn lists_settings_and_memory_are_what_was_handed_in() {
    let lists = table(Show::Lists, &view());
    let some: Vec<(String, String)> =
        values(&lists, "list").into_iter().zip(values(&lists, "items")).filter(|(_, n)| n != "0").collect();
    let some: Vec<String> = some.into_iter().map(|(list, items)| format!("{list} {items}")).collect();
    assert_eq!(
        some,
        ["databases 1", "users 2", "pools 1", "used_clients 5", "login_clients 2", "used_servers 2"]
    );
    let config = table(Show::Config, &view());
    assert_eq!(
        values(&config, "key"),
        ["listen.max_clients", "rotation.at", "max_client_conn", "max_user_connections"]
    );
    assert_eq!(values(&config, "value"), ["70", "0.7", "70", "0"]);
    assert_eq!(values(&config, "default"), ["∅", "0.7", "∅", "0"]);
    let mem = table(Show::Mem, &view());
    assert_eq!(
        (values(&mem, "name"), values(&mem, "memtotal")),
        (vec!["resident".to_owned(), "peak".to_owned()], vec!["12288".to_owned(), "20480".to_owned()])
    );
}

#[test]
fn clients_and_servers_refer_to_each_other() {
    let view = view();
    let clients = table(Show::Clients, &view);
    assert_eq!(values(&clients, "id"), ["1", "2", "3"]);
    assert_eq!(values(&clients, "state"), ["active", "waiting", "idle"]);
    assert_eq!(values(&clients, "addr"), ["127.0.0.1", "unix", "unix"]);
    assert_eq!(values(&clients, "port"), ["4711", "0", "0"]);
    assert_eq!(
        (&values(&clients, "wait")[..], &values(&clients, "wait_us")[1]),
        (&["0".to_owned(), "7".to_owned(), "0".to_owned()][..], &"500000".to_owned())
    );
    assert_eq!(values(&clients, "pinned"), ["1", "0", "0"]);
    assert_eq!(values(&clients, "pinned_by"), ["listen", "", ""]);
    assert_eq!(values(&clients, "pinned_for"), ["6", "∅", "∅"]);
    assert_eq!(values(&clients, "connect_time"), ["4990"; 3]);
    let servers = table(Show::Servers, &view);
    assert_eq!(values(&servers, "link"), ["c1", ""]);
    assert_eq!(
        (&values(&clients, "link")[0], &values(&servers, "ptr")[0]),
        (&"s0.12".to_owned(), &"s0.12".to_owned())
    );
    assert_eq!(values(&clients, "ptr")[0], "c1");
    assert_eq!(values(&servers, "state"), ["active", "idle"]);
    assert_eq!(values(&servers, "remote_pid"), ["77", "0"]);
    assert_eq!(
        (values(&servers, "addr")[0].as_str(), values(&servers, "port")[0].as_str()),
        ("unix", "5433")
    );
    assert_eq!(values(&servers, "close_needed"), ["1", "0"]);
    assert_eq!(
        (values(&servers, "tls"), values(&servers, "application_name")),
        (vec!["TLSv1.3".to_owned(), String::new()], vec!["psql".to_owned(), String::new()])
    );
    assert_eq!(values(&servers, "shard"), ["1", "1"]);
    let sockets = table(Show::Sockets, &view);
    assert_eq!(values(&sockets, "state"), ["cl_active", "cl_waiting", "cl_idle", "sv_active", "sv_idle"]);
    let active = table(Show::ActiveSockets, &view);
    assert_eq!(values(&active, "ptr"), ["c1", "c2", "s0.12"]);
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
    for (command, columns) in
        tables.chain([("ROTATE".to_owned(), rotation_columns()), ("RELOAD".to_owned(), reload_columns())])
    {
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
