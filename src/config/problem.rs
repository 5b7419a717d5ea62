//! What is wrong with a configuration: what, where, and what to do.

use std::fmt;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The configuration file, at this line (from 1).
    Line(usize),
    /// An environment variable.
    Variable(String),
    /// Nobody set it.
    Default,
}

impl Origin {
    /// The place in words, with the file's name where it is the file.
    #[must_use]
    pub fn in_file(&self, file: &str) -> String {
        match self {
            Self::Line(line) => format!("{file}:{line}"),
            Self::Variable(name) => format!("${name}"),
            Self::Default => file.to_owned(),
        }
    }
}

/// One thing that is wrong, or that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub origin: Origin,
    /// What is wrong; names the full path of the key, never a secret's value.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

/// Everything that is wrong with one configuration, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// The file's name as the operator gave it, or `environment` without one.
    pub file: String,
    /// At least one.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.list.len() {
            1 => writeln!(f, "the configuration has 1 error")?,
            n => writeln!(f, "the configuration has {n} errors")?,
        }
        write_list(f, &self.file, &self.list)
    }
}

/// Writes problems one below the other: place and what, then the advice.
pub(super) fn write_list(f: &mut impl fmt::Write, file: &str, list: &[Problem]) -> fmt::Result {
    for problem in list {
        writeln!(f, "\n{}: {}", problem.origin.in_file(file), problem.what)?;
        if !problem.advice.is_empty() {
            writeln!(f, "    {}", problem.advice)?;
        }
    }
    Ok(())
}

/// Collects problems while a configuration is read, so that all are shown together.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl Findings {
    pub(super) fn error(&mut self, origin: &Origin, what: impl Into<String>, advice: impl Into<String>) {
        self.errors.push(Problem { origin: origin.clone(), what: what.into(), advice: advice.into() });
    }

    pub(super) fn warning(&mut self, origin: &Origin, what: impl Into<String>, advice: impl Into<String>) {
        self.warnings.push(Problem { origin: origin.clone(), what: what.into(), advice: advice.into() });
    }
}
