//! kill -9: what is left, and what becomes of it.

use std::time::{Duration, Instant};

use crate::journal::{Journal, say};
use crate::or_skip;
use crate::site::{PATIENCE, Site, database, local_config};
use crate::support::program::Signal;
use crate::support::{Leasehold, bound, wait_until};

#[tokio::test]
async fn after_a_crash_the_next_start_removes_what_the_local_source_left_and_nothing_else() {
    let postgres = or_skip!(database().await);
    let directory = tempfile::tempdir().unwrap();
    let config = |name: &str| local_config(&postgres, name, postgres.port(), directory.path());
    let users = async || postgres.roles_like("lh-%").await;
    let mut other = Leasehold::run(&config("other")).await;
    let others = other.step("active", PATIENCE, |_| true).await.user;
    postgres.execute("app", "CREATE ROLE \"lh-app-of-somebody-else\" LOGIN").await;
    let mut crashed = Leasehold::run(&config("app")).await;
    let left = crashed.active_from(1).await.user;
    // On and on, so that it is at work whenever somebody looks.
    let script = directory.path().join("work.sql");
    let work = "BEGIN;\nCREATE TABLE IF NOT EXISTS made (n int);\nSELECT pg_sleep(0.2);\nCOMMIT;\n";
    std::fs::write(&script, work).unwrap();
    let load = crashed.endpoint("app").start_pgbench(&["-n", "-T", "120", "-f", script.to_str().unwrap()]);
    let at_work = "SELECT FROM pg_stat_activity WHERE usename = $1 AND state <> 'idle'";
    let at_work = async || !postgres.connect().await.query(at_work, &[&left]).await.unwrap().is_empty();
    assert!(wait_until(PATIENCE, at_work).await, "{}", crashed.log_text());
    crashed.signal(Signal::KILL);
    assert_eq!(crashed.wait_exit(PATIENCE).await, Some(-1));
    assert!(!load.finish().await.status.success());
    assert!(users().await.contains(&left));

    let started = Instant::now();
    let mut next = Leasehold::run(&config("app")).await;
    let gone = async || !users().await.contains(&left);
    assert!(wait_until(PATIENCE, gone).await, "{}", next.log_text());
    let took = started.elapsed();
    let active = next.active_from(1).await.user;
    let mut there = users().await;
    let mut expected = vec![active, others, "lh-app-of-somebody-else".to_owned()];
    there.sort();
    expected.sort();
    assert_eq!(there, expected);
    other.endpoint("other").psql("SELECT 1").await.success();
    assert_eq!((next.terminate().await, other.terminate().await), (0, 0));
    assert_eq!(users().await, ["lh-app-of-somebody-else"]);
    say(format_args!("removed {took:?} after the next start"));
}

#[tokio::test]
async fn after_a_crash_vaults_users_end_with_their_lease() {
    let site = or_skip!(Site::open(&[("DEFAULT_TTL", "6s")]).await);
    let mut proxy = site.run("", "").await;
    let issued = proxy.steps("user issued").pop().unwrap();
    proxy.signal(Signal::KILL);
    assert_eq!(proxy.wait_exit(PATIENCE).await, Some(-1));
    assert_eq!(site.users().await, [issued.user]);
    let nobody = async || site.users().await.is_empty();
    assert!(wait_until(PATIENCE, nobody).await, "{:?}", site.users().await);
    let lived = issued.at.elapsed().unwrap();
    assert!(lived < bound(Duration::from_secs(15)), "{lived:?}");
    site.assert_nothing_left(&proxy).await;
    say(format_args!("gone {lived:?} after it was issued for 6 s"));
}
