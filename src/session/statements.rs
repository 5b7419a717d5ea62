//! The prepared statements that a client believes it has: names ↔ texts ↔ what each upstream has
//! prepared. Values in, values out: it writes messages and sends none.
//!
//! A named statement has one name at every server, made of its text's number, for all clients
//! that prepared the same. The unnamed one keeps its name, and is parsed again where the client
//! binds it on another upstream. Where PostgreSQL would refuse, the server is asked in such a
//! way that it refuses in its own words.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;

use super::messages::{put_close, put_empty, put_parse, split_name};
use super::owed::{Kind, Owed, Whose};
use super::scan::{Meaning, NameUse, Verb, meaning};
use super::shelf::{Passed, Shelf};
use super::texts::{Full, Text, Texts, server_name};
use crate::pool::Prepared;

/// PostgreSQL keeps this much of a name (NAMEDATALEN - 1).
const LONGEST_NAME: usize = 63;
/// What a name costs beside its bytes.
const OVERHEAD: usize = 96;
/// A version that no text has: the name is taken at the server, for something else.
const DUMMY: u32 = u32::MAX;
/// An unnamed statement that is nobody's, if there is one at all.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// How an assumption is taken back.
#[derive(Debug, Default)]
pub(super) enum Undo {
    #[default]
    Nothing,
    /// The unnamed statement was this, and became the one of this number; the server's was the third.
    Unnamed(Option<Arc<Unnamed>>, Option<u64>, Option<u64>),
    /// A name meant this.
    Name(Box<[u8]>, Option<Arc<Text>>),
    /// A name meant nothing, and the text is not prepared after all.
    Parsed(Box<[u8]>, u64),
    /// It is not prepared after all.
    Prepared(u64),
    /// It is still there.
    Kept(u64, u32),
    /// Nothing, but what the server has without a name is another one; it was this.
    Aligned(Option<u64>),
    /// Nothing, but this text was used.
    Bound(Arc<Text>),
    /// The same as of `Unnamed` if it is a Query; these names are deallocated meanwhile, in order.
    Deallocates { query: bool, unnamed: Option<Arc<Unnamed>>, names: VecDeque<Box<[u8]>> },
}

/// A client's unnamed statement.
#[derive(Debug)]
pub(super) struct Unnamed {
    /// What stands behind the name in Parse.
    pub(super) body: Box<[u8]>,
    meaning: Meaning,
    pub(super) serial: u64,
    /// If it names statements: as the client wrote it, and the names that it deallocates.
    written: Option<Box<[u8]>>,
    deallocates: VecDeque<Box<[u8]>>,
}

/// What a bound statement is.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub(super) meaning: Meaning,
    /// The names that it deallocates when it is executed.
    pub(super) deallocates: VecDeque<Box<[u8]>>,
    /// Its name at the server, if it is another.
    pub(super) other: Option<Arc<str>>,
}

/// What a client has prepared, and what it is owed.
#[derive(Debug, Default)]
pub(super) struct Statements {
    pub(super) names: HashMap<Box<[u8]>, Arc<Text>>,
    pub(super) unnamed: Option<Arc<Unnamed>>,
    /// What the names and texts cost.
    pub(super) bytes: usize,
    pub(super) owed: Owed<Undo>,
    /// A name that the server has for a moment, to refuse it a second time. The first: what
    /// comes behind the refusal is passed over.
    pub(super) taken: Option<Box<[u8]>>,
    /// The server's unnamed statement is this client's, or there is none.
    pub(super) unnamed_is_mine: bool,
    /// Statements were prepared by SQL: the server has the client's own names.
    pub(super) raw: bool,
    /// What executing those may change, and others that are not in these books.
    pub(super) by_sql: Meaning,
    /// Since the last Sync something was changed that is undone should a message fail.
    assumed: bool,
}

impl Statements {
    /// Another upstream: nothing is owed.
    pub(super) fn reset(&mut self, prepared: &Prepared) {
        self.owed.reset();
        self.unnamed_is_mine = prepared.unnamed.is_none_or(|serial| Some(serial) == self.serial());
        self.assumed = false;
        self.taken = None;
    }

