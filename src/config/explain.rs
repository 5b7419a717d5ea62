//! Says in plain sentences what a configuration means on this host (`leasehold check`).

use std::fmt::Write as _;
use std::time::Duration;

use super::Loaded;
use super::explain_credentials::{bounds, own_or_shared, shared};
use super::host::Host;
use super::problem::Origin;
use super::sslmode::tls_sentence;
use crate::app::LogFormat;
use crate::credentials::{CredentialsSettings, RenewPolicy, VaultAuth, VaultSettings};
use crate::net::{SslMode, SslRoots};
use crate::pool::{PoolMode, PoolSettings};

/// Every key in force: its value, where it was set, and what it means here. Never a secret.
#[must_use]
pub fn explain(loaded: &Loaded, host: &dyn Host) -> String {
    let mut report = Report { loaded, text: String::new() };
    general(&mut report, host);
    listen(&mut report, host);
    if let Some(vault) = &loaded.settings.vault {
        explain_vault(&mut report, vault);
    }
    for (pool, credentials) in &loaded.settings.databases {
        database(&mut report, pool, credentials, host);
    }
    shared(&mut report);
    rotation(&mut report);
    log(&mut report);
    report.text
}

/// The text so far, and the origins to name beside each value.
pub(super) struct Report<'l> {
    pub(super) loaded: &'l Loaded,
    text: String,
}

impl Report<'_> {
    pub(super) fn heading(&mut self, text: &str) {
        let _ = writeln!(self.text, "{}[{text}]", if self.text.is_empty() { "" } else { "\n" });
    }

    /// One key: `path`'s last name, its value, where it came from, and the meaning.
    pub(super) fn item(&mut self, path: &str, value: impl std::fmt::Display, meaning: impl AsRef<str>) {
        let name = path.rsplit('.').next().unwrap_or(path);
        let origin = match self.loaded.origins.get(path) {
            Some(origin @ (Origin::Line(_) | Origin::Variable(_))) => origin.in_file(&self.loaded.file),
            _ => "default".to_owned(),
        };
        let _ = writeln!(self.text, "{name} = {value}   ({origin})\n    {}", meaning.as_ref());
    }
}

fn general(report: &mut Report<'_>, host: &dyn Host) {
    let settings = &report.loaded.settings;
    let cores = host.cores();
    let surplus = if settings.threads > cores { "; more threads than cores only cost" } else { "" };
    let threads = settings.threads;
    report.item(
        "threads",
        threads,
        format!("{threads} data threads share all clients; this host has {cores} cores{surplus}."),
    );
    let shutdown = span(settings.shutdown_timeout);
    report.item(
        "shutdown_timeout",
        &shutdown,
        format!(
            "After SIGTERM transactions get {shutdown} to end; then they are cut and every user is revoked."
        ),
    );
}

