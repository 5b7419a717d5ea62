//! TLS towards Vault and towards the admin connection: which roots count and
//! what of a certificate is checked. TLS 1.2 or newer, ring, nothing installed
//! process-wide.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

/// What of the peer's certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    /// Chain and the name that was dialled.
    Full,
    /// Chain and this name instead of the one that was dialled.
    Name(String),
    /// The chain only (`sslmode=verify-ca`).
    Chain,
    /// Nothing (`skip_verify`, `sslmode=require`).
    Nothing,
}

/// Roots from files or text; empty means: the system's.
#[derive(Debug, Clone, Default)]
pub(super) struct Roots {
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// The certificates of one PEM file.
    pub(super) fn from_file(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        Self::from_pem(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// The certificates of PEM text.
    pub(super) fn from_pem(text: &[u8]) -> Result<Self, String> {
        let certificates = CertificateDer::pem_slice_iter(text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| format!("not a PEM certificate ({e})"))?;
        if certificates.is_empty() {
            return Err("holds no PEM certificate".to_owned());
        }
        Ok(Self { certificates })
    }

    /// The certificates of all PEM files in a directory; files that are no
    /// certificates are passed over, as Vault's own client does.
    pub(super) fn from_directory(path: &Path) -> Result<Self, String> {
        let entries = std::fs::read_dir(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let certificates: Vec<_> = entries
            .filter_map(|entry| Self::from_file(&entry.ok()?.path()).ok())
            .flat_map(|roots| roots.certificates)
            .collect();
        if certificates.is_empty() {
            return Err(format!("{} holds no PEM certificate", path.display()));
        }
        Ok(Self { certificates })
    }

    fn store(self) -> Result<RootCertStore, String> {
        let own = !self.certificates.is_empty();
        let certificates =
            if own { self.certificates } else { rustls_native_certs::load_native_certs().certs };
        let mut store = RootCertStore::empty();
        for certificate in certificates {
            if let Err(error) = store.add(certificate)
                && own
            {
                return Err(format!("a CA certificate cannot be used: {error}"));
            }
        }
        Ok(store)
    }
}

/// Our side's certificate chain and key, from PEM files.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads both files.
    pub(super) fn from_files(certificate: &Path, key: &Path) -> Result<Self, String> {
        let chain = Roots::from_file(certificate)?.certificates;
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|e| format!("cannot use {} as a private key: {e}", key.display()))?;
        Ok(Self { chain, key })
    }
}

/// Puts a client configuration together.
pub(super) fn client_config(
    roots: Roots,
    check: Check,
    identity: Option<Identity>,
) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let store = Arc::new(if check == Check::Nothing { RootCertStore::empty() } else { roots.store()? });
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("cannot set TLS up: {e}"))?;
    let builder = if check == Check::Full {
        builder.with_root_certificates(store)
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(store, provider, &check)?))
    };
    match identity {
        Some(Identity { chain, key }) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| format!("the client certificate and key do not fit: {e}")),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// A verifier that checks less than, or another name than, rustls would.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    name: Option<ServerName<'static>>,
}

impl Verifier {
    fn new(store: Arc<RootCertStore>, provider: Arc<CryptoProvider>, check: &Check) -> Result<Self, String> {
        let name = match check {
            Check::Name(name) => Some(
                ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no TLS server name"))?,
            ),
            _ => None,
        };
        let chain = match check {
            Check::Nothing => None,
            _ => Some(
                WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&provider))
                    .build()
                    .map_err(|e| format!("no usable CA certificates: {e}"))?,
            ),
        };
        Ok(Self { provider, chain, name })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        let name = self.name.as_ref().unwrap_or(dialled);
        match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // webpki looks at the name last: whoever gets here has passed the chain.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.name.is_none() => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
