//! The calls that vaultrs lacks, and the answers of all calls.
//!
//! vaultrs 0.8 has no `sys/leases`, and its answer types drop the lease or
//! hold it in 32 bits. <https://developer.hashicorp.com/vault/api-docs/system/leases>

use rustify::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use rustify::errors::ClientError;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// `PUT sys/leases/renew`; without an increment the role's default counts.
#[derive(Serialize)]
pub(super) struct RenewLease<'a> {
    pub(super) lease_id: &'a str,
}

impl Endpoint for RenewLease<'_> {
    type Response = IgnoredAny;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        "sys/leases/renew".to_owned()
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::PUT
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        rustify::http::build_body(self, Self::REQUEST_BODY_TYPE).map(Some)
    }
}

/// `PUT sys/leases/revoke`, not `sync`: Vault queues the revocation and repeats
/// it by itself while PostgreSQL is down.
#[derive(Serialize)]
pub(super) struct RevokeLease<'a> {
    pub(super) lease_id: &'a str,
}

impl Endpoint for RevokeLease<'_> {
    type Response = IgnoredAny;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        "sys/leases/revoke".to_owned()
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::PUT
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        rustify::http::build_body(self, Self::REQUEST_BODY_TYPE).map(Some)
    }
}

/// `auth/token/lookup-self`, `renew-self`, `revoke-self`. vaultrs has them, but
/// with a tab in front of two of the paths.
pub(super) enum TokenSelf {
    Lookup,
    Renew,
    Revoke,
}

impl Endpoint for TokenSelf {
    type Response = IgnoredAny;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        match self {
            Self::Lookup => "auth/token/lookup-self",
            Self::Renew => "auth/token/renew-self",
            Self::Revoke => "auth/token/revoke-self",
        }
        .to_owned()
    }

    fn method(&self) -> RequestMethod {
        match self {
            Self::Lookup => RequestMethod::GET,
            Self::Renew | Self::Revoke => RequestMethod::POST,
        }
    }
}

/// `POST auth/MOUNT/login`, for every method. No `Debug`: the body holds a secret.
pub(super) struct PostLogin {
    pub(super) path: String,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Endpoint for PostLogin {
    type Response = IgnoredAny;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::POST
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        Ok(Some(Vec::clone(&self.body)))
    }
}

/// `POST sys/wrapping/unwrap` with the wrapping token itself.
pub(super) struct Unwrap;

impl Endpoint for Unwrap {
    type Response = IgnoredAny;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        "sys/wrapping/unwrap".to_owned()
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::POST
    }
}

/// What was wrapped.
#[derive(Deserialize)]
pub(super) struct SecretIdData {
    #[serde(deserialize_with = "secret")]
    pub(super) secret_id: Secret,
}

/// What Vault wraps every answer in. No `Debug`: it holds secrets.
#[derive(Deserialize)]
pub(super) struct Reply<T> {
    #[serde(default)]
    pub(super) lease_id: String,
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
    #[serde(default = "none")]
    pub(super) data: Option<T>,
    #[serde(default)]
    pub(super) auth: Option<Auth>,
}

fn none<T>() -> Option<T> {
    None
}

/// The part of an answer that grants or extends a token.
#[derive(Deserialize)]
pub(super) struct Auth {
    #[serde(deserialize_with = "secret")]
    pub(super) client_token: Secret,
    #[serde(default)]
    pub(super) lease_duration: u64,
    /// How many calls it is good for; 0: any number.
    #[serde(default)]
    pub(super) num_uses: i64,
}

/// The part of `auth/token/lookup-self` that matters here.
#[derive(Deserialize)]
pub(super) struct TokenData {
    #[serde(default)]
    pub(super) ttl: u64,
    #[serde(default)]
    pub(super) renewable: Option<bool>,
    /// How many calls are left after this one; 0: any number.
    #[serde(default)]
    pub(super) num_uses: i64,
    /// Null for a token that never ends.
    #[serde(default)]
    pub(super) expire_time: Option<String>,
}

/// A text that is wiped when it is dropped.
pub(super) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}
