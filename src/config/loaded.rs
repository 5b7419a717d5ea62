//! A configuration that is right, with where each part of it came from.

use std::collections::BTreeMap;

use super::problem::{self, Origin, Problem};
use crate::app::Settings;

/// A configuration that is right.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The file's name as the operator gave it, or `environment` without one.
    pub file: String,
    /// What the proxy runs with.
    pub settings: Settings,
    /// What works but deserves a second look.
    pub warnings: Vec<Problem>,
    /// Where each key that is set was set, by path.
    pub origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// The warnings as text, empty without any.
    #[must_use]
    pub fn warnings_text(&self) -> String {
        let mut text = String::new();
        let _ = problem::write_list(&mut text, &self.file, &self.warnings);
        text
    }
}
