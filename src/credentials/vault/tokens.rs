//! Tokens to call with: logged in for, or given to us; how long they live, and whether they still do.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::aws::log_in_by_iam;
use super::client::{Client, Failure, header_of_token, read_secret};
use super::endpoints::TokenSelf;
use super::errors::{Call, Method, dead_token};
use super::identity::{log_in_by_azure, log_in_by_gcp};
use super::lock::lock;
use super::login::{Body, Door, log_in};
use super::outside::Outside;
use super::pace::LoginPace;
use super::secret_ids::SecretIds;
use super::token::{Known, Token, lookup, renew};
use super::uses::Uses;
use crate::credentials::{AwsSettings, AzureSettings, GcpSettings, SourceError, VaultAuth};
use crate::secret::Secret;

/// How often a token's file is looked at.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

/// Gets tokens by one login method.
pub(super) struct Tokens {
    auth: VaultAuth,
    /// What the token file held when it was last looked at, empty if nothing; `None` before the first user.
    seen: Mutex<Option<Secret>>,
    told_of_lookup: AtomicBool,
    approle: SecretIds,
    pace: LoginPace,
    /// For the methods where somebody else vouches for us.
    outside: Option<Outside>,
    pub(super) uses: Uses,
}

impl Tokens {
    /// Checks what can be checked without asking Vault.
    pub(super) fn new(auth: VaultAuth, pace: LoginPace, timeout: Duration) -> Result<Self, String> {
        match &auth {
            VaultAuth::Token { token } => {
                header_of_token(token)?;
            }
            VaultAuth::TokenFile { .. } => {}
            VaultAuth::AppRole { role_id, .. } if role_id.trim().is_empty() => {
                return Err("vault.auth.role_id is empty".to_owned());
            }
            VaultAuth::Userpass { username, .. } | VaultAuth::Ldap { username, .. }
                if wrong_name(username) =>
            {
                return Err("vault.auth.username is no user name".to_owned());
            }
            VaultAuth::AppRole { mount, .. }
            | VaultAuth::Kubernetes { mount, .. }
            | VaultAuth::Jwt { mount, .. }
            | VaultAuth::Userpass { mount, .. }
            | VaultAuth::Cert { mount, .. }
            | VaultAuth::Ldap { mount, .. }
            | VaultAuth::Aws(AwsSettings { mount, .. })
            | VaultAuth::Gcp(GcpSettings { mount, .. })
            | VaultAuth::Azure(AzureSettings { mount, .. }) => {
                if mount.trim_matches('/').is_empty() {
                    return Err("vault.auth.mount is empty; the usual one is the method's name".to_owned());
                }
            }
        }
        let vouched = matches!(auth, VaultAuth::Aws(_) | VaultAuth::Gcp(_) | VaultAuth::Azure(_));
        Ok(Self {
            outside: vouched.then(|| Outside::new(timeout)).transpose()?,
            auth,
            seen: Mutex::new(None),
            told_of_lookup: AtomicBool::new(false),
            approle: SecretIds::default(),
            pace,
            uses: Uses::default(),
        })
    }

    /// A token for one new user.
    pub(super) async fn obtain(&self, client: &Client) -> Result<Token, SourceError> {
        let token = self.any_token(client).await?;
        self.uses.learn(&token.secret, token.num_uses, token.end);
        Ok(token)
    }

    async fn any_token(&self, client: &Client) -> Result<Token, SourceError> {
        match &self.auth {
            VaultAuth::Token { token } => self.shared_token(client, token).await,
            VaultAuth::TokenFile { file } => {
                let token = self.token_in(file).await?;
                self.shared_token(client, &token).await
            }
            VaultAuth::Aws(aws) => log_in_by_iam(client, self.outside()?, aws).await,
            VaultAuth::Gcp(gcp) => log_in_by_gcp(client, self.outside()?, gcp).await,
            VaultAuth::Azure(azure) => log_in_by_azure(client, self.outside()?, azure).await,
            auth => self.log_in(client, auth).await,
        }
    }

