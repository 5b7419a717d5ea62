//! A database `app`, a Vault that issues its users, and the proxy between them
//! and an application.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::journal::Journal;
use crate::support::{DatabaseRole, Leasehold, Missing, Postgres, Vault, wait_until};

/// Long enough for a loaded machine; only a hang gets there.
pub const PATIENCE: Duration = Duration::from_secs(60);

const DB_PASSWORD: &str = "it's a secret";

/// Both servers, and what Leasehold logs in with.
pub struct Site {
    pub postgres: Postgres,
    pub vault: Vault,
    /// The group role of the configuration.
    role: Option<&'static str>,
    path: &'static str,
    role_id: String,
    directory: TempDir,
}

impl Site {
    /// As an operator would set it up with the files in config/vault, with these lives
    /// (`DEFAULT_TTL`, `MAX_TTL`, `TOKEN_TTL`, `TOKEN_MAX_TTL`).
    pub async fn open(lives: &[(&str, &str)]) -> Result<Self, Missing> {
        let postgres = database().await?;
        let vault = Vault::start().await?;
        let directory = tempfile::tempdir().unwrap();
        let mut site = Self {
            postgres,
            vault,
            role: Some("app"),
            path: "database/creds/app",
            role_id: String::new(),
            directory,
        };
        site.set_up("app", lives).await;
        site.role_id = std::fs::read_to_string(site.directory.path().join("role-id")).unwrap();
        Ok(site)
    }

    /// config/vault/setup.sh for a role and a database of this name.
    pub async fn set_up(&self, name: &str, lives: &[(&str, &str)]) {
        let mut env = vec![
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", self.postgres.port().to_string()),
            ("PGDATABASE", name.to_owned()),
            ("ROLE", name.to_owned()),
            ("PGSSLMODE", "disable".to_owned()),
            ("DB_PASSWORD", DB_PASSWORD.to_owned()),
            ("OUT", self.directory.path().display().to_string()),
        ];
        env.extend(lives.iter().map(|(name, value)| (*name, (*value).to_owned())));
        self.vault.run_setup_script("config/vault/setup.sh", &env).await;
    }

    /// The barest role there is: no group, Vault's default revocation, no `role` in the
    /// configuration; the tables of pgbench are there, and everybody may use them.
    pub async fn bare(default_ttl: &str, max_ttl: &str) -> Result<Self, Missing> {
        let postgres = Postgres::start().await?;
        let vault = Vault::start().await?;
        postgres.execute("postgres", "CREATE DATABASE app").await;
        let admin = postgres.admin().database("app");
        admin.run("pgbench", &["-i", "-q", "-s", "4"]).await.success();
        let grant = "GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO PUBLIC";
        postgres.execute("app", grant).await;
        let role = DatabaseRole {
            dbname: "app".to_owned(),
            default_ttl: default_ttl.to_owned(),
            max_ttl: max_ttl.to_owned(),
            ..DatabaseRole::default()
        };
        vault.setup_database(&postgres, &role).await;
        let login = vault.setup_approle("leasehold", "database/creds/app-role", json!({})).await;
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret-id"), login.secret_id).unwrap();
        Ok(Self {
            postgres,
            vault,
            role: None,
            path: "database/creds/app-role",
            role_id: login.role_id,
            directory,
        })
    }

    /// A configuration with further keys of `[databases.app]` and further sections.
    pub fn config(&self, database: &str, sections: &str) -> String {
        format!(
            "{}\n[vault]\naddress = {:?}\n[vault.auth]\nmethod = \"approle\"\nrole_id = {:?}\n\
             secret_id_file = {:?}\n{sections}\n",
            database_section(&self.postgres, "app", self.role, self.path, database),
            self.vault.address(),
            self.role_id.trim(),
            self.secret_id_file(),
        )
    }

    /// The proxy, with its first user active.
    pub async fn run(&self, database: &str, sections: &str) -> Leasehold {
        let proxy = Leasehold::run(&self.config(database, sections)).await;
        proxy.active_from(1).await;
        proxy
    }

    /// As [`Site::run`], with pgbench's tables made through the proxy.
    pub async fn run_filled(&self, database: &str, sections: &str) -> Leasehold {
        let proxy = self.run(database, sections).await;
        proxy.endpoint("app").run("pgbench", &["-i", "-q", "-s", "4"]).await.success();
        proxy
    }

