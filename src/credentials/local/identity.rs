//! How the local source knows its own users again: the shape of the name, and
//! a comment on the role that repeats who made it.

use rand::RngExt;
use rand::distr::{Alphanumeric, SampleString};

use crate::secret::Secret;

/// The first half of every instance's advisory lock: "leas".
pub(super) const LOCK_CLASS: i32 = 0x6c65_6173;

const SIGNATURE: &str = "leasehold local source v1";

/// PostgreSQL cuts names off behind 63 bytes: what else is in a name leaves this.
const LONGEST_POOL: usize = 24;

/// One life of one source: a number that no other life shares, which names an
/// advisory lock that is held while it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Instance(u32);

impl Instance {
    pub(super) fn random() -> Self {
        Self(rand::rng().random())
    }

    /// The second half of the advisory lock.
    pub(super) fn lock_key(self) -> i32 {
        i32::from_ne_bytes(self.0.to_ne_bytes())
    }

    fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        plain.then(|| u32::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl std::fmt::Display for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A name no other user has: `lh-<pool>-<instance>-<random>-<unix time>`.
pub(super) fn new_name(pool: &str, instance: Instance, unix_time: u64) -> String {
    let random = Alphanumeric.sample_string(&mut rand::rng(), 8).to_ascii_lowercase();
    format!("lh-{}-{instance}-{random}-{unix_time}", short(pool))
}

/// 190 bits that need no quoting anywhere.
pub(super) fn new_password() -> Secret {
    Secret::new(Alphanumeric.sample_string(&mut rand::rng(), 32))
}

/// The comment that goes with the name. Holds no quote.
pub(super) fn new_comment(pool: &str, instance: Instance) -> String {
    format!("{SIGNATURE} pool={} instance={instance}", escaped(pool))
}

/// Whose user it is, if name and comment agree that this pool's source made it.
pub(super) fn maker(name: &str, comment: &str, pool: &str) -> Option<Instance> {
    let rest = name.strip_prefix("lh-")?.strip_prefix(short(pool).as_str())?.strip_prefix('-')?;
    let mut parts = rest.split('-');
    let (instance, random, time) = (parts.next()?, parts.next()?, parts.next()?);
    let instance = Instance::parse(instance)?;
    let shaped = parts.next().is_none()
        && random.len() == 8
        && random.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        && (1..=20).contains(&time.len())
        && time.bytes().all(|b| b.is_ascii_digit());
    (shaped && comment == new_comment(pool, instance)).then_some(instance)
}

/// The pool's name as it may stand in a role's name.
fn short(pool: &str) -> String {
    pool.chars()
        .take(LONGEST_POOL)
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '_' | '-') => c,
            _ => '_',
        })
        .collect()
}

/// The pool's whole name, without anything that would end a literal or a word.
fn escaped(pool: &str) -> String {
    pool.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02x}")),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_legal_and_known_again() {
        for pool in ["app", "", "my-app-1", "Ünï'cödé \"pool\"", "a".repeat(200).as_str()] {
            let instance = Instance::random();
            let name = new_name(pool, instance, 1_795_210_002);
            let comment = new_comment(pool, instance);
            assert!(name.len() <= 63, "{name}");
            assert!(name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')), "{name}");
            assert!(!comment.contains(['\'', '"', '\\']), "{comment}");
            assert_eq!(maker(&name, &comment, pool), Some(instance), "{name} {comment}");
        }
        assert_ne!(new_name("a", Instance(1), 1), new_name("a", Instance(1), 1));
    }

    #[test]
    fn nobody_elses_user_is_taken_for_ours() {
        let comment = new_comment("app", Instance(0xab));
        let good = "lh-app-000000ab-abcdefgh-1795210002";
        assert_eq!(maker(good, &comment, "app"), Some(Instance(0xab)));
        let cases = [
            ("lh-app-000000ab-abcdefgh-1795210002", ""),
            ("lh-app-000000ab-abcdefgh-1795210002", "leasehold local source v1 pool=app instance=000000ac"),
            ("lh-app-000000ab-abcdefgh-1795210002", "leasehold local source v1 pool=other instance=000000ab"),
            ("lh-app-000000ab-abcdefgh-1795210002x", comment.as_str()),
            ("lh-app-000000ab-abcdefgh-1795210002-1", comment.as_str()),
            ("lh-app-000000AB-abcdefgh-1795210002", comment.as_str()),
            ("lh-app-000000ab-abcdefg-1795210002", comment.as_str()),
            ("lh-application", comment.as_str()),
            ("app", comment.as_str()),
            ("lh-other-000000ab-abcdefgh-1795210002", comment.as_str()),
        ];
        for (name, comment) in cases {
            assert_eq!(maker(name, comment, "app"), None, "{name} {comment}");
        }
        assert_eq!(maker(good, &comment, "ap"), None);
    }

    #[test]
    fn passwords_differ_and_need_no_quoting() {
        let (a, b) = (new_password(), new_password());
        assert_ne!(a, b);
        assert!(a.expose().len() == 32 && a.expose().bytes().all(|b| b.is_ascii_alphanumeric()));
    }
}
