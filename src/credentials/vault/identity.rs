//! Identity tokens of Google Cloud and Azure, which the metadata service of a machine signs for it.
//!
//! <https://cloud.google.com/compute/docs/instances/verifying-instance-identity>,
//! <https://learn.microsoft.com/en-us/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>

use http::Method as Verb;
use serde::Deserialize;
use url::Url;

use super::client::Client;
use super::endpoints::secret;
use super::errors::Method;
use super::login::{Body, Door, log_in};
use super::outside::{Outside, Question, misfit};
use super::token::Token;
use crate::credentials::{AzureSettings, GcpSettings, SourceError};
use crate::secret::Secret;

/// Both questions know this version; the names of scale sets are older.
const API_VERSION: (&str, &str) = ("api-version", "2018-02-01");

/// Asks for a token whose audience names the role, as the method wants it, and logs in.
pub(super) async fn log_in_by_gcp(
    client: &Client,
    outside: &Outside,
    gcp: &GcpSettings,
) -> Result<Token, SourceError> {
    let who = format!("the metadata service at {}", gcp.endpoint);
    let path = "computeMetadata/v1/instance/service-accounts/default/identity";
    let audience = format!("http://vault/{}", gcp.role);
    let url = address(&gcp.endpoint, path, &[("audience", &audience), ("format", "full")])?;
    let headers = [("Metadata-Flavor", "Google")];
    let question = Question { who: &who, method: Verb::GET, url: &url, headers: &headers, form: None };
    let text = outside.text(question, " (has the machine a service account?)").await?;
    let jwt = token(&who, Secret::new(text.trim().to_owned()))?;
    let body = Body { role: Some(&gcp.role), jwt: Some(jwt.expose()), ..Body::default() };
    let door = Door { method: Method::Gcp, mount: gcp.mount.trim_matches('/'), name: None };
    log_in(client, &door, &body, &jwt).await
}

/// Asks for a token of the managed identity and for what the machine is called, and logs in.
pub(super) async fn log_in_by_azure(
    client: &Client,
    outside: &Outside,
    azure: &AzureSettings,
) -> Result<Token, SourceError> {
    #[derive(Deserialize)]
    struct Granted {
        #[serde(deserialize_with = "secret")]
        access_token: Secret,
    }
    #[derive(Deserialize)]
    struct Instance {
        compute: Compute,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct Compute {
        name: String,
        resource_group_name: String,
        subscription_id: String,
        vm_scale_set_name: String,
    }
    let who = format!("the metadata service at {}", azure.endpoint);
    let headers = [("Metadata", "true")];
    let ask = async |path, more: &[(&str, &str)], why| {
        let parameters: Vec<_> = std::iter::once(API_VERSION).chain(more.iter().copied()).collect();
        let url = address(&azure.endpoint, path, &parameters)?;
        let question = Question { who: &who, method: Verb::GET, url: &url, headers: &headers, form: None };
        outside.text(question, why).await
    };
    let mut wanted = vec![("resource", azure.resource.as_str())];
    wanted.extend(azure.client_id.as_deref().map(|id| ("client_id", id)));
    let why = " (has the machine a managed identity, and is vault.auth.client_id needed or wrong?)";
    let granted = ask("metadata/identity/oauth2/token", &wanted, why).await?;
    let granted: Granted = serde_json::from_str(&granted).map_err(|_| misfit(&who))?;
    let jwt = token(&who, granted.access_token)?;
    let instance = ask("metadata/instance", &[], "").await?;
    let Instance { compute } = serde_json::from_str(&instance).map_err(|_| misfit(&who))?;
    let body = Body {
        role: Some(&azure.role),
        jwt: Some(jwt.expose()),
        subscription_id: filled(&compute.subscription_id),
        resource_group_name: filled(&compute.resource_group_name),
        vm_name: filled(&compute.name),
        vmss_name: filled(&compute.vm_scale_set_name),
        ..Body::default()
    };
    let door = Door { method: Method::Azure, mount: azure.mount.trim_matches('/'), name: None };
    log_in(client, &door, &body, &jwt).await
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn address(endpoint: &str, path: &str, parameters: &[(&str, &str)]) -> Result<String, SourceError> {
    let base = format!("{}/{path}", endpoint.trim_end_matches('/'));
    Url::parse_with_params(&base, parameters).map(String::from).map_err(|_| SourceError::Misconfigured {
        message: format!("the metadata service's address {endpoint} is no URL"),
    })
}

/// Three parts and nothing round them, else it is somebody else who answers.
fn token(who: &str, jwt: Secret) -> Result<Secret, SourceError> {
    let text = jwt.expose();
    let whole = text.chars().all(|c| c.is_ascii_graphic()) && text.split('.').count() == 3;
    if whole { Ok(jwt) } else { Err(misfit(who)) }
}
