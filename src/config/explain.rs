//! Says in plain sentences what a configuration means on this host (`leasehold check`).

use std::net::SocketAddr;

use super::explain_credentials::{bounds, own_or_shared, shared};
use super::explain_hosts::explain_hosts;
use super::explain_vault::explain_vault;
use super::host::{Host, NoHost};
use super::loaded::Loaded;
use super::report::{Report, span};
use super::sslmode::tls_sentence;
use crate::admin::ShownSettings;
use crate::app::LogFormat;
use crate::credentials::{CredentialsSettings, RenewPolicy};
use crate::net::{SslMode, SslRoots};
use crate::pool::{PinPolicy, PoolMode, PoolSettings, TimeoutSettings};
use crate::session::ListenSettings;
use crate::upstream::UpstreamSettings;

/// Every key in force: its value, where it was set, and what it means here. Never a secret.
#[must_use]
pub fn explain(loaded: &Loaded, host: &dyn Host) -> String {
    report(loaded, host).text
}

/// Every key in force with its value, for the console. Nothing is asked of the host.
pub(super) fn shown(loaded: &Loaded) -> ShownSettings {
    report(loaded, &NoHost).shown
}

fn report<'l>(loaded: &'l Loaded, host: &dyn Host) -> Report<'l> {
    let mut report = Report { loaded, text: String::new(), shown: ShownSettings::default() };
    general(&mut report, host);
    listen(&mut report, host);
    http(&mut report);
    console(&mut report);
    if let Some(vault) = &loaded.settings.vault {
        explain_vault(&mut report, vault);
    }
    for (pool, credentials) in &loaded.settings.databases {
        database(&mut report, pool, credentials, host);
    }
    shared(&mut report);
    rotation(&mut report);
    log(&mut report);
    report
}

fn general(report: &mut Report<'_>, host: &dyn Host) {
    let settings = &report.loaded.settings;
    let cores = host.cores();
    let surplus = if settings.threads > cores { "; more threads than cores only cost" } else { "" };
    let threads = settings.threads;
    report.item(
        "threads",
        threads,
        format!("Up to {threads} data threads share all clients; this host has {cores} cores{surplus}."),
    );
    let busy = settings.listen.thread_busy;
    let said = match (busy, threads) {
        (_, 1) => "There is one data thread for all clients.".to_owned(),
        (0, _) => "Clients are spread evenly over the threads from the start.".to_owned(),
        _ => format!(
            "A thread that uses {busy} % of its core is busy: clients go to the next, and back later."
        ),
    };
    report.item("thread_busy", busy, said);
    let shutdown = span(settings.shutdown_timeout);
    report.item(
        "shutdown_timeout",
        &shutdown,
        format!(
            "After SIGTERM transactions get {shutdown} to end; then they are cut and every user is revoked."
        ),
    );
    let kept = settings.state_dir.as_deref();
    let said = match kept {
        Some(_) => "How often Vault refused a login is kept there over restarts.",
        None => "How often Vault refused a login is forgotten at each start.",
    };
    report.item("state_dir", kept.map_or("", |path| path.to_str().unwrap_or("?")), said);
}

