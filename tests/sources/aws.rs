//! The `aws` login at a real Vault; a scripted peer stands for AWS. It checks the signature of what Vault
//! sends on by the steps of the manual, with other code than what made it.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::fmt::Write as _;

use ring::{digest, hmac};
use serde_json::json;

use crate::logins::{PATIENCE, SHORT, config, each_user_has_a_login_of_its_own_with, mount, user_after};
use crate::or_skip;
use crate::peer::{Answer, Peer, ok};
use crate::shop::Shop;
use crate::support::{Leasehold, wait_until};

/// Keys that the peer knows: id, secret, session token.
const KEYS: &[(&str, &str, Option<&str>)] = &[
    ("AKIDENVIRONMENT", "environment/secret+", None),
    ("AKIDFILE", "file/secret", Some("file/session==")),
    ("ASIAPOD", "pod/secret", Some("pod/session+token/=")),
    ("ASIAMACHINE", "machine/secret", Some("machine/session==")),
];

const CALLER: &str = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
    <GetCallerIdentityResult><Arn>arn:aws:sts::123456789012:assumed-role/leasehold/here</Arn>\
    <UserId>AROAEXAMPLE:here</UserId><Account>123456789012</Account></GetCallerIdentityResult>\
    <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>";

/// What nothing else than the test may set, and no home with keys in it.
fn variables<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let unset = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_PROFILE",
        "AWS_EC2_METADATA_DISABLED",
    ];
    let mut all: Vec<_> = unset.iter().map(|name| (*name, "")).collect();
    all.push(("HOME", "/nonexistent"));
    all.extend(more);
    all
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let lines = request.split("\r\n\r\n").next()?.lines().skip(1);
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.trim())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// The parts of the Authorization header: `Credential`, `SignedHeaders`, `Signature`.
fn part<'a>(authorization: &'a str, name: &str) -> &'a str {
    let parts = authorization.strip_prefix("AWS4-HMAC-SHA256 ").unwrap().split(", ");
    parts.filter_map(|part| part.split_once('=')).find(|(n, _)| *n == name).unwrap().1
}

/// Whether the request was signed with the secret of the key that it names.
fn is_signed(request: &str) -> bool {
    let authorization = header(request, "authorization").unwrap();
    let credential: Vec<&str> = part(authorization, "Credential").split('/').collect();
    let [id, day, region, "sts", "aws4_request"] = credential[..] else { return false };
    let Some((_, secret, token)) = KEYS.iter().find(|(known, ..)| *known == id) else { return false };
    let signed = part(authorization, "SignedHeaders");
    let canonical: String =
        signed.split(';').map(|name| format!("{name}:{}\n", header(request, name).unwrap())).collect();
    let body = request.split_once("\r\n\r\n").unwrap().1;
    let sha = |text: &str| hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    let canonical = format!("POST\n/\n\n{canonical}\n{signed}\n{}", sha(body));
    let date = header(request, "x-amz-date").unwrap();
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{day}/{region}/sts/aws4_request\n{}", sha(&canonical));
    let key = [region, "sts", "aws4_request"]
        .iter()
        .fold(mac(format!("AWS4{secret}").as_bytes(), day), |key, text| mac(&key, text));
    hex(&mac(&key, &to_sign)) == part(authorization, "Signature")
        && header(request, "x-amz-security-token") == *token
        && header(request, "host") == Some(&format!("sts.{region}.amazonaws.com"))
        && body == "Action=GetCallerIdentity&Version=2011-06-15"
}

const XML: &str = "content-type: text/xml\r\n";

/// STS and the metadata service of a machine.
fn aws(request: &str) -> Answer {
    let line = request.lines().next().unwrap_or_default();
    let machine = "machine-token";
    let knows_machine = header(request, "x-aws-ec2-metadata-token") == Some(machine);
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["POST", _, _] if request.contains("Action=AssumeRoleWithWebIdentity") => {
            let right = request.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fleasehold")
                && request.contains("WebIdentityToken=pod.web.token")
                && header(request, "authorization").is_none();
            if !right {
                let code = "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>";
                return Answer::Say(400, XML, code.to_owned());
            }
            let (id, secret, token) = KEYS[2];
            Answer::Say(
                200,
                XML,
                format!(
                    "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                     <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
                     <SessionToken>{}</SessionToken></Credentials></AssumeRoleWithWebIdentityResult>\
                     </AssumeRoleWithWebIdentityResponse>",
                    token.unwrap()
                ),
            )
        }
        ["POST", _, _] if is_signed(request) => Answer::Say(200, XML, CALLER.to_owned()),
        ["POST", _, _] => {
            // STS repeats what it was to sign, the session token included.
            let token = header(request, "x-amz-security-token").unwrap_or_default();
            let error = format!(
                "<Error><Code>SignatureDoesNotMatch</Code><Message>x-amz-security-token:{token}</Message></Error>"
            );
            Answer::Say(403, XML, error)
        }
        ["PUT", "/latest/api/token", _]
            if header(request, "x-aws-ec2-metadata-token-ttl-seconds").is_some() =>
        {
            ok(machine)
        }
        ["GET", "/latest/meta-data/iam/security-credentials/", _] if knows_machine => ok("leasehold"),
        ["GET", "/latest/meta-data/iam/security-credentials/leasehold", _] if knows_machine => {
            let (id, secret, token) = KEYS[3];
            let keys =
                json!({"Code": "Success", "AccessKeyId": id, "SecretAccessKey": secret, "Token": token});
            ok(&keys.to_string())
        }
        _ => Answer::Say(401, "", String::new()),
    }
}

