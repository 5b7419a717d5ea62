//! `host` and `port` of a database: one server, or several with a port each or one for all, as libpq has it.

use std::net::IpAddr;

use super::problem::Findings;
use super::section::Section;
use crate::upstream::HostSettings;

/// PostgreSQL's.
const PORT: u16 = 5432;

/// The servers in their order; `None` if they cannot be told.
pub(super) fn read_hosts(section: &Section<'_>, findings: &mut Findings) -> Option<Vec<HostSettings>> {
    let ports = section.wholes("port", 1, 65_535, findings);
    let hosts = read_names(section, findings)?;
    let ports: Vec<u16> = match ports {
        None if section.has("port") => return None,
        None => vec![PORT],
        Some(ports) => ports.into_iter().filter_map(|port| u16::try_from(port).ok()).collect(),
    };
    match ports[..] {
        [port] => Some(hosts.into_iter().map(|host| HostSettings { host, port }).collect()),
        _ if ports.len() == hosts.len() => {
            let pairs = hosts.into_iter().zip(ports);
            Some(pairs.map(|(host, port)| HostSettings { host, port }).collect())
        }
        _ => {
            let what = format!("lists {} ports for {} hosts", ports.len(), hosts.len());
            let advice = "give one port for all of them, or one for each in the order of `host`";
            section.error("port", &what, advice, findings);
            None
        }
    }
}

fn read_names(section: &Section<'_>, findings: &mut Findings) -> Option<Vec<String>> {
    if !section.has("host") {
        section.missing("host", "name the PostgreSQL server, or the directory of its Unix socket", findings);
        return None;
    }
    let names = section.texts("host", findings)?;
    if names.is_empty() {
        section.error("host", "lists no host", "name at least one PostgreSQL server", findings);
        return None;
    }
    let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
    for name in &names {
        let (what, advice) = if name.is_empty() {
            ("is empty", "give it a value, or remove the key")
        } else if name.chars().any(char::is_control) {
            ("holds a control character", "remove it")
        } else if !is_host(name) {
            (
                "is no host name, address or absolute directory",
                "one name or address, or a directory, or a list of these; the port goes into `port`, the database into `dbname`",
            )
        } else {
            continue;
        };
        section.error("host", what, advice, findings);
        return None;
    }
    Some(names)
}

fn is_host(name: &str) -> bool {
    let odd = |c: char| "/:@,[]".contains(c) || c.is_whitespace();
    name.starts_with('/') || name.parse::<IpAddr>().is_ok() || !name.contains(odd)
}
