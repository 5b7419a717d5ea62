//! Skipping aloud: what a machine cannot run is printed, and counted in the
//! closing line of `.ci/run`.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;

/// A part that the tests need and this machine does not have; says what to install.
#[derive(Debug, Clone)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Prints and counts one skip; the macros call it.
pub fn record(reason: &dyn fmt::Display) {
    note("SKIPPED", "LEASEHOLD_TEST_SKIPS", reason);
}

/// Prints a test that is left out and counts it apart: what a registry of some driver does not give
/// today must not stop everything else. `scripts/test` names it above the closing line.
pub fn leave_out(reason: &dyn fmt::Display) {
    note("LEFT OUT", "LEASEHOLD_TEST_LEFT_OUT", reason);
}

fn note(word: &str, list: &str, reason: &dyn fmt::Display) {
    let thread = std::thread::current();
    // The runner's word: what runs alone in its process may run on the main thread.
    let name = std::env::var("NEXTEST_TEST_NAME").ok();
    let name = name.as_deref().or(thread.name()).unwrap_or("a test");
    // Two files may have a test of the same name.
    let binary = std::env::var("NEXTEST_BINARY_ID").map_or_else(|_| String::new(), |id| id + " ");
    let line = format!("{word} {binary}{name}: {reason}\n");
    // Straight to the descriptor: the test runner captures only what the print macros write.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(file) = std::env::var_os(list) {
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        // One write, so that lines of parallel tests do not mix.
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// Ends the test as skipped, with the reason.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        $crate::support::skip::record(&format_args!($($reason)+));
        return;
    }};
}

/// The value of a `Result<_, Missing>`, or the end of the test as left out.
#[macro_export]
macro_rules! or_leave_out {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(missing) => {
                $crate::support::skip::leave_out(&missing);
                return;
            }
        }
    };
}

/// The value of a `Result<_, Missing>`, or the end of the test as skipped.
#[macro_export]
macro_rules! or_skip {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(missing) => $crate::skip!("{missing}"),
        }
    };
}
