//! What the body of a function or of a `DO` block leaves behind in its connection by itself, as its words
//! say. One-sided: a word in a comment or a string counts as well, since what is executed may stand there.

use std::collections::BTreeSet;

use super::ties::Ties;

/// What may be other once a body was executed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaves {
    /// What ties the session to its upstream.
    pub ties: Ties,
    /// Any setting of the session.
    pub settings: bool,
    /// Of those, the ones that are written out and have a dot; in lower case. The server does not list them.
    pub names: BTreeSet<String>,
}

impl Leaves {
    /// Whether it leaves nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ties.is_empty() && !self.settings
    }

    /// What another one leaves, too. True if that was not known.
    pub(super) fn add(&mut self, other: &Self) -> bool {
        let before = (self.ties, self.settings, self.names.len());
        self.ties.add(other.ties);
        self.settings |= other.settings;
        self.names.extend(other.names.iter().cloned());
        before != (self.ties, self.settings, self.names.len())
    }
}

pub(super) type Words = BTreeSet<Vec<u8>>;

/// What a body may leave behind itself, whatever it calls.
#[must_use]
pub fn left_by(body: &[u8]) -> Leaves {
    let words = words_of(body);
    let mut left = Leaves { ties: own_ties(&words), ..Leaves::default() };
    let has = |word: &str| words.contains(word.as_bytes());
    if has("set") || has("set_config") || has("reset") {
        settings(body, &mut left);
        // A comment hides what stands before a statement; what looks like one may be none.
        let bare = without_comments(body);
        if bare != body {
            settings(&bare, &mut left);
        }
    }
    left
}

pub(super) fn lower(name: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(name).to_lowercase().into_bytes()
}

pub(super) fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

/// Everything that looks like an identifier or is in double quotes, in lower case.
pub(super) fn words_of(text: &[u8]) -> Words {
    let quoted = text.split(|byte| *byte == b'"');
    // Behind the dollar signs of a nested body may stand a word.
    let inner = text.split(|byte| !is_of_word(*byte) || *byte == b'$');
    let bare = text.split(|byte| !is_of_word(*byte)).chain(inner);
    // In quotes may be what is no word; which pieces are in quotes is not told apart.
    let quoted = quoted.filter(|piece| piece.len() < 64 && !piece.iter().all(|byte| is_of_word(*byte)));
    bare.chain(quoted).filter(|word| !word.is_empty()).map(lower).collect()
}

/// Not LOAD: whether it did cannot be asked.
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

/// `set_config`, and SET and RESET where a statement may begin: not those of UPDATE and ALTER.
fn settings(body: &[u8], left: &mut Leaves) {
    let mut from = 0_usize;
    for piece in body.split(|byte| !is_of_word(*byte) || *byte == b'$') {
        let at = from;
        let end = at.saturating_add(piece.len());
        from = end.saturating_add(1);
        let (before, behind) = (body.get(..at).unwrap_or_default(), body.get(end..).unwrap_or_default());
        let word = piece.to_ascii_lowercase();
        let name = match word.as_slice() {
            b"set_config" if !is_local(behind) => first_literal(behind),
            b"set" if begins_statement(before) && !is_of_transaction(behind) => first_name(behind),
            b"reset" if begins_statement(before) => first_name(behind),
            _ => continue,
        };
        left.settings = true;
        if name.contains(&b'.') {
            left.names.insert(String::from_utf8_lossy(name).to_ascii_lowercase());
        }
    }
}

/// Whether a statement may begin behind this.
fn begins_statement(before: &[u8]) -> bool {
    let before = before.trim_ascii_end();
    let last = before.rsplit(|byte| !is_of_word(*byte)).next().unwrap_or_default();
    match before.last() {
        // Of a string that is executed, the end of a label, the beginning of a nested body.
        None | Some(b';' | b'\'' | b'>' | b'$') => true,
        _ => [&b"begin"[..], b"atomic", b"then", b"else", b"loop"]
            .iter()
            .any(|word| last.eq_ignore_ascii_case(word)),
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| !is_of_word(*byte)).filter(|word| !word.is_empty())
}

/// `SET LOCAL`, `SET TRANSACTION`, `SET CONSTRAINTS`: gone with the transaction.
fn is_of_transaction(behind: &[u8]) -> bool {
    let is = |word: &[u8], keyword: &str| word.eq_ignore_ascii_case(keyword.as_bytes());
    words(behind)
        .next()
        .is_some_and(|word| is(word, "local") || is(word, "transaction") || is(word, "constraints"))
}

