//! Where a pool's connections go: its hosts, and what is known of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::hosts::Hosts;
use super::key_ring::KeyRing;
use super::settings::{HostSettings, UpstreamSettings};
use crate::net::{SocketTimes, TlsError, TlsPolicy};

/// Servers that can be dialled: their settings with the TLS configuration built. Clones remember
/// together which host fitted last.
#[derive(Debug, Clone)]
pub struct Target {
    settings: UpstreamSettings,
    tls: TlsPolicy,
    never: TlsPolicy,
    hosts: Arc<Mutex<Hosts>>,
    pub(super) keys: KeyRing,
}

impl Target {
    /// Reads the CA roots.
    ///
    /// # Errors
    /// [`TlsError`] if TLS cannot be set up.
    pub fn new(settings: UpstreamSettings) -> Result<Self, TlsError> {
        let unix = settings.hosts.iter().all(|host| host.socket_dir().is_some());
        let tls =
            if unix { TlsPolicy::Never } else { TlsPolicy::new(settings.sslmode, &settings.sslrootcert)? };
        let hosts = Arc::new(Mutex::new(Hosts::new(settings.hosts.len())));
        Ok(Self { settings, tls, never: TlsPolicy::Never, hosts, keys: KeyRing::default() })
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// The host that new connections go to, as far as is known: its place in the settings' list.
    #[must_use]
    pub fn preferred(&self) -> usize {
        self.hosts().fitted()
    }

    /// One of the hosts.
    #[must_use]
    pub fn host(&self, host: usize) -> Option<&HostSettings> {
        self.settings.hosts.get(host)
    }

    /// What a host is called in logs and errors.
    #[must_use]
    pub fn name(&self, host: usize) -> String {
        self.host(host).map(ToString::to_string).unwrap_or_default()
    }

    /// A host was silent for so long that others are tried before it.
    pub fn note_silent(&self, host: usize) {
        self.hosts().note_failed(host, Instant::now());
    }

    /// TLS on the way to one host.
    pub(super) fn tls(&self, host: &HostSettings) -> &TlsPolicy {
        if host.socket_dir().is_some() { &self.never } else { &self.tls }
    }

    pub(super) fn times(&self) -> SocketTimes {
        SocketTimes { keepalive: self.settings.tcp_keepalive, user_timeout: self.settings.tcp_user_timeout }
    }

    pub(super) fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
