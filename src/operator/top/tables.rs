//! The tables: databases, and the generations of one. Narrow terminals get fewer columns.

use std::time::Duration;

use ratatui::layout::Constraint;
use ratatui::text::Span;
use ratatui::widgets::{Cell, Row, Table};

use super::super::report::{Database, Generation};
use super::super::text;
use super::super::units::{rate, span};
use super::state::State;
use super::theme::Theme;

/// Cells of the bar from a user's issue to its end.
const BAR: usize = 10;

/// One column, of things like `T`.
struct Column<T> {
    title: &'static str,
    width: Constraint,
    /// The narrowest screen that has it.
    from: u16,
    cell: fn(&T) -> Span<'static>,
}

struct DatabaseRow<'s> {
    database: &'s Database,
    state: &'s State,
    age: Duration,
    theme: Theme,
}

struct GenerationRow<'s> {
    generation: &'s Generation,
    age: Duration,
    theme: Theme,
}

/// All databases, the chosen one marked.
pub(super) fn databases(state: &State, age: Duration, width: u16, theme: Theme) -> Table<'static> {
    let columns: Vec<Column<DatabaseRow<'_>>> = vec![
        column("database", Constraint::Min(8), 0, |row| Span::raw(row.database.database.clone())),
        column("state", Constraint::Length(9), 24, standing),
        column("ends in", Constraint::Length(7), 32, |row| {
            Span::raw(row.database.active().map_or("-".to_owned(), |active| ends_in(active, row.age)))
        }),
        column("tx/s", Constraint::Length(7), 40, |row| {
            Span::raw(row.state.rate(&row.database.database).map_or("-".to_owned(), rate))
        }),
        column("busy/idle/most", Constraint::Length(14), 60, |row| {
            let servers = &row.database.servers;
            Span::raw(format!("{}/{}/{}", servers.busy, servers.idle, servers.pool_size))
        }),
        column("clients waiting", Constraint::Length(15), 80, |row| {
            let clients = &row.database.clients;
            let waiting = format!("{} {}", clients.active.saturating_add(clients.idle), clients.waiting);
            if clients.waiting > 0 { Span::styled(waiting, row.theme.warn()) } else { Span::raw(waiting) }
        }),
        column("wait p99", Constraint::Length(9), 90, |row| {
            Span::raw(text::p99(row.database).unwrap_or_else(|| "-".to_owned()))
        }),
    ];
    let rows: Vec<DatabaseRow<'_>> =
        state.databases().iter().map(|database| DatabaseRow { database, state, age, theme }).collect();
    table(&columns, &rows, width, theme).row_highlight_style(theme.chosen())
}

/// The latest `most` generations of a database, oldest first.
pub(super) fn generations(
    database: &Database,
    age: Duration,
    width: u16,
    most: usize,
    theme: Theme,
) -> Table<'static> {
    let columns: Vec<Column<GenerationRow<'_>>> = vec![
        column("gen", Constraint::Length(4), 0, |row| Span::raw(row.generation.generation.to_string())),
        column("state", Constraint::Length(9), 24, |row| {
            Span::styled(row.generation.state.clone(), style(row.generation, row.theme))
        }),
        column("to its end", Constraint::Length(10), 60, |row| {
            Span::styled(life(row.generation, row.age, BAR), style(row.generation, row.theme))
        }),
        column("life", Constraint::Length(4), 36, |row| Span::raw(life(row.generation, row.age, 4))),
        column("ends in", Constraint::Length(7), 30, |row| Span::raw(ends_in(row.generation, row.age))),
        column("busy/idle", Constraint::Length(9), 60, |row| {
            Span::raw(format!("{}/{}", row.generation.busy, row.generation.idle))
        }),
        column("user", Constraint::Min(8), 0, |row| {
            Span::raw(row.generation.user.clone().unwrap_or_else(|| "being issued".to_owned()))
        }),
    ];
    let narrow_bar = |column: &Column<GenerationRow<'_>>| column.title != "life" || width < 60;
    let columns: Vec<_> = columns.into_iter().filter(narrow_bar).collect();
    let left_out = database.generations.len().saturating_sub(most);
    let rows: Vec<GenerationRow<'_>> = database
        .generations
        .iter()
        .skip(left_out)
        .map(|generation| GenerationRow { generation, age, theme })
        .collect();
    table(&columns, &rows, width, theme)
}

fn column<T>(title: &'static str, width: Constraint, from: u16, cell: fn(&T) -> Span<'static>) -> Column<T> {
    Column { title, width, from, cell }
}

fn table<T>(columns: &[Column<T>], rows: &[T], width: u16, theme: Theme) -> Table<'static> {
    let shown = || columns.iter().filter(|column| column.from <= width);
    let cells = |row: &T| shown().map(|column| Cell::from((column.cell)(row))).collect::<Vec<_>>();
    let rows = rows.iter().map(|row| Row::new(cells(row)));
    let header = Row::new(shown().map(|column| column.title)).style(theme.faint());
    Table::new(rows, shown().map(|column| column.width)).header(header).column_spacing(1)
}

fn standing(row: &DatabaseRow<'_>) -> Span<'static> {
    let reason = row.state.sample.as_ref().and_then(|sample| sample.report.reason(&row.database.database));
    match reason {
        Some(reason) => Span::styled(reason.reason.clone(), row.theme.bad()),
        None => Span::styled("ready", row.theme.good()),
    }
}

fn style(generation: &Generation, theme: Theme) -> ratatui::style::Style {
    match generation.state.as_str() {
        "active" => theme.good(),
        _ if generation.expires_in_seconds.is_none() && generation.user.is_some() => theme.faint(),
        _ => theme.warn(),
    }
}

fn ends_in(generation: &Generation, age: Duration) -> String {
    generation.left(age).map_or("-".to_owned(), span)
}

/// A bar of so many cells: full at the issue, empty at the end.
fn life(generation: &Generation, age: Duration, cells: usize) -> String {
    let (Some(left), Some(whole)) = (generation.left(age), generation.life()) else { return String::new() };
    let share = if whole.is_zero() { 0.0 } else { left.as_secs_f64() / whole.as_secs_f64() };
    let step = share * f64::from(u16::try_from(cells).unwrap_or(u16::MAX));
    // Full cells are those whose middle is still ahead.
    let full =
        (0..cells).filter(|cell| f64::from(u16::try_from(*cell).unwrap_or(u16::MAX)) + 0.5 <= step).count();
    format!("{}{}", "█".repeat(full), "░".repeat(cells.saturating_sub(full)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_at_the_issue_and_empty_at_the_end() {
        let generation = Generation {
            issued_seconds_ago: Some(0.0),
            expires_in_seconds: Some(20.0),
            ..Generation::default()
        };
        for (age, expected) in
            [(0, "████"), (5, "███░"), (10, "██░░"), (15, "█░░░"), (20, "░░░░"), (99, "░░░░")]
        {
            assert_eq!(life(&generation, Duration::from_secs(age), 4), expected, "{age}");
        }
        assert_eq!(life(&Generation::default(), Duration::ZERO, 4), "");
    }
}
