//! `[vault.auth]` where a cloud vouches for us: what its own variables say is taken as its own tools take it.

use url::Url;

use super::problem::{Findings, Origin};
use super::section::Section;
use crate::credentials::{AwsKeySource, AwsSettings, AzureSettings, CloudEnvironment, GcpSettings};

/// Where machines of EC2 and of Azure find their metadata service.
const INSTANCE: &str = "http://169.254.169.254";

/// The role of an auth method at Vault.
pub(super) fn read_role(section: &Section<'_>, findings: &mut Findings) -> Option<String> {
    if !section.has("role") {
        section.missing("role", "name the role of the auth method at Vault", findings);
    }
    section.filled("role", findings).map(|role| role.trim().to_owned())
}

/// Role, region and server id, and where the keys are.
pub(super) fn read_aws(
    section: &Section<'_>,
    environment: &CloudEnvironment,
    mount: String,
    findings: &mut Findings,
) -> Option<AwsSettings> {
    let role = read_role(section, findings);
    let region = section.filled("region", findings).unwrap_or_else(|| "us-east-1".to_owned());
    let region = region.trim().to_owned();
    if !region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        section.error("region", "is no region", "write for example \"eu-central-1\"", findings);
    }
    let server_id = section.filled("server_id", findings).map(|id| id.trim().to_owned());
    if server_id.as_ref().is_some_and(|id| !id.chars().all(|c| c == ' ' || c.is_ascii_graphic())) {
        let advice = "write what `iam_server_id_header_value` is at Vault";
        section.error("server_id", "holds a character that no HTTP header may hold", advice, findings);
    }
    let keys = find_keys(section, environment, &region, findings);
    Some(AwsSettings { mount, role: role?, region, server_id, keys: keys? })
}

/// Of several places the first one counts: keys, a web identity, a credentials file, the machine itself.
fn find_keys(
    section: &Section<'_>,
    environment: &CloudEnvironment,
    region: &str,
    findings: &mut Findings,
) -> Option<AwsKeySource> {
    let variable = |name: &str| Origin::Variable(name.to_owned());
    match (&environment.access_key_id, &environment.secret_access_key) {
        (Some(id), Some(key)) => {
            return Some(AwsKeySource::Environment {
                access_key_id: id.clone(),
                secret_access_key: key.clone(),
                session_token: environment.session_token.clone(),
            });
        }
        (None, None) => {}
        _ => {
            let what = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together, and one of them is missing";
            findings.error(&variable("AWS_ACCESS_KEY_ID"), what, "set both or none");
            return None;
        }
    }
    if let Some(token_file) = &environment.web_identity_token_file {
        let Some(role_arn) = environment.role_arn.clone() else {
            let what = "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not";
            findings.error(
                &variable("AWS_WEB_IDENTITY_TOKEN_FILE"),
                what,
                "name the role that the token is for",
            );
            return None;
        };
        let usual = AwsSettings::sts_of(region);
        let session_name = environment.role_session_name.clone();
        return Some(AwsKeySource::WebIdentity {
            token_file: token_file.clone(),
            role_arn,
            session_name: session_name.unwrap_or_else(|| "leasehold".to_owned()),
            endpoint: endpoint(
                "AWS_ENDPOINT_URL_STS",
                environment.sts_endpoint.as_deref(),
                &usual,
                findings,
            )?,
        });
    }
    if let Some(file) = credentials_file(environment) {
        let profile = environment.profile.clone().unwrap_or_else(|| "default".to_owned());
        return Some(AwsKeySource::File { file, profile });
    }
    if environment.instance_disabled {
        findings.error(
            &section.origin("method"),
            "there are no AWS keys to sign the login with",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, or \
             AWS_SHARED_CREDENTIALS_FILE; AWS_EC2_METADATA_DISABLED forbids to ask the machine",
        );
        return None;
    }
    let name = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    let endpoint = endpoint(name, environment.instance_endpoint.as_deref(), INSTANCE, findings)?;
    Some(AwsKeySource::Instance { endpoint })
}

/// The file that is named, or that must be meant, or that is there.
fn credentials_file(environment: &CloudEnvironment) -> Option<std::path::PathBuf> {
    let meant = environment.profile.is_some();
    let usual = environment.usual_credentials_file.as_ref().filter(|file| meant || file.is_file());
    environment.credentials_file.as_ref().or(usual).cloned()
}

/// Role and metadata service.
pub(super) fn read_gcp(
    section: &Section<'_>,
    environment: &CloudEnvironment,
    mount: String,
    findings: &mut Findings,
) -> Option<GcpSettings> {
    let role = read_role(section, findings);
    let host = environment.gcp_host.as_deref().map(|host| format!("http://{host}"));
    let usual = "http://metadata.google.internal";
    let endpoint = endpoint("GCE_METADATA_HOST", host.as_deref(), usual, findings);
    Some(GcpSettings { mount, role: role?, endpoint: endpoint? })
}

/// Role, what the token is for, and which identity it is of.
pub(super) fn read_azure(
    section: &Section<'_>,
    environment: &CloudEnvironment,
    mount: String,
    findings: &mut Findings,
) -> Option<AzureSettings> {
    let role = read_role(section, findings);
    let resource = section.filled("resource", findings);
    let resource = resource.unwrap_or_else(|| "https://management.azure.com/".to_owned()).trim().to_owned();
    let client_id = section.filled("client_id", findings).map(|id| id.trim().to_owned());
    let name = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
    let endpoint = endpoint(name, environment.azure_endpoint.as_deref(), INSTANCE, findings);
    Some(AzureSettings { mount, role: role?, resource, client_id, endpoint: endpoint? })
}

/// The address in the variable `name`, else the usual one.
fn endpoint(name: &str, given: Option<&str>, usual: &str, findings: &mut Findings) -> Option<String> {
    let Some(given) = given else { return Some(usual.to_owned()) };
    let url = Url::parse(given).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !url.is_some_and(|url| url.username().is_empty() && url.query().is_none() && url.password().is_none())
    {
        let form = if name == "GCE_METADATA_HOST" { "a host" } else { "an http or https URL of a host" };
        let what = format!("{name} is not {form}");
        findings.error(&Origin::Variable(name.to_owned()), what, "correct it, or remove the variable");
        return None;
    }
    Some(given.trim_end_matches('/').to_owned())
}

#[cfg(test)]
#[path = "auth_cloud_tests.rs"]
mod tests;
