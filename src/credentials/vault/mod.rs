//! Users from the database secrets engine of HashiCorp Vault or OpenBao.
//!
//! Where the method can log in again, each user gets a login of its own, so that its end is
//! one clock and `revoke-self` removes it under the default policy. A given token is
//! shared by all users, its end bounds them all, and it is never revoked by us.

mod aws;
mod aws_keys;
mod client;
mod cloud_env;
mod endpoints;
mod env;
mod errors;
mod identity;
mod lock;
mod login;
mod operation;
mod outside;
mod pace;
mod redirect;
mod secret_ids;
mod source;
mod token;
mod tokens;
mod uses;

pub use cloud_env::CloudEnvironment;
pub use env::{VaultEnvError, VaultEnvironment, from_environment};
pub use pace::LoginPace;
#[cfg(test)]
pub(super) use pace::Refusals;
pub use source::VaultSource;

/// Log directives that keep libraries quiet which log each failed call several
/// times over, or (at debug) the statements they run, or (at trace) the session token they sign with. Put them
/// before the user's own.
pub const QUIET: &[&str] = &[
    "vaultrs=off",
    "rustify=off",
    "tokio_postgres=info",
    "hyper_util=info",
    "reqwest=info",
    "aws_sigv4=info",
];
