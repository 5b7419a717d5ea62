//! What a password comes to with a salt: derived once, and used for each login of its user.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::{hmac, pbkdf2};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// A server that asks for more means harm: a hundred times this is a minute of hashing.
pub(super) const MOST_ITERATIONS: u32 = 10_000_000;

/// ClientKey and ServerKey of RFC 5802, with what they were derived from.
pub(super) struct Derived {
    salt: Vec<u8>,
    iterations: u32,
    client: Zeroizing<Vec<u8>>,
    server: Zeroizing<Vec<u8>>,
}

/// The keys of one user: shared by all its logins, on all threads. As good as the password.
#[derive(Clone)]
pub struct Keys {
    password: Secret,
    derived: Arc<Mutex<Option<Arc<Derived>>>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    /// Nothing is derived yet.
    #[must_use]
    pub fn of(password: &Secret) -> Self {
        // RFC 4013; a password that is none by it is taken as it is, as PostgreSQL does.
        let prepared = stringprep::saslprep(password.expose()).map(|text| Secret::new(text.into_owned()));
        Self { password: prepared.unwrap_or_else(|_| password.clone()), derived: Arc::default() }
    }

    pub(super) fn has(&self, salt: &[u8], iterations: u32) -> bool {
        self.known().as_ref().is_some_and(|known| known.is_of(salt, iterations))
    }

    /// Milliseconds of hashing, unless it was the same the last time.
    pub(super) fn derive(&self, salt: &[u8], iterations: u32) -> Arc<Derived> {
        if let Some(known) = self.known().as_ref().filter(|known| known.is_of(salt, iterations)) {
            return known.clone();
        }
        let derived = Arc::new(Derived::new(&self.password, salt, iterations));
        *self.known() = Some(derived.clone());
        derived
    }

    fn known(&self) -> MutexGuard<'_, Option<Arc<Derived>>> {
        self.derived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Derived {
    fn new(password: &Secret, salt: &[u8], iterations: u32) -> Self {
        let mut salted = Zeroizing::new([0_u8; 32]);
        let times = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            times,
            salt,
            password.expose().as_bytes(),
            &mut salted[..],
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salted[..]);
        let sign = |text: &[u8]| Zeroizing::new(hmac::sign(&key, text).as_ref().to_vec());
        Self { salt: salt.to_vec(), iterations, client: sign(b"Client Key"), server: sign(b"Server Key") }
    }

    fn is_of(&self, salt: &[u8], iterations: u32) -> bool {
        self.salt == salt && self.iterations == iterations
    }

    pub(super) fn client(&self) -> &[u8] {
        &self.client
    }

    pub(super) fn server(&self) -> &[u8] {
        &self.server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_never_print() {
        let keys = Keys::of(&Secret::new("hunter2".into()));
        keys.derive(b"salt", 1);
        assert_eq!(format!("{keys:?}"), "Keys(…)");
    }

    #[test]
    fn logins_of_a_user_share_what_was_derived() {
        let keys = Keys::of(&Secret::new("x".into()));
        let (one, other) = (keys.derive(b"salt", 4096), keys.clone().derive(b"salt", 4096));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &keys.derive(b"other", 4096)));
    }

    #[test]
    fn a_password_is_prepared_as_rfc_4013_says() {
        // A soft hyphen is mapped to nothing, a Roman numeral to letters; a control character is left alone.
        for (one, other) in [("I\u{ad}X", "IX"), ("\u{2168}", "IX"), ("a\u{7}", "a\u{7}")] {
            let keys = [one, other]
                .map(|text| Keys::of(&Secret::new(text.into())).derive(b"salt", 1).client().to_vec());
            assert_eq!(keys[0], keys[1], "{one:?}");
        }
    }
}
