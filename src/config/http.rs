//! `[http]`: where probes and people look in.

use std::net::SocketAddr;

use super::problem::Findings;
use super::section::Section;
use crate::http::HttpSettings;

pub(super) fn read(section: &Section<'_>, findings: &mut Findings) -> HttpSettings {
    let Some(text) = section.text("listen", findings) else { return HttpSettings::default() };
    match parse(&text) {
        Ok(Some(address)) if !address.ip().is_loopback() => {
            findings.warning(
                &section.origin("listen"),
                format!(
                    "`http.listen` is {address}, which other hosts can reach: whoever does reads, without a password, \
                     the names of databases and of their users, how many clients and connections there are, and what \
                     went wrong last, with the servers' addresses in it"
                ),
                "right for probes that come from another host, as Kubernetes's do; else listen on 127.0.0.1. \
                 Only this host can stop the proxy",
            );
            HttpSettings { listen: Some(address) }
        }
        Ok(listen) => HttpSettings { listen },
        Err(what) => {
            let advice = "write an address and a port, for example \"127.0.0.1:9127\" or \"[::]:9127\"";
            section.error("listen", &what, advice, findings);
            HttpSettings::default()
        }
    }
}

/// An address with a port; empty: no HTTP. There is no port of ours that nobody else has.
fn parse(text: &str) -> Result<Option<SocketAddr>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let address = numeric.parse::<SocketAddr>();
    address.map(Some).map_err(|_| format!("is {text:?}, which is no address with a port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port() {
        for (text, expected) in [
            ("127.0.0.1:9127", Some("127.0.0.1:9127")),
            (" localhost:9127", Some("127.0.0.1:9127")),
            ("[::]:80", Some("[::]:80")),
            ("0.0.0.0:9127", Some("0.0.0.0:9127")),
            ("", None),
        ] {
            assert_eq!(parse(text), Ok(expected.map(|address| address.parse().unwrap())), "{text}");
        }
        for text in ["127.0.0.1", ":9127", "9127", "localhost", "proxy.example.com:9127", "*:9127", "::1:x"] {
            assert!(parse(text).unwrap_err().contains("no address"), "{text}");
        }
    }

    #[test]
    fn an_address_that_others_reach_is_warned_of() {
        let rest = "[databases.app]\nhost = \"h\"\n[databases.app.credentials]\nsource = \"vault\"\n\
                    path = \"database/creds/app\"\n[vault]\naddress = \"http://127.0.0.1:8200\"\n[vault.auth]\n\
                    method = \"approle\"\nrole_id = \"r\"\n";
        let secret = ("LEASEHOLD_VAULT__AUTH__SECRET_ID".to_owned(), "s".to_owned());
        for (listen, warned) in [("127.0.0.1:9127", false), ("[::1]:9127", false), ("0.0.0.0:9127", true)] {
            let text = format!("[http]\nlisten = \"{listen}\"\n{rest}");
            let loaded = crate::config::parse("f", &text, [secret.clone()]).unwrap();
            assert_eq!(loaded.settings.http.listen, Some(listen.parse().unwrap()));
            let about = loaded.warnings_text();
            assert_eq!(about.contains("`http.listen`") && about.contains("f:2"), warned, "{about}");
        }
    }
}
