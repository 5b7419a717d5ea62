//! Moves bytes between one client and whichever upstream it holds.
//!
//! A state machine over `poll_read` and `poll_write`: idle (no upstream),
//! waiting (in the pool's queue), active. What is read lies in the thread's
//! buffer and is written straight on; only a tail that could not be sent is
//! copied. Nothing here spawns, locks, reads a clock, logs or allocates for a
//! query.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};

use super::again::Again;
use super::answers::AnswerScan;
use super::around::spare;
use super::end::{End, Step};
use super::exchange::Exchange;
use super::flow::{Flow, Gather};
use super::keeping::Keeping;
use super::leaving::Leaving;
use super::loss::Loss;
use super::owed::Verdict;
use super::refusal;
use super::roll::{ClientCell, ClientState, Farewell};
use super::shard::{AHEAD, Shard};
use super::told::Tenure;
use super::virtual_session::VirtualSession;
use crate::net::{Pipe, Stream};
use crate::pool::{Conn, LocalPool, Overdue, PoolMode, Profile, Waiting};
use crate::wire::HeaderScan;

/// A message's header.
pub(super) const SHORTEST: usize = 5;

#[derive(Debug)]
pub(super) enum Hold {
    Idle,
    Waiting(Waiting),
    Active(Conn),
}

/// One session past its login.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) shard: Rc<Shard>,
    pub(super) local: Rc<LocalPool>,
    pub(super) cell: Rc<ClientCell>,
    pub(super) client: Stream,
    pub(super) session_mode: bool,
    pub(super) hold: Hold,
    /// It was found to have nothing to say within this poll, and wakes us when it has.
    pub(super) watched: bool,
    /// Told when the upstream goes.
    pub(super) tenure: Option<Box<Tenure>>,
    /// While it is kept between transactions.
    pub(super) keeping: Option<Box<Keeping>>,
    pub(super) requests: HeaderScan,
    pub(super) answers: AnswerScan,
    pub(super) exchange: Exchange,
    /// What the client believes it has; not used in session mode, where it has it.
    pub(super) mine: VirtualSession,
    /// Read from the client, not passed on yet.
    pub(super) ahead: BytesMut,
    /// How much of it there must be before it is looked at.
    pub(super) needed: usize,
    /// Of answers: part of a header, and a row that is ours to read.
    pub(super) withheld: BytesMut,
    pub(super) row: Vec<u8>,
    /// A batch that can be sent once more.
    pub(super) again: Again,
    /// What becomes of the answer that is under way.
    pub(super) verdict: Verdict,
    /// Owed to the upstream.
    pub(super) to_server: BytesMut,
    /// Owed to the client.
    pub(super) to_client: BytesMut,
    /// The same, and before it: a long row that goes past.
    pub(super) pipe: Option<Pipe>,
    pub(super) flow: Flow,
    pub(super) gather: Option<Box<Gather>>,
    /// The client said Terminate, or is gone with its Terminate in `ahead`, or has closed its half.
    pub(super) leaving: Option<Box<Leaving>>,
    /// The upstream ended, the session did not, and the client has more to say or hear of it.
    pub(super) loss: Option<Box<Loss>>,
    /// The transaction that was open then is the client's to end.
    pub(super) reopens: bool,
    /// The server's FATAL has been passed on.
    pub(super) server_said: bool,
}

impl Relay {
    pub(super) fn new(
        shard: Rc<Shard>,
        local: Rc<LocalPool>,
        cell: Rc<ClientCell>,
        client: Stream,
        profile: Arc<Profile>,
        ahead: BytesMut,
    ) -> Self {
        let session_mode = local.pool().settings().mode == PoolMode::Session;
        Self {
            shard,
            local,
            cell,
            client,
            session_mode,
            hold: Hold::Idle,
            watched: false,
            tenure: None,
            keeping: None,
            requests: HeaderScan::default(),
            answers: AnswerScan::default(),
            exchange: Exchange::default(),
            mine: VirtualSession::new(profile),
            ahead,
            needed: SHORTEST,
            withheld: BytesMut::new(),
            row: Vec::new(),
            again: Again::default(),
            verdict: Verdict::Pass,
            to_server: BytesMut::new(),
            to_client: BytesMut::new(),
            pipe: None,
            flow: Flow::default(),
            gather: None,
            leaving: None,
            loss: None,
            reopens: false,
            server_said: false,
        }
    }

