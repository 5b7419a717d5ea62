//! Reads whole messages, for login and our own questions; the relay does not use it.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::Stream;

/// The largest message expected outside the relay.
const MAX_MESSAGE: usize = 1 << 20;

/// A stream with a buffer for whole messages.
#[derive(Debug)]
pub struct Messages {
    stream: Stream,
    buffer: BytesMut,
}

impl Messages {
    /// Wraps a stream that stands at a message boundary.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// The stream, if nothing was read beyond the last message.
    ///
    /// # Errors
    /// If bytes would be lost.
    pub fn into_stream(self) -> io::Result<Stream> {
        if self.buffer.is_empty() {
            Ok(self.stream)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "bytes behind the last message"))
        }
    }

    /// The stream below.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The next message's type and body. Cancel safe: a partial message stays buffered.
    ///
    /// # Errors
    /// The stream's, `UnexpectedEof` at its end, `InvalidData` for an impossible or huge length.
    pub async fn next(&mut self) -> io::Result<(u8, Bytes)> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<(u8, Bytes)>> {
        let Some((&[kind, a, b, c, d], rest)) = self.buffer.split_first_chunk::<5>() else {
            return Ok(None);
        };
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "a message of an impossible length");
        let body = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok().and_then(|n| n.checked_sub(4));
        let body = body.filter(|n| *n <= MAX_MESSAGE).ok_or_else(invalid)?;
        if rest.len() < body {
            return Ok(None);
        }
        self.buffer.advance(5);
        Ok(Some((kind, self.buffer.split_to(body).freeze())))
    }

    /// Writes everything. Not cancel safe: drop the stream if it was cancelled.
    ///
    /// # Errors
    /// The stream's.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}
