//! `[databases.NAME]`: the pools and where each gets its users.

use std::path::PathBuf;
use std::time::Duration;

use super::problem::Findings;
use super::readable::{must_be_readable, should_be_readable};
use super::section::Section;
use crate::credentials::{LocalSettings, SourceSettings};
use crate::net::{SslMode, SslRoots};
use crate::pool::{PoolMode, PoolSettings};
use crate::upstream::UpstreamSettings;

/// The database that clients reach our own console under.
const CONSOLE: &str = "leasehold";

/// The longest name that PostgreSQL keeps (NAMEDATALEN - 1).
const LONGEST_NAME: usize = 63;

/// `pool_size` unless it is set.
const POOL_SIZE: usize = 20;

pub(super) fn read(section: &Section<'_>, findings: &mut Findings) -> Vec<(PoolSettings, SourceSettings)> {
    let mut databases = Vec::new();
    for name in section.names() {
        check_name(section, name, findings);
        let database = section.below(name);
        if !database.is_present() {
            continue; // Not a table: reported with the names.
        }
        let upstream = read_upstream(&database, name, findings);
        let source = read_source(&database, findings);
        let pool = read_pool(&database, name, upstream, findings);
        if let (Some(pool), Some(source)) = (pool, source) {
            databases.push((pool, source));
        }
    }
    if section.names().next().is_none() {
        findings.error(
            section.here(),
            "there is no database",
            "add a table [databases.NAME] with a host and credentials, NAME being what clients ask for",
        );
    }
    databases
}

/// Whether any database names Vault as its source, even if the rest of it is wrong.
pub(super) fn use_vault(section: &Section<'_>) -> bool {
    let mut ignored = Findings::default();
    section
        .names()
        .map(|name| section.below(name).below("credentials").text("source", &mut ignored))
        .any(|source| source.as_deref() == Some("vault"))
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
    let size = section.count("pool_size", findings).unwrap_or(POOL_SIZE);
    let most = section.count("max_server_connections", findings);
    let max_server_connections = most.unwrap_or(size.saturating_mul(2));
    if max_server_connections < size {
        let what = format!("is {max_server_connections}, less than pool_size ({size})");
        let advice = "old and new users together need at least pool_size, and up to twice as much to swap without waiting";
        section.error("max_server_connections", &what, advice, findings);
    }
    let checkout = section.some_time("checkout_timeout", findings);
    let prepared = section.count("max_prepared_statements", findings);
    Some(PoolSettings {
        name: name.to_owned(),
        upstream: upstream?,
        mode,
        size,
        max_server_connections,
        checkout_timeout: checkout.unwrap_or(Duration::from_secs(30)),
        max_prepared_statements: prepared.unwrap_or(200),
    })
}

fn read_upstream(section: &Section<'_>, name: &str, findings: &mut Findings) -> Option<UpstreamSettings> {
    let host = read_host(section, findings);
    let over_socket = host.as_deref().is_some_and(|host| host.starts_with('/'));
    let port = section.whole("port", 1, 65_535, findings).and_then(|port| u16::try_from(port).ok());
    let (sslmode, sslrootcert) = read_tls(section, over_socket, findings);
    let dbname = section.filled("dbname", findings);
    let role = section.filled("role", findings);
    let connect = section.some_time("connect_timeout", findings);
    let keepalive = section.duration("tcp_keepalive", findings);
    let user_timeout = section.duration("tcp_user_timeout", findings);
    Some(UpstreamSettings {
        host: host?,
        port: port.unwrap_or(5432),
        dbname: dbname.unwrap_or_else(|| name.to_owned()),
        sslmode,
        sslrootcert,
        role,
        connect_timeout: connect.unwrap_or(Duration::from_secs(10)),
        tcp_keepalive: keepalive.unwrap_or(Duration::from_secs(60)),
        tcp_user_timeout: user_timeout.unwrap_or(Duration::from_secs(30)),
    })
}

fn read_host(section: &Section<'_>, findings: &mut Findings) -> Option<String> {
    if !section.has("host") {
        section.missing("host", "name the PostgreSQL server, or the directory of its Unix socket", findings);
        return None;
    }
    let host = section.filled("host", findings)?.trim().to_owned();
    let address = host.parse::<std::net::IpAddr>().is_ok();
    if !host.starts_with('/')
        && !address
        && host.contains(|c: char| "/:@,[]".contains(c) || c.is_whitespace())
    {
        let advice =
            "one name or address, or a directory; the port goes into `port`, the database into `dbname`";
        section.error("host", "is no host name, address or absolute directory", advice, findings);
        return None;
    }
    Some(host)
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Vault,
    Local,
}