/// A name, with its dots, behind `SET` or `SET SESSION`.
fn first_name(behind: &[u8]) -> &[u8] {
    let text = behind.trim_ascii_start();
    let text = match text.split_at_checked(b"session".len()) {
        Some((word, rest)) if word.eq_ignore_ascii_case(b"session") => rest.trim_ascii_start(),
        _ => text,
    };
    let length = text.iter().position(|byte| !is_of_word(*byte) && *byte != b'.').unwrap_or(text.len());
    text.get(..length).unwrap_or_default()
}

/// The string that a call begins with; in one that is executed, its quotes are doubled.
fn first_literal(behind: &[u8]) -> &[u8] {
    let behind = behind.trim_ascii_start();
    let Some(inner) = behind.strip_prefix(b"(") else { return b"" };
    let inner = inner.trim_ascii_start();
    let quotes = inner.iter().take_while(|byte| **byte == b'\'').count();
    if quotes == 0 {
        return b"";
    }
    let text = inner.get(quotes..).unwrap_or_default();
    text.split(|byte| *byte == b'\'').next().unwrap_or_default()
}

/// Whether the arguments of a `set_config` end with `true`: it is gone with its transaction.
fn is_local(behind: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut quoted = false;
    for (at, byte) in behind.iter().enumerate() {
        match byte {
            b'\'' => quoted = !quoted,
            b'(' if !quoted => depth = depth.saturating_add(1),
            b')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && *byte == b')' && !quoted {
            let arguments = behind.get(..at).unwrap_or_default().trim_ascii_end();
            let Some((rest, last)) = arguments.split_at_checked(arguments.len().saturating_sub(4)) else {
                return false;
            };
            return last.eq_ignore_ascii_case(b"true") && rest.trim_ascii_end().ends_with(b",");
        }
    }
    false
}

/// With a space for each comment.
fn without_comments(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(first) = rest.first() {
        let end = if rest.starts_with(b"--") {
            memchr::memchr(b'\n', rest)
        } else if rest.starts_with(b"/*") {
            memchr::memmem::find(rest, b"*/").map(|end| end.saturating_add(2))
        } else {
            out.push(*first);
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        out.push(b' ');
        rest = end.and_then(|end| rest.get(end..)).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_beyond_the_transaction_are_told_from_those_that_are_not() {
        for (body, settings, names) in [
            ("SELECT 1", false, ""),
            ("UPDATE t SET a = 1; ALTER TABLE t SET LOGGED", false, ""),
            ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 2", false, ""),
            ("UPDATE \"T\" AS \"x\" SET a = 1", false, ""),
            ("BEGIN SET TimeZone = 'UTC'; END", true, ""),
            ("BEGIN SET LOCAL app.x = '1'; SET TRANSACTION READ ONLY; END", false, ""),
            ("BEGIN IF a THEN SET SESSION App.Tenant = 'x'; END IF; END", true, "app.tenant"),
            ("BEGIN -- it follows\n SET app.x TO '1'; END", true, "app.x"),
            ("BEGIN /* ; */ /* */ SET ROLE a; END", true, ""),
            ("BEGIN EXECUTE 'SET app.a = 1'; EXECUTE format('set app.b = %L', x); END", true, "app.a app.b"),
            ("BEGIN EXECUTE 'SELECT set_config(''app.c'', ''1'', false)'; END", true, "app.c"),
            ("SELECT set_config('app.d', $1, false)", true, "app.d"),
            ("SELECT pg_catalog.set_config ( 'app.d' , (f(')')), TRUE )", false, ""),
            ("SELECT set_config('app.d', 'true', is_local)", true, "app.d"),
            ("SELECT set_config($1, $2, not_true)", true, ""),
            ("SELECT set_config(name, 'x', false), 'set'", true, ""),
            ("BEGIN RESET app.e; END", true, "app.e"),
            ("DO $$ BEGIN PERFORM set_config('app.f', '', false); END $$", true, "app.f"),
            ("DO $$SET app.g = 1$$", true, "app.g"),
            ("BEGIN <<here>> SET x = 1; END", true, ""),
            ("SELECT offset_config(1), preset FROM t", false, ""),
            ("set_config(", true, ""),
            ("/* set", false, ""),
        ] {
            let left = left_by(body.as_bytes());
            let found: Vec<&str> = left.names.iter().map(String::as_str).collect();
            assert_eq!((left.settings, found.join(" ").as_str()), (settings, names), "{body}");
        }
    }
}