    /// A login of the user's own. What it takes is read anew each time: others replace it.
    async fn log_in(&self, client: &Client, auth: &VaultAuth) -> Result<Token, SourceError> {
        let door = |method, mount| Door { method, mount: str::trim_matches(mount, '/'), name: None };
        match auth {
            VaultAuth::AppRole { .. } => self.log_in_by_approle(client, auth).await,
            VaultAuth::Kubernetes { mount, role, jwt_file } | VaultAuth::Jwt { mount, role, jwt_file } => {
                let method =
                    if matches!(auth, VaultAuth::Jwt { .. }) { Method::Jwt } else { Method::Kubernetes };
                let jwt = read_file(jwt_file, "the token to log in with").await?;
                let body = Body { role: Some(role), jwt: Some(jwt.expose()), ..Body::default() };
                log_in(client, &door(method, mount), &body, &jwt).await
            }
            VaultAuth::Userpass { mount, username, password_file, password }
            | VaultAuth::Ldap { mount, username, password_file, password } => {
                let method =
                    if matches!(auth, VaultAuth::Ldap { .. }) { Method::Ldap } else { Method::Userpass };
                let password = match (password_file, password) {
                    (Some(file), _) => read_file(file, "the password").await?,
                    (None, Some(password)) => password.clone(),
                    (None, None) => Secret::new(String::new()),
                };
                let body = Body { password: Some(password.expose()), ..Body::default() };
                let door = Door { name: Some(username), ..door(method, mount) };
                self.log_in_at_pace(client, &door, &body, &password).await
            }
            VaultAuth::Cert { mount, name } => {
                let body = Body { name: name.as_deref(), ..Body::default() };
                log_in(client, &door(Method::Cert, mount), &body, &Secret::new(String::new())).await
            }
            VaultAuth::Token { .. }
            | VaultAuth::TokenFile { .. }
            | VaultAuth::Aws(_)
            | VaultAuth::Gcp(_)
            | VaultAuth::Azure(_) => {
                Err(SourceError::Misconfigured { message: "this login is made elsewhere".to_owned() })
            }
        }
    }

    /// By role id and secret id; the last token is shared once the secret id is used up.
    async fn log_in_by_approle(&self, client: &Client, auth: &VaultAuth) -> Result<Token, SourceError> {
        let VaultAuth::AppRole { mount, role_id, secret_id_file, secret_id, wrapped } = auth else {
            return Err(SourceError::Misconfigured { message: "this is no AppRole".to_owned() });
        };
        let given = match (secret_id_file, secret_id) {
            (Some(file), _) => read_file(file, "the AppRole secret id").await?,
            (None, Some(secret)) => Secret::new(secret.expose().trim().to_owned()),
            // A role with bind_secret_id=false has none.
            (None, None) => Secret::new(String::new()),
        };
        if let Some(kept) = self.approle.kept_for(&given) {
            return self.kept_token(client, &kept).await;
        }
        let secret_id = if *wrapped { self.approle.unwrap(client, &given).await? } else { given.clone() };
        let (role_id, secret) = (Some(role_id.trim()), Some(secret_id.expose()));
        let body = Body { role_id, secret_id: secret, ..Body::default() };
        let door = Door { method: Method::AppRole, mount: mount.trim_matches('/'), name: None };
        match self.log_in_at_pace(client, &door, &body, &secret_id).await {
            Ok(token) => {
                self.approle.logged_in(given, &token.secret);
                Ok(token)
            }
            Err(SourceError::Denied { message }) => match self.approle.used_up(&given, &message) {
                Some(kept) => self.kept_token(client, &kept).await,
                None => Err(SourceError::Denied { message }),
            },
            Err(error) => Err(error),
        }
    }

    fn outside(&self) -> Result<&Outside, SourceError> {
        let message = || "nobody outside can be asked".to_owned();
        self.outside.as_ref().ok_or_else(|| SourceError::Misconfigured { message: message() })
    }

    /// For the methods that Vault locks after five refusals: no more of them than that allows.
    async fn log_in_at_pace(
        &self,
        client: &Client,
        door: &Door<'_>,
        body: &Body<'_>,
        secret: &Secret,
    ) -> Result<Token, SourceError> {
        let mut refusals = self.pace.turn().await;
        if let Some(wait) = refusals.wait(secret) {
            let minutes = wait.as_secs().div_ceil(60);
            return Err(SourceError::Denied {
                message: format!(
                    "vault refused the last logins at auth/{}/login; the next one is in {minutes} min, as more of \
                     them would lock everybody out who logs in with the same name; correct what it said \
                     (another secret is tried at once)",
                    door.mount
                ),
            });
        }
        let result = log_in(client, door, body, secret).await;
        match &result {
            Ok(_) => refusals.succeeded(),
            Err(SourceError::Denied { .. }) => refusals.refused(secret),
            Err(_) => {}
        }
        result
    }

