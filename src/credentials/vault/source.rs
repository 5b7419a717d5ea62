//! [`Source`] over Vault: login, issue, renew, revoke.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::de::{DeserializeOwned, IgnoredAny};
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::database::requests::GenerateCredentialsRequest;
use vaultrs::api::database::responses::GenerateCredentialsResponse;

use super::client::{Client, Failure, header_of_token, read_secret};
use super::endpoints::{RenewLease, Reply, RevokeLease, TokenData, TokenSelf};
use super::errors::{Call, Refusal};
use crate::clock::Moment;
use crate::credentials::{Grant, Issued, Login, Source, SourceError, Term, VaultAuth, VaultSettings};
use crate::secret::Secret;

/// Users of one dynamic role.
pub struct VaultSource {
    client: Client,
    auth: VaultAuth,
    mount: String,
    role: String,
    path: String,
    told_of_revoke: AtomicBool,
    told_of_lookup: AtomicBool,
}

impl std::fmt::Debug for VaultSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VaultSource")
            .field("address", &self.client.address().as_str())
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What `lookup-self` says of a token that something else was refused to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Dead,
    Alive,
    /// Refused without a reason: dead on a Vault that does not tell, or not allowed to look itself up.
    DeadOrMute,
    /// Could not be asked.
    Unknown,
}

/// A token to call with, and when it ends.
struct Token {
    secret: Secret,
    end: Option<Moment>,
}

impl VaultSource {
    /// Checks the settings and reads the certificates; asks nothing of Vault.
    ///
    /// `path` is `<mount>/creds/<role>`. Every error is [`SourceError::Misconfigured`].
    pub fn new(settings: VaultSettings, path: String) -> Result<Self, SourceError> {
        let wrong = |message: String| SourceError::Misconfigured { message };
        let path = path.trim().trim_matches('/').to_owned();
        let (mount, role) = split_path(&path).map_err(wrong)?;
        match &settings.auth {
            VaultAuth::Token { token } => {
                header_of_token(token).map_err(wrong)?;
            }
            VaultAuth::AppRole { role_id, mount, .. } => {
                if role_id.trim().is_empty() {
                    return Err(wrong("vault.auth.role_id is empty".to_owned()));
                }
                if mount.trim_matches('/').is_empty() {
                    return Err(wrong("vault.auth.mount is empty; the usual one is \"approle\"".to_owned()));
                }
            }
        }
        let client = Client::new(&settings).map_err(wrong)?;
        Ok(Self {
            client,
            auth: settings.auth,
            mount,
            role,
            path,
            told_of_revoke: AtomicBool::new(false),
            told_of_lookup: AtomicBool::new(false),
        })
    }

    /// A token for one new user.
    async fn login(&self) -> Result<Token, SourceError> {
        match &self.auth {
            VaultAuth::Token { token } => self.shared_token(token).await,
            VaultAuth::AppRole { mount, role_id, secret_id_file, secret_id } => {
                let secret_id = match (secret_id_file, secret_id) {
                    (Some(file), _) => read_secret(file, "the AppRole secret id")
                        .await
                        .map_err(|message| SourceError::Misconfigured { message })?,
                    (None, Some(secret)) => secret.clone(),
                    // A role with bind_secret_id=false has none.
                    (None, None) => Secret::new(String::new()),
                };
                self.approle(mount.trim_matches('/'), role_id.trim(), &secret_id).await
            }
        }
    }

    async fn approle(&self, mount: &str, role_id: &str, secret_id: &Secret) -> Result<Token, SourceError> {
        let call = Call::Login { mount: mount.to_owned() };
        let endpoint = LoginWithApproleRequest {
            mount: mount.to_owned(),
            role_id: role_id.to_owned(),
            secret_id: secret_id.expose().trim().to_owned(),
        };
        let sent = Moment::now();
        let body = self
            .client
            .call(None, endpoint)
            .await
            .map_err(|failure| failure.without(secret_id).into_error(&call))?;
        let reply: Reply<IgnoredAny> =
            serde_json::from_slice(&body).map_err(|_| foreign(&call, "no Vault answer"))?;
        let auth = reply.auth.ok_or_else(|| foreign(&call, "no token"))?;
        header_of_token(&auth.client_token).map_err(|_| foreign(&call, "a token that is none"))?;
        let mut token = Token { secret: auth.client_token, end: end_after(sent, auth.lease_duration) };
        if token.end.is_none() {
            token.end = self.lookup(&token.secret).await.ok().and_then(|(_, end)| end);
        }
        Ok(token)
    }

