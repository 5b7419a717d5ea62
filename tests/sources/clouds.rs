//! The identity tokens of Google Cloud and Azure: a scripted metadata service signs them, and a JWT mount of a
//! real Vault takes them in the place of the two plugins, which are not built into the test's Vault. A directory's
//! login is shown to a userpass mount likewise.

use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::logins::{PATIENCE, SHORT, config, each_user_has_a_login_of_its_own_with, jwt, now, user_after};
use crate::or_skip;
use crate::peer::{Answer, Peer, ok};
use crate::shop::Shop;
use crate::support::{Leasehold, wait_until};

/// Mounts another plugin at the method's own path.
async fn mount_as(shop: &Shop, path: &str, plugin: &str, writes: &[(&str, Value)]) {
    shop.vault.root(reqwest::Method::POST, &format!("sys/auth/{path}"), json!({ "type": plugin })).await;
    for (below, body) in writes {
        shop.vault.root(reqwest::Method::POST, &format!("auth/{path}/{below}"), body.clone()).await;
    }
}

async fn mount_jwt(shop: &Shop, path: &str, key: &KeyPair, audience: &str) {
    let keys = json!({ "jwt_validation_pubkeys": [key.public_key_pem()] });
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": [audience],
        "token_policies": "leasehold", "token_ttl": "20s",
    });
    mount_as(shop, path, "jwt", &[("config", keys), ("role/shop", role)]).await;
}

fn signed(key: &KeyPair, audience: &str) -> String {
    jwt(key, &json!({"sub": "machine", "aud": audience, "iat": now(), "nbf": now() - 5, "exp": now() + 3600}))
}

/// Path, query and whether the header is there.
fn asked(request: &str, header: &str) -> Option<(String, Vec<(String, String)>)> {
    let target = request.strip_prefix("GET ")?.split(' ').next()?;
    let url = url::Url::parse(&format!("http://metadata{target}")).ok()?;
    let lines: Vec<String> = request.lines().map(str::to_ascii_lowercase).collect();
    let query = url.query_pairs().into_owned().collect();
    lines.contains(&header.to_ascii_lowercase()).then(|| (url.path().to_owned(), query))
}

fn value<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn a_machine_of_google_cloud_logs_in() {
    let shop = or_skip!(Shop::open(SHORT).await);
    let key = KeyPair::generate().unwrap();
    mount_jwt(&shop, "gcp", &key, "http://vault/shop").await;
    let peer = Peer::start(move |request| match asked(request, "Metadata-Flavor: Google") {
        Some((path, query))
            if path == "/computeMetadata/v1/instance/service-accounts/default/identity"
                && value(&query, "format") == Some("full") =>
        {
            ok(&signed(&key, value(&query, "audience").unwrap_or_default()))
        }
        _ => Answer::Say(403, "", String::new()),
    })
    .await;
    let host = peer.address.strip_prefix("http://").unwrap();
    let auth = "method = \"gcp\"\nrole = \"shop\"";
    each_user_has_a_login_of_its_own_with(&shop, "", auth, &[("GCE_METADATA_HOST", host)]).await;
    assert!(peer.requests().len() >= 2);
}

#[tokio::test]
async fn a_machine_of_azure_logs_in() {
    let shop = or_skip!(Shop::open(SHORT).await);
    let key = KeyPair::generate().unwrap();
    mount_jwt(&shop, "azure", &key, "https://management.azure.com/").await;
    let peer = Peer::start(move |request| {
        let Some((path, query)) = asked(request, "Metadata: true") else {
            return Answer::Say(400, "", String::new());
        };
        if value(&query, "api-version").is_none() {
            return Answer::Say(400, "", String::new());
        }
        match path.as_str() {
            "/metadata/identity/oauth2/token" if value(&query, "client_id") == Some("0f0e") => {
                let token = signed(&key, value(&query, "resource").unwrap_or_default());
                ok(&json!({"access_token": token, "token_type": "Bearer"}).to_string())
            }
            "/metadata/instance" => ok(&json!({"compute": {
                "name": "vm-1", "resourceGroupName": "shop", "subscriptionId": "s-1", "vmScaleSetName": "",
            }, "network": {}})
            .to_string()),
            _ => Answer::Say(404, "", String::new()),
        }
    })
    .await;
    let auth = "method = \"azure\"\nrole = \"shop\"\nclient_id = \"0f0e\"";
    let variables = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", peer.address.as_str())];
    each_user_has_a_login_of_its_own_with(&shop, "", auth, &variables).await;
    assert!(peer.requests().len() >= 4);
}

