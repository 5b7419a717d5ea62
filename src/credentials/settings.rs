//! The settings of this room, as the configuration fills them in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clouds::{AwsSettings, AzureSettings, GcpSettings};
use super::local::LocalSettings;
use super::vault::LoginPace;
use crate::secret::Secret;

/// When users are replaced and how their connections end (`[rotation]`).
#[derive(Debug, Clone, PartialEq)]
pub struct RotationSettings {
    /// Fraction of the effective lifetime after which the next user is issued, 0 < at < 1.
    pub at: f64,
    /// Spread of that moment, as a fraction of the lifetime, half to either side, 0 ≤ jitter < 1.
    pub jitter: f64,
    /// How long a retired generation may drain, within its lease.
    pub drain_timeout: Duration,
    /// What busy connections of a user that was revoked out of band get.
    pub revoked_grace: Duration,
    /// How often pg_roles is asked.
    pub watch_interval: Duration,
    /// How long past its end a user may serve while the source is unreachable.
    pub outage_grace: Duration,
    /// Which users are given more time.
    pub renew: RenewPolicy,
}

/// When a lease is renewed (`rotation.renew`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RenewPolicy {
    /// While a replaced user drains, and where the next one is late.
    #[default]
    WhileDraining,
    /// Also ahead of need, and the next user comes when the source gives no full life any more.
    UntilMax,
    /// No lease is.
    Never,
}

impl Default for RotationSettings {
    fn default() -> Self {
        Self {
            at: 0.7,
            jitter: 0.1,
            drain_timeout: Duration::from_secs(24 * 3600),
            revoked_grace: Duration::from_secs(5),
            watch_interval: Duration::from_secs(1),
            outage_grace: Duration::ZERO,
            renew: RenewPolicy::default(),
        }
    }
}

/// `credentials` of one database.
#[derive(Debug, Clone, PartialEq)]
pub struct CredentialsSettings {
    /// The `[credentials.NAME]` that it names: shared with all others that do so, on one server.
    pub name: Option<String>,
    /// Where the users come from.
    pub source: SourceSettings,
}

/// Where users come from (`source = …`).
#[derive(Debug, Clone, PartialEq)]
pub enum SourceSettings {
    /// A dynamic role of Vault's or OpenBao's database secrets engine.
    Vault {
        /// `database/creds/ROLE`, mount included.
        path: String,
    },
    /// The embedded issuer.
    Local(LocalSettings),
}

/// How to reach and log in at Vault (`[vault]`), environment already applied.
#[derive(Debug, Clone)]
pub struct VaultSettings {
    /// Base URL; a path prefix is allowed.
    pub address: String,
    /// Namespace, empty for none.
    pub namespace: String,
    /// CA certificates (PEM file) that replace the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Directory of CA certificates (VAULT_CAPATH).
    pub ca_path: Option<PathBuf>,
    /// CA certificates as PEM text (VAULT_CACERT_BYTES).
    pub ca_bytes: Option<String>,
    /// Client certificate and key (PEM files).
    pub client_cert: Option<PathBuf>,
    /// Key of `client_cert`.
    pub client_key: Option<PathBuf>,
    /// Name to verify instead of the address's host (VAULT_TLS_SERVER_NAME).
    pub tls_server_name: Option<String>,
    /// Do not verify the certificate (VAULT_SKIP_VERIFY), warned about at start.
    pub skip_verify: bool,
    /// Bound of one HTTP call.
    pub timeout: Duration,
    /// The login.
    pub auth: VaultAuth,
    /// What Vault refused so far; shared by all clones of these settings.
    pub pace: LoginPace,
}

impl VaultSettings {
    /// How often Vault refused a login is kept in this directory, where Vault locks names.
    pub fn keep_refusals_in(&mut self, directory: &Path) {
        let Self { address, namespace, auth, .. } = &*self;
        if let Some((mount, name)) = auth.locked_name() {
            self.pace = LoginPace::kept_in(directory, &[address, namespace, mount, name]);
        }
    }
}

impl VaultAuth {
    /// Where it logs in and with which name, if Vault locks that name after some refused logins.
    fn locked_name(&self) -> Option<(&str, &str)> {
        match self {
            Self::AppRole { mount, role_id, .. } => Some((mount, role_id.trim())),
            Self::Userpass { mount, username, .. } | Self::Ldap { mount, username, .. } => {
                Some((mount, username))
            }
            _ => None,
        }
    }
}

/// A way to get a token (`[vault.auth]`).
#[derive(Debug, Clone)]
pub enum VaultAuth {
    /// A token that was given to us (VAULT_TOKEN): shared by all generations, never revoked by us.
    Token {
        /// The token.
        token: Secret,
    },
    /// As [`VaultAuth::Token`], in a file that somebody else keeps up to date (an Agent's sink, `vault login`):
    /// a new content is a new token, and a new generation is issued under it.
    TokenFile {
        /// The file; blanks and line breaks round the token do not count.
        file: PathBuf,
    },
    /// AppRole: a login of its own for each generation.
    AppRole {
        /// Where the method is mounted, `approle` unless set.
        mount: String,
        /// The role id.
        role_id: String,
        /// The file that holds the secret id, read anew at each login.
        secret_id_file: Option<PathBuf>,
        /// The secret id itself (from the environment).
        secret_id: Option<Secret>,
        /// What is given is a token that Vault gives the secret id for, once.
        wrapped: bool,
    },
    /// The service account of a pod: a login of its own for each generation.
    Kubernetes {
        /// Where the method is mounted, `kubernetes` unless set.
        mount: String,
        /// The role at Vault.
        role: String,
        /// The projected token, read anew at each login.
        jwt_file: PathBuf,
    },
    /// A signed token of somebody whom Vault trusts: a login of its own for each generation.
    Jwt {
        /// Where the method is mounted, `jwt` unless set.
        mount: String,
        /// The role at Vault.
        role: String,
        /// The token, read anew at each login.
        jwt_file: PathBuf,
    },
    /// User name and password: a login of its own for each generation.
    Userpass {
        /// Where the method is mounted, `userpass` unless set.
        mount: String,
        /// The name.
        username: String,
        /// The file that holds the password, read anew at each login.
        password_file: Option<PathBuf>,
        /// The password itself (from the environment).
        password: Option<Secret>,
    },
    /// [`VaultSettings::client_cert`]: a login of its own for each generation.
    Cert {
        /// Where the method is mounted, `cert` unless set.
        mount: String,
        /// The role that is to match; without it Vault tries all.
        name: Option<String>,
    },
    /// A principal of AWS, shown by a signed request: a login of its own for each generation.
    Aws(AwsSettings),
    /// The identity token of a machine of Google Cloud: a login of its own for each generation.
    Gcp(GcpSettings),
    /// The managed identity of a machine of Azure: a login of its own for each generation.
    Azure(AzureSettings),
    /// A name and password of a directory: a login of its own for each generation.
    Ldap {
        /// Where the method is mounted, `ldap` unless set.
        mount: String,
        /// The name.
        username: String,
        /// The file that holds the password, read anew at each login.
        password_file: Option<PathBuf>,
        /// The password itself (from the environment).
        password: Option<Secret>,
    },
}
