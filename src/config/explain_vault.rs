//! What `[vault]` means, in plain sentences.

use super::report::{Report, or_none, span};
use crate::credentials::{AwsKeySource, AwsSettings, VaultAuth, VaultSettings};

pub(super) fn explain_vault(report: &mut Report<'_>, vault: &VaultSettings) {
    report.heading("vault");
    report.item("vault.address", &vault.address, "Users are issued here.");
    if vault.namespace.is_empty() {
        report.item("vault.namespace", "none", "Requests name no namespace.");
    } else {
        report.item("vault.namespace", &vault.namespace, "Every request is made in this namespace.");
    }
    explain_tls(report, vault);
    let timeout = span(vault.timeout);
    report.item(
        "vault.timeout",
        &timeout,
        format!("A call that takes longer than {timeout} has failed and is tried again."),
    );
    explain_auth(report, &vault.auth);
}

fn explain_tls(report: &mut Report<'_>, vault: &VaultSettings) {
    let roots = match (&vault.ca_file, &vault.ca_bytes, &vault.ca_path) {
        _ if vault.skip_verify => "Vault's certificate is NOT verified (VAULT_SKIP_VERIFY).".to_owned(),
        _ if vault.address.starts_with("http://") => "Not used: the address is plain http.".to_owned(),
        (Some(file), _, _) => format!("Only the CAs in {} are trusted.", file.display()),
        (None, Some(_), _) => "Only the CAs in VAULT_CACERT_BYTES are trusted.".to_owned(),
        (None, None, Some(path)) => format!("Only the CAs in the directory {} are trusted.", path.display()),
        (None, None, None) => "The system's CAs are trusted.".to_owned(),
    };
    report.item("vault.ca_file", or_none(vault.ca_file.as_ref().map(|file| file.display())), roots);
    if let (Some(cert), Some(key)) = (&vault.client_cert, &vault.client_key) {
        report.item("vault.client_cert", cert.display(), "Shown to Vault at each connection.");
        report.item("vault.client_key", key.display(), "Read at start; never shown.");
    }
    if let Some(name) = &vault.tls_server_name {
        report.item("vault.tls_server_name", name, "Vault's certificate must be for this name.");
    }
}

fn explain_auth(report: &mut Report<'_>, auth: &VaultAuth) {
    match auth {
        VaultAuth::Token { .. } => report.item(
            "vault.auth.method",
            "token",
            "The token comes from the environment; all users share it, and none outlives it.",
        ),
        VaultAuth::TokenFile { file } => report.item(
            "vault.auth.method",
            "token_file",
            format!(
                "The token is in {}; all users share it, and none outlives it. Another one in the file means a new user at once.",
                file.display()
            ),
        ),
        VaultAuth::AppRole { mount, secret_id_file, secret_id, wrapped, .. } => {
            explain_login(report, "approle", mount);
            let secret = match (secret_id_file, secret_id) {
                (Some(file), _) => format!("read anew at each login from {}", file.display()),
                (None, Some(_)) => "from the environment".to_owned(),
                (None, None) => "none: the role must have bind_secret_id=false".to_owned(),
            };
            let what = if *wrapped { "The token that the secret id is wrapped in" } else { "The secret id" };
            report.item("vault.auth.role_id", "set", format!("{what} is {secret}."));
        }
        VaultAuth::Kubernetes { mount, role, jwt_file } | VaultAuth::Jwt { mount, role, jwt_file } => {
            let kubernetes = matches!(auth, VaultAuth::Kubernetes { .. });
            explain_login(report, if kubernetes { "kubernetes" } else { "jwt" }, mount);
            report.item("vault.auth.role", role, "The role at Vault.");
            report.item("vault.auth.jwt_file", jwt_file.display(), "Read anew at each login.");
        }
        VaultAuth::Userpass { mount, username, password_file, .. }
        | VaultAuth::Ldap { mount, username, password_file, .. } => {
            let ldap = matches!(auth, VaultAuth::Ldap { .. });
            explain_login(report, if ldap { "ldap" } else { "userpass" }, mount);
            let from = match password_file {
                Some(file) => format!("read anew at each login from {}", file.display()),
                None => "from the environment".to_owned(),
            };
            report.item("vault.auth.username", username, format!("The password is {from}."));
        }
        VaultAuth::Cert { mount, name } => {
            explain_login(report, "cert", mount);
            let name = name.as_deref();
            report.item("vault.auth.name", or_none(name), "The role that `vault.client_cert` is to match.");
        }
        VaultAuth::Aws(aws) => explain_aws(report, aws),
        VaultAuth::Gcp(gcp) => {
            explain_login(report, "gcp", &gcp.mount);
            explain_machine(report, &gcp.role, &gcp.endpoint);
        }
        VaultAuth::Azure(azure) => {
            explain_login(report, "azure", &azure.mount);
            explain_machine(report, &azure.role, &azure.endpoint);
            let resource = "What the token is for; Vault's `resource` must be the same.";
            report.item("vault.auth.resource", &azure.resource, resource);
            let client_id = azure.client_id.as_deref();
            report.item("vault.auth.client_id", or_none(client_id), "Which of several identities it is.");
        }
    }
}

fn explain_machine(report: &mut Report<'_>, role: &str, endpoint: &str) {
    let from =
        format!("The role at Vault. The token is asked of the metadata service at {endpoint} at each login.");
    report.item("vault.auth.role", role, from);
}

fn explain_aws(report: &mut Report<'_>, aws: &AwsSettings) {
    explain_login(report, "aws", &aws.mount);
    let from = match &aws.keys {
        AwsKeySource::Environment { session_token: None, .. } => "come from the environment".to_owned(),
        AwsKeySource::Environment { session_token: Some(_), .. } => {
            "come from the environment; they are temporary, and never replaced while this runs".to_owned()
        }
        AwsKeySource::File { file, profile } => {
            format!("are read anew at each login from profile {profile} of {}", file.display())
        }
        AwsKeySource::WebIdentity { token_file, role_arn, endpoint, .. } => format!(
            "are those of {role_arn}, asked of {endpoint} at each login with the token in {}",
            token_file.display()
        ),
        AwsKeySource::Instance { endpoint } => {
            format!("are asked of the instance metadata service at {endpoint} at each login")
        }
    };
    report.item("vault.auth.role", &aws.role, format!("The role at Vault. The AWS keys {from}."));
    report.item(
        "vault.auth.region",
        &aws.region,
        format!("Vault's `sts_region` and `sts_endpoint` must be this region's ({}).", aws.sts()),
    );
    let server_id = match &aws.server_id {
        Some(_) => "Signed along: no other Vault takes this login.",
        None => "A Vault with an `iam_server_id_header_value` refuses the login.",
    };
    report.item("vault.auth.server_id", or_none(aws.server_id.as_deref()), server_id);
}

fn explain_login(report: &mut Report<'_>, method: &str, mount: &str) {
    report.item("vault.auth.method", method, "Each user gets a login of its own, which ends with it.");
    report.item("vault.auth.mount", mount, format!("Logins go to auth/{mount}/login."));
}
