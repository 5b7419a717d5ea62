//! The settings of this room, as the configuration fills them in.

use std::time::Duration;

use super::pins::PinSettings;
use super::timeouts::TimeoutSettings;
use crate::upstream::UpstreamSettings;

/// When an upstream is given back (`pool_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PoolMode {
    /// At the end of each transaction.
    #[default]
    Transaction,
    /// When the client leaves.
    Session,
}

impl PoolMode {
    /// As it is written in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Session => "session",
        }
    }
}

/// One pool (`[databases.NAME]`).
#[derive(Debug, Clone, PartialEq)]
pub struct PoolSettings {
    /// The database name that clients ask for.
    pub name: String,
    /// Where its connections go.
    pub upstream: UpstreamSettings,
    /// When an upstream is given back.
    pub mode: PoolMode,
    /// The most connections of the active generation, over all shards.
    pub size: usize,
    /// So many of them are kept open, whether clients need them or not; at most `size`.
    pub min_size: usize,
    /// So many more than `size` may be opened for clients that have waited for `reserve_timeout`.
    pub reserve_size: usize,
    /// How long a client waits before the reserve is opened for it.
    pub reserve_timeout: Duration,
    /// An upstream older than this is closed once it is idle; zero: none is.
    pub server_lifetime: Duration,
    /// An upstream that was idle for so long is closed; zero: none is.
    pub server_idle_timeout: Duration,
    /// Bounds on what clients do.
    pub timeouts: TimeoutSettings,
    /// The most connections of all generations together; at least `size` and `reserve_size` together.
    pub max_server_connections: usize,
    /// How long a client waits for an upstream.
    pub checkout_timeout: Duration,
    /// The most statements that one upstream has prepared, in transaction mode.
    pub max_prepared_statements: usize,
    /// Clients with state that lives in one connection, in transaction mode.
    pub pins: PinSettings,
}