fn listen(report: &mut Report<'_>, host: &dyn Host) {
    let settings = &report.loaded.settings;
    let listen = &settings.listen;
    report.heading("listen");
    match listen.tcp {
        Some(address) if address.port() == 0 => {
            report.item(
                "listen.tcp",
                address,
                "Clients connect without a password to a free port, told at start.",
            );
        }
        Some(address) => report.item(
            "listen.tcp",
            address,
            format!(
                "Clients on this host connect without a password: host={} port={}.",
                address.ip(),
                address.port()
            ),
        ),
        None => report.item("listen.tcp", "\"\"", "No TCP listener."),
    }
    match &listen.unix_dir {
        Some(dir) => {
            let there = if host.has_directory(dir) { "" } else { " The directory does not exist yet." };
            let socket = format!("{}/.s.PGSQL.{}", dir.display(), listen.unix_port);
            report.item(
                "listen.unix_dir",
                dir.display(),
                format!(
                    "Clients connect to {socket}: host={} port={}.{there}",
                    dir.display(),
                    listen.unix_port
                ),
            );
            let who = match listen.unix_mode & 0o066 {
                0 => "only this user (and root) can connect",
                mode if mode & 0o006 == 0 => "this user and its group can connect",
                _ => "every user of this host can connect",
            };
            report.item(
                "listen.unix_mode",
                format!("{:04o}", listen.unix_mode),
                format!("On the socket {who}."),
            );
        }
        None => report.item("listen.unix_dir", "none", "No Unix socket."),
    }
    let servers: usize = settings.databases.iter().map(|(pool, _)| pool.max_server_connections).sum();
    let files = listen.max_clients.saturating_add(servers).saturating_add(64);
    let room = match host.open_files() {
        Some(limit) if u64::try_from(files).is_ok_and(|files| files > limit) => format!(
            " That can take {files} open files, and this host allows {limit}: raise `ulimit -n` or LimitNOFILE, or lower it."
        ),
        _ => String::new(),
    };
    report.item(
        "listen.max_clients",
        listen.max_clients,
        format!("Client number {} gets FATAL 53300.{room}", listen.max_clients.saturating_add(1)),
    );
    let startup = span(listen.startup_timeout);
    report.item(
        "listen.startup_timeout",
        &startup,
        format!("Who has not said within {startup} who it is, is dropped."),
    );
    let bytes = listen.max_prepared_bytes;
    report.item(
        "listen.max_prepared_bytes",
        bytes,
        format!("A client that prepares more than {} bytes of text is dropped.", bytes / 16),
    );
}

fn explain_vault(report: &mut Report<'_>, vault: &VaultSettings) {
    report.heading("vault");
    report.item("vault.address", &vault.address, "Users are issued here.");
    if vault.namespace.is_empty() {
        report.item("vault.namespace", "none", "Requests name no namespace.");
    } else {
        report.item("vault.namespace", &vault.namespace, "Every request is made in this namespace.");
    }
    let roots = match (&vault.ca_file, &vault.ca_bytes, &vault.ca_path) {
        _ if vault.skip_verify => "Vault's certificate is NOT verified (VAULT_SKIP_VERIFY).".to_owned(),
        _ if vault.address.starts_with("http://") => "Not used: the address is plain http.".to_owned(),
        (Some(file), _, _) => format!("Only the CAs in {} are trusted.", file.display()),
        (None, Some(_), _) => "Only the CAs in VAULT_CACERT_BYTES are trusted.".to_owned(),
        (None, None, Some(path)) => format!("Only the CAs in the directory {} are trusted.", path.display()),
        (None, None, None) => "The system's CAs are trusted.".to_owned(),
    };
    report.item("vault.ca_file", or_none(vault.ca_file.as_ref().map(|file| file.display())), roots);
    if let (Some(cert), Some(key)) = (&vault.client_cert, &vault.client_key) {
        report.item("vault.client_cert", cert.display(), "Shown to Vault at each connection.");
        report.item("vault.client_key", key.display(), "Read at start; never shown.");
    }
    if let Some(name) = &vault.tls_server_name {
        report.item("vault.tls_server_name", name, "Vault's certificate must be for this name.");
    }
    let timeout = span(vault.timeout);
    report.item(
        "vault.timeout",
        &timeout,
        format!("A call that takes longer than {timeout} has failed and is tried again."),
    );
    match &vault.auth {
        VaultAuth::Token { .. } => report.item(
            "vault.auth.method",
            "token",
            "The token comes from the environment; all users share it, and none outlives it.",
        ),
        VaultAuth::TokenFile { file } => report.item(
            "vault.auth.method",
            "token_file",
            format!(
                "The token is in {}; all users share it, and none outlives it. Another one in the file means a new user at once.",
                file.display()
            ),
        ),
        VaultAuth::AppRole { mount, secret_id_file, secret_id, wrapped, .. } => {
            explain_login(report, "approle", mount);
            let secret = match (secret_id_file, secret_id) {
                (Some(file), _) => format!("read anew at each login from {}", file.display()),
                (None, Some(_)) => "from the environment".to_owned(),
                (None, None) => "none: the role must have bind_secret_id=false".to_owned(),
            };
            let what = if *wrapped { "The token that the secret id is wrapped in" } else { "The secret id" };
            report.item("vault.auth.role_id", "set", format!("{what} is {secret}."));
        }
        VaultAuth::Kubernetes { mount, role, jwt_file } | VaultAuth::Jwt { mount, role, jwt_file } => {
            let kubernetes = matches!(vault.auth, VaultAuth::Kubernetes { .. });
            explain_login(report, if kubernetes { "kubernetes" } else { "jwt" }, mount);
            report.item("vault.auth.role", role, "The role at Vault.");
            report.item("vault.auth.jwt_file", jwt_file.display(), "Read anew at each login.");
        }
        VaultAuth::Userpass { mount, username, password_file, .. } => {
            explain_login(report, "userpass", mount);
            let from = match password_file {
                Some(file) => format!("read anew at each login from {}", file.display()),
                None => "from the environment".to_owned(),
            };
            report.item("vault.auth.username", username, format!("The password is {from}."));
        }
        VaultAuth::Cert { mount, name } => {
            explain_login(report, "cert", mount);
            let name = name.as_deref();
            report.item("vault.auth.name", or_none(name), "The role that `vault.client_cert` is to match.");
        }
    }
}

