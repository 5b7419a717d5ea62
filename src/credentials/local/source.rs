//! [`Source`] over an admin connection.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use postgres_protocol::password::scram_sha_256;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Transaction};

use super::admin::{Admin, CALL, describe};
use super::identity::{Instance, LOCK_CLASS, maker, new_comment, new_name, new_password};
use super::settings::LocalSettings;
use super::template::{Values, fill};
use crate::clock::Moment;
use crate::credentials::{Grant, Issued, LeaseToken, Login, Recovery, Source, SourceError, Term};

/// What a role outlives its lease by, as in Vault.
const SLACK: Duration = Duration::from_secs(5);

const DEFAULT_RENEWAL: &str = "ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}'";

/// Users that this process makes and drops itself.
pub struct LocalSource {
    /// The pool's name; part of the users' names.
    pool: String,
    /// The pool's startup role: what `{{role}}` stands for.
    role: Option<String>,
    settings: LocalSettings,
    instance: Instance,
    admin: Admin,
    /// Users whose making was begun and not seen to succeed: the commit's answer
    /// got lost, or the caller went away. The next issue removes them.
    unsettled: Mutex<Vec<String>>,
}

impl std::fmt::Debug for LocalSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalSource")
            .field("pool", &self.pool)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl LocalSource {
    /// The source of `pool`, whose startup role is `role`: checks the settings and fills every
    /// template in once; does not connect. Every error is [`SourceError::Misconfigured`].
    pub fn new(settings: LocalSettings, pool: &str, role: Option<&str>) -> Result<Self, SourceError> {
        let role = role.filter(|role| !role.is_empty());
        settings.check(role).map_err(|message| SourceError::Misconfigured {
            message: format!("database {pool}: {message}"),
        })?;
        let (pool, role) = (pool.to_owned(), role.map(str::to_owned));
        let instance = Instance::random();
        let admin = Admin::new(settings.admin_url_file.clone(), instance);
        Ok(Self { pool, role, settings, instance, admin, unsettled: Mutex::new(Vec::new()) })
    }

    fn fill_all(
        &self,
        what: &str,
        statements: &[String],
        values: &Values<'_>,
    ) -> Result<Vec<String>, SourceError> {
        statements
            .iter()
            .map(|statement| fill(statement, values))
            .collect::<Result<_, _>>()
            .map_err(|why| SourceError::Misconfigured { message: format!("{what}: {why}") })
    }

    fn unsettled(&self) -> MutexGuard<'_, Vec<String>> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Best effort: what stays is tried again before the next user.
    async fn settle(&self, client: &mut Client) {
        let names = self.unsettled().clone();
        for name in names {
            if self.remove(client, &name).await.is_ok() {
                self.unsettled().retain(|other| *other != name);
            }
        }
    }

    /// Runs `work` on the admin connection within a bound; a connection that was
    /// left in the middle of something is not used again.
    async fn with_admin<T, F>(&self, doing: &str, work: F) -> Result<T, SourceError>
    where
        F: AsyncFnOnce(&mut Client) -> Result<T, SourceError>,
    {
        let late = || SourceError::Unavailable {
            message: format!("{doing} took longer than {}", humantime::format_duration(CALL)),
            retry_after: None,
        };
        let mut guard = tokio::time::timeout(CALL, self.admin.connection()).await.map_err(|_| late())??;
        // Taken out while it works: a future that is dropped half-way drops it too.
        let mut connection = guard.take().ok_or_else(late)?;
        let done = tokio::time::timeout(CALL, work(&mut connection.client)).await.map_err(|_| late())?;
        if !connection.client.is_closed() {
            *guard = Some(connection);
        }
        done
    }

    async fn make(
        &self,
        client: &mut Client,
        name: &str,
        verifier: &str,
        ttl: Duration,
    ) -> Result<(), SourceError> {
        let doing = "making a user";
        let transaction = client.transaction().await.map_err(|e| describe(&e, doing))?;
        let expiration = expiration(&transaction, ttl).await.map_err(|e| describe(&e, doing))?;
        let values = Values {
            name,
            password: Some(verifier),
            expiration: Some(&expiration),
            role: self.role.as_deref(),
        };
        for statement in self.fill_all("creation_statements", &self.settings.creation_statements, &values)? {
            transaction.batch_execute(&statement).await.map_err(|e| describe(&e, "a creation statement"))?;
        }
        if !exists(&transaction, name).await.map_err(|e| describe(&e, doing))? {
            return Err(SourceError::Misconfigured {
                message: "creation_statements ran, but there is no role {{name}}; \
                          is it written as CREATE ROLE \"{{name}}\" …?"
                    .to_owned(),
            });
        }
        let comment = format!("COMMENT ON ROLE \"{name}\" IS '{}'", new_comment(&self.pool, self.instance));
        transaction.batch_execute(&comment).await.map_err(|e| describe(&e, "signing a new user"))?;
        transaction.commit().await.map_err(|e| describe(&e, doing))
    }

    async fn extend(&self, client: &mut Client, name: &str, ttl: Duration) -> Result<(), SourceError> {
        let doing = "extending a user";
        let transaction = client.transaction().await.map_err(|e| describe(&e, doing))?;
        if !exists(&transaction, name).await.map_err(|e| describe(&e, doing))? {
            return Err(SourceError::Gone { message: format!("there is no role {name} any more") });
        }
        let expiration = expiration(&transaction, ttl).await.map_err(|e| describe(&e, doing))?;
        let values =
            Values { name, password: None, expiration: Some(&expiration), role: self.role.as_deref() };
        let own = &self.settings.renew_statements;
        let default = [DEFAULT_RENEWAL.to_owned()];
        let statements = if own.is_empty() { &default[..] } else { own.as_slice() };
        for statement in self.fill_all("renew_statements", statements, &values)? {
            transaction.batch_execute(&statement).await.map_err(|e| describe(&e, "a renew statement"))?;
        }
        transaction.commit().await.map_err(|e| describe(&e, doing))
    }

    /// Whether there was anything to remove.
    async fn remove(&self, client: &mut Client, name: &str) -> Result<bool, SourceError> {
        let doing = format!("removing user {name}");
        let there = client.query_opt("SELECT FROM pg_catalog.pg_roles WHERE rolname = $1", &[&name]).await;
        if there.map_err(|e| describe(&e, &doing))?.is_none() {
            return Ok(false);
        }
        if self.settings.revocation_statements.is_empty() {
            remove_as_vault_does(client, name).await.map_err(|e| describe(&e, &doing))?;
            return Ok(true);
        }
        let values = Values { name, password: None, expiration: None, role: self.role.as_deref() };
        let statements =
            self.fill_all("revocation_statements", &self.settings.revocation_statements, &values)?;
        let transaction = client.transaction().await.map_err(|e| describe(&e, &doing))?;
        for statement in statements {
            transaction
                .batch_execute(&statement)
                .await
                .map_err(|e| describe(&e, "a revocation statement"))?;
        }
        transaction.commit().await.map_err(|e| describe(&e, &doing))?;
        Ok(true)
    }

    /// The users of this pool that some instance signed: name, maker, and
    /// whether nobody can be using it.
    async fn signed(&self, client: &Client) -> Result<Vec<(String, Instance, bool)>, tokio_postgres::Error> {
        // A backend that is gone from pg_stat_activity ended; one that is there may only be slow to notice.
        const QUERY: &str = "SELECT r.rolname, pg_catalog.shobj_description(r.oid, 'pg_authid'), \
             coalesce(r.rolvaliduntil < now(), false) \
               OR NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = r.oid) \
             FROM pg_catalog.pg_roles r \
             WHERE pg_catalog.starts_with(r.rolname, 'lh-') \
               AND NOT r.rolsuper AND NOT r.rolreplication AND NOT r.rolcreaterole AND NOT r.rolcreatedb";
        let rows = client.query(QUERY, &[]).await?;
        let mut found = Vec::new();
        for row in rows {
            let name: String = row.try_get(0)?;
            let comment: Option<String> = row.try_get(1)?;
            let unused: bool = row.try_get(2)?;
            if let Some(instance) = maker(&name, &comment.unwrap_or_default(), &self.pool) {
                found.push((name, instance, unused));
            }
        }
        Ok(found)
    }

    async fn recover_all(&self, client: &mut Client) -> Result<Recovery, SourceError> {
        let doing = "looking for users of an earlier crash";
        let mut found = Recovery::default();
        for (name, instance, unused) in self.signed(client).await.map_err(|e| describe(&e, doing))? {
            if instance == self.instance {
                continue;
            }
            if !unused {
                found.in_use = found.in_use.saturating_add(1);
                continue;
            }
            // Whoever gets a dead instance's lock alone is its only executor.
            let key = instance.lock_key();
            let lock = "SELECT pg_catalog.pg_try_advisory_lock($1, $2)";
            let row = client.query_one(lock, &[&LOCK_CLASS, &key]).await.map_err(|e| describe(&e, doing))?;
            if !row.try_get::<_, bool>(0).map_err(|e| describe(&e, doing))? {
                found.in_use = found.in_use.saturating_add(1);
                continue;
            }
            let outcome = self.remove(client, &name).await;
            let unlock = "SELECT pg_catalog.pg_advisory_unlock($1, $2)";
            client.execute(unlock, &[&LOCK_CLASS, &key]).await.map_err(|e| describe(&e, doing))?;
            match outcome {
                Ok(true) => {
                    tracing::info!(user = name, "removed a user that an earlier run left behind");
                    found.removed = found.removed.saturating_add(1);
                }
                Ok(false) => {}
                // One that cannot be dropped must not keep the others.
                Err(error) => tracing::warn!(user = name, %error, "a user of an earlier run stays"),
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Source for LocalSource {
    fn kind(&self) -> &'static str {
        "local"
    }

    /// Removes users of this pool (name and comment agree) whose maker's
    /// advisory lock is free, and that have no session or are past VALID UNTIL.
    ///
    /// Advisory locks belong to one database: all proxies of a server should
    /// use the same database in their admin URLs, and every pool that shares a
    /// server with another one its own name.
    async fn recover(&self) -> Result<Recovery, SourceError> {
        self.with_admin("looking for users of an earlier crash", async |client| {
            self.recover_all(client).await
        })
        .await
    }

    async fn issue(&self) -> Result<Issued, SourceError> {
        let password = new_password();
        // Thousands of hash rounds: some milliseconds, not on a thread that serves others.
        let clear = password.clone();
        let verifier = tokio::task::spawn_blocking(move || scram_sha_256(clear.expose().as_bytes()))
            .await
            .map_err(|_| SourceError::Unavailable {
                message: "the password's verifier could not be computed; the process is stopping".to_owned(),
                retry_after: None,
            })?;
        let unix_time = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let name = new_name(&self.pool, self.instance, unix_time);
        let lease = self.settings.default_ttl.min(self.settings.max_ttl);
        let sent = Moment::now();
        self.with_admin("making a user", async |client| {
            self.settle(client).await;
            self.unsettled().push(name.clone());
            self.make(client, &name, &verifier, lease).await
        })
        .await?;
        self.unsettled().retain(|other| *other != name);
        Ok(Issued {
            grant: Grant { lease_id: lease_id(&name, sent), token: LeaseToken::None },
            login: Login { user: name, password },
            term: Term { sent, lease, token_end: None, renewable: lease < self.settings.max_ttl },
        })
    }

    async fn renew(&self, issued: &Issued) -> Result<Term, SourceError> {
        let (name, born) = parse_lease_id(&issued.grant.lease_id)?;
        let sent = Moment::now();
        let left = sent.until(born + self.settings.max_ttl);
        if left.is_zero() {
            return Err(SourceError::Gone {
                message: format!("{name} has reached max_ttl; it cannot be renewed"),
            });
        }
        let lease = self.settings.default_ttl.min(left);
        self.with_admin("extending a user", async |client| self.extend(client, name, lease).await).await?;
        Ok(Term { sent, lease, token_end: None, renewable: lease < left })
    }

    async fn revoke(&self, issued: &Issued) -> Result<(), SourceError> {
        let (name, _) = parse_lease_id(&issued.grant.lease_id)?;
        self.with_admin("removing a user", async |client| self.remove(client, name).await).await.map(|_| ())
    }
}

/// The name and when it was made: max_ttl counts from there, whatever was renewed since.
fn lease_id(name: &str, born: Moment) -> String {
    format!("local/{name}@{}", born.as_nanos())
}

fn parse_lease_id(text: &str) -> Result<(&str, Moment), SourceError> {
    text.strip_prefix("local/")
        .and_then(|rest| rest.rsplit_once('@'))
        .and_then(|(name, nanos)| Some((name, Moment::from_nanos(nanos.parse().ok()?))))
        .filter(|(name, _)| name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')))
        .ok_or_else(|| SourceError::Gone { message: format!("{text:?} is no lease of the local source") })
}

/// `now + ttl + slack` on the server's clock, in the form that Vault uses.
async fn expiration(transaction: &Transaction<'_>, ttl: Duration) -> Result<String, tokio_postgres::Error> {
    // A year 9999 is as good as never, and interval arithmetic does not overflow.
    let seconds = ttl.saturating_add(SLACK).as_secs().min(1_000_000_000);
    let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
    let query = "SELECT to_char((clock_timestamp() AT TIME ZONE 'UTC') + $1::int4 * interval '1 second', \
                 'YYYY-MM-DD HH24:MI:SS\"+0000\"')";
    transaction.query_one(query, &[&seconds]).await?.try_get(0)
}

async fn exists(transaction: &Transaction<'_>, name: &str) -> Result<bool, tokio_postgres::Error> {
    let query = "SELECT FROM pg_catalog.pg_roles WHERE rolname = $1";
    Ok(transaction.query_opt(query, &[&name]).await?.is_some())
}

/// Vault's default revocation, in the cheaper order: drop the role; if something
/// was granted to it in this database, revoke that and drop it then. Sessions are
/// not terminated: the pool has drained.
async fn remove_as_vault_does(client: &Client, name: &str) -> Result<(), tokio_postgres::Error> {
    let drop_role = format!("DROP ROLE IF EXISTS \"{name}\"");
    match client.batch_execute(&drop_role).await {
        Err(error) if error.code() == Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => {}
        other => return other,
    }
    let grants = "SELECT DISTINCT pg_catalog.quote_ident(table_schema) \
                  FROM information_schema.role_column_grants WHERE grantee = $1 AND table_schema <> 'public'";
    let mut statements = Vec::new();
    for row in client.query(grants, &[&name]).await? {
        let schema: String = row.try_get(0)?;
        statements.push(format!("REVOKE ALL PRIVILEGES ON ALL TABLES IN SCHEMA {schema} FROM \"{name}\""));
        statements.push(format!("REVOKE USAGE ON SCHEMA {schema} FROM \"{name}\""));
    }
    statements.push(format!("REVOKE ALL PRIVILEGES ON ALL TABLES IN SCHEMA public FROM \"{name}\""));
    statements.push(format!("REVOKE ALL PRIVILEGES ON ALL SEQUENCES IN SCHEMA public FROM \"{name}\""));
    statements.push(format!("REVOKE USAGE ON SCHEMA public FROM \"{name}\""));
    let row = client.query_one("SELECT pg_catalog.quote_ident(pg_catalog.current_database())", &[]).await?;
    let database: String = row.try_get(0)?;
    statements.push(format!("REVOKE CONNECT ON DATABASE {database} FROM \"{name}\""));
    for statement in statements {
        // Not every admin may revoke on every table; whether enough was revoked, the drop tells.
        drop(client.batch_execute(&statement).await);
    }
    client.batch_execute(&drop_role).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_id_holds_name_and_birth() {
        let born = Moment::from_nanos(123);
        let id = lease_id("lh-app-0-0-0", born);
        assert_eq!(parse_lease_id(&id).unwrap(), ("lh-app-0-0-0", born));
        for bad in ["", "local/x", "local/x@y", "database/creds/app/abc", "local/a\"b@1"] {
            assert!(matches!(parse_lease_id(bad), Err(SourceError::Gone { .. })), "{bad}");
        }
    }
}