    pub(super) fn serial(&self) -> Option<u64> {
        self.unnamed.as_ref().map(|unnamed| unnamed.serial)
    }

    /// Whether a message about the unnamed statement must wait until all that was sent is
    /// answered: should what brings it into line be passed over, another client's would be used.
    pub(super) fn waits(&self, name: &[u8]) -> bool {
        name.is_empty() && !self.unnamed_is_mine && !self.owed.is_clear() && !self.owed.skips(Kind::Parse)
    }

    /// The client prepares: the body of its Parse. `quiet`: all that was sent before is answered
    /// without a failure, in this transaction.
    ///
    /// # Errors
    /// [`Full`]: more than it may have.
    pub(super) fn parse(
        &mut self,
        body: &[u8],
        quiet: bool,
        shelf: &mut Shelf<'_>,
        out: &mut BytesMut,
    ) -> Result<Passed, Full> {
        let Some((name, rest)) = split_name(body) else { return Ok(self.as_it_is(Kind::Parse)) };
        if self.owed.skips(Kind::Parse) {
            return Ok(Passed::AsItIs);
        }
        let query = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        if !name.is_empty() && self.raw && !self.names.contains_key(name) {
            self.by_sql.absorb(&meaning(query));
            return Ok(self.as_it_is(Kind::Parse));
        }
        if name.is_empty() {
            return Ok(self.parse_unnamed(rest, query, shelf, out));
        }
        let name = name.get(..LONGEST_NAME).unwrap_or(name);
        if self.names.contains_key(name) {
            // The server has the name too when it reads this, and says so.
            put_parse(out, name, b"\0\0\0");
            self.owed.push(Kind::Parse, Whose::Ours, Undo::Nothing);
            self.owed.push(Kind::Parse, Whose::Client, Undo::Nothing);
            self.taken.get_or_insert_with(|| name.into());
            return Ok(Passed::AsItIs);
        }
        let meaning = meaning(query);
        let (rest, _) = self.renamed(rest, &meaning.names, shelf, out);
        let text = shelf.texts.share(shelf.pool, &rest, shelf.bytes)?;
        self.learn(name, &text, shelf.bytes)?;
        if quiet && shelf.prepared.touch(text.id(), text.version()) {
            self.assume(Kind::Parse, Whose::MadeUp, Undo::Name(name.into(), None));
            return Ok(Passed::Kept);
        }
        self.clear_place(&text, shelf, out);
        put_parse(out, text.name().as_bytes(), text.body());
        shelf.prepared.insert(text.id(), text.version());
        let undo = Undo::Parsed(name.into(), text.id());
        self.assume(Kind::Parse, Whose::Client, undo);
        Ok(Passed::Instead)
    }

    fn learn(&mut self, name: &[u8], text: &Arc<Text>, most: usize) -> Result<(), Full> {
        self.bytes = self.bytes.saturating_add(cost(name, text));
        // One client may have a part of what all may have.
        if self.bytes > most / 16 {
            return Err(Full);
        }
        self.names.insert(name.into(), text.clone());
        Ok(())
    }

    /// A client without an upstream prepares a text that some server has taken already: it needs
    /// none for that. False: it does.
    pub(super) fn parse_alone(&mut self, body: &[u8], texts: &Texts, pool: usize, most: usize) -> bool {
        let Some((name, rest)) = split_name(body) else { return false };
        let name = name.get(..LONGEST_NAME).unwrap_or(name);
        if name.is_empty() || self.raw || self.names.contains_key(name) {
            return false;
        }
        let text = texts.proved(pool, rest).filter(|text| text.meaning().names.is_empty());
        text.is_some_and(|text| self.learn(name, &text, most).is_ok())
    }

