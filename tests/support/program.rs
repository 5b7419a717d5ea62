//! A child process: its output in files, killed by its id when dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use tempfile::TempDir;

use super::wait::wait_for;

/// A running child. Output goes to files, so that it never blocks on a full pipe.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    output: TempDir,
}

/// A child that ended.
#[derive(Debug, Clone)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The standard output of a success; anything else fails the test.
    pub fn success(self) -> String {
        assert!(self.status.success(), "{}\n{}\n{}", self.status, self.stdout, self.stderr);
        self.stdout
    }

    /// The exit code; -1 if a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }
}

impl Program {
    /// Starts it with no standard input; panics if that is impossible.
    pub fn start(mut command: Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = tempfile::Builder::new().prefix("leasehold-out-").tempdir().unwrap();
        let file = |name: &str| Stdio::from(File::create(output.path().join(name)).unwrap());
        let child = command
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name, child, output }
    }

    /// Runs it to its end, at most `timeout`.
    pub async fn run(command: Command, timeout: Duration) -> Finished {
        Self::start(command).finish(timeout).await
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        read(&self.stdout_file())
    }

    pub fn stderr(&self) -> String {
        read(&self.stderr_file())
    }

    pub fn stdout_file(&self) -> PathBuf {
        self.output.path().join("stdout")
    }

    pub fn stderr_file(&self) -> PathBuf {
        self.output.path().join("stderr")
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let pid = rustix::process::Pid::from_child(&self.child);
            rustix::process::kill_process(pid, signal).unwrap();
        }
    }

    /// How it ended, or `None` if it still runs after `timeout`.
    pub async fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        wait_for(timeout, async || self.ended()).await
    }

    /// Waits for its end; a child that still runs after `timeout` fails the test.
    pub async fn finish(mut self, timeout: Duration) -> Finished {
        let Some(status) = self.wait(timeout).await else {
            panic!("{} still ran after {timeout:?}\n{}\n{}", self.name, self.stdout(), self.stderr());
        };
        Finished { status, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Resident memory now, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most resident memory so far, in KiB.
    pub fn peak_rss_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// CPU time so far, user and system, in steps of 10 ms.
    pub fn cpu_time(&self) -> Duration {
        let stat = self.proc_file("stat");
        // The name, field 2, may hold spaces; it ends at the last parenthesis.
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
        // USER_HZ is 100 on every Linux that matters here.
        Duration::from_millis(ticks * 10)
    }

    /// Open file descriptors.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }

    fn status(&self, label: &str) -> u64 {
        let status = self.proc_file("status");
        let line = status.lines().find_map(|line| line.strip_prefix(label)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    fn proc_file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.id())).unwrap()
    }

    /// Sends `first`, waits a while, then kills it for good. For `drop`: blocks.
    pub fn end_now(&mut self, first: Signal, patience: Duration) {
        self.signal(first);
        let end = Instant::now() + patience;
        while self.ended().is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end_now(Signal::KILL, Duration::from_secs(5));
    }
}

/// The text of a file that may be missing or not UTF-8.
fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The first file of this name in PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}
