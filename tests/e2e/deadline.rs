//! Transactions that are longer than a lease.

use std::time::SystemTime;

use tokio_postgres::NoTls;

use crate::journal::{Journal, say};
use crate::load::session_user;
use crate::or_skip;
use crate::site::{PATIENCE, Site};
use crate::support::wait_until;

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_ends_its_transactions_before_its_end() {
    let site = or_skip!(Site::open(&[("DEFAULT_TTL", "8s"), ("MAX_TTL", "8s")]).await);
    let mut proxy = site.run("", "").await;
    let issued = proxy.steps("user issued").pop().unwrap();
    let place = proxy.endpoint("app");
    let (held, connection) = place.config().connect(NoTls).await.unwrap();
    let connection = tokio::spawn(async move { (connection.await, SystemTime::now()) });
    held.batch_execute("BEGIN; SELECT 1").await.unwrap();
    assert_eq!(session_user(&held).await.unwrap(), issued.user);

    // What runs is cancelled by the server itself.
    let sleeper = place.connect().await;
    let sleep = async { (sleeper.batch_execute("SELECT pg_sleep(60)").await, SystemTime::now()) };
    // Vault counts in whole seconds: the last renewal moves the end a little, either way.
    let (mut ends, lease) = (Vec::new(), issued.field("lease"));
    let over = async || {
        let end = site.expiry(&lease).await;
        ends.extend(end.map(|end| (SystemTime::now(), end)));
        end.is_none()
    };
    let ((slept, cancelled), over) = tokio::join!(sleep, wait_until(PATIENCE, over));
    assert!(over, "{}", proxy.log_text());
    let error = slept.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{error:?}\n{}", proxy.log_text());
    // Its client goes on with the next user.
    assert_ne!(session_user(&sleeper).await.unwrap(), issued.user);

    // A transaction that is still open then is told why it ends.
    let (outcome, cut) = connection.await.unwrap();
    let error = outcome.unwrap_err();
    let told = error.as_db_error().unwrap_or_else(|| panic!("{error:?}\n{}", proxy.log_text()));
    assert_eq!((told.code().code(), told.severity()), ("57P01", "FATAL"));
    assert!(told.detail().unwrap_or_default().contains(&issued.user), "{told:?}");
    assert!(told.hint().unwrap_or_default().contains("max_ttl"), "{told:?}");
    // From the moment that it is revoked Vault has another end for it.
    let (_, end) = ends.into_iter().rfind(|(known, _)| *known < cut).unwrap();
    let left = end.duration_since(cut).unwrap_or_else(|late| panic!("{late:?} late\n{}", proxy.log_text()));
    assert!(cancelled <= cut);
    let gone = proxy.step("revoked", PATIENCE, |step| step.user == issued.user).await;
    assert!(gone.at >= cut);
    site.close(&mut proxy).await;
    let before_cut = cut.duration_since(cancelled).unwrap();
    say(format_args!("cancelled {before_cut:?} before the cut, cut {left:?} before the end"));
}

#[tokio::test]
async fn a_long_transaction_outlives_default_ttl_by_renewal() {
    let site = or_skip!(Site::open(&[("DEFAULT_TTL", "5s"), ("MAX_TTL", "10m")]).await);
    let mut proxy = site.run("", "").await;
    let client = proxy.endpoint("app").connect().await;
    client.batch_execute("BEGIN; CREATE TABLE kept (n int)").await.unwrap();
    let user = session_user(&client).await.unwrap();
    client.batch_execute("SELECT pg_sleep(18); INSERT INTO kept VALUES (1)").await.unwrap();
    assert_eq!(session_user(&client).await.unwrap(), user);
    client.batch_execute("COMMIT").await.unwrap();
    let renewals = proxy.steps("lease renewed").iter().filter(|step| step.user == user).count();
    let generations = proxy.activations("app").len();
    assert!(renewals >= 3 && generations >= 3, "{renewals} {generations}\n{}", proxy.log_text());
    assert_ne!(session_user(&client).await.unwrap(), user);
    assert_eq!(client.query_one("SELECT n FROM kept", &[]).await.unwrap().get::<_, i32>(0), 1);
    proxy.step("revoked", PATIENCE, |step| step.user == user).await;
    proxy.assert_never(&["cancelling what is busy", "cutting what is left"]);
    drop(client);
    site.close(&mut proxy).await;
    say(format_args!("18 s on a lease of 5 s, renewed {renewals} times, {generations} generations"));
}
