//! VaultSource against a real server.

use std::time::Duration;

use leasehold::clock::Moment;
use leasehold::credentials::{LeaseToken, Source, VaultAuth, VaultSettings, VaultSource};
use reqwest::Method;
use serde_json::{Value, json};

use crate::or_skip;
use crate::shop::{PATH, Shop, denied, gone, misconfigured, settings, token_auth, unavailable};
use crate::support::{Ca, StopMode, VaultOptions, wait_until};

#[tokio::test]
async fn approle_issues_renews_and_removes_a_user() {
    let shop = or_skip!(Shop::open(&[("DEFAULT_TTL", "8s"), ("MAX_TTL", "30s")]).await);
    let source = shop.source();
    assert_eq!(source.kind(), "vault");
    let before = shop.tokens().await;
    shop.postgres.execute("postgres", "ALTER SYSTEM SET log_statement = 'all'").await;
    shop.postgres.execute("postgres", "SELECT pg_reload_conf()").await;

    let issued = source.issue().await.unwrap();
    assert!(shop.can_use(&issued).await);
    let log = shop.postgres.log();
    assert!(log.contains(&issued.login.user) && !log.contains(issued.login.password.expose()));
    assert_eq!(issued.term.lease, Duration::from_secs(8));
    assert!(issued.term.renewable);
    assert!(issued.term.token_end.unwrap() > issued.term.end());
    assert_eq!(shop.users().await, vec![issued.login.user.clone()]);

    let term = source.renew(&issued).await.unwrap();
    assert!(term.end() > issued.term.end() && term.lease == Duration::from_secs(8));

    // Two generations at once, each with its own token: removing one leaves the other.
    let second = source.issue().await.unwrap();
    source.revoke(&issued).await.unwrap();
    let alone = async || shop.users().await == [second.login.user.clone()];
    assert!(wait_until(Duration::from_secs(60), alone).await);
    assert!(shop.can_use(&second).await && !shop.can_use(&issued).await);
    source.revoke(&issued).await.unwrap();
    gone(source.renew(&issued).await);

    source.revoke(&second).await.unwrap();
    assert!(shop.no_user_remains().await);
    assert_eq!(shop.tokens().await, before);
    assert!(shop.vault.leases(PATH).await.is_empty());
    let shown = format!("{source:?} {issued:?}");
    assert!(!shown.contains(issued.login.password.expose()) && !shown.contains("hvs."), "{shown}");
}

#[tokio::test]
async fn a_token_that_ends_first_ends_the_user_and_is_renewed_while_it_can_be() {
    let lives = [("DEFAULT_TTL", "1h"), ("TOKEN_TTL", "5s"), ("TOKEN_MAX_TTL", "9s")];
    let shop = or_skip!(Shop::open(&lives).await);
    let source = shop.source();
    let mut issued = source.issue().await.unwrap();
    assert_eq!(issued.term.lease, Duration::from_secs(3600));
    let first_end = issued.term.end();
    assert!(issued.term.sent.until(first_end) <= Duration::from_secs(5));

    let grown = wait_until(Duration::from_secs(30), async || {
        issued.term = source.renew(&issued).await.unwrap();
        issued.term.end() >= first_end + Duration::from_secs(2)
    })
    .await;
    assert!(grown, "the token was not renewed");
    assert!(shop.can_use(&issued).await);

    // Vault takes the user with the token, and not before the end that we know.
    let end = issued.term.end();
    assert!(shop.no_user_remains().await);
    assert!(Moment::now() + Duration::from_millis(100) >= end);
    gone(source.renew(&issued).await);
    source.revoke(&issued).await.unwrap();
}