fn listen(report: &mut Report<'_>, host: &dyn Host) {
    let settings = &report.loaded.settings;
    let listen = &settings.listen;
    report.heading("listen");
    listen_tcp(report, listen.tcp);
    listen_unix(report, listen, host);
    max_clients(report, host);
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

fn http(report: &mut Report<'_>) {
    report.heading("http");
    match report.loaded.settings.http.listen {
        Some(address) => {
            let who = if address.ip().is_loopback() { "Programs on this host" } else { "Other hosts too" };
            let port = if address.port() == 0 { " The port is told at start." } else { "" };
            report.item(
                "http.listen",
                address,
                format!(
                    "{who} can ask for /startupz, /livez, /readyz and /status; POST /quitquitquit from this host alone ends the proxy.{port}"
                ),
            );
        }
        None => report.item("http.listen", "none", "No HTTP: no probes and no status."),
    }
}

fn console(report: &mut Report<'_>) {
    let console = &report.loaded.settings.console;
    report.heading("console");
    let (who, meaning) = match &console.admin_uids {
        None => ("root and our own".to_owned(), "root and the user that the program runs as"),
        Some(named) if named.is_empty() => ("[]".to_owned(), "nobody"),
        Some(named) => (named.join(", "), "these users"),
    };
    report.item(
        "console.admin_uids",
        who,
        format!("By the Unix socket {meaning} may give commands that change something."),
    );
    let said = match console.tcp_commands {
        true => "Every program that reaches the TCP listener may give commands too.",
        false => "Over TCP the console only shows.",
    };
    report.item("console.tcp_commands", console.tcp_commands, said);
    let period = span(console.stats_period);
    report.item("console.stats_period", period, "SHOW STATS has the averages of the latest such period.");
}

fn listen_tcp(report: &mut Report<'_>, tcp: Option<SocketAddr>) {
    match tcp {
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
}

fn listen_unix(report: &mut Report<'_>, listen: &ListenSettings, host: &dyn Host) {
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
}

fn max_clients(report: &mut Report<'_>, host: &dyn Host) {
    let (settings, listen) = (&report.loaded.settings, &report.loaded.settings.listen);
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
    explain_hosts(report, upstream, &at, host);
    report.item(
        &at("dbname"),
        &upstream.dbname,
        format!("Clients that ask for {:?} reach {:?} on the server.", pool.name, upstream.dbname),
    );
    let over_socket = upstream.hosts.iter().all(|host| host.socket_dir().is_some());
    let (sslmode, tls) = tls_sentence(upstream.sslmode, &upstream.sslrootcert, over_socket);
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
    timeouts(report, upstream, &at);
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
    keeping(report, pool, at);
    patience(report, pool, at);
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
        let (policy, most) = (pool.pins.policy, pool.pins.most);
        report.item(
            &at("pin"),
            policy.word(),
            match policy {
                PinPolicy::Auto => "A client with temporary tables, LISTEN or the like keeps its connection until they are gone.",
                PinPolicy::Never => "Temporary tables, LISTEN and the like are gone at the end of the transaction.",
            },
        );
        report.item(
            &at("max_pinned"),
            most,
            format!("At most {most} clients may keep a connection so; one more gets an error and is ended."),
        );
    }
}

/// What is opened beforehand or beyond the size, and how long it stays.
fn keeping(report: &mut Report<'_>, pool: &PoolSettings, at: &dyn Fn(&str) -> String) {
    let least = match pool.min_size {
        0 => "Connections are opened when clients need them.".to_owned(),
        least => {
            format!("{least} connections of the active user are kept open, even if no client needs them.")
        }
    };
    report.item(&at("min_pool_size"), pool.min_size, least);
    let (more, wait) = (pool.reserve_size, span(pool.reserve_timeout));
    let reserve = match more {
        0 => "There is no reserve: beyond pool_size clients wait.".to_owned(),
        _ => format!("{more} connections more than pool_size may be opened for clients that wait for long."),
    };
    report.item(&at("reserve_pool_size"), more, reserve);
    let waits = match more {
        0 => "Of no effect: there is no reserve.".to_owned(),
        _ => format!("A client that has waited for {wait} has a connection of the reserve opened."),
    };
    report.item(&at("reserve_pool_timeout"), &wait, waits);
    let life = span(pool.server_lifetime);
    let lives = match pool.server_lifetime.is_zero() {
        true => "A connection lives as long as its user serves.".to_owned(),
        false => {
            format!("A connection of the age of {life}, or up to a tenth less, is closed once it is idle.")
        }
    };
    report.item(&at("server_lifetime"), &life, lives);
    let idle = span(pool.server_idle_timeout);
    let idles = match pool.server_idle_timeout.is_zero() {
        true => "Idle connections stay open.".to_owned(),
        false => format!("A connection that nobody used for {idle} is closed, down to min_pool_size."),
    };
    report.item(&at("server_idle_timeout"), &idle, idles);
}

/// How long clients may take.
fn patience(report: &mut Report<'_>, pool: &PoolSettings, at: &dyn Fn(&str) -> String) {
    let TimeoutSettings { query, transaction, idle_transaction, client_idle } = pool.timeouts;
    for (key, bound, what) in [
        ("query_timeout", query, "whose query takes"),
        ("transaction_timeout", transaction, "whose transaction is open for"),
        ("idle_transaction_timeout", idle_transaction, "that says nothing in a transaction for"),
        ("client_idle_timeout", client_idle, "that says nothing outside a transaction for"),
    ] {
        let text = span(bound);
        let meaning = match bound.is_zero() {
            true => "No bound.".to_owned(),
            false => format!("A client {what} {text} is disconnected."),
        };
        report.item(&at(key), text, meaning);
    }
}

fn timeouts(report: &mut Report<'_>, upstream: &UpstreamSettings, at: &dyn Fn(&str) -> String) {
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
    let alike = match log.most_alike {
        0 => "However often a line comes, it is written.".to_owned(),
        most => format!("Of one kind of line {most} a minute are written, the others are counted."),
    };
    report.item("log.most_alike", log.most_alike, alike);
    let tell = report.loaded.settings.listen.tell;
    let slow = span(tell.slow_checkout);
    let slowly = match tell.slow_checkout.is_zero() {
        true => "Nobody's wait for a server connection is told.".to_owned(),
        false => format!("A client that waits {slow} for a server connection is told of."),
    };
    report.item("log.slow_checkout", &slow, slowly);
    let audit = match tell.audit {
        true => {
            "A line for each time that a client held a server connection: in transaction mode one a transaction."
        }
        false => "Who ran as which user is not told.",
    };
    report.item("log.audit", tell.audit, audit);
}
