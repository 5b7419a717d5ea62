//! The screen: what is known, as widgets.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, TableState};

use super::super::report::{Database, Event, Sample, duration};
use super::super::text;
use super::super::units::span;
use super::state::State;
use super::tables;
use super::theme::Theme;
use crate::clock::Moment;

/// The keys, as the help tells them.
const KEYS: &[(&str, &str)] = &[
    ("q, Esc, Ctrl-C", "quit"),
    ("↓ ↑, Tab", "choose a database"),
    ("p, space", "pause, go on"),
    ("?", "show or hide this"),
];

/// Draws all of it as it is at `now`.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, now: Moment, theme: Theme) {
    let area = frame.area();
    let age = state.age(now);
    let head = head(state, now, theme);
    let generations = state.chosen().map_or(0, |database| database.generations.len());
    let heights = heights(area.height, head.len(), state.databases().len(), generations);
    let [top, databases, users, detail, events, keys] =
        Layout::vertical(heights.map(Constraint::Length)).areas(area);
    frame.render_widget(Paragraph::new(head), top);
    let mut chosen = TableState::new().with_selected(state.chosen().map(|_| state.index()));
    frame.render_stateful_widget(tables::databases(state, age, area.width, theme), databases, &mut chosen);
    if let Some(database) = state.chosen() {
        let most = usize::from(users.height.saturating_sub(1));
        frame.render_widget(tables::generations(database, age, area.width, most, theme), users);
        frame.render_widget(Paragraph::new(details(database, age, theme)), detail);
        frame.render_widget(Paragraph::new(happened(database, age, theme)), events);
    }
    frame.render_widget(Line::styled("q quit  ↑↓ database  p pause  ? help", theme.faint()), keys);
    if state.help {
        help(frame, area, theme);
    }
}

/// The heights of head, databases, generations, details, events and keys. What matters most gets
/// its lines first, where there are not enough for all.
fn heights(total: u16, head: usize, databases: usize, generations: usize) -> [u16; 6] {
    let mut left = total;
    let mut take = |lines: usize| {
        let taken = u16::try_from(lines).unwrap_or(u16::MAX).min(left);
        left = left.saturating_sub(taken);
        taken
    };
    let third = usize::from(total / 3).max(2);
    let head = take(head);
    let databases = take(databases.saturating_add(1).min(third));
    let keys = take(1);
    let generations = take(generations.min(6).saturating_add(1));
    let details = take(6);
    [head, databases, generations, details, take(usize::MAX), keys]
}

fn head(state: &State, now: Moment, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = vec![match &state.sample {
        Some(sample) => title(sample, &state.place, state.age(now), theme),
        None => Line::raw(format!("asking {} …", state.place)),
    }];
    if let Some(paused) = state.paused {
        lines.push(Line::styled(format!("paused for {}: p goes on", span(now.since(paused))), theme.warn()));
    }
    if let Some(silence) = &state.silence {
        let silent = format!("no answer for {}: {}", span(now.since(silence.since)), silence.why);
        lines.push(Line::styled(silent, theme.bad()));
    }
    if let Some(sample) = &state.sample {
        lines.extend(troubles(sample).into_iter().map(|text| Line::styled(text, theme.bad())));
    }
    lines
}

fn title(sample: &Sample, place: &str, age: Duration, theme: Theme) -> Line<'static> {
    let report = &sample.report;
    let standing = text::standing(report);
    let style = if report.ready { theme.good() } else { theme.bad() };
    let up = duration(report.uptime_seconds).saturating_add(age);
    let rest = format!("  {place}  up {}  leasehold {}", span(up), report.version);
    Line::from(vec![Span::styled(standing, style), Span::raw(rest)])
}

/// Why it is not ready, and what is missing from the figures.
fn troubles(sample: &Sample) -> Vec<String> {
    let blocked = sample.report.threads.blocked.iter();
    let mut lines: Vec<String> =
        blocked.map(|thread| format!("data thread {thread} gives no answer")).collect();
    for reason in &sample.report.reasons {
        let about = reason.database.as_ref().map(|database| format!("{database}: ")).unwrap_or_default();
        lines.push(format!("{about}{}", reason.detail));
    }
    // The databases below have all of them in a word.
    lines.truncate(3);
    lines
}

fn details(database: &Database, age: Duration, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled(database.database.clone(), theme.strong())];
    let mut say = |name: &str, value: String| {
        lines.push(Line::from(vec![Span::styled(format!("{name:<12} "), theme.faint()), Span::raw(value)]));
    };
    say("connections", text::connections(database));
    say("clients", text::clients(database));
    say("waits", text::waits(database));
    say("next user", text::next_user(database, age));
    if let Some(error) = &database.last_error {
        say("last error", error.clone());
    }
    lines
}

/// What happened, the latest first.
fn happened(database: &Database, age: Duration, theme: Theme) -> Vec<Line<'static>> {
    database.events.iter().rev().map(|event| line(event, age, theme)).collect()
}

fn line(event: &Event, age: Duration, theme: Theme) -> Line<'static> {
    let style = match event.level.as_str() {
        "error" => theme.bad(),
        "warn" => theme.warn(),
        _ => theme.faint(),
    };
    let ago = span(duration(event.seconds_ago).saturating_add(age));
    let about = event.generation.map(|generation| format!("generation {generation}: ")).unwrap_or_default();
    let times = if event.times > 1 { format!(" ({} times)", event.times) } else { String::new() };
    Line::from(vec![
        Span::raw(format!("{ago:>7} ago ")),
        Span::styled(format!("{:<5} ", event.level), style),
        Span::raw(format!("{about}{}{times}", event.text)),
    ])
}

fn help(frame: &mut Frame<'_>, area: Rect, theme: Theme) {
    let lines: Vec<Line<'_>> = KEYS
        .iter()
        .map(|(key, meaning)| {
            Line::from(vec![Span::styled(format!(" {key:<15}"), theme.strong()), Span::raw(*meaning)])
        })
        .collect();
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2);
    let place = area.centered(Constraint::Max(38), Constraint::Max(height));
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" keys ")), place);
}

#[cfg(test)]
mod tests;