#[tokio::test]
async fn a_given_token_is_shared_renewed_and_bounds_every_user() {
    let shop = or_skip!(Shop::open(&[]).await);
    let policies = json!(["default", "leasehold"]);
    let given = shop.token(json!({"policies": policies, "ttl": "60s", "explicit_max_ttl": "300s"})).await;
    let source =
        VaultSource::new(settings(&shop.vault.address(), token_auth(&format!("{given}\n"))), PATH.into())
            .unwrap();
    let issued = source.issue().await.unwrap();
    assert!(matches!(issued.grant.token, LeaseToken::Shared(_)));
    assert!(shop.can_use(&issued).await);
    let life = issued.term.sent.until(issued.term.end());
    assert!(life <= Duration::from_secs(60) && life > Duration::from_secs(55), "{life:?}");
    let other = source.issue().await.unwrap();
    assert!(other.term.end() >= issued.term.end());
    let renewed = source.renew(&issued).await.unwrap();
    assert!(renewed.token_end.unwrap() > issued.term.token_end.unwrap());

    // The policy lacks sys/leases/revoke: no error, the user ends by itself, and the token lives.
    source.revoke(&issued).await.unwrap();
    assert!(shop.can_use(&issued).await);
    let policy = "path \"database/creds/app\" { capabilities = [\"read\"] }\n\
                  path \"sys/leases/revoke\" { capabilities = [\"update\"] }";
    shop.vault.root(Method::PUT, "sys/policies/acl/leasehold", json!({ "policy": policy })).await;
    source.revoke(&issued).await.unwrap();
    source.revoke(&other).await.unwrap();
    assert!(shop.no_user_remains().await);
    source.revoke(&other).await.unwrap();
    gone(source.renew(&other).await);
    let last = source.issue().await.unwrap();
    assert!(shop.can_use(&last).await);

    // Dead: everything that hung on it is gone, and the words say so.
    shop.vault.root(Method::POST, "auth/token/revoke", json!({ "token": given })).await;
    let told = denied(source.issue().await);
    assert!(told.contains("dead") && !told.contains(&given), "{told}");
    gone(source.renew(&last).await);
    source.revoke(&last).await.unwrap();
}

#[tokio::test]
async fn root_tokens_and_tokens_that_may_not_look_at_themselves_work() {
    let shop = or_skip!(Shop::open(&[]).await);
    let root =
        VaultSource::new(settings(&shop.vault.address(), token_auth(shop.vault.root_token())), PATH.into())
            .unwrap();
    let issued = root.issue().await.unwrap();
    assert_eq!((issued.term.token_end, issued.term.lease), (None, Duration::from_secs(3600)));
    root.renew(&issued).await.unwrap();
    root.revoke(&issued).await.unwrap();
    assert!(shop.no_user_remains().await);

    let bare = json!({"policies": ["leasehold"], "no_default_policy": true, "ttl": "10m"});
    let bare = shop.token(bare).await;
    let bare = VaultSource::new(settings(&shop.vault.address(), token_auth(&bare)), PATH.into()).unwrap();
    let issued = bare.issue().await.unwrap();
    assert!(shop.can_use(&issued).await);
    denied(bare.renew(&issued).await);
    bare.revoke(&issued).await.unwrap();

    let fixed = json!({"policies": ["default", "leasehold"], "ttl": "100s", "renewable": false});
    let fixed = shop.token(fixed).await;
    let fixed = VaultSource::new(settings(&shop.vault.address(), token_auth(&fixed)), PATH.into()).unwrap();
    let issued = fixed.issue().await.unwrap();
    assert!(issued.term.sent.until(issued.term.end()) <= Duration::from_secs(100));
    assert_eq!(fixed.renew(&issued).await.unwrap().token_end, issued.term.token_end);
}

