//! From the server to the client.
//!
//! Where all answers are the client's, what was read is written straight on. Where some are
//! ours, they are told apart message by message.

use std::task::{Context, Poll};

use bytes::BytesMut;

use super::answers::Answer;
use super::end::{End, Step};
use super::loss::ends_upstream;
use super::owed::Verdict;
use super::refusal;
use super::relay::{Hold, Relay, SHORTEST};
use crate::pool::is_suspicious;
use crate::wire::Status;

/// ParseComplete.
const PARSED: &[u8] = b"1\0\0\0\x04";
/// A longer error passes piece by piece.
const LONGEST_WITHHELD: usize = 64 * 1024;

impl Relay {
    /// Reads from the server and writes straight on to the client.
    pub(super) fn poll_server(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Step {
        if let Some(step) = self.poll_bypass(cx) {
            return step;
        }
        let Hold::Active(conn) = &mut self.hold else { return Step::Park };
        let n = match conn.stream.poll_read(cx, scratch) {
            Poll::Pending => return Step::Park,
            Poll::Ready(Ok(0) | Err(_)) => return self.upstream_closed(),
            Poll::Ready(Ok(n)) => n,
        };
        self.local.count_from_server(n);
        self.flow.comes_down(n);
        let bytes = scratch.get(..n).unwrap_or_default();
        if !self.mine.all_pass() || !self.withheld.is_empty() || self.verdict != Verdict::Pass {
            return self.sort_out(bytes).map_or_else(Step::End, |()| self.throw_away_or_go_on());
        }
        let passed = match self.read_answers(bytes) {
            Ok(passed) => passed,
            Err(end) => return Step::End(end),
        };
        if passed.is_empty() {
            return Step::Again;
        }
        if let Some(step) = self.leaving.as_mut().and_then(|leaving| leaving.throw_away(passed.len())) {
            return step;
        }
        match self.client.poll_write(cx, passed) {
            Poll::Ready(Ok(written)) => {
                self.to_client.extend_from_slice(passed.get(written..).unwrap_or_default());
                self.may_bypass();
                Step::Again
            }
            Poll::Ready(Err(_)) if self.leaving.is_some() => {
                self.client_is_gone();
                Step::Again
            }
            Poll::Ready(Err(_)) => Step::End(End::ClientLeft),
            Poll::Pending => {
                self.to_client.extend_from_slice(passed);
                Step::Again
            }
        }
    }

    fn throw_away_or_go_on(&mut self) -> Step {
        let length = self.to_client.len();
        match self.leaving.as_mut().and_then(|leaving| leaving.throw_away(length)) {
            Some(step) => {
                self.to_client.clear();
                step
            }
            None => Step::Again,
        }
    }

    /// Keeps the books, and returns what the client is to see.
    fn read_answers<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], End> {
        let mut rest = bytes;
        loop {
            self.answers.pass_over(&mut rest);
            let (left, whole) = (rest.len(), self.answers.at_boundary());
            let answer = self.answers.next(&mut rest).map_err(|e| End::Refused(refusal::bad_server(e)))?;
            match answer {
                None => return Ok(bytes),
                Some(Answer::Error(fields))
                    if whole && ends_upstream(&fields) && self.outlives_upstream() =>
                {
                    let before = bytes.get(..bytes.len().saturating_sub(left)).unwrap_or_default();
                    self.to_client.extend_from_slice(before);
                    self.upstream_says_goodbye(*fields);
                    return Ok(&[]);
                }
                Some(answer) => {
                    if !whole && matches!(answer, Answer::Error(_)) {
                        // Part of it is the client's already.
                        self.again.forget();
                    }
                    if let Err(end) = self.hear(answer) {
                        // What came before it is the client's all the same.
                        let before = bytes.get(..bytes.len().saturating_sub(left)).unwrap_or_default();
                        self.to_client.extend_from_slice(before);
                        return Err(end);
                    }
                    if self.again.is_refused() {
                        let before = bytes.get(..bytes.len().saturating_sub(left)).unwrap_or_default();
                        self.to_client.extend_from_slice(before);
                        self.sort_out(rest)?;
                        return Ok(&[]);
                    }
                }
            }
        }
    }

    /// One answer, in the books.
    #[inline]
    fn hear(&mut self, answer: Answer) -> Result<(), End> {
        if answer == Answer::Step(b'1') {
            self.local.count_server_parse();
        }
        if matches!(answer, Answer::Ready(_)) {
            self.flow.ends();
        }
        if self.session_mode {
            self.hear_in_session(&answer);
            return Ok(());
        }
        let Hold::Active(conn) = &mut self.hold else { return Ok(()) };
        if self.verdict == Verdict::Pass && matches!(answer, Answer::Complete(_) | Answer::Step(b'I' | b's'))
        {
            self.exchange.completed();
        }
        match answer {
            Answer::Step(kind) => self.mine.heard(kind),
            Answer::Complete(tag) => self.mine.completed(tag, conn),
            Answer::Ready(status) => {
                let profiles = &self.shard.profiles;
                let role = self.local.pool().settings().upstream.role.as_deref();
                if self.mine.ready(conn, role, |profile| profiles.shared(&profile)) {
                    self.exchange.ready(status.unwrap_or(Status::Failed));
                    if status == Some(Status::Idle) {
                        self.mine.transaction_ends();
                    }
                    self.client_answered(status == Some(Status::Idle));
                } else if self.mine.is_broken() {
                    return Err(End::Refused(refusal::align_failed()));
                }
            }
            Answer::CopyIn => {
                self.exchange.copy_in();
                self.mine.copy_in();
            }
            Answer::Parameter(name) => self.mine.reported(&name),
            Answer::Error(fields) => {
                if self.mine.failed(&fields, conn) {
                    if self.again.is_kept() && self.leaving.is_none() && self.mine.takes_again(&fields) {
                        self.again.refused();
                    } else {
                        self.server_failed(&fields);
                    }
                } else if fields.is_fatal() {
                    return Err(End::Refused(*fields));
                }
            }
        }
        if self.mine.is_lost() {
            return Err(End::Refused(refusal::lost()));
        }
        Ok(())
    }