    fn parse_unnamed(
        &mut self,
        rest: &[u8],
        query: &[u8],
        shelf: &mut Shelf<'_>,
        out: &mut BytesMut,
    ) -> Passed {
        let again =
            self.unnamed.as_ref().filter(|unnamed| *unnamed.body == *rest && unnamed.meaning.is_plain());
        let unnamed = match again {
            Some(unnamed) => unnamed.clone(),
            None => {
                let meaning = meaning(query);
                let (renamed, deallocates) = self.renamed(rest, &meaning.names, shelf, out);
                let written = (!meaning.names.is_empty()).then(|| rest.into());
                Arc::new(Unnamed {
                    body: renamed.into(),
                    meaning,
                    serial: shelf.serial,
                    written,
                    deallocates,
                })
            }
        };
        // Passed over, it leaves what was there before it: not this client's.
        self.assumed |= !self.owed.is_clear() && shelf.prepared.unnamed != self.serial();
        // As the first thing it does, Parse drops the one that was there.
        self.unnamed_is_mine = true;
        let there = shelf.prepared.unnamed.replace(unnamed.serial);
        let serial = unnamed.serial;
        let instead = *unnamed.body != *rest;
        if instead {
            put_parse(out, b"", &unnamed.body);
        }
        let before = self.unnamed.replace(unnamed);
        self.owed.push(Kind::Parse, Whose::Client, Undo::Unnamed(before, Some(serial), there));
        if instead { Passed::Instead } else { Passed::AsItIs }
    }

    /// The client binds; `name` is the statement's.
    pub(super) fn bind(&mut self, name: &[u8], shelf: &mut Shelf<'_>, out: &mut BytesMut) -> Bound {
        self.uses(Kind::Bind, name, shelf, out)
    }

    /// The client describes a statement; the name at the server if it is another.
    pub(super) fn describe(
        &mut self,
        name: &[u8],
        shelf: &mut Shelf<'_>,
        out: &mut BytesMut,
    ) -> Option<Arc<str>> {
        self.uses(Kind::Describe, name, shelf, out).other
    }

    fn uses(&mut self, kind: Kind, name: &[u8], shelf: &mut Shelf<'_>, out: &mut BytesMut) -> Bound {
        if self.owed.skips(kind) {
            return Bound::default();
        }
        if name.is_empty() {
            let (meaning, deallocates) = self.align_unnamed(shelf, out);
            self.owed.push(kind, Whose::Client, Undo::Nothing);
            return Bound { meaning, deallocates, other: None };
        }
        let name = name.get(..LONGEST_NAME).unwrap_or(name);
        let Some(text) = self.names.get(name).cloned() else {
            self.owed.push(kind, Whose::Client, Undo::Nothing);
            // Ours are nobody's to guess.
            let guessed = name.starts_with(b"leasehold_");
            let other = guessed.then(|| format!("no {}", String::from_utf8_lossy(name)).into());
            return Bound { meaning: self.by_sql.clone(), other, ..Bound::default() };
        };
        self.prepare(&text, shelf, out);
        let meaning = text.meaning().clone();
        let deallocates = meaning.names.iter().filter_map(|used| self.called(used)).collect();
        let other = Some(text.name().clone());
        self.owed.push(kind, Whose::Client, Undo::Bound(text));
        Bound { meaning, deallocates, other }
    }

    /// The upstream's unnamed statement is made this client's.
    fn align_unnamed(&mut self, shelf: &mut Shelf<'_>, out: &mut BytesMut) -> (Meaning, VecDeque<Box<[u8]>>) {
        let mine = std::mem::replace(&mut self.unnamed_is_mine, true);
        self.name_anew(shelf, out);
        let Some(unnamed) = &self.unnamed else {
            if !mine {
                // Another client's: the server shall say that there is none.
                put_close(out, b"");
                self.assume(Kind::Close, Whose::Ours, Undo::Aligned(shelf.prepared.unnamed));
            }
            shelf.prepared.unnamed = None;
            return Default::default();
        };
        let found = (unnamed.meaning.clone(), unnamed.deallocates.clone());
        if shelf.prepared.unnamed != Some(unnamed.serial) {
            put_parse(out, b"", &unnamed.body);
            let there = shelf.prepared.unnamed.replace(unnamed.serial);
            self.assume(Kind::Parse, Whose::Ours, Undo::Aligned(there));
        }
        found
    }

