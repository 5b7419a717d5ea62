//! Typed access to one table; every value that does not fit becomes a finding.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::names::nearest;
use super::problem::{Findings, Origin};
use super::tree::{Node, Table, Value};
use crate::secret::Secret;

/// Longer than any duration that makes sense, shorter than what overflows a timer.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// One table of the configuration, there or not.
pub(super) struct Section<'t> {
    table: Option<&'t Table>,
    path: String,
    origin: Origin,
}

impl<'t> Section<'t> {
    /// The document itself.
    pub(super) fn root(table: &'t Table) -> Self {
        Self { table: Some(table), path: String::new(), origin: Origin::Default }
    }

    /// The table below this one.
    pub(super) fn below(&self, name: &str) -> Self {
        let node = self.node(name);
        Self {
            table: node.and_then(|node| match &node.value {
                Value::Table(table) => Some(table),
                _ => None,
            }),
            path: self.path_of(name),
            origin: node.map_or(self.origin.clone(), |node| node.origin.clone()),
        }
    }

    /// Whether the table is there at all.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// The keys that are set.
    pub(super) fn names(&self) -> impl Iterator<Item = &'t str> + use<'t> {
        self.table.into_iter().flatten().map(|(name, _)| name.as_str())
    }

    /// The full path of a key of this table.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where this table begins, or the one above it if it is not there.
    pub(super) fn here(&self) -> &Origin {
        &self.origin
    }

    /// Where a key was set, or its table if it was not.
    pub(super) fn origin(&self, name: &str) -> Origin {
        self.node(name).map_or_else(|| self.origin.clone(), |node| node.origin.clone())
    }

    /// Whether a key is set.
    pub(super) fn has(&self, name: &str) -> bool {
        self.node(name).is_some()
    }

    /// Reports an error of one key: `what` follows the key's path.
    pub(super) fn error(&self, name: &str, what: &str, advice: &str, findings: &mut Findings) {
        findings.error(&self.origin(name), format!("`{}` {what}", self.path_of(name)), advice);
    }

    /// Reports a key that is not set but must be.
    pub(super) fn missing(&self, name: &str, advice: &str, findings: &mut Findings) {
        self.error(name, "is missing", advice, findings);
    }

