//! Logging in, as a plain state machine: a message in, what to do out.
//!
//! Source: PostgreSQL manual, "Message Flow", section "Start-up".

use postgres_protocol::authentication::md5_hash;

use super::error::DialError;
use crate::scram::{self, Answered, Challenged, Keys, Proven};
use crate::secret::Secret;
use crate::wire::{CancelKey, Encoder, ErrorFields, backend_key, parameter_status, ready_status};

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send this, then read on.
    Send(Vec<u8>),
    /// Read on.
    Read,
    /// The server is ready for queries.
    Ready,
}

enum Auth {
    Expected,
    Challenged(Challenged),
    Answered(Answered),
    /// The server knows the password, as SCRAM showed.
    Proven(Proven),
    /// A method that proves nothing about the server.
    Sent,
    Done,
}

/// One login under way.
pub(super) struct LoginState {
    user: String,
    password: Secret,
    keys: Keys,
    encrypted: bool,
    auth: Auth,
    pub(super) key: Option<CancelKey>,
    pub(super) params: Vec<(String, String)>,
}

impl LoginState {
    pub(super) fn new(user: &str, password: &Secret, keys: &Keys, encrypted: bool) -> Self {
        Self {
            user: user.to_owned(),
            password: password.clone(),
            keys: keys.clone(),
            encrypted,
            auth: Auth::Expected,
            key: None,
            params: Vec::new(),
        }
    }

    pub(super) fn message(&mut self, kind: u8, body: &[u8]) -> Result<Step, DialError> {
        match kind {
            b'R' => self.authentication(body),
            b'E' => Err(DialError::Refused(Box::new(ErrorFields::parse(body)))),
            // Notices and NegotiateProtocolVersion (we ask for 3.0 without options).
            b'N' | b'v' => Ok(Step::Read),
            _ if !matches!(self.auth, Auth::Done) => {
                Err(DialError::Protocol("a message before AuthenticationOk"))
            }
            b'S' => {
                self.params.extend(parameter_status(body));
                Ok(Step::Read)
            }
            b'K' => {
                self.key = backend_key(body);
                Ok(Step::Read)
            }
            b'Z' if ready_status(body).is_some() => Ok(Step::Ready),
            _ => Err(DialError::Protocol("an unexpected message after AuthenticationOk")),
        }
    }

    /// Whether this message makes us hash the password thousands of times.
    pub(super) fn is_costly(&self, kind: u8, body: &[u8]) -> bool {
        let challenge = body.strip_prefix(&11_u32.to_be_bytes()).filter(|_| kind == b'R');
        challenge.is_some_and(|challenge| scram::is_costly(challenge, &self.keys))
    }

    fn authentication(&mut self, body: &[u8]) -> Result<Step, DialError> {
        let (code, data) =
            body.split_first_chunk::<4>().ok_or(DialError::Protocol("a short authentication request"))?;
        let code = u32::from_be_bytes(*code);
        let auth = std::mem::replace(&mut self.auth, Auth::Expected);
        let password = &self.password;
        let (next, step) = match (code, auth) {
            // Trust, peer or cert; or the end of an exchange. After SCRAM has begun, only the
            // server's own proof leads here.
            (0, Auth::Expected | Auth::Sent | Auth::Proven(_)) => (Auth::Done, Step::Read),
            (3, Auth::Expected) if !self.encrypted => return Err(DialError::CleartextWithoutTls),
            (3, Auth::Expected) => (Auth::Sent, Step::Send(password_message(password.expose().as_bytes()))),
            (5, Auth::Expected) => {
                let salt = *data.first_chunk::<4>().ok_or(DialError::Protocol("a short md5 salt"))?;
                let hash = md5_hash(self.user.as_bytes(), password.expose().as_bytes(), salt);
                (Auth::Sent, Step::Send(password_message(hash.as_bytes())))
            }
            (10, Auth::Expected) => {
                let (challenged, mechanism, first) = scram::begin(data)?;
                let mut out = Encoder::default();
                out.message(b'p', |body| {
                    body.extend(mechanism.as_bytes());
                    body.push(0);
                    body.extend(u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes());
                    body.extend(&first);
                });
                (Auth::Challenged(challenged), Step::Send(out.into_bytes()))
            }
            (11, Auth::Challenged(challenged)) => {
                let (answered, proof) = challenged.answer(data, &self.keys)?;
                let mut out = Encoder::default();
                out.message(b'p', |body| body.extend(&proof));
                (Auth::Answered(answered), Step::Send(out.into_bytes()))
            }
            (12, Auth::Answered(answered)) => (Auth::Proven(answered.verify(data)?), Step::Read),
            (0 | 3 | 5 | 10..=12, _) => {
                return Err(DialError::Protocol("an authentication request out of turn"));
            }
            (method, _) => return Err(DialError::Method(method)),
        };
        self.auth = next;
        Ok(step)
    }
}

fn password_message(password: &[u8]) -> Vec<u8> {
    let mut out = Encoder::default();
    out.message(b'p', |body| {
        body.extend(password);
        body.push(0);
    });
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(encrypted: bool) -> LoginState {
        let password = Secret::new("p".into());
        LoginState::new("u", &password, &Keys::of(&password), encrypted)
    }

    fn request(code: u32, data: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes()[..], data].concat()
    }

    #[test]
    fn authentication_ok_in_mid_scram_is_not_believed() {
        let mut state = state(true);
        assert!(matches!(state.message(b'R', &request(10, b"SCRAM-SHA-256\0\0")), Ok(Step::Send(_))));
        assert!(matches!(state.message(b'R', &request(0, b"")), Err(DialError::Protocol(_))));
    }

    #[test]
    fn a_clear_text_password_is_sent_over_tls_only() {
        let ask = request(3, b"");
        assert!(matches!(state(false).message(b'R', &ask), Err(DialError::CleartextWithoutTls)));
        assert_eq!(state(true).message(b'R', &ask).unwrap(), Step::Send(b"p\0\0\0\x06p\0".to_vec()));
    }

    #[test]
    fn md5_is_answered_with_the_salted_hash() {
        let Ok(Step::Send(bytes)) = state(false).message(b'R', &request(5, &[1, 2, 3, 4])) else {
            panic!("no answer");
        };
        assert!(bytes.starts_with(b"p\0\0\0\x28md5"), "{bytes:?}");
    }

    #[test]
    fn unknown_methods_and_early_messages_are_refused() {
        assert!(matches!(state(true).message(b'R', &request(7, b"")), Err(DialError::Method(7))));
        assert!(matches!(state(true).message(b'Z', b"I"), Err(DialError::Protocol(_))));
    }
}
