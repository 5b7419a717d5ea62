//! The settings of this room, as the configuration fills them in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::attrs::SessionAttrs;
use crate::net::{SslMode, SslRoots};

/// Where a database lives and how to reach it (`[databases.NAME]`).
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamSettings {
    /// Its servers, at least one, in the order that they are tried in.
    pub hosts: Vec<HostSettings>,
    /// Which of them fits.
    pub target_session_attrs: SessionAttrs,
    /// The database's name on the server.
    pub dbname: String,
    /// How much TLS is asked for; always `disable` over a Unix socket.
    pub sslmode: SslMode,
    /// The CAs that verify-ca and verify-full trust, and require if it is a file.
    pub sslrootcert: SslRoots,
    /// The startup role: what `current_user` is and who owns new objects.
    pub role: Option<String>,
    /// Bound of name resolution, TCP, TLS and login together, at all hosts.
    pub connect_timeout: Duration,
    /// Idle time before TCP keepalive probes; zero: the system's default.
    pub tcp_keepalive: Duration,
    /// How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT); zero: the system's default.
    pub tcp_user_timeout: Duration,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// Host name or address, or a directory that holds the server's Unix socket.
    pub host: String,
    /// TCP port, and the number in the Unix socket's name.
    pub port: u16,
}

impl HostSettings {
    /// The directory of the server's Unix socket, if `host` is one.
    #[must_use]
    pub fn socket_dir(&self) -> Option<PathBuf> {
        self.host.starts_with('/').then(|| PathBuf::from(&self.host))
    }
}

/// `host:port`.
impl fmt::Display for HostSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl UpstreamSettings {
    /// All its servers, with commas between.
    #[must_use]
    pub fn place(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        hosts.join(",")
    }
}
