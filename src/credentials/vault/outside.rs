//! HTTP to those who vouch for us at Vault: metadata services and STS.
//!
//! Bounded in time and size; no redirect is followed and no proxy used, so that what
//! they give comes from where it was asked for.

use std::time::Duration;

use http::Method;
use zeroize::Zeroizing;

use super::client::deepest;
use crate::credentials::SourceError;
use crate::credentials::tls::client_config;
use crate::net::{TlsCheck, TlsRoots};

/// No key, token or description of a machine comes near it.
const LARGEST_ANSWER: usize = 1 << 18;

/// A service on the machine's own link answers at once, or is not there.
const CONNECT: Duration = Duration::from_secs(5);

/// What is asked for. No `Debug`: it holds secrets.
pub(super) struct Question<'a> {
    /// For messages: who is asked.
    pub(super) who: &'a str,
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) form: Option<&'a str>,
}

/// A status and a body, which is wiped when it is dropped.
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Asks them.
pub(super) struct Outside {
    http: reqwest::Client,
}

impl Outside {
    /// `timeout` bounds one question.
    pub(super) fn new(timeout: Duration) -> Result<Self, String> {
        let mut tls = client_config(TlsRoots::default(), &TlsCheck::Name(None), None)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(timeout)
            .connect_timeout(timeout.min(CONNECT))
            .pool_max_idle_per_host(0)
            .user_agent(concat!("leasehold/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| format!("cannot set the HTTP client up: {}", deepest(&e)))?;
        Ok(Self { http })
    }

    /// One question, whatever the status of the answer. Cancel safe.
    pub(super) async fn ask(&self, question: Question<'_>) -> Result<Said, SourceError> {
        let who = question.who;
        let mut request = self.http.request(question.method, question.url);
        for (name, value) in question.headers {
            request = request.header(*name, *value);
        }
        if let Some(form) = question.form {
            request = request.header("content-type", FORM).body(form.to_owned());
        }
        let unreached = |error: &reqwest::Error| {
            let why = if error.is_timeout() { "no answer in time".to_owned() } else { deepest(error) };
            SourceError::Unavailable {
                message: format!("{who} cannot be reached ({why}); the login at vault needs it"),
                retry_after: None,
            }
        };
        let mut answer = request.send().await.map_err(|e| unreached(&e))?;
        let status = answer.status().as_u16();
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = answer.chunk().await.map_err(|e| unreached(&e))? {
            if body.len().saturating_add(chunk.len()) > LARGEST_ANSWER {
                return Err(SourceError::Misconfigured {
                    message: format!("{who} answers with more than 256 KiB; is it what it should be?"),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Said { status, body })
    }

    /// One question, and the text of the answer if it is a success.
    ///
    /// `why` is what may be wrong if it is none; empty, or beginning with a blank.
    pub(super) async fn text(
        &self,
        question: Question<'_>,
        why: &str,
    ) -> Result<Zeroizing<String>, SourceError> {
        let who = question.who.to_owned();
        let said = self.ask(question).await?;
        if !(200..300).contains(&said.status) {
            return Err(refused(&who, said.status, why));
        }
        match std::str::from_utf8(&said.body) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(misfit(&who)),
        }
    }
}

pub(super) const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// An answer that is no success. `why` is empty or begins with a blank.
pub(super) fn refused(who: &str, status: u16, why: &str) -> SourceError {
    let message = format!("{who} answers with status {status}{why}; the login at vault needs it");
    match status {
        408 | 429 | 500..=599 => SourceError::Unavailable { message, retry_after: None },
        400 | 401 | 403 => SourceError::Denied { message },
        _ => SourceError::Misconfigured { message },
    }
}

/// A success that holds something else than was asked for.
pub(super) fn misfit(who: &str) -> SourceError {
    SourceError::Misconfigured {
        message: format!("{who} answers with something else than what the login at vault needs"),
    }
}