async fn mount_aws(shop: &Shop, peer: &Peer, region: &str) {
    let client = json!({
        "sts_endpoint": peer.address, "sts_region": region, "iam_server_id_header_value": "vault.shop.example",
    });
    let role = json!({
        "auth_type": "iam", "bound_iam_principal_arn": "arn:aws:iam::123456789012:role/leasehold",
        "resolve_aws_unique_ids": false, "token_policies": "leasehold", "token_ttl": "20s",
    });
    mount(shop, "aws", &[("config/client", client), ("role/shop", role)]).await;
}

const AUTH: &str = "method = \"aws\"\nrole = \"shop\"\nserver_id = \"vault.shop.example\"";

#[tokio::test]
async fn keys_of_aws_sign_a_login() {
    let shop = or_skip!(Shop::open(SHORT).await);
    let peer = Peer::start(aws).await;
    mount_aws(&shop, &peer, "eu-central-1").await;
    let (id, secret, _) = KEYS[0];
    let keys = variables(&[("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)]);
    let auth = format!("{AUTH}\nregion = \"eu-central-1\"");
    each_user_has_a_login_of_its_own_with(&shop, "", &auth, &keys).await;
    let requests = peer.requests();
    let signed = |request: &String| {
        is_signed(request)
            && header(request, "x-vault-aws-iam-server-id") == Some("vault.shop.example")
            && header(request, "authorization").unwrap().contains(";x-vault-aws-iam-server-id,")
            && header(request, "host") == Some("sts.eu-central-1.amazonaws.com")
    };
    assert!(requests.len() >= 2 && requests.iter().all(signed), "{requests:?}");
}

#[tokio::test]
async fn aws_keys_are_found_where_its_own_tools_find_them() {
    let shop = or_skip!(Shop::open(SHORT).await);
    let peer = Peer::start(aws).await;
    mount_aws(&shop, &peer, "us-east-1").await;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (file, token) = (path("credentials"), path("token"));
    let (id, secret, session) = KEYS[1];
    let keys = format!(
        "[default]\naws_access_key_id = X\naws_secret_access_key = x\n[shop]\naws_access_key_id = {id}\n\
         aws_secret_access_key = {secret}\naws_session_token = {}\n",
        session.unwrap()
    );
    std::fs::write(&file, keys).unwrap();
    std::fs::write(&token, "pod.web.token\n").unwrap();
    let places: &[(&str, &[(&str, &str)])] = &[
        (id, &[("AWS_SHARED_CREDENTIALS_FILE", &file), ("AWS_PROFILE", "shop")]),
        (
            KEYS[2].0,
            &[
                ("AWS_WEB_IDENTITY_TOKEN_FILE", &token),
                ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/leasehold"),
                ("AWS_ENDPOINT_URL_STS", &peer.address),
            ],
        ),
        (KEYS[3].0, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &peer.address)]),
    ];
    for (id, place) in places {
        let mut proxy = Leasehold::run_with(&config(&shop, "", AUTH), &variables(place)).await;
        user_after(&proxy, "").await;
        assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
        assert!(shop.no_user_remains().await, "{}", proxy.log_text());
        assert!(
            peer.requests().iter().any(|request| {
                header(request, "authorization").is_some_and(|signed| signed.contains(id))
            })
        );
        for (_, secret, token) in KEYS {
            let told = proxy.log_text();
            assert!(!told.contains(secret) && !token.is_some_and(|token| told.contains(token)), "{told}");
        }
    }
}

#[tokio::test]
async fn a_wrong_server_id_or_signature_is_told_and_no_secret_with_it() {
    let shop = or_skip!(Shop::open(SHORT).await);
    let peer = Peer::start(aws).await;
    mount_aws(&shop, &peer, "us-east-1").await;
    let (id, _, session) = KEYS[1];
    let session = session.unwrap();
    let keys = [
        ("AWS_ACCESS_KEY_ID", id),
        ("AWS_SECRET_ACCESS_KEY", "another/secret"),
        ("AWS_SESSION_TOKEN", session),
        ("RUST_LOG", "trace"),
    ];
    let other = AUTH.replace("vault.shop", "another");
    for (auth, words) in [
        (other.as_str(), &["another.example", "vault.shop.example", "vault.auth.server_id"][..]),
        (AUTH, &["SignatureDoesNotMatch", "x-amz-security-token:…", "vault.auth.region"][..]),
    ] {
        let config = format!("{}\n[log]\nfilter = \"trace\"\n", config(&shop, "", auth));
        let mut proxy = Leasehold::run_with(&config, &variables(&keys)).await;
        let told = async || words.iter().all(|word| proxy.log_text().contains(word));
        assert!(wait_until(PATIENCE, told).await, "{}", proxy.log_text());
        let log = proxy.log_text();
        assert!(log.contains("vault refused the login at auth/aws/login"), "{log}");
        assert!(!log.contains("another/secret") && !log.contains(session), "{log}");
        proxy.terminate().await;
    }
    // The wrong server id came no further than Vault.
    let sent = peer.requests();
    assert!(sent.iter().all(|request| !request.contains("another.example")), "{sent:?}");
}
