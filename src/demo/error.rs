//! Why there is no demo.

use std::time::Duration;

use crate::app::StartError;
use crate::config;

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// PostgreSQL is not installed.
    #[error(
        "cannot find {missing}: install PostgreSQL, on Debian and Ubuntu with `apt-get install postgresql`"
    )]
    NoPostgres {
        /// The programs that are missing.
        missing: &'static str,
    },
    /// We are root, and there is nobody to run PostgreSQL as.
    #[error(
        "PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`: run this as another user"
    )]
    NoOwner,
    /// Something of the system's failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// A program ended with an error.
    #[error("{program} failed:\n{told}")]
    Program {
        /// Its name.
        program: &'static str,
        /// The end of what it said.
        told: String,
    },
    /// The throw-away server refused something.
    #[error("the throw-away PostgreSQL: {}", server_words(.0))]
    Server(#[from] tokio_postgres::Error),
    /// The demo's own configuration is wrong, which is our fault.
    #[error(transparent)]
    Config(#[from] config::Problems),
    /// The proxy does not start.
    #[error("the proxy does not start: {0}")]
    Start(#[from] StartError),
    /// No user came.
    #[error("the proxy has no user after {} s: {trouble}", waited.as_secs())]
    NoUser {
        /// How long it had.
        waited: Duration,
        /// What the proxy says about it.
        trouble: String,
    },
    /// The proxy has no TCP listener.
    #[error("the proxy does not listen")]
    NotListening,
}

impl DemoError {
    pub(super) fn io(what: &'static str, source: std::io::Error) -> Self {
        Self::Io { what, source }
    }

    /// A program's failure with the end of what it said.
    pub(super) fn failed(program: &'static str, told: &[u8]) -> Self {
        let text = String::from_utf8_lossy(told);
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let told = lines.iter().skip(lines.len().saturating_sub(15)).map(|line| format!("    {line}"));
        Self::Program { program, told: told.collect::<Vec<_>>().join("\n") }
    }
}

/// tokio-postgres keeps the server's message in the source.
fn server_words(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}
