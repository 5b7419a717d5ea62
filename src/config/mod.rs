//! Names every room's Settings and fills them in: from a TOML file, from
//! `LEASEHOLD_…` variables laid over it, and from Vault's own variables below it.
//!
//! Nothing is reached for: the text and the environment are arguments. Files
//! that the configuration names (CA certificates, a token) are read, names are
//! not resolved. Every error is collected, so that an operator sees all of them
//! at once: what, where, and what to do.

mod auth;
mod auth_cloud;
mod console;
mod credentials;
mod databases;
mod environment;
mod explain;
mod explain_credentials;
mod explain_hosts;
mod explain_vault;
mod host;
mod hosts;
mod http;
mod keys;
mod known;
mod links;
mod listen;
mod loaded;
mod locate;
mod log;
mod names;
mod problem;
mod readable;
mod report;
mod rotation;
mod section;
mod sslmode;
mod tree;
mod vault;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use explain::explain;
pub use host::{Host, ThisHost};
pub use keys::{KEYS, Key, LIVE};
pub use loaded::Loaded;
pub use locate::{LoadError, load};
pub use problem::{Origin, Problem, Problems};

use crate::admin::ShownSettings;
use crate::app::Settings;
use crate::credentials::{VaultEnvError, VaultEnvironment, from_environment};
use crate::session::ListenSettings;
use problem::Findings;
use section::Section;

/// Parses and checks a configuration: the TOML `text` of `file` under the variables of `environment`.
///
/// # Errors
///
/// All that is wrong with it, sorted as it stands in the file, variables last.
pub fn parse(
    file: &str,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Problems> {
    let variables: BTreeMap<String, String> = environment.into_iter().collect();
    let mut findings = Findings::default();
    let mut tree = tree::parse_document(text, &mut findings);
    if !findings.errors.is_empty() {
        // What follows a syntax error is anybody's guess: more findings would only mislead.
        return Err(sorted(file, findings.errors));
    }
    environment::overlay(&mut tree, &variables, &mut findings);
    names::check(&tree, &mut findings);
    let lookup = |name: &str| variables.get(name).cloned();
    let settings = read(&Section::root(&tree), &lookup, &mut findings);
    let Findings { errors, warnings } = findings;
    if !errors.is_empty() {
        return Err(sorted(file, errors));
    }
    let origins = environment::origins(&tree);
    let mut loaded = Loaded { file: file.to_owned(), settings, warnings, origins };
    loaded.settings.shown = explain::shown(&loaded);
    Ok(loaded)
}

fn sorted(file: &str, mut list: Vec<Problem>) -> Problems {
    list.sort_by(|a, b| a.origin.cmp(&b.origin));
    Problems { file: file.to_owned(), list }
}

fn read(root: &Section<'_>, lookup: &dyn Fn(&str) -> Option<String>, findings: &mut Findings) -> Settings {
    let databases = root.below("databases");
    let named = root.below("credentials");
    let uses_vault = credentials::use_vault(&databases, &named);
    let state_dir = read_state_dir(root, lookup, findings);
    let environment =
        if uses_vault { read_vault_environment(lookup, findings) } else { VaultEnvironment::default() };
    let thread_busy = root.whole("thread_busy", 0, 100, findings);
    let thread_busy = thread_busy.and_then(|percent| u32::try_from(percent).ok()).unwrap_or(THREAD_BUSY);
    let (log, tell) = log::read(&root.below("log"), findings);
    Settings {
        listen: ListenSettings { tell, thread_busy, ..listen::read(&root.below("listen"), findings) },
        console: console::read(&root.below("console"), findings),
        http: http::read(&root.below("http"), findings),
        vault: vault::read(&root.below("vault"), &environment, state_dir.as_deref(), uses_vault, findings),
        databases: databases::read(&databases, &named, findings),
        rotation: rotation::read(&root.below("rotation"), findings),
        threads: root
            .whole("threads", 1, 1024, findings)
            .map_or_else(default_threads, |threads| usize::try_from(threads).unwrap_or(1)),
        shutdown_timeout: root.duration("shutdown_timeout", findings).unwrap_or(Duration::from_secs(25)),
        state_dir,
        log,
        shown: ShownSettings::default(),
    }
}

/// Where what must outlive the program goes: as it is set, else where systemd says, else where
/// programs of a person keep such things (XDG Base Directory Specification, `XDG_STATE_HOME`).
fn read_state_dir(
    root: &Section<'_>,
    lookup: &dyn Fn(&str) -> Option<String>,
    findings: &mut Findings,
) -> Option<PathBuf> {
    if root.has("state_dir") {
        return root.text("state_dir", findings).filter(|text| !text.is_empty()).map(PathBuf::from);
    }
    let set = |name: &str| lookup(name).filter(|value| Path::new(value).is_absolute());
    let of_systemd = set("STATE_DIRECTORY").and_then(|list| list.split(':').next().map(PathBuf::from));
    let of_a_person = || {
        let home = || set("HOME").map(|home| Path::new(&home).join(".local/state"));
        Some(set("XDG_STATE_HOME").map(PathBuf::from).or_else(home)?.join("leasehold"))
    };
    of_systemd.or_else(of_a_person)
}

/// Vault's own variables; what cannot be meant is an error, never a guess.
fn read_vault_environment(
    lookup: &dyn Fn(&str) -> Option<String>,
    findings: &mut Findings,
) -> VaultEnvironment {
    from_environment(lookup).unwrap_or_else(|error| {
        let (VaultEnvError::Bool { name, .. } | VaultEnvError::Duration { name, .. }) = &error;
        findings.error(&Origin::Variable(name.clone()), error.to_string(), "or remove the variable");
        VaultEnvironment::default()
    })
}

/// A second thread that is half idle costs more than it gives: percent of a core.
const THREAD_BUSY: u32 = 70;

/// One data thread per core, at most four.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}
