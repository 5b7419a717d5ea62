//! pgbench, and what it says at the end.

use std::process::ExitStatus;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::program::{Finished, Program, Signal};

/// Longer than any load that a test asks for.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running pgbench.
#[derive(Debug)]
pub struct Pgbench(Program);

impl Pgbench {
    pub fn start(endpoint: &Endpoint, args: &[&str]) -> Self {
        let mut command = endpoint.command("pgbench");
        command.args(args);
        Self(Program::start(command))
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        self.0.ended().is_none()
    }

    /// What it has complained about so far.
    pub fn stderr(&self) -> String {
        self.0.stderr()
    }

    /// Ends it before its time; the report then has no numbers.
    pub fn stop(&mut self) {
        self.0.signal(Signal::TERM);
    }

    /// Waits for the end and reads the report.
    pub async fn finish(self) -> PgbenchReport {
        PgbenchReport::parse(self.0.finish(PATIENCE).await)
    }
}

/// pgbench's closing report. A client that met an error outside serialisation
/// failures aborts: it is in `aborted`, and the status is 2.
#[derive(Debug, Clone)]
pub struct PgbenchReport {
    pub processed: u64,
    /// Transactions that failed; pgbench counts them from version 15 on.
    pub failed: u64,
    /// Clients that gave up on an error.
    pub aborted: usize,
    pub tps: f64,
    /// Milliseconds.
    pub latency_avg: f64,
    /// Milliseconds; only with `--progress` or `-r` in some versions.
    pub latency_stddev: Option<f64>,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl PgbenchReport {
    pub fn parse(finished: Finished) -> Self {
        let Finished { status, stdout, stderr } = finished;
        let number = |label: &str| -> Option<f64> {
            let rest = stdout.lines().find_map(|line| line.trim_start().strip_prefix(label))?;
            let digits: String =
                rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            digits.parse().ok()
        };
        let count = |label: &str| {
            let rest = stdout.lines().find_map(|line| line.strip_prefix(label))?;
            rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
        };
        let aborted = stderr
            .lines()
            .filter(|line| line.contains("client ") && line.contains(" aborted"))
            .filter(|line| !line.contains("Run was aborted"))
            .count();
        Self {
            processed: count("number of transactions actually processed:").unwrap_or(0),
            failed: count("number of failed transactions:").unwrap_or(0),
            aborted,
            tps: number("tps =").unwrap_or(0.0),
            latency_avg: number("latency average =").unwrap_or(0.0),
            latency_stddev: number("latency stddev ="),
            status,
            stdout: stdout.clone(),
            stderr,
        }
    }

    /// Fails the test unless every transaction succeeded and there were some.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(
            self.status.success() && self.failed == 0 && self.aborted == 0 && self.processed > 0,
            "pgbench met errors: {} failed, {} aborted, {} processed, {}\n{}\n{}",
            self.failed,
            self.aborted,
            self.processed,
            self.status,
            self.stdout,
            self.stderr
        );
    }
}
