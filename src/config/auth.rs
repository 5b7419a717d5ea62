//! `[vault.auth]`: which login, and what it needs.

use std::path::PathBuf;

use super::auth_cloud::{read_aws, read_azure, read_gcp, read_role};
use super::problem::Findings;
use super::readable::should_be_readable;
use super::section::Section;
use crate::credentials::{VaultAuth, VaultEnvironment};
use crate::secret::Secret;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Token,
    TokenFile,
    AppRole,
    Kubernetes,
    Jwt,
    Userpass,
    Cert,
    Aws,
    Gcp,
    Azure,
    Ldap,
}

use Method::{AppRole, Aws, Azure, Cert, Gcp, Jwt, Kubernetes, Ldap, Token, TokenFile, Userpass};

/// The methods by name, as they are suggested.
const METHODS: &[(&str, Method)] = &[
    ("token", Token),
    ("token_file", TokenFile),
    ("approle", AppRole),
    ("kubernetes", Kubernetes),
    ("jwt", Jwt),
    ("userpass", Userpass),
    ("cert", Cert),
    ("aws", Aws),
    ("gcp", Gcp),
    ("azure", Azure),
    ("ldap", Ldap),
];

/// Where Kubernetes puts a pod's token.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Which methods a key belongs to; those of one method before those of several.
const KEYS: &[(&str, &[Method])] = &[
    ("token_file", &[Token, TokenFile]),
    ("token", &[Token]),
    ("role_id", &[AppRole]),
    ("secret_id_file", &[AppRole]),
    ("secret_id", &[AppRole]),
    ("secret_id_wrapped", &[AppRole]),
    ("username", &[Userpass, Ldap]),
    ("password_file", &[Userpass, Ldap]),
    ("password", &[Userpass, Ldap]),
    ("name", &[Cert]),
    ("region", &[Aws]),
    ("server_id", &[Aws]),
    ("resource", &[Azure]),
    ("client_id", &[Azure]),
    ("role", &[Kubernetes, Jwt, Aws, Gcp, Azure]),
    ("jwt_file", &[Kubernetes, Jwt]),
    ("mount", &[AppRole, Kubernetes, Jwt, Userpass, Cert, Aws, Gcp, Azure, Ldap]),
];

/// Reads `[vault.auth]`; `None` if something that the method needs is missing.
pub(super) fn read_auth(
    section: &Section<'_>,
    environment: &VaultEnvironment,
    has_certificate: bool,
    used: bool,
    findings: &mut Findings,
) -> Option<VaultAuth> {
    let method = read_method(section, findings)?;
    for (key, methods) in KEYS.iter().filter(|(key, methods)| section.has(key) && !methods.contains(&method))
    {
        let what = format!("belongs to method {}", named(methods));
        section.error(key, &what, "remove it, or change `method`", findings);
    }
    match method {
        Token => read_token(section, environment, used, findings),
        TokenFile => read_token_file(section, findings),
        AppRole => read_approle(section, findings),
        Kubernetes => {
            let mount = read_mount(section, "kubernetes", findings);
            let (role, jwt_file) = read_jwt(section, Some(SERVICE_ACCOUNT), findings)?;
            Some(VaultAuth::Kubernetes { mount, role, jwt_file })
        }
        Jwt => {
            let mount = read_mount(section, "jwt", findings);
            let (role, jwt_file) = read_jwt(section, None, findings)?;
            Some(VaultAuth::Jwt { mount, role, jwt_file })
        }
        Userpass | Ldap => read_userpass(section, method, findings),
        Cert => {
            if !has_certificate {
                let advice = "method \"cert\" logs in with it; set `vault.client_cert` and `vault.client_key`, \
                              or VAULT_CLIENT_CERT and VAULT_CLIENT_KEY";
                section.error("method", "is \"cert\", and there is no client certificate", advice, findings);
            }
            let mount = read_mount(section, "cert", findings);
            Some(VaultAuth::Cert { mount, name: section.filled("name", findings) })
        }
        Aws => {
            let mount = read_mount(section, "aws", findings);
            read_aws(section, &environment.cloud, mount, findings).map(VaultAuth::Aws)
        }
        Gcp => {
            let mount = read_mount(section, "gcp", findings);
            read_gcp(section, &environment.cloud, mount, findings).map(VaultAuth::Gcp)
        }
        Azure => {
            let mount = read_mount(section, "azure", findings);
            read_azure(section, &environment.cloud, mount, findings).map(VaultAuth::Azure)
        }
    }
}

/// Without a `method` it is the token, unless a key of another method is set.
fn read_method(section: &Section<'_>, findings: &mut Findings) -> Option<Method> {
    if section.has("method") {
        return section.choice("method", METHODS, findings);
    }
    let other = KEYS.iter().find(|(key, methods)| section.has(key) && !methods.contains(&Token));
    let Some((key, methods)) = other else { return Some(Token) };
    let advice = format!("set method = {} beside it", named(methods));
    section.error(key, "is set but `method` is not", &advice, findings);
    None
}

/// `"kubernetes" or "jwt"`
fn named(methods: &[Method]) -> String {
    let names: Vec<String> = METHODS
        .iter()
        .filter(|(_, method)| methods.contains(method))
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    names.join(" or ")
}