    #[inline]
    fn hear_in_session(&mut self, answer: &Answer) {
        match answer {
            Answer::Ready(status) => {
                self.exchange.ready(status.unwrap_or(Status::Failed));
                self.count_answer(*status == Some(Status::Idle));
            }
            Answer::CopyIn => self.exchange.copy_in(),
            Answer::Error(fields) => self.server_failed(fields),
            Answer::Complete(_) | Answer::Step(b'I' | b's') => self.exchange.completed(),
            Answer::Parameter(_) | Answer::Step(_) => {}
        }
    }

    /// A request is over; if it is to be sent once more, it comes before what has been read.
    #[inline]
    fn client_answered(&mut self, ends_transaction: bool) {
        if self.again.is_refused() {
            let mut ahead = BytesMut::from(&self.again.take()[..]);
            ahead.extend_from_slice(&self.ahead);
            self.ahead = ahead;
            self.needed = SHORTEST;
        } else {
            self.again.answered();
            self.count_answer(ends_transaction);
        }
    }

    #[inline]
    fn count_answer(&self, ends_transaction: bool) {
        if let Hold::Active(conn) = &self.hold {
            self.local.count_answer(conn, ends_transaction, !self.exchange.quiet());
        }
    }

    #[cold]
    fn server_failed(&mut self, fields: &crate::wire::ErrorFields) {
        self.exchange.error();
        self.server_said |= fields.is_fatal();
        self.note_error(&fields.sqlstate);
    }

    pub(super) fn note_error(&self, sqlstate: &str) {
        self.local.count_error(sqlstate);
        if is_suspicious(sqlstate) {
            self.local.pool().suspect();
        }
    }

    /// Message by message: what is the client's goes to it, what is ours does not. A header that
    /// is not whole is withheld until it is.
    #[cold]
    fn sort_out(&mut self, bytes: &[u8]) -> Result<(), End> {
        let joined;
        let mut rest = bytes;
        if !self.withheld.is_empty() {
            self.withheld.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.withheld);
            rest = &joined;
        }
        loop {
            let length = if self.answers.at_boundary() {
                self.say_made_up();
                let Some((&[kind, a, b, c, d], _)) = rest.split_first_chunk::<5>() else {
                    self.withheld.extend_from_slice(rest);
                    return Ok(());
                };
                self.verdict = self.mine.verdict(kind);
                let length = u32::from_be_bytes([a, b, c, d]);
                let length = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(1).max(SHORTEST);
                if kind == b'E' && self.verdict == Verdict::Pass && length <= LONGEST_WITHHELD {
                    self.verdict = Verdict::Withhold;
                }
                length
            } else {
                // Of a header that has been passed on in part, byte by byte.
                self.answers.left().unwrap_or(1)
            };
            if rest.is_empty() {
                return Ok(());
            }
            let (piece, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            let mut input = piece;
            // What is whole in the books goes on its way before they are told.
            match self.verdict {
                Verdict::Pass => self.to_client.extend_from_slice(piece),
                Verdict::Swallow => {}
                Verdict::Read | Verdict::Withhold => self.row.extend_from_slice(piece),
            }
            while let Some(answer) =
                self.answers.next(&mut input).map_err(|e| End::Refused(refusal::bad_server(e)))?
            {
                match answer {
                    Answer::Error(fields)
                        if self.verdict != Verdict::Pass
                            && ends_upstream(&fields)
                            && self.outlives_upstream() =>
                    {
                        self.upstream_says_goodbye(*fields);
                        self.verdict = Verdict::Pass;
                        self.row.clear();
                        return Ok(());
                    }
                    answer => self.hear(answer)?,
                }
            }
            if self.answers.at_boundary() {
                self.is_whole();
            }
            rest = tail;
        }
    }

    /// The answer that was under way has come.
    fn is_whole(&mut self) {
        let verdict = std::mem::replace(&mut self.verdict, Verdict::Pass);
        if matches!(verdict, Verdict::Pass | Verdict::Swallow) {
            return;
        }
        let message = std::mem::take(&mut self.row);
        if verdict == Verdict::Read {
            self.mine.row(message.get(5..).unwrap_or_default());
        } else if !self.again.is_refused() {
            self.to_client.extend_from_slice(&message);
        }
    }

    /// What we answer ourselves and is due, where a message may begin.
    pub(super) fn say_made_up(&mut self) {
        if self.answers.at_boundary() {
            for _ in 0..self.mine.made_up() {
                self.to_client.extend_from_slice(PARSED);
            }
        }
    }
}
