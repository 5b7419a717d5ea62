//! Somewhere to connect to: PostgreSQL itself, or the proxy in front of it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio_postgres::{Client, Config, Error, NoTls};

use super::pgbench::{Pgbench, PgbenchReport};
use super::program::{Finished, Program};

/// What a client needs to know; the tools are those of the newest PostgreSQL here.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<String>,
    pub dbname: String,
    /// Directory of psql, pgbench and the others; empty: PATH decides.
    pub tools: PathBuf,
}

impl Endpoint {
    /// The same place, another database.
    #[must_use]
    pub fn database(mut self, dbname: &str) -> Self {
        self.dbname = dbname.to_owned();
        self
    }

    /// The same place, another user.
    #[must_use]
    pub fn user(mut self, user: &str, password: Option<&str>) -> Self {
        self.user = user.to_owned();
        self.password = password.map(str::to_owned);
        self
    }

    /// `postgresql://…`.
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map(|password| format!(":{password}")).unwrap_or_default();
        format!("postgresql://{}{password}@{}:{}/{}", self.user, self.host, self.port, self.dbname)
    }

    /// Settings for tokio-postgres.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.host(&self.host).port(self.port).user(&self.user).dbname(&self.dbname);
        if let Some(password) = &self.password {
            config.password(password);
        }
        config.connect_timeout(Duration::from_secs(10));
        config
    }

    /// A client; its connection is driven by a task of the test's runtime.
    pub async fn connect(&self) -> Client {
        self.try_connect().await.unwrap_or_else(|error| panic!("no connection to {self:?}: {error:?}"))
    }

    /// As [`Endpoint::connect`], for a login that may fail.
    pub async fn try_connect(&self) -> Result<Client, Error> {
        let (client, connection) = self.config().connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A tool of PostgreSQL (`psql`, `pg_dump`, …) that finds this place by PG* variables.
    pub fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(self.tools.join(tool));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
            .env("PGHOST", &self.host)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", &self.user)
            .env("PGDATABASE", &self.dbname)
            // Nobody's ~/.pgpass or ~/.psqlrc.
            .env("PGPASSFILE", "/dev/null")
            .env("PSQLRC", "/dev/null")
            .env("LC_ALL", "C");
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
        command
    }

    /// Runs a tool to its end, at most two minutes.
    pub async fn run(&self, tool: &str, args: &[&str]) -> Finished {
        let mut command = self.command(tool);
        command.args(args);
        Program::run(command, Duration::from_secs(120)).await
    }

    /// `psql -c SQL` in its plainest form: rows only, unaligned, stops at an error.
    pub async fn psql(&self, sql: &str) -> Finished {
        self.run("psql", &["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]).await
    }

    /// Starts pgbench; faults can be made while it runs.
    pub fn start_pgbench(&self, args: &[&str]) -> Pgbench {
        Pgbench::start(self, args)
    }

    /// Runs pgbench to its end.
    pub async fn pgbench(&self, args: &[&str]) -> PgbenchReport {
        self.start_pgbench(args).finish().await
    }
}