/// The token of the configuration, else VAULT_TOKEN, else what `vault login` left.
fn read_token(
    section: &Section<'_>,
    environment: &VaultEnvironment,
    used: bool,
    findings: &mut Findings,
) -> Option<VaultAuth> {
    let given = section.secret("token");
    if section.has("token_file") {
        if given.is_some() {
            let what = "is set, and so is a token in the environment";
            section.error("token_file", what, "keep one of them", findings);
            return None;
        }
        return read_token_file(section, findings);
    }
    if let Some(token) = given.or_else(|| environment.token.as_ref().map(trimmed)) {
        if !is_sendable(&token) {
            let what = "the token in the environment holds blanks or control characters";
            findings.error(&section.origin("token"), what, "");
            return None;
        }
        return Some(VaultAuth::Token { token });
    }
    if let Some(file) = environment.token_file.as_ref().filter(|file| file.is_file()) {
        return Some(VaultAuth::TokenFile { file: file.clone() });
    }
    if used {
        findings.error(
            &section.origin("method"),
            "there is no way to log in at Vault",
            "set `vault.auth.token_file`, the variable VAULT_TOKEN, or `vault.auth.method` with what it needs; \
             or run `vault login`, whose ~/.vault-token is taken",
        );
    }
    None
}

/// An Agent may write the file later than we start, and writes it anew again and again.
fn read_token_file(section: &Section<'_>, findings: &mut Findings) -> Option<VaultAuth> {
    if !section.has("token_file") {
        section.missing(
            "token_file",
            "name the file that holds the token, such as an Agent's sink",
            findings,
        );
    }
    let file = section.file("token_file", findings)?;
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let token = trimmed(&Secret::new(text));
            if token.is_empty() || !is_sendable(&token) {
                let what = format!("names {}, which does not hold one token", file.display());
                let advice = "the file must hold the token and nothing else";
                section.error("token_file", &what, advice, findings);
                return None;
            }
        }
        Err(_) => should_be_readable(section, "token_file", &file, findings),
    }
    Some(VaultAuth::TokenFile { file })
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
    let wrapped = section.flag("secret_id_wrapped", findings);
    if wrapped && secret_id.is_none() && !section.has("secret_id_file") {
        let advice = "name the file with the wrapping token, or set LEASEHOLD_VAULT__AUTH__SECRET_ID to it";
        section.missing("secret_id_file", advice, findings);
    }
    let mount = read_mount(section, "approle", findings);
    Some(VaultAuth::AppRole { mount, role_id: role_id?, secret_id_file, secret_id, wrapped })
}

/// Role and token file; `usual` is where the token is found unless said otherwise.
fn read_jwt(
    section: &Section<'_>,
    usual: Option<&str>,
    findings: &mut Findings,
) -> Option<(String, PathBuf)> {
    let role = read_role(section, findings);
    if !section.has("jwt_file") && usual.is_none() {
        section.missing("jwt_file", "name the file that holds the signed token", findings);
    }
    let given = section.file("jwt_file", findings);
    let file = given.or_else(|| usual.filter(|_| !section.has("jwt_file")).map(PathBuf::from))?;
    should_be_readable(section, "jwt_file", &file, findings);
    Some((role?, file))
}

fn read_userpass(section: &Section<'_>, method: Method, findings: &mut Findings) -> Option<VaultAuth> {
    let username = section.filled("username", findings);
    if !section.has("username") {
        section.missing("username", "name the user at Vault", findings);
    }
    let password_file = section.file("password_file", findings);
    let password = section.secret("password");
    match (&password_file, &password) {
        (Some(_), Some(_)) => {
            let what = "is set, and so is a password in the environment";
            section.error("password_file", what, "keep one of them", findings);
        }
        (Some(file), None) => should_be_readable(section, "password_file", file, findings),
        (None, None) if !section.has("password_file") => {
            let advice = "name the file, or set the variable LEASEHOLD_VAULT__AUTH__PASSWORD";
            section.missing("password_file", advice, findings);
        }
        _ => {}
    }
    let ldap = method == Ldap;
    let mount = read_mount(section, if ldap { "ldap" } else { "userpass" }, findings);
    let username = username?.trim().to_owned();
    Some(if ldap {
        VaultAuth::Ldap { mount, username, password_file, password }
    } else {
        VaultAuth::Userpass { mount, username, password_file, password }
    })
}

/// Where the method is mounted, below `auth/`.
fn read_mount(section: &Section<'_>, usual: &str, findings: &mut Findings) -> String {
    let mount = section.filled("mount", findings).unwrap_or_else(|| usual.to_owned());
    let mount = mount.trim().trim_matches('/').to_owned();
    if mount == "auth" || mount.starts_with("auth/") {
        section.error("mount", "begins with auth/", "write what stands between auth/ and /login", findings);
    }
    mount
}

/// A shell's `$(cat file)` keeps no newline, a container's environment does.
fn trimmed(token: &Secret) -> Secret {
    Secret::new(token.expose().trim().to_owned())
}

fn is_sendable(token: &Secret) -> bool {
    token.expose().chars().all(|c| c.is_ascii_graphic())
}
