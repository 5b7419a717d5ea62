//! Everything a running proxy needs, parsed and checked.

use std::path::PathBuf;
use std::time::Duration;

use crate::admin::{ConsoleSettings, ShownSettings};
use crate::credentials::{CredentialsSettings, RotationSettings, VaultSettings};
use crate::http::HttpSettings;
use crate::pool::PoolSettings;
use crate::session::ListenSettings;

/// One proxy.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients come in.
    pub listen: ListenSettings,
    /// Where probes and people look in.
    pub http: HttpSettings,
    /// Who may give commands at the console.
    pub console: ConsoleSettings,
    /// Vault, if any database uses it.
    pub vault: Option<VaultSettings>,
    /// The pools and where each gets its users.
    pub databases: Vec<(PoolSettings, CredentialsSettings)>,
    /// When users are replaced.
    pub rotation: RotationSettings,
    /// Data threads.
    pub threads: usize,
    /// How long transactions may take to end after SIGTERM, revocation included.
    pub shutdown_timeout: Duration,
    /// Where what must outlive the process goes.
    pub state_dir: Option<PathBuf>,
    /// Log output.
    pub log: LogSettings,
    /// All of these as the console shows them.
    pub shown: ShownSettings,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Text, JSON, or by whether standard error is a terminal.
    pub format: LogFormat,
    /// A level (`info`) or a filter of tracing-subscriber's EnvFilter.
    pub filter: String,
    /// Lines of one kind and pool a minute; what is more is counted. 0: no limit.
    pub most_alike: u32,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}
