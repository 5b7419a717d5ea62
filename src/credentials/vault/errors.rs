//! From what Vault answered to what the keeper shall think of it.
//!
//! Sources: <https://developer.hashicorp.com/vault/api-docs#http-status-codes>
//! and what Vault 1.21 was seen to say.

use std::time::Duration;

use serde::Deserialize;

use crate::credentials::SourceError;

/// An answer that is not a success; never holds a body that is not Vault's own error list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.said())]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// Vault's error texts in one line, whole so that secrets can be found in it; empty if the body was something else.
    pub(super) text: String,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads the error list of a body and keeps nothing else of it.
    pub(super) fn new(status: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        #[derive(Deserialize)]
        struct Errors {
            #[serde(default)]
            errors: Vec<String>,
        }
        let text = serde_json::from_slice::<Errors>(body).map(|e| e.errors.join("; ")).unwrap_or_default();
        Self { status, text: text.split_whitespace().collect::<Vec<_>>().join(" "), retry_after }
    }

    /// 403 whose text says that the token itself is unknown (Vault 1.15 and newer).
    pub(super) fn names_a_dead_token(&self) -> bool {
        self.status == 403 && (self.text.contains("invalid token") || self.text.contains("bad token"))
    }

    /// The lease is not there any more.
    pub(super) fn says_the_lease_is_gone(&self) -> bool {
        ["lease not found", "lease expired", "lease is not found", "invalid lease"]
            .iter()
            .any(|said| self.text.contains(said))
    }

    /// For a message: one line, bounded.
    pub(super) fn said(&self) -> String {
        match shortened(&self.text).as_str() {
            "" => format!("status {}, no text of Vault's own", self.status),
            text => format!("status {}: {text}", self.status),
        }
    }
}

fn shortened(text: &str) -> String {
    const LIMIT: usize = 400;
    match text.char_indices().nth(LIMIT) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The ways to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    AppRole,
    Kubernetes,
    Jwt,
    Userpass,
    Cert,
    Aws,
    Gcp,
    Azure,
    Ldap,
}

impl Method {
    /// Why a login may be refused, in the words of the configuration and of Vault's roles.
    fn what_to_check(self) -> &'static str {
        match self {
            Self::AppRole => {
                "role_id, the secret id and its uses, ttl and CIDR bounds; \
                 five bad logins lock the role id for 15 minutes for everybody"
            }
            Self::Kubernetes => {
                "vault.auth.role, the service accounts, namespaces and audience that it is bound to, \
                 and whether Vault may review tokens (system:auth-delegator)"
            }
            Self::Jwt => {
                "vault.auth.role, and the end, issuer, audience and claims of the token in vault.auth.jwt_file"
            }
            Self::Userpass => {
                "vault.auth.username and the password; \
                 five bad logins lock the name for 15 minutes for everybody"
            }
            Self::Cert => {
                "whether a role at Vault trusts vault.client_cert, its names and its end, and vault.auth.name"
            }
            Self::Aws => {
                "vault.auth.role and the principals that it is bound to, vault.auth.server_id \
                 (iam_server_id_header_value at Vault), vault.auth.region (sts_region there), and this machine's clock"
            }
            Self::Gcp => "vault.auth.role, and the service accounts, projects and zones that it is bound to",
            Self::Azure => {
                "vault.auth.role, the subscriptions, groups and identities that it is bound to, and vault.auth.resource \
                 (resource at Vault)"
            }
            Self::Ldap => {
                "vault.auth.username and the password, and Vault's own configuration of the directory; \
                 five bad logins lock the name for 15 minutes for everybody"
            }
        }
    }
}

/// Which call was refused, for the words and for texts that mean different things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    /// `auth/<mount>/login`
    Login { mount: String, method: Method },
    /// `<mount>/creds/<role>`
    Issue { path: String },
    /// `sys/wrapping/unwrap`
    Unwrap,
    /// `sys/leases/renew`
    RenewLease,
    /// `sys/leases/revoke`
    RevokeLease,
    /// `auth/token/lookup-self`
    LookupSelf,
    /// `auth/token/renew-self`
    RenewSelf,
    /// `auth/token/revoke-self`
    RevokeSelf,
}

impl Call {
    /// The path below `/v1/`.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Login { mount, .. } => format!("auth/{mount}/login"),
            Self::Issue { path } => path.clone(),
            Self::Unwrap => "sys/wrapping/unwrap".to_owned(),
            Self::RenewLease => "sys/leases/renew".to_owned(),
            Self::RevokeLease => "sys/leases/revoke".to_owned(),
            Self::LookupSelf => "auth/token/lookup-self".to_owned(),
            Self::RenewSelf => "auth/token/renew-self".to_owned(),
            Self::RevokeSelf => "auth/token/revoke-self".to_owned(),
        }
    }

    /// The rule that a policy needs for it.
    pub(super) fn rule(&self) -> String {
        let capability = match self {
            Self::Issue { .. } | Self::LookupSelf => "read",
            _ => "update",
        };
        format!("path \"{}\" {{ capabilities = [\"{capability}\"] }}", self.path())
    }
}

