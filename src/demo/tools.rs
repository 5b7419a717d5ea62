//! Finds PostgreSQL's programs on this machine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::DemoError;

/// The programs that the demo runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tools {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
    pub(super) pgbench: PathBuf,
}

impl Tools {
    /// Looks where `pg_config` says, then in the distributions' folders (newest
    /// first), then along PATH.
    pub(super) fn find() -> Result<Self, DemoError> {
        let mut folders: Vec<PathBuf> = pg_config().into_iter().collect();
        folders.extend(installed(Path::new("/usr/lib/postgresql"), "bin"));
        folders.extend(installed(Path::new("/usr/pgsql"), "bin"));
        folders.extend(std::env::var_os("PATH").iter().flat_map(|path| std::env::split_paths(path)));
        Self::among(&folders)
    }

    /// The server's two programs from one folder, pgbench from there or the first folder that has it.
    fn among(folders: &[PathBuf]) -> Result<Self, DemoError> {
        let server = folders.iter().find(|folder| has(folder, "initdb") && has(folder, "postgres"));
        let bench = server
            .filter(|folder| has(folder, "pgbench"))
            .or_else(|| folders.iter().find(|folder| has(folder, "pgbench")));
        match (server, bench) {
            (Some(server), Some(bench)) => Ok(Self {
                initdb: server.join("initdb"),
                postgres: server.join("postgres"),
                pgbench: bench.join("pgbench"),
            }),
            (None, _) => Err(DemoError::NoPostgres { missing: "initdb and postgres" }),
            (_, None) => Err(DemoError::NoPostgres { missing: "pgbench" }),
        }
    }

    /// What the server calls itself, for the first line.
    pub(super) fn version(&self) -> String {
        Command::new(&self.postgres)
            .arg("--version")
            .output()
            .ok()
            .and_then(|output| String::from_utf8(output.stdout).ok())
            .map(|text| text.trim().replace("postgres (PostgreSQL)", "PostgreSQL"))
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| "PostgreSQL".to_owned())
    }
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(folder.trim()))
}

/// `BASE/15/bin`, `BASE/17/bin`, …, the newest first.
fn installed(base: &Path, below: &str) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(base)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((number(&entry.file_name())?, entry.path().join(below))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

fn number(name: &OsStr) -> Option<u32> {
    name.to_str()?.split('.').next()?.parse().ok()
}

fn has(folder: &Path, program: &str) -> bool {
    folder.join(program).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(base: &Path, name: &str, programs: &[&str]) -> PathBuf {
        let folder = base.join(name).join("bin");
        std::fs::create_dir_all(&folder).unwrap();
        for program in programs {
            std::fs::write(folder.join(program), "").unwrap();
        }
        folder
    }

    #[test]
    fn the_newest_complete_installation_is_taken() {
        let base = tempfile::tempdir().unwrap();
        folder(base.path(), "9.6", &["initdb", "postgres", "pgbench"]);
        let newest = folder(base.path(), "17", &["initdb", "postgres", "pgbench"]);
        folder(base.path(), "18", &["psql"]);
        let folders = installed(base.path(), "bin");
        assert_eq!(folders.len(), 3);
        assert_eq!(Tools::among(&folders).unwrap().initdb, newest.join("initdb"));
    }

    #[test]
    fn pgbench_may_be_elsewhere_and_what_is_missing_is_named() {
        let base = tempfile::tempdir().unwrap();
        let server = folder(base.path(), "15", &["initdb", "postgres"]);
        let client = folder(base.path(), "client", &["pgbench"]);
        let tools = Tools::among(&[server.clone(), client.clone()]).unwrap();
        assert_eq!(tools.pgbench, client.join("pgbench"));
        let missing = Tools::among(&[server]).unwrap_err().to_string();
        assert!(missing.contains("pgbench") && missing.contains("apt-get install postgresql"), "{missing}");
        assert!(Tools::among(&[client]).unwrap_err().to_string().contains("initdb"));
    }
}
