//! Every way to leave, out of every state that a conversation can be in: nothing stays behind.

use std::time::Duration;

use crate::or_skip;
use crate::support::{short_or_long, wait_until};
use crate::wire_client::message::{
    bind, copy_data, copy_done, execute, flush, parse, query, sync, terminate,
};
use crate::wire_client::{Plan, Stand, WireClient};

const PATIENCE: Duration = Duration::from_secs(60);
const POOL_SIZE: usize = 3;
const CONSOLE: [(&str, &str); 2] = [("user", "who"), ("database", "leasehold")];

/// How a client goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Terminate, and waits for the other side to close.
    Terminate,
    /// Terminate, and closes.
    TerminateAndClose,
    Close,
    HalfClose,
    Reset,
}

const EXITS: [Exit; 5] =
    [Exit::Terminate, Exit::TerminateAndClose, Exit::Close, Exit::HalfClose, Exit::Reset];

async fn leave(mut client: WireClient, exit: Exit) {
    match exit {
        Exit::Terminate => {
            client.send(&terminate()).await;
            client.until_gone().await;
        }
        Exit::TerminateAndClose => client.send(&terminate()).await,
        Exit::Close => {}
        Exit::HalfClose => {
            client.half_close().await;
            client.until_gone().await;
        }
        Exit::Reset => client.reset(),
    }
}

/// What the client has sent when it goes, and the messages it has waited for before.
struct State {
    name: &'static str,
    sent: Vec<Vec<u8>>,
    /// How many ReadyForQuery, and what message comes last.
    heard: (usize, u8),
    /// A Terminate is heard behind it, and soon.
    ends: bool,
}

fn states() -> Vec<State> {
    let state = |name, sent: &[&Vec<u8>], heard| State {
        name,
        sent: sent.iter().map(|it| it.to_vec()).collect(),
        heard,
        ends: true,
    };
    let endless = |name, sent: &[&Vec<u8>], heard| State { ends: false, ..state(name, sent, heard) };
    let half = |whole: Vec<u8>| whole[..whole.len() / 2].to_vec();
    let run = |sql: &str, limit| [parse("", sql), bind("", "", &[]), execute("", limit)].concat();
    let begin = query("BEGIN; LOCK TABLE kept; INSERT INTO kept VALUES (1)");
    let large = "SELECT repeat('x', 1000) FROM generate_series(1, 10000000)";
    let copy = query("COPY kept FROM STDIN");
    let made = run("CREATE TABLE made (n int)", 0);
    vec![
        state("nothing asked", &[], (0, 0)),
        state("a query answered", &[&query("SELECT 1")], (1, b'Z')),
        state("in a transaction", &[&begin], (1, b'Z')),
        state("in a failed transaction", &[&begin, &query("SELEKT")], (2, b'Z')),
        state("a statement prepared with Flush", &[&parse("s", "SELECT 1"), &flush()], (0, b'1')),
        state("a statement prepared without Flush", &[&parse("s", "SELECT 1")], (0, 0)),
        state("the same in a transaction", &[&begin, &parse("s", "SELECT 1"), &flush()], (1, b'1')),
        state("a table made without Sync", &[&made, &flush()], (0, b'C')),
        state("the same, the answer not read", &[&made, &flush()], (0, 0)),
        state("a portal suspended", &[&run("SELECT generate_series(1, 9)", 2), &flush()], (0, b's')),
        state(
            "a portal suspended in a transaction",
            &[&begin, &run("SELECT generate_series(1, 9)", 2), &sync()],
            (2, b'Z'),
        ),
        state("an error without Sync", &[&parse("", "SELEKT"), &flush()], (0, b'E')),
        state("a Query skipped by the server", &[&parse("", "SELEKT"), &query("SELECT 1")], (0, b'E')),
        state("a COPY", &[&copy], (0, b'G')),
        state("a COPY not waited for", &[&copy], (0, 0)),
        state("a COPY in a transaction", &[&begin, &copy], (1, b'G')),
        state("a COPY with data", &[&copy, &copy_data(b"1\n")], (0, b'G')),
        endless("a COPY in mid-message", &[&copy, &half(copy_data(&[b'1'; 4000]))], (0, b'G')),
        state("a COPY by Execute", &[&run("COPY kept FROM STDIN", 0), &flush()], (0, b'G')),
        state("a COPY by Execute and Sync", &[&run("COPY kept FROM STDIN", 0), &sync()], (0, b'G')),
        state(
            "the end of a COPY by Execute, without Sync",
            &[&run("COPY kept FROM STDIN", 0), &copy_data(b"1\n"), &copy_done(), &flush()],
            (0, b'C'),
        ),
        endless("half a header", &[&vec![b'Q', 0, 0]], (0, 0)),
        endless("half a query", &[&half(query("SELECT 'a query that will not be whole'"))], (0, 0)),
        endless("half a query in a transaction", &[&begin, &half(query("SELECT 'not whole'"))], (1, b'Z')),
        state("many queries not read", &[&query("SELECT 1").repeat(500)], (0, 0)),
        endless("a result not read", &[&query(large)], (0, b'D')),
        endless("a result without Sync not read", &[&run(large, 0), &flush()], (0, b'D')),
        endless("a COPY out not read", &[&query(&format!("COPY ({large}) TO STDOUT"))], (0, b'd')),
    ]
}

