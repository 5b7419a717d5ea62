//! What a text of SQL may change about its session, by its first words and a few names.
//!
//! The rule is one-sided: what cannot be told is taken for a change, and the server is asked
//! what came of it. Most texts are told by their first word and one search for `;` and `_`.

use std::ops::Range;

use super::lexer::{Lexer, Token};
use crate::pool::{Leaves, Ties, left_by};

/// What may be other afterwards; nothing for most texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Meaning {
    /// Settings of the session, in lower case.
    pub(super) settings: Vec<String>,
    /// Any setting of the session.
    pub(super) any_setting: bool,
    /// Some of them go back to what the session began with.
    pub(super) resets: bool,
    /// Statements are used or forgotten by SQL.
    pub(super) names: Vec<NameUse>,
    /// All statements are forgotten, or some that cannot be told.
    pub(super) forgets: bool,
    /// What ties the session to its upstream from then on.
    pub(super) ties: Ties,
    /// Something that tied it may be gone.
    pub(super) unties: bool,
}

/// A prepared statement that is named in SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameUse {
    pub(super) verb: Verb,
    /// As PostgreSQL reads it.
    pub(super) name: Vec<u8>,
    /// Where it stands in the text.
    pub(super) at: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Prepare,
    Execute,
    Deallocate,
}

impl Meaning {
    /// Nothing is known of the text.
    pub(super) fn unknown() -> Self {
        Self { any_setting: true, resets: true, forgets: true, ..Self::default() }
    }

    /// What another text may change, too. What that one names in its turn is not looked up.
    pub(super) fn absorb(&mut self, other: &Self) {
        let new = other.settings.iter().filter(|name| !self.settings.contains(name));
        let new: Vec<String> = new.cloned().collect();
        self.settings.extend(new);
        self.any_setting |= other.any_setting || !other.names.is_empty();
        self.resets |= other.resets || !other.names.is_empty();
        self.forgets |= other.forgets;
        self.ties.add(other.ties);
        self.unties |= other.unties;
    }

    /// What it calls leaves this behind.
    pub(super) fn calls(&mut self, left: &Leaves) {
        self.ties.add(left.ties);
        self.any_setting |= left.settings;
        let new = left.names.iter().filter(|name| !self.settings.contains(name));
        let new: Vec<String> = new.cloned().collect();
        self.settings.extend(new);
    }

    /// Nothing will be other.
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// First words of statements that leave the session as it is, whatever follows, but for the
/// functions that they may call.
const PLAIN: &[&str] = &[
    "select",
    "insert",
    "update",
    "delete",
    "with",
    "begin",
    "commit",
    "end",
    "rollback",
    "abort",
    "start",
    "savepoint",
    "release",
    "show",
    "fetch",
    "move",
    "values",
    "table",
    "lock",
    "copy",
    "merge",
    "truncate",
    "vacuum",
    "analyze",
    "grant",
    "revoke",
    "notify",
    "explain",
    "refresh",
];

/// Reads a text.
pub(super) fn meaning(text: &[u8]) -> Meaning {
    if is_plain(text) { Meaning::default() } else { Reader::new(text).read() }
}

fn is_plain(text: &[u8]) -> bool {
    let mut lexer = Lexer::new(text);
    let known = match lexer.next() {
        None => return true,
        Some((_, Token::Word(word))) => PLAIN.iter().any(|plain| word.eq_ignore_ascii_case(plain.as_bytes())),
        Some(_) => false,
    };
    if !known {
        return false;
    }
    // To begin a search costs more than to look at so few bytes.
    if text.len() <= SHORT {
        let marks = text.iter().enumerate().filter(|(_, byte)| is_mark(**byte));
        return marks.into_iter().all(|(at, _)| is_harmless(text, at));
    }
    memchr::memchr3_iter(b';', b'_', b'&', text).all(|at| is_harmless(text, at))
        && memchr::memchr2_iter(b't', b'T', text).all(|at| is_harmless(text, at))
}

/// A text that is looked at byte by byte.
const SHORT: usize = 200;

/// What may be in the middle of something that matters.
#[inline]
fn is_mark(byte: u8) -> bool {
    const MARKS: [bool; 256] = {
        let mut marks = [false; 256];
        marks[b';' as usize] = true;
        marks[b'_' as usize] = true;
        marks[b'&' as usize] = true;
        marks[b't' as usize] = true;
        marks[b'T' as usize] = true;
        marks
    };
    MARKS.get(usize::from(byte)).copied().unwrap_or(true)
}

/// Whether nothing comes of what stands at this place.
#[inline]
fn is_harmless(text: &[u8], at: usize) -> bool {
    let (before, rest) = text.split_at_checked(at).unwrap_or_default();
    let Some((mark, behind)) = rest.split_first() else { return true };
    match mark {
        b';' => behind.iter().all(|byte| byte.is_ascii_whitespace() || *byte == b';'),
        b'_' => !(begins(behind, b"advisory_") || begins(behind, b"config") && ends(before, b"set")),
        // SELECT … INTO TEMP makes a table; rare enough to search for its word in what begins so.
        b't' | b'T' => {
            let is_word = before.last().is_some_and(u8::is_ascii_whitespace) && begins(behind, b"emp");
            !(is_word && (begins(behind, b"emporary") || behind.get(3).is_some_and(u8::is_ascii_whitespace)))
        }
        // An identifier with escapes.
        _ => !(ends(before, b"u") && begins(behind, b"\"")),
    }
}

fn begins(text: &[u8], with: &[u8]) -> bool {
    text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
}

fn ends(text: &[u8], with: &[u8]) -> bool {
    let start = text.len().checked_sub(with.len());
    start.and_then(|start| text.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(with))
}

type Placed<'a> = (Range<usize>, Token<'a>);

