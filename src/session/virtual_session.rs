//! What a client of transaction mode believes it has, beside the relay: its prepared statements,
//! its settings, and what ties it to its upstream. No socket here: messages in, messages out.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use super::around::Around;
use super::messages::{parameters, put, put_empty, put_header, split_name};
use super::owed::{Kind, Whose};
use super::scan::Meaning;
use super::settings::{Doubt, restoring};
use super::shelf::{Passed, Shelf};
use super::statements::{Statements, Undo};
use super::texts::{Full, Texts};
use crate::pool::{Conn, Pool, Profile, Ties};
use crate::wire::{HeaderScan, align_query};

/// A Query longer than this is not read; the server is asked what came of it.
const LONGEST_READ: usize = 256 * 1024;

/// Of so many transactions of a client that is tied, one is followed by the question whether it
/// still is: a function may have untied it.
const ASK_AGAIN: u32 = 16;

/// Leaves a transaction that has failed; the name is what the server's log shows.
const REOPEN: &str =
    "BEGIN; ROLLBACK TO SAVEPOINT \"Leasehold: the server connection of this transaction was lost\"";

/// What a session shares with the others of its thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct House<'a> {
    pub(super) texts: &'a Texts,
    /// Which pool it is of.
    pub(super) pool: usize,
    pub(super) database: &'a Pool,
    /// `max_prepared_statements`.
    pub(super) most: usize,
    /// `max_prepared_bytes`.
    pub(super) bytes: usize,
    /// A number that no other unnamed statement of this process has.
    pub(super) serial: u64,
}

/// What becomes of a client's message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// It goes as it is, behind what has been written.
    AsItIs,
    /// What has been written goes, and then what the message has behind this much of its body.
    Instead(usize),
    /// It can be told once there is this much of it, header and all.
    Needs(usize),
    /// It can be told once all that was sent is answered.
    Waits,
    /// More than `max_prepared_bytes`.
    TooMuch,
}

/// A session of transaction mode, apart from its bytes.
#[derive(Debug)]
pub(super) struct VirtualSession {
    pub(super) statements: Statements,
    /// What the startup packet said.
    pub(super) startup: Arc<Profile>,
    /// What an upstream must have now.
    pub(super) profile: Arc<Profile>,
    pub(super) doubt: Doubt,
    /// Some of that is of transactions that are over.
    pub(super) outlasts: bool,
    /// What the server has been asked about; more may come into doubt meanwhile.
    pub(super) asked: Doubt,
    pub(super) ties: Ties,
    /// How often it came to the end of a transaction and stayed.
    pub(super) rests_tied: u32,
    /// Nothing of the client's goes on until everything is answered.
    pub(super) barrier: bool,
    /// What has been bound in this transaction names statements, or resets.
    pub(super) bound: Bound,
    /// Behind the next Sync, what the startup packet said is laid on anew.
    pub(super) restore: bool,
    /// The answer to our question so far.
    pub(super) rows: Vec<(String, Option<String>)>,
    /// How often it was cancelled.
    pub(super) unanswered: u8,
    /// A query of our own failed.
    pub(super) broken: bool,
}

#[derive(Debug, Default)]
pub(super) struct Bound {
    names: bool,
    resets: bool,
    deallocates: VecDeque<Box<[u8]>>,
}

impl VirtualSession {
    pub(super) fn new(startup: Arc<Profile>) -> Self {
        Self {
            statements: Statements::default(),
            profile: startup.clone(),
            startup,
            doubt: Doubt::default(),
            outlasts: false,
            asked: Doubt::default(),
            ties: Ties::default(),
            rests_tied: 0,
            barrier: false,
            bound: Bound::default(),
            restore: false,
            rows: Vec::new(),
            unanswered: 0,
            broken: false,
        }
    }

    pub(super) fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// Another upstream: writes what brings it into line.
    pub(super) fn begin(&mut self, conn: &mut Conn, out: &mut BytesMut) {
        self.statements.reset(&conn.prepared);
        self.barrier = false;
        self.bound = Bound::default();
        self.restore = false;
        self.outlasts = false;
        conn.prepared.begin();
        if !Arc::ptr_eq(&conn.dressed, &self.profile) {
            if let Some(sql) = align_query(conn.dressed.iter(), self.profile.iter()) {
                self.own_query(&sql, Whose::Align, conn, out);
            }
            conn.dressed = self.profile.clone();
        }
    }

