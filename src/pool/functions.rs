//! Functions of the database that leave state in their connection: found in their sources, followed
//! through those that call them. One-sided: a word in a comment counts as well.

use std::collections::{BTreeSet, HashMap};

use super::ties::Ties;

/// What functions may leave behind, by their names in lower case, whatever their schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Functions {
    ties: HashMap<Box<[u8]>, Ties>,
}

type Words = BTreeSet<Vec<u8>>;

/// A function as pg_proc has it.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) body: &'a str,
}

impl Functions {
    /// Those of these functions that leave something behind.
    pub(super) fn of(sources: &[Source<'_>]) -> Self {
        let bodies: Vec<(Box<[u8]>, Words)> = sources
            .iter()
            .map(|source| (source.name.to_lowercase().into_bytes().into(), words_of(source.body.as_bytes())))
            .collect();
        let mut found = Self::default();
        for (name, words) in &bodies {
            found.add(name, own_ties(words));
        }
        loop {
            let mut more = false;
            for (name, words) in &bodies {
                let ties = found.among(words.iter().map(Vec::as_slice));
                more |= found.add(name, ties);
            }
            if !more {
                return found;
            }
        }
    }

    /// True if that was not known.
    fn add(&mut self, name: &[u8], ties: Ties) -> bool {
        if ties.is_empty() {
            return false;
        }
        let known = self.ties.entry(name.into()).or_default();
        let before = *known;
        known.add(ties);
        *known != before
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ties.is_empty()
    }

    fn among<'a>(&self, names: impl Iterator<Item = &'a [u8]>) -> Ties {
        let mut ties = Ties::default();
        for found in names.filter_map(|name| self.ties.get(name)) {
            ties.add(*found);
        }
        ties
    }

    /// What a text may leave behind by calling some of them: their names before a bracket, or anywhere if
    /// there is a comment, which may stand between the two.
    #[must_use]
    pub fn called_in(&self, text: &[u8]) -> Ties {
        let mut ties = Ties::default();
        if self.is_empty() {
            return ties;
        }
        let comments =
            memchr::memmem::find(text, b"--").is_some() || memchr::memmem::find(text, b"/*").is_some();
        if comments {
            return self.among(words_of(text).iter().map(Vec::as_slice));
        }
        for at in memchr::memchr_iter(b'(', text) {
            let before = text.get(..at).unwrap_or_default().trim_ascii_end();
            let name = match before.split_last() {
                Some((b'"', inner)) => inner.rsplit(|byte| *byte == b'"').next().unwrap_or_default(),
                _ => before.rsplit(|byte| !is_of_word(*byte)).next().unwrap_or_default(),
            };
            if !name.is_empty() {
                ties.add(self.among(std::iter::once(lower(name).as_slice())));
            }
        }
        ties
    }
}

fn lower(name: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(name).to_lowercase().into_bytes()
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

/// Everything that looks like an identifier or is in double quotes, in lower case.
fn words_of(text: &[u8]) -> Words {
    let quoted = text.split(|byte| *byte == b'"');
    let bare = text.split(|byte| !is_of_word(*byte));
    // In quotes may be what is no word; which pieces are in quotes is not told apart.
    let quoted = quoted.filter(|piece| piece.len() < 64 && !piece.iter().all(|byte| is_of_word(*byte)));
    bare.chain(quoted).filter(|word| !word.is_empty()).map(lower).collect()
}

/// What a body with these words may leave behind itself. Not LOAD: whether it did cannot be asked.
fn own_ties(words: &Words) -> Ties {
    let has = |word: &str| words.contains(word.as_bytes());
    let mut ties = Ties::default();
    if words.iter().any(|word| memchr::memmem::find(word, b"advisory_lock").is_some()) {
        ties.add(Ties::ADVISORY);
    }
    if (has("create") || has("into")) && (has("temp") || has("temporary") || has("pg_temp")) {
        ties.add(Ties::TEMPORARY);
    }
    if has("listen") {
        ties.add(Ties::LISTEN);
    }
    if has("hold") && has("declare") && has("cursor") {
        ties.add(Ties::HELD);
    }
    if has("prepare") && has("as") {
        ties.add(Ties::PREPARED);
    }
    ties
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions() -> Functions {
        let source = |(name, body)| Source { name, body };
        let sources = [
            ("plain", "SELECT pg_advisory_xact_lock(1); INSERT INTO listeners VALUES (1)"),
            ("outer_one", "BEGIN PERFORM Middle(1); END"),
            ("middle", "BEGIN RETURN app.take_lock(1); END"),
            ("take_lock", "SELECT pg_try_advisory_lock($1)"),
            ("Odd Name", "BEGIN CREATE TEMPORARY TABLE t (n int); END"),
            ("by_quotes", "SELECT \"Odd Name\"()"),
            ("follow", "BEGIN EXECUTE 'LISTEN ' || $1; END"),
            ("follow", "BEGIN EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'; END"),
            ("circle", "SELECT circle(), follow('x')"),
            ("sélect", "EXECUTE 'PREPARE p AS SELECT 1'"),
        ];
        Functions::of(&sources.map(source))
    }

    #[test]
    fn what_leaves_state_behind_is_found_through_its_callers() {
        let found = functions();
        for (name, expected) in [
            ("plain", ""),
            ("take_lock", "advisory_lock"),
            ("middle", "advisory_lock"),
            ("outer_one", "advisory_lock"),
            ("odd name", "temporary"),
            ("by_quotes", "temporary"),
            ("follow", "listen, held_cursor"),
            ("circle", "listen, held_cursor"),
            ("sélect", "prepared"),
        ] {
            assert_eq!(found.among([name.as_bytes()].into_iter()).to_string(), expected, "{name}");
        }
    }

    #[test]
    fn calls_are_found_in_a_text() {
        let found = functions();
        for (text, expected) in [
            ("SELECT 1", ""),
            ("SELECT plain(1)", ""),
            ("SELECT take_lock FROM t", ""),
            ("SELECT * FROM t WHERE x IN (1)", ""),
            ("SELECT App.Take_Lock (1)", "advisory_lock"),
            ("CALL middle\n(1)", "advisory_lock"),
            ("SELECT \"Odd Name\"()", "temporary"),
            ("SELECT \"app\".\"take_lock\"(1)", "advisory_lock"),
            ("SELECT retake_lock(1), take_locks(1)", ""),
            ("SELECT take_lock /* now */ (1)", "advisory_lock"),
            ("SELECT take_lock -- now\n(1)", "advisory_lock"),
            ("SELECT plain(1) /* route */", ""),
            ("DO $$ BEGIN PERFORM follow('x'); END $$", "listen, held_cursor"),
            ("SELECT sélect(take_lock(1))", "prepared, advisory_lock"),
            ("((", ""),
            ("\"(", ""),
        ] {
            assert_eq!(found.called_in(text.as_bytes()).to_string(), expected, "{text}");
        }
        assert!(Functions::default().called_in(b"SELECT take_lock(1)").is_empty());
    }
}
