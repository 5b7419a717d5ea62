//! Transaction mode: the upstream goes back at the end of each transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::or_skip;
use crate::support::wait_until;
use crate::wire_client::message::{bind, execute, parse, query, sync};
use crate::wire_client::{Plan, Stand};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn four_clients_take_turns_on_one_upstream() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 1, ..Plan::default() }).await);
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(stand.client().await);
    }
    // All of them are in the house, and each transaction gives the next one its turn.
    let mut working = Vec::new();
    for mut client in clients {
        working.push(tokio::spawn(async move {
            let mut pids = BTreeSet::new();
            for _ in 0..50 {
                client.query("BEGIN").await;
                pids.insert(client.value("SELECT pg_backend_pid()").await);
                client.query("COMMIT").await;
            }
            (client, pids)
        }));
    }
    let mut pids = BTreeSet::new();
    let mut clients = Vec::new();
    for work in working {
        let (client, seen) = work.await.unwrap();
        pids.extend(seen);
        clients.push(client);
    }
    assert_eq!(pids.len(), 1, "one upstream served them all: {pids:?}");

    // Whoever holds it in a transaction keeps the others waiting, and in their order of coming.
    clients[0].query("BEGIN").await;
    for client in &mut clients[1..] {
        client.send(&query("SELECT clock_timestamp()::text")).await;
    }
    assert_eq!(clients[0].value("SELECT 'mine'").await, "mine");
    clients[0].query("COMMIT").await;
    let mut times = Vec::new();
    for client in &mut clients[1..] {
        times.push(client.until_ready().await[1].row()[0].clone().unwrap());
    }
    let mut sorted = times.clone();
    sorted.sort();
    assert_eq!(times, sorted);
}

#[tokio::test]
async fn what_is_not_at_rest_is_not_given_back() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 1, ..Plan::default() }).await);
    let mut one = stand.client().await;
    let mut two = stand.client().await;
    let open: [(&str, Vec<u8>, Vec<u8>); 4] = [
        ("a transaction", query("BEGIN"), query("COMMIT")),
        ("a failed transaction", query("BEGIN; SELECT 1/0"), query("ROLLBACK")),
        ("messages without Sync", [parse("", "SELECT 1"), bind("", "", &[])].concat(), sync()),
        (
            "a transaction by extended protocol",
            [parse("", "BEGIN"), bind("", "", &[]), execute("", 0), sync()].concat(),
            [parse("", "END"), bind("", "", &[]), execute("", 0), sync()].concat(),
        ),
    ];
    for (what, begin, end) in open {
        one.send(&begin).await;
        if begin.starts_with(b"Q") || begin.ends_with(&sync()) {
            one.until_ready().await;
        } else {
            let used = async || stand.sessions("true").await == 1;
            assert!(wait_until(PATIENCE, used).await);
            // Nothing is answered before a Flush, which makes sure that the upstream is taken.
            one.send(&crate::wire_client::message::flush()).await;
            assert_eq!(one.next().await.unwrap().kind, b'1');
            assert_eq!(one.next().await.unwrap().kind, b'2');
        }
        two.send(&query("SELECT 'served'")).await;
        let early = tokio::time::timeout(Duration::from_millis(150), two.next()).await;
        assert!(early.is_err(), "{what}: {early:?}");
        one.send(&end).await;
        one.until_ready().await;
        assert_eq!(two.until_ready().await[1].row(), [Some("served".to_owned())], "{what}");
    }
}

#[tokio::test]
async fn nobody_starves_when_two_threads_share_a_few_upstreams() {
    for pool_size in 1..=3 {
        let plan = Plan { pool_size, threads: 2, ..Plan::default() };
        let stand = or_skip!(Stand::start_with(plan).await);
        let mut working = Vec::new();
        for nth in 0..16 {
            let mut client = stand.client().await;
            working.push(tokio::spawn(async move {
                for turn in 0..200 {
                    // All kinds of transactions, out of step with each other.
                    if (nth + turn) % 8 == 0 {
                        client.query("BEGIN").await;
                        assert_eq!(client.value("SELECT 1").await, "1");
                        client.query("COMMIT").await;
                    } else {
                        assert_eq!(client.value("SELECT 1").await, "1");
                    }
                }
            }));
        }
        for work in working {
            tokio::time::timeout(PATIENCE, work).await.expect("somebody starves").unwrap();
        }
        let open = stand.sessions("true").await;
        assert!((1..=pool_size).contains(&open), "{open} of {pool_size}");
    }
}

#[tokio::test]
async fn a_restart_of_the_server_goes_unnoticed_by_idle_clients() {
    let mut stand = or_skip!(Stand::start_with(Plan { threads: 2, ..Plan::default() }).await);
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = stand.client().await;
        assert_eq!(client.value("SELECT 'before'").await, "before");
        clients.push(client);
    }
    let mut busy = stand.client().await;
    busy.query("BEGIN").await;
    stand.postgres.restart().await;
    for client in &mut clients {
        assert_eq!(client.value("SELECT 'after'").await, "after");
    }
    // One that was in a transaction is told, by the server's own last word, and goes on behind it.
    let refused = busy.try_value("SELECT 1").await.unwrap_err();
    assert_eq!((refused.severity.as_str(), refused.sqlstate.as_str()), ("ERROR", "57P01"));
    assert_eq!(busy.try_value("SELECT 1").await.unwrap_err().sqlstate, "25P02");
    busy.query("ROLLBACK").await;
    assert_eq!(busy.value("SELECT 'again'").await, "again");
    // And those who come while it is down are served once it is up.
    stand.postgres.stop(crate::support::StopMode::Fast).await;
    for client in &mut clients {
        client.send(&query("SELECT 'patient'")).await;
    }
    stand.postgres.start_again().await;
    for client in &mut clients {
        assert_eq!(client.until_ready().await[1].row(), [Some("patient".to_owned())]);
    }
}

#[tokio::test]
async fn one_who_writes_without_reading_blocks_nobody_else() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 2, threads: 1, ..Plan::default() }).await);
    let mut greedy = stand.client().await;
    let mut other = stand.client().await;
    let before = stand.proxy.rss_kib();
    let huge = query("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)");
    let filler = query("SELECT repeat('y', 100000)");
    greedy.send(&huge).await;
    // On and on, until nobody takes any more of it.
    let more = filler.repeat(1000);
    while tokio::time::timeout(Duration::from_secs(1), greedy.send(&more)).await.is_ok() {}
    for _ in 0..200 {
        assert_eq!(other.value("SELECT 'well'").await, "well");
    }
    let grown = stand.proxy.rss_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
    drop(greedy);
    let freed = async || stand.sessions("state = 'active'").await == 0;
    assert!(wait_until(PATIENCE, freed).await, "its query goes on for nobody");
}