    /// What the names in the unnamed statement stand for is decided when it is used.
    fn name_anew(&mut self, shelf: &mut Shelf<'_>, out: &mut BytesMut) {
        let Some(unnamed) = self.unnamed.clone() else { return };
        let Some(written) = &unnamed.written else { return };
        let (renamed, deallocates) = self.renamed(written, &unnamed.meaning.names, shelf, out);
        if *renamed != *unnamed.body {
            self.unnamed = Some(Arc::new(Unnamed {
                body: renamed.into(),
                meaning: unnamed.meaning.clone(),
                serial: shelf.serial,
                written: Some(written.clone()),
                deallocates,
            }));
        }
    }

    /// The client executes what is bound.
    pub(super) fn execute(&mut self, deallocates: &VecDeque<Box<[u8]>>) {
        let undo = if deallocates.is_empty() {
            Undo::Nothing
        } else {
            Undo::Deallocates { query: false, unnamed: None, names: deallocates.clone() }
        };
        self.owed.push(Kind::Execute, Whose::Client, undo);
    }

    /// The text is prepared at the upstream.
    fn prepare(&mut self, text: &Arc<Text>, shelf: &mut Shelf<'_>, out: &mut BytesMut) {
        if shelf.prepared.touch(text.id(), text.version()) {
            return;
        }
        self.clear_place(text, shelf, out);
        put_parse(out, text.name().as_bytes(), text.body());
        shelf.prepared.insert(text.id(), text.version());
        self.assume(Kind::Parse, Whose::Ours, Undo::Prepared(text.id()));
    }

    /// Makes room for a text, and drops what stands in its place.
    fn clear_place(&mut self, text: &Text, shelf: &mut Shelf<'_>, out: &mut BytesMut) {
        let old = shelf.prepared.remove(text.id()).map(|version| (text.id(), version));
        while let Some((id, version)) = shelf.prepared.evict(shelf.most) {
            self.close(id, version, out);
        }
        if let Some((id, version)) = old {
            self.close(id, version, out);
        }
    }

    fn close(&mut self, id: u64, version: u32, out: &mut BytesMut) {
        put_close(out, server_name(id).as_bytes());
        self.assume(Kind::Close, Whose::Ours, Undo::Kept(id, version));
    }

    /// The client closes a statement. True if it is none that is known here.
    pub(super) fn close_statement(&mut self, name: &[u8], prepared: &mut Prepared) -> bool {
        if self.owed.skips(Kind::Close) {
            return false;
        }
        let undo = if name.is_empty() {
            let there = prepared.unnamed.take();
            self.unnamed_is_mine = true;
            Undo::Unnamed(self.unnamed.take(), None, there)
        } else {
            let name = name.get(..LONGEST_NAME).unwrap_or(name);
            match self.forget(name) {
                Some(text) => Undo::Name(name.into(), Some(text)),
                None => Undo::Nothing,
            }
        };
        self.assumed |= !name.is_empty();
        let unknown = matches!(undo, Undo::Nothing);
        // The server does not have the name, and answers all the same.
        self.owed.push(Kind::Close, Whose::Client, undo);
        unknown
    }

    pub(super) fn forget(&mut self, name: &[u8]) -> Option<Arc<Text>> {
        let text = self.names.remove(name)?;
        self.bytes = self.bytes.saturating_sub(cost(name, &text));
        Some(text)
    }

    /// Something that needs no more than its place in the queue.
    pub(super) fn as_it_is(&mut self, kind: Kind) -> Passed {
        self.owed.push(kind, Whose::Client, Undo::Nothing);
        Passed::AsItIs
    }