struct Reader<'a> {
    tokens: Vec<Placed<'a>>,
    doubtful: bool,
    out: Meaning,
}

impl<'a> Reader<'a> {
    fn new(text: &'a [u8]) -> Self {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        while let Some((start, token)) = lexer.next() {
            tokens.push((start..lexer.at(), token));
        }
        Self { tokens, doubtful: lexer.doubtful(), out: Meaning::default() }
    }

    fn read(mut self) -> Meaning {
        if self.doubtful {
            return Meaning::unknown();
        }
        let tokens = std::mem::take(&mut self.tokens);
        for statement in tokens.split(|(_, token)| *token == Token::Symbol(b';')) {
            self.statement(statement);
        }
        self.out
    }

    fn statement(&mut self, tokens: &[Placed<'_>]) {
        self.functions(tokens);
        let Some(((_, first), rest)) = tokens.split_first() else { return };
        let Token::Word(word) = first else { return };
        match word.to_ascii_lowercase().as_slice() {
            b"set" => self.set(rest),
            b"reset" => self.reset(rest),
            b"discard" => self.discard(rest),
            b"deallocate" => self.deallocate(rest),
            b"execute" => self.name_use(Verb::Execute, rest),
            b"prepare" if !is(rest, 0, "transaction") => {
                self.name_use(Verb::Prepare, rest);
                self.out.ties.add(Ties::PREPARED);
            }
            b"unlisten" | b"drop" | b"close" => self.out.unties = true,
            b"call" => self.out.any_setting = true,
            b"do" => {
                self.out.any_setting = true;
                for body in rest.iter().filter_map(|(_, token)| token.text()) {
                    self.out.calls(&left_by(body));
                }
            }
            b"listen" => self.out.ties.add(Ties::LISTEN),
            b"load" => self.out.ties.add(Ties::LOADED),
            b"declare" if has(rest, "hold") && !has(rest, "without") => self.out.ties.add(Ties::HELD),
            b"create" | b"select" | b"with" if has(rest, "temp") || has(rest, "temporary") => {
                self.out.ties.add(Ties::TEMPORARY);
            }
            _ => {}
        }
    }

    /// Functions that change the session wherever they are called.
    fn functions(&mut self, tokens: &[Placed<'_>]) {
        for (at, (_, token)) in tokens.iter().enumerate() {
            let (Token::Word(name) | Token::Quoted(name)) = token else { continue };
            if name.eq_ignore_ascii_case(b"set_config") {
                self.set_config(tokens.get(at..).unwrap_or_default());
            } else if contains(name, b"advisory_lock") {
                self.out.ties.add(Ties::ADVISORY);
            } else if contains(name, b"advisory_unlock") {
                self.out.unties = true;
            }
        }
    }

    /// `set_config('name', value, is_local)`: the name can be told if it is written out.
    fn set_config(&mut self, tokens: &[Placed<'_>]) {
        let token = |at: usize| tokens.get(at).map(|(_, token)| *token);
        let (Some(Token::Symbol(b'(')), Some(Token::Text(name)), Some(Token::Symbol(b','))) =
            (token(1), token(2), token(3))
        else {
            self.out.any_setting = true;
            return;
        };
        let mut depth = 0_usize;
        let mut commas = 0_usize;
        for (at, (_, token)) in tokens.iter().enumerate() {
            match token {
                Token::Symbol(b'(') => depth = depth.saturating_add(1),
                Token::Symbol(b')') => depth = depth.saturating_sub(1),
                Token::Symbol(b',') if depth == 1 => {
                    commas = commas.saturating_add(1);
                    if commas == 2
                        && is(tokens, at.saturating_add(1), "true")
                        && tokens.get(at.saturating_add(2)).map(|(_, t)| *t) == Some(Token::Symbol(b')'))
                    {
                        return; // Gone with its transaction.
                    }
                }
                _ => {}
            }
            if depth == 0 && at > 0 {
                break;
            }
        }
        self.touch(&String::from_utf8_lossy(name));
    }

    fn touch(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        if !self.out.settings.contains(&name) {
            self.out.settings.push(name);
        }
    }

    fn set(&mut self, mut tokens: &[Placed<'_>]) {
        if is(tokens, 0, "local") || is(tokens, 0, "transaction") || is(tokens, 0, "constraints") {
            return; // Gone with its transaction.
        }
        if is(tokens, 0, "session") {
            tokens = tokens.get(1..).unwrap_or_default();
            if is(tokens, 0, "characteristics") {
                for name in ["isolation", "read_only", "deferrable"] {
                    self.touch(&format!("default_transaction_{name}"));
                }
                return;
            }
            if is(tokens, 0, "authorization") {
                return self.authorization(is(tokens, 1, "default"));
            }
        }
        let special: &[(&[&str], &str)] = &[
            (&["time", "zone"], "timezone"),
            (&["names"], "client_encoding"),
            (&["schema"], "search_path"),
            (&["role"], "role"),
            (&["xml", "option"], "xmloption"),
        ];
        for (words, name) in special {
            let spelt = words.iter().enumerate().all(|(at, word)| is(tokens, at, word));
            // `SET role = x` and its like are ordinary.
            let value = tokens.get(words.len());
            if spelt && value.is_some_and(|(_, token)| *token != Token::Symbol(b'=') && !token.is("to")) {
                self.out.resets |= value.is_some_and(|(_, t)| t.is("default") || t.is("local"));
                return self.touch(name);
            }
        }
        match setting_name(tokens) {
            Some((name, rest)) => {
                self.out.resets |= is(rest, 1, "default");
                self.touch(&name);
            }
            None => self.out.any_setting = true,
        }
    }

    fn authorization(&mut self, resets: bool) {
        self.out.resets |= resets;
        self.touch("session_authorization");
        self.touch("role");
    }

    fn reset(&mut self, tokens: &[Placed<'_>]) {
        self.out.resets = true;
        if is(tokens, 0, "session") && is(tokens, 1, "authorization") {
            self.authorization(true);
        } else if is(tokens, 0, "time") && is(tokens, 1, "zone") {
            self.touch("timezone");
        } else {
            // To the server's own value, which only it knows.
            self.out.any_setting = true;
            if let Some((name, _)) = setting_name(tokens).filter(|(name, _)| name != "all") {
                self.touch(&name);
            }
        }
    }

    fn discard(&mut self, tokens: &[Placed<'_>]) {
        self.out.unties = true;
        if is(tokens, 0, "all") {
            self.out.any_setting = true;
            self.out.resets = true;
            self.out.forgets = true;
        }
    }

    fn deallocate(&mut self, mut tokens: &[Placed<'_>]) {
        self.out.unties = true;
        if is(tokens, 0, "prepare") && tokens.len() > 1 {
            tokens = tokens.get(1..).unwrap_or_default();
        }
        if is(tokens, 0, "all") {
            self.out.forgets = true;
        } else {
            self.name_use(Verb::Deallocate, tokens);
        }
    }

    fn name_use(&mut self, verb: Verb, tokens: &[Placed<'_>]) {
        if let Some((at, token)) = tokens.first()
            && let Some(name) = identifier(token)
        {
            self.out.names.push(NameUse { verb, name, at: at.clone() });
        }
    }
}

fn is(tokens: &[Placed<'_>], at: usize, keyword: &str) -> bool {
    tokens.get(at).is_some_and(|(_, token)| token.is(keyword))
}

fn has(tokens: &[Placed<'_>], keyword: &str) -> bool {
    tokens.iter().any(|(_, token)| token.is(keyword))
}

fn contains(name: &[u8], part: &[u8]) -> bool {
    name.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

/// An identifier as PostgreSQL reads it.
fn identifier(token: &Token<'_>) -> Option<Vec<u8>> {
    match token {
        Token::Word(word) => Some(word.to_ascii_lowercase()),
        Token::Quoted(inner) => {
            let mut out = Vec::with_capacity(inner.len());
            let mut doubled = false;
            for byte in *inner {
                doubled = *byte == b'"' && !doubled;
                if !doubled || *byte != b'"' {
                    out.push(*byte);
                }
            }
            Some(out)
        }
        _ => None,
    }
}

/// A setting's name in lower case, and what follows it.
fn setting_name<'t, 'a>(tokens: &'t [Placed<'a>]) -> Option<(String, &'t [Placed<'a>])> {
    let mut name = String::new();
    let mut rest = tokens;
    loop {
        let ((_, token), tail) = rest.split_first()?;
        name.push_str(&String::from_utf8_lossy(&identifier(token)?).to_ascii_lowercase());
        rest = tail;
        match rest.first() {
            Some((_, Token::Symbol(b'.'))) => {
                name.push('.');
                rest = rest.get(1..).unwrap_or_default();
            }
            _ => return Some((name, rest)),
        }
    }
}

#[cfg(test)]
mod tests;
