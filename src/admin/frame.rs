//! Which bytes of a client may reach pgwire's decoder.
//!
//! The decoder trusts lengths and counts: a message that is shorter than it
//! says would panic it. So a message is cut out, bounded and its layout checked
//! here first (PostgreSQL manual, "Message Formats").
#![deny(clippy::arithmetic_side_effects)]

use bytes::BytesMut;

/// The longest message of a client, type and length included. Commands are
/// short; memory for more is never set aside.
pub(super) const LONGEST: usize = 64 * 1024;
const HEADER: usize = 5;

/// Why a stream cannot be followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// A length below four.
    #[error("invalid message length")]
    Length,
    /// More than [`LONGEST`].
    #[error("message of {0} bytes is too long for Leasehold's console")]
    TooLong(u32),
    /// A type that clients do not send here.
    #[error("invalid frontend message type {0}")]
    Kind(u8),
    /// A body that does not hold what its type says.
    #[error("invalid message format")]
    Layout,
}

/// A whole message whose layout is right.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// For the decoder.
    Message(BytesMut),
    /// COPY data and passwords that nobody asked for: skipped, as PostgreSQL does.
    Stray,
}

/// Takes the next message off the front; `None`: it is not complete yet.
pub(super) fn next(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some((&[kind, a, b, c, d], _)) = buffer.split_first_chunk::<HEADER>() else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]);
    let whole = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(1);
    if length < 4 {
        return Err(FrameError::Length);
    }
    if whole > LONGEST {
        return Err(FrameError::TooLong(length));
    }
    if buffer.len() < whole {
        return Ok(None);
    }
    let message = buffer.split_to(whole);
    let body = Body(message.get(HEADER..).unwrap_or_default());
    match kind {
        b'd' | b'c' | b'f' | b'p' => return Ok(Some(Frame::Stray)),
        b'Q' => query(body),
        b'P' => parse(body),
        b'B' => bind(body),
        b'D' | b'C' => target(body),
        b'E' => execute(body),
        b'H' | b'S' | b'X' => body.end(),
        _ => return Err(FrameError::Kind(kind)),
    }
    .ok_or(FrameError::Layout)?;
    Ok(Some(Frame::Message(message)))
}

fn query(body: Body<'_>) -> Option<()> {
    body.string()?.end()
}

fn parse(body: Body<'_>) -> Option<()> {
    let (types, body) = body.string()?.string()?.count()?;
    body.skip(types.checked_mul(4)?)?.end()
}

fn bind(body: Body<'_>) -> Option<()> {
    let (formats, body) = body.string()?.string()?.count()?;
    let (values, mut body) = body.skip(formats.checked_mul(2)?)?.count()?;
    for _ in 0..values {
        let (length, behind) = body.number()?;
        // -1 is NULL; other negative lengths do not exist.
        body = match usize::try_from(length) {
            Ok(length) => behind.skip(length)?,
            Err(_) if length == -1 => behind,
            Err(_) => return None,
        };
    }
    let (formats, body) = body.count()?;
    body.skip(formats.checked_mul(2)?)?.end()
}

fn target(body: Body<'_>) -> Option<()> {
    let (kind, rest) = body.0.split_first()?;
    matches!(kind, b'S' | b'P').then_some(())?;
    Body(rest).string()?.end()
}

fn execute(body: Body<'_>) -> Option<()> {
    let (_, body) = body.string()?.number()?;
    body.end()
}

/// What is left of a body.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn string(self) -> Option<Self> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        self.skip(end.checked_add(1)?)
    }

    fn count(self) -> Option<(usize, Self)> {
        let (count, rest) = self.0.split_first_chunk::<2>()?;
        Some((usize::from(u16::from_be_bytes(*count)), Self(rest)))
    }

    fn number(self) -> Option<(i32, Self)> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        Some((i32::from_be_bytes(*number), Self(rest)))
    }

    fn skip(self, length: usize) -> Option<Self> {
        self.0.get(length..).map(Self)
    }

    fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // a test that overflows fails
mod tests {
    use pgwire::messages::{DecodeContext, PgWireFrontendMessage, ProtocolVersion};
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, body: &[u8]) -> BytesMut {
        let mut out = BytesMut::from(&[kind][..]);
        out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    fn decode(frame: &mut BytesMut) -> Option<PgWireFrontendMessage> {
        let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        PgWireFrontendMessage::decode(frame, &context).ok().flatten()
    }

    #[test]
    fn only_whole_and_sound_messages_pass() {
        let sound: &[(u8, &[u8])] = &[
            (b'Q', b"SHOW POOLS\0"),
            (b'P', b"\0SHOW POOLS\0\0\0"),
            (b'P', b"s\0SHOW POOLS\0\0\x01\0\0\0\x17"),
            (b'B', b"\0s\0\0\0\0\0\0\0"),
            (b'B', b"\0\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x01\0\x01"),
            (b'D', b"Ss\0"),
            (b'C', b"P\0"),
            (b'E', b"\0\0\0\0\0"),
            (b'H', b""),
            (b'S', b""),
            (b'X', b""),
        ];
        for (kind, body) in sound {
            let mut bytes = message(*kind, body);
            for cut in 0..bytes.len() {
                assert_eq!(next(&mut BytesMut::from(&bytes[..cut])), Ok(None), "{body:?} cut at {cut}");
            }
            let Ok(Some(Frame::Message(mut frame))) = next(&mut bytes) else { panic!("{kind} {body:?}") };
            assert!(bytes.is_empty() && decode(&mut frame).is_some(), "{kind} {body:?}");
            if !body.is_empty() {
                let short = next(&mut message(*kind, &body[..body.len() - 1]));
                assert_eq!(short, Err(FrameError::Layout), "{kind} {body:?}");
            }
            let long = next(&mut message(*kind, &[body, &b"x"[..]].concat()));
            assert_eq!(long, Err(FrameError::Layout), "{kind} {body:?}");
        }
        assert_eq!(next(&mut message(b'd', b"copied")), Ok(Some(Frame::Stray)));
        assert_eq!(next(&mut message(b'F', b"")), Err(FrameError::Kind(b'F')));
        assert_eq!(next(&mut BytesMut::from(&b"Q\0\0\0\x03"[..])), Err(FrameError::Length));
        assert_eq!(next(&mut BytesMut::from(&b"Q\x40\0\0\0"[..])), Err(FrameError::TooLong(1 << 30)));
        assert_eq!(next(&mut BytesMut::from(&b"D\0\0\0\x06X\0"[..])), Err(FrameError::Layout));
    }

    proptest! {
        #[test]
        fn nothing_that_passes_can_panic_the_decoder(
            kind in prop::sample::select(&b"QPBDCEHSXdcfpF\0"[..]),
            body in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..40),
        ) {
            if let Ok(Some(Frame::Message(mut frame))) = next(&mut message(kind, &body)) {
                let _ = decode(&mut frame);
                prop_assert!(frame.is_empty());
            }
        }
    }
}
