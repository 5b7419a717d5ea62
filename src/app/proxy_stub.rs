//! Stands in for the proxy until the composition is written: the calls that `main` and `demo` make.

use std::net::SocketAddr;

use super::Settings;

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    settings: Settings,
}

/// Why a proxy could not start.
#[derive(Debug, thiserror::Error)]
#[error("this build has no proxy")]
pub struct StartError;

impl Proxy {
    /// Starts listening and issuing.
    ///
    /// # Errors
    ///
    /// None yet.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        Ok(Self { settings })
    }

    /// Where TCP clients come in.
    #[must_use]
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.settings.listen.tcp
    }

    /// Stops accepting, lets transactions end, revokes every user.
    pub async fn stop(self) {}
}
