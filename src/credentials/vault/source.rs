//! [`Source`] over Vault: login, issue, renew, revoke.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::de::{DeserializeOwned, IgnoredAny};
use vaultrs::api::database::requests::GenerateCredentialsRequest;
use vaultrs::api::database::responses::GenerateCredentialsResponse;

use super::client::{Client, Failure};
use super::endpoints::{RenewLease, Reply, RevokeLease, TokenSelf};
use super::errors::{Call, dead_token, foreign, gone_with_token};
use super::token::{Life, Token, life, renew};
use super::tokens::Tokens;
use super::uses::none_to_spare;
use crate::clock::Moment;
use crate::credentials::{
    Calls, Grant, Issued, LeaseToken, Login, Source, SourceError, Term, VaultSettings, name,
};
use crate::secret::Secret;

/// Users of one dynamic role.
pub struct VaultSource {
    client: Client,
    tokens: Tokens,
    mount: String,
    role: String,
    path: String,
    told_of_revoke: AtomicBool,
}

impl std::fmt::Debug for VaultSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VaultSource")
            .field("address", &self.client.address().as_str())
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl VaultSource {
    /// Checks the settings and reads the certificates; asks nothing of Vault.
    ///
    /// `path` is `<mount>/creds/<role>`. Every error is [`SourceError::Misconfigured`].
    pub fn new(settings: VaultSettings, path: String) -> Result<Self, SourceError> {
        let wrong = |message: String| SourceError::Misconfigured { message };
        let path = path.trim().trim_matches('/').to_owned();
        let (mount, role) = split_path(&path).map_err(wrong)?;
        let client = Client::new(&settings).map_err(wrong)?;
        Ok(Self {
            client,
            tokens: Tokens::new(settings.auth, settings.pace, settings.timeout).map_err(wrong)?,
            mount,
            role,
            path,
            told_of_revoke: AtomicBool::new(false),
        })
    }

    /// One user under a token.
    async fn credentials(&self, token: &Token) -> Result<Issued, SourceError> {
        let call = Call::Issue { path: self.path.clone() };
        let endpoint = GenerateCredentialsRequest { mount: self.mount.clone(), name: self.role.clone() };
        let sent = Moment::now();
        let reply: Reply<GenerateCredentialsResponse> = self.ask(&call, &token.secret, endpoint).await?;
        let Some(GenerateCredentialsResponse { username, password }) = reply.data else {
            return Err(foreign(&call, "no user"));
        };
        let login = Login { user: name::kept(&username).to_owned(), password: Secret::new(password) };
        if reply.lease_id.is_empty() || reply.lease_duration == 0 {
            return Err(foreign(&call, "a user without a lease, which is not a dynamic role's"));
        }
        if login.user.is_empty() || login.password.is_empty() {
            return Err(foreign(
                &call,
                "a user without a name or password (is its credential_type password?)",
            ));
        }
        Ok(Issued {
            login,
            grant: Grant { lease_id: reply.lease_id, token: token.for_lease() },
            term: Term {
                sent,
                lease: Duration::from_secs(reply.lease_duration),
                token_end: token.end,
                renewable: reply.renewable && self.tokens.uses.are_spare(&token.secret),
            },
        })
    }

    /// One call whose answer is parsed; a 403 is looked into before it is reported.
    async fn ask<E: rustify::Endpoint, T: DeserializeOwned>(
        &self,
        call: &Call,
        token: &Secret,
        endpoint: E,
    ) -> Result<Reply<T>, SourceError> {
        let body = match self.client.call(Some(token), endpoint).await {
            Ok(body) => body,
            Err(failure) => return Err(self.explain(call, token, failure).await),
        };
        serde_json::from_slice(&body).map_err(|_| foreign(call, "no Vault answer"))
    }

    /// Tells a dead token from a missing policy.
    async fn explain(&self, call: &Call, token: &Secret, failure: Failure) -> SourceError {
        match failure {
            Failure::Refused(refusal) if refusal.status == 403 => {
                match life(&self.client, token, &refusal).await {
                    Life::Dead => dead_token(&refusal),
                    Life::DeadOrMute => SourceError::Denied {
                        message: format!(
                            "vault denies {} and lookup-self ({}): the token is dead, or its policies lack {} and {}",
                            call.path(),
                            refusal.text,
                            call.rule(),
                            Call::LookupSelf.rule()
                        ),
                    },
                    Life::Alive | Life::Unknown => Failure::Refused(refusal).into_error(call),
                }
            }
            failure => failure.into_error(call),
        }
    }

    async fn revoke_token(&self, issued: &Issued, token: &Secret) -> Result<(), SourceError> {
        match self.client.call(Some(token), TokenSelf::Revoke).await {
            Ok(_) => Ok(()),
            Err(Failure::Refused(refusal)) if refusal.names_a_dead_token() => Ok(()),
            // 400: batch tokens cannot be revoked. 403: dead, or without the default policy.
            Err(Failure::Refused(refusal)) if matches!(refusal.status, 400 | 403) => {
                self.revoke_lease(issued, token).await
            }
            Err(failure) => Err(failure.into_error(&Call::RevokeSelf)),
        }
    }

    async fn revoke_lease(&self, issued: &Issued, token: &Secret) -> Result<(), SourceError> {
        let endpoint = RevokeLease { lease_id: &issued.grant.lease_id };
        match self.client.call(Some(token), endpoint).await {
            Ok(_) => Ok(()),
            Err(Failure::Refused(refusal)) if refusal.says_the_lease_is_gone() => Ok(()),
            Err(Failure::Refused(refusal)) if refusal.status == 403 => {
                let dead = life(&self.client, token, &refusal).await == Life::Dead;
                if !dead && !self.told_of_revoke.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        user = issued.login.user,
                        rule = Call::RevokeLease.rule(),
                        "the token may not revoke leases, so users live on until their lease ends; \
                         add this rule to its policy"
                    );
                }
                Ok(())
            }
            Err(failure) => Err(failure.into_error(&Call::RevokeLease)),
        }
    }
}

