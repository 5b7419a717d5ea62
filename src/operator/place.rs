//! Where a proxy is asked: a URL as an operator writes it, or the address that the proxy listens on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

/// The port of a URL without one.
const HTTP: u16 = 80;

/// Where a proxy answers HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    host: String,
    port: u16,
    path: String,
}

/// Why that is no place to ask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// It cannot be read as a URL.
    #[error("{text:?} is no URL ({reason}): write one such as http://127.0.0.1:9127")]
    NoUrl {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The proxy speaks HTTP without TLS and without a password.
    #[error("only http:// without a user is spoken here: write a URL such as http://127.0.0.1:9127")]
    OnlyHttp,
    /// The configuration names no address.
    #[error(
        "`http.listen` is not set, so the proxy cannot be asked: set it, for example\n\n    [http]\n    \
         listen = \"127.0.0.1:9127\"\n\nand restart the proxy, or name another one's address with --url. The console \
         (psql, database leasehold) answers without it"
    )]
    NotListening,
    /// The system chooses the port.
    #[error(
        "`http.listen` has port 0, so its port is chosen at the start: see the proxy's log, then use --url"
    )]
    AnyPort,
}

impl Place {
    /// Reads what an operator wrote; `http://` and `/status` may be left out.
    ///
    /// # Errors
    ///
    /// What is no URL, or not of HTTP.
    pub fn from_url(text: &str) -> Result<Self, PlaceError> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole)
            .map_err(|error| PlaceError::NoUrl { text: text.to_owned(), reason: error.to_string() })?;
        if url.scheme() != "http" || !url.username().is_empty() || url.password().is_some() {
            return Err(PlaceError::OnlyHttp);
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(PlaceError::OnlyHttp),
        };
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/status").unwrap_or(path).to_owned();
        Ok(Self { host, port: url.port().unwrap_or(HTTP), path })
    }

    /// Where a proxy with this `http.listen` is asked from its own host.
    ///
    /// # Errors
    ///
    /// An address that is not there, or not known before the start.
    pub fn from_listen(listen: Option<SocketAddr>) -> Result<Self, PlaceError> {
        let address = listen.ok_or(PlaceError::NotListening)?;
        if address.port() == 0 {
            return Err(PlaceError::AnyPort);
        }
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Ok(Self { host: ip.to_string(), port: address.port(), path: String::new() })
    }

    /// What a TCP connection goes to.
    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// The path of the status there.
    pub(super) fn status_path(&self) -> String {
        format!("{}/status", self.path)
    }

    /// Host and port, as the Host header has them (RFC 9110, section 7.2).
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_may_write_a_url_in_several_ways() {
        for (text, expected) in [
            ("http://127.0.0.1:9127", "http://127.0.0.1:9127"),
            ("127.0.0.1:9127", "http://127.0.0.1:9127"),
            ("localhost:9127/", "http://localhost:9127"),
            ("http://[::1]:9127/status", "http://[::1]:9127"),
            ("http://proxy.example.com", "http://proxy.example.com:80"),
            ("http://proxy.example.com/leasehold/status", "http://proxy.example.com:80/leasehold"),
        ] {
            assert_eq!(Place::from_url(text).unwrap().to_string(), expected, "{text}");
        }
        let place = Place::from_url("http://[::1]:9127/a/").unwrap();
        assert_eq!((place.address(), place.status_path()), (("::1", 9127), "/a/status".to_owned()));
    }

    #[test]
    fn what_is_not_http_is_refused_without_repeating_a_password() {
        for text in ["https://127.0.0.1", "http://me:hush@127.0.0.1", "postgres://127.0.0.1"] {
            let error = Place::from_url(text).unwrap_err();
            assert_eq!(error, PlaceError::OnlyHttp, "{text}");
            assert!(!error.to_string().contains("hush"));
        }
        for text in ["", "127.0.0.1:port", "http://"] {
            assert!(matches!(Place::from_url(text), Err(PlaceError::NoUrl { .. })), "{text}");
        }
    }

    #[test]
    fn the_own_host_is_asked_where_the_proxy_listens() {
        for (listen, expected) in [
            ("127.0.0.1:9127", "http://127.0.0.1:9127"),
            ("0.0.0.0:1", "http://127.0.0.1:1"),
            ("[::]:1", "http://[::1]:1"),
            ("10.0.0.7:80", "http://10.0.0.7:80"),
        ] {
            let place = Place::from_listen(Some(listen.parse().unwrap())).unwrap();
            assert_eq!(place.to_string(), expected, "{listen}");
        }
        let any = Place::from_listen(Some("127.0.0.1:0".parse().unwrap()));
        assert_eq!(any, Err(PlaceError::AnyPort));
        let none = Place::from_listen(None).unwrap_err().to_string();
        assert!(none.contains("listen = \"127.0.0.1:9127\"") && none.contains("--url"), "{none}");
    }
}
