//! One HTTP call to Vault: the address with its prefix, the headers, TLS, the
//! bound in time and size, and the one redirect that may be followed.
//!
//! vaultrs' endpoints run on a transport of our own, because the one that
//! comes with it follows redirects with the token, drops response headers, puts
//! the API version in front of a path prefix and reads settings from the
//! environment. HTTP proxies from the environment are not used either.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use rustify::errors::ClientError;
use rustify::{Endpoint, MiddleWare};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::errors::{Call, Refusal, classify};
use super::operation::{operation, status};
use super::redirect::{Verdict, judge, same_origin};
use crate::clock::Moment;
use crate::credentials::counts::{Calls, OK};
use crate::credentials::tls::{Identity, client_config};
use crate::credentials::{SourceError, VaultSettings};
use crate::net::{TlsCheck, TlsRoots};
use crate::secret::Secret;

/// No answer that is asked for here comes near it.
const LARGEST_ANSWER: usize = 1 << 20;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Vault answered, but not with success.
    #[error("{0}")]
    Refused(Refusal),
    /// No answer, or none in time.
    #[error("{0}")]
    Unreached(String),
    /// What has to be changed by an operator: a certificate, a redirect, an answer that is not Vault's.
    #[error("{0}")]
    Wrong(String),
}

impl Failure {
    /// Whatever the other side repeats of what it was sent, a secret is not passed on.
    pub(super) fn without(mut self, secret: &Secret) -> Self {
        let text = secret.expose().trim();
        if let Self::Refused(refusal) = &mut self
            && !text.is_empty()
            && refusal.text.contains(text)
        {
            refusal.text = refusal.text.replace(text, "…");
        }
        self
    }

    /// How the call ended, in a word: `none` without an answer, `foreign` where it was none of Vault's.
    fn word(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => status(refusal.status),
            Self::Unreached(_) => "none",
            Self::Wrong(_) => "foreign",
        }
    }

    /// What the keeper shall think of it.
    pub(super) fn into_error(self, call: &Call) -> SourceError {
        match self {
            Self::Refused(refusal) => classify(call, &refusal),
            Self::Unreached(message) => SourceError::Unavailable { message, retry_after: None },
            Self::Wrong(message) => SourceError::Misconfigured { message },
        }
    }
}

/// Calls Vault; knows no token by itself.
pub(super) struct Client {
    transport: Transport,
    namespace: Option<HeaderValue>,
    prefix: String,
    calls: Arc<Calls>,
}

impl Client {
    /// Checks every setting that can be checked without asking Vault, and reads the certificates.
    pub(super) fn new(settings: &VaultSettings) -> Result<Self, String> {
        let address = parse_address(&settings.address)?;
        let namespace =
            match settings.namespace.trim().trim_matches('/') {
                "" => None,
                text => Some(HeaderValue::from_str(text).map_err(|_| {
                    "vault.namespace holds a character that no HTTP header may hold".to_owned()
                })?),
            };
        if settings.timeout.is_zero() {
            return Err(
                "vault.timeout is 0: a Vault that hangs would stall every rotation; set e.g. \"10s\"".into(),
            );
        }
        let prefix = format!("{}/v1", address.path().trim_end_matches('/'));
        let http = http_client(settings)?;
        let mut base = address.clone();
        base.set_path("/");
        Ok(Self {
            transport: Transport {
                http,
                base: base.into(),
                address,
                prefix: prefix.clone(),
                timeout: settings.timeout,
            },
            namespace,
            prefix,
            calls: Arc::default(),
        })
    }

    /// The address for messages.
    pub(super) fn address(&self) -> &Url {
        &self.transport.address
    }

    /// What was asked so far.
    pub(super) fn calls(&self) -> Arc<Calls> {
        Arc::clone(&self.calls)
    }

    /// One call; the answer's body is wiped when it is dropped. Cancel safe.
    pub(super) async fn call<E: Endpoint>(
        &self,
        secret: Option<&Secret>,
        endpoint: E,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let token = secret.map(header_of_token).transpose().map_err(Failure::Wrong)?;
        let dressing = Dressing { prefix: &self.prefix, token, namespace: self.namespace.clone() };
        let (operation, sent) = (operation(&endpoint.path()), Moment::now());
        let answer = self.exchange(secret, endpoint, &dressing).await;
        self.calls.count(operation, answer.as_ref().map_or_else(Failure::word, |_| OK), sent, Moment::now());
        answer
    }

    async fn exchange<E: Endpoint>(
        &self,
        secret: Option<&Secret>,
        endpoint: E,
        dressing: &Dressing<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        match endpoint.with_middleware(dressing).exec(&self.transport).await {
            Ok(result) => Ok(Zeroizing::new(result.response.into_body())),
            Err(ClientError::GenericError { source }) => {
                let failure = source.downcast::<Failure>().unwrap_or_else(|_| Failure::Wrong(unbuildable()));
                Err(match secret {
                    Some(secret) => failure.without(secret),
                    None => failure,
                })
            }
            // The other variants can hold bodies and are never printed.
            Err(_) => Err(Failure::Wrong(unbuildable())),
        }
    }
}

