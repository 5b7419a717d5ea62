//! What a server's answers change in the books of statements: what was completed, and what was
//! assumed and did not come true.

use std::sync::Arc;

use super::answers::Tag;
use super::owed::{Entry, Kind, Whose};
use super::statements::{Statements, UNKNOWN, Undo, Unnamed, cost};
use super::texts::Text;
use crate::pool::Prepared;

impl Statements {
    /// An answer of the extended protocol.
    pub(super) fn heard(&mut self, answer: u8) {
        if let Some(Entry { undo: Undo::Parsed(name, _), .. }) = self.owed.heard(answer)
            && let Some(text) = self.names.get(&name)
        {
            text.prove();
        }
    }

    /// A CommandComplete with this tag.
    pub(super) fn completed(&mut self, tag: Tag, prepared: &mut Prepared) {
        match tag {
            Tag::AllGone => {
                self.names.clear();
                self.bytes = 0;
                let unnamed = prepared.unnamed;
                prepared.clear();
                prepared.unnamed = unnamed;
            }
            Tag::Deallocate => {
                let name = match self.owed.undos().next() {
                    Some(Undo::Deallocates { names, .. }) => names.pop_front(),
                    _ => None,
                };
                if let Some(text) = name.and_then(|name| self.forget(&name)) {
                    prepared.remove(text.id());
                }
            }
            Tag::Other => {}
        }
    }

    /// An error: what the server did not do is taken back.
    pub(super) fn failed(&mut self, sqlstate: &str, message: &str, prepared: &mut Prepared) {
        let mut dropped = self.owed.failed();
        if is_stale(sqlstate, message)
            && let Some(Entry { undo: Undo::Bound(text), .. }) = dropped.first()
        {
            text.outdate();
        }
        let touched = dropped.iter().position(touches_unnamed);
        let touched = touched.filter(|_| !self.owed.entries().any(touches_unnamed));
        if let Some(at) = touched {
            // What was passed over has changed nothing.
            prepared.unnamed = match dropped.get(at).map(|entry| &entry.undo) {
                Some(Undo::Unnamed(_, _, there) | Undo::Aligned(there)) if at > 0 => *there,
                _ => Some(UNKNOWN),
            };
        }
        // What was sent ahead of a Query failed: to the client it is the Query that did.
        if dropped.first().is_some_and(|entry| entry.whose == Whose::Ours)
            && let Some(next) = dropped.iter_mut().find(|entry| entry.whose != Whose::Ours)
            && next.kind == Kind::Query
        {
            next.undo = Undo::Nothing;
            self.owed.pass_sync_on();
        }
        while let Some(entry) = dropped.pop() {
            let failed_itself = dropped.is_empty();
            self.undo(entry, failed_itself, prepared);
        }
        if touched.is_some() {
            self.unnamed_is_mine = prepared.unnamed.is_none_or(|serial| Some(serial) == self.serial());
        }
    }

    /// The upstream is gone: nothing of what is owed will come.
    pub(super) fn loses(&mut self, prepared: &mut Prepared) {
        while !self.owed.is_empty() {
            self.failed("", "", prepared);
            if self.owed.front().is_some() && self.owed.heard(b'Z').is_none() {
                break;
            }
        }
        self.owed.reset();
        self.taken = None;
    }

    fn undo(&mut self, entry: Entry<Undo>, failed_itself: bool, prepared: &mut Prepared) {
        let undo = match entry.undo {
            Undo::Deallocates { query: true, unnamed, .. } => Undo::Unnamed(unnamed, None, None),
            undo => undo,
        };
        match undo {
            Undo::Nothing | Undo::Aligned(_) | Undo::Bound(_) | Undo::Deallocates { .. } => {}
            Undo::Unnamed(before, then, _) => {
                // A Parse that fails has dropped the old one already.
                let before = before.filter(|_| !failed_itself);
                let serial = |unnamed: &Option<Arc<Unnamed>>| unnamed.as_ref().map(|unnamed| unnamed.serial);
                let later = self.owed.undos().find_map(|undo| match undo {
                    Undo::Unnamed(known, _, _) if serial(known) == then => Some(known),
                    _ => None,
                });
                match later {
                    Some(known) => *known = before,
                    None if serial(&self.unnamed) == then => self.unnamed = before,
                    None => {}
                }
            }
            Undo::Name(name, before) => self.put_name(&name, before),
            Undo::Parsed(name, id) => {
                self.forget(&name);
                prepared.remove(id);
            }
            Undo::Prepared(id) => {
                prepared.remove(id);
            }
            Undo::Kept(id, version) => prepared.insert(id, version),
        }
    }

    fn put_name(&mut self, name: &[u8], text: Option<Arc<Text>>) {
        self.forget(name);
        if let Some(text) = text {
            self.bytes = self.bytes.saturating_add(cost(name, &text));
            self.names.insert(name.into(), text);
        }
    }
}

/// Whether a server refuses a prepared statement whose result would have another shape by now.
pub(super) fn is_stale(sqlstate: &str, message: &str) -> bool {
    sqlstate == "0A000" && message.starts_with("cached plan must not change result type")
}

/// Whether the server's unnamed statement is another one behind it.
fn touches_unnamed(entry: &Entry<Undo>) -> bool {
    entry.kind == Kind::Query
        || matches!(entry.undo, Undo::Aligned(_) | Undo::Unnamed(..) | Undo::Deallocates { query: true, .. })
}