fn explain_login(report: &mut Report<'_>, method: &str, mount: &str) {
    report.item("vault.auth.method", method, "Each user gets a login of its own, which ends with it.");
    report.item("vault.auth.mount", mount, format!("Logins go to auth/{mount}/login."));
}

fn database(
    report: &mut Report<'_>,
    pool: &PoolSettings,
    credentials: &CredentialsSettings,
    host: &dyn Host,
) {
    let base = format!("databases.{}", pool.name);
    let at = |key: &str| format!("{base}.{key}");
    let upstream = &pool.upstream;
    report.heading(&base);
    let place = match upstream.socket_dir() {
        Some(dir) => format!("The server's Unix socket is {}/.s.PGSQL.{}.", dir.display(), upstream.port),
        None => match host.resolve(&upstream.host) {
            Ok(addresses) => {
                let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("Resolves to {} now; it is asked anew at each connect.", list.join(", "))
            }
            Err(error) => format!("Does NOT resolve on this host now: {error}."),
        },
    };
    report.item(&at("host"), &upstream.host, place);
    report.item(&at("port"), upstream.port, format!("PostgreSQL answers on port {}.", upstream.port));
    report.item(
        &at("dbname"),
        &upstream.dbname,
        format!("Clients that ask for {:?} reach {:?} on the server.", pool.name, upstream.dbname),
    );
    let (sslmode, tls) =
        tls_sentence(upstream.sslmode, &upstream.sslrootcert, upstream.socket_dir().is_some());
    report.item(&at("sslmode"), sslmode, tls);
    if let SslRoots::File(file) = &upstream.sslrootcert {
        report.item(&at("sslrootcert"), file.display(), "Only the CAs in this file are trusted.");
    } else if upstream.sslmode == SslMode::VerifyFull {
        report.item(&at("sslrootcert"), "system", "The system's CAs are trusted.");
    }
    match &upstream.role {
        Some(role) => report.item(
            &at("role"),
            role,
            format!("Every connection takes on {role:?}: it is current_user and owns new objects, whoever logged in."),
        ),
        None => report.item(
            &at("role"),
            "none",
            "Statements run as the issued user itself: objects it makes are its own, and go or block when it goes.",
        ),
    }
    sizes(report, pool, &at);
    for (key, duration, meaning) in [
        ("connect_timeout", upstream.connect_timeout, "bounds name resolution, TCP, TLS and login together."),
        ("tcp_keepalive", upstream.tcp_keepalive, "of silence, then the server is probed."),
        (
            "tcp_user_timeout",
            upstream.tcp_user_timeout,
            "without an acknowledgement, then the connection is given up.",
        ),
    ] {
        let text = span(duration);
        let meaning = if duration.is_zero() {
            "The system's default applies.".into()
        } else {
            format!("{text} {meaning}")
        };
        report.item(&at(key), text, meaning);
    }
    own_or_shared(report, credentials, &at);
}

