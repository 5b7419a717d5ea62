//! Finds where messages begin in a stream that arrives in arbitrary pieces.
//!
//! Bodies are skipped by count and never gathered, so a row of any size costs
//! no memory. This is the inner loop of the relay.

/// Type byte and body length of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message's type.
    pub kind: u8,
    /// Bytes that follow the header: the length on the wire less its own four.
    pub body: u32,
}

/// The longest body of a message that carries no data (`PQ_SMALL_MESSAGE_LIMIT`).
const SMALL: u32 = 10_000 - 4;

impl Header {
    /// Whether a server takes this from a client past its login. Anything else is answered
    /// with FATAL, or with an error although nothing was asked (`SocketBackend` in postgres.c).
    #[inline]
    #[must_use]
    pub fn is_from_client(&self) -> bool {
        match self.kind {
            b'Q' | b'P' | b'B' | b'F' | b'd' => true,
            b'S' | b'H' => self.body == 0,
            b'D' | b'E' | b'C' | b'c' | b'f' | b'X' => self.body <= SMALL,
            _ => false,
        }
    }
}

/// A length below four or above `i32::MAX`: the stream cannot be followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message type 0x{kind:02x} has an impossible length")]
pub struct Malformed {
    /// The message's type.
    pub kind: u8,
}

/// Where in a message the stream stands.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HeaderScan {
    /// Body bytes of the current message that have not passed yet.
    left: u32,
    /// The first bytes of a header that was split between two pieces.
    partial: [u8; 5],
    have: u8,
}

impl HeaderScan {
    /// Whether the next byte begins a message.
    #[inline]
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.left == 0 && self.have == 0
    }

    /// Body bytes of the current message still to come.
    #[inline]
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    /// Passes over what `input` holds of the current body and returns it.
    #[inline]
    pub fn body<'a>(&mut self, input: &mut &'a [u8]) -> &'a [u8] {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX);
        let (part, rest) = input.split_at_checked(want).unwrap_or((*input, &[]));
        // `part` is at most `left` long, so the conversion and the subtraction hold.
        self.left = self.left.saturating_sub(u32::try_from(part.len()).unwrap_or(u32::MAX));
        *input = rest;
        part
    }

    /// So much of the current body, and no more than that, has gone by unseen.
    pub fn skip(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Passes over the rest of the current body, then reads the next header.
    /// `None`: `input` is used up.
    ///
    /// # Errors
    /// [`Malformed`] if the length is impossible; the scan must not go on.
    #[inline]
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Header>, Malformed> {
        self.body(input);
        if self.left > 0 || input.is_empty() {
            return Ok(None);
        }
        if self.have == 0
            && let Some((&[kind, a, b, c, d], rest)) = input.split_first_chunk::<5>()
        {
            *input = rest;
            return self.enter(kind, [a, b, c, d]).map(Some);
        }
        self.next_split(input)
    }

    #[cold]
    fn next_split(&mut self, input: &mut &[u8]) -> Result<Option<Header>, Malformed> {
        while let Some((&byte, rest)) = input.split_first() {
            if let Some(place) = self.partial.get_mut(usize::from(self.have)) {
                *place = byte;
            }
            self.have = self.have.saturating_add(1);
            *input = rest;
            if self.have == 5 {
                self.have = 0;
                let [kind, a, b, c, d] = self.partial;
                return self.enter(kind, [a, b, c, d]).map(Some);
            }
        }
        Ok(None)
    }

    #[inline]
    fn enter(&mut self, kind: u8, length: [u8; 4]) -> Result<Header, Malformed> {
        let length = u32::from_be_bytes(length);
        match length.checked_sub(4) {
            Some(body) if length <= i32::MAX.unsigned_abs() => {
                self.left = body;
                Ok(Header { kind, body })
            }
            _ => Err(Malformed { kind }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{any_pieces, found_in};

    #[test]
    fn what_a_server_would_not_take_is_known_by_its_header() {
        for (kind, body, taken) in [
            (b'Q', 1 << 30, true),
            (b'S', 0, true),
            (b'S', 1, false),
            (b'H', 1, false),
            (b'D', 9_996, true),
            (b'D', 9_997, false),
            (b'p', 8, false),
            (b'?', 0, false),
        ] {
            assert_eq!(Header { kind, body }.is_from_client(), taken, "{kind} {body}");
        }
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        out.extend(body);
        out
    }

    #[test]
    fn a_length_below_four_is_malformed() {
        for length in [0u32, 3, 0x8000_0000, u32::MAX] {
            let mut bytes = vec![b'Q'];
            bytes.extend(length.to_be_bytes());
            assert_eq!(HeaderScan::default().next(&mut &bytes[..]), Err(Malformed { kind: b'Q' }));
        }
    }

    #[test]
    fn an_empty_body_ends_at_its_header() {
        let bytes = message(b'S', b"");
        let mut scan = HeaderScan::default();
        let mut input = &bytes[..];
        assert_eq!(scan.next(&mut input), Ok(Some(Header { kind: b'S', body: 0 })));
        assert!(scan.at_boundary());
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_gives_the_same_headers(
            messages in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|(k, b)| message(*k, b)).collect();
            let expected: Vec<Header> = messages
                .iter()
                .map(|(k, b)| Header { kind: *k, body: u32::try_from(b.len()).unwrap() })
                .collect();
            let mut at: Vec<usize> = cuts.iter().map(|c| c.index(stream.len() + 1)).collect();
            at.push(0);
            at.push(stream.len());
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            let mut scan = HeaderScan::default();
            prop_assert_eq!(found_in(pieces, |input| scan.next(input)), Ok(expected));
        }

        #[test]
        fn no_bytes_can_panic_it(pieces in any_pieces(30)) {
            let mut scan = HeaderScan::default();
            let _ = found_in(pieces, |input| scan.next(input));
        }
    }
}
