//! TLS towards servers, as libpq's `sslmode` means it
//! (PostgreSQL manual, "SSL Support", table of sslmode).

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::roots::TlsRoots;
use super::settings::{SslMode, SslRoots};
use super::verify::{TlsCheck, tls_builder};

/// Why TLS cannot be set up; found at start, not at the first connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The root file cannot be read or holds no certificate.
    #[error("sslrootcert {path}: {reason}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no CA roots.
    #[error("this system has no CA certificates ({reason}): install ca-certificates or set sslrootcert")]
    NoSystemRoots {
        /// What was tried.
        reason: String,
    },
    /// rustls refused the settings.
    #[error("TLS settings refused: {0}")]
    Settings(String),
    /// A host name that no certificate can name.
    #[error("{0:?} is not a host name that a certificate can be checked against")]
    Name(String),
}

/// How to talk TLS to one pool's server.
#[derive(Debug, Clone)]
pub enum TlsPolicy {
    /// Never.
    Never,
    /// If the server has it.
    IfOffered(Arc<ClientConfig>),
    /// Always.
    Required(Arc<ClientConfig>),
}

impl TlsPolicy {
    /// Reads the roots and builds the configuration once. As with libpq, `require` with
    /// a root file behaves as `verify-ca`.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(mode: SslMode, roots: &SslRoots) -> Result<Self, TlsError> {
        let check = match (mode, roots) {
            (SslMode::Disable, _) => return Ok(Self::Never),
            (SslMode::Prefer, _) | (SslMode::Require, SslRoots::System) => TlsCheck::Nothing,
            (SslMode::Require, SslRoots::File(_)) | (SslMode::VerifyCa, _) => TlsCheck::Chain,
            (SslMode::VerifyFull, _) => TlsCheck::Name(None),
        };
        let store = if check == TlsCheck::Nothing { RootCertStore::empty() } else { load(roots)? };
        let config = tls_builder(&check, store).map_err(TlsError::Settings)?.with_no_client_auth();
        let config = Arc::new(config);
        Ok(if mode == SslMode::Prefer { Self::IfOffered(config) } else { Self::Required(config) })
    }

    /// A session towards `host`; `None` if the policy is never to use TLS.
    ///
    /// # Errors
    /// [`TlsError`] if the name cannot be used.
    pub fn session(&self, host: &str) -> Result<Option<ClientConnection>, TlsError> {
        let config = match self {
            Self::Never => return Ok(None),
            Self::IfOffered(config) | Self::Required(config) => config.clone(),
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.into()))?;
        ClientConnection::new(config, name).map(Some).map_err(|e| TlsError::Settings(e.to_string()))
    }
}

fn load(roots: &SslRoots) -> Result<RootCertStore, TlsError> {
    match roots {
        SslRoots::File(path) => {
            let bad = |reason: String| TlsError::Roots { path: path.clone(), reason };
            let pem = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
            TlsRoots::from_pem(&pem).and_then(TlsRoots::store).map_err(bad)
        }
        SslRoots::System => TlsRoots::system().map_err(|reason| TlsError::NoSystemRoots { reason }),
    }
}
