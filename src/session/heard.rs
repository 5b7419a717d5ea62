//! What a server's answers mean to a virtual session: whose they are, and what they change.

use std::sync::Arc;

use super::answers::Tag;
use super::owed::{Verdict, Whose};
use super::scan::Meaning;
use super::undo::is_stale;
use super::virtual_session::VirtualSession;
use crate::pool::{Conn, Profile, Ties};
use crate::wire::{DataRow, ErrorFields};

/// So often a question of ours may be cancelled in a row.
const MOST_UNANSWERED: u8 = 10;

impl VirtualSession {
    /// Whether answers pass without being looked at one by one.
    #[inline]
    pub(super) fn all_pass(&self) -> bool {
        self.statements.owed.all_pass()
    }

    /// What becomes of an answer that begins.
    pub(super) fn verdict(&mut self, answer: u8) -> Verdict {
        self.statements.owed.verdict(answer)
    }

    /// How many ParseCompletes of our own are due now.
    pub(super) fn made_up(&mut self) -> usize {
        let mut due = 0_usize;
        while self.statements.owed.is_made_up() {
            self.statements.owed.pop();
            due = due.saturating_add(1);
        }
        due
    }

    /// An answer of the extended protocol.
    #[inline]
    pub(super) fn heard(&mut self, answer: u8) {
        self.statements.heard(answer);
    }

    /// CommandComplete.
    pub(super) fn completed(&mut self, tag: Tag, conn: &mut Conn) {
        self.statements.completed(tag, &mut conn.prepared);
        if tag != Tag::Other && !self.ties.is_empty() {
            self.doubt.tied(self.ties);
        }
        self.statements.owed.heard(b'C');
    }

    pub(super) fn copy_in(&mut self) {
        if self.statements.owed.copy_in() {
            // The client has to go on, or nothing will ever be answered.
            self.barrier = false;
        }
    }

    /// ParameterStatus: if nobody knows why, it is asked for.
    pub(super) fn reported(&mut self, name: &str) {
        let ours = self.statements.owed.front().is_some_and(|(_, whose)| whose != Whose::Client);
        if !ours {
            self.doubt.reported(&name.to_ascii_lowercase());
        }
    }

    /// A row of the answer to our question.
    pub(super) fn row(&mut self, body: &[u8]) {
        if let Some(DataRow(fields)) = DataRow::parse(body)
            && let [Some(name), value] = &fields[..]
        {
            self.rows.push((name.clone(), value.clone()));
        }
    }

    /// An error. False if it is about a query of our own and nobody else's.
    pub(super) fn failed(&mut self, fields: &ErrorFields, conn: &mut Conn) -> bool {
        match self.statements.owed.front() {
            Some((_, Whose::Restore | Whose::Reopen)) => false,
            // The client's own cancel that came late, or its own statement_timeout: asked again.
            Some((_, Whose::Question)) if fields.sqlstate == "57014" && self.unanswered < MOST_UNANSWERED => {
                self.unanswered = self.unanswered.saturating_add(1);
                self.doubt.merge(std::mem::take(&mut self.asked));
                false
            }
            Some((_, whose @ (Whose::Align | Whose::Question))) => {
                tracing::warn!(sqlstate = %fields.sqlstate, error = %fields.message, ?whose, "aligning failed");
                self.broken = true;
                false
            }
            _ => {
                self.statements.failed(&fields.sqlstate, &fields.message, &mut conn.prepared);
                true
            }
        }
    }

    /// Right behind a failure: whether it was a statement whose result has another shape by now,
    /// and nothing but the client's Sync is owed. That is not for the client then.
    pub(super) fn takes_again(&mut self, fields: &ErrorFields) -> bool {
        is_stale(&fields.sqlstate, &fields.message) && self.statements.owed.hide_sync()
    }

    /// ReadyForQuery. False if it answers a message of our own.
    pub(super) fn ready(
        &mut self,
        conn: &mut Conn,
        role: Option<&str>,
        shared: impl FnOnce(Arc<Profile>) -> Arc<Profile>,
    ) -> bool {
        let front = self.statements.owed.front();
        self.statements.owed.heard(b'Z');
        match front {
            Some((_, Whose::Question)) if self.asked.is_none() => false,
            Some((_, Whose::Question)) if !self.broken => {
                self.unanswered = 0;
                let user = conn.generation().login().user.clone();
                let own = [("role", role.unwrap_or("none")), ("session_authorization", user.as_str())];
                let rows = std::mem::take(&mut self.rows);
                let (profile, ties) = std::mem::take(&mut self.asked).settle(&self.profile, &rows, &own);
                if profile != *self.profile {
                    self.profile = shared(Arc::new(profile));
                }
                conn.dressed = self.profile.clone();
                self.tie(ties);
                false
            }
            Some((_, whose)) => matches!(whose, Whose::Client | Whose::Again),
            None => true,
        }
    }

    /// A transaction of the client is over.
    #[inline]
    pub(super) fn transaction_ends(&mut self) {
        self.outlasts |= !self.doubt.is_none();
    }

    /// Whether all that the client believes to have is still true should its upstream end now: a transaction that is
    /// open fails, and takes back what it did.
    pub(super) fn outlives_upstream(&self) -> bool {
        let outlasts = self.outlasts && !self.doubt.is_none();
        !self.is_tied() && self.asked.is_none() && !outlasts && !self.doubt.is_about(Ties::ADVISORY)
    }

    /// The upstream is gone.
    pub(super) fn loses(&mut self, conn: &mut Conn) {
        self.statements.loses(&mut conn.prepared);
        self.doubt = Default::default();
        self.outlasts = false;
        self.barrier = false;
        self.bound = Default::default();
        self.restore = false;
        self.rests();
    }

    /// What ties it from now on.
    fn tie(&mut self, ties: Ties) {
        self.ties = ties;
        self.statements.raw = ties.has(Ties::PREPARED);
        if !self.statements.raw {
            self.statements.by_sql = Meaning::default();
        }
    }

    /// What it left in its upstream is gone.
    pub(super) fn unties(&mut self) {
        self.tie(Ties::default());
    }

    /// An answer came that nobody waited for: what belongs to whom cannot be told any more.
    pub(super) fn is_lost(&self) -> bool {
        self.statements.owed.lost()
    }
}
