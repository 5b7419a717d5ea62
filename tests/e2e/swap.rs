//! Users change under load, and nobody notices.

use crate::journal::{Journal, LOSSES, REMOVALS, clean, say};
use crate::load::session_user;
use crate::or_skip;
use crate::site::{PATIENCE, Site, database_section};
use crate::support::{short_or_long, wait_until};

const TPC_B: &[&str] = &["-c", "16", "-j", "2"];
const SELECT_ONLY: &[&str] = &["-S", "-M", "extended", "-c", "16", "-j", "2"];

/// A load for so many seconds.
fn lasting<'a>(load: &[&'a str], seconds: &'a str) -> Vec<&'a str> {
    [load, &["-T", seconds, "app"]].concat()
}

#[tokio::test]
async fn generations_pass_under_two_loads_and_no_statement_fails() {
    let lives = [("DEFAULT_TTL", "8s"), ("MAX_TTL", "30s"), ("TOKEN_TTL", "20s"), ("TOKEN_MAX_TTL", "20s")];
    let site = or_skip!(Site::open(&lives).await);
    let mut proxy = site.run_filled("", "").await;
    let place = proxy.endpoint("app");
    // TPC-B first: it vacuums and truncates before it starts.
    let (seconds, fewest) = short_or_long(("14", 2), ("60", 8));
    let loads = [TPC_B, SELECT_ONLY].map(|load| place.start_pgbench(&lasting(load, seconds)));
    let mut transactions = Vec::new();
    for load in loads {
        transactions.push(clean(load, &proxy).await);
    }
    let generations = proxy.activations("app").len();
    assert!(generations >= fewest, "{generations}\n{}", proxy.log_text());
    proxy.assert_never(&REMOVALS);
    site.close(&mut proxy).await;
    let [tpc_b, select_only] = transactions[..] else { unreachable!() };
    say(format_args!("TPC-B {tpc_b}, SELECT {select_only}, 0 failed, {generations} generations"));
}

#[tokio::test]
async fn the_barest_role_swaps_just_as_well() {
    let site = or_skip!(Site::bare("8s", "30s").await);
    let mut proxy = site.run("", "").await;
    let (seconds, fewest) = short_or_long(("14", 2), ("40", 5));
    let load = lasting(&["-n", "-S", "-c", "16", "-j", "2"], seconds);
    let transactions = clean(proxy.endpoint("app").start_pgbench(&load), &proxy).await;
    let generations = proxy.activations("app").len();
    assert!(generations >= fewest, "{generations}\n{}", proxy.log_text());
    proxy.assert_never(&REMOVALS);
    site.close(&mut proxy).await;
    say(format_args!("{transactions} transactions, 0 failed, {generations} generations"));
}

#[tokio::test]
async fn a_token_that_ends_before_its_lease_bounds_the_user() {
    let lives = [("DEFAULT_TTL", "24h"), ("MAX_TTL", "24h"), ("TOKEN_TTL", "10s"), ("TOKEN_MAX_TTL", "10s")];
    let site = or_skip!(Site::open(&lives).await);
    let mut proxy = site.run_filled("", "").await;
    let (seconds, fewest) = short_or_long(("14", 2), ("45", 4));
    let load = lasting(&["-n", "-c", "8", "-j", "1"], seconds);
    let transactions = clean(proxy.endpoint("app").start_pgbench(&load), &proxy).await;
    let generations = proxy.activations("app").len();
    assert!(generations >= fewest, "{generations}\n{}", proxy.log_text());
    proxy.assert_never(&REMOVALS);
    site.close(&mut proxy).await;
    say(format_args!("{transactions} transactions, 0 failed, {generations} generations"));
}

