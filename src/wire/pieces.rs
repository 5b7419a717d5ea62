//! Streams that arrive in pieces, for the tests of what scans them.

use proptest::prelude::*;

use super::Malformed;

/// Any bytes, in pieces of less than `longest`.
pub(crate) fn any_pieces(longest: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..longest), 0..20)
}

/// All that a scan finds, piece by piece, up to what it cannot follow. Each piece must be used up.
pub(crate) fn found_in<P: AsRef<[u8]>, T>(
    pieces: impl IntoIterator<Item = P>,
    mut next: impl FnMut(&mut &[u8]) -> Result<Option<T>, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut found = Vec::new();
    for piece in pieces {
        let mut input = piece.as_ref();
        while let Some(one) = next(&mut input)? {
            found.push(one);
        }
        assert!(input.is_empty(), "{} bytes of a piece are left over", input.len());
    }
    Ok(found)
}
