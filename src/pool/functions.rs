//! Functions of the database that leave state in their connection: found in their sources, followed
//! through those that call them. One-sided: a word in a comment counts as well.

use std::collections::HashMap;

use super::bodies::{Leaves, Words, is_of_word, left_by, lower, words_of};

/// What functions may leave behind, by their names in lower case, whatever their schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Functions {
    left: HashMap<Box<[u8]>, Leaves>,
}

/// A function as pg_proc has it.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) body: &'a str,
}

impl Functions {
    /// Those of these functions that leave something behind.
    pub(super) fn of(sources: &[Source<'_>]) -> Self {
        let mut found = Self::default();
        let mut bodies: Vec<(Box<[u8]>, Words)> = Vec::with_capacity(sources.len());
        for source in sources {
            let name: Box<[u8]> = source.name.to_lowercase().into_bytes().into();
            found.add(&name, &left_by(source.body.as_bytes()));
            bodies.push((name, words_of(source.body.as_bytes())));
        }
        loop {
            let mut more = false;
            for (name, words) in &bodies {
                let left = found.among(words.iter().map(Vec::as_slice));
                more |= found.add(name, &left);
            }
            if !more {
                return found;
            }
        }
    }

    /// True if that was not known.
    fn add(&mut self, name: &[u8], left: &Leaves) -> bool {
        !left.is_empty() && self.left.entry(name.into()).or_default().add(left)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    fn among<'a>(&self, names: impl Iterator<Item = &'a [u8]>) -> Leaves {
        let mut left = Leaves::default();
        for found in names.filter_map(|name| self.left.get(name)) {
            left.add(found);
        }
        left
    }

    /// What a text may leave behind by calling some of them: their names before a bracket, or anywhere if
    /// there is a comment, which may stand between the two.
    #[must_use]
    pub fn called_in(&self, text: &[u8]) -> Leaves {
        let mut left = Leaves::default();
        if self.is_empty() {
            return left;
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
            if let Some(found) = self.left.get(lower(name).as_slice()) {
                left.add(found);
            }
        }
        left
    }
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
            ("enter", "SELECT set_config('app.tenant', $1, false)"),
            ("log_in", "SELECT enter($1)"),
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
            assert_eq!(found.among([name.as_bytes()].into_iter()).ties.to_string(), expected, "{name}");
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
            assert_eq!(found.called_in(text.as_bytes()).ties.to_string(), expected, "{text}");
        }
        let left = found.called_in(b"SELECT log_in('x')");
        assert!(left.settings && left.ties.is_empty() && left.names.contains("app.tenant"), "{left:?}");
        assert!(!found.called_in(b"SELECT take_lock(1)").settings);
        assert!(Functions::default().called_in(b"SELECT take_lock(1)").is_empty());
    }
}