/// The one place where a refusal gets its meaning.
///
/// A 403 is taken for a missing policy here; the caller that can ask
/// `lookup-self` tells a dead token from it first.
pub(super) fn classify(call: &Call, refusal: &Refusal) -> SourceError {
    if let Some(error) = by_its_words(call, refusal) {
        return error;
    }
    let (path, said) = (call.path(), refusal.said());
    match (call, refusal.status) {
        (Call::Login { method, .. }, 400 | 401 | 403) => SourceError::Denied {
            message: format!("vault refused the login at {path} ({said}); check {}", method.what_to_check()),
        },
        (Call::Unwrap, 400 | 401 | 403) => SourceError::Denied {
            message: format!(
                "vault will not unwrap the secret id ({said}): the wrapping token has ended or was used; if \
                 nobody of yours used it, treat the secret id as stolen; give a new wrapping token"
            ),
        },
        (_, 401 | 403) => SourceError::Denied {
            message: format!("vault denies {path} ({said}); add to the token's policy: {}", call.rule()),
        },
        (_, 503) if refusal.text.contains("sealed") => SourceError::Unavailable {
            message: format!("vault is sealed ({said}); unseal it"),
            retry_after: refusal.retry_after,
        },
        (_, 501) => SourceError::Misconfigured {
            message: format!("vault is not initialised ({said}); initialise it or check vault.address"),
        },
        (_, 429) => SourceError::Unavailable {
            message: format!("vault's rate limit or lease quota refuses {path} ({said}); it is tried again"),
            retry_after: refusal.retry_after,
        },
        (_, 472 | 473) => SourceError::Unavailable {
            message: format!(
                "this vault is a standby that does not forward {path} ({said}); point vault.address at the cluster"
            ),
            retry_after: refusal.retry_after,
        },
        (_, 408 | 412 | 425 | 500..=599) => SourceError::Unavailable {
            message: format!(
                "vault could not do {path} ({said}); look at vault's log and at the database behind it"
            ),
            retry_after: refusal.retry_after,
        },
        // Every failure of a renewal is 400: what is not known to be final is not final.
        (Call::RenewLease | Call::RevokeLease | Call::RenewSelf | Call::RevokeSelf, 400) => {
            SourceError::Unavailable {
                message: format!("vault could not do {path} ({said})"),
                retry_after: refusal.retry_after,
            }
        }
        _ => SourceError::Misconfigured {
            message: format!(
                "vault does not understand {path} ({said}); check vault.address and credentials.path"
            ),
        },
    }
}

/// What Vault says in so many words goes before its status.
fn by_its_words(call: &Call, refusal: &Refusal) -> Option<SourceError> {
    let (path, said, text) = (call.path(), refusal.said(), refusal.text.as_str());
    let lease = matches!(call, Call::RenewLease | Call::RevokeLease);
    if lease && (refusal.says_the_lease_is_gone() || text.contains("lease is not renewable")) {
        return Some(SourceError::Gone { message: format!("vault will not renew the lease ({said})") });
    }
    if text.contains("no handler for route") || text.contains("unsupported path") {
        let mount = path.split('/').next().unwrap_or_default();
        let what = match call {
            Call::Login { mount, .. } => {
                format!("no auth method is mounted at auth/{mount}; check vault.auth.mount")
            }
            _ => format!("no secrets engine serves {path}; check the mount ({mount}) and the namespace"),
        };
        return Some(SourceError::Misconfigured { message: format!("{what} ({said})") });
    }
    if text.contains("unknown role") {
        return Some(SourceError::Misconfigured {
            message: format!(
                "vault has no database role at {path}; create it or correct credentials.path ({said})"
            ),
        });
    }
    None
}

/// The token that was called with lives no more.
pub(super) fn dead_token(refusal: &Refusal) -> SourceError {
    let text = refusal.said();
    SourceError::Denied {
        message: format!("the vault token is dead: expired, revoked or never valid ({text}); give a new one"),
    }
}

/// The same, to a call about a lease of that token's.
pub(super) fn gone_with_token(refusal: &Refusal) -> SourceError {
    let text = refusal.said();
    SourceError::Gone { message: format!("the token of the lease has ended, and the lease with it ({text})") }
}

/// An answer that is not what Vault gives there.
pub(super) fn foreign(call: &Call, what: &str) -> SourceError {
    SourceError::Misconfigured {
        message: format!("{} answered with {what}; check vault.address and credentials.path", call.path()),
    }
}

#[cfg(test)]
#[path = "errors_tests.rs"]
mod tests;