    /// Takes an upstream. In transaction mode it is brought into line with this client's
    /// settings: the query goes ahead of the client's own bytes, and its answer is swallowed.
    pub(super) fn hold(&mut self, mut conn: Conn) {
        self.exchange.reset();
        self.answers = AnswerScan::default();
        self.withheld.clear();
        self.verdict = Verdict::Pass;
        self.end_bypass();
        if !self.session_mode {
            if self.to_server.is_empty() {
                self.to_server = self.shard.spare.take();
            }
            self.mine.begin(&mut conn, &mut self.to_server);
            if std::mem::take(&mut self.reopens) {
                self.mine.reopen(&mut conn, &mut self.to_server);
                self.exchange.begins_failed();
            }
        }
        let tell = self.shard.crowd.tell();
        if self.cell.state.get() == ClientState::Waiting {
            tell.waited(self.cell.waiting_since.get(), &self.cell, &self.local);
        }
        if let Some(leaving) = &mut self.leaving {
            leaving.begins();
        }
        self.tenure = tell.holds(&self.cell, &conn);
        self.cell.idle_since.set(None);
        self.cell.state.set(ClientState::Active);
        self.hold = Hold::Active(conn);
    }

    /// Runs the session to its end. Cancel safe between polls; dropping the relay closes
    /// whatever it holds.
    pub(super) fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let shard = self.shard.clone();
        let mut scratch = shard.scratch.borrow_mut();
        match self.cell.ends.get() {
            None => {}
            Some(Farewell::Killed) => return Poll::Ready(End::Refused(refusal::killed())),
            Some(Farewell::Idle) if self.is_idle() => {
                return Poll::Ready(End::Refused(refusal::overdue(Overdue::ClientIdle)));
            }
            // It has begun something meanwhile.
            Some(Farewell::Idle) => self.cell.ends.set(None),
        }
        loop {
            let step = match self.hold {
                Hold::Idle => self.poll_idle(cx, &mut scratch),
                Hold::Waiting(_) => self.poll_waiting(cx, &mut scratch),
                Hold::Active(_) => self.poll_active(cx, &mut scratch),
            };
            match step {
                Step::Again => {}
                Step::Park => {
                    self.waits(cx);
                    return Poll::Pending;
                }
                Step::End(end) => return Poll::Ready(end),
            }
        }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Step {
        match self.flush_client(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Step::End(End::ClientLeft),
            Poll::Pending => return Step::Park,
        }
        if self.shard.stopping.get() {
            return Step::End(End::Refused(refusal::shutdown()));
        }
        if self.loss.is_some() {
            return self.poll_loss(cx, scratch);
        }
        if self.may_move()
            && let Some(shard) = self.shard.sends_away()
        {
            return Step::End(End::Moves(shard));
        }
        // Bytes that were read ahead count once they hold what can be passed on.
        let fresh = if self.ahead.len() >= self.needed {
            0
        } else {
            match self.client.poll_read(cx, scratch) {
                Poll::Ready(Ok(0) | Err(_)) => return Step::End(End::ClientLeft),
                Poll::Ready(Ok(n)) => n,
                Poll::Pending => return Step::Park,
            }
        };
        self.local.count_from_client(fresh);
        let fresh = scratch.get(..fresh).unwrap_or_default();
        let first = self.ahead.first().or(fresh.first()).copied();
        if first == Some(b'X') {
            return Step::End(End::Terminated);
        }
        if self.ahead.len().saturating_add(fresh.len()) < self.needed {
            self.ahead.extend_from_slice(fresh);
            return Step::Again;
        }
        let mut fresh = fresh;
        if first == Some(b'P') && !self.session_mode && !self.reopens {
            let named = self.ahead.iter().chain(fresh).nth(SHORTEST).is_some_and(|byte| *byte != 0);
            if named {
                self.ahead.extend_from_slice(std::mem::take(&mut fresh));
                if self.prepares_alone() {
                    return Step::Again;
                }
            }
        }
        match self.local.try_checkout(self.cell.id, &self.shard.base, self.mine.profile(), cx) {
            Some(conn) => {
                self.hold(conn);
                self.watched = true;
                self.pass_on(cx, fresh)
            }
            None => {
                self.ahead.extend_from_slice(fresh);
                self.cell.state.set(ClientState::Waiting);
                let waiting = self.local.wait(self.cell.id, &self.shard.base, cx.waker());
                self.cell.waiting_since.set(waiting.since());
                self.hold = Hold::Waiting(waiting);
                Step::Again
            }
        }
    }

