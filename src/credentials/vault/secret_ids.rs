//! Secret ids that do not last: wrapped ones, and those that are used up or have ended.

use std::sync::Mutex;

use super::client::Client;
use super::endpoints::{Reply, SecretIdData, Unwrap};
use super::errors::{Call, foreign};
use super::lock::lock;
use crate::credentials::SourceError;
use crate::secret::Secret;

/// What is known of the secret ids that were given so far.
#[derive(Default)]
pub(super) struct SecretIds {
    /// The wrapping token, and what was in it.
    unwrapped: Mutex<Option<(Secret, Secret)>>,
    last: Mutex<Option<LastLogin>>,
    /// Tokens that users shared until a new secret id came.
    replaced: Mutex<Vec<Secret>>,
}

struct LastLogin {
    /// The secret id as it was given, wrapped or not.
    given: Secret,
    token: Secret,
    /// Vault refused another login with it: the token is all there is.
    used_up: bool,
}

impl SecretIds {
    /// The token to share, if this secret id is known to be used up.
    pub(super) fn kept_for(&self, given: &Secret) -> Option<Secret> {
        let last = lock(&self.last);
        last.as_ref().filter(|last| last.used_up && last.given == *given).map(|last| last.token.clone())
    }

    /// Takes the secret id out of its wrapping, which can be done once. Not cancel safe: what is
    /// dropped with the answer is lost.
    pub(super) async fn unwrap(&self, client: &Client, wrapping: &Secret) -> Result<Secret, SourceError> {
        if let Some((known, secret_id)) = lock(&self.unwrapped).as_ref()
            && known == wrapping
        {
            return Ok(secret_id.clone());
        }
        let body =
            client.call(Some(wrapping), Unwrap).await.map_err(|failure| failure.into_error(&Call::Unwrap))?;
        let reply: Option<Reply<SecretIdData>> = serde_json::from_slice(&body).ok();
        let Some(data) = reply.and_then(|reply| reply.data) else {
            return Err(foreign(&Call::Unwrap, "something that is no secret id"));
        };
        *lock(&self.unwrapped) = Some((wrapping.clone(), data.secret_id.clone()));
        Ok(data.secret_id)
    }

    pub(super) fn logged_in(&self, given: Secret, token: &Secret) {
        let new = LastLogin { given, token: token.clone(), used_up: false };
        if let Some(before) = lock(&self.last).replace(new).filter(|before| before.used_up) {
            lock(&self.replaced).push(before.token);
        }
    }

    /// A login was refused. The token to share, if an earlier one with this secret id was not.
    pub(super) fn used_up(&self, given: &Secret, said: &str) -> Option<Secret> {
        let mut last = lock(&self.last);
        let last = last.as_mut().filter(|last| last.given == *given && !given.is_empty())?;
        // Other refusals (the role id is locked, an address is not allowed) may pass.
        let for_good = ["invalid role or secret", "invalid secret"].iter().any(|words| said.contains(words));
        if for_good && !last.used_up {
            last.used_up = true;
            tracing::warn!(
                said,
                "the secret id is used up or has ended: all users share the token of its last login from now on, \
                 and none outlives it; give a new secret id before the token ends"
            );
        }
        Some(last.token.clone())
    }

    /// The shared token is dead: only another login helps.
    pub(super) fn lost(&self, token: &Secret) {
        let mut last = lock(&self.last);
        if last.as_ref().is_some_and(|last| last.token == *token) {
            *last = None;
        }
    }

    pub(super) fn is_shared(&self, token: &Secret) -> bool {
        let last = lock(&self.last);
        last.as_ref().is_some_and(|last| last.used_up && last.token == *token)
            || lock(&self.replaced).contains(token)
    }

    /// The tokens that were shared, for the end.
    pub(super) fn leave(&self) -> Vec<Secret> {
        let mut tokens = std::mem::take(&mut *lock(&self.replaced));
        tokens.extend(lock(&self.last).take().filter(|last| last.used_up).map(|last| last.token));
        tokens
    }
}