    /// A string.
    pub(super) fn text(&self, name: &str, findings: &mut Findings) -> Option<String> {
        let node = self.node(name)?;
        let text = match (&node.value, &node.raw) {
            (Value::Text(text), _) => text.clone(),
            (_, Some(raw)) => raw.clone(),
            (other, None) => {
                self.wrong_type(name, "a string", other, findings);
                return None;
            }
        };
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            self.error(name, "holds a control character", "remove it", findings);
            return None;
        }
        Some(text)
    }

    /// What a key names, where it is a string and not a table.
    pub(super) fn name_in(&self, name: &str) -> Option<&'t str> {
        match &self.node(name)?.value {
            Value::Text(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// A string with something in it.
    pub(super) fn filled(&self, name: &str, findings: &mut Findings) -> Option<String> {
        let text = self.text(name, findings)?;
        if text.trim().is_empty() {
            self.error(name, "is empty", "give it a value, or remove the key", findings);
            return None;
        }
        Some(text)
    }

    /// A path.
    pub(super) fn file(&self, name: &str, findings: &mut Findings) -> Option<PathBuf> {
        self.filled(name, findings).map(PathBuf::from)
    }

    /// A secret from the environment, exactly as it stands there.
    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        let raw = self.node(name)?.raw.as_deref()?.trim();
        (!raw.is_empty()).then(|| Secret::new(raw.to_owned()))
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, name: &str, least: i64, most: i64, findings: &mut Findings) -> Option<i64> {
        self.bounded(name, &self.node(name)?.value, least..=most, findings)
    }

    /// A list of whole numbers within bounds, at least one; one number counts as a list of one.
    pub(super) fn wholes(
        &self,
        name: &str,
        least: i64,
        most: i64,
        findings: &mut Findings,
    ) -> Option<Vec<i64>> {
        match &self.node(name)?.value {
            Value::List(items) if items.is_empty() => {
                self.error(name, "is an empty list", "give it a number, or remove the key", findings);
                None
            }
            Value::List(items) => {
                items.iter().map(|item| self.bounded(name, &item.value, least..=most, findings)).collect()
            }
            one => self.bounded(name, one, least..=most, findings).map(|number| vec![number]),
        }
    }

    fn bounded(
        &self,
        name: &str,
        value: &Value,
        within: RangeInclusive<i64>,
        findings: &mut Findings,
    ) -> Option<i64> {
        let (what, advice) = match value {
            Value::Integer(number) if within.contains(number) => return Some(*number),
            Value::Integer(number) if number < within.start() => {
                (format!("is {number}, which is too small"), format!("the least is {}", within.start()))
            }
            Value::Integer(number) => {
                (format!("is {number}, which is too large"), format!("the most is {}", within.end()))
            }
            other => {
                self.wrong_type(name, "a whole number", other, findings);
                return None;
            }
        };
        self.error(name, &what, &advice, findings);
        None
    }

    /// A count of at least one.
    pub(super) fn count(&self, name: &str, findings: &mut Findings) -> Option<usize> {
        self.whole(name, 1, 1_000_000, findings).and_then(|n| usize::try_from(n).ok())
    }

    /// A count that may be none.
    pub(super) fn count_or_none(&self, name: &str, findings: &mut Findings) -> Option<usize> {
        self.whole(name, 0, 1_000_000, findings).and_then(|n| usize::try_from(n).ok())
    }

    /// A number.
    pub(super) fn number(&self, name: &str, findings: &mut Findings) -> Option<f64> {
        match &self.node(name)?.value {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
            other => {
                self.wrong_type(name, "a number", other, findings);
                None
            }
        }
    }

    /// A size in bytes, such as "64KiB".
    pub(super) fn size(&self, name: &str, findings: &mut Findings) -> Option<usize> {
        if let Node { value: Value::Integer(number), raw: None, .. } = self.node(name)? {
            let advice = format!("write a string with a unit, such as \"{number}B\" or \"{number}KiB\"");
            self.error(name, "is a bare number", &advice, findings);
            return None;
        }
        let text = self.text(name, findings)?;
        let size = parse_size(text.trim());
        if size.is_none() {
            let what = format!("is {text:?}, which is no size");
            let advice =
                "write a whole number and a unit, for example \"512B\", \"64KiB\", \"16MiB\" or \"1GiB\"";
            self.error(name, &what, advice, findings);
        }
        size
    }

    /// A duration in humantime's words.
    pub(super) fn duration(&self, name: &str, findings: &mut Findings) -> Option<Duration> {
        if let Node { value: Value::Integer(number), raw: None, .. } = self.node(name)? {
            let advice = format!("write a string with a unit, such as \"{number}s\"");
            self.error(name, "is a bare number", &advice, findings);
            return None;
        }
        let text = self.text(name, findings)?;
        match humantime::parse_duration(text.trim()) {
            Ok(duration) if duration <= LONGEST => Some(duration),
            Ok(_) => {
                self.error(
                    name,
                    &format!("is {text:?}, which is too long"),
                    "the most is ten years",
                    findings,
                );
                None
            }
            Err(error) => {
                let what = format!("is {text:?}, which is no duration: {error}");
                self.error(
                    name,
                    &what,
                    "write for example \"500ms\", \"30s\", \"1h 30m\" or \"0s\"",
                    findings,
                );
                None
            }
        }
    }

    /// A duration that is not zero.
    pub(super) fn some_time(&self, name: &str, findings: &mut Findings) -> Option<Duration> {
        let duration = self.duration(name, findings)?;
        if duration.is_zero() {
            self.error(name, "is zero", "give it some time, for example \"1s\"", findings);
            return None;
        }
        Some(duration)
    }

    /// Yes or no; `false` unless set.
    pub(super) fn flag(&self, name: &str, findings: &mut Findings) -> bool {
        match self.node(name).map(|node| &node.value) {
            None => false,
            Some(Value::Boolean(flag)) => *flag,
            Some(other) => {
                self.wrong_type(name, "true or false", other, findings);
                false
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
        findings: &mut Findings,
    ) -> Option<T> {
        let text = self.text(name, findings)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let all = format!("known: {}", known.join(", "));
        let advice =
            nearest(&text, &known).map_or(all.clone(), |near| format!("did you mean \"{near}\"? {all}"));
        self.error(name, &format!("is {text:?}, which is not known"), &advice, findings);
        None
    }

    /// A list of strings; one string counts as a list of one.
    pub(super) fn texts(&self, name: &str, findings: &mut Findings) -> Option<Vec<String>> {
        let node = self.node(name)?;
        let Value::List(items) = &node.value else {
            return match (&node.value, &node.raw) {
                (Value::Text(text), _) => Some(vec![text.clone()]),
                (_, Some(raw)) => Some(vec![raw.clone()]),
                (other, None) => {
                    self.wrong_type(name, "a list of strings", other, findings);
                    None
                }
            };
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match &item.value {
                Value::Text(text) => texts.push(text.clone()),
                other => {
                    let what =
                        format!("`{}` must hold strings only, not {}", self.path_of(name), other.kind());
                    findings.error(&item.origin, what, "put it in quotes");
                    return None;
                }
            }
        }
        Some(texts)
    }

    fn wrong_type(&self, name: &str, wanted: &str, found: &Value, findings: &mut Findings) {
        let advice = match (wanted, found) {
            ("a string", _) => "put the value in quotes",
            (_, Value::Text(_)) => "write it without quotes",
            _ => "",
        };
        self.error(name, &format!("must be {wanted}, not {}", found.kind()), advice, findings);
    }

    fn node(&self, name: &str) -> Option<&'t Node> {
        self.table?.get(name)
    }
}

/// A whole number with a unit of bytes; not zero.
fn parse_size(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit.trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor).filter(|size| *size > 0)
}
