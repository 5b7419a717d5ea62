//! Every way to log in, with the proxy's own binary: it serves, it changes users, and leaves none.

use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leasehold::credentials::{Source as _, VaultSource};
use rcgen::{KeyPair, SigningKey as _};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::or_skip;
use crate::peer::{Answer, Peer};
use crate::shop::{PATH, Shop, denied};
use crate::support::wait::wait_for;
use crate::support::{Ca, Leasehold, Pgbench, VaultOptions, short_or_long, wait_until};

/// Long enough for a loaded machine; only a hang gets there.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Short lives, so that users change by themselves.
pub const SHORT: &[(&str, &str)] = &[("DEFAULT_TTL", "8s"), ("MAX_TTL", "60s")];

/// A configuration with these keys of `[vault]` and of `[vault.auth]`.
pub fn config(shop: &Shop, vault: &str, auth: &str) -> String {
    format!(
        "[databases.app]\nhost = \"127.0.0.1\"\nport = {}\nsslmode = \"disable\"\nrole = \"app\"\n\
         credentials = {{ source = \"vault\", path = {PATH:?} }}\n\
         [vault]\naddress = {:?}\n{vault}\n[vault.auth]\n{auth}\n",
        shop.postgres.port(),
        shop.vault.address(),
    )
}

/// Who serves, once it is somebody other than `before`.
pub async fn user_after(proxy: &Leasehold, before: &str) -> String {
    let look = async || {
        let client = proxy.endpoint("app").try_connect().await.ok()?;
        let row = client.query_one("SELECT session_user::text", &[]).await.ok()?;
        Some(row.get::<_, String>(0)).filter(|user| user != before)
    };
    let user = wait_for(PATIENCE, look).await;
    user.unwrap_or_else(|| panic!("nobody but {before:?} serves:\n{}", proxy.log_text()))
}

/// pgbench while users change.
struct Load {
    pgbench: Pgbench,
    _script: NamedTempFile,
}

impl Load {
    fn start(proxy: &Leasehold) -> Self {
        let script = NamedTempFile::new().unwrap();
        std::fs::write(script.path(), "SELECT count(*) FROM stock;\n").unwrap();
        let seconds = short_or_long("12", "40");
        let file = script.path().to_str().unwrap();
        let pgbench = proxy
            .endpoint("app")
            .start_pgbench(&["-n", "-f", file, "-c", "2", "-R", "40", "-T", seconds, "app"]);
        Self { pgbench, _script: script }
    }

    /// To its end: nothing failed.
    async fn ends_clean(self, proxy: &Leasehold) {
        let report = self.pgbench.finish().await;
        let good =
            report.status.success() && report.failed == 0 && report.aborted == 0 && report.processed > 0;
        assert!(good, "{report:#?}\n{}", proxy.log_text());
    }
}

/// The table of logins in the manual says what was seen.
fn the_manual_says(auth: &str, own: bool, removed: &str) {
    let method = auth.split('"').nth(1).filter(|_| auth.starts_with("method")).unwrap_or("token");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let manual = std::fs::read_to_string(file).unwrap();
    let row = manual
        .lines()
        .find(|line| line.starts_with(&format!("| `{method}` |")) && line.matches('|').count() == 5);
    let cells: Vec<&str> =
        row.unwrap_or_else(|| panic!("no row for {method}")).split('|').map(str::trim).collect();
    assert!(cells[3].starts_with(if own { "yes" } else { "no" }), "{cells:?}");
    assert!(cells[4].starts_with(removed), "{cells:?}");
}

#[tokio::test]
async fn a_role_id_and_its_secret_id_log_in() {
    let lives = [SHORT, &[("TOKEN_TTL", "20s"), ("TOKEN_MAX_TTL", "20s")]].concat();
    let shop = or_skip!(Shop::open(&lives).await);
    let auth = format!(
        "method = \"approle\"\nrole_id = {:?}\nsecret_id_file = {:?}",
        shop.role_id,
        shop.secret_id_file()
    );
    each_user_has_a_login_of_its_own(&shop, "", &auth).await;
}

