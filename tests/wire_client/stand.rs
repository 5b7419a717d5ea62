//! A PostgreSQL and the proxy in front of it, with users from the local source.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::client::{Place, WireClient};
use crate::support::wait::wait_for;
use crate::support::{Endpoint, Leasehold, Missing, Postgres, PostgresOptions};

/// Only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who the client says it is, and what it wants.
pub const ANYONE: [(&str, &str); 2] = [("user", "anyone"), ("database", "app")];

/// A user of the server's own that needs no password and takes on the same role: what it
/// sees is what a client of the proxy must see.
pub const DIRECT: [(&str, &str); 3] = [("user", "direct"), ("database", "postgres"), ("role", "app")];

pub const CREATION: &str =
    r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE app"#;

/// What a stand may differ in.
#[derive(Debug, Clone)]
pub struct Plan {
    pub mode: &'static str,
    pub pool_size: usize,
    pub threads: usize,
    /// 0: clients are spread evenly over the threads.
    pub thread_busy: u32,
    /// Lines at the top of the configuration, of `[listen]`, of `[databases.app]`, and at its end.
    pub top: String,
    pub listen: String,
    pub database: String,
    pub more: String,
    pub postgres: PostgresOptions,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            mode: "transaction",
            pool_size: 4,
            threads: 1,
            thread_busy: 0,
            top: String::new(),
            listen: String::new(),
            database: String::new(),
            more: String::new(),
            postgres: PostgresOptions::default(),
        }
    }
}

/// Both, running. The server has a role `app` that may create tables.
#[derive(Debug)]
pub struct Stand {
    pub proxy: Leasehold,
    pub postgres: Postgres,
    directory: TempDir,
}

impl Stand {
    /// The usual one.
    pub async fn start() -> Result<Self, Missing> {
        Self::start_with(Plan::default()).await
    }

    pub async fn start_with(plan: Plan) -> Result<Self, Missing> {
        let mut options = plan.postgres.clone();
        options.hba.push("host all direct 127.0.0.1/32 trust".to_owned());
        let postgres = Postgres::start_with(options).await?;
        let set_up = "CREATE ROLE app NOLOGIN; GRANT ALL ON SCHEMA public TO app; \
                      GRANT CREATE, TEMP ON DATABASE postgres TO app; CREATE ROLE direct LOGIN IN ROLE app";
        postgres.execute("postgres", set_up).await;
        let directory = tempfile::tempdir().unwrap();
        let admin_url = admin_url_file(&directory, &postgres);
        let Plan { mode, pool_size, threads, thread_busy, top, listen, database, more, .. } = plan;
        let config = format!(
            "threads = {threads}\nthread_busy = {thread_busy}\n{top}\n[listen]\n{listen}\n\
             [databases.app]\nhost = '127.0.0.1'\nport = {port}\ndbname = 'postgres'\nsslmode = 'disable'\n\
             role = 'app'\npool_mode = '{mode}'\npool_size = {pool_size}\n{database}\n{credentials}\n{more}\n",
            port = postgres.port(),
            credentials = credentials("app", &admin_url, &[CREATION]),
        );
        let proxy = Leasehold::run(&config).await;
        let stand = Self { proxy, postgres, directory };
        stand.wait_for_user("app").await;
        Ok(stand)
    }

    /// Waits until a database answers.
    pub async fn wait_for_user(&self, database: &str) {
        let place = self.place();
        let there = wait_for(PATIENCE, async || {
            match WireClient::try_connect(&place, &[("user", "anyone"), ("database", database)]).await {
                Ok(client) => Some(client),
                Err(refused) if refused.sqlstate == "57P03" => None,
                Err(refused) => panic!("{refused:?}"),
            }
        })
        .await;
        assert!(there.is_some(), "no user for {database}:\n{}", self.proxy.log_text());
    }

    pub fn place(&self) -> Place {
        Place::loopback(self.proxy.port())
    }

    /// A client of the proxy.
    pub async fn client(&self) -> WireClient {
        WireClient::connect(&self.place(), &ANYONE).await
    }

    /// The same with further startup parameters.
    pub async fn client_with(&self, params: &[(&str, &str)]) -> WireClient {
        WireClient::connect(&self.place(), &[&ANYONE, params].concat()).await
    }

    /// A client of the server itself.
    pub async fn direct(&self) -> WireClient {
        self.direct_with(&[]).await
    }

    pub async fn direct_with(&self, params: &[(&str, &str)]) -> WireClient {
        WireClient::connect(&Place::loopback(self.postgres.port()), &[&DIRECT, params].concat()).await
    }

    /// For psql and its friends, through the proxy.
    pub fn endpoint(&self) -> Endpoint {
        self.proxy.endpoint("app")
    }

    /// One value, asked by the superuser.
    pub async fn ask(&self, sql: &str) -> String {
        self.postgres.admin().psql(sql).await.success().trim().to_owned()
    }

    /// How many of the proxy's users' sessions fit a condition on pg_stat_activity.
    pub async fn sessions(&self, condition: &str) -> usize {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'lh-%' \
             AND query !~ 'pg_roles|pg_proc|current_user$' AND ({condition})"
        );
        self.ask(&sql).await.parse().unwrap()
    }
}

/// A file with the superuser's URL.
pub fn admin_url_file(directory: &TempDir, postgres: &Postgres) -> PathBuf {
    let file = directory.path().join(format!("admin-url-{}", postgres.port()));
    std::fs::write(&file, postgres.admin_url() + "?sslmode=disable").unwrap();
    file
}

/// `[databases.NAME.credentials]` of the local source.
pub fn credentials(name: &str, admin_url: &std::path::Path, creation: &[&str]) -> String {
    let statements: Vec<String> = creation.iter().map(|sql| format!("'''{sql}'''")).collect();
    format!(
        "[databases.{name}.credentials]\nsource = 'local'\nadmin_url_file = {admin_url:?}\n\
         creation_statements = [{}]\ndefault_ttl = '1h'\nmax_ttl = '24h'\n",
        statements.join(", ")
    )
}
