//! A batch that is sent once more where PostgreSQL refuses its statement only because a result
//! has another shape by now ("cached plan must not change result type", 0A000).
//!
//! Prepared anew the statement is good, but what comes is no longer what the client may remember.
//! So it is done only for a batch that asks what it will get, and whose parameters mean the same
//! whatever their types: others get the error, as from PostgreSQL itself, and ask anew. Source:
//! the server's `RevalidateCachedQuery`; it is called by Bind and by Describe of a statement.

use super::messages::{are_text, split_name};
use crate::wire::HeaderScan;

/// A longer batch is not kept.
const LONGEST: usize = 8 * 1024;

#[derive(Debug, Default)]
pub(super) struct Again {
    batch: Vec<u8>,
    phase: Phase,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is none.
    #[default]
    Nothing,
    /// It is on its way.
    Kept,
    /// It was refused; its end is to come.
    Refused,
    /// It is on its way again, for the last time.
    Last,
}

impl Again {
    /// More was sent: what was kept is not all any more.
    #[inline]
    pub(super) fn forget(&mut self) {
        if self.phase == Phase::Kept {
            self.phase = Phase::Nothing;
        }
    }

    /// These bytes were sent where no transaction was open and nothing owed.
    #[inline]
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if self.phase == Phase::Nothing && can_be_repeated(bytes) {
            self.batch.clear();
            self.batch.extend_from_slice(bytes);
            self.phase = Phase::Kept;
        }
    }

    #[inline]
    pub(super) fn is_kept(&self) -> bool {
        self.phase == Phase::Kept
    }

    #[inline]
    pub(super) fn is_refused(&self) -> bool {
        self.phase == Phase::Refused
    }

    /// The client does not hear of the refusal.
    pub(super) fn refused(&mut self) {
        self.phase = Phase::Refused;
    }

    /// The end of what was refused has come: what is to be sent.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.phase = Phase::Last;
        std::mem::take(&mut self.batch)
    }

    /// A request of the client is answered.
    #[inline]
    pub(super) fn answered(&mut self) {
        self.phase = Phase::Nothing;
    }

    /// An idle client holds no buffer.
    pub(super) fn rests(&mut self) {
        if self.batch.capacity() > 0 && self.phase != Phase::Kept {
            self.batch = Vec::new();
        }
    }
}

/// Whether it is a whole batch about one statement with a name, which says what it will get.
fn can_be_repeated(bytes: &[u8]) -> bool {
    if bytes.len() > LONGEST {
        return false;
    }
    let mut scan = HeaderScan::default();
    let mut rest = bytes;
    let mut kinds = [0_u8; 4];
    for (nth, kind) in kinds.iter_mut().enumerate() {
        let Ok(Some(header)) = scan.next(&mut rest) else { return false };
        *kind = header.kind;
        let Some(body) = usize::try_from(header.body).ok().and_then(|length| rest.get(..length)) else {
            return false;
        };
        if nth == 0 && !can_begin(header.kind, body) {
            return false;
        }
        let _ = scan.body(&mut rest);
        if header.kind == b'S' {
            break;
        }
    }
    rest.is_empty() && matches!(&kinds, [b'B', b'D', b'E', b'S'] | [b'D', b'S', 0, 0])
}

fn can_begin(kind: u8, body: &[u8]) -> bool {
    match (kind, split_name(body)) {
        (b'B', Some((_, rest))) => {
            split_name(rest).is_some_and(|(name, rest)| !name.is_empty() && are_text(rest))
        }
        (b'D', Some((name, _))) => name.first() == Some(&b'S') && name.len() > 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::session::messages::put;

    fn batch(parts: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = BytesMut::new();
        for (kind, body) in parts {
            put(&mut out, *kind, &[body]);
        }
        out.to_vec()
    }

    const SYNC: (u8, &[u8]) = (b'S', b"");
    const EXECUTE: (u8, &[u8]) = (b'E', b"\0\0\0\0\0");
    const PORTAL: (u8, &[u8]) = (b'D', b"P\0");
    const STATEMENT: (u8, &[u8]) = (b'D', b"Ss\0");
    const BIND: (u8, &[u8]) = (b'B', b"\0s\0\0\0\0\0\0\0");

    #[test]
    fn only_what_says_what_it_will_get_and_means_the_same_again() {
        let text = (b'B', &b"\0s\0\0\x01\0\0\0\x01\0\0\0\x017\0\0"[..]);
        let binary = (b'B', &b"\0s\0\0\x01\0\x01\0\x01\0\0\0\x017\0\0"[..]);
        let unnamed = (b'B', &b"\0\0\0\0\0\0\0\0"[..]);
        for (parts, repeated) in [
            (&[BIND, PORTAL, EXECUTE, SYNC][..], true),
            (&[text, PORTAL, EXECUTE, SYNC], true),
            (&[STATEMENT, SYNC], true),
            (&[binary, PORTAL, EXECUTE, SYNC], false),
            (&[unnamed, PORTAL, EXECUTE, SYNC], false),
            (&[BIND, EXECUTE, SYNC], false),
            (&[BIND, PORTAL, EXECUTE], false),
            (&[PORTAL, SYNC], false),
            (&[(b'D', b"S\0"), SYNC], false),
            (&[BIND, PORTAL, EXECUTE, SYNC, SYNC], false),
            (&[STATEMENT, SYNC, STATEMENT, SYNC], false),
            (&[BIND, PORTAL, EXECUTE, EXECUTE, SYNC], false),
            (&[(b'B', b""), PORTAL, EXECUTE, SYNC], false),
            (&[], false),
        ] {
            let whole = batch(parts);
            assert_eq!(can_be_repeated(&whole), repeated, "{parts:?}");
            for end in (0..whole.len()).filter(|_| repeated) {
                assert!(!can_be_repeated(whole.get(..end).unwrap()), "{parts:?} up to {end}");
            }
        }
    }

    #[test]
    fn it_is_sent_again_once() {
        let bytes = batch(&[STATEMENT, SYNC]);
        let mut again = Again::default();
        again.keep(&bytes);
        assert!(again.is_kept());
        again.refused();
        assert!(again.is_refused());
        assert_eq!(again.take(), bytes);
        again.keep(&bytes);
        assert!(!again.is_kept());
        again.answered();
        again.keep(&bytes);
        assert!(again.is_kept());
        again.forget();
        assert!(!again.is_kept());
    }
}