fn sizes(report: &mut Report<'_>, pool: &PoolSettings, at: &dyn Fn(&str) -> String) {
    let (mode, meaning) = match pool.mode {
        PoolMode::Transaction => {
            ("transaction", "A client holds a server connection for the time of a transaction.")
        }
        PoolMode::Session => ("session", "A client holds a server connection until it leaves."),
    };
    report.item(&at("pool_mode"), mode, meaning);
    let threads = report.loaded.settings.threads;
    report.item(
        &at("pool_size"),
        pool.size,
        format!("At most {} connections of the active user, shared by {threads} threads.", pool.size),
    );
    let most = pool.max_server_connections;
    let overlap = most.saturating_sub(pool.size);
    report.item(
        &at("max_server_connections"),
        most,
        format!("PostgreSQL sees at most {most} connections; {overlap} of them are room for old users that still drain."),
    );
    let wait = span(pool.checkout_timeout);
    report.item(
        &at("checkout_timeout"),
        &wait,
        format!("A client that waits longer than {wait} for a connection gets an error."),
    );
    if pool.mode == PoolMode::Transaction {
        report.item(
            &at("max_prepared_statements"),
            pool.max_prepared_statements,
            "Each connection keeps at most so many prepared statements, for all clients together.",
        );
    }
}

fn rotation(report: &mut Report<'_>) {
    let rotation = &report.loaded.settings.rotation;
    report.heading("rotation");
    report.item(
        "rotation.at",
        rotation.at,
        format!("The next user is issued after {:.0} % of the life.", rotation.at * 100.0),
    );
    let (early, late) = bounds(rotation);
    report.item(
        "rotation.jitter",
        rotation.jitter,
        format!("Instances spread that over {:.0} % to {:.0} %.", early * 100.0, late * 100.0),
    );
    let (renew, meaning) = match rotation.renew {
        RenewPolicy::WhileDraining => {
            ("while_draining", "A replaced user's lease is renewed while it is busy.")
        }
        RenewPolicy::UntilMax => {
            ("until_max", "A user serves on, renewed, until its lease can be given no full life any more.")
        }
        RenewPolicy::Never => ("never", "No lease is renewed: each user ends with the life it was given."),
    };
    report.item("rotation.renew", renew, meaning);
    let drain = span(rotation.drain_timeout);
    report.item(
        "rotation.drain_timeout",
        &drain,
        format!("Busy connections of a replaced user may go on for {drain}, and never past its lease."),
    );
    let grace = span(rotation.revoked_grace);
    report.item(
        "rotation.revoked_grace",
        &grace,
        format!("Busy connections of a user that somebody else revoked are cut after {grace}."),
    );
    let watch = span(rotation.watch_interval);
    report.item(
        "rotation.watch_interval",
        &watch,
        format!("Every {watch} one small query asks whether the users are still there."),
    );
    let outage = span(rotation.outage_grace);
    let meaning = if rotation.outage_grace.is_zero() {
        "No user serves past its end, even if its source cannot be reached.".to_owned()
    } else {
        format!("While the source cannot be reached, a user may serve {outage} past its end.")
    };
    report.item("rotation.outage_grace", &outage, meaning);
}

fn log(report: &mut Report<'_>) {
    let log = &report.loaded.settings.log;
    report.heading("log");
    let (format, meaning) = match log.format {
        LogFormat::Auto => ("auto", "Text if standard error is a terminal, JSON otherwise."),
        LogFormat::Text => ("text", "Lines of text on standard error."),
        LogFormat::Json => ("json", "One JSON object a line on standard error."),
    };
    report.item("log.format", format, meaning);
    report.item("log.filter", &log.filter, "What is told.");
}

/// A duration in words, to the second where it is longer than ten.
pub(super) fn span(duration: Duration) -> String {
    let rounded = if duration >= Duration::from_secs(10) {
        Duration::from_secs(duration.saturating_add(Duration::from_millis(500)).as_secs())
    } else {
        Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    };
    humantime::format_duration(rounded).to_string()
}

fn or_none(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}
