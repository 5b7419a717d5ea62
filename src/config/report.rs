//! How a configuration is told: key by key, and never a secret.

use std::fmt::Write as _;
use std::time::Duration;

use super::known::is_live;
use super::loaded::Loaded;
use super::problem::Origin;
use crate::admin::ShownSettings;

/// The text so far, and the origins to name beside each value.
pub(super) struct Report<'l> {
    pub(super) loaded: &'l Loaded,
    pub(super) text: String,
    /// The same without the meaning, for the console.
    pub(super) shown: ShownSettings,
}

impl Report<'_> {
    pub(super) fn heading(&mut self, text: &str) {
        let _ = writeln!(self.text, "{}[{text}]", if self.text.is_empty() { "" } else { "\n" });
    }

    /// One key: `path`'s last name, its value, where it came from, and the meaning.
    pub(super) fn item(&mut self, path: &str, value: impl std::fmt::Display, meaning: impl AsRef<str>) {
        let value = value.to_string();
        let name = path.rsplit('.').next().unwrap_or(path);
        let origin = match self.loaded.origins.get(path) {
            Some(origin @ (Origin::Line(_) | Origin::Variable(_))) => origin.in_file(&self.loaded.file),
            _ => "default".to_owned(),
        };
        self.shown.add(path, value.clone(), origin == "default", is_live(path));
        let _ = writeln!(self.text, "{name} = {value}   ({origin})\n    {}", meaning.as_ref());
    }
}

/// A duration in words, to the second where it is longer than ten.
pub(super) fn span(duration: Duration) -> String {
    let rounded = if duration >= Duration::from_secs(10) {
        Duration::from_secs(duration.saturating_add(Duration::from_millis(500)).as_secs())
    } else {
        Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    };
    humantime::format_duration(rounded).to_string()
}

pub(super) fn or_none(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}
