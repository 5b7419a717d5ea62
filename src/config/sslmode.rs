//! What an `sslmode` means, in words: the half of `leasehold check` that is about the way to the server.

use crate::net::{SslMode, SslRoots};

/// The mode's name, and what it does on this way.
pub(super) fn tls_sentence(
    mode: SslMode,
    roots: &SslRoots,
    over_socket: bool,
) -> (&'static str, &'static str) {
    match mode {
        _ if over_socket => ("disable", "A Unix socket needs no TLS."),
        SslMode::Disable => ("disable", "No TLS: queries and data are readable on the way."),
        SslMode::Prefer => ("prefer", "TLS if the server has it, but nobody checks who answers."),
        SslMode::Require if *roots != SslRoots::System => (
            "require",
            "TLS always; as there is a root file, the certificate must be signed by a trusted CA.",
        ),
        SslMode::Require => ("require", "TLS always, but nobody checks who answers."),
        SslMode::VerifyCa => ("verify-ca", "TLS, and the certificate must be signed by a trusted CA."),
        SslMode::VerifyFull => {
            ("verify-full", "TLS, and the certificate must be signed by a trusted CA for this host.")
        }
    }
}
