//! Where the words and strings of a text of SQL are.
//!
//! Source: PostgreSQL manual, "Lexical Structure". What depends on
//! `standard_conforming_strings`, which nobody here knows for sure, makes the text doubtful.

/// A piece of a text that is neither space nor comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or an identifier without quotes, as written.
    Word(&'a [u8]),
    /// What stands between double quotes, doubled ones as written.
    Quoted(&'a [u8]),
    /// What stands between single quotes, or between dollar signs, as written.
    Text(&'a [u8]),
    /// A number, or a parameter such as `$1`.
    Number,
    /// Anything else, byte by byte.
    Symbol(u8),
}

impl<'a> Token<'a> {
    /// What stands between single quotes or dollar signs.
    pub(super) fn text(&self) -> Option<&'a [u8]> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Whether it is this keyword, given in lower case.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword.as_bytes()))
    }
}

/// Reads a text from its beginning.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    doubtful: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, doubtful: false }
    }

    /// Where the next token is looked for.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The tokens so far may be other ones under other settings.
    pub(super) fn doubtful(&self) -> bool {
        self.doubtful
    }

    /// The next token and where it begins; [`Lexer::at`] is its end.
    pub(super) fn next(&mut self) -> Option<(usize, Token<'a>)> {
        self.skip();
        let start = self.at;
        let first = self.peek(0)?;
        let token = match first {
            b'\'' => {
                self.at = self.at.saturating_add(1);
                self.string(false)
            }
            b'"' => {
                self.at = self.at.saturating_add(1);
                Token::Quoted(self.until_quote(b'"', false))
            }
            b'$' => self.dollar(),
            b'0'..=b'9' => {
                self.while_in(|byte| is_word(byte) || byte == b'.');
                Token::Number
            }
            byte if begins_word(byte) => self.word(),
            byte => {
                self.at = self.at.saturating_add(1);
                Token::Symbol(byte)
            }
        };
        Some((start, token))
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at.saturating_add(ahead)).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn while_in(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len());
        self.at = self.at.saturating_add(length);
        rest.get(..length).unwrap_or_default()
    }

    /// Over spaces and comments; those between `/*` and `*/` nest.
    fn skip(&mut self) {
        loop {
            self.while_in(|byte| byte.is_ascii_whitespace() || byte == 0x0b);
            match (self.peek(0), self.peek(1)) {
                (Some(b'-'), Some(b'-')) => {
                    self.while_in(|byte| byte != b'\n' && byte != b'\r');
                }
                (Some(b'/'), Some(b'*')) => self.comment(),
                _ => return,
            }
        }
    }

    fn comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            let (length, change) = match (self.peek(0), self.peek(1)) {
                (Some(b'/'), Some(b'*')) => (2, 1),
                (Some(b'*'), Some(b'/')) => (2, -1),
                (Some(_), _) => (1, 0),
                (None, _) => return,
            };
            self.at = self.at.saturating_add(length);
            depth = depth.saturating_add_signed(change);
            if depth == 0 {
                return;
            }
        }
    }

    fn word(&mut self) -> Token<'a> {
        let word = self.while_in(is_word);
        match (word, self.peek(0), self.peek(1)) {
            ([b'e' | b'E'], Some(b'\''), _) => {
                self.at = self.at.saturating_add(1);
                self.string(true)
            }
            ([b'b' | b'B' | b'x' | b'X' | b'n' | b'N'], Some(b'\''), _) => {
                self.at = self.at.saturating_add(1);
                self.string(false)
            }
            ([b'u' | b'U'], Some(b'&'), Some(b'\'' | b'"')) => {
                // What it spells is written with escapes.
                self.doubtful = true;
                Token::Word(word)
            }
            _ => Token::Word(word),
        }
    }

    fn string(&mut self, escapes: bool) -> Token<'a> {
        let text = self.until_quote(b'\'', escapes);
        self.doubtful |= !escapes && text.contains(&b'\\');
        Token::Text(text)
    }

    fn until_quote(&mut self, quote: u8, escapes: bool) -> &'a [u8] {
        let text = self.rest();
        let mut at = 0_usize;
        loop {
            match text.get(at) {
                None => break,
                Some(b'\\') if escapes => at = at.saturating_add(2),
                Some(byte) if *byte == quote => {
                    if text.get(at.saturating_add(1)) != Some(&quote) {
                        break;
                    }
                    at = at.saturating_add(2);
                }
                Some(_) => at = at.saturating_add(1),
            }
        }
        let at = at.min(text.len());
        self.at = self.at.saturating_add(at).saturating_add(1).min(self.text.len());
        text.get(..at).unwrap_or_default()
    }

    /// A string between dollar signs, or a parameter.
    fn dollar(&mut self) -> Token<'a> {
        let start = self.at;
        self.at = self.at.saturating_add(1);
        if self.peek(0).is_some_and(|byte| byte.is_ascii_digit()) {
            self.while_in(|byte| byte.is_ascii_digit());
            return Token::Number;
        }
        self.while_in(|byte| is_word(byte) && byte != b'$');
        if self.peek(0) != Some(b'$') {
            self.at = start.saturating_add(1);
            return Token::Symbol(b'$');
        }
        self.at = self.at.saturating_add(1);
        let tag = self.text.get(start..self.at).unwrap_or_default();
        let body = self.rest();
        let end = memchr::memmem::find(body, tag);
        let length = end.unwrap_or(body.len());
        let past = end.map_or(length, |end| end.saturating_add(tag.len()));
        self.at = self.at.saturating_add(past);
        Token::Text(body.get(..length).unwrap_or_default())
    }
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str) -> (Vec<Token<'_>>, bool) {
        let mut lexer = Lexer::new(text.as_bytes());
        let mut out = Vec::new();
        while let Some((_, token)) = lexer.next() {
            out.push(token);
        }
        (out, lexer.doubtful())
    }

    #[test]
    fn words_strings_and_comments_are_told_apart() {
        use Token::{Number, Quoted, Symbol, Text, Word};
        for (text, expected) in [
            ("", vec![]),
            ("  -- nothing\n/* nor /* here */ */", vec![]),
            ("SET a_1=2.5", vec![Word(b"SET"), Word(b"a_1"), Symbol(b'='), Number]),
            ("x'1f' b'0' N'ä'", vec![Text(b"1f"), Text(b"0"), Text("ä".as_bytes())]),
            ("'it''s; SET' ;", vec![Text(b"it''s; SET"), Symbol(b';')]),
            (r"E'\'; SET' x", vec![Text(br"\'; SET"), Word(b"x")]),
            ("\"a\"\"b\".c", vec![Quoted(b"a\"\"b"), Symbol(b'.'), Word(b"c")]),
            ("$$ SET; $$ $a$ $$ $a$ $1", vec![Text(b" SET; "), Text(b" $$ "), Number]),
            ("$x", vec![Symbol(b'$'), Word(b"x")]),
            ("a$b", vec![Word(b"a$b")]),
            ("'open", vec![Text(b"open")]),
            ("$$open", vec![Text(b"open")]),
            ("1--2", vec![Number]),
        ] {
            assert_eq!(tokens(text).0, expected, "{text}");
        }
    }

    #[test]
    fn what_a_setting_decides_is_doubtful() {
        for (text, doubtful) in
            [(r"'a\'", true), (r"E'a\''", false), ("'a'", false), (r#"U&"d\0061t""#, true), (r"$$\$$", false)]
        {
            assert_eq!(tokens(text).1, doubtful, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_can_panic_it_and_it_comes_to_the_end(text in "[-/*$'\"\\\\a;eEuU&1 \n]{0,60}") {
            let mut lexer = Lexer::new(text.as_bytes());
            let mut before = 0;
            while let Some((start, _)) = lexer.next() {
                prop_assert!(start >= before && lexer.at() > start);
                before = lexer.at();
            }
        }
    }
}