/// A token that is renewed, and a file whose tokens are replaced before they end.
#[tokio::test]
async fn given_tokens_of_twenty_seconds_carry_a_load() {
    let shop = or_skip!(Shop::open(SHORT).await);
    let policy = "path \"database/creds/app\" { capabilities = [\"read\"] }\n\
                  path \"sys/leases/renew\" { capabilities = [\"update\"] }\n\
                  path \"sys/leases/revoke\" { capabilities = [\"update\"] }";
    shop.vault.root(Method::PUT, "sys/policies/acl/leasehold", json!({ "policy": policy })).await;
    let policies = json!(["default", "leasehold"]);
    let periodic = shop.token(json!({"policies": policies, "period": "20s"})).await;
    let short = async || shop.token(json!({"policies": policies, "ttl": "20s", "renewable": false})).await;
    let directory = tempfile::tempdir().unwrap();
    let sink = directory.path().join("sink");
    let from_file = format!("method = \"token_file\"\ntoken_file = {sink:?}");
    for auth in ["method = \"token\"", &from_file] {
        let before = shop.tokens().await;
        replace(&sink, &short().await);
        let mut proxy =
            Leasehold::run_with(&config(&shop, "", auth), &[("VAULT_TOKEN", periodic.as_str())]).await;
        let first = user_after(&proxy, "").await;
        let own = shop.tokens().await > before + 1;
        let mut load = Load::start(&proxy);
        while load.pgbench.running() {
            replace(&sink, &short().await);
            wait_until(Duration::from_secs(10), async || !load.pgbench.running()).await;
        }
        load.ends_clean(&proxy).await;
        let users = proxy.logged("user issued").len();
        assert!(users >= 2 && !shop.users().await.contains(&first), "{}", proxy.log_text());
        the_manual_says(auth, own, "its lease is revoked");
        assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
        assert!(shop.no_user_remains().await, "{}", proxy.log_text());
        if auth != from_file {
            // It was given to the proxy, which renewed it and left it alone at the end.
            let lookup = shop.vault.request(Method::GET, "auth/token/lookup-self", None, Some(&periodic));
            assert_eq!(lookup.await.0, 200);
        }
    }
}

/// A method that can log in again: users change, and nothing of any login is left at the end.
async fn each_user_has_a_login_of_its_own(shop: &Shop, vault: &str, auth: &str) {
    each_user_has_a_login_of_its_own_with(shop, vault, auth, &[]).await;
}

/// As [`each_user_has_a_login_of_its_own`], with these variables.
pub async fn each_user_has_a_login_of_its_own_with(
    shop: &Shop,
    vault: &str,
    auth: &str,
    env: &[(&str, &str)],
) {
    let before = shop.tokens().await;
    let mut proxy = Leasehold::run_with(&config(shop, vault, auth), env).await;
    let first = user_after(&proxy, "").await;
    let own = shop.tokens().await > before;
    let load = Load::start(&proxy);
    let second = user_after(&proxy, &first).await;
    // The first one ends with its own login, while the second serves.
    let gone = wait_until(PATIENCE, async || !shop.users().await.contains(&first)).await;
    assert!(gone && first != second, "{}", proxy.log_text());
    load.ends_clean(&proxy).await;
    the_manual_says(auth, own, "its login is revoked");
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
    assert!(shop.no_user_remains().await, "{}", proxy.log_text());
    let none_left = wait_until(PATIENCE, async || shop.tokens().await == before).await;
    assert!(none_left, "{} tokens, {before} before\n{}", shop.tokens().await, proxy.log_text());
}

/// Mounts an auth method, and writes below it.
pub async fn mount(shop: &Shop, method: &str, writes: &[(&str, Value)]) {
    shop.vault.root(Method::POST, &format!("sys/auth/{method}"), json!({ "type": method })).await;
    for (path, body) in writes {
        shop.vault.root(Method::POST, &format!("auth/{method}/{path}"), body.clone()).await;
    }
}

/// As an Agent's sink: a new file in the place of the old one.
pub fn replace(file: &Path, content: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(&new, file).unwrap();
}

