//! The settings of this room, as the configuration fills them in.

use std::path::PathBuf;
use std::time::Duration;

use crate::net::{SslMode, SslRoots};

/// Where a database lives and how to reach it (`[databases.NAME]`).
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamSettings {
    /// Host name or address, or a directory that holds the server's Unix socket.
    pub host: String,
    /// TCP port, and the number in the Unix socket's name.
    pub port: u16,
    /// The database's name on the server.
    pub dbname: String,
    /// How much TLS is asked for; always `disable` over a Unix socket.
    pub sslmode: SslMode,
    /// The CAs that verify-ca and verify-full trust, and require if it is a file.
    pub sslrootcert: SslRoots,
    /// The startup role: what `current_user` is and who owns new objects.
    pub role: Option<String>,
    /// Bound of name resolution, TCP, TLS and login together.
    pub connect_timeout: Duration,
    /// Idle time before TCP keepalive probes; zero: the system's default.
    pub tcp_keepalive: Duration,
    /// How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT); zero: the system's default.
    pub tcp_user_timeout: Duration,
}

impl UpstreamSettings {
    /// The directory of the server's Unix socket, if `host` is one.
    #[must_use]
    pub fn socket_dir(&self) -> Option<PathBuf> {
        self.host.starts_with('/').then(|| PathBuf::from(&self.host))
    }
}
