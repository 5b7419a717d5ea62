//! TLS choices, in libpq's words (PostgreSQL manual, section 34.19).

use std::path::PathBuf;
use std::time::Duration;

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS if the server has it, unverified.
    #[default]
    Prefer,
    /// TLS or nothing, unverified.
    Require,
    /// TLS, with a certificate signed by a trusted CA.
    VerifyCa,
    /// TLS, a trusted CA, and the host's name in the certificate.
    VerifyFull,
}

/// `sslrootcert`: whose signature is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SslRoots {
    /// The system's CA roots.
    #[default]
    System,
    /// A PEM file, and nothing else.
    File(PathBuf),
}

/// When a silent TCP peer is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SocketTimes {
    /// Idle time before keepalive probes; zero: the system's default.
    pub keepalive: Duration,
    /// How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT); zero: the system's default.
    pub user_timeout: Duration,
}