#[tokio::test]
async fn what_azure_says_of_the_machine_is_sent_to_vault() {
    let metadata = Peer::start(|request| {
        if request.starts_with("GET /metadata/instance?") {
            return ok(&json!({"compute": {
                "name": "vm-1", "resourceGroupName": "shop", "subscriptionId": "s-1", "vmScaleSetName": "set-1",
            }})
            .to_string());
        }
        ok(&json!({"access_token": "a.b.c"}).to_string())
    })
    .await;
    let vault = Peer::start(|_| Answer::Say(503, "", String::new())).await;
    let auth = leasehold::credentials::VaultAuth::Azure(leasehold::credentials::AzureSettings {
        mount: "azure".into(),
        role: "shop".into(),
        resource: "https://management.azure.com/".into(),
        client_id: None,
        endpoint: metadata.address.clone(),
    });
    let settings = crate::shop::settings(&vault.address, auth);
    let source = leasehold::credentials::VaultSource::new(settings, crate::shop::PATH.into()).unwrap();
    crate::shop::unavailable(leasehold::credentials::Source::issue(&source).await);
    let sent = vault.requests().remove(0);
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/auth/azure/login "), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    let expected = json!({
        "role": "shop", "jwt": "a.b.c", "subscription_id": "s-1", "resource_group_name": "shop",
        "vm_name": "vm-1", "vmss_name": "set-1",
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_metadata_service_that_redirects_floods_or_refuses_is_told() {
    let shop = or_skip!(Shop::open(SHORT).await);
    type Script = fn() -> Answer;
    let cases: &[(Script, &str)] = &[
        (|| Answer::Say(302, "location: http://127.0.0.1:1/\r\n", String::new()), "answers with status 302"),
        (|| ok(&"x".repeat(300_000)), "more than 256 KiB"),
        (|| Answer::Say(404, "", String::new()), "has the machine a service account?"),
        (|| ok("<html>"), "something else than what the login"),
    ];
    for (answer, words) in cases {
        let peer = Peer::start(move |_| answer()).await;
        let host = peer.address.strip_prefix("http://").unwrap();
        let text = config(&shop, "", "method = \"gcp\"\nrole = \"shop\"");
        let mut proxy = Leasehold::run_with(&text, &[("GCE_METADATA_HOST", host)]).await;
        let told = async || proxy.log_text().contains(words);
        assert!(wait_until(PATIENCE, told).await, "{words}: {}", proxy.log_text());
        proxy.terminate().await;
    }
}

#[tokio::test]
async fn a_directorys_name_and_password_log_in_and_never_lock_the_name() {
    let shop = or_skip!(Shop::open(SHORT).await);
    let user = json!({"password": "pass word", "token_policies": "leasehold", "token_ttl": "20s"});
    mount_as(&shop, "ldap", "userpass", &[("users/lease.hold", user)]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let auth = format!("method = \"ldap\"\nusername = \"lease.hold\"\npassword_file = {file:?}");
    let mut proxy = Leasehold::run(&config(&shop, "", &auth)).await;
    let told = async |words: &str| wait_until(PATIENCE, async || proxy.log_text().contains(words)).await;
    assert!(told("vault refused the login at auth/ldap/login").await, "{}", proxy.log_text());
    assert!(told("the next one is in 16 min").await, "{}", proxy.log_text());
    std::fs::write(&file, "pass word\n").unwrap();
    user_after(&proxy, "").await;
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
    each_user_has_a_login_of_its_own_with(&shop, "", &auth, &[]).await;
}
