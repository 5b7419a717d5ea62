//! Where users come from: the contract that Vault and the local issuer fulfil.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::counts::Calls;
use super::generation::Login;
use crate::clock::Moment;
use crate::secret::Secret;

/// How long a user lives, as the source promised it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// When the request that got this answer was sent: durations count from here.
    pub sent: Moment,
    /// The lease's remaining life at `sent`.
    pub lease: Duration,
    /// When the token that issued the lease ends; `None` if it does not or there is none.
    pub token_end: Option<Moment>,
    /// Whether the lease can be renewed at all.
    pub renewable: bool,
}

impl Term {
    /// The effective expiry: min(lease, token). A token's end takes its leases
    /// and their users with it, whatever the lease says.
    #[must_use]
    pub fn end(&self) -> Moment {
        let lease_end = self.sent + self.lease;
        self.token_end.map_or(lease_end, |token_end| lease_end.min(token_end))
    }
}

/// The right to renew and revoke one issued user.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Vault's lease id, or the local source's own name for it.
    pub lease_id: String,
    /// The token that the user was issued under, whose end is the user's end.
    pub token: LeaseToken,
}

/// Whose token a lease hangs on.
#[derive(Debug, Clone)]
pub enum LeaseToken {
    /// The source knows no tokens.
    None,
    /// Logged in for this one lease; ends with it.
    Own(Secret),
    /// Given to us, and shared by leases: never revoked by us.
    Shared(Secret),
}

/// One issued user.
#[derive(Debug, Clone)]
pub struct Issued {
    /// User and password.
    pub login: Login,
    /// What it takes to renew and revoke it.
    pub grant: Grant,
    /// How long it lives.
    pub term: Term,
}

/// Why a call to a source failed; the texts never hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Unreachable, sealed, overloaded, or a database error behind it: try again.
    #[error("{message}")]
    Unavailable {
        /// What happened, to what, and what to do next.
        message: String,
        /// The least time to wait, if the source said so.
        retry_after: Option<Duration>,
    },
    /// The login or the policy was refused: trying again fast makes it worse.
    #[error("{message}")]
    Denied {
        /// What happened, to what, and what to do next.
        message: String,
    },
    /// No such mount, role or file: an operator must change something.
    #[error("{message}")]
    Misconfigured {
        /// What happened, to what, and what to do next.
        message: String,
    },
    /// The lease does not exist any more, or cannot be renewed.
    #[error("{message}")]
    Gone {
        /// What the source said of it.
        message: String,
    },
}

/// What a look for users of an earlier run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// How many were removed.
    pub removed: usize,
    /// How many belong to another run that may still be there: of another instance that lives,
    /// or of one that PostgreSQL has not missed yet.
    pub in_use: usize,
}

/// Issues, renews and revokes users. One per pool.
///
/// Every method is bounded in time by the source's own settings, is cancel
/// safe in the sense that dropping it leaves at most one user that ends by
/// itself, and never logs or returns a secret in an error.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// One word for logs and tables: `vault`, `local`.
    fn kind(&self) -> &'static str;

    /// Its calls over HTTP, for who wants figures; for one that makes none, none.
    fn calls(&self) -> Arc<Calls> {
        Arc::default()
    }

    /// Removes what an earlier crash left behind, where the source can tell
    /// its own users beyond doubt. It is called again later, while [`Source::issue`] runs and users
    /// of this process live: it must leave those alone.
    async fn recover(&self) -> Result<Recovery, SourceError> {
        Ok(Recovery::default())
    }

    /// Resolves when what users are issued with was replaced (another token in a file) since
    /// the last [`Source::issue`]: a reason for a new user at once. Each replacement is told once.
    async fn changed(&self) {
        std::future::pending().await
    }

    /// Makes one user. Never called twice at once for one pool.
    async fn issue(&self) -> Result<Issued, SourceError>;

    /// Asks for more time for one user, with its token where it has its own.
    async fn renew(&self, issued: &Issued) -> Result<Term, SourceError>;

    /// Removes one user now. Revoking what is already gone is success.
    async fn revoke(&self, issued: &Issued) -> Result<(), SourceError>;

    /// Gives back what outlives single users. Called once, when no user is left.
    async fn close(&self) {}
}
