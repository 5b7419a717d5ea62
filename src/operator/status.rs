//! `leasehold status`: asks once, or every two seconds, and prints.

use std::io::Write;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ask::{Answer, ask};
use super::place::Place;
use super::text;

/// How long a watch pauses between two questions.
const PAUSE: Duration = Duration::from_secs(2);
/// Clears a terminal and goes to its upper left corner (ECMA-48: ED, CUP).
const CLEAR: &str = "\x1b[2J\x1b[H";

/// What was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct StatusOptions {
    /// The JSON as it came, instead of words.
    pub json: bool,
    /// Again and again, until stopped.
    pub watch: bool,
    /// The output is a terminal, which a watch clears.
    pub terminal: bool,
}

/// How the proxy was when it was asked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Every database is served.
    Ready,
    /// One is not, or the proxy is stopping.
    NotReady,
    /// It gave no status.
    Unknown,
}

/// Asks the proxy at `place` and tells `out` what it says, or `trouble` why it says nothing.
///
/// Ends after the first answer; a watch ends when `stop` is cancelled or nobody reads `out` any more.
pub async fn status(
    place: &Place,
    options: StatusOptions,
    mut out: impl Write,
    mut trouble: impl Write,
    stop: &CancellationToken,
) -> Standing {
    let mut standing = Standing::Unknown;
    loop {
        let Some(asked) = stop.run_until_cancelled(ask(place)).await else { return standing };
        let clear = if options.watch && options.terminal { CLEAR } else { "" };
        let told = match asked {
            Ok(answer) => {
                standing = if answer.report.ready { Standing::Ready } else { Standing::NotReady };
                let gap = if options.watch && !options.terminal && !options.json { "\n" } else { "" };
                write!(out, "{clear}{}{gap}", shown(&answer, options.json, place)).and_then(|()| out.flush())
            }
            Err(error) => {
                standing = Standing::Unknown;
                let cleared = write!(out, "{clear}").and_then(|()| out.flush());
                cleared.and_then(|()| writeln!(trouble, "leasehold: cannot ask {place}: {error}"))
            }
        };
        if !options.watch || told.is_err() || stop.run_until_cancelled(sleep(PAUSE)).await.is_none() {
            return standing;
        }
    }
}

fn shown(answer: &Answer, json: bool, place: &Place) -> String {
    if json { answer.text.clone() } else { text::whole(&answer.report, &place.to_string()) }
}
