//! Several clients of transaction mode on few upstreams: each has what it set up, and nothing of
//! another's, on whichever upstream it comes.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestError};

use crate::or_skip;
use crate::support::{drawn, short_or_long, wait_until};
use crate::wire_client::message::{
    bind, close_statement, describe_statement, execute, kinds, parse, query, sync,
};
use crate::wire_client::{Message, Plan, Stand, WireClient};

const PATIENCE: Duration = Duration::from_secs(60);

/// A row of text from a statement of the extended protocol in one batch.
pub async fn batch(client: &mut WireClient, parts: &[Vec<u8>]) -> Vec<Message> {
    client.send(&parts.concat()).await;
    client.until_ready().await
}

fn first_value(answers: &[Message]) -> Option<String> {
    answers.iter().find(|message| message.kind == b'D').and_then(|message| message.row()[0].clone())
}

/// What pgx, JDBC and Npgsql do: the unnamed statement is described in one round trip and bound
/// in the next.
#[tokio::test]
async fn an_unnamed_statement_is_its_clients_in_the_next_round_trip_too() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 3, threads: 2, ..Plan::default() }).await);
    let mut working = Vec::new();
    for nth in 0..8 {
        let mut client = stand.client().await;
        working.push(tokio::spawn(async move {
            for turn in 0..200 {
                let sql = format!("SELECT '{nth} {turn} ' || $1::text");
                let answers = batch(&mut client, &[parse("", &sql), describe_statement(""), sync()]).await;
                assert_eq!(kinds(&answers), "1tTZ");
                let value = format!("of {nth}");
                let answers =
                    batch(&mut client, &[bind("", "", &[Some(&value)]), execute("", 0), sync()]).await;
                assert_eq!(first_value(&answers), Some(format!("{nth} {turn} {value}")), "{answers:?}");
            }
            client
        }));
    }
    for work in working {
        tokio::time::timeout(PATIENCE, work).await.expect("a client hangs").unwrap();
    }
}

/// What PDO does: prepared by protocol, forgotten by SQL; and the other way round.
#[tokio::test]
async fn what_was_prepared_by_protocol_is_deallocated_by_sql_and_the_other_way_round() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 3, threads: 2, ..Plan::default() }).await);
    let mut working = Vec::new();
    for nth in 0..8 {
        let mut client = stand.client().await;
        working.push(tokio::spawn(async move {
            for turn in 0..100 {
                let name = format!("pdo_stmt_{turn:08x}");
                let sql = format!("SELECT {nth} + $1::int");
                let answers = batch(&mut client, &[parse(&name, &sql), sync()]).await;
                assert_eq!(kinds(&answers), "1Z", "{answers:?}");
                let run = [bind("", &name, &[Some("1000")]), execute("", 0), sync()];
                assert_eq!(first_value(&batch(&mut client, &run).await), Some((nth + 1000).to_string()));
                let answers = batch(&mut client, &[query(&format!("DEALLOCATE {name}"))]).await;
                assert_eq!(kinds(&answers), "CZ", "{answers:?}");
                let answers = batch(&mut client, &run).await;
                assert_eq!(answers[0].field(b'C'), "26000");

                client.query(&format!("PREPARE {name} AS SELECT {nth} - 1")).await;
                let run = [bind("", &name, &[]), execute("", 0), sync()];
                assert_eq!(first_value(&batch(&mut client, &run).await), Some((nth - 1).to_string()));
                let answers = batch(&mut client, &[close_statement(&name), sync()]).await;
                assert_eq!(kinds(&answers), "3Z", "{answers:?}");
            }
            client
        }));
    }
    for work in working {
        tokio::time::timeout(PATIENCE, work).await.expect("a client hangs").unwrap();
    }
}