    /// The upstream goes.
    pub(super) fn rests(&mut self) {
        self.statements.owed.shrink();
        self.rows = Vec::new();
    }

    fn own_query(&mut self, sql: &str, whose: Whose, conn: &mut Conn, out: &mut BytesMut) {
        put(out, b'Q', &[sql.as_bytes(), b"\0"]);
        self.statements.owed.push(Kind::Query, whose, Undo::Nothing);
        // As every Query does.
        conn.prepared.unnamed = None;
    }

    pub(super) fn owes_nothing(&self) -> bool {
        self.statements.owed.is_empty()
    }

    /// Whether the upstream may have something of the client's that others must not find.
    pub(super) fn has_doubt(&self) -> bool {
        !self.doubt.is_none() || !self.asked.is_none() || self.statements.is_untidy()
    }

    /// It stays on its upstream. Now and then, true, it comes into doubt whether it has to.
    pub(super) fn stays(&mut self) -> bool {
        self.rests_tied = self.rests_tied.wrapping_add(1);
        if self.rests_tied.is_multiple_of(ASK_AGAIN) {
            self.doubt.tied(self.ties);
        }
        self.has_doubt()
    }

    pub(super) fn is_tied(&self) -> bool {
        !self.ties.is_empty()
    }

    /// The upstream stands in for one that was lost in a transaction, which the client has to end.
    pub(super) fn reopen(&mut self, conn: &mut Conn, out: &mut BytesMut) {
        self.own_query(REOPEN, Whose::Reopen, conn, out);
    }

