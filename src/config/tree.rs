//! The configuration as a tree whose every value knows where it came from.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Findings, Origin};

/// A table: keys to values, in the keys' order.
pub(super) type Table = BTreeMap<String, Node>;

/// One value and its origin. No `Debug`: it may hold a secret from the environment.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// The text of an environment variable: a string key takes it as it is, even if it looks like a number.
    pub(super) raw: Option<String>,
}

/// A TOML value.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// Dates and numbers out of range: nothing here takes them.
    Other(&'static str),
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// The type in words, for "expected …, found …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Other(kind) => kind,
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Parses a TOML document; every syntax error becomes a finding.
///
/// The errors carry TOML's message only, never the line's text: it may hold a
/// secret that somebody put there by mistake.
pub(super) fn parse_document(text: &str, findings: &mut Findings) -> Table {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        findings.error(&Origin::Line(line), format!("not valid TOML: {}", error.message()), "");
    }
    if errors.is_empty() {
        table(document.get_ref(), &|at| Origin::Line(line_of(text, at)))
    } else {
        Table::new()
    }
}

/// Parses the text of an environment variable as a TOML value, or takes it as a string.
pub(super) fn parse_variable(name: &str, raw: &str) -> Node {
    let origin = Origin::Variable(name.to_owned());
    let value = match DeValue::parse(raw.trim()) {
        Ok(parsed) => convert(parsed.get_ref(), &|_| origin.clone()),
        Err(_) => Value::Text(raw.to_owned()),
    };
    Node { value, origin, raw: Some(raw.to_owned()) }
}

fn table(source: &DeTable<'_>, origin: &dyn Fn(usize) -> Origin) -> Table {
    source
        .iter()
        .map(|(key, value)| {
            let place = origin(key.span().start);
            (key.get_ref().to_string(), node(value, place, origin))
        })
        .collect()
}

fn node(source: &Spanned<DeValue<'_>>, place: Origin, origin: &dyn Fn(usize) -> Origin) -> Node {
    Node { value: convert(source.get_ref(), origin), origin: place, raw: None }
}

fn convert(source: &DeValue<'_>, origin: &dyn Fn(usize) -> Origin) -> Value {
    match source {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number out of range"), Value::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or(Value::Other("a number out of range"), Value::Float)
        }
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| node(item, origin(item.span().start), origin)).collect())
        }
        DeValue::Table(entries) => Value::Table(table(entries, origin)),
    }
}

/// The line (from 1) that the byte at `at` is on.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count().saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let mut findings = Findings::default();
        let tree = parse_document("threads = 2\n\n[listen]\ntcp = \"localhost\"\n", &mut findings);
        assert!(findings.errors.is_empty());
        assert_eq!(tree["threads"].origin, Origin::Line(1));
        let Value::Table(listen) = &tree["listen"].value else { panic!("a table") };
        assert_eq!(listen["tcp"].origin, Origin::Line(4));
    }

    #[test]
    fn all_syntax_errors_are_found_and_none_repeats_the_line() {
        let mut findings = Findings::default();
        parse_document("threads = hunter2\n\n[listen\ntcp = 1\n", &mut findings);
        assert!(findings.errors.len() >= 2, "{:?}", findings.errors);
        assert!(findings.errors.iter().any(|error| error.origin == Origin::Line(1)), "{:?}", findings.errors);
        assert!(!format!("{:?}", findings.errors).contains("hunter2"), "{:?}", findings.errors);
    }
}