    /// Gives the policy of Leasehold's login these roles of the database engine.
    pub async fn allow(&self, roles: &[&str]) {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/vault/policy.hcl");
        let policy = std::fs::read_to_string(file).unwrap();
        let policies: Vec<String> = roles
            .iter()
            .map(|role| policy.replace("database/creds/app", &format!("database/creds/{role}")))
            .collect();
        let body = json!({ "policy": policies.join("\n") });
        self.vault.root(Method::PUT, "sys/policies/acl/leasehold", body).await;
    }

    fn secret_id_file(&self) -> PathBuf {
        self.directory.path().join("secret-id")
    }

    /// The users that Vault made.
    pub async fn users(&self) -> Vec<String> {
        self.postgres.roles_like("v-%").await
    }

    /// How many connections this user has at the server.
    pub async fn connections(&self, user: &str) -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
        self.postgres.connect().await.query_one(count, &[&user]).await.unwrap().get(0)
    }

    /// SIGTERM: exit code 0, no user of ours in pg_roles, no lease in Vault.
    pub async fn close(&self, proxy: &mut Leasehold) {
        assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
        self.assert_nothing_left(proxy).await;
    }

    /// When Vault will end a lease, as long as it has it.
    pub async fn expiry(&self, lease: &str) -> Option<SystemTime> {
        let body = json!({ "lease_id": lease });
        let token = Some(self.vault.root_token());
        let (status, answer) = self.vault.request(Method::PUT, "sys/leases/lookup", Some(body), token).await;
        let time = answer["data"]["expire_time"].as_str().filter(|_| status == 200)?;
        Some(humantime::parse_rfc3339(time).unwrap())
    }

    pub async fn assert_nothing_left(&self, proxy: &Leasehold) {
        // Vault ends a token's leases right after the call that ended the token.
        let nothing = async || self.users().await.is_empty() && self.vault.leases(self.path).await.is_empty();
        let nothing = wait_until(Duration::from_secs(60), nothing).await;
        let (users, leases) = (self.users().await, self.vault.leases(self.path).await);
        assert!(nothing, "{users:?} {leases:?}\n{}", proxy.log_text());
    }
}

/// A cluster whose databases `app` and `ledger` were prepared by config/vault/database.sql.
pub async fn database() -> Result<Postgres, Missing> {
    let postgres = Postgres::start().await?;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/vault/database.sql");
    let password = format!("vault_password={DB_PASSWORD}");
    for name in ["app", "ledger"] {
        postgres.execute("postgres", &format!("CREATE DATABASE {name}")).await;
        let place = postgres.admin().database(name);
        place.run("psql", &["-X", "-q", "-v", &password, "-f", file]).await.success();
    }
    Ok(postgres)
}

/// A configuration whose users, for database `app`, Leasehold issues itself: as the admin that
/// database.sql makes, with the statements of config/vault. The server is reached at `port`.
pub fn local_config(postgres: &Postgres, name: &str, port: u16, directory: &Path) -> String {
    let url = directory.join("issuer-url");
    let address = format!("postgresql://vault:it%27s%20a%20secret@127.0.0.1:{}/app", postgres.port());
    std::fs::write(&url, address).unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/vault/creation.sql");
    let creation = std::fs::read_to_string(file).unwrap();
    format!(
        "[databases.{name}]\nhost = \"127.0.0.1\"\nport = {port}\ndbname = \"app\"\nsslmode = \"disable\"\n\
         role = \"app\"\n[databases.{name}.credentials]\nsource = \"local\"\nadmin_url_file = {url:?}\n\
         default_ttl = \"10m\"\ncreation_statements = [{creation:?}]\n"
    )
}

/// `[databases.NAME]` with users from Vault.
pub fn database_section(
    postgres: &Postgres,
    name: &str,
    role: Option<&str>,
    path: &str,
    further: &str,
) -> String {
    let role = role.map(|role| format!("role = {role:?}")).unwrap_or_default();
    format!(
        "[databases.{name}]\nhost = \"127.0.0.1\"\nport = {}\nsslmode = \"disable\"\n{role}\n{further}\n\
         credentials = {{ source = \"vault\", path = {path:?} }}\n",
        postgres.port()
    )
}
