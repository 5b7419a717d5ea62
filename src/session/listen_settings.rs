//! The settings of this room, as the configuration fills them in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::told::TellSettings;

/// Where clients come in (`[listen]`).
#[derive(Debug, Clone, PartialEq)]
pub struct ListenSettings {
    /// Loopback address and port; `None`: no TCP listener.
    pub tcp: Option<SocketAddr>,
    /// Directory of the Unix socket `.s.PGSQL.PORT`; `None`: no Unix listener.
    pub unix_dir: Option<PathBuf>,
    /// The number in the Unix socket's name: the TCP port, or 6432 without one.
    pub unix_port: u16,
    /// Permission bits of the socket.
    pub unix_mode: u32,
    /// More clients than this get FATAL 53300.
    pub max_clients: usize,
    /// How long a client may take to say who it is.
    pub startup_timeout: Duration,
    /// How much text of prepared statements all clients of transaction mode together may have, in
    /// bytes; one client a sixteenth of it.
    pub max_prepared_bytes: usize,
    /// How much of a core makes a data thread busy, in percent; 0: clients are spread evenly.
    pub thread_busy: u32,
    /// What is told of clients.
    pub tell: TellSettings,
}
