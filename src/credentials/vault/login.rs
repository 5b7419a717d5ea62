//! One login: what each method sends, and the token that comes of it.

use serde::Serialize;
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::client::{Client, header_of_token};
use super::endpoints::{PostLogin, Reply};
use super::errors::{Call, Method, foreign};
use super::token::{Token, end_after, lookup};
use crate::clock::Moment;
use crate::credentials::SourceError;
use crate::secret::Secret;

/// Where a login goes.
pub(super) struct Door<'a> {
    pub(super) method: Method,
    pub(super) mount: &'a str,
    /// What stands behind `login/`, for the methods that have a name there.
    pub(super) name: Option<&'a str>,
}

/// What a login sends; each method has its own fields. No `Debug`: it holds secrets.
#[derive(Default, Serialize)]
pub(super) struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iam_http_request_method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iam_request_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iam_request_body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iam_request_headers: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subscription_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource_group_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vm_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vmss_name: Option<&'a str>,
}

/// Logs in once. `secret` is the one in the body, which no message may repeat.
pub(super) async fn log_in(
    client: &Client,
    door: &Door<'_>,
    body: &Body<'_>,
    secret: &Secret,
) -> Result<Token, SourceError> {
    let call = Call::Login { mount: door.mount.to_owned(), method: door.method };
    let name = door.name.map(|name| format!("/{name}")).unwrap_or_default();
    let json = serde_json::to_vec(body).map_err(|_| foreign(&call, "no JSON"))?;
    let endpoint = PostLogin { path: format!("{}{name}", call.path()), body: Zeroizing::new(json) };
    let sent = Moment::now();
    let body =
        client.call(None, endpoint).await.map_err(|failure| failure.without(secret).into_error(&call))?;
    let reply: Reply<IgnoredAny> =
        serde_json::from_slice(&body).map_err(|_| foreign(&call, "no Vault answer"))?;
    let auth = reply.auth.ok_or_else(|| foreign(&call, "no token"))?;
    header_of_token(&auth.client_token).map_err(|_| foreign(&call, "a token that is none"))?;
    let mut token = Token {
        secret: auth.client_token,
        end: end_after(sent, auth.lease_duration),
        own: true,
        num_uses: auth.num_uses,
    };
    if token.end.is_none() && token.num_uses == 0 {
        token.end = lookup(client, &token.secret).await.ok().and_then(|known| known.end);
    }
    Ok(token)
}
