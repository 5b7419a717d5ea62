//! Vault issues users that PostgreSQL does not let in.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::journal::{Journal, LOSSES, clean, say};
use crate::load::session_user;
use crate::or_skip;
use crate::site::{PATIENCE, Site};
use crate::support::{DatabaseRole, wait_until};

const CLOSED: &str = "the user ends and there is no other: clients wait";

#[tokio::test]
async fn the_old_user_serves_on_while_new_ones_cannot_log_in() {
    let site = or_skip!(Site::bare("8s", "24s").await);
    let mut proxy = site.run("", "").await;
    let first = proxy.active();
    let load = proxy.endpoint("app").start_pgbench(&["-n", "-S", "-c", "8", "-R", "300", "-T", "18", "app"]);
    let good = DatabaseRole::default().creation_statements;
    let statements = |statements: Vec<String>| {
        let body = json!({
            "db_name": "app", "creation_statements": statements, "default_ttl": "8s", "max_ttl": "24s",
        });
        site.vault.root(Method::POST, "database/roles/app-role", body)
    };
    statements(good.iter().map(|sql| sql.replace("WITH LOGIN", "WITH NOLOGIN")).collect()).await;
    let mut most = 0;
    let given_up = wait_until(PATIENCE, async || {
        most = most.max(site.users().await.len());
        proxy
            .steps(
                "giving the new user up: check the role's creation statements, pg_hba.conf and replication",
            )
            .len()
            >= 2
    })
    .await;
    assert!(given_up, "{}", proxy.log_text());
    let refused = proxy.steps("the new user cannot log in");
    let says_why = refused.iter().all(|step| step.field("error").contains("is not permitted to log in"));
    assert!(says_why && refused.iter().all(|step| step.user != first.user), "{refused:?}");
    let transactions = clean(load, &proxy).await;
    assert_eq!(proxy.active().user, first.user);
    assert!(!proxy.steps("lease renewed").is_empty(), "{}", proxy.log_text());
    proxy.assert_never(&LOSSES);
    // Those that nobody could use are revoked, not piled up.
    assert!(most <= 4, "{most} users");

    // It really ends, clients wait, and go on with the first user that can log in.
    let closed = proxy.step(CLOSED, PATIENCE, |step| step.user == first.user).await;
    let served = closed.at.duration_since(first.at).unwrap();
    assert!(served > Duration::from_secs(20), "closed after {served:?} of 24 s\n{}", proxy.log_text());
    let place = proxy.endpoint("app");
    let waiting = tokio::spawn(async move {
        let client = place.connect().await;
        session_user(&client).await
    });
    statements(good).await;
    let next = waiting.await.unwrap().unwrap();
    assert_eq!(next, proxy.active_from(first.generation + 1).await.user);
    site.close(&mut proxy).await;
    let refused = refused.len();
    say(format_args!(
        "{transactions} transactions, 0 failed, {refused} refused logins, {most} users, served {served:?} of 24 s"
    ));
}
