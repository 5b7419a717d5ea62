//! Certificates for a test: a CA of its own, and what it signs.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// PEM files of one certificate and its key; they live as long as their [`Ca`].
#[derive(Debug, Clone)]
pub struct CertFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// A certificate authority that nobody else trusts.
pub struct Ca {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Leasehold test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let directory = tempfile::Builder::new().prefix("leasehold-ca-").tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), &pem).unwrap();
        Self { directory, issuer: Issuer::new(params, key), pem }
    }

    /// The CA's own certificate.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The same as text.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for servers and clients alike; `names` are host names or addresses.
    pub fn issue(&self, names: &[&str]) -> CertFiles {
        self.issue_until(names, 4096)
    }

    /// One that has ended.
    pub fn issue_expired(&self, names: &[&str]) -> CertFiles {
        self.issue_until(names, 2001)
    }

    /// Valid until New Year of that year.
    fn issue_until(&self, names: &[&str], year: i32) -> CertFiles {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, names[0].as_str());
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let stem = names[0].replace(|c: char| !c.is_ascii_alphanumeric(), "_") + &format!("_{year}");
        let files = CertFiles {
            cert: self.directory.path().join(format!("{stem}.pem")),
            key: self.directory.path().join(format!("{stem}.key")),
        };
        std::fs::write(&files.cert, cert.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}