    /// The token of the last login, for one more user.
    async fn kept_token(&self, client: &Client, kept: &Secret) -> Result<Token, SourceError> {
        let shared = self.shared_token(client, kept).await;
        if matches!(shared, Err(SourceError::Denied { .. })) {
            self.approle.lost(kept);
        }
        shared
    }

    /// Whether users of other logins hang on this token too, so that it must not end with one of them.
    pub(super) fn is_shared(&self, token: &Secret) -> bool {
        self.approle.is_shared(token)
    }

    /// Gives back the tokens of our own that no single user took with it.
    pub(super) async fn close(&self, client: &Client) {
        for token in self.approle.leave() {
            drop(client.call(Some(&token), TokenSelf::Revoke).await);
        }
    }

    /// Resolves when the token file holds another token than the last that was taken from it. The
    /// content counts, not the file: an Agent replaces it by rename. Cancel safe.
    pub(super) async fn changed(&self) {
        let VaultAuth::TokenFile { file } = &self.auth else { return std::future::pending().await };
        loop {
            if let Ok(token) = read_secret(file, TOKEN).await
                && self.replaces(&token)
            {
                tracing::info!(file = %file.display(), "there is another token in the file");
                return;
            }
            tokio::time::sleep(FILE_INTERVAL).await;
        }
    }

    /// What the file holds now. No token is remembered too: one that comes later is a change.
    async fn token_in(&self, file: &Path) -> Result<Secret, SourceError> {
        let found = read_secret(file, TOKEN).await.and_then(|token| {
            header_of_token(&token).map_err(|what| format!("{}: {what}", file.display()))?;
            Ok(token)
        });
        let seen = found.as_ref().map_or_else(|_| Secret::new(String::new()), Clone::clone);
        *lock(&self.seen) = Some(seen);
        found.map_err(|message| SourceError::Misconfigured { message })
    }

    fn replaces(&self, token: &Secret) -> bool {
        let mut seen = lock(&self.seen);
        let replaces = seen.as_ref().is_some_and(|seen| seen != token);
        if replaces {
            *seen = Some(token.clone());
        }
        replaces
    }

    /// Renews the given token where that can be done, and learns when it ends.
    async fn shared_token(&self, client: &Client, secret: &Secret) -> Result<Token, SourceError> {
        if let Some(end) = self.uses.end_of(secret) {
            // Asking costs one of the calls that are left, and what is counted already is not learnt again.
            return Ok(Token { secret: secret.clone(), end, own: false, num_uses: 0 });
        }
        let Known { renewable, end, num_uses } = match lookup(client, secret).await {
            Ok(known) => known,
            Err(Failure::Refused(refusal)) if refusal.status == 403 && !refusal.names_a_dead_token() => {
                if !self.told_of_lookup.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        rule = Call::LookupSelf.rule(),
                        "the token may not look itself up, so its end is not known before it comes: \
                         it is dead, or its policy lacks this rule"
                    );
                }
                Known { renewable: true, end: None, num_uses: 0 }
            }
            Err(Failure::Refused(refusal)) if refusal.status == 403 => return Err(dead_token(&refusal)),
            Err(failure) => return Err(failure.into_error(&Call::LookupSelf)),
        };
        let mut token = Token { secret: secret.clone(), end, own: false, num_uses };
        if renewable && num_uses == 0 {
            match renew(client, secret).await {
                Ok(renewed) => token.end = renewed.or(end),
                Err(failure) => {
                    let error = failure.into_error(&Call::RenewSelf);
                    tracing::debug!(%error, "the token was not renewed, it is used as it is");
                }
            }
        }
        Ok(token)
    }
}

const TOKEN: &str = "the vault token";

async fn read_file(file: &Path, what: &str) -> Result<Secret, SourceError> {
    read_secret(file, what).await.map_err(|message| SourceError::Misconfigured { message })
}

fn wrong_name(name: &str) -> bool {
    name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || "/?#%\\".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_token_is_told_once_and_none_before_the_first_user() {
        let tokens =
            Tokens::new(VaultAuth::TokenFile { file: "/none".into() }, LoginPace::default(), FILE_INTERVAL)
                .unwrap();
        let token = |text: &str| Secret::new(text.to_owned());
        assert!(!tokens.replaces(&token("a")));
        *tokens.seen.lock().unwrap() = Some(token(""));
        let told: Vec<bool> = ["a", "a", "b", "b"].iter().map(|text| tokens.replaces(&token(text))).collect();
        assert_eq!(told, [true, false, true, false]);
    }
}