/// A setting, and how it is set.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("TimeZone", "SET TimeZone = 'Asia/Tokyo'", "Asia/Tokyo"),
    ("TimeZone", "SET TIME ZONE 'Asia/Tokyo'", "Asia/Tokyo"),
    ("DateStyle", "SET SESSION DateStyle TO 'German'", "German, DMY"),
    ("work_mem", "SELECT set_config('work_mem', '5MB', false)", "5MB"),
    ("app.tenant", "SET app.tenant = 'seven'", "seven"),
    ("app.tenant", "SELECT set_config('app.tenant', 'seven', false)", "seven"),
    ("search_path", "SET search_path = pg_temp, \"A b\"", "pg_temp, \"A b\""),
    ("application_name", "SET application_name = 'other'", "other"),
    (
        "default_transaction_isolation",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "serializable",
    ),
    ("statement_timeout", "DO $$ BEGIN SET statement_timeout = '77s'; END $$", "77s"),
    ("client_encoding", "SET NAMES 'LATIN1'", "LATIN1"),
    ("TimeZone", "/* first */ SET work_mem = '6MB'; SET TimeZone = 'Asia/Tokyo'; SELECT 1", "Asia/Tokyo"),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Alone,
    Commit,
    Rollback,
    RollbackTo,
    Reset,
    ResetAll,
    DiscardAll,
}

/// Each kind of SET, and what becomes of it, on another upstream than the one where it was said,
/// and after a rotation.
#[tokio::test]
async fn each_kind_of_setting_comes_to_what_it_would_without_us() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 2, ..Plan::default() }).await);
    let startup = [("TimeZone", "Europe/Paris"), ("application_name", "mine")];
    for (name, set, value) in SETTINGS {
        for end in [
            End::Alone,
            End::Commit,
            End::Rollback,
            End::RollbackTo,
            End::Reset,
            End::ResetAll,
            End::DiscardAll,
        ] {
            let what = format!("{set}, {end:?}");
            let mut one = stand.client_with(&startup).await;
            let mut two = stand.client_with(&startup).await;
            let show = format!("SELECT current_setting('{name}', true)");
            let before = two.try_value(&show).await.ok();
            match end {
                End::Alone | End::Reset | End::ResetAll | End::DiscardAll => {
                    one.query(set).await;
                }
                End::Commit | End::Rollback => {
                    one.query("BEGIN").await;
                    one.query(set).await;
                    one.query(if end == End::Commit { "COMMIT" } else { "ROLLBACK" }).await;
                }
                End::RollbackTo => {
                    one.query("BEGIN; SAVEPOINT s").await;
                    one.query(set).await;
                    one.query("ROLLBACK TO s; COMMIT").await;
                }
            }
            match end {
                End::Reset => one.query(&format!("RESET {name}")).await,
                End::ResetAll => one.query("RESET ALL").await,
                End::DiscardAll => one.query("DISCARD ALL").await,
                _ => Vec::new(),
            };
            let kept = matches!(end, End::Alone | End::Commit);
            // Another upstream: the one that it had is another's for now.
            let pid = one.value("SELECT pg_backend_pid()").await;
            two.query("BEGIN").await;
            for _ in 0..2 {
                let now = one.try_value(&show).await.ok();
                if kept {
                    assert_eq!(now.as_deref(), Some(*value), "{what}");
                } else if name.contains('.') {
                    assert!(now.as_deref().unwrap_or("").is_empty(), "{what}: {now:?}");
                } else {
                    assert_eq!(now, before, "{what}");
                }
                assert_ne!(
                    two.try_value(&show).await.ok().as_deref(),
                    Some(*value),
                    "{what}: another sees it"
                );
            }
            let _ = pid;
            two.query("COMMIT").await;
            one.leave().await;
            two.leave().await;
        }
    }
}

#[tokio::test]
async fn what_was_set_up_outlives_a_rotation() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 2, ..Plan::default() }).await);
    let mut client = stand.client_with(&[("TimeZone", "Europe/Paris")]).await;
    client.query("SET app.tenant = 'seven'").await;
    batch(&mut client, &[parse("s", "SELECT current_setting('app.tenant') || $1::text"), sync()]).await;
    let user = client.value("SELECT session_user").await;
    let console = stand.client_with(&[("database", "leasehold")]).await;
    drop(console);
    let mut admin = WireClient::connect(&stand.place(), &[("user", "x"), ("database", "leasehold")]).await;
    admin.query("ROTATE app").await;
    let other = async || client.value("SELECT session_user").await != user;
    assert!(wait_until(PATIENCE, other).await);
    let answers = batch(&mut client, &[bind("", "s", &[Some("!")]), execute("", 0), sync()]).await;
    assert_eq!(first_value(&answers), Some("seven!".to_owned()), "{answers:?}");
    assert_eq!(client.value("SELECT current_setting('TimeZone')").await, "Europe/Paris");
}

