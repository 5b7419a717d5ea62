//! The keys of the latest users, so that each is derived once however many connections it has.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::scram::Keys;
use crate::secret::Secret;

/// A database has two users while one is swapped for the next, and some more that drain.
const MOST: usize = 16;

/// Keys by user and password, the latest first; shared by all that log in at a server.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyRing(Arc<Mutex<VecDeque<Key>>>);

#[derive(Debug)]
struct Key {
    user: String,
    password: Secret,
    keys: Keys,
}

impl KeyRing {
    /// The keys of this user; those of the one that has not been asked for longest are forgotten.
    pub(super) fn of(&self, user: &str, password: &Secret) -> Keys {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = ring.iter().position(|key| key.user == user && key.password == *password);
        let key = at.and_then(|at| ring.remove(at)).unwrap_or_else(|| Key {
            user: user.to_owned(),
            password: password.clone(),
            keys: Keys::of(password),
        });
        let keys = key.keys.clone();
        ring.push_front(key);
        ring.truncate(MOST);
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scram::{begin, is_costly};

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    /// Logs in; whether that was costly.
    fn log_in(ring: &KeyRing, user: &str, password: &str) -> bool {
        let keys = ring.of(user, &secret(password));
        let (challenged, _, first) = begin(b"SCRAM-SHA-256\0\0").unwrap();
        let first = String::from_utf8(first).unwrap();
        let nonce = first.rsplit("r=").next().unwrap();
        let challenge = format!("r={nonce}x,s=c2FsdA==,i=4096");
        let costly = is_costly(challenge.as_bytes(), &keys);
        challenged.answer(challenge.as_bytes(), &keys).unwrap();
        costly
    }

    #[test]
    fn a_user_is_derived_once_until_many_others_came() {
        let ring = KeyRing::default();
        assert!(log_in(&ring, "one", "x"));
        assert!(!log_in(&ring, "one", "x"));
        assert!(!log_in(&ring.clone(), "one", "x"), "another thread's");
        assert!(log_in(&ring, "one", "another password"));
        for other in 0..MOST {
            assert!(log_in(&ring, &other.to_string(), "x"));
            assert!(!log_in(&ring, &other.to_string(), "x"));
        }
        assert!(log_in(&ring, "one", "x"), "forgotten");
    }
}
