//! `[vault]`: the file wins over the `VAULT_…` and `BAO_…` variables, key by key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::{Host, Url};

use super::auth::read_auth;
use super::problem::{Findings, Origin};
use super::readable::must_be_readable;
use super::section::Section;
use crate::credentials::{VaultEnvironment, VaultSettings};

/// Reads `[vault]`; `None` if no database uses it or something that it needs is missing.
pub(super) fn read(
    section: &Section<'_>,
    environment: &VaultEnvironment,
    state_dir: Option<&Path>,
    used: bool,
    findings: &mut Findings,
) -> Option<VaultSettings> {
    if !used && section.is_present() {
        let advice = "remove it, or give a database `credentials = { source = \"vault\", path = … }`";
        findings.warning(section.here(), "[vault] is set but no database uses it", advice);
    }
    if !used && !section.is_present() {
        return None;
    }
    let address = read_address(section, environment, used, findings);
    let (ca_file, ca_bytes, ca_path) = read_roots(section, environment, findings);
    let (client_cert, client_key) = read_identity(section, environment, findings);
    let auth = read_auth(&section.below("auth"), environment, client_cert.is_some(), used, findings);
    let timeout = section.some_time("timeout", findings).or(environment.timeout);
    let mut settings = VaultSettings {
        address: address.unwrap_or_default(),
        namespace: section
            .text("namespace", findings)
            .or_else(|| environment.namespace.clone())
            .unwrap_or_default()
            .trim_matches('/')
            .to_owned(),
        ca_file,
        ca_path,
        ca_bytes,
        client_cert,
        client_key,
        tls_server_name: section
            .filled("tls_server_name", findings)
            .or_else(|| environment.tls_server_name.clone()),
        skip_verify: environment.skip_verify.unwrap_or(false),
        timeout: timeout.unwrap_or(Duration::from_secs(15)),
        auth: auth?,
        pace: Default::default(),
    };
    if let Some(directory) = state_dir {
        settings.keep_refusals_in(directory);
    }
    if settings.skip_verify && used {
        findings.warning(
            &Origin::Variable("VAULT_SKIP_VERIFY".into()),
            "Vault's certificate is not verified: whoever is on the way can read the token and every password",
            "set `vault.ca_file` instead",
        );
    }
    used.then_some(settings)
}

fn read_address(
    section: &Section<'_>,
    environment: &VaultEnvironment,
    used: bool,
    findings: &mut Findings,
) -> Option<String> {
    let set_here = section.has("address");
    let text =
        section.filled("address", findings).or_else(|| environment.address.clone().filter(|_| !set_here));
    let Some(text) = text else {
        if used && !set_here {
            section.missing("address", "set it, or the variable VAULT_ADDR or BAO_ADDR", findings);
        }
        return None;
    };
    let place =
        if set_here { "`vault.address`".to_owned() } else { "Vault's address in the environment".to_owned() };
    let origin = section.origin("address");
    let form = "write for example \"https://vault.example.com:8200\"";
    let Ok(url) = Url::parse(text.trim()) else {
        findings.error(&origin, format!("{place} is no URL"), form);
        return None;
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        findings.error(&origin, format!("{place} is not an http or https URL"), form);
        return None;
    }
    if !url.username().is_empty() || url.password().is_some() {
        findings.error(&origin, format!("{place} holds a user or password"), "logins belong in [vault.auth]");
        return None;
    }
    if url.query().is_some() || url.fragment().is_some() {
        findings.error(&origin, format!("{place} has a ? or # part"), form);
        return None;
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        let what = format!("{place} is plain http: tokens and passwords cross the network unencrypted");
        findings.warning(&origin, what, "use https");
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

type Roots = (Option<PathBuf>, Option<String>, Option<PathBuf>);

/// A CA in the file replaces every CA of the environment; there CACERT wins over CACERT_BYTES over CAPATH.
fn read_roots(section: &Section<'_>, environment: &VaultEnvironment, findings: &mut Findings) -> Roots {
    if let Some(file) = section.file("ca_file", findings) {
        must_be_readable(section, "ca_file", &file, findings);
        return (Some(file), None, None);
    }
    match (&environment.ca_file, &environment.ca_bytes) {
        (Some(file), _) => (Some(file.clone()), None, None),
        (None, Some(bytes)) => (None, Some(bytes.clone()), None),
        (None, None) => (None, None, environment.ca_path.clone()),
    }
}

fn read_identity(
    section: &Section<'_>,
    environment: &VaultEnvironment,
    findings: &mut Findings,
) -> (Option<PathBuf>, Option<PathBuf>) {
    let (cert, key) = (section.file("client_cert", findings), section.file("client_key", findings));
    for (name, file) in [("client_cert", &cert), ("client_key", &key)] {
        if let Some(file) = file {
            must_be_readable(section, name, file, findings);
        }
    }
    match (section.has("client_cert"), section.has("client_key")) {
        (true, false) => section.missing("client_key", "a client certificate needs its key", findings),
        (false, true) => section.missing("client_cert", "a client key needs its certificate", findings),
        (true, true) => {}
        (false, false) => {
            if environment.client_cert.is_some() != environment.client_key.is_some() {
                let origin = Origin::Variable("VAULT_CLIENT_CERT".into());
                let what = "VAULT_CLIENT_CERT and VAULT_CLIENT_KEY go together, and one of them is missing";
                findings.error(&origin, what, "set both or none");
            }
            return (environment.client_cert.clone(), environment.client_key.clone());
        }
    }
    (cert, key)
}
