//! The state of the demo as text: plain functions.

use std::time::Duration;

use super::story::Look;

/// What is shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame<'s> {
    /// Since the load began.
    pub(super) elapsed: Duration,
    /// How long it is to run.
    pub(super) duration: Option<Duration>,
    /// How to try it oneself.
    pub(super) command: &'s str,
    /// The full life of a user.
    pub(super) life: Duration,
    /// The latest look at proxy and server.
    pub(super) look: &'s Look,
    /// Transactions per second, of the last second.
    pub(super) tps: f64,
    /// Statements and transactions that failed so far.
    pub(super) failures: u64,
    /// Swaps so far.
    pub(super) swaps: u64,
}

/// How a line is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
}

/// Cells of the bar.
const BAR: usize = 30;

/// The picture for a terminal, one entry a line.
pub(super) fn picture(frame: &Frame<'_>) -> Vec<(Tone, String)> {
    let until = match frame.duration {
        Some(duration) => format!("of {}", clock(duration)),
        None => "(Ctrl-C ends it and cleans up)".to_owned(),
    };
    let mut lines = vec![
        (Tone::Plain, String::new()),
        (Tone::Strong, format!("  Leasehold demo   {} {until}", clock(frame.elapsed))),
        (Tone::Faint, format!("  try it      {}", frame.command)),
    ];
    match &frame.look.active {
        Some(active) => {
            let (bar, left) = (bar(active.remaining, frame.life), seconds(active.remaining));
            lines.push((
                Tone::Plain,
                format!("  user        {}   generation {}", active.user, active.generation),
            ));
            lines.push((Tone::Plain, format!("  lives for   {bar}  {left} of {}", seconds(frame.life))));
        }
        None => {
            lines.push((Tone::Bad, "  user        none yet".to_owned()));
            lines.push((Tone::Plain, "  lives for   -".to_owned()));
        }
    }
    let (now, before) = connections(frame.look);
    lines.push((
        Tone::Plain,
        format!("  PostgreSQL  {now} connections of this user, {before} of earlier ones"),
    ));
    lines.push((Tone::Plain, format!("  load        {} transactions/s", grouped(frame.tps))));
    let tone = if frame.failures == 0 { Tone::Good } else { Tone::Bad };
    lines.push((tone, format!("  failures    {}   swaps {}", frame.failures, frame.swaps)));
    lines
}

/// The same on one line, for a file or a pipe.
pub(super) fn line(frame: &Frame<'_>) -> String {
    let (now, before) = connections(frame.look);
    let (user, left) = match &frame.look.active {
        Some(active) => (active.user.as_str(), seconds(active.remaining).replace(' ', "")),
        None => ("none", "-".to_owned()),
    };
    format!(
        "{:>5}  user={user} ends_in={left} connections={now} draining={before} tps={:.0} failures={} swaps={}",
        clock(frame.elapsed),
        frame.tps,
        frame.failures,
        frame.swaps
    )
}

/// Colours and cuts one line to the terminal's width.
pub(super) fn paint(tone: Tone, text: &str, width: usize, color: bool) -> String {
    let cut: String = text.chars().take(width).collect();
    let code = match tone {
        _ if !color => return cut,
        Tone::Plain => return cut,
        Tone::Strong => "1",
        Tone::Faint => "2",
        Tone::Good => "32",
        Tone::Bad => "1;31",
    };
    format!("\x1b[{code}m{cut}\x1b[0m")
}

/// `1:05`, `1:00:00`.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// `12,345`.
pub(super) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Connections of the active user, and of all others that the proxy made.
fn connections(look: &Look) -> (u64, u64) {
    let mut counts = (0_u64, 0_u64);
    for user in &look.users {
        let active = look.active.as_ref().is_some_and(|active| active.user == user.name);
        let count = if active { &mut counts.0 } else { &mut counts.1 };
        *count = count.saturating_add(user.connections);
    }
    counts
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64().ceil())
}

fn bar(remaining: Duration, life: Duration) -> String {
    let part = if life.is_zero() { 0.0 } else { remaining.as_secs_f64() / life.as_secs_f64() };
    let full =
        (1..=BAR).filter(|cell| f64::from(u32::try_from(*cell).unwrap_or(0)) <= part * 30.0 + 0.5).count();
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::super::server::ServerUser;
    use super::super::story::Active;
    use super::*;

    fn look() -> Look {
        let user = |name: &str, connections| ServerUser { name: name.into(), connections };
        Look {
            active: Some(Active {
                generation: 3,
                user: "v-b".into(),
                remaining: Duration::from_millis(9_400),
            }),
            users: vec![user("v-a", 2), user("v-b", 8)],
            trouble: None,
        }
    }

    fn frame(look: &Look) -> Frame<'_> {
        Frame {
            elapsed: Duration::from_secs(65),
            duration: Some(Duration::from_secs(120)),
            command: "psql …",
            life: Duration::from_secs(20),
            look,
            tps: 12_345.6,
            failures: 0,
            swaps: 2,
        }
    }

    #[test]
    fn the_picture_shows_user_life_load_and_failures() {
        let look = look();
        let text: Vec<String> = picture(&frame(&look)).into_iter().map(|(_, text)| text).collect();
        assert_eq!(
            text,
            [
                "",
                "  Leasehold demo   1:05 of 2:00",
                "  try it      psql …",
                "  user        v-b   generation 3",
                "  lives for   ██████████████░░░░░░░░░░░░░░░░  10 s of 20 s",
                "  PostgreSQL  8 connections of this user, 2 of earlier ones",
                "  load        12,346 transactions/s",
                "  failures    0   swaps 2",
            ]
        );
        assert_eq!(picture(&frame(&look)).last().map(|(tone, _)| *tone), Some(Tone::Good));
        let failed = Frame { failures: 1, ..frame(&look) };
        assert_eq!(picture(&failed).last().map(|(tone, _)| *tone), Some(Tone::Bad));
    }

    #[test]
    fn the_picture_always_has_as_many_lines() {
        let (with, without) = (look(), Look::default());
        assert_eq!(picture(&frame(&with)).len(), picture(&frame(&without)).len());
    }

    #[test]
    fn a_pipe_gets_one_line() {
        let look = look();
        assert_eq!(
            line(&frame(&look)),
            " 1:05  user=v-b ends_in=10s connections=8 draining=2 tps=12346 failures=0 swaps=2"
        );
    }

    #[test]
    fn the_bar_is_full_at_first_and_empty_at_the_end() {
        let life = Duration::from_secs(20);
        assert_eq!(bar(life, life), "█".repeat(30));
        assert_eq!(bar(Duration::from_secs(99), life), "█".repeat(30));
        assert_eq!(bar(Duration::ZERO, life), "░".repeat(30));
        assert_eq!(bar(life, Duration::ZERO), "░".repeat(30));
    }

    #[test]
    fn lines_are_cut_to_the_terminal_before_they_are_coloured() {
        assert_eq!(paint(Tone::Good, "abcdef", 4, true), "\x1b[32mabcd\x1b[0m");
        assert_eq!(paint(Tone::Bad, "abcdef", 4, false), "abcd");
        assert_eq!(paint(Tone::Plain, "äöü", 2, true), "äö");
    }

    #[test]
    fn numbers_and_times_are_readable() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(f64::from(number)), text);
        }
        assert_eq!(clock(Duration::from_secs(3605)), "1:00:05");
    }
}
