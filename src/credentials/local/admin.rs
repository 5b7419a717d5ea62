//! The one connection that makes and removes users: dialled, kept, dialled
//! again when it breaks, and the holder of this instance's advisory lock.
//!
//! It must go to the server itself: behind a pooler in transaction mode the
//! lock, which tells other instances that this one lives, would be lost.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::AbortHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::identity::{Instance, LOCK_CLASS};
use crate::credentials::SourceError;
use crate::credentials::tls::client_config;
use crate::net::{TlsCheck, TlsRoots};

/// Bound of one dial, unless the URL's connect_timeout says less.
const DIAL: Duration = Duration::from_secs(10);

/// Bound of one call's work on the connection; the server gives up before we do.
pub(super) const CALL: Duration = Duration::from_secs(30);

const SESSION: &str = "SET lock_timeout = '15s'; SET statement_timeout = '25s'; \
     SET idle_in_transaction_session_timeout = '30s'";

/// An open connection; its driver ends with it.
pub(super) struct Connection {
    pub(super) client: tokio_postgres::Client,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The place of the one connection.
pub(super) struct Admin {
    place: Arc<Place>,
    /// Dials again as soon as the connection breaks, so that the lock is missing for a moment only.
    watcher: std::sync::Mutex<Option<AbortHandle>>,
}

struct Place {
    url_file: PathBuf,
    instance: Instance,
    connection: Mutex<Option<Connection>>,
}

impl Drop for Admin {
    fn drop(&mut self) {
        if let Ok(mut watcher) = self.watcher.lock()
            && let Some(watcher) = watcher.take()
        {
            watcher.abort();
        }
    }
}

impl Admin {
    pub(super) fn new(url_file: PathBuf, instance: Instance) -> Self {
        Self {
            place: Arc::new(Place { url_file, instance, connection: Mutex::new(None) }),
            watcher: std::sync::Mutex::new(None),
        }
    }

    /// A connection that answered just now; others wait while it is held.
    pub(super) async fn connection(&self) -> Result<MutexGuard<'_, Option<Connection>>, SourceError> {
        let guard = self.place.ready().await?;
        if let Ok(mut watcher) = self.watcher.lock()
            && watcher.as_ref().is_none_or(AbortHandle::is_finished)
        {
            *watcher = Some(tokio::spawn(watch(Arc::clone(&self.place))).abort_handle());
        }
        Ok(guard)
    }
}

async fn watch(place: Arc<Place>) {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Somebody at work will notice by himself.
        let broken = match place.connection.try_lock() {
            Ok(guard) => guard.as_ref().is_none_or(|connection| connection.client.is_closed()),
            Err(_) => false,
        };
        if broken && place.ready().await.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

impl Place {
    async fn ready(&self) -> Result<MutexGuard<'_, Option<Connection>>, SourceError> {
        let mut guard = self.connection.lock().await;
        if let Some(connection) = guard.as_ref() {
            let ping =
                tokio::time::timeout(Duration::from_secs(5), connection.client.batch_execute("")).await;
            if matches!(ping, Ok(Ok(()))) {
                return Ok(guard);
            }
            *guard = None;
        }
        *guard = Some(self.dial().await?);
        Ok(guard)
    }

    async fn dial(&self) -> Result<Connection, SourceError> {
        let unreadable = |why: String| SourceError::Misconfigured {
            message: format!("admin_url_file {}: {why}", self.url_file.display()),
        };
        let text = tokio::fs::read_to_string(&self.url_file)
            .await
            .map(Zeroizing::new)
            .map_err(|e| unreadable(format!("cannot be read: {e}")))?;
        let target = Target::parse(text.trim()).map_err(&unreadable)?;
        let tls = target.tls().map_err(&unreadable)?;
        let late = || SourceError::Unavailable {
            message: format!("postgresql at {} did not take the admin connection in time", target.hosts()),
            retry_after: None,
        };
        let dialled = target.config.connect(MakeRustlsConnect::new(tls));
        let (client, driver) = tokio::time::timeout(DIAL, dialled)
            .await
            .map_err(|_| late())?
            .map_err(|e| describe(&e, &format!("the admin connection to {}", target.hosts())))?;
        let driver = tokio::spawn(async move {
            // Its error reaches whoever uses the client next.
            drop(driver.await);
        })
        .abort_handle();
        let connection = Connection { client, driver };
        tokio::time::timeout(DIAL, self.take_lock(&connection.client))
            .await
            .map_err(|_| late())?
            .map_err(|e| describe(&e, "setting the admin connection up"))?;
        Ok(connection)
    }

    async fn take_lock(&self, client: &tokio_postgres::Client) -> Result<(), tokio_postgres::Error> {
        client.batch_execute(SESSION).await?;
        // The server may not have noticed yet that our last connection is gone: shared, so that both may hold it.
        let lock = format!("SELECT pg_try_advisory_lock_shared({LOCK_CLASS}, {})", self.instance.lock_key());
        client.batch_execute(&lock).await
    }
}