/// An ES256 token with these claims; Vault's ASN.1-free form of the signature (RFC 7515, 3.1 and A.3).
pub fn jwt(key: &KeyPair, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "ES256", "typ": "JWT" })), part(claims));
    let der = key.sign(signed.as_bytes()).unwrap();
    // SEQUENCE, then two INTEGERs that may have a leading zero or be short.
    let mut rest = &der[2..];
    let mut raw = Vec::new();
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let number = &number[number.len().saturating_sub(32)..];
        raw.extend(std::iter::repeat_n(0, 32 - number.len()));
        raw.extend(number);
        rest = after;
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(raw))
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_token_file_is_followed_and_its_tokens_are_never_revoked() {
    let shop = or_skip!(Shop::open(&[("DEFAULT_TTL", "1h")]).await);
    let policy = "path \"database/creds/app\" { capabilities = [\"read\"] }\n\
                  path \"sys/leases/revoke\" { capabilities = [\"update\"] }";
    shop.vault.root(Method::PUT, "sys/policies/acl/leasehold", json!({ "policy": policy })).await;
    let token = async || {
        shop.token(json!({"policies": ["default", "leasehold"], "ttl": "30m", "renewable": false})).await
    };
    let home = tempfile::tempdir().unwrap();
    let sink = home.path().join("sink");
    let left = home.path().join(".vault-token");
    let variables = [("HOME", home.path().to_str().unwrap())];
    let named = format!("method = \"token_file\"\ntoken_file = {sink:?}");
    for (file, auth) in [(&sink, named.as_str()), (&left, "")] {
        let (old, new) = (token().await, token().await);
        replace(file, &old);
        let mut proxy = Leasehold::run_with(&config(&shop, "", auth), &variables).await;
        let first = user_after(&proxy, "").await;
        // Another file, the same token: nothing to do.
        replace(file, &format!("{old}\n"));
        replace(file, &format!("{new}\n"));
        let second = user_after(&proxy, &first).await;
        let gone = wait_until(PATIENCE, async || !shop.users().await.contains(&first)).await;
        assert!(gone && shop.users().await.contains(&second), "{}", proxy.log_text());
        assert_eq!(proxy.logged("user issued").len(), 2, "{}", proxy.log_text());
        assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
        assert!(shop.no_user_remains().await, "{}", proxy.log_text());
        for given in [old, new] {
            let (status, _) =
                shop.vault.request(Method::GET, "auth/token/lookup-self", None, Some(&given)).await;
            assert_eq!(status, 200);
            assert!(!proxy.log_text().contains(&given));
        }
    }
}

#[tokio::test]
async fn a_token_file_that_comes_late_or_holds_a_dead_token_is_waited_for() {
    let shop = or_skip!(Shop::open(&[("DEFAULT_TTL", "1h")]).await);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sink");
    let auth = format!("method = \"token_file\"\ntoken_file = {file:?}");
    let mut proxy = Leasehold::run(&config(&shop, "", &auth)).await;
    let told = async |words: &str| wait_until(PATIENCE, async || proxy.log_text().contains(words)).await;
    assert!(told("cannot read the vault token").await, "{}", proxy.log_text());
    replace(&file, "hvs.dead\n");
    assert!(told("the vault token is dead").await, "{}", proxy.log_text());
    replace(&file, &shop.token(json!({"policies": ["default", "leasehold"], "ttl": "30m"})).await);
    user_after(&proxy, "").await;
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
}

#[tokio::test]
async fn a_user_name_and_its_password_log_in() {
    let shop = or_skip!(Shop::open(SHORT).await);
    let user = json!({"password": "pass word", "token_policies": "leasehold", "token_ttl": "20s"});
    mount(&shop, "userpass", &[("users/lease.hold", user)]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "pass word\n").unwrap();
    let auth = format!("method = \"userpass\"\nusername = \"lease.hold\"\npassword_file = {file:?}");
    each_user_has_a_login_of_its_own(&shop, "", &auth).await;
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    let ca = Ca::new();
    let options = VaultOptions { tls: Some((ca.issue(&["127.0.0.1"]), ca.file())) };
    let shop = or_skip!(Shop::open_with(SHORT, options).await);
    let role = json!({"certificate": ca.pem(), "token_policies": "leasehold", "token_ttl": "20s"});
    mount(&shop, "cert", &[("certs/leasehold", role)]).await;
    let client = ca.issue(&["leasehold.internal"]);
    let vault =
        format!("ca_file = {:?}\nclient_cert = {:?}\nclient_key = {:?}", ca.file(), client.cert, client.key);
    each_user_has_a_login_of_its_own(&shop, &vault, "method = \"cert\"\nname = \"leasehold\"").await;
}

