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

#[cfg(test)]
mod tests {
    use crate::config::host::NoHost;
    use crate::config::{explain, parse};
    use crate::upstream::SessionAttrs;

    fn read(keys: &str) -> Result<crate::config::Loaded, Vec<String>> {
        let text = format!(
            "[databases.app]\n{keys}\ncredentials = {{ source = \"vault\", path = \"database/creds/app\" }}"
        );
        let variables = [("VAULT_ADDR", "https://v"), ("VAULT_TOKEN", "t")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        parse("f.toml", &text, variables)
            .map_err(|wrong| wrong.list.into_iter().map(|p| format!("{} | {}", p.what, p.advice)).collect())
    }

    #[test]
    fn hosts_and_ports_are_paired_as_libpq_does() {
        for (keys, place) in [
            ("host = 'a'", "a:5432"),
            ("host = ['a']\nport = [1]", "a:1"),
            ("host = ['a', ' b ']", "a:5432,b:5432"),
            ("host = ['a', 'b']\nport = 7", "a:7,b:7"),
            ("host = ['a', '::1', '/run']\nport = [1, 2, 3]", "a:1,::1:2,/run:3"),
        ] {
            let loaded = read(keys).unwrap();
            assert_eq!(loaded.settings.databases[0].0.upstream.place(), place, "{keys}");
        }
        for (keys, expected) in [
            ("host = []", "`databases.app.host` lists no host"),
            ("host = ['a', '']", "`databases.app.host` is empty"),
            ("host = ['a', 'b:1']", "`databases.app.host` is no host name"),
            ("host = ['a', 1]", "`databases.app.host` must hold strings only"),
            ("host = ['a', 'b']\nport = []", "`databases.app.port` is an empty list"),
            (
                "host = ['a', 'b']\nport = [1, 2, 3]",
                "`databases.app.port` lists 3 ports for 2 hosts | give one",
            ),
            ("host = 'a'\nport = [1, 2]", "`databases.app.port` lists 2 ports for 1 hosts"),
            ("host = ['a', 'b']\nport = [1, 0]", "`databases.app.port` is 0, which is too small"),
            ("host = ['a', 'b']\nport = [1, '2']", "`databases.app.port` must be a whole number"),
            (
                "host = 'a'\ntarget_session_attrs = 'read_write'",
                "`databases.app.target_session_attrs` is \"read_write\", which is not known | did you mean \"read-write\"?",
            ),
        ] {
            let found = read(keys).unwrap_err();
            assert_eq!(found.len(), 1, "{keys}: {found:?}");
            assert!(found[0].starts_with(expected), "{keys}: {found:?}");
        }
    }

    #[test]
    fn what_is_in_force_is_told_of_every_host() {
        let keys = "host = ['a', '/run']\nport = [1, 2]\ntarget_session_attrs = 'prefer-standby'";
        let loaded = read(keys).unwrap();
        let attrs = loaded.settings.databases[0].0.upstream.target_session_attrs;
        assert_eq!(attrs, SessionAttrs::PreferStandby);
        let text = explain(&loaded, &NoHost);
        for said in
            ["host = a, /run ", "/run/.s.PGSQL.2", "on ports 1, 2.", "target_session_attrs = prefer-standby "]
        {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
}
