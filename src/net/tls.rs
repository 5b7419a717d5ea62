//! TLS towards servers, as libpq's `sslmode` means it
//! (PostgreSQL manual, "SSL Support", table of sslmode).

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::settings::{SslMode, SslRoots};

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
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let check = match (mode, roots) {
            (SslMode::Disable, _) => return Ok(Self::Never),
            (SslMode::Prefer, _) | (SslMode::Require, SslRoots::System) => Check::Nothing,
            (SslMode::Require, SslRoots::File(_)) | (SslMode::VerifyCa, _) => Check::Chain,
            (SslMode::VerifyFull, _) => Check::ChainAndName,
        };
        let inner = match check {
            Check::Nothing => None,
            Check::Chain | Check::ChainAndName => Some(
                WebPkiServerVerifier::builder_with_provider(Arc::new(load_roots(roots)?), provider.clone())
                    .build()
                    .map_err(|e| TlsError::Settings(e.to_string()))?,
            ),
        };
        let verifier = Verifier { inner, check, provider: provider.clone() };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError::Settings(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
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

/// Reads PEM roots from a file, or the system's.
///
/// # Errors
/// [`TlsError::Roots`] or [`TlsError::NoSystemRoots`].
pub fn load_roots(roots: &SslRoots) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match roots {
        SslRoots::File(path) => {
            let bad = |reason: String| TlsError::Roots { path: path.clone(), reason };
            let pem = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|e| bad(format!("{e:?}")))?;
                store.add(certificate).map_err(|e| bad(e.to_string()))?;
            }
            if store.is_empty() {
                return Err(bad("holds no certificate".into()));
            }
        }
        SslRoots::System => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                let reason = found.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                return Err(TlsError::NoSystemRoots { reason });
            }
        }
    }
    Ok(store)
}

#[derive(Debug, Clone, Copy)]
enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

/// Checks as much of the certificate as the mode asks for; the handshake's
/// signatures are checked in every mode.
#[derive(Debug)]
struct Verifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    check: Check,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else {
            return Ok(ServerCertVerified::assertion());
        };
        match (inner.verify_server_cert(end_entity, intermediates, name, ocsp, now), self.check) {
            // webpki checks the name last: the chain has been found good.
            (
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )),
                Check::Chain,
            ) => Ok(ServerCertVerified::assertion()),
            (result, _) => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