#[tokio::test]
async fn a_signed_token_logs_in_and_is_read_anew() {
    let shop = or_skip!(Shop::open(SHORT).await);
    let key = KeyPair::generate().unwrap();
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"],
        "token_policies": "leasehold", "token_ttl": "20s",
    });
    let keys = json!({ "jwt_validation_pubkeys": [key.public_key_pem()] });
    mount(&shop, "jwt", &[("config", keys), ("role/ci", role)]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jwt");
    let sign = |audience: &str| {
        jwt(
            &key,
            &json!({"sub": "job", "aud": audience, "iat": now(), "nbf": now() - 5, "exp": now() + 3600}),
        )
    };
    std::fs::write(&file, sign("somebody else")).unwrap();
    let auth = format!("method = \"jwt\"\nrole = \"ci\"\njwt_file = {file:?}");
    let mut proxy = Leasehold::run(&config(&shop, "", &auth)).await;
    let told = async || proxy.log_text().contains("vault refused the login at auth/jwt/login");
    assert!(wait_until(PATIENCE, told).await, "{}", proxy.log_text());
    replace(&file, &sign("vault"));
    user_after(&proxy, "").await;
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
    each_user_has_a_login_of_its_own(&shop, "", &auth).await;
}

#[tokio::test]
async fn a_pods_service_account_logs_in() {
    let shop = or_skip!(Shop::open(SHORT).await);
    let ca = Ca::new();
    let audience = json!(["https://kubernetes.default.svc"]);
    // A role without an audience wants those of the token confirmed.
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "status": {"authenticated": true, "audiences": audience, "user": {
            "username": "system:serviceaccount:shop:leasehold", "uid": "uid-1",
            "groups": ["system:serviceaccounts", "system:authenticated"],
        }},
    })
    .to_string();
    let kubernetes = Peer::start_tls(&ca.issue(&["127.0.0.1"]), move |request| {
        if request.starts_with("POST /apis/authentication.k8s.io/v1/tokenreviews") {
            return Answer::Say(201, "content-type: application/json\r\n", review.clone());
        }
        Answer::Say(404, "", String::new())
    })
    .await;
    let config = json!({
        "kubernetes_host": kubernetes.address, "kubernetes_ca_cert": ca.pem(),
        "token_reviewer_jwt": "reviewer", "disable_local_ca_jwt": true,
    });
    let role = json!({
        "bound_service_account_names": ["leasehold"], "bound_service_account_namespaces": ["shop"],
        "token_policies": "leasehold", "token_ttl": "20s",
    });
    mount(&shop, "kubernetes", &[("config", config), ("role/leasehold", role)]).await;
    let account = jwt(
        &KeyPair::generate().unwrap(),
        &json!({
            "iss": "https://kubernetes.default.svc", "aud": audience,
            "sub": "system:serviceaccount:shop:leasehold",
            "iat": now(), "nbf": now() - 5, "exp": now() + 3600,
            "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "leasehold", "uid": "uid-1"}},
        }),
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, &account).unwrap();
    let auth = format!("method = \"kubernetes\"\nrole = \"leasehold\"\njwt_file = {file:?}");
    each_user_has_a_login_of_its_own(&shop, "", &auth).await;
    // Vault asked for each login, and showed what we had sent.
    let reviews = kubernetes.requests();
    assert!(reviews.len() >= 2 && reviews.iter().all(|request| request.contains(&account)), "{reviews:?}");
}

const SECRET_ID: &str = "auth/approle/role/leasehold/secret-id";

