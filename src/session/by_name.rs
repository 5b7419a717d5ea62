//! Texts of SQL that name prepared statements: what they may change beyond what they say
//! themselves, and what has to go behind them.

use std::sync::Arc;

use bytes::BytesMut;

use super::messages::{put_close, put_empty};
use super::owed::{Kind, Whose};
use super::scan::{Meaning, NameUse, Verb};
use super::statements::{Statements, Undo};
use super::texts::Text;
use crate::pool::Ties;

impl Statements {
    /// What a text may change, with what it executes.
    pub(super) fn with_executed(&mut self, mut meaning: Meaning) -> Meaning {
        let names = std::mem::take(&mut meaning.names);
        if names.iter().any(|used| used.verb == Verb::Prepare) {
            let mut prepared = meaning.clone();
            prepared.ties.remove(Ties::PREPARED);
            self.by_sql.absorb(&prepared);
        }
        for used in names.iter().filter(|used| used.verb == Verb::Execute) {
            let found = self.names.get(used.name.as_slice()).or_else(|| self.at_server(used));
            match found {
                Some(text) => meaning.absorb(text.meaning()),
                // One that has been closed since its name was written there.
                None if used.name.starts_with(b"leasehold_") => meaning.any_setting = true,
                None => meaning.absorb(&self.by_sql),
            }
        }
        Meaning { names, ..meaning }
    }

    /// The text that has this name at the server.
    fn at_server(&self, used: &NameUse) -> Option<&Arc<Text>> {
        self.names.values().find(|text| text.name().as_bytes() == used.name)
    }

    /// What the client calls the statement that a text of its own deallocates.
    pub(super) fn called(&self, used: &NameUse) -> Option<Box<[u8]>> {
        let is_it = |text: &Arc<Text>| used.verb == Verb::Deallocate && text.name().as_bytes() == used.name;
        self.names.iter().find(|(_, text)| is_it(text)).map(|(name, _)| name.clone())
    }

    /// Behind a Query with messages of our own ahead of it: should one of those fail, the server
    /// passes over the Query, and says no more before a Sync.
    pub(super) fn sync_behind(&mut self, out: &mut BytesMut) {
        if let Some(name) = self.taken.take() {
            put_close(out, &name);
            self.owed.push(Kind::Close, Whose::Ours, Undo::Nothing);
        }
        put_empty(out, b'S');
        self.owed.push(Kind::Sync, Whose::Ours, Undo::Nothing);
    }
}
