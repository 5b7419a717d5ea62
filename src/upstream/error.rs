//! Why a connection could not be had.

use std::io;
use std::time::Duration;

use crate::net::{ConnectError, TlsError};
use crate::scram::ScramError;
use crate::wire::ErrorFields;

/// Why dialling or logging in failed. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No socket.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// TLS could not be set up or was not to be had.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server has no TLS but `sslmode` asks for it.
    #[error("the server does not offer TLS, which sslmode asks for")]
    NoTls,
    /// The certificate is not accepted, or the two sides agree on nothing.
    #[error("TLS handshake failed: {0}; check sslmode, sslrootcert and the server's certificate")]
    Handshake(#[source] io::Error),
    /// More bytes than its one-byte answer came before TLS began: somebody may be injecting them.
    #[error(
        "unexpected bytes in front of the TLS handshake: closed, because somebody may have injected them"
    )]
    Injected,
    /// The connection broke during login.
    #[error("connection lost during login: {0}")]
    Io(#[from] io::Error),
    /// `connect_timeout` ran out.
    #[error("no login within connect_timeout ({} s)", .0.as_secs_f64())]
    Timeout(Duration),
    /// The part of `connect_timeout` ran out that one of several hosts has.
    #[error("no login within its share of connect_timeout ({:.1} s)", .0.as_secs_f64())]
    Share(Duration),
    /// It is not what `target_session_attrs` asks for.
    #[error("it {is}, and target_session_attrs is \"{wanted}\"")]
    Unfit {
        /// What it is, in words.
        is: &'static str,
        /// What is asked for.
        wanted: &'static str,
    },
    /// None of several hosts took the connection.
    #[error("no host fits: {}", each(.0))]
    Hosts(Vec<(String, DialError)>),
    /// The server said no.
    #[error("{} (SQLSTATE {})", .0.message, .0.sqlstate)]
    Refused(Box<ErrorFields>),
    /// The SASL exchange failed.
    #[error(transparent)]
    Scram(#[from] ScramError),
    /// A password in clear text was asked for without TLS.
    #[error(
        "the server asks for the password in clear text without TLS: refused; use sslmode=require or better, or scram-sha-256"
    )]
    CleartextWithoutTls,
    /// An authentication method that is not spoken here.
    #[error("the server asks for authentication method {0}, which is not supported: use scram-sha-256")]
    Method(u32),
    /// Bytes that are not the protocol's.
    #[error("protocol violation by the server during login: {0}")]
    Protocol(&'static str),
}

impl DialError {
    /// What came of each host.
    pub fn causes(&self) -> impl Iterator<Item = &Self> {
        let (one, several) = match self {
            Self::Hosts(hosts) => (None, hosts.as_slice()),
            other => (Some(other), &[][..]),
        };
        one.into_iter().chain(several.iter().map(|(_, error)| error))
    }

    /// What servers said that refused the login.
    pub fn refusals(&self) -> impl Iterator<Item = &ErrorFields> {
        self.causes().filter_map(|cause| match cause {
            Self::Refused(fields) => Some(&**fields),
            _ => None,
        })
    }

    /// Whether the one server that was asked does not know the user, does not let it in, or was
    /// given another password: it looks the same where the user has not been replayed yet.
    #[must_use]
    pub fn is_unknown_user(&self) -> bool {
        matches!(self, Self::Refused(fields) if matches!(fields.sqlstate.as_str(), "28P01" | "28000"))
    }

    /// Whether one host knows the user, and does not fit, while another does not know it: a standby
    /// that is late.
    #[must_use]
    pub fn is_late(&self) -> bool {
        let knows = self.causes().any(|cause| matches!(cause, Self::Unfit { .. }));
        knows && self.causes().any(Self::is_unknown_user)
    }

    /// Whether the host could not be reached at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Io(_) | Self::Timeout(_) | Self::Share(_))
    }
}

fn each(hosts: &[(String, DialError)]) -> String {
    let each: Vec<String> = hosts.iter().map(|(place, error)| format!("{place}: {error}")).collect();
    each.join("; ")
}