/// What ties a client to its upstream, what asks for it, and what ends it.
#[tokio::test]
async fn what_lives_in_one_connection_keeps_its_client_there_until_it_is_gone() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 3, ..Plan::default() }).await);
    let tied: &[(&str, &str, &str)] = &[
        ("LISTEN news", "SELECT count(*)::text FROM pg_listening_channels()", "UNLISTEN *"),
        ("CREATE TEMP TABLE mine AS SELECT 1 AS n", "SELECT count(*)::text FROM mine", "DROP TABLE mine"),
        (
            "SELECT pg_advisory_lock(7)",
            "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
            "SELECT pg_advisory_unlock(7)",
        ),
        (
            "BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT 1; COMMIT",
            "SELECT count(*)::text FROM pg_cursors",
            "CLOSE held",
        ),
        ("PREPARE p AS SELECT 1", "SELECT count(*)::text FROM pg_prepared_statements", "DEALLOCATE p"),
        ("PREPARE p AS SELECT 1", "SELECT count(*)::text FROM pg_prepared_statements", "DISCARD ALL"),
    ];
    for (tie, there, end) in tied {
        let mut one = stand.client().await;
        let mut others = Vec::new();
        for _ in 0..4 {
            others.push(stand.client().await);
        }
        one.query(tie).await;
        let pid = one.value("SELECT pg_backend_pid()").await;
        for _ in 0..5 {
            for other in &mut others {
                assert_ne!(other.value("SELECT pg_backend_pid()").await, pid, "{tie}");
                assert_eq!(other.try_value(there).await.unwrap_or("0".into()), "0", "{tie}");
            }
            assert_eq!(one.value(there).await, "1", "{tie}");
            assert_eq!(one.value("SELECT pg_backend_pid()").await, pid, "{tie}");
        }
        one.query(end).await;
        // Somebody else gets the upstream again.
        let free = async || {
            for other in &mut others {
                if other.value("SELECT pg_backend_pid()").await == pid {
                    return true;
                }
            }
            false
        };
        one.value("SELECT 1").await;
        assert!(wait_until(PATIENCE, free).await, "{tie}: never let go");
    }
}

/// A step of one client: a batch with its end.
fn step() -> impl Strategy<Value = Vec<u8>> {
    let name = || select(vec!["s", "r", ""]);
    let texts = select(vec![
        "SELECT 1",
        "SELECT 'two', current_setting('TimeZone')",
        "SELECT current_setting('app.tenant', true) IS NOT DISTINCT FROM 'b'",
        "SELECT 1/0",
        "SELEKT",
    ]);
    let run = |name: &str| [bind("", name, &[]), execute("", 0)].concat();
    prop_oneof![
        3 => (name(), texts.clone()).prop_map(move |(n, sql)| [parse(n, sql), describe_statement(n), sync()].concat()),
        3 => (name(), texts.clone()).prop_map(move |(n, sql)| [parse(n, sql), run(n), sync()].concat()),
        5 => name().prop_map(move |n| [run(n), sync()].concat()),
        2 => (name(), name()).prop_map(move |(n, m)| [run(n), sync(), close_statement(n), run(m), sync()].concat()),
        1 => name().prop_map(|n| [close_statement(n), sync()].concat()),
        4 => select(vec![
            "SET TimeZone = 'Asia/Tokyo'", "SET TimeZone = 'UTC'", "RESET TimeZone", "SHOW TimeZone",
            "SET app.tenant = 'a'", "SELECT set_config('app.tenant', 'b', false)", "SET LOCAL TimeZone = 'Asia/Aden'",
            "DISCARD ALL", "RESET ALL", "DEALLOCATE s", "DEALLOCATE ALL", "EXECUTE s", "PREPARE s AS SELECT 'by sql'",
        ]).prop_map(query),
        3 => select(vec!["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO a"]).prop_map(query),
    ]
}

