//! TLS towards Vault and towards the admin connection, with a certificate of our own where there is one.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::net::{TlsCheck, TlsRoots, tls_builder};

/// Our side's certificate chain and key, from PEM files.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads both files.
    pub(super) fn from_files(certificate: &Path, key: &Path) -> Result<Self, String> {
        let chain = TlsRoots::from_file(certificate)?.into_certificates();
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|e| format!("cannot use {} as a private key: {e}", key.display()))?;
        Ok(Self { chain, key })
    }
}

/// Puts a client configuration together.
pub(super) fn client_config(
    roots: TlsRoots,
    check: &TlsCheck,
    identity: Option<Identity>,
) -> Result<ClientConfig, String> {
    // Roots that nothing is checked against are not loaded.
    let store = if *check == TlsCheck::Nothing { RootCertStore::empty() } else { roots.store()? };
    let builder = tls_builder(check, store)?;
    match identity {
        Some(Identity { chain, key }) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| format!("the client certificate and key do not fit: {e}")),
        None => Ok(builder.with_no_client_auth()),
    }
}
