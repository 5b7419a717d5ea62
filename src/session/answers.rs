//! Finds the few messages of a server that the relay must understand, in a
//! stream that arrives in arbitrary pieces.

use crate::wire::{ErrorFields, HeaderScan, Malformed, Status, parameter_status, ready_status};

/// An error text beyond this is passed on but not looked at.
const LARGEST_LOOKED_AT: usize = 8 * 1024;

/// What came by.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// ReadyForQuery, whole; `None`: with a status that does not exist.
    Ready(Option<Status>),
    /// ErrorResponse, whole.
    Error(Box<ErrorFields>),
    /// CopyInResponse begins.
    CopyIn,
    /// CommandComplete, whole.
    Complete(Tag),
    /// ParameterStatus, whole: the setting's name.
    Parameter(String),
    /// Another one of the extended protocol's answers begins: its type.
    Step(u8),
}

/// What was completed, as far as somebody wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Deallocate,
    /// All prepared statements are gone, and maybe more.
    AllGone,
    Other,
}

/// The scan of one upstream's stream.
#[derive(Debug, Default)]
pub(super) struct AnswerScan {
    headers: HeaderScan,
    /// Type and gathered part of a body that was split.
    gathering: Option<(u8, Vec<u8>)>,
}

impl AnswerScan {
    /// Whether the next byte begins a message.
    #[inline]
    pub(super) fn at_boundary(&self) -> bool {
        self.headers.at_boundary()
    }

    /// How much of the current message is still to come; `None`: its header is not whole.
    pub(super) fn left(&self) -> Option<usize> {
        let left = usize::try_from(self.headers.left()).unwrap_or(usize::MAX);
        (left > 0 || self.at_boundary()).then_some(left)
    }

    /// How much is still to come of a message that nobody looks at.
    #[inline]
    pub(super) fn passing(&self) -> usize {
        match self.gathering {
            None => usize::try_from(self.headers.left()).unwrap_or(0),
            Some(_) => 0,
        }
    }

    /// So much of it went another way.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.headers.skip(bytes);
    }

    /// Passes over what is left of a message that was told when it began.
    #[inline]
    pub(super) fn pass_over(&mut self, input: &mut &[u8]) {
        if self.gathering.is_none() {
            self.headers.body(input);
        }
    }

    /// The next message that matters; `None`: `input` is used up. After an answer
    /// that was whole, `input` stands behind it.
    #[inline]
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Answer>, Malformed> {
        if self.gathering.is_some() {
            return Ok(self.gather(input));
        }
        while let Some(header) = self.headers.next(input)? {
            match header.kind {
                b'D' | b'd' => {}
                b'Z' | b'E' | b'C' | b'S' => {
                    if usize::try_from(header.body).is_ok_and(|body| body <= input.len()) {
                        let body = self.headers.body(input);
                        return Ok(Some(understand(header.kind, body)));
                    }
                    self.gathering = Some((header.kind, Vec::new()));
                    return Ok(self.gather(input));
                }
                b'G' => return Ok(Some(Answer::CopyIn)),
                b'1' | b'2' | b'3' | b'T' | b'n' | b'I' | b's' => return Ok(Some(Answer::Step(header.kind))),
                _ => {}
            }
        }
        Ok(None)
    }

    #[cold]
    fn gather(&mut self, input: &mut &[u8]) -> Option<Answer> {
        let part = self.headers.body(input);
        let (kind, body) = self.gathering.as_mut()?;
        let room = LARGEST_LOOKED_AT.saturating_sub(body.len());
        body.extend(part.iter().take(room));
        if self.headers.left() > 0 {
            return None;
        }
        let answer = understand(*kind, body);
        self.gathering = None;
        Some(answer)
    }
}

#[inline]
fn understand(kind: u8, body: &[u8]) -> Answer {
    match kind {
        b'Z' => Answer::Ready(ready_status(body)),
        b'C' => Answer::Complete(tag(body)),
        b'S' => Answer::Parameter(parameter_status(body).map(|(name, _)| name).unwrap_or_default()),
        _ => Answer::Error(Box::new(ErrorFields::parse(body))),
    }
}

#[inline]
fn tag(body: &[u8]) -> Tag {
    match body {
        b"DEALLOCATE\0" => Tag::Deallocate,
        b"DEALLOCATE ALL\0" | b"DISCARD ALL\0" => Tag::AllGone,
        _ => Tag::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Encoder, Severity, any_pieces, found_in};

    #[test]
    fn any_split_gives_the_same_answers() {
        let mut stream = Encoder::default();
        stream.message(b'D', |body| body.extend([b'Z'; 700]));
        let mut stream = stream.into_bytes();
        let error = ErrorFields::new(Severity::Error, "42501", "no").detail("x".repeat(300));
        stream.extend(error.encode());
        let mut tail = Encoder::default();
        tail.message(b'G', |body| body.extend([0, 0, 0]));
        tail.parameter_status("TimeZone", "UTC").message(b'1', |_| {});
        tail.message(b'C', |body| body.extend(b"DISCARD ALL\0")).ready_idle();
        stream.extend(tail.into_bytes());
        let expected = [
            Answer::Error(Box::new(error)),
            Answer::CopyIn,
            Answer::Parameter("TimeZone".to_owned()),
            Answer::Step(b'1'),
            Answer::Complete(Tag::AllGone),
            Answer::Ready(Some(Status::Idle)),
        ];
        for size in 1..stream.len() {
            let mut scan = AnswerScan::default();
            let found = found_in(stream.chunks(size), |input| scan.next(input)).unwrap();
            assert!(scan.at_boundary());
            assert_eq!(found, expected, "pieces of {size}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_can_panic_it(pieces in any_pieces(60)) {
            let mut scan = AnswerScan::default();
            let _ = found_in(pieces, |input| scan.next(input));
        }
    }
}
