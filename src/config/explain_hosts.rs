//! What `leasehold check` says of a database's servers.

use super::host::Host;
use super::report::Report;
use crate::upstream::{HostSettings, SessionAttrs, UpstreamSettings};

/// `host`, `port` and `target_session_attrs` of one database.
pub(super) fn explain_hosts(
    report: &mut Report<'_>,
    upstream: &UpstreamSettings,
    at: &dyn Fn(&str) -> String,
    machine: &dyn Host,
) {
    let several = upstream.hosts.len() > 1;
    let joined = |each: &dyn Fn(&HostSettings) -> String| {
        upstream.hosts.iter().map(each).collect::<Vec<String>>().join(", ")
    };
    let places: Vec<String> = upstream
        .hosts
        .iter()
        .map(|host| match several {
            true => format!("{}: {}", host.host, place(host, machine)),
            false => place(host, machine),
        })
        .collect();
    report.item(&at("host"), joined(&|host| host.host.clone()), places.join(" "));
    let mut ports: Vec<u16> = upstream.hosts.iter().map(|host| host.port).collect();
    ports.dedup();
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let (ports, word) = (ports.join(", "), if ports.len() > 1 { "ports" } else { "port" });
    let listens = format!("PostgreSQL answers on {word} {ports}.");
    report.item(&at("port"), ports, listens);
    let attrs = upstream.target_session_attrs;
    report.item(&at("target_session_attrs"), attrs.word(), meaning(attrs, several));
}

fn place(host: &HostSettings, machine: &dyn Host) -> String {
    match host.socket_dir() {
        Some(dir) => format!("The server's Unix socket is {}/.s.PGSQL.{}.", dir.display(), host.port),
        None => match machine.resolve(&host.host) {
            Ok(addresses) => {
                let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("Resolves to {} now; it is asked anew at each connect.", list.join(", "))
            }
            Err(error) => format!("Does NOT resolve on this host now: {error}."),
        },
    }
}

fn meaning(attrs: SessionAttrs, several: bool) -> &'static str {
    match attrs {
        SessionAttrs::Any if several => "The first host that takes a connection has it.",
        SessionAttrs::Any => "The server is taken as it is.",
        SessionAttrs::ReadWrite => "Connections go where transactions can write.",
        SessionAttrs::ReadOnly => "Connections go where transactions cannot write unless they say so.",
        SessionAttrs::Primary => "Connections go to a server that is not in recovery.",
        SessionAttrs::Standby => "Connections go to a server that is in recovery.",
        SessionAttrs::PreferStandby => "Connections go to a standby while there is one, else to any host.",
    }
}
