//! VaultSource against answers that a real server does not give on demand.

use std::time::{Duration, Instant};

use leasehold::credentials::{Source, SourceError, VaultAuth, VaultSettings, VaultSource};

use crate::peer::{Answer, Peer, ok};
use crate::shop::{PATH, denied, misconfigured, settings, token_auth, unavailable};

const LOOKUP: &str = r#"{"data":{"ttl":600,"renewable":false,"expire_time":"2030-01-01T00:00:00Z"}}"#;
const LOGIN: &str =
    r#"{"data":null,"auth":{"client_token":"hvs.own","lease_duration":600,"renewable":true}}"#;
const CREDS: &str = r#"{"lease_id":"database/creds/app/x","lease_duration":60,"renewable":true,
    "data":{"username":"u","password":"the-password"},"warnings":null,"auth":null,"new_field":{"a":1}}"#;

fn source(settings: VaultSettings) -> VaultSource {
    VaultSource::new(settings, PATH.into()).unwrap()
}

fn approle(address: &str) -> VaultSettings {
    let auth = VaultAuth::AppRole {
        mount: "team/approle".into(),
        role_id: "r".into(),
        secret_id_file: None,
        secret_id: Some("the-secret-id".to_owned().into()),
        wrapped: false,
    };
    settings(address, auth)
}

/// The usual answers.
fn vault(request: &str) -> Answer {
    match request.lines().next().unwrap_or_default() {
        line if line.contains("/login") => ok(LOGIN),
        line if line.contains("lookup-self") => ok(LOOKUP),
        line if line.contains("/creds/") => ok(CREDS),
        line if line.contains("revoke") => Answer::Say(204, "", String::new()),
        _ => Answer::Say(404, "", r#"{"errors":[]}"#.into()),
    }
}

#[tokio::test]
async fn prefix_namespace_and_token_are_where_vault_looks_for_them() {
    let peer = Peer::start(vault).await;
    let mut settings = approle(&format!("{}/edge/vault/", peer.address));
    settings.namespace = "/team/a/".into();
    let source = source(settings);
    let issued = source.issue().await.unwrap();
    assert_eq!((issued.login.user.as_str(), issued.login.password.expose()), ("u", "the-password"));
    source.revoke(&issued).await.unwrap();
    let requests = peer.requests();
    let lines: Vec<_> = requests.iter().map(|request| request.lines().next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "POST /edge/vault/v1/auth/team/approle/login HTTP/1.1",
            "GET /edge/vault/v1/database/creds/app HTTP/1.1",
            "POST /edge/vault/v1/auth/token/revoke-self HTTP/1.1",
        ]
    );
    for (at, request) in requests.iter().enumerate() {
        let head = request.to_ascii_lowercase();
        assert!(head.contains("x-vault-namespace: team/a\r\n") && head.contains("x-vault-request: true\r\n"));
        assert_eq!(head.contains("x-vault-token: hvs.own\r\n"), at > 0, "{request}");
    }
}

