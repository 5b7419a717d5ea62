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
    /// The server's SQLSTATE, if it was the server that refused.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Refused(fields) => Some(&fields.sqlstate),
            _ => None,
        }
    }
}
