//! Long streams in larger pieces: a server that sends a million rows, or a client in COPY, hands them over
//! 8 KiB at a time and would wake us for each. Once a request has been long under way its receiving socket wakes us for
//! so much at once (`SO_RCVLOWAT`), or a moment after the last piece.

use std::task::Context;

use tokio::time::{Instant, sleep};

use super::flow::{Flow, Gather, Marks, NONE, PAUSE, REST};
use super::relay::{Hold, Relay};

impl Relay {
    /// Nothing can be done until a socket has more.
    #[inline]
    pub(super) fn waits(&mut self, cx: &mut Context<'_>) {
        if self.flow.is_long() || self.gather.is_some() || self.pipe.is_some() {
            self.gathers(cx);
        }
    }

    #[cold]
    fn gathers(&mut self, cx: &mut Context<'_>) {
        let active = matches!(self.hold, Hold::Active(_)) && self.leaving.is_none() && !self.exchange.quiet();
        let rest = u32::try_from(self.answers.passing()).unwrap_or(u32::MAX).min(REST);
        let marks = match &self.pipe {
            _ if !active => NONE,
            Some(_) => Marks { server: rest.max(1), client: 1 },
            None => self.flow.marks(),
        };
        if marks == NONE {
            return self.gathers_no_more();
        }
        self.marks(marks);
        if self.pipe.is_none() && self.is_over(cx) {
            self.flow.stutters();
            // Which wakes us, if there is anything.
            self.gathers_no_more();
        }
    }

    /// Whether nothing came for a while.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(gather) = &mut self.gather else { return false };
        let pause = gather.pause.get_or_insert_with(|| Box::pin(sleep(PAUSE)));
        if gather.seen != self.flow {
            gather.seen = self.flow;
            pause.as_mut().reset(Instant::now() + PAUSE);
        }
        pause.as_mut().poll(cx).is_ready()
    }

    fn marks(&mut self, marks: Marks) {
        let new = || Box::new(Gather { marks: NONE, pause: None, seen: Flow::default() });
        let gather = self.gather.get_or_insert_with(new);
        if let Hold::Active(conn) = &self.hold
            && marks.server != gather.marks.server
        {
            conn.stream.wakes_at(marks.server);
        }
        if marks.client != gather.marks.client {
            self.client.wakes_at(marks.client);
        }
        gather.marks = marks;
    }

    /// Each byte wakes us again, of either side. Before the upstream goes.
    #[inline]
    pub(super) fn gathers_no_more(&mut self) {
        if self.gather.is_some() {
            self.marks(NONE);
            self.gather = None;
        }
    }
}
