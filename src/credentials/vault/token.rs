//! One token: when it ends, and what Vault says of it.

use std::time::Duration;

use serde::de::IgnoredAny;

use super::client::{Client, Failure};
use super::endpoints::{Reply, TokenData, TokenSelf};
use super::errors::Refusal;
use crate::clock::Moment;
use crate::credentials::LeaseToken;
use crate::secret::Secret;

/// A token to call with, and when it ends.
pub(super) struct Token {
    pub(super) secret: Secret,
    pub(super) end: Option<Moment>,
    /// Logged in by us, for one user.
    pub(super) own: bool,
    /// As Vault told it: 0 is no limit.
    pub(super) num_uses: i64,
}

impl Token {
    pub(super) fn for_lease(&self) -> LeaseToken {
        if self.own { LeaseToken::Own(self.secret.clone()) } else { LeaseToken::Shared(self.secret.clone()) }
    }
}

/// What `lookup-self` says of a token that something else was refused to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Dead,
    Alive,
    /// Refused without a reason: dead on a Vault that does not tell, or not allowed to look itself up.
    DeadOrMute,
    /// Could not be asked.
    Unknown,
}

/// What `lookup-self` says of a token that lives.
pub(super) struct Known {
    pub(super) renewable: bool,
    pub(super) end: Option<Moment>,
    pub(super) num_uses: i64,
}

/// Whether a token can be renewed, when it ends, and how many calls it is good for.
pub(super) async fn lookup(client: &Client, secret: &Secret) -> Result<Known, Failure> {
    let sent = Moment::now();
    let body = client.call(Some(secret), TokenSelf::Lookup).await?;
    let data = serde_json::from_slice::<Reply<TokenData>>(&body).ok().and_then(|reply| reply.data);
    let Some(data) = data else {
        return Err(Failure::Wrong(format!(
            "{} answered lookup-self with something that is not Vault's; check vault.address",
            client.address()
        )));
    };
    let end = match (data.ttl, data.expire_time) {
        (0, None) => None,
        (ttl, _) => Some(sent + Duration::from_secs(ttl)),
    };
    let renewable = data.renewable.unwrap_or(false) && end.is_some();
    Ok(Known { renewable, end, num_uses: data.num_uses })
}

/// The token's new end; `None` if it has none.
pub(super) async fn renew(client: &Client, secret: &Secret) -> Result<Option<Moment>, Failure> {
    let sent = Moment::now();
    let body = client.call(Some(secret), TokenSelf::Renew).await?;
    let auth = serde_json::from_slice::<Reply<IgnoredAny>>(&body).ok().and_then(|reply| reply.auth);
    let auth = auth.ok_or_else(|| Failure::Wrong("renew-self answered without a token".to_owned()))?;
    Ok(end_after(sent, auth.lease_duration))
}

/// Whether a token lives to which `refusal` was given. An outage says nothing about it.
pub(super) async fn life(client: &Client, token: &Secret, refusal: &Refusal) -> Life {
    if refusal.names_a_dead_token() {
        return Life::Dead;
    }
    match lookup(client, token).await {
        Ok(_) => Life::Alive,
        Err(Failure::Refused(refusal)) if refusal.names_a_dead_token() => Life::Dead,
        Err(Failure::Refused(refusal)) if refusal.status == 403 => Life::DeadOrMute,
        Err(_) => Life::Unknown,
    }
}

/// Zero means no end, as Vault's root token answers.
pub(super) fn end_after(sent: Moment, seconds: u64) -> Option<Moment> {
    (seconds > 0).then(|| sent + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_any_size_are_taken() {
        let now = Moment::now();
        assert_eq!(end_after(now, 0), None);
        assert_eq!(end_after(now, u64::MAX), Some(Moment::from_nanos(u64::MAX)));
    }
}
