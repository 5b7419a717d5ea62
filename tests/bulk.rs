//! Results of any size, and PostgreSQL's own tools: what passes through must not pile up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;
mod wire_client;

use std::time::Duration;

use support::{Endpoint, Program, short_or_long, wait_until};
use wire_client::message::{self, query};
use wire_client::{Plan, Stand};

/// Only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(240);
/// What the proxy may grow by while anything passes through.
const ROOM_KIB: u64 = 16 * 1024;

async fn psql(endpoint: &Endpoint, commands: &[&str]) -> String {
    let mut command = endpoint.command("psql");
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
    for sql in commands {
        command.args(["-c", sql]);
    }
    Program::run(command, PATIENCE).await.success()
}

/// What the proxy needs to have touched once.
async fn warm_up(stand: &Stand) {
    let endpoint = stand.endpoint();
    psql(&endpoint, &["\\copy (SELECT repeat('x', 1000) FROM generate_series(1, 10000)) TO '/dev/null'"])
        .await;
}

#[tokio::test]
async fn large_copies_pass_both_ways_without_piling_up() {
    let stand = or_skip!(Stand::start().await);
    let endpoint = stand.endpoint();
    warm_up(&stand).await;
    psql(&endpoint, &["CREATE TABLE landed (line text)"]).await;
    let before = stand.proxy.peak_rss_kib();
    let thousand_lines = short_or_long(100, 1000);
    let rows = thousand_lines * 1000;
    let out = format!("\\copy (SELECT repeat('x', 999) FROM generate_series(1, {rows})) TO PROGRAM 'wc -c'");
    let counted = psql(&endpoint, &[&out]).await;
    assert_eq!(counted.trim(), (rows * 1000).to_string());
    // All of it is read and parsed; the last line alone is kept, since a disk is not what is tested.
    let line = "x".repeat(999);
    let copy = format!(
        "\\copy landed FROM PROGRAM 'yes {line} | head -n {} ; echo end' WHERE line = 'end'",
        rows - 1
    );
    psql(&endpoint, &[&copy]).await;
    assert_eq!(psql(&endpoint, &["SELECT count(*), min(line) FROM landed"]).await.trim(), "1|end");
    let grown = stand.proxy.peak_rss_kib() - before;
    assert!(grown < ROOM_KIB, "the proxy grew by {grown} KiB");
}

#[tokio::test]
async fn a_row_of_any_size_passes_without_piling_up() {
    let stand = or_skip!(Stand::start().await);
    warm_up(&stand).await;
    let before = stand.proxy.peak_rss_kib();
    // PostgreSQL's own limit is 1 GB; the long form comes close.
    let length = short_or_long(200_000_000, (1 << 30) - (1 << 20));
    let largest = format!("SELECT repeat('x', {length})");
    let mut command = stand.endpoint().command("psql");
    command.args(["-X", "-q", "-A", "-t", "-o", "/dev/null", "-c", &largest]);
    Program::run(command, PATIENCE).await.success();
    // And as a parameter, in one message of the client's.
    let mut client = stand.client().await;
    let mut request = b"SELECT length('".to_vec();
    request.resize(50_000_000, b'y');
    request.extend(b"')");
    client.send(&query(std::str::from_utf8(&request).unwrap())).await;
    let answer = client.until_ready().await;
    assert_eq!(answer[1].row(), [Some((50_000_000 - "SELECT length('".len()).to_string())]);
    let grown = stand.proxy.peak_rss_kib() - before;
    assert!(grown < ROOM_KIB, "the proxy grew by {grown} KiB");
}

#[tokio::test]
async fn a_slow_reader_costs_no_memory() {
    let stand = or_skip!(Stand::start().await);
    warm_up(&stand).await;
    let before = stand.proxy.peak_rss_kib();
    let mut slow = stand.client().await;
    slow.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")).await;
    // Until the server itself is stopped by the full pipe.
    let stuck = async || stand.sessions("wait_event = 'ClientWrite'").await == 1;
    assert!(wait_until(PATIENCE, stuck).await);
    let grown = stand.proxy.peak_rss_kib() - before;
    assert!(grown < ROOM_KIB, "the proxy grew by {grown} KiB");
    assert_eq!(slow.until_ready().await.len(), 100_003);
}