    /// Renews the given token where that can be done, and learns when it ends.
    async fn shared_token(&self, secret: &Secret) -> Result<Token, SourceError> {
        let (renewable, end) = match self.lookup(secret).await {
            Ok(known) => known,
            Err(Failure::Refused(refusal)) if refusal.status == 403 && !refusal.names_a_dead_token() => {
                if !self.told_of_lookup.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        rule = Call::LookupSelf.rule(),
                        "the token may not look itself up, so its end is not known before it comes: \
                         it is dead, or its policy lacks this rule"
                    );
                }
                (true, None)
            }
            Err(Failure::Refused(refusal)) if refusal.status == 403 => return Err(dead_token(&refusal)),
            Err(failure) => return Err(failure.into_error(&Call::LookupSelf)),
        };
        let mut token = Token { secret: secret.clone(), end };
        if renewable {
            match self.renew_token(secret).await {
                Ok(renewed) => token.end = renewed.or(end),
                Err(failure) => {
                    let error = failure.into_error(&Call::RenewSelf);
                    tracing::debug!(%error, "the token was not renewed, it is used as it is");
                }
            }
        }
        Ok(token)
    }

    /// Whether a token can be renewed and when it ends.
    async fn lookup(&self, secret: &Secret) -> Result<(bool, Option<Moment>), Failure> {
        let sent = Moment::now();
        let body = self.client.call(Some(secret), TokenSelf::Lookup).await?;
        let data = serde_json::from_slice::<Reply<TokenData>>(&body).ok().and_then(|reply| reply.data);
        let Some(data) = data else {
            return Err(Failure::Wrong(format!(
                "{} answered lookup-self with something that is not Vault's; check vault.address",
                self.client.address()
            )));
        };
        let end = match (data.ttl, data.expire_time) {
            (0, None) => None,
            (ttl, _) => Some(sent + Duration::from_secs(ttl)),
        };
        Ok((data.renewable.unwrap_or(false) && end.is_some(), end))
    }

    /// The token's new end; `None` if it has none.
    async fn renew_token(&self, secret: &Secret) -> Result<Option<Moment>, Failure> {
        let sent = Moment::now();
        let body = self.client.call(Some(secret), TokenSelf::Renew).await?;
        let auth = serde_json::from_slice::<Reply<IgnoredAny>>(&body).ok().and_then(|reply| reply.auth);
        let auth = auth.ok_or_else(|| Failure::Wrong("renew-self answered without a token".to_owned()))?;
        Ok(end_after(sent, auth.lease_duration))
    }

    /// One user under a token.
    async fn credentials(&self, token: &Token, own: bool) -> Result<Issued, SourceError> {
        let call = Call::Issue { path: self.path.clone() };
        let endpoint = GenerateCredentialsRequest { mount: self.mount.clone(), name: self.role.clone() };
        let sent = Moment::now();
        let reply: Reply<GenerateCredentialsResponse> = self.ask(&call, &token.secret, endpoint).await?;
        let Some(GenerateCredentialsResponse { username, password }) = reply.data else {
            return Err(foreign(&call, "no user"));
        };
        let login = Login { user: username, password: Secret::new(password) };
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
            grant: Grant { lease_id: reply.lease_id, own_token: own.then(|| token.secret.clone()) },
            term: Term {
                sent,
                lease: Duration::from_secs(reply.lease_duration),
                token_end: token.end,
                renewable: reply.renewable,
            },
        })
    }

    /// The token that a user was issued under.
    fn token_of<'a>(&'a self, issued: &'a Issued) -> Result<&'a Secret, SourceError> {
        match (&issued.grant.own_token, &self.auth) {
            (Some(own), _) => Ok(own),
            (None, VaultAuth::Token { token }) => Ok(token),
            (None, VaultAuth::AppRole { .. }) => Err(SourceError::Gone {
                message: "the token of this lease is not known any more; it ends by itself".to_owned(),
            }),
        }
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
            Failure::Refused(refusal) if refusal.status == 403 => match self.life(token, &refusal).await {
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
            },
            failure => failure.into_error(call),
        }
    }

    /// Whether a token lives to which `refusal` was given. An outage says nothing about it.
    async fn life(&self, token: &Secret, refusal: &Refusal) -> Life {
        if refusal.names_a_dead_token() {
            return Life::Dead;
        }
        match self.lookup(token).await {
            Ok(_) => Life::Alive,
            Err(Failure::Refused(refusal)) if refusal.names_a_dead_token() => Life::Dead,
            Err(Failure::Refused(refusal)) if refusal.status == 403 => Life::DeadOrMute,
            Err(_) => Life::Unknown,
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
                let dead = self.life(token, &refusal).await == Life::Dead;
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

    /// At most four calls (five after a refusal), each bounded by `vault.timeout`.
    async fn issue(&self) -> Result<Issued, SourceError> {
        let own = matches!(self.auth, VaultAuth::AppRole { .. });
        let token = self.login().await?;
        let issued = self.credentials(&token, own).await;
        if issued.is_err() && own {
            // Neither this login nor a user whose answer got lost shall pile up.
            drop(self.client.call(Some(&token.secret), TokenSelf::Revoke).await);
        }
        issued
    }

    async fn renew(&self, issued: &Issued) -> Result<Term, SourceError> {
        let token = self.token_of(issued)?;
        let mut token_end = issued.term.token_end;
        // Would the token end before the renewed lease? Then it goes first.
        if token_end.is_some_and(|end| end <= Moment::now() + issued.term.lease) {
            match self.renew_token(token).await {
                Ok(end) => token_end = end,
                Err(Failure::Refused(refusal)) if refusal.status == 403 => {
                    if self.life(token, &refusal).await == Life::Dead {
                        return Err(gone_with_token(&refusal));
                    }
                }
                // Not renewable, or not reachable: the end that is known stands.
                Err(_) => {}
            }
        }
        let endpoint = RenewLease { lease_id: &issued.grant.lease_id };
        let sent = Moment::now();
        let body = match self.client.call(Some(token), endpoint).await {
            Ok(body) => body,
            Err(Failure::Refused(refusal)) if refusal.status == 403 => {
                if self.life(token, &refusal).await == Life::Dead {
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
            renewable: reply.renewable,
        })
    }

    async fn revoke(&self, issued: &Issued) -> Result<(), SourceError> {
        match &issued.grant.own_token {
            Some(own) => self.revoke_token(issued, own).await,
            None => match self.token_of(issued) {
                Ok(token) => self.revoke_lease(issued, token).await,
                // The login method was changed meanwhile: nothing is left to revoke it with.
                Err(_) => Ok(()),
            },
        }
    }
}

/// Zero means no end, as Vault's root token answers.
fn end_after(sent: Moment, seconds: u64) -> Option<Moment> {
    (seconds > 0).then(|| sent + Duration::from_secs(seconds))
}

fn dead_token(refusal: &Refusal) -> SourceError {
    let text = refusal.said();
    SourceError::Denied {
        message: format!("the vault token is dead: expired, revoked or never valid ({text}); give a new one"),
    }
}

fn gone_with_token(refusal: &Refusal) -> SourceError {
    let text = refusal.said();
    SourceError::Gone { message: format!("the token of the lease has ended, and the lease with it ({text})") }
}

fn foreign(call: &Call, what: &str) -> SourceError {
    SourceError::Misconfigured {
        message: format!("{} answered with {what}; check vault.address and credentials.path", call.path()),
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

    #[test]
    fn durations_of_any_size_are_taken() {
        let now = Moment::now();
        assert_eq!(end_after(now, 0), None);
        assert_eq!(end_after(now, u64::MAX), Some(Moment::from_nanos(u64::MAX)));
    }
}
