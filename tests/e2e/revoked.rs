//! An operator revokes every user of the role while they serve.

use std::time::{Duration, Instant};

use crate::journal::{Journal, Step, clean, say};
use crate::load::{Load, session_user};
use crate::or_skip;
use crate::site::{PATIENCE, Site};
use crate::support::{Leasehold, bound, wait_until};

const NOTICE: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(2);
const ROTATION: &str = "[rotation]\nrevoked_grace = \"2s\"";

/// What `sys/leases/revoke-prefix` did, and when.
struct Revocation {
    began: Instant,
    done: Instant,
    /// No connection of the revoked user is left in pg_stat_activity.
    clear: Duration,
    old: Step,
    new: Step,
}

async fn revoke(site: &Site, proxy: &Leasehold, path: &str) -> Revocation {
    let old = proxy.active();
    let admin = site.postgres.connect().await;
    // A user that is gone has no name there any more.
    let oid = "SELECT oid FROM pg_roles WHERE rolname = $1";
    let oid: u32 = admin.query_one(oid, &[&old.user]).await.unwrap().get(0);
    let began = Instant::now();
    site.vault.revoke_prefix(path).await;
    let done = Instant::now();
    let clear = wait_until(PATIENCE, async || {
        let left = "SELECT count(*) FROM pg_stat_activity WHERE usesysid = $1";
        admin.query_one(left, &[&oid]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    assert!(clear, "{}", proxy.log_text());
    let clear = done.elapsed();
    let new = proxy.active_from(old.generation + 1).await;
    Revocation { began, done, clear, old, new }
}

#[tokio::test]
async fn a_revoked_user_is_replaced_at_once_and_only_the_server_refuses_anything() {
    let site = or_skip!(Site::bare("10m", "1h").await);
    let mut proxy = site.run("", ROTATION).await;
    let work = "UPDATE pgbench_branches SET bbalance = bbalance + 1 WHERE bid = 1";
    let load = Load::start(&proxy.endpoint("app"), 6, work);
    let (held, held_connection) =
        proxy.endpoint("app").config().connect(tokio_postgres::NoTls).await.unwrap();
    let held_connection = tokio::spawn(held_connection);
    held.batch_execute("BEGIN; SELECT 1").await.unwrap();
    assert_eq!(session_user(&held).await.unwrap(), proxy.active().user);

    let revocation = revoke(&site, &proxy, "database/creds/app-role").await;
    let (old, new) = (revocation.old.user, revocation.new.user);
    let again = session_user(&proxy.endpoint("app").connect().await).await.unwrap();
    assert_eq!(again, new);
    let error = held_connection.await.unwrap().unwrap_err();
    let told = error.as_db_error().unwrap_or_else(|| panic!("{error:?}\n{}", proxy.log_text()));
    assert_eq!((told.code().code(), told.severity()), ("57P01", "FATAL"));
    assert!(told.detail().unwrap().contains(&old), "{told:?}");

    let deeds = load.finish().await;
    let first = deeds.iter().find(|deed| deed.outcome.as_ref() == Ok(&new)).expect("no service");
    let service = first.ended.duration_since(revocation.done);
    let until = revocation.done + bound(NOTICE + GRACE);
    let mut refused = 0;
    for deed in &deeds {
        if let Err(fault) = &deed.outcome {
            let expected = ["42501", "42704", "57P01"].contains(&fault.sqlstate.as_str());
            let in_time = deed.ended >= revocation.began && deed.ended <= until;
            assert!(expected && in_time, "{deed:?}\n{}", proxy.log_text());
            refused += 1;
        }
    }
    let served = deeds.len() - refused;
    assert!(service <= bound(NOTICE), "{service:?}\n{}", proxy.log_text());
    assert!(revocation.clear <= bound(NOTICE + GRACE), "{:?}\n{}", revocation.clear, proxy.log_text());
    site.close(&mut proxy).await;
    let clear = revocation.clear;
    say(format_args!("{served} served, {refused} refused, service after {service:?}, clear after {clear:?}"));
}

#[tokio::test]
async fn with_a_group_role_a_revocation_costs_pgbench_nothing() {
    let site = or_skip!(Site::open(&[("DEFAULT_TTL", "10m")]).await);
    let mut proxy = site.run_filled("", ROTATION).await;
    let load = proxy.endpoint("app").start_pgbench(&["-n", "-c", "8", "-T", "10", "app"]);
    // Under load: every connection that the pool may have is there.
    let warm = async || site.connections(&proxy.active().user).await >= 4;
    assert!(wait_until(PATIENCE, warm).await, "{}", proxy.log_text());
    let revocation = revoke(&site, &proxy, "database/creds/app").await;
    let clear = revocation.clear;
    assert!(clear <= bound(NOTICE + GRACE), "{clear:?}\n{}", proxy.log_text());
    let transactions = clean(load, &proxy).await;
    site.close(&mut proxy).await;
    say(format_args!("{transactions} transactions, 0 failed, clear after {clear:?}"));
}