#[tokio::test]
async fn in_session_mode_a_client_keeps_its_user_while_the_lease_can_be_renewed() {
    let site = or_skip!(Site::open(&[("DEFAULT_TTL", "5s"), ("MAX_TTL", "10m")]).await);
    let mut proxy = site.run("pool_mode = \"session\"", "").await;
    let (busy, idle) = (proxy.endpoint("app").connect().await, proxy.endpoint("app").connect().await);
    // On a slow machine a rotation may fall between the two logins.
    let (first, second) = (session_user(&busy).await.unwrap(), session_user(&idle).await.unwrap());
    for client in [&busy, &idle] {
        let state = "CREATE TEMP TABLE kept (n int); SET work_mem = '123kB'; PREPARE put AS INSERT INTO kept VALUES ($1)";
        client.batch_execute(state).await.unwrap();
    }
    let mut statements = 0;
    let rotated = wait_until(PATIENCE, async || {
        busy.batch_execute("EXECUTE put(1)").await.unwrap();
        statements += 1;
        proxy.activations("app").len() >= 6
    })
    .await;
    assert!(rotated, "{}", proxy.log_text());
    idle.batch_execute("EXECUTE put(1)").await.unwrap();
    for (client, user, rows) in [(&busy, &first, statements), (&idle, &second, 1_i64)] {
        assert_eq!(session_user(client).await.unwrap(), *user);
        let seen = "SELECT count(*), current_setting('work_mem') FROM kept";
        let row = client.query_one(seen, &[]).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (rows, "123kB"));
    }
    let renewed = proxy.steps("lease renewed").iter().filter(|step| step.user == first).count();
    assert!(renewed >= 3, "{renewed}\n{}", proxy.log_text());
    let newcomer = proxy.endpoint("app").connect().await;
    assert_eq!(session_user(&newcomer).await.unwrap(), proxy.active().user);

    // When they leave, the user is drained and goes.
    drop((busy, idle));
    proxy.step("revoked", PATIENCE, |step| step.user == first).await;
    assert!(!site.users().await.contains(&first));
    proxy.assert_never(&REMOVALS);
    site.close(&mut proxy).await;
    say(format_args!("{statements} statements on one connection, renewed {renewed} times"));
}

#[tokio::test]
async fn two_databases_rotate_independently() {
    let site = or_skip!(Site::open(&[("DEFAULT_TTL", "12s"), ("MAX_TTL", "1h")]).await);
    site.set_up("ledger", &[("DEFAULT_TTL", "5s"), ("MAX_TTL", "1h")]).await;
    site.allow(&["app", "ledger"]).await;
    let ledger = database_section(&site.postgres, "ledger", Some("app"), "database/creds/ledger", "");
    let mut proxy = site.run_filled("", &ledger).await;
    proxy.step("active", PATIENCE, |step| step.pool == "ledger").await;
    let other = proxy.endpoint("ledger");
    other.run("pgbench", &["-i", "-q", "-s", "1"]).await.success();
    let load = |name: &'static str| ["-n", "-S", "-c", "4", "-R", "300", "-T", "20", name];
    let loads = [proxy.endpoint("app").start_pgbench(&load("app")), other.start_pgbench(&load("ledger"))];
    let three = async || proxy.activations("ledger").len() >= 3;
    assert!(wait_until(PATIENCE, three).await, "{}", proxy.log_text());

    // An operator revokes the users of one; the other's serve on.
    let before = proxy.active();
    site.vault.revoke_prefix("database/creds/ledger").await;
    proxy.step("the user was removed by somebody else", PATIENCE, |step| step.pool == "ledger").await;
    let mut transactions = Vec::new();
    for load in loads {
        transactions.push(clean(load, &proxy).await);
    }
    let (app, ledger) = (proxy.activations("app").len(), proxy.activations("ledger").len());
    assert!(ledger > app && app >= 2, "{app} {ledger}\n{}", proxy.log_text());
    let untouched = |step: &crate::journal::Step| step.pool != "app";
    assert!(LOSSES.iter().all(|loss| proxy.steps(loss).iter().all(untouched)), "{}", proxy.log_text());
    proxy.step("revoked", PATIENCE, |step| step.user == before.user).await;
    site.close(&mut proxy).await;
    assert!(site.vault.leases("database/creds/ledger").await.is_empty());
    say(format_args!("{transactions:?} transactions, 0 failed, {app} and {ledger} generations"));
}
