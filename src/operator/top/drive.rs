//! Asks, reads keys and draws, until somebody quits. Decides nothing.

use std::pin::pin;
use std::time::Duration;

use crossterm::event::EventStream;
use futures_util::StreamExt as _;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::super::ask::ask;
use super::super::place::Place;
use super::super::report::Report;
use super::input::key;
use super::state::{Input, Next, State};
use super::theme::Theme;
use super::view;
use crate::clock::Moment;

/// How long after an answer the proxy is asked again.
const PAUSE: Duration = Duration::from_secs(2);
/// How often times that go on are drawn anew.
const REDRAW: Duration = Duration::from_millis(500);

/// Why the screen could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// The terminal cannot be drawn on or read.
    #[error("the terminal fails: {0}")]
    Terminal(#[from] std::io::Error),
}

/// Gives the terminal back as it was, however the function ends. A panic's message comes after it too: ratatui's
/// hook sees to that.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // A terminal that is gone cannot be restored, and nobody sees it.
        let _ = ratatui::try_restore();
    }
}

/// Shows the proxy at `place` until a key ends it or `stop` is cancelled.
///
/// # Errors
///
/// A terminal that cannot be used. A proxy that gives no answer is shown, not an error.
pub async fn top(place: &Place, color: bool, stop: &CancellationToken) -> Result<(), TopError> {
    let restore = Restore;
    let mut terminal = ratatui::try_init()?;
    let theme = Theme::new(color);
    let mut state = State::new(place.to_string());
    let mut events = EventStream::new();
    let mut ticks = interval(REDRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut asking = pin!(ask_after(place, Duration::ZERO));
    loop {
        terminal.draw(|frame| view::draw(frame, &state, Moment::now(), theme))?;
        let input = tokio::select! {
            () = stop.cancelled() => break,
            event = events.next() => match event {
                // A new size is no input: the next drawing has it.
                Some(event) => key(&event?).map(Input::Key),
                None => break,
            },
            asked = &mut asking, if state.paused.is_none() => {
                asking.set(ask_after(place, PAUSE));
                Some(Input::Asked(asked))
            }
            _ = ticks.tick() => None,
        };
        match input.map(|input| state.step(input, Moment::now())) {
            Some(Next::End) => break,
            Some(Next::Ask) => asking.set(ask_after(place, Duration::ZERO)),
            Some(Next::Stay) | None => {}
        }
    }
    drop(restore);
    Ok(())
}

/// Asks once after a while, in bounded time. Cancel safe.
async fn ask_after(place: &Place, pause: Duration) -> Result<Report, String> {
    sleep(pause).await;
    ask(place).await.map(|answer| answer.report).map_err(|error| error.to_string())
}
