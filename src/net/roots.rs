//! CA certificates that a server's certificate is checked against.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Roots from files or text; empty means: the system's.
#[derive(Debug, Clone, Default)]
pub struct TlsRoots {
    certificates: Vec<CertificateDer<'static>>,
}

impl TlsRoots {
    /// The certificates of one PEM file.
    ///
    /// # Errors
    /// What is wrong with it, with its name.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        Self::from_pem(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// The certificates of PEM text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_pem(text: &[u8]) -> Result<Self, String> {
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
    ///
    /// # Errors
    /// What is wrong with it, with its name.
    pub fn from_directory(path: &Path) -> Result<Self, String> {
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

    /// The system's, without those that cannot be used.
    ///
    /// # Errors
    /// Why there is none.
    pub fn system() -> Result<RootCertStore, String> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            return Err(found.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
        }
        Ok(store)
    }

    /// The certificates themselves, none for the system's.
    #[must_use]
    pub fn into_certificates(self) -> Vec<CertificateDer<'static>> {
        self.certificates
    }

    /// As rustls wants them; none if the system has none.
    ///
    /// # Errors
    /// One of our own cannot be used.
    pub fn store(self) -> Result<RootCertStore, String> {
        if self.certificates.is_empty() {
            return Ok(Self::system().unwrap_or_else(|_| RootCertStore::empty()));
        }
        let mut store = RootCertStore::empty();
        for certificate in self.certificates {
            store.add(certificate).map_err(|e| format!("a CA certificate cannot be used: {e}"))?;
        }
        Ok(store)
    }
}
