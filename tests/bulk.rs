//! Results of any size, and PostgreSQL's own tools: what passes through must not pile up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;
mod wire_client;

use std::time::Duration;

use support::{Endpoint, Program, short_or_long, wait_until};
use wire_client::message::query;
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
