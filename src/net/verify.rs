//! What of a server's certificate is checked, for every TLS client here. TLS 1.2 or newer, ring,
//! nothing installed process-wide.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// What of the peer's certificate is checked. The handshake's signatures always are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsCheck {
    /// Nothing.
    Nothing,
    /// The chain only.
    Chain,
    /// The chain, and this name; `None`: the one that was dialled.
    Name(Option<String>),
}

/// The beginning of a client's configuration: all but the certificate that the client may have itself.
///
/// # Errors
/// What cannot be used: the roots, or the name.
pub fn tls_builder(
    check: &TlsCheck,
    store: RootCertStore,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("cannot set TLS up: {e}"))?;
    if *check == TlsCheck::Name(None) {
        // What rustls does by itself, and it takes a system without roots.
        return Ok(builder.with_root_certificates(store));
    }
    let verifier = Verifier::new(check, store, provider)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
}

/// Checks less than, or another name than, rustls would.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Without one, any name will do.
    name: Option<ServerName<'static>>,
}

impl Verifier {
    fn new(check: &TlsCheck, store: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let name = match check {
            TlsCheck::Name(Some(name)) => Some(
                ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no TLS server name"))?,
            ),
            _ => None,
        };
        let chain = match check {
            TlsCheck::Nothing => None,
            TlsCheck::Chain | TlsCheck::Name(_) => Some(
                WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
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
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        let name = self.name.as_ref().unwrap_or(dialled);
        match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // webpki looks at the name last: whoever gets here has passed the chain.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.name.is_none() => Ok(ServerCertVerified::assertion()),
            result => result,
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
