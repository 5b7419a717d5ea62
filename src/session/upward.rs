//! From the client to the server.

use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};

use super::around::Around;
use super::end::{End, Step};
use super::refusal;
use super::relay::{Hold, Relay, SHORTEST};
use super::shard::Shard;
use super::virtual_session::{House, Sight};
use crate::pool::LocalPool;
use crate::wire::{Header, HeaderScan};

/// What becomes of the bytes behind a header.
enum Next {
    GoOn,
    /// This much of the message has been replaced.
    Skip(usize),
    /// The message is not whole enough.
    Stop(usize),
    /// Its turn comes later; what stands before it has been taken.
    Wait,
    End(End),
}

fn house<'a>(shard: &'a Shard, local: &'a LocalPool) -> House<'a> {
    House {
        texts: shard.crowd.texts(),
        pool: local.pool().index(),
        database: local.pool(),
        most: local.pool().settings().max_prepared_statements,
        bytes: shard.crowd.settings().max_prepared_bytes,
        serial: shard.serials.next(shard.index),
    }
}

impl Relay {
    /// Reads from the client and passes on.
    pub(super) fn poll_client(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Step {
        let usable = if self.requests.at_boundary() {
            self.ahead.len() >= self.needed
        } else {
            !self.ahead.is_empty()
        };
        if usable {
            return self.pass_on(cx, &[]);
        }
        match self.client.poll_read(cx, scratch) {
            Poll::Pending => Step::Park,
            Poll::Ready(Ok(0) | Err(_)) => Step::End(End::ClientLeft),
            Poll::Ready(Ok(n)) => {
                self.local.count_from_client(n);
                self.flow.goes_up(n);
                self.pass_on(cx, scratch.get(..n).unwrap_or_default())
            }
        }
    }

    /// Passes on what was read ahead and then `fresh`; what cannot be told yet waits.
    pub(super) fn pass_on(&mut self, cx: &mut Context<'_>, fresh: &[u8]) -> Step {
        if self.ahead.is_empty() {
            return self.pass_bytes(cx, fresh);
        }
        self.ahead.extend_from_slice(fresh);
        if self.requests.at_boundary() && self.ahead.len() < self.needed {
            return Step::Again;
        }
        let bytes = std::mem::take(&mut self.ahead);
        self.needed = SHORTEST;
        self.pass_bytes(cx, &bytes)
    }

    fn pass_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Step {
        let mut rest = bytes;
        self.again.forget();
        let may_repeat = self.may_repeat(bytes);
        // Where the bytes begin that go on as they are, and where they end.
        let mut from = 0_usize;
        let end = loop {
            self.requests.body(&mut rest);
            let here = bytes.len().saturating_sub(rest.len());
            if !self.requests.at_boundary() || rest.is_empty() {
                break bytes.len();
            }
            if rest.len() < SHORTEST || self.mine.holds_client() {
                self.ahead.extend_from_slice(rest);
                break here;
            }
            let header = match self.requests.next(&mut rest) {
                Ok(Some(header)) => header,
                Ok(None) => break bytes.len(),
                Err(malformed) => return Step::End(End::Refused(refusal::malformed(malformed))),
            };
            if header.kind == b'X' {
                self.leaving.get_or_insert_default();
                self.requests = HeaderScan::default();
                break here;
            }
            if !header.is_from_client() {
                return Step::End(End::Refused(refusal::unexpected_message(header)));
            }
            if !self.session_mode && header.kind != b'd' {
                let ahead = bytes.get(from..here).unwrap_or_default();
                match self.look(header, ahead, rest) {
                    Next::GoOn => {}
                    Next::Skip(length) => {
                        let mut part = rest.get(..length).unwrap_or(rest);
                        self.requests.body(&mut part);
                        rest = rest.get(length..).unwrap_or_default();
                        from = bytes.len().saturating_sub(rest.len());
                    }
                    Next::Stop(needed) => {
                        self.put_off(bytes.get(here..));
                        self.needed = needed;
                        break here;
                    }
                    Next::Wait => {
                        self.put_off(bytes.get(here..));
                        from = here;
                        break here;
                    }
                    Next::End(end) => return Step::End(end),
                }
            }
            self.exchange.sent(header.kind);
            self.local.count_request(header.kind);
        };
        if may_repeat && end == bytes.len() {
            self.again.keep(bytes);
        }
        self.send(cx, bytes.get(from..end).unwrap_or_default());
        self.note_work();
        self.say_made_up();
        Step::Again
    }

    /// From here on the server works for the client, if it has something to do.
    #[inline]
    fn note_work(&self) {
        if let Hold::Active(conn) = &self.hold
            && !self.exchange.quiet()
        {
            self.local.server_works(conn);
        }
    }

    /// Whether what is sent now may have to be sent once more.
    #[inline]
    fn may_repeat(&self, bytes: &[u8]) -> bool {
        !self.session_mode
            && matches!(bytes.first(), Some(b'B' | b'D'))
            && self.requests.at_boundary()
            && self.exchange.at_rest()
    }

    /// The message whose header has been read comes later, and what follows it.
    fn put_off(&mut self, bytes: Option<&[u8]>) {
        self.requests = HeaderScan::default();
        self.ahead.extend_from_slice(bytes.unwrap_or_default());
    }

    /// A message in transaction mode. If something goes to the server before it, after it or
    /// instead of it, that and what stands before the message goes into the buffer.
    fn look(&mut self, header: Header, ahead: &[u8], there: &[u8]) -> Next {
        let mut around = self.shard.around.take();
        let next = self.look_with(&mut around, header, ahead, there);
        self.shard.around.replace(around.cleared());
        next
    }

    fn look_with(&mut self, around: &mut Around, header: Header, ahead: &[u8], there: &[u8]) -> Next {
        let Hold::Active(conn) = &mut self.hold else { return Next::GoOn };
        let house = house(&self.shard, &self.local);
        let length = usize::try_from(header.body).unwrap_or(usize::MAX);
        let quiet = self.exchange.is_sound();
        let sight = self.mine.sees((header.kind, length), there, quiet, house, conn, around);
        let skipped = match sight {
            Sight::AsItIs if around.after.is_empty() => {
                if around.before.is_empty() {
                    return Next::GoOn;
                }
                self.to_server.extend_from_slice(ahead);
                self.to_server.extend_from_slice(&around.before);
                // The message itself, header first, follows with the rest.
                self.put_header(header);
                return Next::Skip(0);
            }
            Sight::AsItIs => {
                self.to_server.extend_from_slice(ahead);
                self.to_server.extend_from_slice(&around.before);
                self.put_header(header);
                self.to_server.extend_from_slice(there.get(..length).unwrap_or(there));
                length
            }
            Sight::Instead(length) => {
                self.to_server.extend_from_slice(ahead);
                self.to_server.extend_from_slice(&around.before);
                length
            }
            Sight::Needs(needed) => return Next::Stop(needed),
            Sight::Waits => {
                self.to_server.extend_from_slice(ahead);
                self.to_server.extend_from_slice(&around.before);
                return Next::Wait;
            }
            Sight::TooMuch => {
                let most = self.shard.crowd.settings().max_prepared_bytes;
                return Next::End(End::Refused(refusal::too_much_prepared(most)));
            }
        };
        self.to_server.extend_from_slice(&around.after);
        Next::Skip(skipped)
    }

    /// A client without an upstream whose message begins a Parse with a name. True if nothing more
    /// is to be done about it for now.
    #[cold]
    pub(super) fn prepares_alone(&mut self) -> bool {
        let mut answer = BytesMut::new();
        let house = house(&self.shard, &self.local);
        match self.mine.sees_alone(&self.ahead, house, &mut answer) {
            Some(consumed) => {
                self.ahead.advance(consumed);
                self.needed = SHORTEST;
                self.local.count_request(b'P');
                self.to_client.extend_from_slice(&answer);
                true
            }
            None => false,
        }
    }

    fn put_header(&mut self, header: Header) {
        let length = header.body.saturating_add(4);
        self.to_server.extend_from_slice(&[header.kind]);
        self.to_server.extend_from_slice(&length.to_be_bytes());
    }
}
