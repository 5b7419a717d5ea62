//! `[databases.NAME]`: the pools and where each gets its users.

use std::path::PathBuf;
use std::time::Duration;

use super::credentials::Named;
use super::hosts::read_hosts;
use super::problem::Findings;
use super::readable::must_be_readable;
use super::section::Section;
use crate::credentials::CredentialsSettings;
use crate::net::{SslMode, SslRoots};
use crate::pool::{PinPolicy, PinSettings, PoolMode, PoolSettings, TimeoutSettings};
use crate::upstream::{SessionAttrs, UpstreamSettings};

/// The database that clients reach our own console under.
const CONSOLE: &str = "leasehold";

/// The longest name that PostgreSQL keeps (NAMEDATALEN - 1).
const LONGEST_NAME: usize = 63;

/// `pool_size` unless it is set.
const POOL_SIZE: usize = 20;

/// `server_lifetime`, `server_idle_timeout` and `reserve_pool_timeout` unless they are set: PgBouncer's.
const SERVER_LIFETIME: Duration = Duration::from_secs(3600);
const SERVER_IDLE_TIMEOUT: Duration = Duration::from_secs(600);
const RESERVE_TIMEOUT: Duration = Duration::from_secs(5);

/// As `target_session_attrs` may be.
const ATTRS: [SessionAttrs; 6] = [
    SessionAttrs::Any,
    SessionAttrs::ReadWrite,
    SessionAttrs::ReadOnly,
    SessionAttrs::Primary,
    SessionAttrs::Standby,
    SessionAttrs::PreferStandby,
];

pub(super) fn read(
    section: &Section<'_>,
    named: &Section<'_>,
    findings: &mut Findings,
) -> Vec<(PoolSettings, CredentialsSettings)> {
    let mut databases = Vec::new();
    let mut known = Named::read(named, findings);
    for name in section.names() {
        check_name(section, name, findings);
        let database = section.below(name);
        if !database.is_present() {
            continue; // Not a table: reported with the names.
        }
        let upstream = read_upstream(&database, name, findings);
        let credentials = known.of(&database, upstream.as_ref(), findings);
        let pool = read_pool(&database, name, upstream, findings);
        if let (Some(pool), Some(credentials)) = (pool, credentials) {
            databases.push((pool, credentials));
        }
    }
    if section.names().next().is_none() {
        findings.error(
            section.here(),
            "there is no database",
            "add a table [databases.NAME] with a host and credentials, NAME being what clients ask for",
        );
    }
    known.warn_of_unused(findings);
    databases
}

fn check_name(section: &Section<'_>, name: &str, findings: &mut Findings) {
    if name == CONSOLE {
        section.error(
            name,
            "is the console's own name",
            "call the database something else; dbname may stay",
            findings,
        );
    } else if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        let what = "is no name that a client could ask for";
        section.error(name, what, "use 1 to 63 bytes without control characters", findings);
    }
}

fn read_pool(
    section: &Section<'_>,
    name: &str,
    upstream: Option<UpstreamSettings>,
    findings: &mut Findings,
) -> Option<PoolSettings> {
    let modes = [("transaction", PoolMode::Transaction), ("session", PoolMode::Session)];
    let mode = section.choice("pool_mode", &modes, findings).unwrap_or_default();
    let Sizes { size, min_size, reserve_size, max_server_connections } = read_sizes(section, findings);
    let reserve_timeout = section.duration("reserve_pool_timeout", findings);
    let lifetime = section.duration("server_lifetime", findings);
    let idle_timeout = section.duration("server_idle_timeout", findings);
    let policies = [("auto", PinPolicy::Auto), ("never", PinPolicy::Never)];
    let policy = section.choice("pin", &policies, findings).unwrap_or_default();
    let pinned = section.count("max_pinned", findings);
    let pins = PinSettings { policy, most: pinned.unwrap_or(max_server_connections) };
    let checkout = section.some_time("checkout_timeout", findings);
    let prepared = section.count("max_prepared_statements", findings);
    Some(PoolSettings {
        name: name.to_owned(),
        upstream: upstream?,
        mode,
        size,
        min_size,
        reserve_size,
        reserve_timeout: reserve_timeout.unwrap_or(RESERVE_TIMEOUT),
        server_lifetime: lifetime.unwrap_or(SERVER_LIFETIME),
        server_idle_timeout: idle_timeout.unwrap_or(SERVER_IDLE_TIMEOUT),
        timeouts: read_timeouts(section, findings),
        max_server_connections,
        checkout_timeout: checkout.unwrap_or(Duration::from_secs(30)),
        max_prepared_statements: prepared.unwrap_or(200),
        pins,
    })
}

