//! `[listen]`: where clients come in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::problem::Findings;
use super::section::Section;
use crate::session::{ListenSettings, TellSettings};

/// The port that clients find us at unless another one is set.
const PORT: u16 = 6432;

/// Bytes of a Unix socket's path, the ending NUL included (unix(7)).
const SUN_PATH: usize = 108;

pub(super) fn read(section: &Section<'_>, findings: &mut Findings) -> ListenSettings {
    let default = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
    let tcp = match section.text("tcp", findings) {
        Some(text) => parse_tcp(&text).unwrap_or_else(|(what, advice)| {
            section.error("tcp", &what, advice, findings);
            default
        }),
        None => default,
    };
    let unix_port = tcp.map(|address| address.port()).filter(|port| *port != 0).unwrap_or(PORT);
    let unix_dir = section.file("unix_dir", findings);
    if let Some(dir) = &unix_dir {
        let longest = format!("{}/.s.PGSQL.{unix_port}", dir.display()).len();
        if !dir.is_absolute() {
            section.error("unix_dir", "is not an absolute path", "begin it with /", findings);
        } else if longest >= SUN_PATH {
            section.error("unix_dir", "is too long for a socket's path", "use a shorter directory", findings);
        }
    } else if section.has("unix_mode") {
        section.error("unix_mode", "has nothing to apply to", "set `unix_dir`, or remove it", findings);
    }
    if tcp.is_none() && unix_dir.is_none() {
        section.error(
            "tcp",
            "is off and there is no `unix_dir`",
            "set one of them: clients need a way in",
            findings,
        );
    }
    ListenSettings {
        tcp,
        unix_dir,
        unix_port,
        unix_mode: read_mode(section, findings).unwrap_or(0o600),
        thread_busy: 0,
        tell: TellSettings::default(),
        max_clients: section.count("max_clients", findings).unwrap_or(10_000),
        startup_timeout: section.some_time("startup_timeout", findings).unwrap_or(Duration::from_secs(10)),
        max_prepared_bytes: section.size("max_prepared_bytes", findings).unwrap_or(256 << 20),
    }
}

fn read_mode(section: &Section<'_>, findings: &mut Findings) -> Option<u32> {
    let text = section.filled("unix_mode", findings)?;
    match u32::from_str_radix(text.trim(), 8) {
        Ok(mode) if mode <= 0o777 => Some(mode),
        _ => {
            let what = format!("is {text:?}, which are no permission bits");
            section.error(
                "unix_mode",
                &what,
                "write octal digits, for example \"0600\" or \"0660\"",
                findings,
            );
            None
        }
    }
}

/// An address with or without a port; empty: no listener.
fn parse_tcp(text: &str) -> Result<Option<SocketAddr>, (String, &'static str)> {
    const FORM: &str = "write an address and a port, for example \"127.0.0.1:6432\" or \"[::1]:6432\"";
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let numeric = match text.strip_prefix("localhost") {
        Some(rest) if rest.is_empty() || rest.starts_with(':') => format!("127.0.0.1{rest}"),
        _ => text.to_owned(),
    };
    let address = match (numeric.parse::<SocketAddr>(), numeric.parse::<IpAddr>()) {
        (Ok(address), _) => address,
        (_, Ok(ip)) => SocketAddr::new(ip, PORT),
        _ => return Err((format!("is {text:?}, which is no address"), FORM)),
    };
    if !address.ip().is_loopback() {
        return Err((
            format!("is {text}, which other hosts can reach, and clients are let in without a password"),
            "listen on 127.0.0.1 or ::1 and run Leasehold beside the application, or share the socket of `unix_dir`",
        ));
    }
    Ok(Some(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on() {
        for (text, expected) in [
            ("127.0.0.1:6432", Some("127.0.0.1:6432")),
            ("localhost", Some("127.0.0.1:6432")),
            ("localhost:5433", Some("127.0.0.1:5433")),
            ("::1", Some("[::1]:6432")),
            ("[::1]:7000", Some("[::1]:7000")),
            ("127.0.0.2", Some("127.0.0.2:6432")),
            ("", None),
        ] {
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(parse_tcp(text), Ok(expected), "{text}");
        }
        for text in ["0.0.0.0:6432", "[::]:6432", "10.1.2.3", "192.168.0.1:6432"] {
            assert!(parse_tcp(text).unwrap_err().0.contains("without a password"), "{text}");
        }
        for text in ["localhostess", "db.example.com:6432", ":6432", "127.0.0.1:99999", "*"] {
            assert!(parse_tcp(text).unwrap_err().0.contains("no address"), "{text}");
        }
    }
}
