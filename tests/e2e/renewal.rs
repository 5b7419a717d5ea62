//! Renew or rotate: what `rotation.renew` makes of a lease of 6 s that can last for 30 s.

use std::time::{Duration, SystemTime};

use tokio_postgres::NoTls;

use crate::journal::{Journal, LOSSES, clean, say};
use crate::load::session_user;
use crate::or_skip;
use crate::site::{PATIENCE, Site};

const LIVES: [(&str, &str); 2] = [("DEFAULT_TTL", "6s"), ("MAX_TTL", "30s")];

#[tokio::test]
async fn until_max_one_user_serves_for_most_of_max_ttl() {
    let site = or_skip!(Site::open(&LIVES).await);
    let mut proxy = site.run_filled("", "[rotation]\nrenew = \"until_max\"").await;
    let first = proxy.active_from(1).await;
    let load = proxy.endpoint("app").start_pgbench(&["-n", "-c", "4", "-R", "40", "-T", "34", "app"]);
    let second = proxy.active_from(2).await;
    let served = second.at.duration_since(first.at).unwrap();
    assert!(served > Duration::from_secs(15), "{served:?}\n{}", proxy.log_text());
    let renewals = proxy.steps("lease renewed").iter().filter(|step| step.user == first.user).count();
    assert!(renewals >= 3, "{renewals}\n{}", proxy.log_text());
    let transactions = clean(load, &proxy).await;
    proxy.assert_never(&LOSSES);
    proxy.step("revoked", PATIENCE, |step| step.user == first.user).await;
    site.close(&mut proxy).await;
    say(format_args!("{served:?} with one user, renewed {renewals} times, {transactions} transactions"));
}

#[tokio::test]
async fn never_means_that_a_lease_ends_as_it_was_given() {
    let site = or_skip!(Site::open(&LIVES).await);
    let mut proxy = site.run("", "[rotation]\nrenew = \"never\"").await;
    let issued = proxy.steps("user issued").pop().unwrap();
    let end = site.expiry(&issued.field("lease")).await.unwrap();
    let (held, connection) = proxy.endpoint("app").config().connect(NoTls).await.unwrap();
    let connection = tokio::spawn(async move { (connection.await, SystemTime::now()) });
    held.batch_execute("BEGIN; SELECT 1").await.unwrap();
    assert_eq!(session_user(&held).await.unwrap(), issued.user);

    let (outcome, cut) = connection.await.unwrap();
    let error = outcome.unwrap_err();
    let told = error.as_db_error().unwrap_or_else(|| panic!("{error:?}\n{}", proxy.log_text()));
    assert_eq!((told.code().code(), told.severity()), ("57P01", "FATAL"));
    assert!(cut < end, "{cut:?} {end:?}\n{}", proxy.log_text());
    let client = proxy.endpoint("app").connect().await;
    assert_ne!(session_user(&client).await.unwrap(), issued.user);
    proxy.step("active", PATIENCE, |step| step.generation >= 3).await;
    proxy.assert_never(&["lease renewed", "lease not renewed"]);
    site.close(&mut proxy).await;
}
