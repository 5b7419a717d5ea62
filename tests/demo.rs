//! `leasehold demo` as a user runs it: it works, and whatever ends it, nothing stays.

#![allow(clippy::unwrap_used)] // panicking is how a test fails, helpers included

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use support::postgres::find_tools;
use support::proxy::command;
use support::{Program, wait_until};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(90);

/// A demo that runs, and the folder that it may use and must leave empty.
struct Demo {
    program: Program,
    folder: TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("leasehold-test-demo-").tempdir().unwrap();
        // As root the server runs as another user, who has to get in.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let mut command = command();
        command.arg("demo").args(arguments).env("TMPDIR", folder.path());
        Self { program: Program::start(command), folder }
    }

    async fn until(&self, text: &str) {
        let said = async || self.program.stdout().contains(text);
        assert!(
            wait_until(PATIENCE, said).await,
            "no {text:?}:
{}",
            self.program.stdout()
        );
    }

    /// Its exit code and output, once it ended and left nothing.
    async fn end(self) -> (i32, String) {
        let Self { program, folder } = self;
        let finished = program.finish(PATIENCE).await;
        let output = format!("{}{}", finished.stdout, finished.stderr);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?}\n{output}");
        let place = folder.path().display().to_string();
        assert_eq!(processes(|line| line.contains(&place)), Vec::<i32>::new(), "{output}");
        (finished.code(), output)
    }
}

/// The ids of the processes whose command line is as wanted.
fn processes(wanted: impl Fn(&str) -> bool) -> Vec<i32> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id: &i32| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            wanted(&String::from_utf8_lossy(&line).replace('\0', " "))
        })
        .collect()
}

/// The parent of a process.
fn parent(id: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::test]
async fn the_demo_swaps_users_under_load_and_ends_by_itself() {
    or_skip!(find_tools());
    let (code, output) = Demo::start(&["--duration", "20s"]).end().await;
    assert_eq!(code, 0, "{output}");
    let summary = output.lines().last().unwrap();
    assert!(output.contains("swap 1"), "{output}");
    assert!(output.contains("psql \"host=127.0.0.1 port="), "{output}");
    assert!(summary.contains(", 0 failures; no user was left behind"), "{output}");
    assert!(!output.contains('\x1b'), "{output}");
}

#[tokio::test]
async fn a_signal_under_load_ends_the_demo_in_order() {
    or_skip!(find_tools());
    for signal in [Signal::INT, Signal::TERM] {
        let mut demo = Demo::start(&[]);
        demo.until("swaps=0").await;
        demo.program.signal(signal);
        let (code, output) = demo.end().await;
        assert_eq!(code, 0, "{output}");
        assert!(output.contains("0 failures; no user was left behind"), "{output}");
    }
}

#[tokio::test]
async fn a_signal_during_the_start_leaves_nothing_either() {
    or_skip!(find_tools());
    let mut demo = Demo::start(&["--duration", "1h"]);
    demo.until("starting").await;
    demo.program.signal(Signal::INT);
    let (code, output) = demo.end().await;
    assert_eq!(code, 0, "{output}");
}

#[tokio::test]
async fn a_load_that_dies_is_a_failure() {
    or_skip!(find_tools());
    let demo = Demo::start(&["--duration", "1h"]);
    demo.until("swaps=0").await;
    let ours = demo.program.id();
    let bench = processes(|line| line.contains("pgbench")).into_iter().find(|id| parent(*id) == Some(ours));
    kill_process(Pid::from_raw(bench.unwrap()).unwrap(), Signal::KILL).unwrap();
    let (code, output) = demo.end().await;
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("pgbench ended early"), "{output}");
}
