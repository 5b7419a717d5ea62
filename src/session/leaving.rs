//! A client that said Terminate, or is gone with its Terminate read ahead, or has closed its half of the
//! connection: whether it is still there, and how long what it asked for may take. Whatever the
//! books and the server say, it is over within a bound.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::end::{End, Step};

/// How long a client that is still there may read its answers.
const READING: Duration = Duration::from_secs(60);
/// How long what was complete may run on for a client that is gone; then it is cancelled.
const UNHEARD: Duration = Duration::from_secs(10);
/// How long a client may hear answers that has closed its half without a Terminate: most of those are
/// gone, and what they ran is to be cancelled.
const HALF: Duration = Duration::from_secs(2);
/// How much may be answered to it: a server that writes to nobody ends the session when it notices.
const MOST_UNHEARD: usize = 64 * 1024;

/// From the client's Terminate on; or from the end of what it says.
#[derive(Debug)]
pub(super) struct Leaving {
    gone: bool,
    /// It will say nothing more, and may still read.
    half: bool,
    /// How much of the answers nobody read.
    unheard: usize,
    /// The server has got the Terminate.
    passed_on: bool,
    patience: Pin<Box<Sleep>>,
}

impl Default for Leaving {
    fn default() -> Self {
        Self { gone: false, half: false, unheard: 0, passed_on: false, patience: Box::pin(sleep(READING)) }
    }
}

impl Leaving {
    /// It has an upstream: what it asked for begins only now. Until then `checkout_timeout` was its
    /// bound, as it is everybody's.
    pub(super) fn begins(&mut self) {
        self.patience = Box::pin(sleep(match (self.half, self.gone) {
            (true, _) => HALF,
            (_, true) => UNHEARD,
            _ => READING,
        }));
    }

    /// Its half is closed, without a Terminate.
    pub(super) fn half_closed() -> Self {
        Self { half: true, patience: Box::pin(sleep(HALF)), ..Self::default() }
    }

    /// Whether it will say nothing more, and may still read.
    pub(super) fn is_half(&self) -> bool {
        self.half
    }

    /// Throws an answer away; `None`: there is still somebody who may read it.
    pub(super) fn throw_away(&mut self, bytes: usize) -> Option<Step> {
        if !self.gone {
            return None;
        }
        self.unheard = self.unheard.saturating_add(bytes);
        Some(if self.unheard > MOST_UNHEARD { Step::End(End::Overdue) } else { Step::Again })
    }

    /// It is gone: what it had asked for may run on for a while, and nobody reads the answers.
    pub(super) fn client_is_gone(&mut self) {
        if !std::mem::replace(&mut self.gone, true) {
            // Without a Terminate, nothing runs on.
            self.patience = Box::pin(sleep(if self.half { Duration::ZERO } else { UNHEARD }));
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// The server gets the Terminate now. False if it has got it.
    pub(super) fn passes_on(&mut self) -> bool {
        !std::mem::replace(&mut self.passed_on, true)
    }

    pub(super) fn has_passed_on(&self) -> bool {
        self.passed_on
    }

    pub(super) fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        self.patience.as_mut().poll(cx).is_ready()
    }
}