#[tokio::test]
async fn batch_tokens_are_taken_and_their_leases_revoked_where_the_policy_allows() {
    let shop = or_skip!(Shop::open(&[]).await);
    let role = json!({"token_type": "batch", "token_ttl": "60s"});
    shop.vault.root(Method::POST, "auth/approle/role/leasehold", role).await;
    let policy = "path \"database/creds/app\" { capabilities = [\"read\"] }\n\
                  path \"sys/leases/revoke\" { capabilities = [\"update\"] }";
    shop.vault.root(Method::PUT, "sys/policies/acl/leasehold", json!({ "policy": policy })).await;
    let source = shop.source();
    let issued = source.issue().await.unwrap();
    assert!(issued.term.sent.until(issued.term.end()) <= Duration::from_secs(60));
    source.renew(&issued).await.unwrap();
    source.revoke(&issued).await.unwrap();
    assert!(shop.no_user_remains().await);
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_leaves_no_login_behind() {
    let shop = or_skip!(Shop::open(&[]).await);
    let source = shop.source();
    let before = shop.tokens().await;

    let elsewhere = |path: &str| VaultSource::new(shop.approle(), path.into()).unwrap();
    let told = denied(elsewhere("database/creds/other").issue().await);
    assert!(told.contains("path \"database/creds/other\" { capabilities = [\"read\"] }"), "{told}");
    assert_eq!(shop.tokens().await, before);

    let wide = "path \"*\" { capabilities = [\"read\", \"update\"] }";
    shop.vault.root(Method::PUT, "sys/policies/acl/leasehold", json!({ "policy": wide })).await;
    let told = misconfigured(elsewhere("database/creds/nosuch").issue().await);
    assert!(told.contains("database/creds/nosuch") && told.contains("role"), "{told}");
    let told = misconfigured(elsewhere("nosuch/creds/app").issue().await);
    assert!(told.contains("nosuch"), "{told}");
    assert_eq!(shop.tokens().await, before);

    let mut no_mount = shop.approle();
    if let VaultAuth::AppRole { mount, .. } = &mut no_mount.auth {
        "nosuch".clone_into(mount);
    }
    let error = VaultSource::new(no_mount, PATH.into()).unwrap().issue().await.unwrap_err();
    assert!(error.to_string().contains("auth/nosuch"), "{error}");

    let good = std::fs::read_to_string(shop.secret_id_file()).unwrap();
    std::fs::write(shop.secret_id_file(), "11111111-2222-3333-4444-555555555555\n").unwrap();
    let told = denied(source.issue().await);
    assert!(told.contains("15 minutes") && !told.contains("11111111"), "{told}");
    std::fs::write(shop.secret_id_file(), " \n").unwrap();
    assert!(misconfigured(source.issue().await).contains("empty"));
    std::fs::remove_file(shop.secret_id_file()).unwrap();
    assert!(misconfigured(source.issue().await).contains("secret-id"));
    std::fs::write(shop.secret_id_file(), format!("  {good}\n\n")).unwrap();
    let issued = source.issue().await.unwrap();
    source.revoke(&issued).await.unwrap();

    // The secret id from the environment, and role ids that are not there.
    let login = |role_id: &str, secret: &str| {
        let secret_id = Some(secret.to_owned().into());
        let auth = VaultAuth::AppRole {
            mount: "approle/".into(),
            role_id: role_id.into(),
            secret_id_file: None,
            secret_id,
            wrapped: false,
        };
        VaultSource::new(settings(&shop.vault.address(), auth), PATH.into()).unwrap()
    };
    let issued = login(&shop.role_id, &good).issue().await.unwrap();
    source.revoke(&issued).await.unwrap();
    denied(login("nosuch", &good).issue().await);
    assert_eq!(shop.tokens().await, before);
}

#[tokio::test]
async fn an_outage_is_told_from_a_refusal_and_costs_no_user() {
    let mut shop = or_skip!(Shop::open(&[("DEFAULT_TTL", "60s")]).await);
    let mut quick = shop.approle();
    quick.timeout = Duration::from_secs(1);
    let source = VaultSource::new(quick, PATH.into()).unwrap();
    let issued = source.issue().await.unwrap();
    let tokens = shop.tokens().await;

    shop.vault.seal().await;
    let told = unavailable(source.issue().await);
    assert!(told.contains("sealed") && told.contains("unseal"), "{told}");
    unavailable(source.renew(&issued).await);
    unavailable(source.revoke(&issued).await);
    shop.vault.unseal().await;
    source.renew(&issued).await.unwrap();

    shop.vault.freeze();
    assert!(unavailable(source.renew(&issued).await).contains("1s"));
    shop.vault.thaw();
    source.renew(&issued).await.unwrap();

    // The database behind it is down: the login of the failed issue is given back.
    shop.postgres.stop(StopMode::Immediate).await;
    unavailable(source.issue().await);
    unavailable(source.renew(&issued).await);
    let same = async || shop.tokens().await == tokens;
    assert!(wait_until(Duration::from_secs(60), same).await);
    shop.postgres.start_again().await;
    let renewed = wait_until(Duration::from_secs(60), async || source.renew(&issued).await.is_ok()).await;
    assert!(renewed && shop.can_use(&issued).await);

    shop.vault.stop();
    let told = unavailable(source.issue().await);
    assert!(told.contains(&shop.vault.address()) && told.contains("cannot be reached"), "{told}");
    unavailable(source.revoke(&issued).await);
    shop.vault.start_again().await;
    unavailable(source.renew(&issued).await);
    shop.vault.unseal().await;
    source.renew(&issued).await.unwrap();
    source.revoke(&issued).await.unwrap();
    assert!(shop.no_user_remains().await);
}

#[tokio::test]
async fn only_the_ca_that_was_given_is_trusted() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let served = ca.issue(&["127.0.0.1", "vault.internal"]);
    let options = VaultOptions { tls: Some((served, ca.file())) };
    let shop = or_skip!(Shop::open_with(&[], options).await);
    let ca_dir = tempfile::tempdir().unwrap();
    std::fs::copy(ca.file(), ca_dir.path().join("ca.crt")).unwrap();
    std::fs::write(ca_dir.path().join("README"), "no certificate").unwrap();
    let client = ca.issue(&["leasehold"]);

    type Change = Box<dyn Fn(&mut VaultSettings)>;
    let good: Vec<Change> = vec![
        Box::new({
            let file = ca.file();
            move |s| s.ca_file = Some(file.clone())
        }),
        Box::new({
            let pem = ca.pem().to_owned();
            move |s| s.ca_bytes = Some(pem.clone())
        }),
        Box::new({
            let dir = ca_dir.path().to_owned();
            move |s| s.ca_path = Some(dir.clone())
        }),
        Box::new({
            let (file, client) = (ca.file(), client.clone());
            move |s| {
                s.ca_file = Some(file.clone());
                s.tls_server_name = Some("vault.internal".into());
                s.client_cert = Some(client.cert.clone());
                s.client_key = Some(client.key.clone());
            }
        }),
        Box::new(|s| s.skip_verify = true),
    ];
    for change in good {
        let mut settings = shop.approle();
        change(&mut settings);
        let source = VaultSource::new(settings, PATH.into()).unwrap();
        let issued = source.issue().await.unwrap();
        source.revoke(&issued).await.unwrap();
    }
    let bad: Vec<Change> = vec![
        Box::new({
            let file = stranger.file();
            move |s| s.ca_file = Some(file.clone())
        }),
        Box::new({
            let file = ca.file();
            move |s| {
                s.ca_file = Some(file.clone());
                s.tls_server_name = Some("other.internal".into());
            }
        }),
    ];
    for change in bad {
        let mut settings = shop.approle();
        change(&mut settings);
        let told = misconfigured(VaultSource::new(settings, PATH.into()).unwrap().issue().await);
        assert!(told.contains("certificate"), "{told}");
    }
    for spoil in [
        (|s| s.ca_file = Some("/nonexistent".into())) as fn(&mut VaultSettings),
        |s| s.ca_bytes = Some("no pem".into()),
        |s| s.client_key = Some("/nonexistent".into()),
    ] {
        let mut settings = shop.approle();
        spoil(&mut settings);
        misconfigured(VaultSource::new(settings, PATH.into()));
    }
    let health = shop.vault.root(Method::GET, "sys/health", Value::Null).await;
    assert_eq!(health["sealed"], json!(false));
}