/// The answers that must be the same; what is only told on the way (a setting's report, a
/// warning) is left out.
fn essence(answers: Vec<Message>) -> Vec<Message> {
    let told = answers.into_iter().filter(|message| !matches!(message.kind, b'S' | b'N'));
    told.map(without_source).collect()
}

/// An error without the place in the server's source: a statement that is prepared just before it is
/// bound is refused in a transaction that has failed by another function of the server.
pub fn without_source(mut message: Message) -> Message {
    if message.kind == b'E' {
        let fields = message.body.split(|byte| *byte == 0);
        let kept = fields.filter(|field| !matches!(field.first(), Some(b'F' | b'L' | b'R')));
        message.body = kept.collect::<Vec<_>>().join(&0);
    }
    message
}

async fn answers(client: &mut WireClient, bytes: &[u8]) -> Vec<Message> {
    client.send(bytes).await;
    let ends = bytes.windows(5).filter(|w| *w == sync()).count() + usize::from(bytes.first() == Some(&b'Q'));
    let mut all = Vec::new();
    for _ in 0..ends {
        match tokio::time::timeout(PATIENCE, client.until_ready()).await {
            Ok(answers) => all.extend(answers),
            Err(_) => all.push(Message { kind: b'?', body: b"nothing".to_vec() }),
        }
    }
    essence(all)
}

const CLIENTS: usize = 3;

#[test]
fn any_steps_of_several_clients_are_answered_as_if_each_had_a_server_of_its_own() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // Two places for statements on each upstream: they push each other out all the time.
    let database = "max_prepared_statements = 2".to_owned();
    let plan = Plan { pool_size: CLIENTS, database, ..Plan::default() };
    let stand = or_skip!(runtime.block_on(Stand::start_with(plan)));
    let config = Config {
        cases: short_or_long(250, 8000),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let steps = prop::collection::vec((0..CLIENTS, step()), 1..24);
    let outcome = drawn(config).run(&steps, |steps| {
        let wrong = runtime.block_on(async {
            let (mut direct, mut through) = (Vec::new(), Vec::new());
            for _ in 0..CLIENTS {
                direct.push(stand.direct().await);
                through.push(stand.client().await);
            }
            for (at, (client, bytes)) in steps.iter().enumerate() {
                let expected = answers(&mut direct[*client], bytes).await;
                let got = answers(&mut through[*client], bytes).await;
                if expected != got {
                    return Some(format!(
                        "step {at} of client {client}:\n direct {expected:?}\nthrough {got:?}"
                    ));
                }
            }
            for client in direct.into_iter().chain(through) {
                client.leave().await;
            }
            None
        });
        match wrong {
            None => Ok(()),
            Some(wrong) => {
                let spelt: Vec<String> = steps
                    .iter()
                    .map(|(client, bytes)| {
                        format!("{client}: {}", super::random::spelt(bytes).replace('\n', " | "))
                    })
                    .collect();
                Err(TestCaseError::fail(format!("{}\n{wrong}", spelt.join("\n"))))
            }
        }
    });
    if let Err(error) = outcome {
        let error = match error {
            TestError::Fail(reason, _) => reason.to_string(),
            other => other.to_string(),
        };
        panic!("{error}\n{}", stand.proxy.log_text());
    }
    let _guard = runtime.enter();
    drop(stand);
}

