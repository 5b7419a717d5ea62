//! A client that said Terminate: PostgreSQL executes what was complete before it, and waits for
//! nothing else ("Termination" in "Message Flow").
//!
//! Answers to complete requests are waited for, so that the upstream can be kept. Where a
//! request is not complete (messages without a Sync, a COPY) or the books are in doubt, the
//! server gets the Terminate too, and ends the session as it would have without us. Whatever
//! the books and the server say, it is over within a bound.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Sleep, sleep};

use super::end::End;
use super::refusal;
use super::relay::{Hold, Relay, Step};
use crate::wire::Encoder;

/// How long a client that is still there may read its answers.
const READING: Duration = Duration::from_secs(60);
/// How long what was complete may run on for a client that is gone; then it is cancelled.
const UNHEARD: Duration = Duration::from_secs(10);
/// How much may be answered to it: a server that writes to nobody ends the session when it notices.
const MOST_UNHEARD: usize = 64 * 1024;

/// From the client's Terminate on; or from its end, if a Terminate has been read ahead by then.
#[derive(Debug)]
pub(super) struct Leaving {
    gone: bool,
    /// How much of the answers nobody read.
    unheard: usize,
    /// The server has got the Terminate.
    passed_on: bool,
    patience: Pin<Box<Sleep>>,
}

impl Default for Leaving {
    fn default() -> Self {
        Self { gone: false, unheard: 0, passed_on: false, patience: Box::pin(sleep(READING)) }
    }
}

impl Leaving {
    /// Throws an answer away; `None`: there is still somebody who may read it.
    pub(super) fn throw_away(&mut self, bytes: usize) -> Option<Step> {
        if !self.gone {
            return None;
        }
        self.unheard = self.unheard.saturating_add(bytes);
        Some(if self.unheard > MOST_UNHEARD { Step::End(End::Overdue) } else { Step::Again })
    }

    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        self.patience.as_mut().poll(cx).is_ready()
    }
}

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
            // The Terminate is in here.
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

    /// The end of a client that waits for an upstream no longer than it may.
    pub(super) fn is_overdue(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let overdue = self.leaving.as_mut().is_some_and(|leaving| leaving.is_overdue(cx));
        overdue.then_some(End::Overdue)
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

    /// The client is gone: at once, or after what it had asked for up to its Terminate.
    pub(super) fn client_left(&mut self) -> Step {
        if !self.said_terminate() {
            return Step::End(End::ClientLeft);
        }
        self.client_is_gone();
        Step::Again
    }

    /// What it is owed is thrown away from now on.
    pub(super) fn client_is_gone(&mut self) {
        let leaving = self.leaving.get_or_insert_default();
        if !std::mem::replace(&mut leaving.gone, true) {
            leaving.patience = Box::pin(sleep(UNHEARD));
        }
        self.to_client = BytesMut::new();
    }

    /// Why it ends when the server has closed the connection.
    pub(super) fn server_is_gone(&mut self) -> End {
        if self.leaving.as_ref().is_some_and(|leaving| leaving.passed_on) {
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
        while self.leaving.as_ref().is_some_and(|leaving| !leaving.gone) {
            match self.client.poll_read(cx, scratch) {
                Poll::Pending => return,
                Poll::Ready(Ok(0) | Err(_)) => self.client_is_gone(),
                Poll::Ready(Ok(_)) => {}
            }
        }
    }

    /// False if it has been.
    fn pass_terminate_on(&mut self) -> bool {
        let Some(leaving) = &mut self.leaving else { return false };
        if !matches!(self.hold, Hold::Active(_)) || std::mem::replace(&mut leaving.passed_on, true) {
            return false;
        }
        // In a COPY FROM STDIN the server takes the first one for a mistake (`CopyGetData`).
        let mut twice = Encoder::default();
        twice.terminate().terminate();
        self.to_server.extend_from_slice(&twice.into_bytes());
        true
    }
}
