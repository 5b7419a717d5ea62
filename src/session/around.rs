//! What goes to the server around a client's message.

use bytes::BytesMut;

/// A thread keeps no larger buffer.
const LARGEST_KEPT: usize = 16 * 1024;

/// Messages of our own around one of the client's.
#[derive(Debug, Default)]
pub(super) struct Around {
    pub(super) before: BytesMut,
    /// Only where the message is whole.
    pub(super) after: BytesMut,
}

impl Around {
    /// Nothing, in the same memory.
    pub(super) fn cleared(mut self) -> Self {
        for part in [&mut self.before, &mut self.after] {
            part.clear();
            if part.capacity() > LARGEST_KEPT {
                *part = BytesMut::new();
            }
        }
        self
    }
}

/// A buffer that its client does not need any more, for the next one; none if it is too large to keep.
pub(super) fn spare(mut buffer: BytesMut) -> BytesMut {
    buffer.clear();
    if buffer.capacity() > LARGEST_KEPT { BytesMut::new() } else { buffer }
}
