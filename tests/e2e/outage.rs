//! Vault or PostgreSQL goes away under load, and comes back.

use std::time::{Duration, Instant};

use crate::journal::{Journal, LOSSES, clean, say};
use crate::load::{Load, session_user};
use crate::or_skip;
use crate::site::{PATIENCE, Site};
use crate::support::{Leasehold, StopMode, bound, wait_until};

const NO_NEW_USER: &str = "no new user, the active one serves on";

/// Rotation is due after 7 s of 24, so that a slow machine has time to bring Vault back.
const LIVES: [(&str, &str); 2] = [("DEFAULT_TTL", "24s"), ("MAX_TTL", "10m")];
const ROTATION: &str = "[rotation]\nat = 0.3";

/// How Vault goes away and comes back.
#[derive(Clone, Copy)]
enum Outage {
    Killed,
    Sealed,
}

async fn vault_is_away_when_a_user_is_due(outage: Outage) {
    let mut site = or_skip!(Site::open(&LIVES).await);
    let mut proxy = site.run_filled("", ROTATION).await;
    let load = proxy.endpoint("app").start_pgbench(&["-n", "-c", "8", "-R", "300", "-T", "18", "app"]);
    let before = proxy.active();
    match outage {
        Outage::Killed => site.vault.stop(),
        Outage::Sealed => site.vault.seal().await,
    }
    let failed_twice = async || proxy.steps(NO_NEW_USER).len() >= 2;
    assert!(wait_until(PATIENCE, failed_twice).await, "{}", proxy.log_text());
    let there = site.users().await;
    assert!(there.contains(&before.user) && proxy.active().user == before.user, "{there:?}");
    if matches!(outage, Outage::Killed) {
        site.vault.start_again().await;
    }
    site.vault.unseal().await;
    let back = Instant::now();

    let after = proxy.active_from(before.generation + 1).await;
    let took = back.elapsed();
    assert_eq!(after.field("before"), before.generation.to_string());
    let transactions = clean(load, &proxy).await;
    let tries = proxy.steps(NO_NEW_USER);
    let speaks = tries.iter().all(|step| !step.field("error").is_empty());
    assert!(speaks && proxy.activations("app").len() >= 2, "{}", proxy.log_text());
    proxy.assert_never(&LOSSES);
    site.close(&mut proxy).await;
    let tries = tries.len();
    say(format_args!("{transactions} transactions, 0 failed, {tries} failed calls, new user after {took:?}"));
}

#[tokio::test]
async fn vault_killed_when_a_user_is_due_costs_nothing() {
    vault_is_away_when_a_user_is_due(Outage::Killed).await;
}

#[tokio::test]
async fn vault_sealed_when_a_user_is_due_costs_nothing() {
    vault_is_away_when_a_user_is_due(Outage::Sealed).await;
}

#[tokio::test]
async fn postgres_restarted_under_load_costs_only_what_was_in_flight() {
    let mut site = or_skip!(Site::open(&[]).await);
    let mut proxy = site.run_filled("", "").await;
    let work = "UPDATE pgbench_branches SET bbalance = bbalance + 1 WHERE bid = 1";
    let load = Load::start(&proxy.endpoint("app"), 8, work);
    let user = proxy.active().user;
    let busy = async || load.served() >= 200 && site.connections(&user).await >= 2;
    assert!(wait_until(PATIENCE, busy).await, "{}", proxy.log_text());
    let began = Instant::now();
    site.postgres.stop(StopMode::Fast).await;
    let down = Instant::now();
    site.postgres.start_again().await;
    let up = Instant::now();
    let before = load.served();
    let served = async || load.served() >= before + 100;
    assert!(wait_until(PATIENCE, served).await, "{}", proxy.log_text());
    let deeds = load.finish().await;

    let mut failed = 0;
    for deed in &deeds {
        if let Err(fault) = &deed.outcome {
            let cut_off = ["57P01", "08006"].contains(&fault.sqlstate.as_str());
            let in_flight = fault.in_flight && deed.ended >= began && deed.started <= down;
            assert!(cut_off && in_flight, "{deed:?}, down at {down:?}\n{}", proxy.log_text());
            failed += 1;
        }
    }
    let first = deeds.iter().find(|deed| deed.ended > up && deed.outcome.is_ok());
    let service = first.unwrap_or_else(|| panic!("no service\n{}", proxy.log_text())).ended - up;
    assert!(service <= bound(Duration::from_secs(2)), "{service:?}\n{}", proxy.log_text());
    assert_eq!(session_user(&proxy.endpoint("app").connect().await).await.unwrap(), user);
    proxy.assert_never(&LOSSES);
    site.close(&mut proxy).await;
    let served = deeds.len() - failed;
    say(format_args!("{served} served, {failed} in flight failed, service after {service:?}"));
}

#[tokio::test]
async fn without_vault_at_start_clients_are_told_and_served_once_it_comes() {
    let mut site = or_skip!(Site::open(&[]).await);
    site.vault.stop();
    let mut proxy = Leasehold::run(&site.config("", "")).await;
    let told = proxy.step("no new user, and none to serve with", PATIENCE, |_| true).await;
    let address = site.vault.address();
    assert!(told.field("error").contains(&address), "{told:?}");
    let error = proxy.endpoint("app").try_connect().await.expect_err("a client got in");
    let refused = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!((refused.code().code(), refused.severity()), ("57P03", "FATAL"));
    assert!(refused.message().contains("\"app\""), "{refused:?}");
    assert!(refused.detail().unwrap_or_default().contains(&address), "{refused:?}");
    assert!(refused.hint().unwrap_or_default().contains("log"), "{refused:?}");

    site.vault.start_again().await;
    site.vault.unseal().await;
    let back = Instant::now();
    let serves = async || proxy.endpoint("app").try_connect().await.is_ok();
    assert!(wait_until(PATIENCE, serves).await, "{}", proxy.log_text());
    let took = back.elapsed();
    let client = proxy.endpoint("app").connect().await;
    assert_eq!(session_user(&client).await.unwrap(), proxy.active().user);
    drop(client);
    site.close(&mut proxy).await;
    say(format_args!("service {took:?} after Vault came"));
}
