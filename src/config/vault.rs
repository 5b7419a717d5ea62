//! `[vault]`: the file wins over the `VAULT_…` and `BAO_…` variables, key by key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::{Host, Url};

use super::problem::{Findings, Origin};
use super::section::Section;
use crate::credentials::{VaultAuth, VaultEnvironment, VaultSettings};
use crate::secret::Secret;

/// Reads `[vault]`; `None` if no database uses it or something that it needs is missing.
pub(super) fn read(
    section: &Section<'_>,
    environment: &VaultEnvironment,
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
    let auth = read_auth(&section.below("auth"), environment, used, findings);
    let (ca_file, ca_bytes, ca_path) = read_roots(section, environment, findings);
    let (client_cert, client_key) = read_identity(section, environment, findings);
    let timeout = section.some_time("timeout", findings).or(environment.timeout);
    let settings = VaultSettings {
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
    };
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Token,
    AppRole,
}

fn read_auth(
    section: &Section<'_>,
    environment: &VaultEnvironment,
    used: bool,
    findings: &mut Findings,
) -> Option<VaultAuth> {
    let words = [("token", Method::Token), ("approle", Method::AppRole)];
    let approle_keys = ["mount", "role_id", "secret_id_file", "secret_id"];
    let method = if section.has("method") {
        section.choice("method", &words, findings)?
    } else if let Some(key) = approle_keys.iter().find(|key| section.has(key)) {
        let advice = "set method = \"approle\" beside it";
        section.error(key, "is set but `method` is not", advice, findings);
        return None;
    } else {
        Method::Token
    };
    let foreign: &[&str] = match method {
        Method::Token => &approle_keys,
        Method::AppRole => &["token_file", "token"],
    };
    for key in foreign.iter().filter(|key| section.has(key)) {
        let other = if method == Method::Token { "approle" } else { "token" };
        section.error(
            key,
            &format!("belongs to method \"{other}\""),
            "remove it, or change `method`",
            findings,
        );
    }
    match method {
        Method::Token => read_token(section, environment, used, findings),
        Method::AppRole => read_approle(section, findings),
    }
}

fn read_token(
    section: &Section<'_>,
    environment: &VaultEnvironment,
    used: bool,
    findings: &mut Findings,
) -> Option<VaultAuth> {
    let given = section.secret("token");
    if let Some(file) = section.file("token_file", findings) {
        if given.is_some() {
            section.error(
                "token_file",
                "is set, and so is a token in the environment",
                "keep one of them",
                findings,
            );
            return None;
        }
        let token = read_secret_file(section, "token_file", &file, findings)?;
        return Some(VaultAuth::Token { token });
    }
    let Some(token) = given.or_else(|| environment.token.as_ref().map(trimmed)) else {
        if used && !section.has("token_file") {
            findings.error(
                &section.origin("method"),
                "there is no way to log in at Vault",
                "set `vault.auth.token_file`, the variable VAULT_TOKEN, or method = \"approle\" with its role_id",
            );
        }
        return None;
    };
    if !is_sendable(&token) {
        findings.error(
            &section.origin("token"),
            "the token in the environment holds blanks or control characters",
            "",
        );
        return None;
    }
    Some(VaultAuth::Token { token })
}

fn read_approle(section: &Section<'_>, findings: &mut Findings) -> Option<VaultAuth> {
    let role_id = section.filled("role_id", findings);
    if !section.has("role_id") {
        section.missing("role_id", "`vault read auth/approle/role/NAME/role-id` shows it", findings);
    }
    let secret_id_file = section.file("secret_id_file", findings);
    let secret_id = section.secret("secret_id");
    match (&secret_id_file, &secret_id) {
        (Some(_), Some(_)) => {
            let what = "is set, and so is a secret id in the environment";
            section.error("secret_id_file", what, "keep one of them", findings);
        }
        (Some(file), None) => should_be_readable(section, "secret_id_file", file, findings),
        (None, None) if !section.has("secret_id_file") => findings.warning(
            &section.origin("role_id"),
            "there is no secret id: Vault accepts that only for a role with bind_secret_id=false",
            "set `vault.auth.secret_id_file` or the variable LEASEHOLD_VAULT__AUTH__SECRET_ID",
        ),
        _ => {}
    }
    let mount = section.filled("mount", findings).unwrap_or_else(|| "approle".to_owned());
    let mount = mount.trim_matches('/').to_owned();
    if mount == "auth" || mount.starts_with("auth/") {
        section.error("mount", "begins with auth/", "write what stands between auth/ and /login", findings);
    }
    Some(VaultAuth::AppRole { mount, role_id: role_id?, secret_id_file, secret_id })
}

fn read_secret_file(
    section: &Section<'_>,
    name: &str,
    file: &Path,
    findings: &mut Findings,
) -> Option<Secret> {
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let secret = Secret::new(text.trim().to_owned());
            drop(Secret::new(text));
            if secret.is_empty() || !is_sendable(&secret) {
                let what = format!("names {}, which does not hold one token", file.display());
                section.error(name, &what, "the file must hold the token and nothing else", findings);
                return None;
            }
            Some(secret)
        }
        Err(error) => {
            unreadable(section, name, file, &error, findings);
            None
        }
    }
}

/// A shell's `$(cat file)` keeps no newline, a container's environment does.
fn trimmed(token: &Secret) -> Secret {
    Secret::new(token.expose().trim().to_owned())
}

fn is_sendable(token: &Secret) -> bool {
    token.expose().chars().all(|c| c.is_ascii_graphic())
}

/// Reports a file that must be there when the proxy starts.
pub(super) fn must_be_readable(section: &Section<'_>, name: &str, file: &Path, findings: &mut Findings) {
    if let Err(error) = std::fs::File::open(file) {
        unreadable(section, name, file, &error, findings);
    }
}

/// Warns of a file that is read when it is needed: something else may still write it.
pub(super) fn should_be_readable(section: &Section<'_>, name: &str, file: &Path, findings: &mut Findings) {
    if let Err(error) = std::fs::File::open(file) {
        let what = format!("`{}`: {} cannot be read now: {error}", section.path_of(name), file.display());
        findings.warning(&section.origin(name), what, "it must be there when the first user is issued");
    }
}

fn unreadable(
    section: &Section<'_>,
    name: &str,
    file: &Path,
    error: &std::io::Error,
    findings: &mut Findings,
) {
    let what = format!("names {}, which cannot be read: {error}", file.display());
    section.error(name, &what, "correct the path, or let this user read the file", findings);
}