#[tokio::test]
async fn a_peer_that_hangs_costs_one_timeout() {
    let peer = Peer::start(|_| Answer::Hang).await;
    let mut settings = settings(&peer.address, token_auth("t"));
    settings.timeout = Duration::from_millis(300);
    let began = Instant::now();
    let told = unavailable(source(settings).issue().await);
    assert!(told.contains("did not answer within 300ms"), "{told}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn the_token_is_not_carried_to_a_host_that_nobody_named() {
    let thief = Peer::start(vault).await;
    let target = format!("location: {}/v1/database/creds/app\r\n", thief.address);
    let header: &'static str = target.leak();
    let leader = format!(r#"{{"ha_enabled":true,"leader_address":"{}"}}"#, "https://leader.internal:8200");
    let peer = Peer::start(move |request| match request {
        line if line.starts_with("GET /v1/sys/leader") => ok(&leader),
        line if line.starts_with("GET /v1/database") => Answer::Say(307, header, String::new()),
        other => vault(other),
    })
    .await;
    let told = misconfigured(source(settings(&peer.address, token_auth("hvs.given"))).issue().await);
    assert!(told.contains("redirects") && told.contains("sys/leader"), "{told}");
    assert!(thief.requests().is_empty());
    let asked: Vec<_> = peer.requests().into_iter().filter(|r| r.contains("/sys/leader ")).collect();
    assert!(asked.len() == 1 && !asked[0].to_ascii_lowercase().contains("x-vault-token"), "{asked:?}");
}

#[tokio::test]
async fn the_leader_that_vault_announces_is_followed_once() {
    let leader = Peer::start(vault).await;
    let announced = format!(r#"{{"ha_enabled":true,"leader_address":"{}"}}"#, leader.address);
    let header: &'static str = format!("location: {}/v1/database/creds/app\r\n", leader.address).leak();
    let standby = Peer::start(move |request| match request {
        line if line.starts_with("GET /v1/sys/leader") => ok(&announced),
        line if line.starts_with("GET /v1/database") => Answer::Say(307, header, String::new()),
        other => vault(other),
    })
    .await;
    let issued = source(settings(&standby.address, token_auth("hvs.given"))).issue().await.unwrap();
    assert_eq!(issued.term.lease, Duration::from_secs(60));
    let seen = leader.requests();
    assert!(seen.len() == 1 && seen[0].contains("x-vault-token: hvs.given"), "{seen:?}");

    let again: &'static str = "location: /v1/database/creds/app\r\n";
    let circle = Peer::start(move |request| match request {
        line if line.starts_with("GET /v1/database") => Answer::Say(308, again, String::new()),
        other => vault(other),
    })
    .await;
    let told = unavailable(source(settings(&circle.address, token_auth("t"))).issue().await);
    assert!(told.contains("twice"), "{told}");
    for status in [301, 302, 303] {
        let peer = Peer::start(move |_| Answer::Say(status, "location: /v1/x\r\n", String::new())).await;
        misconfigured(source(settings(&peer.address, token_auth("t"))).issue().await);
    }
}

#[tokio::test]
async fn every_kind_of_answer_has_its_meaning_and_none_shows_a_secret() {
    let login_again = Peer::start(|request| match request {
        line if line.contains("/creds/") => {
            Answer::Say(429, "retry-after: 7\r\n", r#"{"errors":["quota"]}"#.into())
        }
        other => vault(other),
    })
    .await;
    let refused = source(approle(&login_again.address)).issue().await;
    let Err(SourceError::Unavailable { retry_after, .. }) = &refused else { panic!("{:?}", refused.err()) };
    assert_eq!(*retry_after, Some(Duration::from_secs(7)));
    assert!(login_again.requests().last().unwrap().contains("revoke-self"), "the login was left behind");

    let secret_page = "<html>hvs.given the-password</html>";
    type Table = (u16, &'static str, fn(Result<leasehold::credentials::Issued, SourceError>) -> String);
    let table: [Table; 9] = [
        (473, "", unavailable),
        (472, "", unavailable),
        (502, secret_page, unavailable),
        (501, "", misconfigured),
        (404, secret_page, misconfigured),
        (200, secret_page, misconfigured),
        (200, "", misconfigured),
        (200, r#"{"data":{"username":"u","password":"the-password"},"lease_duration":0}"#, misconfigured),
        (200, r#"{"lease_id":"x","lease_duration":9,"data":{"username":"u","password":""}}"#, misconfigured),
    ];
    for (status, body, meaning) in table {
        let peer = Peer::start(move |request| match request {
            line if line.contains("/creds/") => Answer::Say(status, "", body.to_owned()),
            other => vault(other),
        })
        .await;
        let told = meaning(source(settings(&peer.address, token_auth("hvs.given"))).issue().await);
        assert!(!told.contains("hvs.given") && !told.contains("the-password"), "{told}");
    }

    // A gateway that repeats what it was sent.
    let echo = Peer::start(|request| {
        let said: String =
            request.chars().filter(|c| !matches!(c, '"' | '\\' | '{' | '}') && !c.is_control()).collect();
        Answer::Say(400, "", format!("{{\"errors\":[\"{said}\"]}}"))
    })
    .await;
    for settings in [approle(&echo.address), settings(&echo.address, token_auth("hvs.given"))] {
        let told = source(settings).issue().await.unwrap_err().to_string();
        assert!(told.contains("x-vault-request") && !told.contains("hvs.given"), "{told}");
        assert!(!told.contains("the-secret-id"), "{told}");
    }

    let endless = Peer::start(|_| ok(&"x".repeat(2 << 20))).await;
    assert!(
        misconfigured(source(settings(&endless.address, token_auth("t"))).issue().await).contains("1 MiB")
    );

    // An older Vault says only "permission denied": lookup-self tells which one it is.
    for (lookup, words) in [(403, "dead"), (200, "capabilities")] {
        let peer = Peer::start(move |request| match request {
            line if line.contains("lookup-self") && lookup == 200 => ok(LOOKUP),
            line if line.contains("/login") => ok(LOGIN),
            line if line.contains("revoke-self") => Answer::Say(204, "", String::new()),
            _ => Answer::Say(403, "", r#"{"errors":["permission denied"]}"#.into()),
        })
        .await;
        let told = denied(source(approle(&peer.address)).issue().await);
        assert!(told.contains(words), "{told}");
    }

    let huge = Peer::start(|request| match request {
        line if line.contains("/creds/") => ok(&CREDS.replace("60", &u64::MAX.to_string())),
        other => vault(other),
    })
    .await;
    let issued = source(approle(&huge.address)).issue().await.unwrap();
    assert_eq!(Some(issued.term.end()), issued.term.token_end);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_before_any_call() {
    let with = |change: fn(&mut VaultSettings)| {
        let mut settings = approle("http://127.0.0.1:1");
        change(&mut settings);
        misconfigured(VaultSource::new(settings, PATH.into()))
    };
    assert!(with(|s| s.address = "vault:8200".into()).contains("vault.address"));
    assert!(with(|s| s.timeout = Duration::ZERO).contains("vault.timeout"));
    assert!(with(|s| s.namespace = "a\nb".into()).contains("vault.namespace"));
    let told = with(|s| s.auth = token_auth("hvs.a\nhvs.b"));
    assert!(told.contains("token") && !told.contains("hvs"), "{told}");
    for path in ["", "database/app", "database/static-creds/app"] {
        misconfigured(VaultSource::new(approle("http://127.0.0.1:1"), path.into()));
    }
}
