//! Cuts a query string into statements and these into words.
//!
//! Knows as much of SQL's lexis as the console needs (PostgreSQL manual,
//! "Lexical Structure"): comments, quoted names and strings, words, signs.

/// A comment, name or string without an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unterminated {0}")]
pub(super) struct Unterminated(pub(super) &'static str);

/// One word of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A bare word, as it was written.
    Word(String),
    /// A quoted name or string, without its quotes.
    Quoted(String),
    /// Anything else.
    Sign(char),
}

impl Token {
    /// Whether it is this keyword, in any case.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// As a person would like to see it quoted back.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Word(text) | Self::Quoted(text) => text.clone(),
            Self::Sign(sign) => sign.to_string(),
        }
    }
}

/// The statements of a query string; those that are empty are left out.
pub(super) fn statements(sql: &str) -> Result<Vec<Vec<Token>>, Unterminated> {
    let mut found = Vec::new();
    let mut current = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = rest.trim_start();
        } else if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, behind)| behind);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = past_comment(comment)?;
        } else if first == '\'' || first == '"' {
            let (text, behind) = quoted(rest, first)?;
            current.push(Token::Quoted(text));
            rest = behind;
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
            // `--` inside a word begins a comment, a single hyphen belongs to a database's name.
            let word = word.split_once("--").map_or(word, |(before, _)| before);
            rest = rest.get(word.len()..).unwrap_or(behind);
            current.push(Token::Word(word.to_owned()));
        } else {
            rest = rest.get(first.len_utf8()..).unwrap_or("");
            if first == ';' {
                found.push(std::mem::take(&mut current));
            } else {
                current.push(Token::Sign(first));
            }
        }
    }
    found.push(current);
    found.retain(|statement| !statement.is_empty());
    Ok(found)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// What follows the end of a comment, which may hold others; `rest` begins behind its `/*`.
fn past_comment(mut rest: &str) -> Result<&str, Unterminated> {
    let mut open: usize = 1;
    loop {
        let Some(at) = rest.find(['*', '/']) else { return Err(Unterminated("/* comment")) };
        rest = rest.get(at..).unwrap_or("");
        if let Some(behind) = rest.strip_prefix("/*") {
            open = open.saturating_add(1);
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix("*/") {
            open = open.saturating_sub(1);
            rest = behind;
            if open == 0 {
                return Ok(rest);
            }
        } else {
            rest = rest.get(1..).unwrap_or("");
        }
    }
}

/// The text of a quoted name or string and what follows; a doubled quote stands for one.
fn quoted(text: &str, quote: char) -> Result<(String, &str), Unterminated> {
    let what = if quote == '"' { "quoted identifier" } else { "quoted string" };
    let mut found = String::new();
    let mut rest = text.get(1..).unwrap_or("");
    while let Some((part, behind)) = rest.split_once(quote) {
        found.push_str(part);
        match behind.strip_prefix(quote) {
            Some(more) => {
                found.push(quote);
                rest = more;
            }
            None => return Ok((found, behind)),
        }
    }
    Err(Unterminated(what))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(sql: &str) -> Vec<String> {
        let show = |token: &Token| match token {
            Token::Word(word) => word.clone(),
            Token::Quoted(text) => format!("<{text}>"),
            Token::Sign(sign) => sign.to_string(),
        };
        let statements = statements(sql).unwrap();
        statements.iter().map(|tokens| tokens.iter().map(show).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn statements_end_at_semicolons_that_are_not_quoted() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" ;; \n; ", &[]),
            ("-- nothing", &[]),
            ("SHOW POOLS", &["SHOW POOLS"]),
            ("show\tpools ; Rotate my-db;", &["show pools", "Rotate my-db"]),
            ("ROTATE \"a;b\"\"c\"", &["ROTATE <a;b\"c>"]),
            ("ROTATE 'it''s' -- the last\n;SHOW HELP", &["ROTATE <it's>", "SHOW HELP"]),
            ("/* a /* b */ ; */ SELECT version()", &["SELECT version ( )"]),
            ("SET a=1", &["SET a = 1"]),
            ("SHOW HELP--now", &["SHOW HELP"]),
            ("ROTATE bücher", &["ROTATE bücher"]),
        ];
        for (sql, expected) in cases {
            assert_eq!(shown(sql), *expected, "{sql}");
        }
    }

    #[test]
    fn what_is_opened_must_be_closed() {
        for sql in ["'a", "\"a\"\"", "/* /* */", "/*/"] {
            assert!(matches!(statements(sql), Err(Unterminated(_))), "{sql}");
        }
    }

    proptest! {
        #[test]
        fn no_text_can_panic_it(sql in "[ a-zé;'\"*/\\-\n]{0,40}") {
            let _ = statements(&sql);
        }
    }
}
