//! What the keeper asks of the pool: the connections of each generation.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::generation::{Generation, GenerationId};

/// Why busy connections of a generation are closed; becomes FATAL 57P01.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutReason {
    /// The lease (or its token) reached its end.
    LeaseEnded,
    /// The user was removed by somebody else.
    Revoked,
    /// `drain_timeout` ran out.
    DrainTimeout,
    /// The proxy is stopping.
    Shutdown,
}

/// Why a new user could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The server refused this user (28P01, 28000, 42501, 22023, …): try again, and say so.
    #[error("{message} (SQLSTATE {sqlstate})")]
    Refused {
        /// The server's SQLSTATE.
        sqlstate: String,
        /// What was refused and what to do next.
        message: String,
    },
    /// The server could not be asked: no connection, no free slot, a timeout.
    #[error("{message}")]
    Unreachable {
        /// What happened and what to do next.
        message: String,
    },
    /// Logged in, but `session_user` or `current_user` is not what was asked for.
    #[error("{message}")]
    WrongIdentity {
        /// Who we are instead, and what to change.
        message: String,
    },
}

/// What pg_roles says of a generation's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserState {
    /// There, may log in, not past VALID UNTIL.
    Alive,
    /// No such role.
    Dropped,
    /// The role lost LOGIN.
    NoLogin,
    /// VALID UNTIL has passed on the server's clock.
    Expired,
}

/// The survey could not be made; it says nothing about any user.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SurveyError {
    /// What happened.
    pub message: String,
}

/// The connections of all generations of one pool.
///
/// Methods that are not async only leave word and return at once.
#[async_trait]
pub trait Fleet: Send + Sync + 'static {
    /// Logs in as the user, checks `session_user` and `current_user`.
    async fn verify(&self, generation: &Arc<Generation>) -> Result<(), VerifyError>;

    /// Opens as many connections as the active generation uses, within the
    /// limits. Best effort: returns how many are open when it is done.
    async fn warm(&self, generation: &Arc<Generation>) -> usize;

    /// From here on every checkout gets this generation, and waiting ones may go on.
    /// The one before, if any, is retired right after this returns.
    fn activate(&self, generation: &Arc<Generation>);

    /// No new checkouts: idle connections close, busy ones when they are given back.
    /// Called once for every generation that was verified or was to be, also one that never
    /// became active and may still be verifying or warming; [`Fleet::drained`] follows.
    fn retire(&self, generation: GenerationId);

    /// No generation is active: checkouts wait. The generation is retired right after.
    fn deactivate(&self, generation: GenerationId);

    /// Sends a CancelRequest for every busy connection of the generation.
    fn cancel_busy(&self, generation: GenerationId);

    /// Ends every session that still holds a connection of the generation and closes the connection.
    fn cut(&self, generation: GenerationId, reason: CutReason);

    /// Connections of the generation that are open or being opened.
    fn connections(&self, generation: GenerationId) -> usize;

    /// Resolves when the (retired) generation has no connection left, and forgets it.
    async fn drained(&self, generation: GenerationId);

    /// Asks pg_roles, through a connection of the active generation where there is
    /// one, for the state of these users, in the order given. A refused new login
    /// (28P01, 28000) of the only user there is counts as [`UserState::Dropped`].
    async fn survey(&self, users: &[String], patience: Duration) -> Result<Vec<UserState>, SurveyError>;

    /// Resolves when a session met 28P01, 28000, 42501 or 42704 since the last call:
    /// a reason to survey at once.
    async fn suspicion(&self);

    /// Resolves when a client asked while no generation was active, since the last call.
    async fn wanted(&self);
}
