//! The server ends a connection right behind the end of a transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::journal::Journal;
use crate::or_skip;
use crate::site::{PATIENCE, database, local_config};
use crate::support::Leasehold;
use crate::support::wait::wait_for;

/// Passes bytes on to PostgreSQL and back. While `hold` is set, what the server says is kept
/// until it has said everything, and then comes in one piece, as on a machine that is slow.
async fn slow_network(listener: TcpListener, port: u16, hold: Arc<AtomicBool>) {
    while let Ok((client, _)) = listener.accept().await {
        let hold = hold.clone();
        tokio::spawn(async move {
            let server = TcpStream::connect(("127.0.0.1", port)).await?;
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
            let mut kept = Vec::new();
            while from_server.read_buf(&mut kept).await? > 0 {
                if !hold.load(Ordering::Relaxed) {
                    to_client.write_all(&kept).await?;
                    kept.clear();
                }
            }
            hold.store(false, Ordering::Relaxed);
            to_client.write_all(&kept).await
        });
    }
}

#[tokio::test]
async fn a_connection_that_ends_behind_a_transaction_costs_its_client_nothing() {
    let postgres = or_skip!(database().await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hold = Arc::new(AtomicBool::new(false));
    tokio::spawn(slow_network(listener, postgres.port(), hold.clone()));
    let directory = tempfile::tempdir().unwrap();
    let config = local_config(&postgres, "app", port, directory.path());
    let mut proxy = Leasehold::run(&config).await;
    proxy.active_from(1).await;
    let client = proxy.endpoint("app").connect().await;
    client.batch_execute("SELECT 41").await.unwrap();

    hold.store(true, Ordering::Relaxed);
    let admin = postgres.connect().await;
    let end = wait_for(PATIENCE, async || {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT 42' AND state = 'idle'";
        admin.query_opt(end, &[]).await.unwrap()
    });
    let (answer, ended) = tokio::join!(client.batch_execute("SELECT 42"), end);
    assert!(ended.is_some());
    answer.unwrap_or_else(|error| panic!("{error:?}\n{}", proxy.log_text()));
    let next = client.batch_execute("SELECT 43").await;
    next.unwrap_or_else(|error| panic!("{error:?}\n{}", proxy.log_text()));
    assert_eq!(proxy.terminate().await, 0);
}
