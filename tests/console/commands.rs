//! Commands that change something, under load.

use std::time::Duration;

use tempfile::NamedTempFile;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::support::proxy::field;
use super::support::{Pgbench, wait_until};
use super::{House, PATIENCE, active, refused};
use crate::or_skip;

impl House {
    /// Clients that begin, ask and commit for some seconds.
    fn load(&self, seconds: &str) -> (Pgbench, NamedTempFile) {
        let script = NamedTempFile::new().unwrap();
        std::fs::write(script.path(), "BEGIN;\nSELECT 1;\nCOMMIT;\n").unwrap();
        let file = script.path().to_str().unwrap();
        let args = ["-n", "-c", "6", "-j", "1", "-T", seconds, "-f", file];
        (self.proxy.endpoint("app").start_pgbench(&args), script)
    }

    async fn client(&self, name: &str) -> Client {
        let mut config = self.proxy.endpoint("app").config();
        let (client, connection) = config.application_name(name).connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Processes of PostgreSQL that somebody but its administrator is connected to.
    async fn backends(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
                   AND usename IN (SELECT rolname FROM pg_roles WHERE rolvaliduntil IS NOT NULL) AND datname = 'postgres'";
        self.postgres.connect().await.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// The server's processes behind one database.
async fn pids(console: &Client, database: &str) -> Vec<i64> {
    let rows = console.query("SHOW SERVERS", &[]).await.unwrap();
    let mine = rows.iter().filter(|row| row.get::<_, &str>("database") == database);
    mine.map(|row| row.get("remote_pid")).collect()
}

/// A figure of SHOW DATABASES.
async fn figure(console: &Client, database: &str, column: &str) -> i64 {
    let rows = console.query("SHOW DATABASES", &[]).await.unwrap();
    rows.iter().find(|row| row.get::<_, &str>("name") == database).unwrap().get(column)
}

/// The number of the client with this `application_name`.
async fn number(console: &Client, name: &str) -> i64 {
    let rows = console.query("SHOW CLIENTS", &[]).await.unwrap();
    rows.iter().find(|row| row.get::<_, &str>("application_name") == name).unwrap().get("id")
}

fn first(messages: &[SimpleQueryMessage]) -> Option<&str> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}

#[tokio::test]
async fn pause_waits_for_transactions_and_nobody_fails_for_it() {
    let house = or_skip!(House::open_with(&[("LEASEHOLD_DATABASES__APP__CHECKOUT_TIMEOUT", "4s")]).await);
    let (console, other) = (house.console().await, house.console().await);
    let busy = house.client("busy").await;
    busy.batch_execute("BEGIN").await.unwrap();
    let (pgbench, _script) = house.load("12");
    let loaded = async || pids(&console, "app").await.len() == 4;
    assert!(wait_until(PATIENCE, loaded).await, "{}", house.proxy.log_text());

    let pausing = tokio::spawn(async move {
        other.simple_query("PAUSE app").await.unwrap();
        other
    });
    // Only the open transaction is left, and it goes on.
    let one_left = async || pids(&console, "app").await.len() == 1;
    assert!(wait_until(PATIENCE, one_left).await, "{}", house.proxy.log_text());
    assert_eq!(figure(&console, "app", "paused").await, 1);
    assert!(!pausing.is_finished());
    let rows = console.query("SHOW SERVERS", &[]).await.unwrap();
    let held = rows.iter().find(|row| row.get::<_, &str>("database") == "app").unwrap();
    assert_eq!((held.get::<_, i64>("close_needed"), held.get::<_, &str>("state")), (1, "active"));
    assert_eq!(first(&busy.simple_query("SELECT 5").await.unwrap()), Some("5"));
    busy.batch_execute("COMMIT").await.unwrap();
    let other = pausing.await.unwrap();
    assert!(pids(&console, "app").await.is_empty());

    // Longer than checkout_timeout; who comes meanwhile waits too.
    let comes = house.proxy.endpoint("app");
    let waits = tokio::spawn(async move {
        let rows = comes.connect().await.simple_query("SELECT 7").await.unwrap();
        first(&rows).map(str::to_owned)
    });
    let waited = async || {
        let rows = console.query("SHOW CLIENTS", &[]).await.unwrap();
        rows.iter().any(|row| row.get::<_, i64>("wait") >= 5)
    };
    assert!(wait_until(PATIENCE, waited).await, "{}", house.proxy.log_text());
    assert!(pids(&console, "app").await.is_empty() && !waits.is_finished());
    let (code, message, _) = refused(&other, "PAUSE app").await;
    assert_eq!((code.as_str(), message.as_str()), ("55000", "already suspended/paused"));

    let resumed = house.proxy.endpoint("leasehold").run("psql", &["-X", "-c", "RESUME app"]).await;
    assert_eq!(resumed.success(), "RESUME\n");
    assert_eq!(waits.await.unwrap().as_deref(), Some("7"));
    pgbench.finish().await.assert_clean();
    assert_eq!(figure(&console, "app", "paused").await, 0);
    assert_eq!(refused(&console, "RESUME app").await.1, "database app is not paused");
    assert_eq!(refused(&console, "RESUME").await.1, "pooler is not paused/suspended");
    // It waited for longer, but not since the pool was resumed.
    for line in house.proxy.logged("slow checkout") {
        let waited: f64 = field(&line, "waited").parse().unwrap();
        assert!(waited < 4.0, "{line}");
    }
}

#[tokio::test]
async fn a_pause_of_all_leaves_no_process_at_the_server_and_can_be_cut_short() {
    let house = or_skip!(House::open().await);
    let console = house.console().await;
    let client = house.client("first").await;
    client.simple_query("SELECT 1").await.unwrap();
    console.simple_query("PAUSE").await.unwrap();
    let gone = async || house.backends().await == 0;
    assert!(wait_until(PATIENCE, gone).await, "{}", house.proxy.log_text());
    console.simple_query("RESUME").await.unwrap();
    client.simple_query("BEGIN; SELECT 1").await.unwrap();
    let other = house.console().await;
    let pausing = tokio::spawn(async move { refused(&other, "PAUSE").await });
    let paused = async || figure(&console, "Reports", "paused").await == 1;
    assert!(wait_until(PATIENCE, paused).await, "{}", house.proxy.log_text());
    console.simple_query("RESUME").await.unwrap();
    assert_eq!(pausing.await.unwrap().0, "57014");
    client.simple_query("COMMIT; SELECT 1").await.unwrap();
}

#[tokio::test]
async fn reconnect_replaces_every_server_connection_and_nobody_notices() {
    let house = or_skip!(House::open().await);
    let console = house.console().await;
    let before = active(&console, "app").await.unwrap();
    let (pgbench, _script) = house.load("5");
    let loaded = async || pids(&console, "app").await.len() == 4;
    assert!(wait_until(PATIENCE, loaded).await, "{}", house.proxy.log_text());
    let old = pids(&console, "app").await;
    console.simple_query("RECONNECT app").await.unwrap();
    let replaced = async || {
        let now = pids(&console, "app").await;
        !now.is_empty() && now.iter().all(|pid| !old.contains(pid))
    };
    assert!(wait_until(PATIENCE, replaced).await, "{}", house.proxy.log_text());
    pgbench.finish().await.assert_clean();
    assert_eq!(active(&console, "app").await.unwrap(), before);
    assert_eq!(refused(&console, "RECONNECT nowhere").await.0, "3D000");
}

#[tokio::test]
async fn a_disabled_database_refuses_new_clients_alone() {
    let house = or_skip!(House::open().await);
    let console = house.console().await;
    let client = house.client("old").await;
    console.simple_query("DISABLE app").await.unwrap();
    assert_eq!(figure(&console, "app", "disabled").await, 1);
    let refusal = house.proxy.endpoint("app").try_connect().await.unwrap_err();
    let refusal = refusal.as_db_error().unwrap();
    assert_eq!(refusal.code().code(), "55000");
    assert_eq!(refusal.message(), "database \"app\" is not currently accepting connections");
    assert_eq!(first(&client.simple_query("SELECT 2").await.unwrap()), Some("2"));
    house.proxy.endpoint("Reports").connect().await;
    console.simple_query("ENABLE app").await.unwrap();
    house.proxy.endpoint("app").connect().await;
    assert_eq!(figure(&console, "app", "disabled").await, 0);
}

#[tokio::test]
async fn kill_ends_a_session_with_what_it_runs_and_holds() {
    let house = or_skip!(House::open().await);
    let console = house.console().await;
    for (name, sql) in [("runs", "SELECT pg_advisory_xact_lock(1), pg_sleep(600)"), ("rests", "SELECT 1")] {
        let client = house.client(name).await;
        client.simple_query("BEGIN; SELECT pg_advisory_xact_lock(1)").await.unwrap();
        let running = tokio::spawn(async move {
            let first = client.simple_query(sql).await;
            match first {
                Err(error) => error,
                // Idle in its transaction: the next one meets the end.
                Ok(_) => loop {
                    if let Err(error) = client.simple_query("SELECT 1").await {
                        break error;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                },
            }
        });
        let runs = async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
            name == "rests"
                || house.postgres.connect().await.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
        };
        assert!(wait_until(PATIENCE, runs).await);
        console.simple_query(&format!("KILL {}", number(&console, name).await)).await.unwrap();
        let end = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
        match end.as_db_error() {
            Some(end) => assert_eq!(end.code().code(), "57P01", "{end:?}"),
            // Between two statements the last word may be read as the end of the connection.
            None => assert!(name == "rests" && end.is_closed(), "{end:?}"),
        }
        // The lock is free again.
        let next = house.client("next").await;
        let lock = next.simple_query("BEGIN; SELECT pg_advisory_xact_lock(1); COMMIT");
        tokio::time::timeout(PATIENCE, lock).await.unwrap().unwrap();
    }
    let idle = house.client("idle").await;
    console.simple_query(&format!("KILL_CLIENT {}", number(&console, "idle").await)).await.unwrap();
    assert!(wait_until(PATIENCE, async || idle.is_closed()).await);
    assert_eq!(refused(&console, "KILL 4294967296").await.0, "42704");
}

#[tokio::test]
async fn retire_rotates_the_generation_that_is_meant_and_no_other() {
    let house = or_skip!(House::open().await);
    let console = house.console().await;
    let (number, user) = active(&console, "app").await.unwrap();
    let (code, message, rest) = refused(&console, &format!("RETIRE {} app", number + 1)).await;
    assert_eq!(code, "55000");
    assert!(message.contains("not the active one") && rest.contains(&number.to_string()), "{message} {rest}");
    assert_eq!(refused(&console, &format!("RETIRE {number}")).await.0, "42601");
    let retire = format!("RETIRE {number} app");
    let rows = console.query(&*retire, &[]).await.unwrap();
    assert_eq!((rows[0].get(0), rows[0].get(1)), ("app", "issuing"));
    let rotated = async || active(&console, "app").await.is_some_and(|(now, _)| now > number);
    assert!(wait_until(PATIENCE, rotated).await, "{}", house.proxy.log_text());
    let over = async || house.postgres.roles_like(&user).await.is_empty();
    assert!(wait_until(PATIENCE, over).await, "{}", house.proxy.log_text());
    assert_eq!(refused(&console, &retire).await.0, "55000");
}

#[tokio::test]
async fn shutdown_is_answered_lets_a_transaction_end_and_revokes_every_user() {
    for shutdown in ["SHUTDOWN", "SHUTDOWN WAIT"] {
        let mut house = or_skip!(House::open().await);
        let console = house.console().await;
        let (_, user) = active(&console, "app").await.unwrap();
        let client = house.client("busy").await;
        client.simple_query("BEGIN; SELECT 1").await.unwrap();
        let told = house.proxy.endpoint("leasehold").run("psql", &["-X", "-c", shutdown]).await;
        assert_eq!(told.success(), "SHUTDOWN\n");
        assert!(house.proxy.running());
        client.simple_query("SELECT 2; COMMIT").await.unwrap();
        assert_eq!(house.proxy.wait_exit(PATIENCE).await, Some(0), "{}", house.proxy.log_text());
        assert!(house.postgres.roles_like(&user).await.is_empty());
    }
}