#[tokio::test]
async fn an_upstream_has_no_more_statements_than_it_may_and_a_client_no_more_text() {
    let plan = Plan {
        pool_size: 1,
        listen: "max_prepared_bytes = '64KiB'".to_owned(),
        database: "max_prepared_statements = 5".to_owned(),
        ..Plan::default()
    };
    let stand = or_skip!(Stand::start_with(plan).await);
    let mut one = stand.client().await;
    let mut two = stand.client().await;
    for turn in 0..2 {
        for nth in 0..12 {
            let name = format!("s{nth}");
            for client in [&mut one, &mut two] {
                if turn == 0 {
                    let sql = format!("SELECT {nth} + $1::int");
                    assert_eq!(kinds(&batch(client, &[parse(&name, &sql), sync()]).await), "1Z");
                }
                let run = [bind("", &name, &[Some("100")]), execute("", 0), sync()];
                assert_eq!(first_value(&batch(client, &run).await), Some((nth + 100).to_string()));
            }
            let there = one.value("SELECT count(*) FROM pg_prepared_statements").await;
            assert!(there.parse::<usize>().unwrap() <= 5, "{there}");
        }
    }
    // One client may have 4 KiB.
    let long = format!("SELECT '{}'", "x".repeat(3500));
    two.send(&[parse("long", &long), sync()].concat()).await;
    let said = two.until_end().await;
    assert_eq!((said.len(), said[0].field(b'C')), (1, "53200".to_owned()), "{said:?}");
    assert!(said[0].field(b'H').contains("max_prepared_bytes"));
    assert_eq!(one.value("SELECT 'well'").await, "well");
}

/// pgbench prepares inside of transactions, and waits for that with its whole thread.
#[tokio::test]
async fn pgbench_in_each_of_its_modes_with_more_clients_than_upstreams_while_users_change() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 5, threads: 2, ..Plan::default() }).await);
    let place = stand.endpoint();
    assert!(place.pgbench(&["-i", "-q", "app"]).await.status.success());
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("pipeline.sql");
    let pipeline = "\\set aid random(1, 100000)\n\\startpipeline\n\
                    SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n\
                    UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;\n\
                    SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n\\endpipeline\n";
    std::fs::write(&script, pipeline).unwrap();
    let script = script.to_str().unwrap();
    let seconds = short_or_long("3", "20");
    let tpcb: &[&str] = &[];
    let mut console = WireClient::connect(&stand.place(), &[("user", "x"), ("database", "leasehold")]).await;
    for (mode, work) in [
        ("simple", tpcb),
        ("extended", tpcb),
        ("prepared", tpcb),
        ("simple", &["-S"]),
        ("extended", &["-S"]),
        ("prepared", &["-S"]),
        ("extended", &["-f", script]),
        ("prepared", &["-f", script]),
    ] {
        let args = [&["-n", "-M", mode, "-c", "24", "-j", "2", "-T", seconds], work, &["app"]].concat();
        let mut load = place.start_pgbench(&args);
        while load.running() {
            tokio::time::sleep(Duration::from_millis(1200)).await;
            console.query("ROTATE app").await;
        }
        load.finish().await.assert_clean();
    }
}

/// The server reports a setting with a client's answer because its configuration changed: that is not the
/// client's doing, and does not stay with it.
#[tokio::test]
async fn what_the_servers_configuration_changes_is_no_setting_of_a_client() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 1, ..Plan::default() }).await);
    let mut client = stand.client().await;
    client.query("SET DateStyle = 'German'").await;
    for (change, style) in [
        ("ALTER SYSTEM SET IntervalStyle = 'iso_8601'", "iso_8601"),
        ("ALTER SYSTEM RESET IntervalStyle", "postgres"),
    ] {
        stand.ask(change).await;
        stand.ask("SELECT pg_reload_conf()").await;
        let (mut seen, mut reported) = (String::new(), Vec::new());
        let follows = wait_until(PATIENCE, async || {
            let answer = client.query("SHOW IntervalStyle").await;
            reported.extend(answer.iter().filter(|message| message.kind == b'S').map(Message::parameter));
            seen = answer[1].row()[0].clone().unwrap();
            seen == style && !reported.is_empty()
        });
        assert!(follows.await, "{seen} {reported:?}");
        assert_eq!(reported, [("IntervalStyle".to_owned(), style.to_owned())]);
    }
    assert_eq!(client.value("SHOW DateStyle").await, "German, DMY");
}
