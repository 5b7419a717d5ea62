//! Clients of transaction mode with state that lives in one connection: who sees that they keep it, how many
//! may, and what becomes of it where nobody may.

use std::time::Duration;

use tokio_postgres::Client;

use super::support::proxy::field;
use super::support::wait_until;
use super::wire_client::message::{bind, execute, function_call, kinds, parse, query, sync};
use super::wire_client::{Plan, Stand, WireClient};
use crate::or_skip;

/// Only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

const PID: &str = "SELECT pg_backend_pid()";

/// What ties a client, and what tells whether it is there: more than 0.
const TIED: &[(&str, &str, &str)] = &[
    ("prepared", "PREPARE p AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements WHERE from_sql"),
    ("listen", "LISTEN news", "SELECT count(*) FROM pg_listening_channels()"),
    (
        "temporary",
        "CREATE TEMP TABLE mine AS SELECT 1 AS n",
        "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()",
    ),
    ("advisory_lock", "SELECT pg_advisory_lock(7)", LOCKS),
    (
        "held_cursor",
        "BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT 1; COMMIT",
        "SELECT count(*) FROM pg_cursors",
    ),
];

const LOCKS: &str =
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objid = 7";

fn plan(pool_size: usize, database: &str) -> Plan {
    let more = "[log]\nfilter = 'debug'\nmost_alike = 10000\n".to_owned();
    Plan { pool_size, threads: 2, database: database.to_owned(), more, ..Plan::default() }
}

async fn named(stand: &Stand, name: &str) -> WireClient {
    stand.client_with(&[("application_name", name)]).await
}

/// `pinned`, `pinned_by` and `pinned_for` of a client.
async fn pinned(console: &Client, name: &str) -> Option<(i64, String, Option<i64>)> {
    let rows = console.query("SHOW CLIENTS", &[]).await.unwrap();
    let row = rows.iter().find(|row| row.get::<_, &str>("application_name") == name)?;
    Some((row.get("pinned"), row.get("pinned_by"), row.get("pinned_for")))
}

async fn becomes(stand: &Stand, console: &Client, name: &str, by: &str) {
    let there = async || match pinned(console, name).await {
        Some((0, reasons, None)) => by.is_empty() && reasons.is_empty(),
        Some((1, reasons, Some(seconds))) => reasons == by && !by.is_empty() && seconds < 60,
        other => panic!("{other:?}"),
    };
    assert!(wait_until(PATIENCE, there).await, "{name} by {by:?}:\n{}", stand.proxy.log_text());
}

async fn rotate(stand: &Stand, console: &Client) {
    let before = stand.proxy.logged("active").len();
    console.simple_query("ROTATE app").await.unwrap();
    let other = async || stand.proxy.logged("active").len() > before;
    assert!(wait_until(PATIENCE, other).await, "{}", stand.proxy.log_text());
}

