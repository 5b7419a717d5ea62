//! `benches/bench` and `benches/rotation.sh` as an engineer runs them, in its shortest form: not for its timing, but so that
//! the harness works when somebody wants numbers, says so when they are none, and leaves nothing behind.

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
const TLS: &str = "TLS to the server, -S, simple, 8 clients";
const CROWD: &str = "-S, simple, 64 clients beside 1,200 idle ones";
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
fn bench(tools: &Path, folder: &TempDir, cases: &str) -> Command {
    let mut bench = script("bench", tools, folder);
    bench.args(["--rounds", "1", "--seconds", "1", "--only", cases]);
    bench
}

fn script(name: &str, tools: &Path, folder: &TempDir) -> Command {
    // As root the servers run as another user, who has to get in.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(folder.path().join("tmp")).unwrap();
    fs::set_permissions(folder.path().join("tmp"), Permissions::from_mode(0o755)).unwrap();
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(name));
    // What a developer's shell says to proxy and server is not for these.
    script.env_clear();
    for name in ["PATH", "HOME", "PGBOUNCER", "HAPROXY"] {
        script.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    script.env("TMPDIR", folder.path().join("tmp")).env("BENCH_BINARY", binary());
    script.env("LEASEHOLD_TEST_PG_BIN", tools).env("BENCH_SCALE", "1");
    script.arg("--out").arg(folder.path().join("out"));
    script
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

/// The rows of a table whose cell of this number is this.
fn rows<'a>(page: &'a str, cell: usize, is: &str) -> Vec<Vec<&'a str>> {
    let rows = page.lines().filter(|line| line.starts_with('|')).map(cells);
    rows.filter(|row| row.get(cell) == Some(&is)).collect()
}

fn number(cell: &str) -> f64 {
    let value: f64 = cell.parse().unwrap_or(f64::NAN);
    assert!(value.is_finite(), "{cell:?} is no number");
    value
}

/// The last cell of a row of targets says what the two before it mean.
fn assert_judged(row: &[&str]) {
    let (most, measured) = (number(row[2]), number(row[3]));
    assert!(measured > 0.0, "{row:?}");
    assert_eq!(row[4], if measured <= most { "met" } else { "**not met**" }, "{row:?}");
}

#[tokio::test]
async fn a_short_run_compares_all_four_in_a_table_and_a_plot() {
    let tools = or_skip!(tools());
    let folder = folder();
    let finished = Program::run(bench(&tools, &folder, "select1-8"), PATIENCE).await;
    let output = said(&finished, &folder);
    assert_eq!(finished.code(), 0, "{output}");
    let table = fs::read_to_string(folder.path().join("out/table.md")).unwrap();
    let measured = rows(&table, 0, CASE);
    let through: Vec<_> = measured.iter().map(|row| row[1]).collect();
    assert_eq!(through, ["direct", "haproxy", "pgbouncer", "leasehold"], "{table}");
    for row in &measured {
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
    let targets = rows(&table, 1, CASE);
    assert_eq!(targets.len(), 1, "one target of this case, and none of others:\n{table}");
    assert_judged(&targets[0]);
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
    let mut bench = bench(&tools, &folder, "select1-8");
    bench.env("LEASEHOLD_TREADS", "2");
    let finished = Program::run(bench, PATIENCE).await;
    let output = said(&finished, &folder);
    assert_ne!(finished.code(), 0, "{output}");
    assert!(output.contains("leasehold did not start") && output.contains("LEASEHOLD_THREADS"), "{output}");
    assert!(!folder.path().join("out/table.md").exists(), "{output}");
}

#[tokio::test]
async fn tls_to_the_server_and_idle_clients_are_rows_of_the_two_proxies() {
    let tools = or_skip!(tools());
    or_skip!(
        on_path("openssl").ok_or_else(|| Missing("no openssl here: apt-get install openssl".to_owned()))
    );
    let folder = folder();
    let mut bench = bench(&tools, &folder, "tls-8,crowd-64");
    // More than PgBouncer may have by the soft limit of files that most hosts have.
    bench.env("BENCH_CROWD", "1200");
    let finished = Program::run(bench, PATIENCE).await;
    let output = said(&finished, &folder);
    assert_eq!(finished.code(), 0, "{output}");
    let table = fs::read_to_string(folder.path().join("out/table.md")).unwrap();
    for case in [TLS, CROWD] {
        let rows = rows(&table, 0, case);
        assert_eq!(rows.iter().map(|row| row[1]).collect::<Vec<_>>(), ["pgbouncer", "leasehold"], "{table}");
        assert!(rows.iter().all(|row| number(row[2]) > 0.0 && number(row[4]) > 0.0), "{table}");
    }
    for subject in ["pgbouncer", "leasehold"] {
        let beside = rows(&table, 0, subject);
        assert_eq!(beside.len(), 1, "{table}");
        let [alone, crowded, ratio] = [1, 2, 3].map(|column| number(beside[0][column]));
        // Rounded, to a tenth and a hundredth.
        assert!(alone > 0.0 && (crowded / alone - ratio).abs() < 0.03, "{table}");
    }
    assert_judged(&rows(&table, 0, "TLS upstream")[0]);
    let target = &rows(&table, 1, CROWD)[0];
    let verdict =
        if number(target[3]) <= number(target[2]) { "too few idle clients to tell" } else { "**not met**" };
    assert_eq!(target[4], verdict, "{table}");
}

#[tokio::test]
async fn latency_is_plotted_over_changes_of_users() {
    let tools = or_skip!(find_tools());
    let folder = folder();
    let mut rotation = script("rotation.sh", &tools, &folder);
    rotation.envs([("BENCH_TTL", "2s"), ("BENCH_CLIENTS", "8"), ("BENCH_RATE", "200")]).args(["1", "4"]);
    let finished = Program::run(rotation, PATIENCE).await;
    let output = said(&finished, &folder);
    assert_eq!(finished.code(), 0, "{output}");
    let table = fs::read_to_string(folder.path().join("out/rotation.md")).unwrap();
    for user in ["8 clients, user stays", "8 clients, users change"] {
        let rows = rows(&table, 0, user);
        let figures: Vec<_> = rows[0][1..].iter().map(|cell| number(cell)).collect();
        assert!(figures.len() == 4 && figures[3] > 0.0 && figures.is_sorted(), "{table}");
    }
    let targets = rows(&table, 0, "8 clients, users change (lease 2s)");
    assert_judged(&targets[0]);
    let plot = fs::read_to_string(folder.path().join("out/rotation.svg")).unwrap();
    assert!(plot.starts_with("<svg ") && plot.trim_end().ends_with("</svg>"), "{plot}");
    // A panel for each, of one point for each 100 ms; in 4 s a user of 2 s changes.
    let curves: Vec<_> = plot.lines().filter(|line| line.starts_with("<polyline ")).collect();
    assert_eq!(curves.len(), 2, "{plot}");
    assert!(curves.iter().all(|curve| curve.matches(',').count() > 10), "{plot}");
    assert!(plot.contains("stroke-dasharray") && plot.contains("8 clients, users change"), "{plot}");
}