    /// Whether the upstream may have something of the client's that nothing takes away.
    pub(super) fn has_lasting(&self) -> bool {
        self.ties.has(Ties::LOADED) || self.doubt.is_about(Ties::LOADED) || self.asked.is_about(Ties::LOADED)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the client's messages have to wait.
    #[inline]
    pub(super) fn holds_client(&self) -> bool {
        self.barrier && !self.statements.owed.is_empty()
    }

    /// Tidies up, and asks the server what the client left.
    pub(super) fn ask(&mut self, conn: &mut Conn, out: &mut BytesMut) {
        self.statements.clean_up(out);
        if self.doubt.is_none() {
            return;
        }
        if !self.ties.is_empty() {
            self.doubt.tied(self.ties);
        }
        self.asked = std::mem::take(&mut self.doubt);
        self.outlasts = false;
        let question = self.asked.question(&self.profile);
        self.rows.clear();
        self.own_query(&question, Whose::Question, conn, out);
        // What the client says next is read by what it is tied to then.
        self.barrier = true;
    }

    /// A client without an upstream only prepares what some server has taken already: this much
    /// of its bytes is Parse and Sync, which are answered for it.
    pub(super) fn sees_alone(
        &mut self,
        bytes: &[u8],
        house: House<'_>,
        answer: &mut BytesMut,
    ) -> Option<usize> {
        let mut scan = HeaderScan::default();
        let mut rest = bytes;
        let parse = scan.next(&mut rest).ok()??;
        let length = usize::try_from(parse.body).ok()?;
        let (body, behind) = rest.split_at_checked(length)?;
        let sync = behind.strip_prefix(b"S\0\0\0\x04")?;
        if parse.kind != b'P' || !self.statements.parse_alone(body, house.texts, house.pool, house.bytes) {
            return None;
        }
        put_empty(answer, b'1');
        put(answer, b'Z', &[b"I"]);
        Some(bytes.len().saturating_sub(sync.len()))
    }

    /// A message of the client: its type, the length of its body, and what of it is there. `quiet`:
    /// nothing before it can fail any more in this transaction.
    #[inline]
    pub(super) fn sees(
        &mut self,
        (kind, length): (u8, usize),
        there: &[u8],
        quiet: bool,
        house: House<'_>,
        conn: &mut Conn,
        around: &mut Around,
    ) -> Sight {
        self.barrier = false;
        match kind {
            b'Q' => self.sees_query(length, there, house, conn, around),
            b'P' => self.sees_parse(length, there, quiet, house, conn, around),
            b'B' => self.sees_bind(length, there, house, conn, around),
            b'D' | b'C' => self.sees_small(kind, length, there, house, conn, around),
            b'E' => self.sees_execute(length, there, around),
            b'S' => self.sees_sync(conn, around),
            b'F' => {
                self.unread();
                self.statements.as_it_is(Kind::Call);
                Sight::AsItIs
            }
            b'c' | b'f' => {
                self.statements.owed.copy_ends(Undo::Nothing);
                Sight::AsItIs
            }
            _ => Sight::AsItIs,
        }
    }

    fn sees_query(
        &mut self,
        length: usize,
        there: &[u8],
        house: House<'_>,
        conn: &mut Conn,
        around: &mut Around,
    ) -> Sight {
        let mut shelf = shelf(house, conn);
        let Some(body) = there.get(..length) else {
            if length <= LONGEST_READ {
                return Sight::Needs(length.saturating_add(5));
            }
            self.unread();
            self.statements.query(&[], &Meaning::default(), &mut shelf, &mut around.before);
            return Sight::AsItIs;
        };
        let text = body.strip_suffix(b"\0").unwrap_or(body);
        let meaning = super::scan::meaning(text);
        self.query_calls(text, &meaning, house);
        if meaning.is_plain() {
            self.statements.query(text, &meaning, &mut shelf, &mut around.before);
            return Sight::AsItIs;
        }
        let owed = &self.statements.owed;
        if !meaning.names.is_empty() && !owed.is_clear() && !owed.skips(Kind::Query) {
            return self.wait(around);
        }
        let meaning = self.statements.with_executed(meaning);
        self.changes(&meaning);
        self.barrier = meaning.forgets || !meaning.names.is_empty();
        let renamed = self.statements.query(text, &meaning, &mut shelf, &mut around.before);
        if !around.before.is_empty() {
            self.statements.sync_behind(&mut around.after);
        }
        let instead = matches!(renamed, std::borrow::Cow::Owned(_));
        if instead {
            put(&mut around.before, b'Q', &[&renamed, b"\0"]);
        }
        if meaning.resets {
            self.restore_startup(conn, &mut around.after);
        }
        if instead { Sight::Instead(length) } else { Sight::AsItIs }
    }

    /// A text is executed that may change something.
    fn changes(&mut self, meaning: &Meaning) {
        self.doubt.add(meaning);
        if meaning.unties && !self.ties.is_empty() {
            self.doubt.tied(self.ties);
        }
        self.statements.raw |= meaning.ties.has(Ties::PREPARED);
    }

    /// RESET goes back to what the server began with; this client began with something else.
    fn restore_startup(&mut self, conn: &mut Conn, out: &mut BytesMut) {
        if let Some(sql) = restoring(&self.startup) {
            self.own_query(&sql, Whose::Restore, conn, out);
        }
    }

    fn sees_parse(
        &mut self,
        length: usize,
        there: &[u8],
        quiet: bool,
        house: House<'_>,
        conn: &mut Conn,
        around: &mut Around,
    ) -> Sight {
        if length > house.bytes / 16 {
            return Sight::TooMuch;
        }
        let Some(body) = there.get(..length) else { return Sight::Needs(length.saturating_add(5)) };
        if self.statements.waits(split_name(body).map_or(b"?", |(name, _)| name)) {
            return self.wait(around);
        }
        self.parse_calls(body, house);
        let mut shelf = shelf(house, conn);
        match self.statements.parse(body, quiet, &mut shelf, &mut around.before) {
            Ok(Passed::AsItIs) => Sight::AsItIs,
            Ok(_) => Sight::Instead(length),
            Err(Full) => Sight::TooMuch,
        }
    }

    fn sees_bind(
        &mut self,
        length: usize,
        there: &[u8],
        house: House<'_>,
        conn: &mut Conn,
        around: &mut Around,
    ) -> Sight {
        let body = there.get(..length).unwrap_or(there);
        let named = split_name(body).and_then(|(portal, rest)| {
            let (name, rest) = split_name(rest)?;
            Some((portal, name, rest))
        });
        let Some((portal, name, rest)) = named else {
            if body.len() < length && body.len() < LONGEST_READ {
                return Sight::Needs(body.len().saturating_add(6));
            }
            self.statements.as_it_is(Kind::Bind);
            return Sight::AsItIs;
        };
        if self.statements.waits(name) {
            return self.wait(around);
        }
        let mut shelf = shelf(house, conn);
        let found = self.statements.bind(name, &mut shelf, &mut around.before);
        let calls = self.bind_calls(name, house);
        let (meaning, other) = (found.meaning, found.other);
        if portal.is_empty() {
            // What was bound there before is gone.
            self.bound = Bound::default();
        }
        if !meaning.is_plain() {
            let meaning = self.statements.with_executed(meaning);
            self.changes(&meaning);
            self.bound.names |= meaning.forgets || !meaning.names.is_empty();
            self.bound.resets |= meaning.resets;
            self.bound.deallocates = found.deallocates;
            if meaning.any_setting {
                parameters(rest, |value| self.doubt.candidate(value));
            }
        }
        if calls {
            parameters(rest, |value| self.doubt.candidate(value));
        }
        let Some(other) = other else { return Sight::AsItIs };
        let length = length.saturating_sub(name.len()).saturating_add(other.len());
        put_header(&mut around.before, b'B', length);
        for part in [portal, b"\0", other.as_bytes(), b"\0"] {
            around.before.extend_from_slice(part);
        }
        Sight::Instead(body.len().saturating_sub(rest.len()))
    }

    /// Describe and Close.
    fn sees_small(
        &mut self,
        kind: u8,
        length: usize,
        there: &[u8],
        house: House<'_>,
        conn: &mut Conn,
        around: &mut Around,
    ) -> Sight {
        let Some(body) = there.get(..length) else { return Sight::Needs(length.saturating_add(5)) };
        let name = match body.split_first() {
            Some((b'S', rest)) => rest.strip_suffix(b"\0"),
            _ => None,
        };
        match (kind, name) {
            (b'D', Some(name)) => {
                if self.statements.waits(name) {
                    return self.wait(around);
                }
                let mut shelf = shelf(house, conn);
                match self.statements.describe(name, &mut shelf, &mut around.before) {
                    None => Sight::AsItIs,
                    Some(other) => {
                        put(&mut around.before, b'D', &[b"S", other.as_bytes(), b"\0"]);
                        Sight::Instead(length)
                    }
                }
            }
            (b'D', None) => {
                self.statements.as_it_is(Kind::Describe);
                Sight::AsItIs
            }
            (_, Some(name)) => {
                if self.statements.waits(name) {
                    return self.wait(around);
                }
                if self.statements.close_statement(name, &mut conn.prepared) && !self.ties.is_empty() {
                    self.doubt.tied(self.ties);
                }
                Sight::AsItIs
            }
            (_, None) => {
                self.statements.as_it_is(Kind::Close);
                Sight::AsItIs
            }
        }
    }

    /// The answers come whether or not a Sync does.
    fn wait(&mut self, around: &mut Around) -> Sight {
        put_empty(&mut around.before, b'H');
        self.barrier = true;
        Sight::Waits
    }

    fn sees_execute(&mut self, length: usize, there: &[u8], around: &mut Around) -> Sight {
        if self.bound.names {
            if there.len() < length {
                return Sight::Needs(length.saturating_add(5));
            }
            put_empty(&mut around.after, b'H');
            self.barrier = true;
        }
        self.restore |= self.bound.resets;
        self.statements.execute(&self.bound.deallocates);
        Sight::AsItIs
    }

    fn sees_sync(&mut self, conn: &mut Conn, around: &mut Around) -> Sight {
        self.barrier = self.statements.sync(&mut around.after);
        if std::mem::take(&mut self.restore) {
            self.restore_startup(conn, &mut around.after);
        }
        Sight::AsItIs
    }
}

fn shelf<'a>(house: House<'a>, conn: &'a mut Conn) -> Shelf<'a> {
    Shelf {
        texts: house.texts,
        prepared: &mut conn.prepared,
        pool: house.pool,
        most: house.most.max(1),
        bytes: house.bytes,
        serial: house.serial,
    }
}
