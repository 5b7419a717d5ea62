//! A client that said Terminate: PostgreSQL executes what was complete before it, and waits for
//! nothing else ("Termination" in "Message Flow").
//!
//! Answers to complete requests are waited for, so that the upstream can be kept. Where a
//! request is not complete (messages without a Sync, a COPY) or the books are in doubt, the
//! server gets the Terminate too, and ends the session as it would have without us. Whatever
//! the books and the server say, it is over within a bound.

use std::task::{Context, Poll};

use bytes::BytesMut;

use super::end::{End, Step};
use super::leaving::Leaving;
use super::refusal;
use super::relay::{Hold, Relay};
use crate::wire::Encoder;

impl Relay {
    /// With an upstream: up to the end of what the client is still owed.
    #[cold]
    pub(super) fn poll_leaving(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Step {
        // In this order: that the client is gone shortens the patience.
        self.look_for_client(cx, scratch);
        if let Some(end) = self.is_overdue(cx) {
            return Step::End(end);
        }
        let mut moved = false;
        match self.flush_client(cx) {
            Poll::Ready(Ok(())) => match self.poll_server(cx, scratch) {
                Step::Again => moved = true,
                Step::Park => {}
                end @ Step::End(_) => return end,
            },
            Poll::Ready(Err(_)) => {
                self.client_is_gone();
                return Step::Again;
            }
            Poll::Pending => {}
        }
        let clear = self.flush_server(cx).is_ready();
        if !self.ahead.is_empty() {
            // The Terminate is in here, or what can never be whole.
            if clear
                && !self.mine.holds_client()
                && (self.exchange.wants_client() || !self.requests.at_boundary())
            {
                return self.poll_client(cx, scratch);
            }
        } else if self.exchange.quiet() && self.clean() {
            if self.to_client.is_empty() {
                return Step::End(End::Terminated);
            }
        } else if self.is_incomplete() && self.pass_terminate_on() {
            return Step::Again;
        }
        if moved { Step::Again } else { Step::Park }
    }

    /// Whether the server will not come to an end by itself. Where only a question of our own is
    /// open, it will.
    fn is_incomplete(&self) -> bool {
        self.exchange.wants_client() && (!self.exchange.quiet() || self.exchange.uncertain())
    }

    /// The end of a client whose last requests run longer than they may.
    pub(super) fn is_overdue(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let leaving = self.leaving.as_mut()?;
        let end = if leaving.is_half() { End::ClientLeft } else { End::Overdue };
        leaving.is_overdue(cx).then_some(end)
    }

    /// Whether a Terminate is among what was read ahead.
    fn said_terminate(&self) -> bool {
        let mut scan = self.requests.clone();
        let mut rest = &self.ahead[..];
        while let Ok(Some(header)) = scan.next(&mut rest) {
            if header.kind == b'X' {
                return true;
            }
        }
        false
    }

    /// Nothing more comes from the client: it is gone after what it had asked for up to its
    /// Terminate; without one, it may only have closed its half, and reads its answers.
    pub(super) fn client_left(&mut self) -> Step {
        if self.said_terminate() {
            self.client_is_gone();
        } else {
            self.leaving.get_or_insert_with(|| Box::new(Leaving::half_closed()));
        }
        Step::Again
    }

    /// What it is owed is thrown away from now on.
    pub(super) fn client_is_gone(&mut self) {
        self.leaving.get_or_insert_default().client_is_gone();
        self.to_client = BytesMut::new();
        self.pipe = None;
    }

    /// Why it ends when the server has closed the connection.
    pub(super) fn server_is_gone(&mut self) -> End {
        if self.leaving.as_ref().is_some_and(|leaving| leaving.has_passed_on()) {
            // As it was told to: there is nothing left to cancel.
            self.server_said = true;
            End::Terminated
        } else if self.server_said {
            End::Said
        } else {
            End::Refused(refusal::server_gone())
        }
    }

    /// What comes behind a Terminate is of no use to anybody.
    fn look_for_client(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) {
        while self.leaving.as_ref().is_some_and(|leaving| !leaving.is_gone() && !leaving.is_half()) {
            match self.client.poll_read(cx, scratch) {
                Poll::Pending => return,
                Poll::Ready(Ok(0) | Err(_)) => self.client_is_gone(),
                Poll::Ready(Ok(n)) => self.local.count_from_client(n),
            }
        }
    }

    /// False if it has been.
    fn pass_terminate_on(&mut self) -> bool {
        let Some(leaving) = &mut self.leaving else { return false };
        if !matches!(self.hold, Hold::Active(_)) || !leaving.passes_on() {
            return false;
        }
        // In a COPY FROM STDIN the server takes the first one for a mistake (`CopyGetData`).
        let mut twice = Encoder::default();
        twice.terminate().terminate();
        self.to_server.extend_from_slice(&twice.into_bytes());
        true
    }
}