    /// Without an upstream, and with nothing under way.
    #[inline]
    fn may_move(&self) -> bool {
        !self.session_mode && self.ahead.is_empty() && self.leaving.is_none() && !self.reopens
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Step {
        let Hold::Waiting(waiting) = &mut self.hold else { return Step::Again };
        if self.shard.stopping.get() {
            return Step::End(End::Refused(refusal::shutdown()));
        }
        match waiting.poll(cx) {
            Poll::Ready(Ok(conn)) => {
                self.hold(conn);
                self.pass_on(cx, &[])
            }
            Poll::Ready(Err(error)) => Step::End(End::Refused(refusal::checkout(error))),
            Poll::Pending if self.leaving.as_ref().is_some_and(|leaving| leaving.is_half()) => {
                self.is_overdue(cx).map_or(Step::Park, Step::End)
            }
            Poll::Pending if self.leaving.is_some() => Step::Park,
            Poll::Pending => {
                if matches!(self.flush_client(cx), Poll::Ready(Err(_))) || self.read_ahead(cx, scratch) {
                    return self.client_left();
                }
                Step::Park
            }
        }
    }

    fn poll_active(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Step {
        let watched = std::mem::take(&mut self.watched);
        let Hold::Active(conn) = &mut self.hold else { return Step::Again };
        if let Some(reason) = conn.cut() {
            let fields = refusal::cut(reason, conn.generation());
            return Step::End(End::Refused(fields));
        }
        if let Some(overdue) = conn.overdue() {
            return Step::End(End::Refused(refusal::overdue(overdue)));
        }
        if self.leaving.is_some() {
            return self.poll_leaving(cx, scratch);
        }
        let mut moved = false;
        match self.flush_client(cx) {
            Poll::Ready(Ok(())) if watched => {}
            Poll::Ready(Ok(())) => match self.poll_server(cx, scratch) {
                Step::Again if !matches!(self.hold, Hold::Active(_)) => return Step::Again,
                Step::Again => match self.comes_to_rest() {
                    Some(step) => return step,
                    None => moved = true,
                },
                Step::Park => {}
                end @ Step::End(_) => return end,
            },
            Poll::Ready(Err(_)) => return Step::End(End::ClientLeft),
            Poll::Pending => {}
        }
        let clear = self.flush_server(cx).is_ready();
        // A Query counts from its header on: the rest of it has to follow.
        let wanted =
            (self.exchange.wants_client() || !self.requests.at_boundary()) && !self.mine.holds_client();
        if clear && wanted {
            match self.poll_client(cx, scratch) {
                Step::Again => moved = true,
                Step::Park => {}
                end @ Step::End(_) => return end,
            }
        } else if self.read_ahead(cx, scratch) {
            return self.client_left();
        }
        if self.leaving.is_some() {
            return Step::Again;
        }
        if let Some(step) = self.comes_to_rest() {
            return step;
        }
        if self.shard.stopping.get() && self.at_rest() {
            return Step::End(End::Refused(refusal::shutdown()));
        }
        if moved { Step::Again } else { Step::Park }
    }

    /// Between transactions something comes of it: the upstream is given back, or is asked first
    /// what the client left there; or the client is one too many that keeps its own.
    fn comes_to_rest(&mut self) -> Option<Step> {
        if self.session_mode || !self.at_rest() {
            return None;
        }
        if self.mine.has_doubt() {
            let Hold::Active(conn) = &mut self.hold else { return None };
            self.mine.ask(conn, &mut self.to_server);
            return Some(Step::Again);
        }
        if self.mine.is_tied() {
            return self.keeps();
        }
        self.let_go();
        Some(Step::Again)
    }

    /// Writes to the server, keeping what does not fit. A failure is left to the reading
    /// side, which may still find the server's last word.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) {
        let Hold::Active(conn) = &mut self.hold else { return };
        if !self.to_server.is_empty() {
            self.to_server.extend_from_slice(bytes);
            let _ = self.flush_server(cx);
            return;
        }
        if bytes.is_empty() {
            return;
        }
        let written = match conn.stream.poll_write(cx, bytes) {
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(_)) => bytes.len(),
            Poll::Pending => 0,
        };
        self.to_server.extend_from_slice(bytes.get(written..).unwrap_or_default());
    }