#[tokio::test]
async fn who_keeps_a_connection_is_shown_with_the_reasons_until_it_does_not() {
    let stand = or_skip!(Stand::start_with(plan(3, "")).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    let mut client = named(&stand, "shop").await;
    client.query("SELECT 1").await;
    becomes(&stand, &console, "shop", "").await;
    client.query(TIED[2].1).await;
    becomes(&stand, &console, "shop", "temporary").await;
    client.query("LISTEN news").await;
    becomes(&stand, &console, "shop", "listen, temporary").await;
    // Another user does not change it, nor that the server is asked again now and then.
    let pid = client.value(PID).await;
    rotate(&stand, &console).await;
    for _ in 0..40 {
        assert_eq!(client.value(PID).await, pid);
    }
    becomes(&stand, &console, "shop", "listen, temporary").await;
    client.query("DROP TABLE mine").await;
    becomes(&stand, &console, "shop", "listen").await;
    client.query("UNLISTEN news").await;
    becomes(&stand, &console, "shop", "").await;
    assert_ne!(client.value(PID).await, pid, "the user before was not let go");

    let lines = stand.proxy.logged("pinned");
    let of =
        |message: &str| lines.iter().filter(|line| field(line, "message") == message).collect::<Vec<_>>();
    let begun = of("pinned");
    assert_eq!(begun.len(), 1, "{begun:?}");
    assert_eq!(
        ["level", "pool", "application_name", "reasons"].map(|name| field(begun[0], name)),
        ["INFO", "app", "shop", "temporary"]
    );
    assert_eq!(field(begun[0], "client"), field(of("no longer pinned")[0], "client"));
}

#[tokio::test]
async fn with_pin_never_what_a_client_leaves_is_gone_for_itself_and_was_never_there_for_others() {
    let stand = or_skip!(Stand::start_with(plan(1, "pin = 'never'")).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    for (name, tie, there) in TIED {
        let mut one = named(&stand, name).await;
        let mut other = stand.client().await;
        let pid = other.value(PID).await;
        one.query("SET app.tenant = 'seven'").await;
        // All of it works within the transaction.
        one.query("BEGIN").await;
        if !tie.starts_with("BEGIN") {
            one.query(tie).await;
            if *name != "listen" {
                assert_ne!(one.value(there).await, "0", "{name}");
            }
        }
        one.query("COMMIT").await;
        one.query(tie).await;
        for client in [&mut other, &mut one] {
            assert_eq!(client.value(there).await, "0", "{name}");
            assert_eq!(client.value(PID).await, pid, "{name}: it was not reset but closed");
        }
        assert_eq!(one.value("SELECT current_setting('app.tenant')").await, "seven", "{name}");
        let foreign = other.value("SELECT coalesce(current_setting('app.tenant', true), '')").await;
        assert_eq!(foreign, "", "{name}");
        becomes(&stand, &console, name, "").await;
        one.leave().await;
        other.leave().await;
    }
    // Whether a library was loaded cannot be asked, and nothing would take it away.
    let mut one = stand.client().await;
    let pid = one.value(PID).await;
    assert!(one.try_value("LOAD 'nothing of this name'").await.is_err());
    assert_ne!(one.value(PID).await, pid);
    assert!(stand.proxy.logged("pinned").is_empty(), "{}", stand.proxy.log_text());
}

#[tokio::test]
async fn with_pin_never_nobody_meets_what_another_left_while_many_do_and_users_change() {
    let stand = or_skip!(Stand::start_with(plan(3, "pin = 'never'")).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    let mut working = Vec::new();
    for nth in 0..8_usize {
        let mut client = stand.client().await;
        working.push(tokio::spawn(async move {
            client.query(&format!("SET app.tenant = 'of {nth}'")).await;
            for turn in 0..60 {
                let (_, tie, _) = TIED[(nth + turn) % TIED.len()];
                // Two at once would wait for each other's lock.
                let tie = tie.replace("pg_advisory_lock(7)", &format!("pg_advisory_lock({nth})"));
                client.query(&tie).await;
                let seen = client
                    .value(
                        "SELECT current_setting('app.tenant') || (SELECT count(*) FROM pg_listening_channels()) \
                         || (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()) \
                         || (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) \
                         || (SELECT count(*) FROM pg_prepared_statements WHERE from_sql)",
                    )
                    .await;
                assert_eq!(seen, format!("of {nth}0000"), "turn {turn}");
            }
            client.leave().await;
        }));
    }
    let mut rotations = 0;
    while working.iter().any(|work| !work.is_finished()) {
        rotate(&stand, &console).await;
        rotations += 1;
    }
    for work in working {
        work.await.unwrap();
    }
    assert!(rotations > 0);
}

#[tokio::test]
async fn one_more_than_max_pinned_is_told_who_is_and_leaves_nothing() {
    let stand = or_skip!(Stand::start_with(plan(3, "max_pinned = 2")).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    stand.ask("CREATE TABLE orders (n int); GRANT ALL ON orders TO app").await;
    let (mut one, mut two) = (named(&stand, "one").await, named(&stand, "two").await);
    one.query("LISTEN news; CREATE TEMP TABLE mine (n int)").await;
    two.query(TIED[4].1).await;
    becomes(&stand, &console, "one", "listen, temporary").await;
    becomes(&stand, &console, "two", "held_cursor").await;

    let mut three = named(&stand, "three").await;
    three.send(&query("BEGIN; INSERT INTO orders VALUES (3); SELECT pg_advisory_lock(7); COMMIT")).await;
    let answers = three.until_end().await;
    // What it asked for was done, and is answered.
    assert_eq!(kinds(&answers), "CCTDCCZE", "{answers:?}");
    let refused = answers.last().unwrap();
    assert_eq!((refused.field(b'S').as_str(), refused.field(b'C').as_str()), ("FATAL", "53300"));
    let (detail, hint) = (refused.field(b'D'), refused.field(b'H'));
    for part in ["advisory_lock", "\"one\" (listen, temporary)", "\"two\" (held_cursor)"] {
        assert!(detail.contains(part), "{part} in {detail}");
    }
    for part in ["max_pinned", "pool_size", "pin = \"never\"", "pool_mode = \"session\""] {
        assert!(hint.contains(part), "{part} in {hint}");
    }
    assert_eq!(stand.ask("SELECT count(*) FROM orders").await, "1");
    let free = async || {
        stand.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7").await == "0"
    };
    assert!(wait_until(PATIENCE, free).await, "its lock is still there");
    let told = stand.proxy.logged("as many clients as there may be are pinned");
    assert_eq!((told.len(), field(&told[0], "application_name")), (1, "three".to_owned()));

    // The others have the connection that is left, whoever is their user.
    let mut plain = stand.client().await;
    for _ in 0..3 {
        rotate(&stand, &console).await;
        assert_eq!(plain.value(LOCKS).await, "0");
    }
    // A place is free again however its holder goes.
    drop(one);
    let gone = async || pinned(&console, "one").await.is_none();
    assert!(wait_until(PATIENCE, gone).await);
    let mut four = named(&stand, "four").await;
    four.query(TIED[1].1).await;
    becomes(&stand, &console, "four", "listen").await;
    two.query("CLOSE held").await;
    becomes(&stand, &console, "two", "").await;
    plain.query(TIED[3].1).await;
    assert_eq!(plain.value(LOCKS).await, "1");
}

#[tokio::test]
async fn a_reload_lets_go_those_who_are_pinned_and_sets_how_many_may_be() {
    let stand = or_skip!(Stand::start_with(plan(4, "pin = 'auto'\nmax_pinned = 1")).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    let reload = async |from: &str, to: &str| {
        let file = stand.proxy.config_file();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "no {from} in\n{text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
        let rows = console.query("RELOAD", &[]).await.unwrap();
        let told: Vec<&str> = rows.iter().map(|row| row.get(3)).collect();
        assert_eq!(told, ["applied"], "{from} to {to}");
    };
    let (mut one, mut two) = (named(&stand, "one").await, named(&stand, "two").await);
    one.query("LISTEN news").await;
    becomes(&stand, &console, "one", "listen").await;
    reload("max_pinned = 1", "max_pinned = 2").await;
    two.query("LISTEN news").await;
    becomes(&stand, &console, "two", "listen").await;
    reload("pin = \"auto\"", "pin = \"never\"").await;
    for (client, name) in [(&mut one, "one"), (&mut two, "two")] {
        client.query("SELECT 1").await;
        becomes(&stand, &console, name, "").await;
        assert_eq!(client.value(TIED[1].2).await, "0");
    }
}

const FUNCTIONS: &str = "\
    CREATE FUNCTION take_lock(n int) RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_lock(n)'; \
    CREATE SCHEMA tools; GRANT USAGE ON SCHEMA tools TO app; \
    CREATE FUNCTION tools.outer_one(n int) RETURNS void LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.take_lock(n); END $f$; \
    CREATE PROCEDURE make_table() LANGUAGE plpgsql AS $f$ BEGIN CREATE TEMP TABLE IF NOT EXISTS mine (n int); END $f$; \
    CREATE FUNCTION \"Follow News\"() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN LISTEN news; END $f$; \
    CREATE FUNCTION harmless(n int) RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_xact_lock(n)'";

/// By what a client is tied that runs this; by itself, so that none is one too many.
async fn ties_of(stand: &Stand, console: &Client, name: &str, parts: &[Vec<u8>], by: &str) -> WireClient {
    let mut client = named(stand, name).await;
    client.send(&parts.concat()).await;
    let answers = client.until_ready().await;
    assert!(answers.iter().all(|answer| answer.kind != b'E'), "{name}: {answers:?}");
    becomes(stand, console, name, by).await;
    client
}

#[tokio::test]
async fn functions_that_leave_state_behind_tie_whoever_calls_them() {
    let stand = or_skip!(Stand::start_with(plan(3, "")).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    stand.ask(FUNCTIONS).await;
    // Found once they are there, by and by.
    let noticed = async || {
        let mut client = named(&stand, "first").await;
        client.query("SELECT take_lock(7)").await;
        client.query("SELECT 1").await;
        let found = pinned(&console, "first").await.is_some_and(|(pinned, ..)| pinned == 1);
        client.leave().await;
        let gone = async || pinned(&console, "first").await.is_none();
        assert!(wait_until(PATIENCE, gone).await);
        found
    };
    assert!(wait_until(PATIENCE, noticed).await, "{}", stand.proxy.log_text());
    // What those left that called it before it was known.
    console.simple_query("RECONNECT app").await.unwrap();
    let locked = async || {
        stand.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7").await == "0"
    };
    assert!(wait_until(PATIENCE, locked).await);
    // By a new user, who knows them from its first client on.
    rotate(&stand, &console).await;
    let by_protocol = |sql: &str| vec![parse("", sql), bind("", "", &[]), execute("", 0), sync()];
    let named_one = |sql: &str| vec![parse("s", sql), bind("", "s", &[]), execute("", 0), sync()];
    let cases: [(&str, Vec<Vec<u8>>, &str); 9] = [
        ("query", vec![query("SELECT take_lock(7)")], "advisory_lock"),
        ("caller", vec![query("SELECT Tools.Outer_One (7)")], "advisory_lock"),
        ("unnamed", by_protocol("SELECT take_lock(7)"), "advisory_lock"),
        ("named", named_one("SELECT tools.outer_one(7)"), "advisory_lock"),
        ("call", vec![query("CALL make_table()")], "temporary"),
        ("do", vec![query("DO $$ BEGIN PERFORM take_lock(7); END $$")], "advisory_lock"),
        ("quoted", by_protocol("SELECT \"Follow News\"()"), "listen"),
        ("harmless", vec![query("SELECT harmless(7)")], ""),
        ("rolled back", vec![query("BEGIN; CALL make_table(); ROLLBACK")], ""),
    ];
    for (name, parts, by) in &cases {
        let mut client = ties_of(&stand, &console, name, parts, by).await;
        let mut other = stand.client().await;
        for _ in 0..3 {
            assert_eq!(other.value(LOCKS).await, "0", "{name}");
        }
        client.query("SELECT pg_advisory_unlock_all(); DROP TABLE IF EXISTS mine; UNLISTEN *").await;
        becomes(&stand, &console, name, "").await;
        client.leave().await;
        other.leave().await;
    }
    // A statement that was prepared by SQL calls it when it is executed.
    let mut client =
        ties_of(&stand, &console, "sql", &[query("PREPARE p AS SELECT take_lock(7)")], "prepared").await;
    client.query("EXECUTE p").await;
    becomes(&stand, &console, "sql", "prepared, advisory_lock").await;
    client.query("DEALLOCATE p").await;
    becomes(&stand, &console, "sql", "advisory_lock").await;
}

#[tokio::test]
async fn who_waits_in_vain_for_a_pool_that_is_pinned_is_told_by_whom() {
    let stand =
        or_skip!(Stand::start_with(plan(2, "checkout_timeout = '700ms'\nmax_server_connections = 2")).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    let (mut one, mut two) = (named(&stand, "one").await, named(&stand, "two").await);
    one.query("LISTEN news").await;
    two.query("CREATE TEMP TABLE mine (n int)").await;
    becomes(&stand, &console, "one", "listen").await;
    becomes(&stand, &console, "two", "temporary").await;
    let mut plain = stand.client().await;
    let refused = plain.try_value("SELECT 1").await.unwrap_err();
    assert_eq!(refused.sqlstate, "53300");
    for part in ["2 of them keep one", "\"one\" (listen)", "\"two\" (temporary)"] {
        assert!(refused.detail.contains(part), "{part} in {}", refused.detail);
    }
    assert!(refused.hint.contains("max_pinned"), "{}", refused.hint);
    one.query("UNLISTEN *").await;
    let mut plain = stand.client().await;
    assert_eq!(plain.value("SELECT 1").await, "1");
}

/// A client that runs each of these is tied by that, and nobody else meets what it left.
async fn each_ties(stand: &Stand, console: &Client, cases: &[(&str, Vec<Vec<u8>>, &str)]) {
    for (name, parts, by) in cases {
        let mut client = ties_of(stand, console, name, parts, by).await;
        let mut other = stand.client().await;
        for _ in 0..3 {
            for (_, _, there) in TIED {
                assert_eq!(other.value(there).await, "0", "{name}");
            }
        }
        client.query("DISCARD ALL").await;
        becomes(stand, console, name, "").await;
        other.leave().await;
    }
}

#[tokio::test]
async fn a_do_block_ties_its_client_by_what_it_does_itself() {
    let stand = or_skip!(Stand::start_with(plan(3, "")).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    let block = |body: &str| vec![query(&format!("DO $$ BEGIN {body}; END $$"))];
    let by_protocol = |sql: &str| vec![parse("", sql), bind("", "", &[]), execute("", 0), sync()];
    let held = "EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'";
    each_ties(
        &stand,
        &console,
        &[
            ("lock", block("PERFORM pg_advisory_lock(7)"), "advisory_lock"),
            ("table", block("CREATE TEMP TABLE mine (n int)"), "temporary"),
            ("listen", block("LISTEN news"), "listen"),
            ("prepare", block("EXECUTE 'PREPARE p AS SELECT 1'"), "prepared"),
            ("cursor", block(held), "held_cursor"),
            ("quoted", vec![query("DO 'BEGIN EXECUTE ''LISTEN news''; END'")], "listen"),
            ("nested", block("EXECUTE 'DO $d$ BEGIN LISTEN news; END $d$'"), "listen"),
            ("protocol", by_protocol("DO $$ BEGIN PERFORM pg_advisory_lock(7); END $$"), "advisory_lock"),
            ("nothing", block("PERFORM 1"), ""),
            ("rolled back", vec![query("BEGIN; DO $$ BEGIN LISTEN news; END $$; ROLLBACK")], ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_not_read_counts_as_everything() {
    let stand = or_skip!(Stand::start_with(plan(3, "")).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    let long = |sql: &str| vec![query(&format!("{sql} -- {}", "x".repeat(300 * 1024)))];
    each_ties(
        &stand,
        &console,
        &[
            ("long lock", long("SELECT pg_advisory_lock(7)"), "advisory_lock"),
            ("long table", long("CREATE TEMP TABLE mine (n int)"), "temporary"),
            ("long nothing", long("SELECT 1"), ""),
            // pg_advisory_lock(bigint), abs(int)
            ("call", vec![function_call(2880, &["7"])], "advisory_lock"),
            ("call of nothing", vec![function_call(1251, &["-7"])], ""),
        ],
    )
    .await;
}

const LOG_IN: &str = "\
    CREATE FUNCTION enter(who text) RETURNS text LANGUAGE sql AS $f$ SELECT set_config('app.tenant', who, false) $f$; \
    CREATE FUNCTION log_in(who text) RETURNS void LANGUAGE plpgsql AS $f$ BEGIN PERFORM enter(who); END $f$; \
    CREATE FUNCTION log_in_by_text(who text) RETURNS void LANGUAGE plpgsql \
        AS $f$ BEGIN EXECUTE format('SET app.tenant = %L', who); END $f$; \
    CREATE FUNCTION log_in_to_paris() RETURNS void LANGUAGE plpgsql \
        AS $f$ BEGIN IF true THEN /* then */ SET TimeZone = 'Europe/Paris'; END IF; END $f$; \
    CREATE FUNCTION put(name text, value text) RETURNS text LANGUAGE sql AS $f$ SELECT set_config(name, value, false) $f$; \
    CREATE FUNCTION for_now(who text) RETURNS text LANGUAGE sql AS $f$ SELECT set_config('app.tenant', who, true) $f$";

#[tokio::test]
async fn a_setting_that_a_function_makes_follows_its_client_and_nobody_else() {
    let stand = or_skip!(Stand::start_with(plan(1, "")).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    stand.ask(LOG_IN).await;
    // A new user, who knows them from its first client on.
    rotate(&stand, &console).await;
    let value = "SELECT coalesce(current_setting('app.tenant', true), '') || current_setting('TimeZone')";
    let zone = stand.client().await.value("SHOW TimeZone").await;
    let tenant = |who: &str| format!("{who}{zone}");
    let put = "SELECT put($1, $2)";
    let values = [Some("app.tenant"), Some("x")];
    let cases: [(&str, Vec<Vec<u8>>, String); 11] = [
        ("query", vec![query("SELECT enter('x')")], tenant("x")),
        ("caller", vec![query("SELECT log_in('x')")], tenant("x")),
        ("text", vec![query("SELECT log_in_by_text('x')")], tenant("x")),
        ("zone", vec![query("SELECT log_in_to_paris()")], "Europe/Paris".to_owned()),
        ("name", vec![query("SELECT put('app.tenant', 'x')")], tenant("x")),
        ("parameter", vec![parse("", put), bind("", "", &values), execute("", 0), sync()], tenant("x")),
        ("named", vec![parse("s", put), bind("", "s", &values), execute("", 0), sync()], tenant("x")),
        ("do", vec![query("DO $$ BEGIN PERFORM set_config('app.tenant', 'x', false); END $$")], tenant("x")),
        ("do set", vec![query("DO $$ BEGIN SET app.tenant = 'x'; END $$")], tenant("x")),
        ("rolled back", vec![query("BEGIN; SELECT log_in('x'); ROLLBACK")], tenant("")),
        ("for now", vec![query("SELECT for_now('x')")], tenant("")),
    ];
    for (name, parts, expected) in &cases {
        let mut client = stand.client().await;
        let mut other = stand.client().await;
        client.send(&parts.concat()).await;
        let answers = client.until_ready().await;
        assert!(answers.iter().all(|answer| answer.kind != b'E'), "{name}: {answers:?}");
        for _ in 0..2 {
            assert_eq!(other.value(value).await, tenant(""), "{name}");
            assert_eq!(client.value(value).await, *expected, "{name}");
        }
        client.leave().await;
        other.leave().await;
    }
}
