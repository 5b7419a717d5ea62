//! The kinds of tokens that a login may give, under load; and logins that somebody else revokes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::journal::{Journal, LOSSES, clean, say};
use crate::load::session_user;
use crate::or_skip;
use crate::site::{PATIENCE, Site};
use crate::support::wait_until;

#[tokio::test]
async fn limited_periodic_and_batch_logins_cost_pgbench_nothing() {
    let site = or_skip!(Site::open(&[("DEFAULT_TTL", "8s"), ("MAX_TTL", "1m")]).await);
    let role = "auth/approle/role/leasehold";
    let plain = json!({"token_num_uses": 0, "token_period": 0, "token_type": "service", "token_ttl": "20s"});
    for kind in [json!({"token_num_uses": 2}), json!({"token_period": "6s"}), json!({"token_type": "batch"})]
    {
        site.vault.root(Method::POST, role, plain.clone()).await;
        site.vault.root(Method::POST, role, kind.clone()).await;
        let mut proxy = site.run_filled("", "").await;
        let load = proxy.endpoint("app").start_pgbench(&["-n", "-c", "4", "-R", "40", "-T", "14", "app"]);
        let transactions = clean(load, &proxy).await;
        proxy.assert_never(&LOSSES);
        let generations = proxy.activations("app").len();
        assert!(generations >= 2, "{generations}\n{}", proxy.log_text());
        site.close(&mut proxy).await;
        say(format_args!("{kind}: {transactions} transactions, {generations} generations"));
    }
}

/// Revokes every token that AppRole gave: how many.
async fn revoke_logins(site: &Site) -> usize {
    let list = Method::from_bytes(b"LIST").unwrap();
    let accessors = site.vault.root(list, "auth/token/accessors", Value::Null).await;
    let mut revoked = 0;
    for accessor in accessors["data"]["keys"].as_array().unwrap() {
        let body = json!({ "accessor": accessor });
        let known = site.vault.root(Method::POST, "auth/token/lookup-accessor", body.clone()).await;
        if known["data"]["display_name"] == "approle" {
            site.vault.root(Method::POST, "auth/token/revoke-accessor", body).await;
            revoked += 1;
        }
    }
    revoked
}

#[tokio::test]
async fn a_login_that_somebody_revokes_is_noticed_and_replaced() {
    let site = or_skip!(Site::open(&[("DEFAULT_TTL", "10m")]).await);
    let mut proxy = site.run("", "[rotation]\nrevoked_grace = \"1s\"").await;
    let old = proxy.active();
    assert_eq!(revoke_logins(&site).await, 1);
    let told = "the user was removed by somebody else";
    proxy.step(told, PATIENCE, |step| step.user == old.user).await;
    let new = proxy.active_from(old.generation + 1).await;
    let served = async || {
        let Ok(client) = proxy.endpoint("app").try_connect().await else { return false };
        session_user(&client).await.is_ok_and(|user| user == new.user)
    };
    assert!(wait_until(PATIENCE, served).await, "{}", proxy.log_text());
    site.close(&mut proxy).await;
}