/// Rows of every size round what is passed on without being read, with other rows and statements between them,
/// to a client that reads in bursts: byte for byte as sent.
#[tokio::test]
async fn long_rows_come_whole_and_in_order_among_short_ones() {
    const ROWS: &str =
        "SELECT n, repeat(md5(n::text), n) FROM unnest(ARRAY[1, 2047, 2049, 40000, 3, 100000, 2050, 7]) n";
    for mode in ["transaction", "session"] {
        let stand = or_skip!(Stand::start_with(Plan { mode, pool_size: 2, ..Plan::default() }).await);
        let mut direct = stand.direct().await;
        let expected: Vec<_> = direct.query(ROWS).await;
        assert_eq!(expected[1].row()[0].as_deref(), Some("1"));
        let mut client = stand.client().await;
        // Three at once, and what is prepared by name behind a long row: its answer is told apart again.
        let batch = [
            query(ROWS),
            query("SELECT 'between'"),
            message::parse("again", ROWS),
            message::bind("", "again", &[]),
            message::execute("", 0),
            message::sync(),
            query(ROWS),
        ]
        .concat();
        for _ in 0..3 {
            client.send(&batch).await;
            // The pipes are full by now, and the proxy waits for the client.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let rows = |answer: &[wire_client::Message]| -> Vec<Vec<Option<String>>> {
                answer.iter().filter(|message| message.kind == b'D').map(wire_client::Message::row).collect()
            };
            for what in ["long", "short", "long", "long"] {
                let answer = rows(&client.until_ready().await);
                let right =
                    if what == "long" { rows(&expected) } else { vec![vec![Some("between".to_owned())]] };
                assert!(answer == right, "{mode}: {what}: {} rows", answer.len());
            }
            client.send(&[message::close_statement("again"), message::sync()].concat()).await;
            client.until_ready().await;
        }
    }
}

/// Large pieces are waited for in the middle of a long stream. Whoever is not sent more gets what there is, and what comes behind
/// it wakes as always.
#[tokio::test]
async fn the_last_piece_of_a_long_stream_and_what_follows_come_in_time() {
    const SOON: Duration = Duration::from_millis(700);
    for mode in ["transaction", "session"] {
        let stand = or_skip!(Stand::start_with(Plan { mode, pool_size: 1, ..Plan::default() }).await);
        let mut client = stand.client().await;
        let stalls =
            "SELECT repeat('x', 1000) FROM generate_series(1, 5000) UNION ALL SELECT pg_sleep(3)::text";
        client.send(&query(stalls)).await;
        let mut rows = 0;
        while let Ok(message) = tokio::time::timeout(SOON, client.next()).await {
            rows += usize::from(message.unwrap().kind == b'D');
        }
        // What PostgreSQL itself holds back is less than 8 KiB.
        assert!((4990..=5000).contains(&rows), "{mode}: {rows} rows while the server sleeps");
        client.until_ready().await;

        client.query("CREATE TABLE landed (n int)").await;
        client.send(&query("COPY landed FROM STDIN")).await;
        assert_eq!(client.next().await.unwrap().kind, b'G');
        let lines = message::copy_data("123456789\n".repeat(400).as_bytes());
        for _ in 0..1000 {
            client.send(&lines).await;
        }
        client.send(&message::copy_data(b"none\n")).await;
        let refused = tokio::time::timeout(SOON, client.next()).await.expect("the server's error").unwrap();
        assert_eq!((refused.kind, refused.field(b'C').as_str()), (b'E', "22P02"), "{mode}");
        client.send(&message::copy_fail("it failed already")).await;
        client.until_ready().await;

        // Long ones that end, each with its end, and short ones behind them, of this client and of the next.
        for _ in 0..20 {
            client.query("SELECT repeat('x', 1000) FROM generate_series(1, 2000)").await;
            let short = tokio::time::timeout(SOON, client.value("SELECT 'short'")).await;
            assert_eq!(short.expect("an answer"), "short", "{mode}");
        }
        client.leave().await;
        let mut next = stand.client().await;
        let short = tokio::time::timeout(SOON, next.value("SELECT 'next'")).await;
        assert_eq!(short.expect("an answer"), "next", "{mode}");
    }
}

