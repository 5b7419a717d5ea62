//! The settings of this room, as the configuration fills them in.

use std::net::SocketAddr;

/// `[http]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where probes and people come in; `None`: nowhere.
    pub listen: Option<SocketAddr>,
}
