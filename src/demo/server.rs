//! The server's own view: the demo believes PostgreSQL, not the proxy.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

use super::error::DemoError;
use crate::secret::Secret;

/// A superuser's connection, straight to the server.
#[derive(Debug)]
pub(super) struct Server {
    client: Client,
    connection: JoinHandle<()>,
}

/// A user that the proxy made, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerUser {
    pub(super) name: String,
    pub(super) connections: u64,
}

impl Server {
    pub(super) async fn connect(port: u16, password: &Secret, dbname: &str) -> Result<Self, DemoError> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user("postgres").password(password.expose()).dbname(dbname);
        config.connect_timeout(Duration::from_secs(5)).application_name("leasehold-demo");
        let (client, connection) = config.connect(NoTls).await?;
        // The task ends when the client is dropped; errors reach the client's own calls.
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { client, connection })
    }

    /// The group role that owns everything, the issuer that may make its members, and the database.
    pub(super) async fn set_up(
        &self,
        group: &str,
        issuer: &str,
        password: &Secret,
        database: &str,
    ) -> Result<(), DemoError> {
        let roles = format!(
            "CREATE ROLE {group} NOLOGIN;
             CREATE ROLE {issuer} LOGIN CREATEROLE PASSWORD '{}';
             GRANT {group} TO {issuer} WITH ADMIN OPTION",
            password.expose()
        );
        self.client.batch_execute(&roles).await?;
        // Not in a transaction block, hence a call of its own.
        self.client.batch_execute(&format!("CREATE DATABASE {database} OWNER {group}")).await?;
        Ok(())
    }

    /// The users that the proxy made: every login that was not there before it.
    pub(super) async fn users(&self) -> Result<Vec<ServerUser>, DemoError> {
        let rows = self
            .client
            .query(
                "SELECT r.rolname::text, count(a.pid)
                   FROM pg_roles r LEFT JOIN pg_stat_activity a ON a.usesysid = r.oid
                  WHERE r.rolname NOT LIKE 'pg\\_%' AND r.rolname NOT IN ('postgres', 'app', 'leasehold_issuer')
                  GROUP BY 1 ORDER BY 1",
                &[],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let connections: i64 = row.try_get(1)?;
                Ok(ServerUser { name: row.try_get(0)?, connections: u64::try_from(connections).unwrap_or(0) })
            })
            .collect()
    }

    /// How many transactions of pgbench's the server has committed: each leaves one row.
    pub(super) async fn committed(&self) -> Result<u64, DemoError> {
        let row = self.client.query_one("SELECT count(*) FROM pgbench_history", &[]).await?;
        let rows: i64 = row.try_get(0)?;
        Ok(u64::try_from(rows).unwrap_or(0))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