    pub(super) fn flush_server(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Hold::Active(conn) = &mut self.hold else { return Poll::Ready(()) };
        while !self.to_server.is_empty() {
            match conn.stream.poll_write(cx, &self.to_server) {
                // What is empty begins at the front again.
                Poll::Ready(Ok(n)) if n == self.to_server.len() => self.to_server.clear(),
                Poll::Ready(Ok(n)) => self.to_server.advance(n),
                Poll::Ready(Err(_)) => self.to_server.clear(),
                Poll::Pending => return Poll::Pending,
            }
        }
        conn.stream.poll_flush(cx).map(|_| ())
    }

    pub(super) fn flush_client(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        ready!(self.drain_pipe(cx))?;
        while !self.to_client.is_empty() {
            match self.client.poll_write(cx, &self.to_client) {
                Poll::Ready(Ok(n)) => self.to_client.advance(n),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.client.poll_flush(cx)
    }

    /// Reads what the client sends early, up to a bound, to learn when it leaves. True if it did.
    fn read_ahead(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> bool {
        while self.ahead.len() < AHEAD {
            match self.client.poll_read(cx, scratch) {
                Poll::Pending => return false,
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(n)) => {
                    self.local.count_from_client(n);
                    self.ahead.extend_from_slice(scratch.get(..n).unwrap_or_default());
                }
            }
        }
        false
    }

    /// Whether it has no upstream and nothing of the client's is there.
    fn is_idle(&self) -> bool {
        matches!(self.hold, Hold::Idle) && self.ahead.is_empty() && self.cell.idle_since.get().is_some()
    }

    /// Whether the upstream stands between transactions with nothing on its way to or from it.
    fn at_rest(&self) -> bool {
        self.exchange.at_rest() && self.clean()
    }

    pub(super) fn clean(&self) -> bool {
        self.mine.owes_nothing()
            && self.withheld.is_empty()
            && self.to_server.is_empty()
            && self.answers.at_boundary()
            && self.requests.at_boundary()
    }

    /// Gives the upstream back, or closes it where the books are in doubt.
    pub(super) fn let_go(&mut self) {
        self.gathers_no_more();
        self.cell.state.set(ClientState::Idle);
        self.keeping = None;
        self.tenure = None;
        // An idle client holds no buffer: these are empty, but may have been large.
        self.shard.spare.replace(spare(std::mem::take(&mut self.to_server)));
        if self.to_client.is_empty() {
            self.to_client = BytesMut::new();
        }
        self.mine.rests();
        self.again.rests();
        let Hold::Active(conn) = std::mem::replace(&mut self.hold, Hold::Idle) else { return };
        if self.exchange.uncertain() || std::mem::take(&mut self.server_said) {
            conn.close();
        } else {
            self.local.give_back(conn);
        }
    }

    /// Takes the session apart at its end: what it ran is cancelled, what it left is undone,
    /// a connection in doubt is closed. Returns the client's stream, what is still owed to
    /// it, and whether a message of our own may follow that.
    pub(super) fn part(mut self) -> (Stream, BytesMut, bool) {
        self.gathers_no_more();
        self.keeping = None;
        let at_rest = self.at_rest();
        let unsent = self.pipe.as_ref().is_some_and(|pipe| pipe.held() > 0);
        let at_boundary = self.answers.at_boundary() && !unsent;
        if let Hold::Active(conn) = std::mem::replace(&mut self.hold, Hold::Idle) {
            if conn.cut().is_some() || self.server_said || self.mine.is_broken() {
                conn.close();
            } else if !self.exchange.quiet() {
                self.local.cancel_and_close(conn);
            } else if !at_rest || self.exchange.uncertain() || self.mine.has_lasting() {
                // In a transaction: closing it is the rollback.
                conn.close();
            } else if self.session_mode || self.mine.has_doubt() || self.mine.is_tied() {
                self.local.reset_and_give_back(conn);
            } else {
                self.local.give_back(conn);
            }
        }
        // Behind a row that is not whole nothing is understood.
        let owed = if unsent { BytesMut::new() } else { self.to_client };
        (self.client, owed, at_boundary)
    }
}
