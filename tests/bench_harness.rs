//! `benches/bench` as an engineer runs it, in its shortest form: not for its timing, but so that the harness works
//! when somebody wants numbers, says so when they are none, and leaves nothing behind.

#![allow(clippy::unwrap_used)] // panicking is how a test fails, helpers included

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::postgres::find_tools;
use support::program::{Finished, on_path};
use support::proxy::binary;
use support::{Missing, Program};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(150);
const CASE: &str = "SELECT 1, simple, 8 clients";
/// The columns of the table behind the case and what it went through.
const COLUMNS: usize = 12;

/// The servers' tools, once both that Leasehold is compared with are here.
fn tools() -> Result<PathBuf, Missing> {
    for (name, variable) in [("pgbouncer", "PGBOUNCER"), ("haproxy", "HAPROXY")] {
        let set = std::env::var_os(variable).map(PathBuf::from);
        let found = set.or_else(|| on_path(name)).unwrap_or_else(|| Path::new("/usr/sbin").join(name));
        if !found.is_file() {
            return Err(Missing(format!("no {name} here: apt-get install {name}, or set {variable}")));
        }
    }
    find_tools()
}

/// The harness on the binary that cargo built, with a folder for all that it makes.
fn bench(tools: &Path, folder: &TempDir, arguments: &[&str]) -> Command {
    // As root the servers run as another user, who has to get in.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(folder.path().join("tmp")).unwrap();
    fs::set_permissions(folder.path().join("tmp"), Permissions::from_mode(0o755)).unwrap();
    let mut bench = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/bench"));
    // What a developer's shell says to proxy and server is not for these.
    bench.env_clear();
    for name in ["PATH", "HOME", "PGBOUNCER", "HAPROXY"] {
        bench.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    bench.env("TMPDIR", folder.path().join("tmp")).env("BENCH_BINARY", binary());
    bench.env("LEASEHOLD_TEST_PG_BIN", tools).args(arguments);
    bench
        .args(["--rounds", "1", "--seconds", "1", "--only", "select1-8", "--out"])
        .arg(folder.path().join("out"));
    bench
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("leasehold-test-bench-").tempdir().unwrap()
}

/// What a run said, once nothing of it is left.
fn said(finished: &Finished, folder: &TempDir) -> String {
    let output = format!("{}{}", finished.stdout, finished.stderr);
    let left: Vec<_> = fs::read_dir(folder.path().join("tmp")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}\n{output}");
    let place = folder.path().display().to_string();
    let running = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&place)
    });
    assert_eq!(running.count(), 0, "{output}");
    output
}

/// The cells of a row of a Markdown table.
fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

#[tokio::test]
async fn a_short_run_compares_all_four_in_a_table_and_a_plot() {
    let tools = or_skip!(tools());
    let folder = folder();
    let finished = Program::run(bench(&tools, &folder, &[]), PATIENCE).await;
    let output = said(&finished, &folder);
    assert_eq!(finished.code(), 0, "{output}");
    let table = fs::read_to_string(folder.path().join("out/table.md")).unwrap();
    let rows: Vec<_> =
        table.lines().filter(|line| line.starts_with(&format!("| {CASE} |"))).map(cells).collect();
    let through: Vec<_> = rows.iter().map(|row| row[1]).collect();
    assert_eq!(through, ["direct", "haproxy", "pgbouncer", "leasehold"], "{table}");
    for row in &rows {
        let numbers = &row[2..];
        assert_eq!(numbers.len(), COLUMNS, "{table}");
        for (column, number) in numbers.iter().enumerate() {
            // Nothing stands between a direct client and the server; strace may be missing or forbidden; and
            // pgbench logs a latency of 0, to which there is no ratio, where an answer is there at once.
            let may_lack =
                (row[1] == "direct" && [2, 3, 10, 11].contains(&column)) || [4, 5, 7, 9].contains(&column);
            if may_lack && *number == "–" {
                continue;
            }
            let value: f64 = number.parse().unwrap_or(-1.0);
            let least = if (6..10).contains(&column) { 0.0 } else { f64::MIN_POSITIVE };
            assert!(value >= least && value.is_finite(), "{number:?} in column {column}:\n{table}");
        }
        if row[1] == "pgbouncer" {
            assert_eq!((row[3], row[5], row[13]), ("1.00", "1.00", "1.00"), "{table}");
        }
    }
    for part in ["leasehold 0.", "PgBouncer 1.", "haproxy ", "PostgreSQL ", " cores "] {
        assert!(table.contains(part), "{part}:\n{table}");
    }
    let plot = fs::read_to_string(folder.path().join("out/ratios.svg")).unwrap();
    assert!(plot.starts_with("<svg ") && plot.trim_end().ends_with("</svg>"), "{plot}");
    assert!(plot.contains(CASE) && plot.matches("<rect ").count() >= 8, "{plot}");
}

#[tokio::test]
async fn a_subject_that_does_not_start_ends_the_run_with_its_word() {
    let tools = or_skip!(tools());
    let folder = folder();
    let mut bench = bench(&tools, &folder, &[]);
    bench.env("LEASEHOLD_TREADS", "2");
    let finished = Program::run(bench, PATIENCE).await;
    let output = said(&finished, &folder);
    assert_ne!(finished.code(), 0, "{output}");
    assert!(output.contains("leasehold did not start") && output.contains("LEASEHOLD_THREADS"), "{output}");
    assert!(!folder.path().join("out/table.md").exists(), "{output}");
}
