//! SHOW STATS: how long queries and transactions took, what was prepared, and the averages.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::or_skip;
use crate::support::wait_until;
use crate::{House, PATIENCE};

/// A row of SHOW STATS, by the names of its columns.
async fn stats(console: &Client, database: &str) -> BTreeMap<String, i64> {
    let rows = console.query("SHOW STATS", &[]).await.unwrap();
    let row = rows.iter().find(|row| row.get::<_, String>("database") == database).unwrap();
    let figures = row.columns().iter().enumerate().skip(1);
    figures.map(|(at, column)| (column.name().to_owned(), row.get(at))).collect()
}

/// By how much each figure grew.
async fn grown(console: &Client, database: &str, before: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let now = stats(console, database).await;
    now.into_iter().map(|(name, value)| (name.clone(), value - before[&name])).collect()
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap()
}

#[tokio::test]
async fn times_are_those_of_queries_and_of_whole_transactions() {
    let house = or_skip!(House::open().await);
    let console = house.console().await;
    for database in ["app", "Reports"] {
        let client = house.proxy.endpoint(database).connect().await;
        let before = stats(&console, database).await;
        let begun = Instant::now();
        client.batch_execute("BEGIN; SELECT pg_sleep(0.2)").await.unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
        client.batch_execute("COMMIT").await.unwrap();
        let took = micros(begun.elapsed());
        // Idle between transactions is no part of either.
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.batch_execute("SELECT 1").await.unwrap();
        let grown = grown(&console, database, &before).await;
        assert_eq!((grown["total_query_count"], grown["total_xact_count"]), (3, 2), "{database}");
        let (query, transaction) = (grown["total_query_time"], grown["total_xact_time"]);
        assert!(query >= 200_000 && transaction >= 600_000, "{database}: {query} {transaction}");
        assert!(query <= transaction - 400_000, "{database}: {query} {transaction}");
        assert!(transaction < took + 300_000, "{database}: {transaction} of {took}");
    }
}

#[tokio::test]
async fn what_is_prepared_is_counted_where_it_is_prepared() {
    // One server connection: what a client that goes still says would else occupy the first.
    let env = [("LEASEHOLD_THREADS", "1"), ("LEASEHOLD_DATABASES__APP__POOL_SIZE", "1")];
    let house = or_skip!(House::open_with(&env).await);
    let console = house.console().await;
    for (database, server) in [("app", 1), ("Reports", 3)] {
        let before = stats(&console, database).await;
        for _ in 0..3 {
            let client = house.proxy.endpoint(database).connect().await;
            let statement = client.prepare("SELECT $1::int + 1").await.unwrap();
            for number in [1, 2] {
                let row = client.query_one(&statement, &[&number]).await.unwrap();
                assert_eq!(row.get::<_, i32>(0), number + 1);
            }
        }
        let grown = grown(&console, database, &before).await;
        let counts = ["total_client_parse_count", "total_server_parse_count", "total_bind_count"]
            .map(|name| grown[name]);
        // One server connection at a time has it for all clients in transaction mode.
        assert_eq!(counts, [3, server, 6], "{database}");
    }
}

#[tokio::test]
async fn averages_are_those_of_the_latest_period() {
    let house = or_skip!(House::open_with(&[("LEASEHOLD_CONSOLE__STATS_PERIOD", "1s")]).await);
    let console = house.console().await;
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), "SELECT 1;\n").unwrap();
    let path = script.path().display().to_string();
    let load = ["-n", "-c", "2", "-T", "120", "-M", "prepared", "-f", &path];
    let mut load = house.proxy.endpoint("app").start_pgbench(&load);
    let moving = async || {
        let stats = stats(&console, "app").await;
        let names = ["xact_count", "query_count", "recv", "sent", "xact_time", "query_time", "bind_count"];
        // No more time can pass in a transaction than two clients have in it.
        let busy = stats["avg_xact_count"] * stats["avg_xact_time"];
        names.iter().all(|name| stats[&format!("avg_{name}")] > 0)
            && stats["avg_xact_time"] >= stats["avg_query_time"]
            && busy < 2_200_000
    };
    assert!(wait_until(PATIENCE, moving).await, "{:?} {}", stats(&console, "app").await, load.stderr());
    load.stop();
    let _ = load.finish().await;
    let still = async || {
        let stats = stats(&console, "app").await;
        stats["avg_xact_count"] == 0 && stats["avg_query_time"] == 0
    };
    assert!(wait_until(PATIENCE, still).await, "{:?}", stats(&console, "app").await);
}