/// None of these holds unless it is set, as in PgBouncer.
fn read_timeouts(section: &Section<'_>, findings: &mut Findings) -> TimeoutSettings {
    let mut bound = |key| section.duration(key, findings).unwrap_or_default();
    TimeoutSettings {
        query: bound("query_timeout"),
        transaction: bound("transaction_timeout"),
        idle_transaction: bound("idle_transaction_timeout"),
        client_idle: bound("client_idle_timeout"),
    }
}

/// How many connections there may and must be.
struct Sizes {
    size: usize,
    min_size: usize,
    reserve_size: usize,
    max_server_connections: usize,
}

fn read_sizes(section: &Section<'_>, findings: &mut Findings) -> Sizes {
    let size = section.count("pool_size", findings).unwrap_or(POOL_SIZE);
    let min_size = section.count_or_none("min_pool_size", findings).unwrap_or(0);
    let reserve_size = section.count_or_none("reserve_pool_size", findings).unwrap_or(0);
    let most = section.count("max_server_connections", findings);
    // Old and new users may both have all that one may have.
    let needed = size.saturating_add(reserve_size);
    let max_server_connections = most.unwrap_or(needed.saturating_mul(2));
    if max_server_connections < needed {
        let (what, advice) = match reserve_size {
            0 => (
                format!("is {max_server_connections}, less than pool_size ({size})"),
                "old and new users together need at least pool_size, and up to twice as much to swap without waiting",
            ),
            _ => (
                format!(
                    "is {max_server_connections}, less than pool_size and reserve_pool_size together ({needed})"
                ),
                "old and new users together need at least that, and up to twice as much to swap without waiting",
            ),
        };
        section.error("max_server_connections", &what, advice, findings);
    }
    if min_size > size {
        let what = format!("is {min_size}, more than pool_size ({size})");
        section.error("min_pool_size", &what, "lower it, or raise pool_size", findings);
    }
    Sizes { size, min_size, reserve_size, max_server_connections }
}

fn read_upstream(section: &Section<'_>, name: &str, findings: &mut Findings) -> Option<UpstreamSettings> {
    let hosts = read_hosts(section, findings);
    let over_socket =
        hosts.as_ref().is_some_and(|hosts| hosts.iter().all(|host| host.socket_dir().is_some()));
    let attrs = ATTRS.map(|attrs| (attrs.word(), attrs));
    let attrs = section.choice("target_session_attrs", &attrs, findings).unwrap_or_default();
    let (sslmode, sslrootcert) = read_tls(section, over_socket, findings);
    let dbname = section.filled("dbname", findings);
    let role = section.filled("role", findings);
    let connect = section.some_time("connect_timeout", findings);
    let keepalive = section.duration("tcp_keepalive", findings);
    let user_timeout = section.duration("tcp_user_timeout", findings);
    Some(UpstreamSettings {
        hosts: hosts?,
        target_session_attrs: attrs,
        dbname: dbname.unwrap_or_else(|| name.to_owned()),
        sslmode,
        sslrootcert,
        role,
        connect_timeout: connect.unwrap_or(Duration::from_secs(10)),
        tcp_keepalive: keepalive.unwrap_or(Duration::from_secs(60)),
        tcp_user_timeout: user_timeout.unwrap_or(Duration::from_secs(30)),
    })
}

/// As libpq has it: nothing of it applies to a Unix socket, the system's roots only go with verify-full, and
/// with a root file require is verify-ca.
fn read_tls(section: &Section<'_>, over_socket: bool, findings: &mut Findings) -> (SslMode, SslRoots) {
    let modes = [
        ("disable", SslMode::Disable),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ];
    let mode = section.choice("sslmode", &modes, findings).unwrap_or_default();
    let roots = match section.filled("sslrootcert", findings) {
        Some(word) if word == "system" => SslRoots::System,
        Some(file) => {
            let file = PathBuf::from(file);
            must_be_readable(section, "sslrootcert", &file, findings);
            SslRoots::File(file)
        }
        None => SslRoots::System,
    };
    let verifies = match mode {
        SslMode::Disable | SslMode::Prefer => false,
        SslMode::Require => roots != SslRoots::System,
        SslMode::VerifyCa | SslMode::VerifyFull => true,
    };
    if over_socket {
        if verifies || mode == SslMode::Require {
            let what = "asks for TLS, which a Unix socket does not have";
            section.error("sslmode", what, "remove it, or name the server by host name", findings);
        }
        return (SslMode::Disable, roots);
    }
    if section.has("sslrootcert") && !verifies {
        let advice = "set sslmode = \"verify-full\", or remove it: otherwise nothing is verified";
        section.error("sslrootcert", "is set but sslmode does not verify anything", advice, findings);
    }
    if mode == SslMode::VerifyCa && roots == SslRoots::System {
        let advice = "name your own CA in `sslrootcert`, or use verify-full: \
                      anybody can get a certificate that the system's CAs signed";
        section.error("sslmode", "is verify-ca with the system's CAs", advice, findings);
    }
    (mode, roots)
}