/// A new secret id of Leasehold's AppRole.
async fn secret_id(shop: &Shop, fields: Value) -> String {
    let answer = shop.vault.root(Method::POST, SECRET_ID, fields).await;
    answer["data"]["secret_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_secret_id_that_is_used_up_leaves_the_last_token_to_all_users() {
    let shop = or_skip!(Shop::open(&[("DEFAULT_TTL", "8s"), ("MAX_TTL", "60s"), ("TOKEN_TTL", "10m")]).await);
    std::fs::write(shop.secret_id_file(), secret_id(&shop, json!({"num_uses": 1})).await).unwrap();
    let auth = format!(
        "method = \"approle\"\nrole_id = {:?}\nsecret_id_file = {:?}",
        shop.role_id,
        shop.secret_id_file()
    );
    let before = shop.tokens().await;
    let mut proxy = Leasehold::run(&config(&shop, "", &auth)).await;
    let mut user = user_after(&proxy, "").await;
    for _ in 0..3 {
        user = user_after(&proxy, &user).await;
    }
    assert_eq!(proxy.logged("used up").len(), 1, "{}", proxy.log_text());
    assert_eq!(shop.tokens().await, before + 1);
    // Another secret id: logins of their own again, beside the shared token.
    replace(&shop.secret_id_file(), &secret_id(&shop, json!({})).await);
    let more = wait_until(PATIENCE, async || shop.tokens().await > before + 1).await;
    assert!(more, "{}", proxy.log_text());
    user_after(&proxy, &user).await;
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
    assert!(shop.no_user_remains().await, "{}", proxy.log_text());
    let none_left = wait_until(PATIENCE, async || shop.tokens().await == before).await;
    assert!(none_left, "{}", proxy.log_text());
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once() {
    let shop = or_skip!(Shop::open(SHORT).await);
    let token = shop.vault.wrapped(SECRET_ID, json!({})).await;
    std::fs::write(shop.secret_id_file(), format!("{token}\n")).unwrap();
    let auth = format!(
        "method = \"approle\"\nrole_id = {:?}\nsecret_id_file = {:?}\nsecret_id_wrapped = true",
        shop.role_id,
        shop.secret_id_file()
    );
    let mut proxy = Leasehold::run(&config(&shop, "", &auth)).await;
    let first = user_after(&proxy, "").await;
    user_after(&proxy, &first).await;
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
    assert!(shop.no_user_remains().await, "{}", proxy.log_text());
    // A second program comes too late, as a thief's victim would.
    let mut late = Leasehold::run(&config(&shop, "", &auth)).await;
    let told = async || late.log_text().contains("treat the secret id as stolen");
    assert!(wait_until(PATIENCE, told).await, "{}", late.log_text());
    assert!(!late.log_text().contains(&token));
    late.terminate().await;
}

#[tokio::test]
async fn refused_logins_never_lock_the_role_id() {
    let shop = or_skip!(Shop::open(SHORT).await);
    let good = std::fs::read_to_string(shop.secret_id_file()).unwrap();
    std::fs::write(shop.secret_id_file(), "11111111-2222-3333-4444-555555555555").unwrap();
    let settings = shop.approle();
    // Two pools, one login.
    let pools: Vec<_> = (0..2).map(|_| VaultSource::new(settings.clone(), PATH.into()).unwrap()).collect();
    let mut told = String::new();
    for _ in 0..4 {
        for pool in &pools {
            told = denied(pool.issue().await);
        }
    }
    assert!(told.contains("the next one is in 16 min") && !told.contains("11111111"), "{told}");
    let login = json!({"role_id": shop.role_id, "secret_id": good.trim()});
    let (status, answer) = shop.vault.request(Method::POST, "auth/approle/login", Some(login), None).await;
    assert_eq!(status, 200, "{answer}");
    // The right one is tried at once.
    std::fs::write(shop.secret_id_file(), &good).unwrap();
    let issued = pools[1].issue().await.unwrap();
    pools[1].revoke(&issued).await.unwrap();
    assert!(shop.no_user_remains().await);
}

/// A program that is started again and again with a wrong secret id, six times, each until Vault or
/// the count says no.
async fn crash_loop(shop: &Shop, state_dir: &std::path::Path) {
    for _ in 0..6 {
        let extra = format!("state_dir = {state_dir:?}\n");
        let auth = format!(
            "method = \"approle\"\nrole_id = {:?}\nsecret_id_file = {:?}",
            shop.role_id,
            shop.secret_id_file()
        );
        let mut proxy = Leasehold::run(&(extra + &config(shop, "", &auth))).await;
        let denied = async || {
            let log = proxy.log_text();
            log.contains("invalid role or secret ID") || log.contains("the next one is in 1")
        };
        assert!(wait_until(PATIENCE, denied).await, "{}", proxy.log_text());
        proxy.terminate().await;
    }
}

#[tokio::test]
async fn a_program_that_is_started_again_and_again_never_locks_the_role_id() {
    let shop = or_skip!(Shop::open(SHORT).await);
    let good = std::fs::read_to_string(shop.secret_id_file()).unwrap();
    let state = tempfile::tempdir().unwrap();
    let login = || async {
        let body = json!({"role_id": shop.role_id, "secret_id": good.trim()});
        shop.vault.request(Method::POST, "auth/approle/login", Some(body), None).await
    };
    std::fs::write(shop.secret_id_file(), "11111111-2222-3333-4444-555555555555").unwrap();
    crash_loop(&shop, state.path()).await;
    let (status, answer) = login().await;
    assert_eq!(status, 200, "{answer}");
    let kept: Vec<_> = std::fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &kept[..] else { panic!("{kept:?}") };
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.starts_with("4 ") && text.len() < 20, "{text}");
    // Without a place for the count, the same locks it.
    crash_loop(&shop, std::path::Path::new("")).await;
    let (status, answer) = login().await;
    assert_ne!(status, 200, "{answer}");
}
