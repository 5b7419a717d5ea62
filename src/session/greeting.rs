//! The first packets of a client, up to its StartupMessage.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::Stream;
use crate::wire::{
    CancelKey, Opening, ProtocolVersion, StartupError, StartupParams, opening, startup_packet_len,
};

/// SSLRequest and GSSENCRequest may each come once before the real thing.
const MOST_REQUESTS: usize = 2;

/// What the client came for.
#[derive(Debug)]
pub(super) enum Greeting {
    /// A session.
    Startup {
        /// The protocol it asked for.
        version: ProtocolVersion,
        /// Its parameters.
        params: StartupParams,
        /// Protocol options that nobody knows.
        unknown_options: Vec<String>,
        /// What it sent behind the packet.
        early: BytesMut,
    },
    /// To cancel somebody's query.
    Cancel(CancelKey),
    /// It left without a word, as port scanners and health checks do.
    Left,
}

/// Why there is no greeting.
#[derive(Debug, thiserror::Error)]
pub(super) enum GreetingError {
    #[error(transparent)]
    Startup(#[from] StartupError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads up to the StartupMessage; requests for encryption are answered with no. Not cancel
/// safe: a timeout closes the connection.
pub(super) async fn read_greeting(stream: &mut Stream) -> Result<Greeting, GreetingError> {
    let mut buffer = BytesMut::new();
    let mut requests = 0;
    loop {
        let Some(packet) = read_packet(stream, &mut buffer).await? else {
            return Ok(Greeting::Left);
        };
        match opening(&packet)? {
            Opening::Ssl | Opening::Gss if requests < MOST_REQUESTS => {
                requests += 1;
                stream.write_all(b"N").await?;
                stream.flush().await?;
            }
            Opening::Ssl | Opening::Gss => return Err(StartupError::Layout.into()),
            Opening::Cancel(key) => return Ok(Greeting::Cancel(key)),
            Opening::Startup { version, params, unknown_options } => {
                return Ok(Greeting::Startup { version, params, unknown_options, early: buffer });
            }
        }
    }
}

async fn read_packet(stream: &mut Stream, buffer: &mut BytesMut) -> Result<Option<BytesMut>, GreetingError> {
    loop {
        if let Some(length) = startup_packet_len(buffer)?
            && buffer.remaining() >= length
        {
            return Ok(Some(buffer.split_to(length)));
        }
        buffer.reserve(512);
        if stream.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() {
                Ok(None)
            } else {
                Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
            };
        }
    }
}
