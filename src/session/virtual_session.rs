//! What a client of transaction mode believes it has, beside the relay: its prepared statements,
//! its settings, and what ties it to its upstream. No socket here: messages in, messages out.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use super::owed::{Kind, Verdict, Whose};
use super::scan::{Meaning, Ties};
use super::settings::Doubt;
use super::statements::{Shelf, Statements, Undo, put, put_empty, put_header, split_name};
use super::texts::{Full, Texts};
use crate::pool::{Conn, Profile};
use crate::wire::{DataRow, ErrorFields, align_query};

/// A Query longer than this is not read; the server is asked what came of it.
const LONGEST_READ: usize = 256 * 1024;

/// What a session shares with the others of its thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct House<'a> {
    pub(super) texts: &'a Texts,
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

/// Messages of our own around one of the client's.
#[derive(Debug, Default)]
pub(super) struct Around {
    pub(super) before: BytesMut,
    /// Only where the message is whole.
    pub(super) after: BytesMut,
}

/// A session of transaction mode, apart from its bytes.
#[derive(Debug)]
pub(super) struct VirtualSession {
    statements: Statements,
    /// What the startup packet said.
    startup: Arc<Profile>,
    /// What an upstream must have now.
    profile: Arc<Profile>,
    doubt: Doubt,
    /// What the server has been asked about; more may come into doubt meanwhile.
    asked: Doubt,
    ties: Ties,
    /// Nothing of the client's goes on until everything is answered.
    barrier: bool,
    /// What has been bound in this transaction names statements, or resets.
    bound: Bound,
    /// Behind the next Sync, what the startup packet said is laid on anew.
    restore: bool,
    /// The answer to our question so far.
    rows: Vec<(String, Option<String>)>,
    /// A query of our own failed.
    broken: bool,
}

#[derive(Debug, Default)]
struct Bound {
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
            asked: Doubt::default(),
            ties: Ties::default(),
            barrier: false,
            bound: Bound::default(),
            restore: false,
            rows: Vec::new(),
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

    pub(super) fn has_doubt(&self) -> bool {
        !self.doubt.is_none() || !self.asked.is_none()
    }

    pub(super) fn is_tied(&self) -> bool {
        !self.ties.is_empty()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the client's messages have to wait.
    #[inline]
    pub(super) fn holds_client(&self) -> bool {
        self.barrier && !self.statements.owed.is_empty()
    }

    /// Asks the server what the client left.
    pub(super) fn ask(&mut self, conn: &mut Conn, out: &mut BytesMut) {
        if !self.ties.is_empty() {
            self.doubt.tied(self.ties);
        }
        self.asked = std::mem::take(&mut self.doubt);
        let question = self.asked.question(&self.profile);
        self.rows.clear();
        self.own_query(&question, Whose::Question, conn, out);
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
            self.doubt.anything();
            self.statements.query(&[], &Meaning::default(), &mut shelf, &mut around.before);
            return Sight::AsItIs;
        };
        let text = body.strip_suffix(b"\0").unwrap_or(body);
        let meaning = super::scan::meaning(text);
        if meaning.is_plain() {
            self.statements.query(text, &meaning, &mut shelf, &mut around.before);
            return Sight::AsItIs;
        }
        self.doubt.add(&meaning);
        self.barrier = meaning.forgets || !meaning.names.is_empty();
        let renamed = self.statements.query(text, &meaning, &mut shelf, &mut around.before);
        let instead = matches!(renamed, std::borrow::Cow::Owned(_));
        if instead {
            put(&mut around.before, b'Q', &[&renamed, b"\0"]);
        }
        if meaning.resets {
            self.restore_startup(conn, &mut around.after);
        }
        if instead { Sight::Instead(length) } else { Sight::AsItIs }
    }

    /// RESET goes back to what the server began with; this client began with something else.
    fn restore_startup(&mut self, conn: &mut Conn, out: &mut BytesMut) {
        let startup = self.startup.clone();
        if let Some(sql) = align_query([].into_iter(), startup.iter()) {
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
        let mut shelf = shelf(house, conn);
        match self.statements.parse(body, quiet, &mut shelf, &mut around.before) {
            Ok(super::statements::Passed::AsItIs) => Sight::AsItIs,
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
        let (meaning, other) = (found.meaning, found.other);
        if portal.is_empty() {
            // What was bound there before is gone.
            self.bound = Bound::default();
        }
        if !meaning.is_plain() {
            self.doubt.add(&meaning);
            self.bound.names |= meaning.forgets || !meaning.names.is_empty();
            self.bound.resets |= meaning.resets;
            self.bound.deallocates = found.deallocates;
            if meaning.any_setting {
                parameters(rest, |value| self.doubt.candidate(value));
            }
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
                self.statements.close_statement(name, &mut conn.prepared);
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
        self.statements.owed.heard(answer);
    }

    /// CommandComplete.
    pub(super) fn completed(&mut self, tag: super::answers::Tag, conn: &mut Conn) {
        self.statements.completed(tag, &mut conn.prepared);
        if tag != super::answers::Tag::Other && !self.ties.is_empty() {
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
            self.doubt.name(&name.to_ascii_lowercase());
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
            Some((_, Whose::Restore)) => false,
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
            Some((_, Whose::Question)) if !self.broken => {
                let user = conn.generation().login().user.clone();
                let own = [("role", role.unwrap_or("none")), ("session_authorization", user.as_str())];
                let rows = std::mem::take(&mut self.rows);
                let (profile, ties) = std::mem::take(&mut self.asked).settle(&self.profile, &rows, &own);
                if profile != *self.profile {
                    self.profile = shared(Arc::new(profile));
                }
                conn.dressed = self.profile.clone();
                if ties != self.ties && !ties.is_empty() {
                    tracing::debug!(ties = ?ties.names(), "pinned");
                }
                self.ties = ties;
                false
            }
            Some((_, whose)) => whose == Whose::Client,
            None => true,
        }
    }

    /// An answer came that nobody waited for: what belongs to whom cannot be told any more.
    pub(super) fn is_lost(&self) -> bool {
        self.statements.owed.lost()
    }
}

fn shelf<'a>(house: House<'a>, conn: &'a mut Conn) -> Shelf<'a> {
    Shelf {
        texts: house.texts,
        prepared: &mut conn.prepared,
        most: house.most.max(1),
        bytes: house.bytes,
        serial: house.serial,
    }
}

/// The values in a Bind, behind its two names; only as many as are there.
fn parameters(mut body: &[u8], mut each: impl FnMut(&[u8])) {
    let Some(formats) = number::<2>(&mut body) else { return };
    body = body.get(formats.saturating_mul(2)..).unwrap_or_default();
    let Some(count) = number::<2>(&mut body) else { return };
    for _ in 0..count {
        let Some(length) = number::<4>(&mut body) else { return };
        if length == 0xffff_ffff {
            continue; // NULL
        }
        let Some((value, rest)) = body.split_at_checked(length) else { return };
        body = rest;
        each(value);
    }
}

fn number<const N: usize>(body: &mut &[u8]) -> Option<usize> {
    let (number, rest) = body.split_first_chunk::<N>()?;
    *body = rest;
    Some(number.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

/// Numbers unnamed statements of one shard.
#[derive(Debug, Default)]
pub(super) struct Serials(std::cell::Cell<u64>);

impl Serials {
    pub(super) fn next(&self, shard: usize) -> u64 {
        let next = self.0.get().wrapping_add(1);
        self.0.set(next);
        u64::try_from(shard).unwrap_or_default() << 48 | next & ((1 << 48) - 1)
    }
}
