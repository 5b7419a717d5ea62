//! From one user to the next: connections change one at a time ahead of the switch, and those of the user before
//! help out behind it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::or_skip;
use crate::support::wait_until;
use crate::wire_client::{Plan, Stand, WireClient};

const PATIENCE: Duration = Duration::from_secs(60);

/// The proxy's sessions that clients have used, by user.
async fn sessions(admin: &Client) -> BTreeMap<String, i64> {
    let sql = "SELECT usename::text, count(*) FROM pg_stat_activity WHERE usename LIKE 'lh-%' \
               AND query IN ('SELECT pg_sleep(0.002), session_user', 'BEGIN', 'COMMIT', 'SELECT session_user') GROUP BY 1";
    admin.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn rotate(stand: &Stand, console: &Client) {
    let before = stand.proxy.logged("active").len();
    console.simple_query("ROTATE app").await.unwrap();
    let other = async || stand.proxy.logged("active").len() > before;
    assert!(wait_until(PATIENCE, other).await, "{}", stand.proxy.log_text());
}

/// Under load both users serve for a moment, and together they never have more connections than one of them may have
/// and the one that is being replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_change_one_at_a_time_before_the_switch() {
    const SIZE: i64 = 6;
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 6, ..Plan::default() }).await);
    let (admin, console) =
        (stand.postgres.connect().await, stand.proxy.endpoint("leasehold").connect().await);
    let enough = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..10 {
        let (mut client, enough) = (stand.client().await, enough.clone());
        clients.spawn(async move {
            while !enough.load(Ordering::SeqCst) {
                client.query("SELECT pg_sleep(0.002), session_user").await;
            }
        });
    }
    let all = async || sessions(&admin).await.values().sum::<i64>() == SIZE;
    assert!(wait_until(PATIENCE, all).await, "{}", stand.proxy.log_text());
    let mut seen = Vec::new();
    for _ in 0..5 {
        let before = stand.proxy.logged("active").len();
        let old: Vec<String> = sessions(&admin).await.into_keys().collect();
        console.simple_query("ROTATE app").await.unwrap();
        let switched = async || {
            let now = sessions(&admin).await;
            let over = stand.proxy.logged("active").len() > before;
            seen.push((over, now.clone()));
            over && now.values().sum::<i64>() == SIZE && !now.contains_key(&old[0])
        };
        assert!(wait_until(PATIENCE, switched).await, "{seen:?}\n{}", stand.proxy.log_text());
    }
    enough.store(true, Ordering::SeqCst);
    clients.join_all().await;
    let together = |(over, now): &(bool, BTreeMap<String, i64>)| !over && now.len() == 2;
    assert!(seen.iter().any(together), "no two users served before a switch: {seen:?}");
    // One more is there until the one whose place it takes is closed, and one while it is.
    let most = seen.iter().map(|(_, now)| now.values().sum::<i64>()).max().unwrap();
    assert!(most <= SIZE + 2, "{most} at once: {seen:?}");
}

/// Only one connection was in use lately, so one was opened ahead; then all clients come at once.
#[tokio::test]
async fn who_comes_in_a_crowd_behind_a_switch_gets_the_old_connections_that_are_still_there() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 8, ..Plan::default() }).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    let mut clients: Vec<WireClient> = Vec::new();
    for _ in 0..8 {
        clients.push(stand.client().await);
    }
    for _ in 0..20 {
        // Eight are in use, so eight are opened ahead; of those one is used.
        begin_and_commit(&mut clients).await;
        rotate(&stand, &console).await;
        let before = clients[0].value("SELECT session_user").await;
        // One is opened ahead, and seven are about to be closed.
        rotate(&stand, &console).await;
        let users = begin_and_commit(&mut clients).await;
        let old = users.iter().filter(|user| **user == before).count();
        assert!(old < users.len(), "nobody got the new user: {users:?}");
        // What was lent is closed when it comes back, and its user goes.
        let gone = async || stand.postgres.roles_like("lh-%").await.len() == 1;
        assert!(wait_until(PATIENCE, gone).await, "{}", stand.proxy.log_text());
        if old > 0 {
            return;
        }
    }
    panic!("no old connection was used once:\n{}", stand.proxy.log_text());
}

/// All at once; under which user each was.
async fn begin_and_commit(clients: &mut [WireClient]) -> Vec<String> {
    for client in &mut *clients {
        client.query("BEGIN").await;
    }
    let mut users = Vec::new();
    for client in &mut *clients {
        users.push(client.value("SELECT session_user").await);
        client.query("COMMIT").await;
    }
    users
}