#[async_trait]
impl Source for VaultSource {
    fn kind(&self) -> &'static str {
        "vault"
    }

    fn calls(&self) -> Arc<Calls> {
        self.client.calls()
    }

    async fn close(&self) {
        self.tokens.close(&self.client).await;
    }

    async fn changed(&self) {
        self.tokens.changed().await;
    }

    /// At most four calls (five after a refusal), each bounded by `vault.timeout`.
    async fn issue(&self) -> Result<Issued, SourceError> {
        let token = self.tokens.obtain(&self.client).await?;
        let issued = if self.tokens.uses.spend(&token.secret) {
            self.credentials(&token).await
        } else {
            Err(none_to_spare(token.own))
        };
        if issued.is_err() && token.own && !self.tokens.is_shared(&token.secret) {
            // Neither this login nor a user whose answer got lost shall pile up.
            drop(self.client.call(Some(&token.secret), TokenSelf::Revoke).await);
            self.tokens.uses.forget(&token.secret);
        }
        issued
    }

    async fn renew(&self, issued: &Issued) -> Result<Term, SourceError> {
        let token = token_of(issued)?;
        let mut token_end = issued.term.token_end;
        // Would the token end before the renewed lease? Then it goes first.
        let token_first = token_end.is_some_and(|end| end <= Moment::now() + issued.term.lease);
        if token_first && self.tokens.uses.spend(token) {
            match renew(&self.client, token).await {
                Ok(end) => token_end = end,
                Err(Failure::Refused(refusal)) if refusal.status == 403 => {
                    if life(&self.client, token, &refusal).await == Life::Dead {
                        return Err(gone_with_token(&refusal));
                    }
                }
                // Not renewable, or not reachable: the end that is known stands.
                Err(_) => {}
            }
        }
        if !self.tokens.uses.spend(token) {
            return Err(SourceError::Gone {
                message: "the token has no use left to renew the lease".to_owned(),
            });
        }
        let endpoint = RenewLease { lease_id: &issued.grant.lease_id };
        let sent = Moment::now();
        let body = match self.client.call(Some(token), endpoint).await {
            Ok(body) => body,
            Err(Failure::Refused(refusal)) if refusal.status == 403 => {
                if life(&self.client, token, &refusal).await == Life::Dead {
                    return Err(gone_with_token(&refusal));
                }
                return Err(Failure::Refused(refusal).into_error(&Call::RenewLease));
            }
            Err(failure) => return Err(failure.into_error(&Call::RenewLease)),
        };
        let reply: Reply<IgnoredAny> =
            serde_json::from_slice(&body).map_err(|_| foreign(&Call::RenewLease, "no Vault answer"))?;
        Ok(Term {
            sent,
            lease: Duration::from_secs(reply.lease_duration),
            token_end,
            renewable: reply.renewable && self.tokens.uses.are_spare(token),
        })
    }

    async fn revoke(&self, issued: &Issued) -> Result<(), SourceError> {
        match &issued.grant.token {
            LeaseToken::Own(own) if !self.tokens.is_shared(own) => {
                self.revoke_token(issued, own).await?;
                self.tokens.uses.forget(own);
                Ok(())
            }
            // The last use of a token that users share would end them all.
            LeaseToken::Own(token) | LeaseToken::Shared(token) if !self.tokens.uses.spend(token) => Ok(()),
            LeaseToken::Own(token) | LeaseToken::Shared(token) => self.revoke_lease(issued, token).await,
            LeaseToken::None => Ok(()),
        }
    }
}

fn token_of(issued: &Issued) -> Result<&Secret, SourceError> {
    match &issued.grant.token {
        LeaseToken::Own(token) | LeaseToken::Shared(token) => Ok(token),
        LeaseToken::None => Err(SourceError::Gone { message: "the lease hangs on no token".to_owned() }),
    }
}

/// Mount and role of `<mount>/creds/<role>`.
fn split_path(path: &str) -> Result<(String, String), String> {
    let shape = || format!("credentials.path {path:?} is not of the shape database/creds/ROLE");
    if path.contains("/static-creds/") {
        return Err(format!(
            "credentials.path {path:?} names a static role; only dynamic roles (…/creds/ROLE) are known"
        ));
    }
    if path.chars().any(|c| c.is_control() || c == '?' || c == '#' || c == ' ') {
        return Err(shape());
    }
    let (mount, role) = path.rsplit_once("/creds/").ok_or_else(shape)?;
    let mount = mount.strip_prefix("v1/").unwrap_or(mount);
    let dotted = mount.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    if dotted || role.is_empty() || role.contains('/') || matches!(role, "." | "..") {
        return Err(shape());
    }
    Ok((mount.to_owned(), role.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_mount_and_role() {
        let good = [
            ("database/creds/app", "database", "app"),
            ("team/a/db/creds/app-role", "team/a/db", "app-role"),
            ("v1/database/creds/app", "database", "app"),
        ];
        for (path, mount, role) in good {
            assert_eq!(split_path(path), Ok((mount.to_owned(), role.to_owned())));
        }
        for bad in [
            "",
            "database",
            "database/creds",
            "/creds/app",
            "database/creds/a/b",
            "db/static-creds/x",
            "a//b/creds/c",
            "../creds/x",
            "db/creds/a?b",
        ] {
            assert!(split_path(bad).is_err(), "{bad}");
        }
    }
}