async fn clients_of(console: &mut WireClient) -> usize {
    console.query("SHOW CLIENTS").await.iter().filter(|message| message.kind == b'D').count()
}

async fn numbers<const N: usize>(admin: &tokio_postgres::Client, sql: &str) -> [i64; N] {
    let row = admin.query_one(sql, &[]).await.unwrap();
    std::array::from_fn(|at| row.get(at))
}

/// Sessions at work, and sessions beyond the pool's size; both with their locks.
async fn left_behind(admin: &tokio_postgres::Client) -> [i64; 2] {
    let sql = format!(
        "WITH ours AS (SELECT pid, state FROM pg_stat_activity WHERE usename LIKE 'lh-%' \
         AND query !~ 'pg_roles|pg_proc|current_user$'), \
         held AS (SELECT FROM pg_locks JOIN ours USING (pid) WHERE locktype <> 'virtualxid') \
         SELECT count(*) FILTER (WHERE state <> 'idle') + (SELECT count(*) FROM held), \
         greatest(count(*) - {POOL_SIZE}, 0) FROM ours"
    );
    numbers(admin, &sql).await
}

/// Rows and tables that nobody committed.
async fn left_for_good(admin: &tokio_postgres::Client) -> [i64; 2] {
    let sql = "SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM pg_class WHERE relname = 'made')";
    numbers(admin, sql).await
}

/// As many as the pool has can work at the same time.
async fn the_pool_is_whole(stand: &Stand, what: &str) {
    let mut holders = Vec::new();
    for _ in 0..POOL_SIZE {
        let mut holder = stand.client().await;
        let answer = holder.query("BEGIN; SELECT pg_current_xact_id()").await;
        assert!(answer.iter().all(|message| message.kind != b'E'), "{what}: {answer:?}");
        holders.push(holder);
    }
    for mut holder in holders {
        holder.query("COMMIT").await;
        holder.leave().await;
    }
}

async fn every_way_to_leave(mode: &'static str) {
    let stand = or_skip!(Stand::start_with(Plan { mode, pool_size: POOL_SIZE, ..Plan::default() }).await);
    let mut setup = stand.client().await;
    setup.query("CREATE TABLE kept (n int)").await;
    setup.leave().await;
    let mut console = WireClient::connect(&stand.place(), &CONSOLE).await;
    let before = clients_of(&mut console).await;
    let admin = stand.postgres.connect().await;
    for state in states() {
        for exit in EXITS {
            // What nobody reads to its end, or takes a Terminate for the rest of a message.
            if exit == Exit::Terminate && !state.ends {
                continue;
            }
            let what = format!("{mode}: {}, {exit:?}", state.name);
            let mut client = stand.client().await;
            for bytes in &state.sent {
                client.send(bytes).await;
            }
            client.hear(state.heard.0, state.heard.1).await;
            leave(client, exit).await;
            let clean = wait_until(PATIENCE, async || {
                clients_of(&mut console).await == before && left_behind(&admin).await == [0, 0]
            })
            .await;
            assert!(clean, "{what}\n{}", stand.proxy.log_text());
            let [rows, tables] = left_for_good(&admin).await;
            assert_eq!((rows, tables), (0, 0), "{what}");
            let left =
                "SELECT (SELECT count(*) FROM kept) + (SELECT count(*) FROM pg_class WHERE relname = 'made')";
            assert_eq!(stand.ask(left).await, "0", "{what}");
        }
        the_pool_is_whole(&stand, &format!("{mode}: after {}", state.name)).await;
    }
}

#[tokio::test]
async fn nothing_stays_behind_in_transaction_mode() {
    every_way_to_leave("transaction").await;
}

#[tokio::test]
async fn nothing_stays_behind_in_session_mode() {
    every_way_to_leave("session").await;
}

