//! Bodies and headers of the extended protocol's messages, as bytes.

use bytes::BytesMut;

/// A C string at the start of a body, and what follows it.
pub(super) fn split_name(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, body)?;
    Some((body.get(..end)?, body.get(end.saturating_add(1)..)?))
}

/// Parse: the body is what stands behind the name.
pub(super) fn put_parse(out: &mut BytesMut, name: &[u8], body: &[u8]) {
    put(out, b'P', &[name, b"\0", body]);
}

/// Close of a statement.
pub(super) fn put_close(out: &mut BytesMut, name: &[u8]) {
    put(out, b'C', &[b"S", name, b"\0"]);
}

/// A message without a body.
pub(super) fn put_empty(out: &mut BytesMut, kind: u8) {
    put(out, kind, &[]);
}

/// A message whose body is these parts.
pub(super) fn put(out: &mut BytesMut, kind: u8, parts: &[&[u8]]) {
    put_header(out, kind, parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// The header of a message with a body of this length.
pub(super) fn put_header(out: &mut BytesMut, kind: u8, body: usize) {
    let length = u32::try_from(body.saturating_add(4)).unwrap_or(u32::MAX);
    out.extend_from_slice(&[kind]);
    out.extend_from_slice(&length.to_be_bytes());
}

/// The values in a Bind, behind its two names; only as many as are there.
pub(super) fn parameters(mut body: &[u8], mut each: impl FnMut(&[u8])) {
    let Some(formats) = number::<2>(&mut body) else { return };
    body = body.get(formats.saturating_mul(2)..).unwrap_or_default();
    let Some(count) = number::<2>(&mut body) else { return };
    for _ in 0..count {
        let Some(length) = number::<4>(&mut body) else { return };
        if length == 0xffff_ffff {
            continue; // NULL
        }
        let Some((value, rest)) = body.split_at_checked(length) else { return };
        body = rest;
        each(value);
    }
}

/// Whether all parameters of a Bind, behind its two names, are in text.
pub(super) fn are_text(mut body: &[u8]) -> bool {
    let Some(formats) = number::<2>(&mut body) else { return false };
    let codes = body.get(..formats.saturating_mul(2));
    codes.is_some_and(|codes| codes.iter().all(|byte| *byte == 0))
}

fn number<const N: usize>(body: &mut &[u8]) -> Option<usize> {
    let (number, rest) = body.split_first_chunk::<N>()?;
    *body = rest;
    Some(number.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}
