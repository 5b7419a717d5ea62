//! Users with an end: where they come from, how long they live, and when the
//! next one is due.
//!
//! This room knows nothing of connections. It asks a [`Source`] for users and
//! tells a [`Fleet`] (the pool) what to do with the connections of each
//! generation. Deciding is apart from doing: `schedule` and `life` are
//! plain functions of `now`; `keeper` is the part that awaits.

mod chronicle;
mod clouds;
mod counts;
mod fleet;
mod generation;
mod keeper;
mod life;
mod local;
mod name;
mod schedule;
mod settings;
mod snapshot;
mod source;
mod tls;
mod vault;

pub use chronicle::{EventLevel, PastEvent, RetireReason, Steps};
pub use clouds::{AwsKeySource, AwsSettings, AzureSettings, GcpSettings};
pub use counts::{CallCounts, Calls, FailedCall, KeeperCounts};
pub use fleet::{CutReason, Fleet, SurveyError, UserState, VerifyError};
pub use generation::{Generation, GenerationId, Login};
pub use keeper::{Keeper, ShutdownReport};
pub use life::GenerationState;
pub use local::{LocalSettings, LocalSource};
pub use settings::{
    CredentialsSettings, RenewPolicy, RotationSettings, SourceSettings, VaultAuth, VaultSettings,
};
pub use snapshot::{GenerationSnapshot, KeeperSnapshot};
pub use source::{Grant, Issued, LeaseToken, Recovery, Source, SourceError, Term};
pub use vault::{
    CloudEnvironment, LoginPace, QUIET, VaultEnvError, VaultEnvironment, VaultSource, from_environment,
};
