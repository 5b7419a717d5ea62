//! One proxy with a database for each case.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::proxy::field;
use crate::support::wait::wait_for;
use crate::support::{Leasehold, Postgres};
use crate::wire_client::stand::{admin_url_file, credentials};
use crate::wire_client::{Place, Refused, WireClient};

const PATIENCE: Duration = Duration::from_secs(60);

pub const CREATION: &str = crate::wire_client::stand::CREATION;

/// A configuration in the making.
pub struct Cases {
    config: String,
    directory: TempDir,
}

impl Cases {
    pub fn new() -> Self {
        Self { config: "threads = 1\n".to_owned(), directory: tempfile::tempdir().unwrap() }
    }

    /// A database whose users `postgres` makes, reached by the settings of `keys`.
    pub fn add(&mut self, name: &str, postgres: &Postgres, keys: &str, creation: &[&str]) {
        let admin_url: PathBuf = admin_url_file(&self.directory, postgres);
        let credentials = credentials(name, &admin_url, creation);
        write!(self.config, "[databases.{name}]\n{keys}\n{credentials}\n").unwrap();
    }

    pub async fn run(self) -> Running {
        Running { proxy: Leasehold::run(&self.config).await, _directory: self.directory }
    }
}

/// The proxy, and the answers that clients get.
pub struct Running {
    pub proxy: Leasehold,
    _directory: TempDir,
}

impl Running {
    async fn meet(&self, database: &str) -> Result<WireClient, Refused> {
        let place = Place::loopback(self.proxy.port());
        WireClient::try_connect(&place, &[("user", "anyone"), ("database", database)]).await
    }

    /// A client of a database that must come to serve.
    pub async fn served(&self, database: &str) -> WireClient {
        let served = wait_for(PATIENCE, async || self.meet(database).await.ok()).await;
        served.unwrap_or_else(|| panic!("{database} does not serve:\n{}", self.proxy.log_text()))
    }

    /// What clients are told of a database that must not serve, once it says why.
    pub async fn refused(&self, database: &str, why: &str) {
        let mut last = String::new();
        let said = wait_for(PATIENCE, async || match self.meet(database).await {
            Ok(_) => panic!("{database} serves, but {why:?} was expected"),
            Err(refused) => {
                // What the server says of the database is passed on; all else is ours to say.
                let told = refused.sqlstate == "3D000" && refused.text.contains(why);
                assert!(told || refused.sqlstate == "57P03", "{refused:?}");
                assert_eq!(refused.severity, "FATAL");
                last = format!("{} {}", refused.text, refused.detail);
                last.contains(why).then_some(())
            }
        })
        .await;
        assert!(said.is_some(), "{database}: {why:?} is not in {last:?}\n{}", self.proxy.log_text());
        let logs = self.proxy.logs();
        let logged =
            logs.iter().any(|line| field(line, "pool") == database && field(line, "error").contains(why));
        assert!(logged, "{database}: {why:?} is not logged:\n{}", self.proxy.log_text());
    }
}

/// `host`, `port` and `dbname` of a server.
pub fn at(host: &str, port: u16) -> String {
    format!("host = '{host}'\nport = {port}\ndbname = 'postgres'\nrole = 'app'")
}

pub fn roots(file: &Path) -> String {
    format!("sslrootcert = {file:?}")
}

/// The group role that every user of these tests is made a member of.
pub async fn make_group(postgres: &Postgres) {
    postgres.execute("postgres", "CREATE ROLE app NOLOGIN; GRANT ALL ON SCHEMA public TO app").await;
}