#[tokio::test]
async fn what_still_runs_for_nobody_is_cancelled_within_a_bound() {
    let run = [parse("", "SELECT pg_sleep(300)"), bind("", "", &[]), execute("", 0), flush()].concat();
    // The end of the stream comes with the Terminate, or when that has been seen.
    for (mode, later) in [("transaction", false), ("transaction", true), ("session", true)] {
        let stand = or_skip!(Stand::start_with(Plan { mode, pool_size: POOL_SIZE, ..Plan::default() }).await);
        let mut clients = Vec::new();
        for request in [query("SELECT pg_sleep(300)"), run.clone(), query("BEGIN; SELECT pg_sleep(300)")] {
            let mut client = stand.client().await;
            client.send(&request).await;
            clients.push(client);
        }
        let asleep = "state = 'active' AND query LIKE '%pg_sleep%'";
        let there = wait_until(PATIENCE, async || stand.sessions(asleep).await == POOL_SIZE).await;
        assert!(
            there,
            "{mode}\n{}\n{}",
            stand.ask("SELECT * FROM pg_stat_activity").await,
            stand.proxy.log_text()
        );
        for client in &mut clients {
            client.send(&terminate()).await;
        }
        if later {
            // Its thread has served them all when it has let this one in.
            WireClient::connect(&stand.place(), &CONSOLE).await.leave().await;
        }
        drop(clients);
        let over = wait_until(PATIENCE, async || stand.sessions(asleep).await == 0).await;
        let running = "SELECT pid, state, query FROM pg_stat_activity WHERE query LIKE '%pg_sleep%'";
        assert!(over, "{mode}: {}\n{}", stand.ask(running).await, stand.proxy.log_text());
        the_pool_is_whole(&stand, mode).await;
    }
}

/// Nothing is read, nothing is waited for: what was complete counts all the same.
#[tokio::test]
async fn what_was_complete_before_a_terminate_is_executed() {
    let rounds = short_or_long(20, 500);
    let extended = |sql: &str| [parse("", sql), bind("", "", &[]), execute("", 0)].concat();
    for mode in ["transaction", "session"] {
        let stand = or_skip!(Stand::start_with(Plan { mode, pool_size: POOL_SIZE, ..Plan::default() }).await);
        let mut setup = stand.client().await;
        setup.query("CREATE TABLE kept (way text)").await;
        setup.leave().await;
        let scripts = [
            ("simple", query("INSERT INTO kept VALUES ('simple')")),
            ("slow", query("SELECT pg_sleep(0.02); INSERT INTO kept VALUES ('slow')")),
            ("sync", [extended("INSERT INTO kept VALUES ('sync')"), sync()].concat()),
            (
                "commit",
                [query("BEGIN; INSERT INTO kept VALUES ('commit')"), extended("COMMIT"), flush()].concat(),
            ),
            ("copy", [query("COPY kept FROM STDIN"), copy_data(b"copy\n"), copy_done()].concat()),
        ];
        let all = |rounds: usize| (2 * rounds).to_string();
        for round in 0..rounds {
            for (_, script) in &scripts {
                for direct in [false, true] {
                    let mut client = if direct { stand.direct().await } else { stand.client().await };
                    // In one go, and in two.
                    if round % 2 == 0 {
                        client.send(&[script.clone(), terminate()].concat()).await;
                    } else {
                        client.send(script).await;
                        client.send(&terminate()).await;
                    }
                    drop(client);
                }
            }
            // Those who wait for an upstream are never so many that checkout_timeout is near.
            if round % 20 == 19 {
                for (way, _) in &scripts {
                    let count = format!("SELECT count(*) FROM kept WHERE way = '{way}'");
                    let there =
                        wait_until(PATIENCE, async || stand.ask(&count).await == all(round + 1)).await;
                    assert!(there, "{mode}: {way}: {} of {}", stand.ask(&count).await, all(round + 1));
                }
            }
        }
    }
}

/// What a client asked for before it left has its time from when it gets an upstream on: how long it
/// waited for that does not count.
#[tokio::test]
async fn what_was_complete_is_executed_however_long_the_pool_was_full() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 1, ..Plan::default() }).await);
    let mut holder = stand.client().await;
    holder.query("CREATE TABLE kept (way text)").await;
    holder.query("BEGIN").await;
    for gone in [true, false] {
        let mut client = stand.client().await;
        client.send(&[query(&format!("INSERT INTO kept VALUES ('{gone}')")), terminate()].concat()).await;
        if !gone {
            tokio::spawn(async move { client.until_gone().await });
        }
    }
    // Longer than what is complete may run on for a client that is gone.
    tokio::time::sleep(Duration::from_secs(11)).await;
    holder.query("COMMIT").await;
    let there = async || stand.ask("SELECT count(*) FROM kept").await == "2";
    assert!(wait_until(PATIENCE, there).await, "{}", stand.proxy.log_text());
}