    /// The client sends a Query: the text with the statements' names at the server, if it has any.
    pub(super) fn query<'t>(
        &mut self,
        text: &'t [u8],
        meaning: &Meaning,
        shelf: &mut Shelf<'_>,
        out: &mut BytesMut,
    ) -> Cow<'t, [u8]> {
        if self.owed.skips(Kind::Query) {
            return Cow::Borrowed(text);
        }
        let (renamed, names) = self.renamed(text, &meaning.names, shelf, out);
        // It ends the unnamed statement, whatever it is.
        let there = shelf.prepared.unnamed.take();
        self.unnamed_is_mine = true;
        let unnamed = self.unnamed.take();
        let undo = if !names.is_empty() {
            Undo::Deallocates { query: true, unnamed, names }
        } else if unnamed.is_some() {
            Undo::Unnamed(unnamed, None, there)
        } else {
            Undo::Nothing
        };
        self.owed.push(Kind::Query, Whose::Client, undo);
        renamed
    }

    /// A text in which EXECUTE and DEALLOCATE name statements as the server does.
    fn renamed<'t>(
        &mut self,
        text: &'t [u8],
        uses: &[NameUse],
        shelf: &mut Shelf<'_>,
        out: &mut BytesMut,
    ) -> (Cow<'t, [u8]>, VecDeque<Box<[u8]>>) {
        let mut deallocates = VecDeque::new();
        let mut renamed = Vec::new();
        let mut from = 0_usize;
        for NameUse { verb, name, at } in uses {
            let name = name.get(..LONGEST_NAME).unwrap_or(name);
            let Some(found) = self.names.get(name).cloned() else { continue };
            match verb {
                Verb::Prepare => {
                    // The server has the name too when it reads this, and says so.
                    put_parse(out, name, b"\0\0\0");
                    self.owed.push(Kind::Parse, Whose::Ours, Undo::Nothing);
                    self.taken.get_or_insert_with(|| name.into());
                    continue;
                }
                Verb::Execute => self.prepare(&found, shelf, out),
                Verb::Deallocate => {
                    deallocates.push_back(name.into());
                    if !shelf.prepared.has(found.id()) {
                        // Something that the server can forget.
                        put_parse(out, found.name().as_bytes(), b"\0\0\0");
                        shelf.prepared.insert(found.id(), DUMMY);
                        self.owed.push(Kind::Parse, Whose::Ours, Undo::Prepared(found.id()));
                    }
                }
            }
            renamed.extend_from_slice(text.get(from..at.start).unwrap_or_default());
            renamed.extend_from_slice(found.name().as_bytes());
            from = at.end;
        }
        if from == 0 {
            return (Cow::Borrowed(text), deallocates);
        }
        renamed.extend_from_slice(text.get(from..).unwrap_or_default());
        (Cow::Owned(renamed), deallocates)
    }

    /// The client sends Sync. Writes what is to follow it. True if nothing more may be sent before
    /// it is answered: what comes next builds on what may yet fail.
    pub(super) fn sync(&mut self, out: &mut BytesMut) -> bool {
        self.as_it_is(Kind::Sync);
        self.clean_up(out);
        std::mem::take(&mut self.assumed)
    }

    /// A name is taken at the server.
    pub(super) fn is_untidy(&self) -> bool {
        self.taken.is_some()
    }

    /// Behind what has been refused: the name that was taken for it is free again.
    pub(super) fn clean_up(&mut self, out: &mut BytesMut) {
        if let Some(name) = self.taken.take() {
            put_close(out, &name);
            put_empty(out, b'S');
            self.owed.push(Kind::Close, Whose::Ours, Undo::Nothing);
            self.owed.push(Kind::Sync, Whose::Ours, Undo::Nothing);
        }
    }

    fn assume(&mut self, kind: Kind, whose: Whose, undo: Undo) {
        self.assumed = true;
        self.owed.push(kind, whose, undo);
    }
}

pub(super) fn cost(name: &[u8], text: &Text) -> usize {
    name.len().saturating_add(text.body().len()).saturating_add(OVERHEAD)
}
