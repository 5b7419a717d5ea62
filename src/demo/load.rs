//! pgbench through the proxy, and what it says about itself.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::cluster::{DATABASE, clean_command, signal};
use super::error::DemoError;
use super::tools::Tools;

/// Clients of the load.
pub(super) const CLIENTS: u32 = 8;
/// As long as anybody looks on.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A pgbench that runs.
#[derive(Debug)]
pub(super) struct Load {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

/// One thing that pgbench said while it ran.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// Once a second.
    Progress {
        /// Transactions per second since the last one.
        tps: f64,
        /// Transactions that failed since the last one.
        failed: u64,
    },
    /// One of its clients gave up: a statement failed, or the connection did.
    Aborted(String),
    /// Something else.
    Other(String),
}

/// What pgbench sums up when it is not interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Summary {
    pub(super) processed: Option<u64>,
    pub(super) failed: Option<u64>,
}

/// Makes pgbench's tables, through the proxy.
pub(super) async fn prepare(tools: &Tools, proxy: SocketAddr) -> Result<(), DemoError> {
    let mut command = pgbench(tools, proxy);
    command.args(["-i", "-s", "2", "-q", DATABASE]).kill_on_drop(true);
    let output = command.output().await.map_err(|source| DemoError::io("run pgbench -i", source))?;
    if output.status.success() { Ok(()) } else { Err(DemoError::failed("pgbench -i", &output.stderr)) }
}

impl Load {
    /// Starts the load; without a duration it runs until it is stopped.
    pub(super) fn start(
        tools: &Tools,
        proxy: SocketAddr,
        duration: Option<Duration>,
    ) -> Result<Self, DemoError> {
        let seconds = duration.unwrap_or(FOREVER).as_secs().max(1).to_string();
        let mut command = pgbench(tools, proxy);
        command.args(["-n", "-j", "1", "-P", "1", "-T", &seconds, "-c", &CLIENTS.to_string(), DATABASE]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| DemoError::io("start pgbench", source))?;
        let Some(stderr) = child.stderr.take() else {
            return Err(DemoError::failed("pgbench", b"no standard error"));
        };
        Ok(Self { child, lines: BufReader::new(stderr).lines() })
    }

    /// The next thing it says; `None` when it has ended. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Said> {
        self.lines.next_line().await.ok().flatten().map(|line| Said::parse(&line))
    }

    /// Waits for its end and sums up. Called after [`Load::next`] said `None`.
    pub(super) async fn finish(mut self) -> Result<(ExitStatus, Summary), DemoError> {
        let mut text = String::new();
        if let Some(stdout) = self.child.stdout.as_mut() {
            stdout
                .read_to_string(&mut text)
                .await
                .map_err(|source| DemoError::io("read from pgbench", source))?;
        }
        let status = self.child.wait().await.map_err(|source| DemoError::io("wait for pgbench", source))?;
        Ok((status, Summary::parse(&text)))
    }

    /// Ends it in mid-run; it says no more.
    pub(super) async fn interrupt(mut self) {
        signal(&self.child, Signal::TERM);
        if timeout(Duration::from_secs(5), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

impl Said {
    /// Reads a line such as `progress: 3.0 s, 812.9 tps, lat 9.8 ms stddev 5.1, 0 failed`
    /// (without the failed before PostgreSQL 15).
    fn parse(line: &str) -> Self {
        if let Some(rest) = line.strip_prefix("progress: ") {
            let parts: Vec<&str> = rest.split(", ").collect();
            let value = |unit: &str| parts.iter().find_map(|part| part.strip_suffix(unit));
            if let Some(tps) = value(" tps").and_then(|text| text.parse().ok()) {
                let failed = value(" failed").and_then(|text| text.parse().ok()).unwrap_or(0);
                return Self::Progress { tps, failed };
            }
        }
        let text = line.trim().trim_start_matches("pgbench: ").to_owned();
        if text.contains("aborted in ") || text.contains("aborted while") || text.starts_with("error:") {
            Self::Aborted(text)
        } else {
            Self::Other(text)
        }
    }
}

impl Summary {
    fn parse(text: &str) -> Self {
        let value = |name: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            rest.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?.parse().ok()
        };
        Self {
            processed: value("number of transactions actually processed:"),
            failed: value("number of failed transactions:"),
        }
    }
}

fn pgbench(tools: &Tools, proxy: SocketAddr) -> Command {
    let mut command = clean_command(&tools.pgbench);
    command.env("PGCONNECT_TIMEOUT", "30").env("PGAPPNAME", "pgbench").env("LC_ALL", "C");
    command.args(["-h", &proxy.ip().to_string(), "-p", &proxy.port().to_string(), "-U", "anyone"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbenchs_lines_are_understood() {
        for (line, expected) in [
            (
                "progress: 3.0 s, 812.9 tps, lat 9.8 ms stddev 5.1, 2 failed",
                Said::Progress { tps: 812.9, failed: 2 },
            ),
            ("progress: 3.0 s, 812.9 tps, lat 9.8 ms stddev 5.1", Said::Progress { tps: 812.9, failed: 0 }),
            ("progress: soon", Said::Other("progress: soon".into())),
            (
                "pgbench: error: client 3 script 0 aborted in command 4 query 0: ERROR:  permission denied",
                Said::Aborted(
                    "error: client 3 script 0 aborted in command 4 query 0: ERROR:  permission denied".into(),
                ),
            ),
            ("pgbench (15.18)", Said::Other("pgbench (15.18)".into())),
        ] {
            assert_eq!(Said::parse(line), expected, "{line}");
        }
    }

    #[test]
    fn pgbenchs_summary_is_understood() {
        let text = "transaction type: <builtin: TPC-B (sort of)>\nduration: 3 s\n\
                    number of transactions actually processed: 2468\n\
                    number of failed transactions: 1 (0.040%)\nlatency average = 9.7 ms\n";
        assert_eq!(Summary::parse(text), Summary { processed: Some(2468), failed: Some(1) });
        assert_eq!(Summary::parse(""), Summary::default());
    }
}