const LOCAL_KEYS: [&str; 6] = [
    "admin_url_file",
    "creation_statements",
    "renew_statements",
    "revocation_statements",
    "default_ttl",
    "max_ttl",
];

fn read_source(database: &Section<'_>, findings: &mut Findings) -> Option<SourceSettings> {
    const FORM: &str = "write credentials = { source = \"vault\", path = \"database/creds/ROLE\" }";
    let section = database.below("credentials");
    if !section.is_present() {
        if !database.has("credentials") {
            database.missing("credentials", FORM, findings);
        }
        return None;
    }
    if !section.has("source") {
        section.missing("source", FORM, findings);
        return None;
    }
    let source = section.choice("source", &[("vault", Source::Vault), ("local", Source::Local)], findings)?;
    let (foreign, other): (&[&str], _) = match source {
        Source::Vault => (&LOCAL_KEYS, "local"),
        Source::Local => (&["path"], "vault"),
    };
    for key in foreign.iter().filter(|key| section.has(key)) {
        section.error(
            key,
            &format!("belongs to source \"{other}\""),
            "remove it, or change `source`",
            findings,
        );
    }
    match source {
        Source::Vault => read_path(&section, findings).map(|path| SourceSettings::Vault { path }),
        Source::Local => read_local(&section, findings),
    }
}

fn read_path(section: &Section<'_>, findings: &mut Findings) -> Option<String> {
    if !section.has("path") {
        section.missing("path", "name the dynamic role, for example \"database/creds/app\"", findings);
        return None;
    }
    let text = section.filled("path", findings)?;
    let path = text.trim().trim_matches('/');
    let names: Vec<&str> = path.split('/').collect();
    let clean = !names.iter().any(|name| name.is_empty() || *name == "." || *name == "..")
        && !path.contains(|c: char| c.is_whitespace() || "?#%\\".contains(c));
    let advice = match names.as_slice() {
        ["v1", ..] => "leave out the leading v1/",
        [.., "static-creds", _] => "static roles are not supported: name a dynamic role, MOUNT/creds/ROLE",
        [_, .., "creds", _] if clean => return Some(path.to_owned()),
        _ => "it must look like MOUNT/creds/ROLE, for example \"database/creds/app\"",
    };
    section.error("path", &format!("is {text:?}, which is no dynamic role"), advice, findings);
    None
}

fn read_local(section: &Section<'_>, findings: &mut Findings) -> Option<SourceSettings> {
    let admin_url_file = section.file("admin_url_file", findings);
    match &admin_url_file {
        Some(file) => should_be_readable(section, "admin_url_file", file, findings),
        None if section.has("admin_url_file") => {}
        None => section.missing(
            "admin_url_file",
            "name a file with a URL such as postgresql://issuer:…@host/db, of a role with CREATEROLE",
            findings,
        ),
    }
    let creation = section.texts("creation_statements", findings);
    match &creation {
        Some(statements) => {
            for part in ["{{name}}", "{{password}}"] {
                if !statements.iter().any(|statement| statement.contains(part)) {
                    let what = format!("nowhere says {part}");
                    section.error("creation_statements", &what, CREATION, findings);
                }
            }
        }
        None if section.has("creation_statements") => {}
        None => section.missing("creation_statements", CREATION, findings),
    }
    let default_ttl = section.some_time("default_ttl", findings).unwrap_or(Duration::from_secs(3600));
    let max_ttl = section.some_time("max_ttl", findings).unwrap_or(Duration::from_secs(24 * 3600));
    if default_ttl > max_ttl {
        let what = format!(
            "is {}, longer than max_ttl ({})",
            humantime::format_duration(default_ttl),
            humantime::format_duration(max_ttl)
        );
        section.error("default_ttl", &what, "make it at most max_ttl", findings);
    }
    Some(SourceSettings::Local(LocalSettings {
        admin_url_file: admin_url_file?,
        creation_statements: creation?,
        renew_statements: section.texts("renew_statements", findings).unwrap_or_default(),
        revocation_statements: section.texts("revocation_statements", findings).unwrap_or_default(),
        default_ttl,
        max_ttl,
    }))
}

const CREATION: &str = "for example: CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' \
                        VALID UNTIL '{{expiration}}' IN ROLE app";
