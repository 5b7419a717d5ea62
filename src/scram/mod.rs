//! SCRAM-SHA-256 as messages in, messages out; no I/O.
//!
//! One type per step: what the server must say next is what the type accepts,
//! and [`Proven`] exists only once the server has shown that it knows the
//! password too (RFC 5802, section 3; RFC 7677).
//!
//! Written out here because postgres-protocol hashes the password thousands of times for each login: a
//! user's [`Keys`] are derived once and serve all its connections, as the salt is the user's and not the login's.

mod keys;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::RngExt as _;
use ring::{digest, hmac};

pub use keys::Keys;
use keys::{Derived, MOST_ITERATIONS};

/// The one mechanism that is spoken here: without channel binding.
const MECHANISM: &str = "SCRAM-SHA-256";
/// "y": we could bind the channel, and believe that the server cannot; "n": we cannot.
const GS2_HEADER: &str = "n,,";
/// The longest nonce that a server may send.
const LONGEST_NONCE: usize = 1024;

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
#[derive(Debug)]
pub struct Challenged {
    /// The first message without its header.
    bare: String,
    nonce: String,
}

/// The proof is out; the server's own proof comes next.
#[derive(Debug)]
pub struct Answered {
    server: hmac::Key,
    /// What both sides sign.
    signed: String,
}

/// The server has proven itself: only now may AuthenticationOk be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven(());

/// What the server's first message says.
#[derive(Debug, PartialEq, Eq)]
struct Challenge<'m> {
    nonce: &'m str,
    salt: Vec<u8>,
    iterations: u32,
}

/// Begins the exchange; `mechanisms` is the body of AuthenticationSASL.
///
/// # Errors
/// [`ScramError::Mechanism`].
pub fn begin(mechanisms: &[u8]) -> Result<(Challenged, &'static str, Vec<u8>), ScramError> {
    let offered: Vec<&[u8]> = mechanisms.split(|b| *b == 0).filter(|m| !m.is_empty()).collect();
    if !offered.contains(&MECHANISM.as_bytes()) {
        let offered = offered.iter().map(|m| String::from_utf8_lossy(m)).collect::<Vec<_>>().join(", ");
        return Err(ScramError::Mechanism { offered });
    }
    let nonce = BASE64.encode(rand::rng().random::<[u8; 18]>());
    // PostgreSQL takes the user from the startup message.
    let challenged = Challenged { bare: format!("n=,r={nonce}"), nonce };
    let first = format!("{GS2_HEADER}{}", challenged.bare).into_bytes();
    Ok((challenged, MECHANISM, first))
}

/// Whether an answer to this challenge means thousands of hashes: the body of AuthenticationSASLContinue.
#[must_use]
pub fn is_costly(challenge: &[u8], keys: &Keys) -> bool {
    parse(challenge).is_ok_and(|challenge| !keys.has(&challenge.salt, challenge.iterations))
}

impl Challenged {
    /// Answers AuthenticationSASLContinue.
    ///
    /// # Errors
    /// [`ScramError::Unproven`] if the challenge is not one.
    pub fn answer(self, challenge: &[u8], keys: &Keys) -> Result<(Answered, Vec<u8>), ScramError> {
        let Challenge { nonce, salt, iterations } = parse(challenge)?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(unproven("its nonce does not continue ours"));
        }
        let derived = keys.derive(&salt, iterations);
        let without_proof = format!("c={},r={nonce}", BASE64.encode(GS2_HEADER));
        let challenge = std::str::from_utf8(challenge).map_err(|_| unproven("its challenge is no text"))?;
        let signed = format!("{},{challenge},{without_proof}", self.bare);
        let proof = BASE64.encode(derived.proof(signed.as_bytes()));
        let server = hmac::Key::new(hmac::HMAC_SHA256, derived.server());
        Ok((Answered { server, signed }, format!("{without_proof},p={proof}").into_bytes()))
    }
}

impl Answered {
    /// Checks AuthenticationSASLFinal.
    ///
    /// # Errors
    /// [`ScramError::Unproven`] if the server's signature is wrong.
    pub fn verify(self, outcome: &[u8]) -> Result<Proven, ScramError> {
        let outcome = std::str::from_utf8(outcome).map_err(|_| unproven("its last message is no text"))?;
        if let Some(error) = outcome.strip_prefix("e=") {
            return Err(unproven(&format!("it says {error:?}")));
        }
        let signature = outcome.strip_prefix("v=").and_then(|rest| rest.split(',').next());
        let signature = signature.and_then(|text| BASE64.decode(text).ok());
        let signature = signature.ok_or_else(|| unproven("its last message has no signature"))?;
        hmac::verify(&self.server, self.signed.as_bytes(), &signature)
            .map_err(|_| unproven("its signature is wrong"))?;
        Ok(Proven(()))
    }
}

impl Derived {
    fn proof(&self, signed: &[u8]) -> Vec<u8> {
        let stored = digest::digest(&digest::SHA256, self.client());
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, stored.as_ref()), signed);
        self.client().iter().zip(signature.as_ref()).map(|(one, other)| one ^ other).collect()
    }
}