fn unbuildable() -> String {
    "the request to vault could not be built; check vault.address and credentials.path".to_owned()
}

/// A token as a header, or why it cannot be one. The text of the token is trimmed.
pub(super) fn header_of_token(token: &Secret) -> Result<HeaderValue, String> {
    let text = token.expose().trim();
    if text.is_empty() {
        return Err("the vault token is empty".to_owned());
    }
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        "the vault token holds a line break or another character that no HTTP header may hold".to_owned()
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn parse_address(text: &str) -> Result<Url, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("vault.address is not set; set it or VAULT_ADDR".to_owned());
    }
    let url = Url::parse(text)
        .map_err(|e| format!("vault.address is no URL ({e}); write e.g. https://vault:8200"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("vault.address begins with {}:, only https: and http: are known", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("vault.address names no host".to_owned());
    }
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err("vault.address may hold scheme, host, port and a path prefix, nothing else".to_owned());
    }
    Ok(url)
}

fn http_client(settings: &VaultSettings) -> Result<reqwest::Client, String> {
    // Of several the first one counts, as in Vault's own client.
    let roots = match (&settings.ca_file, &settings.ca_bytes, &settings.ca_path) {
        (Some(file), _, _) => TlsRoots::from_file(file).map_err(|e| format!("vault.ca_file: {e}"))?,
        (None, Some(text), _) => {
            TlsRoots::from_pem(text.as_bytes()).map_err(|e| format!("VAULT_CACERT_BYTES: {e}"))?
        }
        (None, None, Some(directory)) => {
            TlsRoots::from_directory(directory).map_err(|e| format!("vault.ca_path: {e}"))?
        }
        (None, None, None) => TlsRoots::default(),
    };
    let check = match (&settings.tls_server_name, settings.skip_verify) {
        (_, true) => TlsCheck::Nothing,
        (Some(name), false) => TlsCheck::Name(Some(name.clone())),
        (None, false) => TlsCheck::Name(None),
    };
    let identity = match (&settings.client_cert, &settings.client_key) {
        (Some(cert), Some(key)) => Some(Identity::from_files(cert, key)?),
        (None, None) => None,
        _ => return Err("vault.client_cert and vault.client_key go together; one is missing".to_owned()),
    };
    let mut tls = client_config(roots, &check, identity)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(settings.timeout)
        .connect_timeout(settings.timeout)
        .pool_idle_timeout(Duration::from_secs(10))
        .user_agent(concat!("leasehold/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| format!("cannot set the HTTP client up: {}", deepest(&e)))
}

/// Puts the API version behind the address's prefix, and the headers on.
struct Dressing<'a> {
    prefix: &'a str,
    token: Option<HeaderValue>,
    namespace: Option<HeaderValue>,
}

impl MiddleWare for Dressing<'_> {
    fn request<E: Endpoint>(&self, _: &E, request: &mut Request<Vec<u8>>) -> Result<(), ClientError> {
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let path = format!("{}{path}", self.prefix);
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query =
            Some(PathAndQuery::try_from(path).map_err(|e| ClientError::UrlBuildError { source: e })?);
        *request.uri_mut() =
            Uri::from_parts(parts).map_err(|e| ClientError::GenericError { source: e.into() })?;
        let has_body = !request.body().is_empty();
        let headers = request.headers_mut();
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(token) = &self.token {
            headers.insert(TOKEN, token.clone());
        }
        if let Some(namespace) = &self.namespace {
            headers.insert(NAMESPACE, namespace.clone());
        }
        Ok(())
    }

    fn response<E: Endpoint>(&self, _: &E, _: &mut Response<Vec<u8>>) -> Result<(), ClientError> {
        Ok(())
    }
}

/// What rustify runs its endpoints on.
struct Transport {
    http: reqwest::Client,
    /// Scheme, host and port.
    base: String,
    address: Url,
    prefix: String,
    timeout: Duration,
}

#[async_trait]
impl rustify::client::Client for Transport {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        self.answer(request).await.map_err(|failure| ClientError::GenericError { source: failure.into() })
    }

    fn base(&self) -> &str {
        &self.base
    }

    /// The provided method would drop the headers of a refusal.
    async fn execute(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        self.send(request).await
    }
}

