//! Every kind of token that Vault gives, as logins of our own and as given ones.

use std::time::Duration;

use leasehold::clock::Moment;
use leasehold::credentials::{Issued, LeaseToken, Source, VaultSource};
use reqwest::Method;
use serde_json::{Value, json};

use crate::or_skip;
use crate::shop::{PATH, Shop, denied, gone, misconfigured, settings, token_auth};
use crate::support::wait_until;

const PATIENCE: Duration = Duration::from_secs(60);

/// The role that Leasehold logs in with gives tokens of this kind.
async fn give_logins(shop: &Shop, fields: Value) {
    shop.vault.root(Method::POST, "auth/approle/role/leasehold", fields).await;
}

fn given(shop: &Shop, token: &str) -> VaultSource {
    VaultSource::new(settings(&shop.vault.address(), token_auth(token)), PATH.into()).unwrap()
}

/// A token that `parent` makes.
async fn child(shop: &Shop, parent: &str, path: &str) -> String {
    let body = json!({"policies": ["default", "leasehold"], "ttl": "10m"});
    let (status, answer) = shop.vault.request(Method::POST, path, Some(body), Some(parent)).await;
    assert_eq!(status, 200, "{answer}");
    answer["auth"]["client_token"].as_str().unwrap().to_owned()
}

fn life(issued: &Issued) -> Duration {
    issued.term.sent.until(issued.term.end())
}

/// Vault takes the user, and not before the end that we know.
async fn ends_in_time(shop: &Shop, issued: &Issued) -> bool {
    let gone = wait_until(PATIENCE, async || !shop.users().await.contains(&issued.login.user)).await;
    gone && Moment::now() + Duration::from_millis(100) >= issued.term.end()
}

#[tokio::test]
async fn a_login_of_a_few_uses_keeps_its_last_one_for_the_end() {
    let shop = or_skip!(Shop::open(&[]).await);
    let source = shop.source();
    let before = shop.tokens().await;

    give_logins(&shop, json!({"token_num_uses": 1})).await;
    let told = misconfigured(source.issue().await);
    assert!(told.contains("token_num_uses"), "{told}");
    assert!(shop.no_user_remains().await);
    assert_eq!(shop.tokens().await, before);

    for (num_uses, renewals) in [(2, 0), (4, 2)] {
        give_logins(&shop, json!({"token_num_uses": num_uses})).await;
        let mut issued = source.issue().await.unwrap();
        assert!(matches!(issued.grant.token, LeaseToken::Own(_)));
        for _ in 0..renewals {
            assert!(issued.term.renewable);
            issued.term = source.renew(&issued).await.unwrap();
        }
        assert!(!issued.term.renewable);
        gone(source.renew(&issued).await);
        assert!(shop.can_use(&issued).await);
        source.revoke(&issued).await.unwrap();
        assert!(shop.no_user_remains().await);
        assert_eq!(shop.tokens().await, before);
    }
}

#[tokio::test]
async fn a_given_token_of_a_few_uses_is_never_used_up() {
    let shop = or_skip!(Shop::open(&[]).await);
    // One to learn how many they are, three for users, and the last.
    let token = shop.token(json!({"policies": ["default", "leasehold"], "ttl": "10m", "num_uses": 5})).await;
    let source = given(&shop, &token);
    let mut users = Vec::new();
    for left in [true, true, false] {
        let issued = source.issue().await.unwrap();
        assert_eq!(issued.term.renewable, left);
        assert!(life(&issued) <= Duration::from_secs(600));
        users.push(issued);
    }
    for issued in &users {
        let told = denied(source.issue().await);
        assert!(told.contains("one use left") && !told.contains(&token), "{told}");
        gone(source.renew(issued).await);
        source.revoke(issued).await.unwrap();
        assert!(shop.can_use(issued).await);
    }
    let known = shop.vault.root(Method::POST, "auth/token/lookup", json!({ "token": token })).await;
    assert_eq!(known["data"]["num_uses"], 1, "{known}");
}

#[tokio::test]
async fn a_periodic_token_carries_its_user_from_period_to_period() {
    let shop = or_skip!(Shop::open(&[("DEFAULT_TTL", "1h")]).await);
    give_logins(&shop, json!({"token_period": "6s"})).await;
    let periodic = json!({"policies": ["default", "leasehold"], "period": "6s"});
    for own in [true, false] {
        let source = if own { shop.source() } else { given(&shop, &shop.token(periodic.clone()).await) };
        let mut issued = source.issue().await.unwrap();
        let first_end = issued.term.end();
        assert!(life(&issued) <= Duration::from_secs(6));
        let carried = wait_until(PATIENCE, async || {
            issued.term = source.renew(&issued).await.unwrap();
            assert!(life(&issued) <= Duration::from_secs(6));
            Moment::now() > first_end + Duration::from_secs(3)
        })
        .await;
        assert!(carried && shop.can_use(&issued).await);
        // Left alone it ends with its period.
        assert!(ends_in_time(&shop, &issued).await);
        gone(source.renew(&issued).await);
    }
}

#[tokio::test]
async fn a_batch_token_ends_its_user_whatever_is_renewed() {
    let shop = or_skip!(Shop::open(&[("DEFAULT_TTL", "1h")]).await);
    give_logins(&shop, json!({"token_type": "batch", "token_ttl": "8s"})).await;
    let batch = json!({"policies": ["default", "leasehold"], "type": "batch", "ttl": "8s"});
    for own in [true, false] {
        let source = if own { shop.source() } else { given(&shop, &shop.token(batch.clone()).await) };
        let mut issued = source.issue().await.unwrap();
        assert_eq!(matches!(issued.grant.token, LeaseToken::Own(_)), own);
        let end = issued.term.token_end.unwrap();
        assert!(life(&issued) <= Duration::from_secs(8) && shop.can_use(&issued).await);
        issued.term = source.renew(&issued).await.unwrap();
        assert!(issued.term.end() <= end, "{:?} {end:?}", issued.term);
        // It cannot revoke itself, and the policy does not let it revoke the lease.
        source.revoke(&issued).await.unwrap();
        assert!(shop.can_use(&issued).await);
        assert!(ends_in_time(&shop, &issued).await);
    }
}

#[tokio::test]
async fn a_token_dies_with_its_parent_unless_it_is_an_orphan() {
    let shop = or_skip!(Shop::open(&[]).await);
    let parent = shop.token(json!({"policies": ["root"], "ttl": "10m"})).await;
    let token = child(&shop, &parent, "auth/token/create").await;
    let orphan = child(&shop, &parent, "auth/token/create-orphan").await;
    let (source, alone) = (given(&shop, &token), given(&shop, &orphan));
    let (issued, kept) = (source.issue().await.unwrap(), alone.issue().await.unwrap());
    assert!(shop.can_use(&issued).await && shop.can_use(&kept).await);

    shop.vault.root(Method::POST, "auth/token/revoke", json!({ "token": parent })).await;
    let left = async || shop.users().await == [kept.login.user.clone()];
    assert!(wait_until(PATIENCE, left).await);
    let told = denied(source.issue().await);
    assert!(told.contains("dead"), "{told}");
    gone(source.renew(&issued).await);
    source.revoke(&issued).await.unwrap();
    assert!(shop.can_use(&kept).await);
    alone.renew(&kept).await.unwrap();
}
