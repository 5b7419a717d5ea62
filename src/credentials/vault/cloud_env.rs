//! The variables by which the clouds' own tools find keys and metadata services.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html>.
//! An empty value counts as not set.

use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// What the environment says of the clouds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudEnvironment {
    /// AWS_ACCESS_KEY_ID.
    pub access_key_id: Option<String>,
    /// AWS_SECRET_ACCESS_KEY.
    pub secret_access_key: Option<Secret>,
    /// AWS_SESSION_TOKEN.
    pub session_token: Option<Secret>,
    /// AWS_SHARED_CREDENTIALS_FILE.
    pub credentials_file: Option<PathBuf>,
    /// `.aws/credentials` in HOME; it may not be there.
    pub usual_credentials_file: Option<PathBuf>,
    /// AWS_PROFILE.
    pub profile: Option<String>,
    /// AWS_WEB_IDENTITY_TOKEN_FILE.
    pub web_identity_token_file: Option<PathBuf>,
    /// AWS_ROLE_ARN.
    pub role_arn: Option<String>,
    /// AWS_ROLE_SESSION_NAME.
    pub role_session_name: Option<String>,
    /// AWS_ENDPOINT_URL_STS.
    pub sts_endpoint: Option<String>,
    /// AWS_EC2_METADATA_SERVICE_ENDPOINT.
    pub instance_endpoint: Option<String>,
    /// AWS_EC2_METADATA_DISABLED is `true`.
    pub instance_disabled: bool,
    /// GCE_METADATA_HOST, a host and perhaps a port.
    pub gcp_host: Option<String>,
    /// AZURE_POD_IDENTITY_AUTHORITY_HOST, a URL.
    pub azure_endpoint: Option<String>,
}

impl CloudEnvironment {
    /// Reads the variables through `lookup`.
    pub(super) fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let text =
            |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        Self {
            access_key_id: text("AWS_ACCESS_KEY_ID"),
            secret_access_key: text("AWS_SECRET_ACCESS_KEY").map(Secret::new),
            session_token: text("AWS_SESSION_TOKEN").map(Secret::new),
            credentials_file: path("AWS_SHARED_CREDENTIALS_FILE"),
            usual_credentials_file: text("HOME").map(|home| Path::new(&home).join(".aws/credentials")),
            profile: text("AWS_PROFILE"),
            web_identity_token_file: path("AWS_WEB_IDENTITY_TOKEN_FILE"),
            role_arn: text("AWS_ROLE_ARN"),
            role_session_name: text("AWS_ROLE_SESSION_NAME"),
            sts_endpoint: text("AWS_ENDPOINT_URL_STS"),
            instance_endpoint: text("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
            instance_disabled: text("AWS_EC2_METADATA_DISABLED")
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
            gcp_host: text("GCE_METADATA_HOST"),
            azure_endpoint: text("AZURE_POD_IDENTITY_AUTHORITY_HOST"),
        }
    }
}
