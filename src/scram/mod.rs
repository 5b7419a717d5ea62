//! SCRAM-SHA-256 as messages in, messages out; no I/O.
//!
//! One type per step: what the server must say next is what the type accepts,
//! and [`Proven`] exists only once the server has shown that it knows the
//! password too (RFC 5802, section 3; RFC 7677).

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

use crate::secret::Secret;

/// Why the exchange ended.
#[derive(Debug, thiserror::Error)]
pub enum ScramError {
    /// The server offers no mechanism that we speak.
    #[error("the server offers no SASL mechanism that is known here (it offers {offered})")]
    Mechanism {
        /// What it offers.
        offered: String,
    },
    /// A message that the exchange does not allow, or a server that does not know the password.
    #[error("the server did not prove that it knows the password: {reason}")]
    Unproven {
        /// What was wrong.
        reason: String,
    },
}

/// The client's first message is out; the server's challenge comes next.
pub struct Challenged(ScramSha256);

/// The proof is out; the server's own proof comes next.
pub struct Answered(ScramSha256);

/// The server has proven itself: only now may AuthenticationOk be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven(());

/// Begins the exchange; `mechanisms` is the body of AuthenticationSASL.
///
/// # Errors
/// [`ScramError::Mechanism`].
pub fn begin(
    password: &Secret,
    mechanisms: &[u8],
) -> Result<(Challenged, &'static str, Vec<u8>), ScramError> {
    let offered: Vec<&[u8]> = mechanisms.split(|b| *b == 0).filter(|m| !m.is_empty()).collect();
    if !offered.contains(&SCRAM_SHA_256.as_bytes()) {
        let offered = offered.iter().map(|m| String::from_utf8_lossy(m)).collect::<Vec<_>>().join(", ");
        return Err(ScramError::Mechanism { offered });
    }
    let scram = ScramSha256::new(password.expose().as_bytes(), ChannelBinding::unsupported());
    let first = scram.message().to_vec();
    Ok((Challenged(scram), SCRAM_SHA_256, first))
}

impl Challenged {
    /// Answers AuthenticationSASLContinue.
    ///
    /// # Errors
    /// [`ScramError::Unproven`] if the challenge is not one.
    pub fn answer(mut self, challenge: &[u8]) -> Result<(Answered, Vec<u8>), ScramError> {
        self.0.update(challenge).map_err(unproven)?;
        let proof = self.0.message().to_vec();
        Ok((Answered(self.0), proof))
    }
}

impl Answered {
    /// Checks AuthenticationSASLFinal.
    ///
    /// # Errors
    /// [`ScramError::Unproven`] if the server's signature is wrong.
    pub fn verify(mut self, outcome: &[u8]) -> Result<Proven, ScramError> {
        self.0.finish(outcome).map_err(unproven)?;
        Ok(Proven(()))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn unproven(error: std::io::Error) -> ScramError {
    ScramError::Unproven { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_mechanism_is_refused_by_name() {
        let error = begin(&Secret::new("x".into()), b"SCRAM-SHA-512\0\0").err().unwrap();
        assert!(error.to_string().contains("SCRAM-SHA-512"), "{error}");
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_not_believed() {
        let (challenged, mechanism, first) = begin(&Secret::new("x".into()), b"SCRAM-SHA-256\0\0").unwrap();
        assert_eq!(mechanism, "SCRAM-SHA-256");
        let first = String::from_utf8(first).unwrap();
        let nonce = first.rsplit("r=").next().unwrap();
        let (answered, _) =
            challenged.answer(format!("r={nonce}server,s=c2FsdHNhbHRzYWx0,i=4096").as_bytes()).unwrap();
        assert!(answered.verify(b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").is_err());
    }

    #[test]
    fn a_challenge_with_a_foreign_nonce_is_refused() {
        let (challenged, _, _) = begin(&Secret::new("x".into()), b"SCRAM-SHA-256\0\0").unwrap();
        assert!(challenged.answer(b"r=other,s=c2FsdA==,i=4096").is_err());
    }
}
