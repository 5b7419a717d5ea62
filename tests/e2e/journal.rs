//! What the proxy's log tells of its generations.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::site::PATIENCE;
use crate::support::proxy::field;
use crate::support::wait::wait_for;
use crate::support::{Leasehold, Pgbench};

/// One step of a generation's life.
#[derive(Debug, Clone)]
pub struct Step {
    pub at: SystemTime,
    pub pool: String,
    pub generation: u64,
    pub user: String,
    pub line: Value,
}

impl Step {
    /// A field of the event as text; empty if there is none.
    pub fn field(&self, name: &str) -> String {
        field(&self.line, name)
    }

    fn read(line: Value) -> Self {
        Self {
            at: humantime::parse_rfc3339(&field(&line, "timestamp")).unwrap(),
            pool: field(&line, "pool"),
            generation: field(&line, "generation").parse().unwrap_or(0),
            user: field(&line, "user"),
            line,
        }
    }
}

pub trait Journal {
    /// Events with exactly this message, in order.
    fn steps(&self, message: &str) -> Vec<Step>;

    /// Waits for the event; fails the test with the log if it does not come.
    async fn step(&self, message: &str, patience: Duration, wanted: impl Fn(&Step) -> bool) -> Step;

    /// Waits until this generation of database `app`, or a later one, is active.
    async fn active_from(&self, generation: u64) -> Step {
        let wanted = |step: &Step| step.pool == "app" && step.generation >= generation;
        self.step("active", PATIENCE, wanted).await
    }

    /// The user that serves database `app` now.
    fn active(&self) -> Step {
        self.activations("app").pop().expect("nothing was ever active")
    }

    /// How generations of a database took over, in order.
    fn activations(&self, pool: &str) -> Vec<Step> {
        self.steps("active").into_iter().filter(|step| step.pool == pool).collect()
    }

    /// Fails the test if any of these was ever logged.
    fn assert_never(&self, messages: &[&str]);
}

impl Journal for Leasehold {
    fn steps(&self, message: &str) -> Vec<Step> {
        let exact = |line: &Value| field(line, "message") == message;
        self.logs().into_iter().filter(exact).map(Step::read).collect()
    }

    async fn step(&self, message: &str, patience: Duration, wanted: impl Fn(&Step) -> bool) -> Step {
        let found =
            wait_for(patience, async || self.steps(message).into_iter().find(|step| wanted(step))).await;
        found.unwrap_or_else(|| panic!("no such {message:?} within {patience:?}:\n{}", self.log_text()))
    }

    #[track_caller]
    fn assert_never(&self, messages: &[&str]) {
        for message in messages {
            assert!(self.steps(message).is_empty(), "{message:?}:\n{}", self.log_text());
        }
    }
}

/// What is logged where a user was lost that could have served.
pub const LOSSES: [&str; 4] = [
    "no generation is active",
    "the user ends and there is no other: clients wait",
    "the user was removed by somebody else",
    "cutting what is left",
];

/// Those of them that no slow machine brings about.
pub const REMOVALS: [&str; 2] = ["the user was removed by somebody else", "cutting what is left"];

/// Waits for pgbench's end: nothing failed. Returns the transactions; the log goes with a failure.
pub async fn clean(pgbench: Pgbench, proxy: &Leasehold) -> u64 {
    let report = pgbench.finish().await;
    let good = report.status.success() && report.failed == 0 && report.aborted == 0 && report.processed > 0;
    assert!(good, "{report:#?}\n{}", proxy.log_text());
    report.processed
}

/// A measured figure, for whoever runs the tests with --nocapture.
pub fn say(figure: impl std::fmt::Display) {
    eprintln!("{}: {figure}", std::thread::current().name().unwrap_or_default());
}
