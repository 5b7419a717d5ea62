//! The sample file, the manual and the list of keys say the same.

#![allow(clippy::unwrap_used)] // panicking is how a test fails, helpers included

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use leasehold::config::{self, KEYS, LIVE, Loaded, Problems};
use leasehold::credentials::{SourceSettings, VaultAuth};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn sample() -> String {
    std::fs::read_to_string(repository("config/leasehold.toml")).unwrap()
}

fn parse(text: &str) -> Result<Loaded, Problems> {
    config::parse("leasehold.toml", text, [])
}

/// The sample with every key that is commented out switched on.
fn everything_on(text: &str) -> String {
    text.lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
            _ => line,
        })
        .fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_sample_file_parses() {
    let loaded = parse(&sample()).unwrap();
    let (pool, credentials) = &loaded.settings.databases[0];
    assert_eq!(pool.name, "app");
    assert_eq!(credentials.source, SourceSettings::Vault { path: "database/creds/app".into() });
    assert!(matches!(loaded.settings.vault.unwrap().auth, VaultAuth::AppRole { .. }));
}

#[test]
fn the_sample_file_shows_every_key_and_no_other() {
    let text = everything_on(&sample());
    // Only files that are not there and the two auth methods at once are wrong with it.
    let wrong = parse(&text).unwrap_err();
    for problem in &wrong.list {
        let said = ["cannot be read", "belongs to method", "belongs to source"];
        let expected = said.iter().any(|part| problem.what.contains(part));
        assert!(expected, "{problem:?}");
    }
    let document: toml::Table = text.parse().unwrap();
    for key in KEYS.iter().filter(|key| !key.secret) {
        let shown = ["app", "reports", "shop"].iter().any(|database| {
            let mut names = key.path.split('.').map(|name| if name == "NAME" { database } else { name });
            let first = document.get(names.next().unwrap());
            names.try_fold(first, |value, name| Some(value?.get(name))).flatten().is_some()
        });
        assert!(shown, "{} is not in config/leasehold.toml", key.path);
    }
}

#[test]
fn the_manual_lists_every_key() {
    let path = repository("docs/configuration.md");
    let manual = std::fs::read_to_string(&path).unwrap();
    let mut table = String::from("\n| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let form = key.form.replace('|', "\\|");
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        writeln!(table, "| `{}` | {form} | {default} | {} |", key.path, key.meaning).unwrap();
    }
    let (before, rest) = manual.split_once("<!-- keys:").unwrap();
    let (note, rest) = rest.split_once("-->\n").unwrap();
    let (present, after) = rest.split_once("<!-- /keys -->").unwrap();
    if std::env::var_os("LEASEHOLD_TEST_BLESS").is_some() {
        std::fs::write(&path, format!("{before}<!-- keys:{note}-->\n{table}\n<!-- /keys -->{after}"))
            .unwrap();
        return;
    }
    assert_eq!(present.trim(), table.trim(), "run LEASEHOLD_TEST_BLESS=1 cargo test --test config");
}

#[test]
fn what_can_be_changed_at_once_is_a_key_and_the_manual_says_so() {
    let manual = std::fs::read_to_string(repository("docs/console.md")).unwrap();
    let (_, reload) = manual.split_once("#### RELOAD").unwrap();
    for path in LIVE {
        assert!(KEYS.iter().any(|key| key.path == *path), "{path}");
        let named = path.starts_with("log.") || reload.contains(path.rsplit('.').next().unwrap());
        assert!(named, "{path} is not in docs/console.md");
    }
}