/// A client that is ended, or goes, in the middle of a long row: its connection is closed and nobody gets the rest.
#[tokio::test]
async fn who_ends_in_the_middle_of_a_long_row_leaves_nothing_behind() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 1, ..Plan::default() }).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    for end in ["kill", "leave", "reset"] {
        let mut client = stand.client().await;
        client.send(&query("SELECT repeat('x', 100000000)")).await;
        let stuck = async || stand.sessions("wait_event = 'ClientWrite'").await == 1;
        assert!(wait_until(PATIENCE, stuck).await, "{end}");
        match end {
            "kill" => {
                let rows = console.query("SHOW CLIENTS", &[]).await.unwrap();
                let id: i64 = rows[0].get("id");
                console.simple_query(&format!("KILL_CLIENT {id}")).await.unwrap();
            }
            "leave" => drop(client),
            _ => client.reset(),
        }
        let gone = async || stand.sessions("wait_event = 'ClientWrite'").await == 0;
        assert!(wait_until(PATIENCE, gone).await, "{end}");
        let mut next = stand.client().await;
        assert_eq!(next.value("SELECT 'fresh'").await, "fresh", "{end}");
    }
}

#[tokio::test]
async fn postgresqls_own_tools_work_through_it() {
    for mode in ["transaction", "session"] {
        let stand = or_skip!(Stand::start_with(Plan { mode, pool_size: 8, ..Plan::default() }).await);
        let endpoint = stand.endpoint();
        endpoint.run("pgbench", &["-i", "-q", "-s", "2"]).await.success();
        for protocol in ["simple", "extended"] {
            // In session mode more clients than places would wait for each other.
            let clients = if mode == "session" { "8" } else { "16" };
            endpoint.pgbench(&["-c", clients, "-j", "2", "-t", "20", "-M", protocol]).await.assert_clean();
        }
        let described =
            psql(&endpoint, &["\\d", "\\d pgbench_accounts", "\\dt+", "\\l", "\\du", "\\conninfo"]).await;
        assert!(described.contains("filler|character(84)"), "{described}");
        psql(&endpoint, &["CREATE VIEW rich AS SELECT aid FROM pgbench_accounts WHERE abalance > 0"]).await;

        // A dump of what was made, taken and restored through the proxy.
        let files = tempfile::tempdir().unwrap();
        let file = files.path().join("dump.sql");
        let file = file.to_str().unwrap();
        endpoint.run("pg_dump", &["--no-owner", "--schema=public", "-f", file]).await.success();
        let before = psql(&endpoint, &["SELECT sum(abalance), count(*) FROM pgbench_accounts"]).await;
        psql(&endpoint, &["DROP VIEW rich; DROP TABLE pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers"])
            .await;
        let dump = std::fs::read_to_string(file).unwrap();
        // The schema is the superuser's own, and it is there.
        let restorable: String = dump
            .lines()
            .filter(|line| !line.contains("SCHEMA public"))
            .flat_map(|line| [line, "\n"])
            .collect();
        std::fs::write(file, restorable).unwrap();
        let restore = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", "-o", "/dev/null", "-f", file];
        endpoint.run("psql", &restore).await.success();
        // pg_dump's scripts empty the search_path of their session, which transaction mode shares.
        let sum = "SELECT sum(abalance), count(*) FROM public.pgbench_accounts";
        assert_eq!(psql(&endpoint, &[sum]).await, before, "{mode}");
    }
}

#[tokio::test]
async fn an_idle_client_costs_little_memory() {
    let stand = or_skip!(Stand::start_with(Plan { threads: 2, ..Plan::default() }).await);
    let mut clients = Vec::new();
    let meet = async |clients: &mut Vec<wire_client::WireClient>, number: usize| {
        for _ in 0..number {
            let mut client = stand.client().await;
            // One that has worked: whatever it needed then must be gone.
            assert_eq!(client.value("SELECT repeat('x', 50000)").await.len(), 50_000);
            clients.push(client);
        }
    };
    meet(&mut clients, 20).await;
    let before = stand.proxy.rss_kib();
    meet(&mut clients, 300).await;
    let each = stand.proxy.rss_kib().saturating_sub(before) as f64 / 300.0;
    println!("{each:.1} KiB for each idle client");
    assert!(each < 64.0, "{each:.1} KiB for each idle client");
    assert_eq!(clients[0].value("SELECT 1").await, "1");
}
