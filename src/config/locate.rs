//! Finds and reads the configuration file.

use std::path::{Path, PathBuf};

use super::problem::Problems;
use super::{Loaded, parse};

/// Where the file is looked for when nobody names one.
const PLACES: [&str; 2] = ["leasehold.toml", "/etc/leasehold/leasehold.toml"];

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file that was named cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It was read, and is wrong.
    #[error(transparent)]
    Wrong(#[from] Problems),
}

/// Loads the file at `named`; without a name the first of `./leasehold.toml`
/// and `/etc/leasehold/leasehold.toml` that exists; without any the
/// environment alone.
///
/// # Errors
///
/// A file that cannot be read, or everything that is wrong with the configuration.
pub fn load(
    named: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, LoadError> {
    let found = named
        .map(Path::to_path_buf)
        .or_else(|| PLACES.iter().map(PathBuf::from).find(|place| place.exists()));
    let Some(path) = found else {
        return Ok(parse("environment", "", environment)?);
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(parse(&path.display().to_string(), &text, environment)?),
        Err(source) => Err(LoadError::Unreadable { path, source }),
    }
}