/// What an error of PostgreSQL means to the keeper. Holds no statement and no secret.
pub(super) fn describe(error: &tokio_postgres::Error, doing: &str) -> SourceError {
    let Some(db) = error.as_db_error() else {
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        if cause.to_string().contains("certificate") {
            return SourceError::Misconfigured {
                message: format!("{doing} failed: {cause}; check sslmode and sslrootcert in admin_url_file"),
            };
        }
        return SourceError::Unavailable {
            message: format!("{doing} failed: {cause}; check admin_url_file and that postgresql runs"),
            retry_after: None,
        };
    };
    let code = db.code();
    let said = match db.detail() {
        Some(detail) => format!("{} ({detail}) [{}]", db.message(), code.code()),
        None => format!("{} [{}]", db.message(), code.code()),
    };
    let said = said.replace(['\n', '\r', '\t'], " ");
    match (code.code().get(..2).unwrap_or_default(), code) {
        ("28", _) => SourceError::Denied {
            message: format!("{doing} was refused: {said}; check the user in admin_url_file"),
        },
        (_, &SqlState::INSUFFICIENT_PRIVILEGE) => SourceError::Denied {
            message: format!(
                "{doing} was refused: {said}; the admin user needs CREATEROLE, and ADMIN OPTION on each role that \
                 the statements grant"
            ),
        },
        (_, &SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => SourceError::Unavailable {
            message: format!(
                "{doing} failed: {said}; set the database's role, so that a group role owns what sessions create"
            ),
            retry_after: None,
        },
        ("42" | "3D" | "3F" | "22", _) => SourceError::Misconfigured {
            message: format!("{doing} failed: {said}; check the statements and admin_url_file"),
        },
        _ => SourceError::Unavailable { message: format!("{doing} failed: {said}"), retry_after: None },
    }
}

/// A connection URL, taken apart where libpq knows more than tokio-postgres.
struct Target {
    config: tokio_postgres::Config,
    check: TlsCheck,
    root_file: Option<PathBuf>,
}

impl Target {
    fn parse(url: &str) -> Result<Self, String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("does not hold a postgresql:// URL".to_owned());
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut mode = None;
        let mut root = None;
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let value = || pair.split_once('=').map(|(_, value)| decoded(value)).unwrap_or_default();
            match pair.split_once('=').map(|(key, _)| key) {
                Some("sslmode") => mode = Some(value()),
                Some("sslrootcert") => root = Some(value()),
                _ => rest.push(pair),
            }
        }
        let plain = Zeroizing::new(match rest.is_empty() {
            true => base.to_owned(),
            false => format!("{base}?{}", rest.join("&")),
        });
        // Its own text could quote the URL.
        let mut config = tokio_postgres::Config::from_str(&plain)
            .map_err(|e| format!("holds a URL that cannot be used ({})", innermost(&e)))?;
        let system = root.as_deref() == Some("system");
        let (ssl, check) = match (mode.as_deref(), &root) {
            (Some("disable"), _) => (SslMode::Disable, TlsCheck::Nothing),
            (Some("verify-full"), _) => (SslMode::Require, TlsCheck::Name(None)),
            // libpq: sslrootcert=system means verify-full.
            (None, Some(_)) if system => (SslMode::Require, TlsCheck::Name(None)),
            (Some("verify-ca"), _) if !system => (SslMode::Require, TlsCheck::Chain),
            // libpq: with a root certificate require is verify-ca.
            (Some("require"), Some(_)) if !system => (SslMode::Require, TlsCheck::Chain),
            (Some("require"), None) => (SslMode::Require, TlsCheck::Nothing),
            (Some("allow" | "prefer") | None, _) if !system => (SslMode::Prefer, TlsCheck::Nothing),
            (Some(other), _) => {
                return Err(match system {
                    true => format!("sslrootcert=system wants sslmode=verify-full, not {other}"),
                    false => format!("sslmode={other} is not known"),
                });
            }
            (None, _) => (SslMode::Prefer, TlsCheck::Nothing),
        };
        config.ssl_mode(ssl);
        if config.get_application_name().is_none() {
            config.application_name("leasehold");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(DIAL);
        }
        config.tcp_user_timeout(CALL);
        let root_file = root.filter(|_| !system).map(PathBuf::from);
        Ok(Self { config, check, root_file })
    }

    fn tls(&self) -> Result<ClientConfig, String> {
        let roots = match (&self.root_file, &self.check) {
            (Some(file), TlsCheck::Name(None) | TlsCheck::Chain) => TlsRoots::from_file(file)?,
            _ => TlsRoots::default(),
        };
        client_config(roots, &self.check, None)
    }

    fn hosts(&self) -> String {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let ports: Vec<String> = self.config.get_ports().iter().map(u16::to_string).collect();
        format!("{}:{}", hosts.join(","), ports.join(","))
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Percent decoding of one query value.
fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let hex = (byte == b'%')
            .then(|| Some((ahead.next()?, ahead.next()?)))
            .flatten()
            .and_then(|(a, b)| u8::from_str_radix(std::str::from_utf8(&[a, b]).ok()?, 16).ok());
        match hex {
            Some(value) => {
                out.push(value);
                bytes = ahead;
            }
            None => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConnection, ServerConfig, ServerConnection};

    use super::*;
    use crate::net::{SslMode as PoolSslMode, SslRoots, TlsPolicy};

    #[test]
    fn a_url_means_what_libpq_takes_it_to_mean() {
        let cases = [
            ("postgresql://u:p@h/d", SslMode::Prefer, TlsCheck::Nothing, None),
            ("postgres://u@h:1/d?sslmode=disable", SslMode::Disable, TlsCheck::Nothing, None),
            ("postgresql://h/d?sslmode=require", SslMode::Require, TlsCheck::Nothing, None),
            (
                "postgresql://h/d?sslmode=require&sslrootcert=/a%20b",
                SslMode::Require,
                TlsCheck::Chain,
                Some("/a b"),
            ),
            (
                "postgresql://h/d?sslmode=verify-ca&sslrootcert=/ca",
                SslMode::Require,
                TlsCheck::Chain,
                Some("/ca"),
            ),
            (
                "postgresql://h/d?sslrootcert=/ca&sslmode=verify-full",
                SslMode::Require,
                TlsCheck::Name(None),
                Some("/ca"),
            ),
            ("postgresql://h/d?sslrootcert=system", SslMode::Require, TlsCheck::Name(None), None),
            (
                "postgresql://h/d?sslrootcert=system&sslmode=verify-full",
                SslMode::Require,
                TlsCheck::Name(None),
                None,
            ),
            ("postgresql:///d?host=/run/pg&user=x", SslMode::Prefer, TlsCheck::Nothing, None),
        ];
        for (url, mode, check, root) in cases {
            let target = Target::parse(url).unwrap();
            assert_eq!((target.config.get_ssl_mode(), target.check), (mode, check), "{url}");
            assert_eq!(target.root_file, root.map(PathBuf::from), "{url}");
        }
    }

    /// Whether a client that dials `name` is content with the server's certificate.
    fn is_content(mut client: ClientConnection, server: &Arc<ServerConfig>) -> Result<(), rustls::Error> {
        let mut server = ServerConnection::new(server.clone()).unwrap();
        while client.is_handshaking() {
            let mut flight = Vec::new();
            client.write_tls(&mut flight).unwrap();
            server.read_tls(&mut flight.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut flight = Vec::new();
            server.write_tls(&mut flight).unwrap();
            client.read_tls(&mut flight.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn the_admin_connection_and_a_pools_check_the_same_of_a_certificate() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["db.example".to_owned()]).unwrap();
        let stranger = rcgen::generate_simple_self_signed(["db.example".to_owned()]).unwrap().cert;
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], signing_key.into())
            .unwrap();
        let server = Arc::new(server);
        let directory = tempfile::tempdir().unwrap();
        let [own, foreign] = ["own.pem", "foreign.pem"].map(|name| directory.path().join(name));
        std::fs::write(&own, cert.pem()).unwrap();
        std::fs::write(&foreign, stranger.pem()).unwrap();
        let cases = [
            (PoolSslMode::VerifyFull, "verify-full", &own, "db.example", true),
            (PoolSslMode::VerifyFull, "verify-full", &own, "other.example", false),
            (PoolSslMode::VerifyFull, "verify-full", &foreign, "db.example", false),
            (PoolSslMode::VerifyCa, "verify-ca", &own, "db.example", true),
            (PoolSslMode::VerifyCa, "verify-ca", &own, "other.example", true),
            (PoolSslMode::VerifyCa, "verify-ca", &foreign, "db.example", false),
            (PoolSslMode::Require, "require", &own, "other.example", true),
            (PoolSslMode::Require, "require", &foreign, "db.example", false),
        ];
        for (mode, word, file, name, works) in cases {
            let case = format!("{word} {} {name}", file.display());
            let policy = TlsPolicy::new(mode, &SslRoots::File(file.clone())).unwrap();
            let of_pool = is_content(policy.session(name).unwrap().unwrap(), &server);
            assert_eq!(of_pool.is_ok(), works, "a pool's, {case}: {of_pool:?}");
            let url = format!("postgresql://{name}/d?sslmode={word}&sslrootcert={}", file.display());
            let config = Arc::new(Target::parse(&url).unwrap().tls().unwrap());
            let dialled = ServerName::try_from(name).unwrap();
            let of_admin = is_content(ClientConnection::new(config, dialled).unwrap(), &server);
            assert_eq!(of_admin, of_pool, "the admin connection's, {case}");
        }
    }

    #[test]
    fn a_bad_url_is_told_without_quoting_it() {
        let bad = [
            "",
            "host=h password=hunter2",
            "postgresql://u:hunter2@h:x/d",
            "postgresql://u:hunter2@h/d?sslmode=perhaps",
            "postgresql://u:hunter2@h/d?sslrootcert=system&sslmode=require",
            "postgresql://u:hunter2@h/d?nosuch=1",
        ];
        for url in bad {
            let error = Target::parse(url).err().unwrap();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
