//! SIGTERM and SIGINT.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

use crate::journal::{Journal, say};
use crate::or_skip;
use crate::site::{PATIENCE, Site};
use crate::support::program::Signal;
use crate::support::wait_until;

/// Far below `shutdown_timeout`, far above what a loaded machine costs.
const PROMPT: Duration = Duration::from_secs(20);

async fn a_signal_ends_it_in_order(signal: Signal) {
    let site = or_skip!(Site::open(&[]).await);
    let mut proxy = site.run("", "").await;
    let place = proxy.endpoint("app");
    let (client, connection) = place.config().connect(NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute("CREATE TABLE kept (n int); BEGIN; INSERT INTO kept VALUES (1)").await.unwrap();
    let (idle, idle_connection) = place.config().connect(NoTls).await.unwrap();
    let idle_connection = tokio::spawn(idle_connection);
    idle.batch_execute("SELECT 1").await.unwrap();

    // Has come in, and not said yet who it is.
    let mut late = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();

    let asked = Instant::now();
    proxy.signal(signal);
    proxy.step("stopping: transactions may end, then every user is revoked", PATIENCE, |_| true).await;
    // Where the machine was too slow to let it in, the kernel has closed it by now.
    let _ = late.write_all(b"\0\0\0\x2d\0\x03\0\0user\0late\0database\0app\0TimeZone\0UTC\0\0").await;
    let mut answer = Vec::new();
    let answered = tokio::time::timeout(PROMPT, late.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answered.is_ok() && !answer.contains("C08P01"), "{answer:?}\n{}", proxy.log_text());
    // Nobody else gets in, or is left without an answer.
    let closed = async || place.try_connect().await.is_err();
    assert!(wait_until(PATIENCE, closed).await, "{}", proxy.log_text());
    assert!(asked.elapsed() < PROMPT, "{:?}\n{}", asked.elapsed(), proxy.log_text());
    // Who does nothing is sent away at once.
    let error = idle_connection.await.unwrap().unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("57P01"), "{error:?}");
    // Who is at work may finish it.
    if let Err(error) = client.batch_execute("INSERT INTO kept VALUES (2)").await {
        drop(client);
        panic!("{error:?}, {:?}\n{}", connection.await, proxy.log_text());
    }
    assert!(proxy.running());
    client.batch_execute("COMMIT").await.unwrap();
    let committed = Instant::now();
    assert_eq!(proxy.wait_exit(PATIENCE).await, Some(0), "{}", proxy.log_text());
    let took = committed.elapsed();
    let row = site.postgres.admin().database("app").connect().await;
    let row = row.query_one("SELECT count(*) FROM kept", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 2);
    proxy.assert_never(&["cutting what is left", "the user could not be revoked: it ends by itself"]);
    site.assert_nothing_left(&proxy).await;
    let waited = committed.duration_since(asked);
    say(format_args!("waited {waited:?} for a transaction, ended {took:?} after its commit"));
}

#[tokio::test]
async fn sigterm_lets_transactions_end_and_revokes_every_user() {
    a_signal_ends_it_in_order(Signal::TERM).await;
}

#[tokio::test]
async fn sigint_does_the_same() {
    a_signal_ends_it_in_order(Signal::INT).await;
}
