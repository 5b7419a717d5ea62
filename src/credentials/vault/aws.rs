//! The IAM login: a signed `sts:GetCallerIdentity`, which Vault sends on to learn who signed it.
//!
//! <https://developer.hashicorp.com/vault/docs/auth/aws#iam-auth-method>;
//! signed by AWS Signature Version 4, so that the secret key itself goes nowhere.

use std::collections::BTreeMap;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::aws_keys::{Keys, find};
use super::client::Client;
use super::errors::Method;
use super::login::{Body, Door, log_in};
use super::outside::{FORM, Outside};
use super::token::Token;
use crate::credentials::{AwsSettings, SourceError};
use crate::secret::Secret;

const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";
const SERVER_ID: &str = "X-Vault-AWS-IAM-Server-ID";

/// Finds the keys, signs, and logs in.
pub(super) async fn log_in_by_iam(
    client: &Client,
    outside: &Outside,
    aws: &AwsSettings,
) -> Result<Token, SourceError> {
    let keys = find(&aws.keys, outside).await?;
    let url = format!("{}/", aws.sts());
    let headers = signed(aws, &keys, &url, SystemTime::now())
        .map_err(|message| SourceError::Misconfigured { message })?;
    let plain: BTreeMap<&str, &str> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let json = Zeroizing::new(serde_json::to_string(&plain).unwrap_or_default());
    let (url, form) = (STANDARD.encode(url), STANDARD.encode(BODY));
    let headers = Zeroizing::new(STANDARD.encode(json.as_bytes()));
    let body = Body {
        role: Some(&aws.role),
        iam_http_request_method: Some("POST"),
        iam_request_url: Some(&url),
        iam_request_body: Some(&form),
        iam_request_headers: Some(&headers),
        ..Body::default()
    };
    let door = Door { method: Method::Aws, mount: aws.mount.trim_matches('/'), name: None };
    // STS repeats all that was signed when it finds a signature wrong, and Vault repeats STS.
    let repeated = keys.session_token.unwrap_or_else(|| Secret::new(String::new()));
    log_in(client, &door, &body, &repeated).await
}

/// The headers of the request that Vault shall make. The host is the URL's.
fn signed(
    aws: &AwsSettings,
    keys: &Keys,
    url: &str,
    now: SystemTime,
) -> Result<BTreeMap<String, Zeroizing<String>>, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("the request to STS cannot be signed: {what}");
    let mut headers = vec![("Content-Type", FORM)];
    headers.extend(aws.server_id.as_deref().map(|id| (SERVER_ID, id)));
    let token = keys.session_token.as_ref().map(|token| token.expose().to_owned());
    let identity =
        Credentials::new(&keys.access_key_id, keys.secret_access_key.expose(), token, None, "leasehold")
            .into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(&aws.region)
        .name("sts")
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|e| wrong(&e))?
        .into();
    let body = SignableBody::Bytes(BODY.as_bytes());
    let request = SignableRequest::new("POST", url, headers.iter().copied(), body).map_err(|e| wrong(&e))?;
    let (instructions, _) = sign(request, &params).map_err(|e| wrong(&e))?.into_parts();
    let own = headers.iter().copied().chain(instructions.headers());
    Ok(own.map(|(name, value)| (name.to_owned(), Zeroizing::new(value.to_owned()))).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::credentials::AwsKeySource;

    #[test]
    fn the_server_id_and_the_session_token_are_signed_and_the_key_is_not_sent() {
        let aws = AwsSettings {
            mount: "aws".into(),
            role: "app".into(),
            region: "eu-central-1".into(),
            server_id: Some("vault.example.com".into()),
            keys: AwsKeySource::Instance { endpoint: String::new() },
        };
        let keys = Keys {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: Secret::new("wJalrXUtnFEMI".into()),
            session_token: Some(Secret::new("session".into())),
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        let url = format!("{}/", aws.sts());
        let headers = signed(&aws, &keys, &url, now).unwrap();
        let authorization = headers["authorization"].as_str();
        let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-central-1/sts/aws4_request, \
                     SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-vault-aws-iam-server-id, ";
        assert!(authorization.starts_with(scope), "{authorization}");
        assert_eq!(headers["x-amz-date"].as_str(), "20150830T123600Z");
        assert_eq!(headers[SERVER_ID].as_str(), "vault.example.com");
        assert!(!headers.values().any(|value| value.contains("wJalr")));
    }
}
