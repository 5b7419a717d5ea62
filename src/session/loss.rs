//! What a client hears of an upstream that ended under it, and which of its messages are passed over.
//!
//! Whatever was under way has been answered when this begins. Source: PostgreSQL manual, "Extended Query" in
//! "Message Flow": behind an error messages are discarded up to a Sync.

use bytes::BytesMut;

use super::messages::put;
use crate::wire::ErrorFields;

/// What is still to be said to a client whose upstream ended, and what of its messages is passed over.
#[derive(Debug)]
pub(super) struct Loss {
    /// Said to the next request: none was under way.
    pub(super) said: Option<ErrorFields>,
    /// Up to the next Sync.
    pub(super) skipping: bool,
    /// A transaction was open.
    pub(super) in_transaction: bool,
}

/// What is done with a message of the client.
#[derive(Debug, PartialEq, Eq)]
enum Reaction {
    /// It is passed over.
    Drop,
    /// The error, if it has not been said.
    Refuse,
    /// ReadyForQuery, behind the error if that has not been said.
    Answer,
    /// It is for a server.
    Pass,
}

impl Loss {
    fn react(&self, kind: u8) -> Reaction {
        match kind {
            // Of a COPY that is over: PostgreSQL passes them over as well.
            b'd' | b'c' | b'f' | b'H' => Reaction::Drop,
            b'S' if self.skipping || self.said.is_some() => Reaction::Answer,
            _ if self.skipping => Reaction::Drop,
            b'Q' | b'F' if self.said.is_some() => Reaction::Answer,
            _ if self.said.is_some() => Reaction::Refuse,
            _ => Reaction::Pass,
        }
    }

    /// Takes a message in, and writes what is answered. False: it is for a server.
    pub(super) fn hears(&mut self, kind: u8, out: &mut BytesMut) -> bool {
        let reaction = self.react(kind);
        if matches!(reaction, Reaction::Refuse | Reaction::Answer)
            && let Some(said) = self.said.take()
        {
            out.extend_from_slice(&said.encode());
        }
        match reaction {
            Reaction::Refuse => self.skipping = true,
            Reaction::Answer => {
                self.skipping = false;
                ready(out, self.in_transaction);
            }
            Reaction::Drop => {}
            Reaction::Pass => return false,
        }
        true
    }
}

/// Whether a server ends the connection with this, and not for anything that its client did: told to
/// stop or restarted, a crash of another (57), a timeout of its own in a transaction (25P03, 25P04).
pub(super) fn ends_upstream(fields: &ErrorFields) -> bool {
    let ends = matches!(fields.sqlstate.as_str(), "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04");
    ends && fields.is_fatal()
}

/// ReadyForQuery: in a transaction that has failed, or in none.
pub(super) fn ready(out: &mut BytesMut, in_transaction: bool) {
    put(out, b'Z', &[if in_transaction { b"E" } else { b"I" }]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{HeaderScan, Severity};

    /// The client's messages; what it hears for them, and which are for a server.
    fn play(said: bool, skipping: bool, messages: &str) -> String {
        let said = said.then(|| ErrorFields::new(Severity::Error, "57P01", "gone"));
        let mut loss = Loss { said, skipping, in_transaction: true };
        let mut heard = String::new();
        for kind in messages.bytes() {
            let mut out = BytesMut::new();
            if !loss.hears(kind, &mut out) {
                heard.push('>');
                heard.push(char::from(kind));
                break;
            }
            let mut scan = HeaderScan::default();
            let mut rest = &out[..];
            while let Ok(Some(header)) = scan.next(&mut rest) {
                heard.push(char::from(header.kind));
                scan.body(&mut rest);
            }
        }
        heard
    }

    #[test]
    fn a_client_that_broke_the_protocol_is_not_to_go_on() {
        for (severity, sqlstate, ends) in [
            (Severity::Fatal, "57P01", true),
            (Severity::Fatal, "25P03", true),
            (Severity::Error, "57P01", false),
            (Severity::Fatal, "08P01", false),
            (Severity::Fatal, "XX000", false),
        ] {
            assert_eq!(
                ends_upstream(&ErrorFields::new(severity, sqlstate, "")),
                ends,
                "{severity:?} {sqlstate}"
            );
        }
    }

    #[test]
    fn the_next_request_hears_of_it_once() {
        for (said, skipping, messages, heard) in [
            (true, false, "QQ", "EZ>Q"),
            (true, false, "F", "EZ"),
            (true, false, "PBDESQ", "EZ>Q"),
            (true, false, "SS", "EZ>S"),
            (true, false, "dcHQB", "EZ>B"),
            // A batch that was under way: its end is answered, and nothing else.
            (false, true, "BESBE", "Z>B"),
            // The server skips a Query in a batch that has failed.
            (false, true, "QSQ", "Z>Q"),
            // What is left of a COPY.
            (false, false, "dddcQ", ">Q"),
            (false, true, "ddcSP", "Z>P"),
            (false, false, "S", ">S"),
        ] {
            assert_eq!(play(said, skipping, messages), heard, "{said} {skipping} {messages}");
        }
    }
}
