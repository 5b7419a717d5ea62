//! A client that leaves leaves nothing behind, whatever it was doing.

use std::time::Duration;

use crate::or_skip;
use crate::support::wait_until;
use crate::wire_client::message::{bind, copy_data, execute, flush, message, parse, query, sync};
use crate::wire_client::{Plan, Stand};

const PATIENCE: Duration = Duration::from_secs(30);

async fn until(stand: &Stand, what: &str, condition: &str, wanted: usize) {
    let there = wait_until(PATIENCE, async || stand.sessions(condition).await == wanted).await;
    assert!(there, "{what}\n{}", stand.proxy.log_text());
}

#[tokio::test]
async fn a_client_that_leaves_in_mid_transaction_is_rolled_back_and_its_query_is_cancelled() {
    for mode in ["transaction", "session"] {
        let stand = or_skip!(Stand::start_with(Plan { mode, pool_size: 1, ..Plan::default() }).await);
        let mut setup = stand.client().await;
        setup.query("CREATE TABLE kept (n int)").await;
        setup.leave().await;

        // Idle in a transaction, politely and not.
        for polite in [false, true] {
            let mut client = stand.client().await;
            client.query("BEGIN; INSERT INTO kept VALUES (1)").await;
            until(&stand, "idle in transaction", "state = 'idle in transaction'", 1).await;
            if polite {
                client.leave().await;
            } else {
                drop(client);
            }
            until(&stand, "still in its transaction", "state = 'idle in transaction'", 0).await;
            let mut next = stand.client().await;
            assert_eq!(next.value("SELECT count(*) FROM kept").await, "0", "{mode}");
            assert_eq!(next.value("SELECT pg_current_xact_id_if_assigned()").await, "");
            next.leave().await;
        }

        // In a failed transaction.
        let mut client = stand.client().await;
        client.query("BEGIN; INSERT INTO kept VALUES (1)").await;
        client.query("SELECT 1/0").await;
        drop(client);
        let mut next = stand.client().await;
        assert_eq!(next.value("SELECT count(*) FROM kept").await, "0", "{mode}");
        next.leave().await;

        // In mid-query, alone and in a transaction; by simple and by extended protocol.
        let extended =
            [parse("", "SELECT pg_sleep(120)"), bind("", "", &[]), execute("", 0), flush()].concat();
        for request in [
            query("SELECT pg_sleep(120)"),
            query("BEGIN; INSERT INTO kept VALUES (2); SELECT pg_sleep(120)"),
            extended,
            // The server skips the first query, and from then on the books are in doubt.
            [parse("", "SELEKT"), query("SELECT 1"), sync(), query("SELECT pg_sleep(120)")].concat(),
        ] {
            let mut client = stand.client().await;
            client.send(&request).await;
            until(&stand, "asleep", "state = 'active' AND query LIKE '%pg_sleep%'", 1).await;
            drop(client);
            until(&stand, "still asleep", "state = 'active' AND query LIKE '%pg_sleep%'", 0).await;
            let mut next = stand.client().await;
            assert_eq!(next.value("SELECT count(*) FROM kept").await, "0", "{mode}");
            next.leave().await;
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_mid_message_or_mid_copy_leaves_a_usable_pool() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 1, ..Plan::default() }).await);
    let mut witness = stand.client().await;
    witness.query("CREATE TABLE copied (line text)").await;
    let half = |whole: Vec<u8>| whole[..whole.len() / 2].to_vec();
    let copy = [query("COPY copied FROM STDIN"), copy_data(b"one\n"), copy_data(b"two\n")].concat();
    let extended = [parse("", "COPY copied FROM STDIN"), bind("", "", &[]), execute("", 0), flush()].concat();
    let endless = "SELECT repeat('x', 1000) FROM generate_series(1, 10000000)";
    let scripts = [
        ("three bytes of a header", vec![b'Q', 0, 0]),
        ("half a query", half(query("SELECT 'a query that will not be whole'"))),
        ("half a parse", half(parse("", "SELECT 'a statement that will not be whole'"))),
        ("a copy", copy.clone()),
        ("a copy in mid-message", [copy, half(copy_data(&[b'x'; 4000]))].concat()),
        ("an extended copy", [extended, copy_data(b"one\n")].concat()),
        ("no Sync", [parse("", "SELECT 1"), bind("", "", &[]), execute("", 0)].concat()),
        ("a result that is never read", query(endless)),
        ("a copy that is never read", query(&format!("COPY ({endless}) TO STDOUT"))),
        ("a terminate in mid-transaction", [query("BEGIN"), message(b'X', b"")].concat()),
    ];
    for (what, script) in scripts {
        for _ in 0..3 {
            let mut client = stand.client().await;
            client.send(&script).await;
            drop(client);
        }
        assert_eq!(witness.value("SELECT count(*) FROM copied").await, "0", "{what}");
        let busy = "state <> 'idle' OR query LIKE '%generate_series%' AND state = 'active'";
        until(&stand, what, busy, 0).await;
    }
    assert!(stand.sessions("true").await <= 1);
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_takes_nothing_with_it() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 1, threads: 2, ..Plan::default() }).await);
    let mut holder = stand.client().await;
    let mut last = stand.client().await;
    holder.query("BEGIN").await;
    let mut leaving = Vec::new();
    for _ in 0..6 {
        let mut client = stand.client().await;
        client.send(&query("SELECT 'never'")).await;
        leaving.push(client);
    }
    last.send(&query("SELECT 'served'")).await;
    drop(leaving);
    holder.query("COMMIT").await;
    let answer = last.until_ready().await;
    assert_eq!(answer[1].row(), [Some("served".to_owned())]);
    assert_eq!(holder.value("SELECT 1").await, "1");
}
