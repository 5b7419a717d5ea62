//! Clients that take longer than the operator lets them: told why, and nothing of theirs is left.

use std::time::{Duration, Instant};

use crate::or_skip;
use crate::support::wait_until;
use crate::wire_client::message::{Message, bind, execute, kinds, parse, query, sync};
use crate::wire_client::{Plan, Stand, WireClient};

const PATIENCE: Duration = Duration::from_secs(60);

async fn stand(mode: &'static str, bounds: &str) -> Result<Stand, crate::support::Missing> {
    Stand::start_with(Plan { mode, pool_size: 2, database: bounds.to_owned(), ..Plan::default() }).await
}

/// The one error that ends the connection: its SQLSTATE, and that the hint names the key.
fn told(heard: &[Message], key: &str) -> String {
    let last = heard.last().unwrap_or_else(|| panic!("{key}: nothing was said"));
    assert_eq!((last.kind, last.field(b'S').as_str()), (b'E', "FATAL"), "{key} {heard:?}");
    assert!(last.field(b'H').contains(key), "{heard:?}");
    last.field(b'C')
}

/// Nothing of a client is left at the server: no statement, no transaction.
async fn nothing_is_left(stand: &Stand) {
    let busy = "state <> 'idle' OR query LIKE '%pg_sleep%' AND state = 'active'";
    let gone = async || stand.sessions(busy).await == 0;
    assert!(wait_until(PATIENCE, gone).await, "{}", stand.proxy.log_text());
    // Both places are free.
    for _ in 0..2 {
        let mut client = stand.client().await;
        client.query("BEGIN").await;
        assert_eq!(client.value("SELECT 1").await, "1");
        client.query("COMMIT").await;
        client.leave().await;
    }
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_cancelled_and_its_client_disconnected() {
    for mode in ["transaction", "session"] {
        let stand = or_skip!(stand(mode, "query_timeout = '700ms'").await);
        let asleep = [parse("", "SELECT pg_sleep(60)"), bind("", "", &[]), execute("", 0), sync()].concat();
        for (before, sent) in [("", query("SELECT pg_sleep(60)")), ("BEGIN", asleep)] {
            let mut client = stand.client().await;
            // Several that are quick, one after the other, do not add up; nor does being idle count.
            for _ in 0..4 {
                client.query("SELECT pg_sleep(0.2)").await;
            }
            client.query(before).await;
            tokio::time::sleep(Duration::from_millis(900)).await;
            let begun = Instant::now();
            client.send(&sent).await;
            let heard = client.until_end().await;
            assert_eq!(told(&heard, "query_timeout"), "57014", "{mode}");
            assert!(begun.elapsed() >= Duration::from_millis(690), "{mode} {:?}", begun.elapsed());
            nothing_is_left(&stand).await;
        }
    }
}

#[tokio::test]
async fn a_transaction_may_be_neither_open_nor_silent_for_too_long() {
    for mode in ["transaction", "session"] {
        let bounds = "transaction_timeout = '1500ms'\nidle_transaction_timeout = '600ms'";
        let stand = or_skip!(stand(mode, bounds).await);
        stand.postgres.execute("postgres", "CREATE TABLE kept (n int); GRANT ALL ON kept TO app").await;
        // It says something often enough, and goes on for too long.
        let mut busy = stand.client().await;
        busy.query("BEGIN; INSERT INTO kept VALUES (1)").await;
        let begun = Instant::now();
        let heard = loop {
            let heard = busy.query("SELECT pg_sleep(0.1)").await;
            if heard.last().is_none_or(|last| last.kind != b'Z') {
                break heard;
            }
            assert!(begun.elapsed() < PATIENCE);
        };
        assert_eq!(told(&heard, "transaction_timeout"), "25P04", "{mode}");
        assert!(begun.elapsed() >= Duration::from_millis(1400), "{mode} {:?}", begun.elapsed());
        // It says nothing.
        let mut idle = stand.client().await;
        idle.query("BEGIN; INSERT INTO kept VALUES (2)").await;
        let begun = Instant::now();
        let heard = idle.until_end().await;
        assert_eq!(told(&heard, "idle_transaction_timeout"), "25P03", "{mode}");
        assert!(begun.elapsed() >= Duration::from_millis(590), "{mode} {:?}", begun.elapsed());
        nothing_is_left(&stand).await;
        // Outside a transaction silence is no matter.
        let mut silent = stand.client().await;
        assert_eq!(silent.value("SELECT 1").await, "1");
        tokio::time::sleep(Duration::from_millis(1800)).await;
        assert_eq!(silent.value("SELECT count(*) FROM kept").await, "0", "{mode}: rolled back");
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_is_disconnected_whatever_it_holds() {
    for mode in ["transaction", "session"] {
        let stand = or_skip!(stand(mode, "client_idle_timeout = '1s'").await);
        // One that never asked anything, one that did, and one that keeps its upstream.
        for asked in ["", "SELECT 1", "LISTEN news"] {
            let mut client = stand.client().await;
            client.query(asked).await;
            let begun = Instant::now();
            let heard = client.until_end().await;
            assert_eq!(kinds(&heard), "E", "{mode} {asked} {heard:?}");
            assert_eq!(told(&heard, "client_idle_timeout"), "57P05", "{mode} {asked}");
            assert!(begun.elapsed() >= Duration::from_millis(990), "{mode} {asked} {:?}", begun.elapsed());
        }
        // Neither a transaction nor a query is silence, and each query begins it anew.
        let mut client = stand.client().await;
        client.query("BEGIN").await;
        tokio::time::sleep(Duration::from_millis(1600)).await;
        client.query("COMMIT").await;
        client.query("SELECT pg_sleep(1.6)").await;
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(client.value("SELECT 1").await, "1", "{mode}");
        }
        client.leave().await;
        nothing_is_left(&stand).await;
    }
}

#[tokio::test]
async fn bounds_hold_while_users_change() {
    let stand = or_skip!(stand("transaction", "query_timeout = '1500ms'").await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client: WireClient = stand.client().await;
        client.send(&query("SELECT pg_sleep(60)")).await;
        clients.push(client);
    }
    console.simple_query("ROTATE app").await.unwrap();
    for client in &mut clients {
        assert_eq!(told(&client.until_end().await, "query_timeout"), "57014");
    }
    nothing_is_left(&stand).await;
}