impl Transport {
    async fn answer(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Failure> {
        let request = reqwest::Request::try_from(request).map_err(|_| Failure::Wrong(unbuildable()))?;
        let again = request.try_clone();
        let mut answer = self.http.execute(request).await.map_err(|e| self.unreached(&e))?;
        if answer.status().is_redirection() {
            let target = self.follow(&answer).await?;
            let mut again = again.ok_or_else(|| Failure::Wrong(unbuildable()))?;
            *again.url_mut() = target;
            answer = self.http.execute(again).await.map_err(|e| self.unreached(&e))?;
            if answer.status().is_redirection() {
                return Err(Failure::Unreached(format!(
                    "vault at {} redirects twice; it may be electing a leader",
                    self.address
                )));
            }
        }
        let status = answer.status();
        let retry_after = retry_after(answer.headers());
        let body = self.body(answer).await?;
        if !status.is_success() {
            return Err(Failure::Refused(Refusal::new(status.as_u16(), &body, retry_after)));
        }
        let mut response = Response::new(Vec::clone(&body));
        *response.status_mut() = status;
        Ok(response)
    }

    async fn body(&self, mut answer: reqwest::Response) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = answer.chunk().await.map_err(|e| self.unreached(&e))? {
            if body.len().saturating_add(chunk.len()) > LARGEST_ANSWER {
                return Err(Failure::Wrong(format!(
                    "the answer of {} is larger than 1 MiB; is it a Vault?",
                    self.address
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Where a redirect may be followed to, or why it is not.
    async fn follow(&self, answer: &reqwest::Response) -> Result<Url, Failure> {
        let status = answer.status().as_u16();
        let refuse = |target: &str, why: &str| {
            Failure::Wrong(format!(
                "vault at {} redirects ({status}) to {target}, and the token is not sent there: {why}; \
                 point vault.address at the leader or correct its api_addr",
                self.address
            ))
        };
        let location = answer.headers().get(LOCATION).and_then(|l| l.to_str().ok());
        let Some(target) = location.and_then(|l| answer.url().join(l).ok()) else {
            return Err(refuse("nowhere", "the Location header is missing or is no URL"));
        };
        let shown = format!("{}://{}", target.scheme(), target.host_str().unwrap_or_default());
        if !matches!(status, 307 | 308) {
            return Err(refuse(&shown, "only 307 and 308 keep the request as it is"));
        }
        match judge(&self.address, &target) {
            Verdict::Follow => Ok(target),
            Verdict::Refuse(why) => Err(refuse(&shown, why)),
            Verdict::AskLeader => match self.leader().await {
                Some(leader) if same_origin(&leader, &target) => Ok(target),
                _ => Err(refuse(&shown, "neither vault.address nor sys/leader names that host")),
            },
        }
    }

    /// What `sys/leader` says, asked without a token and without a redirect.
    async fn leader(&self) -> Option<Url> {
        #[derive(Deserialize)]
        struct Leader {
            leader_address: String,
        }
        let mut url = self.address.clone();
        url.set_path(&format!("{}/sys/leader", self.prefix));
        let answer = self.http.get(url).header(REQUEST, "true").send().await.ok()?;
        let body = self.body(answer).await.ok()?;
        let leader: Leader = serde_json::from_slice(&body).ok()?;
        Url::parse(&leader.leader_address).ok()
    }

    fn unreached(&self, error: &reqwest::Error) -> Failure {
        let address = &self.address;
        if error.is_timeout() {
            return Failure::Unreached(format!(
                "vault at {address} did not answer within {}; check the network and vault's load",
                humantime::format_duration(self.timeout)
            ));
        }
        let cause = deepest(error);
        if cause.contains("certificate") {
            return Failure::Wrong(format!(
                "the certificate of vault at {address} is refused ({cause}); set vault.ca_file or vault.tls_server_name"
            ));
        }
        Failure::Unreached(format!(
            "vault at {address} cannot be reached ({cause}); check vault.address and that it runs"
        ))
    }
}

/// Seconds only; a date would need a clock that the two sides share.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The innermost cause: the outer ones only say that a request failed.
pub(super) fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// A secret id from its file, read anew each time because somebody may have replaced it.
pub(super) async fn read_secret(path: &Path, what: &str) -> Result<Secret, String> {
    let text = tokio::fs::read_to_string(path)
        .await
        .map(Zeroizing::new)
        .map_err(|e| format!("cannot read {what} from {}: {e}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty; {what} belongs there", path.display())),
        trimmed => Ok(Secret::new(trimmed.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_base_url_and_nothing_else() {
        for good in
            ["https://vault:8200", "http://127.0.0.1:8200/", "https://host/prefix/vault/", " https://v "]
        {
            assert!(parse_address(good).is_ok(), "{good}");
        }
        for bad in
            ["", "vault:8200", "unix:///run/vault.sock", "https://u:p@vault", "https://vault/?x=1", "::"]
        {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_may_end_in_a_newline_but_not_hold_one() {
        assert!(header_of_token(&Secret::new("hvs.abc\n".into())).is_ok());
        assert!(header_of_token(&Secret::new("hvs.a\nbc".into())).is_err());
        assert!(header_of_token(&Secret::new(" \n".into())).is_err());
        let shown = format!("{:?}", header_of_token(&Secret::new("hvs.abc".into())));
        assert!(!shown.contains("hvs"), "{shown}");
    }

    #[test]
    fn retry_after_counts_in_seconds_only() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("Wed, 21 Oct 2015 07:28:00 GMT"));
        assert_eq!(retry_after(&headers), None);
    }
}