fn parse(challenge: &[u8]) -> Result<Challenge<'_>, ScramError> {
    let text = std::str::from_utf8(challenge).map_err(|_| unproven("its challenge is no text"))?;
    let mut parts = text.split(',');
    let mut next = |name: &str| parts.next().and_then(|part| part.strip_prefix(name));
    let (nonce, salt, iterations) = (next("r="), next("s="), next("i="));
    let salt = salt.and_then(|salt| BASE64.decode(salt).ok()).filter(|salt| !salt.is_empty());
    let iterations = iterations.and_then(|text| text.parse().ok());
    match (nonce, salt, iterations) {
        (Some(nonce), Some(salt), Some(iterations @ 1..=MOST_ITERATIONS)) if nonce.len() <= LONGEST_NONCE => {
            Ok(Challenge { nonce, salt, iterations })
        }
        _ => Err(unproven("its challenge is none")),
    }
}

fn unproven(reason: &str) -> ScramError {
    ScramError::Unproven { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn keys(password: &str) -> Keys {
        Keys::of(&Secret::new(password.into()))
    }

    #[test]
    fn the_exchange_of_rfc_7677_is_answered_as_it_says() {
        let nonce = "rOprNGfwEbeRWgbNEkqO";
        let challenge = format!("r={nonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let keys = keys("pencil");
        assert!(is_costly(challenge.as_bytes(), &keys));
        for _ in 0..2 {
            let challenged = Challenged { bare: format!("n=user,r={nonce}"), nonce: nonce.to_owned() };
            let (answered, proof) = challenged.answer(challenge.as_bytes(), &keys).unwrap();
            assert_eq!(
                String::from_utf8(proof).unwrap(),
                format!(
                    "c=biws,r={nonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
                )
            );
            answered.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
            // The second login of a user costs no thousands of hashes.
            assert!(!is_costly(challenge.as_bytes(), &keys));
        }
    }

    #[test]
    fn another_salt_or_count_is_derived_anew() {
        let keys = keys("pencil");
        let of = |salt: &str, iterations: u32| format!("r=x,s={salt},i={iterations}").into_bytes();
        keys.derive(b"salt", 4096);
        for (salt, iterations, costly) in
            [("c2FsdA==", 4096, false), ("c2FsdA==", 4097, true), ("c2FsdHk=", 4096, true)]
        {
            assert_eq!(is_costly(&of(salt, iterations), &keys), costly, "{salt} {iterations}");
        }
    }

    #[test]
    fn an_unknown_mechanism_is_refused_by_name() {
        let error = begin(b"SCRAM-SHA-512\0\0").err().unwrap();
        assert!(error.to_string().contains("SCRAM-SHA-512"), "{error}");
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_not_believed() {
        for outcome in [
            "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "v=",
            "v=AAAA",
            "",
            "e=other-error",
            "x=1",
            "v=%",
        ] {
            let (challenged, mechanism, first) = begin(b"SCRAM-SHA-256\0\0").unwrap();
            assert_eq!(mechanism, "SCRAM-SHA-256");
            let first = String::from_utf8(first).unwrap();
            let nonce = first.rsplit("r=").next().unwrap();
            let challenge = format!("r={nonce}server,s=c2FsdHNhbHRzYWx0,i=4096");
            let (answered, _) = challenged.answer(challenge.as_bytes(), &keys("x")).unwrap();
            assert!(answered.verify(outcome.as_bytes()).is_err(), "{outcome}");
        }
    }

    #[test]
    fn what_is_no_challenge_to_ours_is_refused() {
        for challenge in [
            "r=other,s=c2FsdA==,i=4096",
            // Our own nonce and nothing of the server's.
            "r=NONCE,s=c2FsdA==,i=4096",
            "r=NONCEx,s=c2FsdA==,i=0",
            "r=NONCEx,s=c2FsdA==,i=4294967295",
            "r=NONCEx,s=,i=4096",
            "r=NONCEx,s=%,i=4096",
            "s=c2FsdA==,r=NONCEx,i=4096",
            "m=ext,r=NONCEx,s=c2FsdA==,i=4096",
            "",
        ] {
            let (challenged, _, _) = begin(b"SCRAM-SHA-256\0\0").unwrap();
            let challenge = challenge.replace("NONCE", &challenged.nonce);
            assert!(challenged.answer(challenge.as_bytes(), &keys("x")).is_err(), "{challenge}");
        }
    }

    #[test]
    fn nonces_differ() {
        let nonces: Vec<String> = (0..50).map(|_| begin(b"SCRAM-SHA-256\0\0").unwrap().0.nonce).collect();
        assert!(nonces.iter().all(|nonce| nonce.len() == 24 && !nonce.contains(',')));
        let distinct: std::collections::HashSet<_> = nonces.iter().collect();
        assert_eq!(distinct.len(), nonces.len());
    }
}
