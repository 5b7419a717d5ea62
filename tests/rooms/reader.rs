//! Rust as far as the rules of the house need it: names, punctuation and paths.

/// Reads a path or a use tree that begins at `at`; returns where it ends.
pub fn read_tree(tokens: &[String], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        if token == "{" {
            at += 1;
            while tokens.get(at).is_some_and(|token| token != "}") {
                at = read_tree(tokens, at, &path, found);
                // Past `as NAME` and the comma.
                while tokens.get(at).is_some_and(|token| token != "," && token != "}") {
                    at += 1;
                }
                if tokens.get(at).is_some_and(|token| token == ",") {
                    at += 1;
                }
            }
            return at + 1;
        }
        let is_name = token.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
        if !is_name && token != "*" {
            break;
        }
        path.push(token.clone());
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
    }
    if path.len() > prefix.len() {
        found.push(path);
    }
    at
}

/// Names and punctuation, without comments, literals and lifetimes. `::` is one token.
pub fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let is = |at: usize, pattern: &str| {
        pattern.chars().enumerate().all(|(offset, c)| chars.get(at + offset) == Some(&c))
    };
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        if is(at, "//") {
            while chars.get(at).is_some_and(|c| *c != '\n') {
                at += 1;
            }
        } else if is(at, "/*") {
            let mut nested = 0;
            while at < chars.len() {
                if is(at, "/*") {
                    nested += 1;
                    at += 2;
                } else if is(at, "*/") {
                    nested -= 1;
                    at += 2;
                    if nested == 0 {
                        break;
                    }
                } else {
                    at += 1;
                }
            }
        } else if c == '"' {
            at = past_quote(&chars, at, '"');
        } else if c == '\'' {
            // A character is one escape or one char before a quote; all else is a lifetime.
            let character = is(at + 1, "\\") || chars.get(at + 2) == Some(&'\'');
            at = if character { past_quote(&chars, at, '\'') } else { past_name(&chars, at + 1) };
        } else if c.is_alphabetic() || c == '_' {
            let end = past_name(&chars, at);
            let name: String = chars[at..end].iter().collect();
            let hashes = chars[end..].iter().take_while(|c| **c == '#').count();
            if name.ends_with('r') && name.len() <= 2 && chars.get(end + hashes) == Some(&'"') {
                let close: String = format!("\"{}", "#".repeat(hashes));
                at = end + hashes + 1;
                while at < chars.len() && !is(at, &close) {
                    at += 1;
                }
                at += close.len();
            } else {
                tokens.push(name);
                at = end;
            }
        } else if is(at, "::") {
            tokens.push("::".to_owned());
            at += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            at += 1;
        }
    }
    tokens
}

fn past_name(chars: &[char], mut at: usize) -> usize {
    while chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_') {
        at += 1;
    }
    at
}

fn past_quote(chars: &[char], mut at: usize, quote: char) -> usize {
    at += 1;
    while chars.get(at).is_some_and(|c| *c != quote) {
        at += if chars.get(at) == Some(&'\\') { 2 } else { 1 };
    }
    at + 1
}
