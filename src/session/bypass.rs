//! The long rows of a server, past this process: what only has to go on is not copied into its memory and out
//! again.

use std::task::{Context, Poll};

use super::end::{End, Step};
use super::relay::{Hold, Relay};
use crate::net::Pipe;

/// A rest of a message that is shorter is read like everything else.
const WORTH_IT: usize = 64 * 1024;

impl Relay {
    /// After something was passed on: whether the rest of the message takes the other way.
    #[inline]
    pub(super) fn may_bypass(&mut self) {
        if self.answers.passing() >= WORTH_IT {
            self.bypasses();
        }
    }

    #[cold]
    fn bypasses(&mut self) {
        let Hold::Active(conn) = &self.hold else { return };
        let plain = conn.stream.is_plain() && self.client.is_plain();
        if plain && self.leaving.is_none() && self.to_client.is_empty() && self.pipe.is_none() {
            let spare = self.shard.pipes.borrow_mut().pop();
            // Without file descriptors it is read like everything else.
            self.pipe = spare.or_else(|| Pipe::new().ok());
        }
    }

    /// The next piece of a message that goes past; `None`: there is none, read on. What was taken before has
    /// been given to the client.
    #[inline]
    pub(super) fn poll_bypass(&mut self, cx: &mut Context<'_>) -> Option<Step> {
        if self.pipe.is_some() { self.poll_piece(cx) } else { None }
    }

    #[cold]
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Option<Step> {
        let left = self.answers.passing();
        if left == 0 || self.leaving.is_some() {
            self.end_bypass();
            return None;
        }
        let (Hold::Active(conn), Some(pipe)) = (&self.hold, &mut self.pipe) else { return None };
        let n = match pipe.poll_fill(cx, &conn.stream, left) {
            Poll::Pending => return Some(Step::Park),
            Poll::Ready(Ok(0) | Err(_)) => return Some(self.upstream_closed()),
            Poll::Ready(Ok(n)) => n,
        };
        self.local.count_from_server(n);
        self.flow.comes_down(n);
        self.answers.passed(n);
        match self.drain_pipe(cx) {
            Poll::Ready(Err(_)) => Some(Step::End(End::ClientLeft)),
            _ => Some(Step::Again),
        }
    }

    /// Gives the client what is in the pipe.
    pub(super) fn drain_pipe(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(())) };
        while pipe.held() > 0 {
            match pipe.poll_drain(cx, &self.client) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// An empty pipe is kept for the next one.
    pub(super) fn end_bypass(&mut self) {
        if let Some(pipe) = self.pipe.take().filter(|pipe| pipe.held() == 0) {
            self.shard.keep_pipe(pipe);
        }
    }
}
