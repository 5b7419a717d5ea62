//! The table of what refusals mean.

use super::*;

#[derive(Debug, PartialEq)]
enum Kind {
    Unavailable,
    Denied,
    Misconfigured,
    Gone,
}

fn kind(error: &SourceError) -> Kind {
    match error {
        SourceError::Unavailable { .. } => Kind::Unavailable,
        SourceError::Denied { .. } => Kind::Denied,
        SourceError::Misconfigured { .. } => Kind::Misconfigured,
        SourceError::Gone { .. } => Kind::Gone,
    }
}

fn issue() -> Call {
    Call::Issue { path: "database/creds/app".into() }
}

fn login() -> Call {
    Call::Login { mount: "approle".into(), method: Method::AppRole }
}

#[test]
fn a_refusal_means_what_the_operator_has_to_do() {
    use Kind::{Denied, Gone, Misconfigured, Unavailable};
    let sealed = r#"{"errors":["Vault is sealed"]}"#;
    let denied = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
    let cases: &[(Call, u16, &str, Kind, &str)] = &[
        (issue(), 403, denied, Denied, r#"path "database/creds/app" { capabilities = ["read"] }"#),
        (issue(), 400, r#"{"errors":["unknown role: app"]}"#, Misconfigured, "no database role"),
        (issue(), 500, r#"{"errors":["unknown role: app"]}"#, Misconfigured, "no database role"),
        (
            issue(),
            404,
            r#"{"errors":["no handler for route \"database/creds/app\". route entry not found."]}"#,
            Misconfigured,
            "no secrets engine",
        ),
        (issue(), 500, r#"{"errors":["failed to connect: dial tcp: refused"]}"#, Unavailable, "refused"),
        (issue(), 503, sealed, Unavailable, "unseal"),
        (issue(), 502, "<html>bad gateway</html>", Unavailable, "no text of Vault's own"),
        (issue(), 501, "{}", Misconfigured, "initialise"),
        (
            issue(),
            429,
            r#"{"errors":["request path \"x\": rate limit quota exceeded"]}"#,
            Unavailable,
            "rate limit",
        ),
        (issue(), 473, "", Unavailable, "standby"),
        (issue(), 472, "", Unavailable, "standby"),
        (issue(), 412, "", Unavailable, "could not do"),
        (issue(), 404, "<html>not found</html>", Misconfigured, "vault.address"),
        (issue(), 405, r#"{"errors":["unsupported operation"]}"#, Misconfigured, "does not understand"),
        (
            login(),
            400,
            r#"{"errors":["invalid role or secret ID"]}"#,
            Denied,
            "lock the role id for 15 minutes",
        ),
        (login(), 403, r#"{"errors":["permission denied"]}"#, Denied, "secret id"),
        (
            login(),
            404,
            r#"{"errors":["no handler for route \"auth/approle/login\""]}"#,
            Misconfigured,
            "auth/approle",
        ),
        (login(), 503, sealed, Unavailable, "unseal"),
        (Call::RenewLease, 400, r#"{"errors":["lease not found"]}"#, Gone, "lease not found"),
        (Call::RenewLease, 400, r#"{"errors":["lease expired"]}"#, Gone, "lease expired"),
        (Call::RenewLease, 400, r#"{"errors":["lease is not renewable"]}"#, Gone, "not renewable"),
        (Call::RenewLease, 400, r#"{"errors":["failed to renew entry: deadlock"]}"#, Unavailable, "deadlock"),
        (Call::RenewLease, 403, denied, Denied, r#"path "sys/leases/renew" { capabilities = ["update"] }"#),
        (Call::RevokeLease, 400, r#"{"errors":["lease not found"]}"#, Gone, "lease not found"),
    ];
    for (call, status, body, expected, words) in cases {
        let error = classify(call, &Refusal::new(*status, body.as_bytes(), None));
        assert_eq!(kind(&error), *expected, "{call:?} {status} {body}");
        assert!(error.to_string().contains(words), "{error} lacks {words}");
        assert!(!error.to_string().contains("<html>"), "{error}");
    }
}

#[test]
fn retry_after_is_handed_on() {
    let wait = Some(Duration::from_secs(9));
    let error = classify(&issue(), &Refusal::new(429, b"", wait));
    assert!(matches!(error, SourceError::Unavailable { retry_after, .. } if retry_after == wait));
}

#[test]
fn a_text_of_any_shape_becomes_one_short_line() {
    let body = serde_json::json!({ "errors": [format!("a\n\tb{}", "ü".repeat(1000))] }).to_string();
    let refusal = Refusal::new(500, body.as_bytes(), None);
    let said = refusal.said();
    assert!(
        said.starts_with("status 500: a b") && said.chars().count() < 420 && !said.contains('\n'),
        "{said}"
    );
}

#[test]
fn only_vaults_own_words_tell_a_dead_token() {
    let dead = br#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#;
    assert!(Refusal::new(403, dead, None).names_a_dead_token());
    assert!(!Refusal::new(403, br#"{"errors":["permission denied"]}"#, None).names_a_dead_token());
    assert!(!Refusal::new(400, dead, None).names_a_dead_token());
}
