//! Settings of the logins that a cloud vouches for.

use std::path::PathBuf;

use crate::secret::Secret;

/// The IAM login of Vault's `aws` method.
#[derive(Debug, Clone)]
pub struct AwsSettings {
    /// Where the method is mounted, `aws` unless set.
    pub mount: String,
    /// The role at Vault.
    pub role: String,
    /// Whose STS Vault is to ask: a part of what is signed.
    pub region: String,
    /// Signed along in a header, so that what is sent to one Vault is of no use at another.
    pub server_id: Option<String>,
    /// Where the keys come from.
    pub keys: AwsKeySource,
}

/// The login of Vault's `gcp` method as a machine (`gce`).
#[derive(Debug, Clone)]
pub struct GcpSettings {
    /// Where the method is mounted, `gcp` unless set.
    pub mount: String,
    /// The role at Vault.
    pub role: String,
    /// The metadata service, by GCE_METADATA_HOST or Google's own name.
    pub endpoint: String,
}

/// The login of Vault's `azure` method.
#[derive(Debug, Clone)]
pub struct AzureSettings {
    /// Where the method is mounted, `azure` unless set.
    pub mount: String,
    /// The role at Vault.
    pub role: String,
    /// What the token is for, as `resource` in the method's configuration at Vault.
    pub resource: String,
    /// Which of several identities of the machine.
    pub client_id: Option<String>,
    /// The metadata service, by AZURE_POD_IDENTITY_AUTHORITY_HOST or the link-local address.
    pub endpoint: String,
}

impl AwsSettings {
    /// Scheme and host of the region's STS.
    #[must_use]
    pub fn sts(&self) -> String {
        Self::sts_of(&self.region)
    }

    /// Scheme and host of a region's STS.
    #[must_use]
    pub fn sts_of(region: &str) -> String {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://sts.{region}.{domain}")
    }
}

/// Where AWS keys come from; all but those of the environment are asked for anew at each login.
#[derive(Debug, Clone)]
pub enum AwsKeySource {
    /// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
    Environment {
        /// The key's id.
        access_key_id: String,
        /// The key.
        secret_access_key: Secret,
        /// What temporary keys come with.
        session_token: Option<Secret>,
    },
    /// The shared credentials file.
    File {
        /// AWS_SHARED_CREDENTIALS_FILE, else `~/.aws/credentials`.
        file: PathBuf,
        /// AWS_PROFILE, else `default`.
        profile: String,
    },
    /// A token that STS gives keys of a role for, as EKS hands it to pods.
    WebIdentity {
        /// AWS_WEB_IDENTITY_TOKEN_FILE.
        token_file: PathBuf,
        /// AWS_ROLE_ARN.
        role_arn: String,
        /// AWS_ROLE_SESSION_NAME, else `leasehold`.
        session_name: String,
        /// AWS_ENDPOINT_URL_STS, else the region's STS.
        endpoint: String,
    },
    /// The role of the machine, from the instance metadata service (version 2).
    Instance {
        /// AWS_EC2_METADATA_SERVICE_ENDPOINT, else the link-local address.
        endpoint: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn china_has_a_domain_of_its_own() {
        assert_eq!(AwsSettings::sts_of("us-east-1"), "https://sts.us-east-1.amazonaws.com");
        assert_eq!(AwsSettings::sts_of("cn-north-1"), "https://sts.cn-north-1.amazonaws.com.cn");
    }
}
