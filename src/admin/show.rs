//! The tables: from a snapshot of the process to columns and rows.
//!
//! Columns that PgBouncer has come first, under its names and in its order; ours come behind them.
//! `docs/console.md` specifies every column; a test compares the two.

mod databases;
mod generations;
mod lists;
mod pools;
mod sockets;
mod stats;

use super::command::{OTHERS, Show};
use super::settings::{Change, ShownSettings};
use super::table::{Column, Kind, Table, Value, column};
use crate::snapshot::{Depth, Snapshot};

const VERSION: &[Column] = &[column("version", Kind::Text, "Leasehold's name and version.")];

const HELP: &[Column] = &[
    column("command", Kind::Text, "A command of this console."),
    column("meaning", Kind::Text, "What it shows or does."),
];

const ROTATION: &[Column] = &[
    column("database", Kind::Text, "The database that clients ask for."),
    column(
        "answer",
        Kind::Text,
        "`issuing`: a new user was asked for; `under way`: one is on its way already; `stopping`: no new user will come.",
    ),
];

const RELOAD: &[Column] = &[
    column("key", Kind::Text, "A key whose value in the configuration is not the one in force."),
    column("was", Kind::Text, "What was in force; NULL: the key was not there."),
    column("is", Kind::Text, "What the configuration says now; NULL: the key is not there any more."),
    column("answer", Kind::Text, "`applied`: it holds from now on; `needs a restart`."),
];

/// What tables are made from.
#[derive(Debug)]
pub(super) struct Sight<'a> {
    /// The process.
    pub(super) view: &'a Snapshot,
    /// Its settings.
    pub(super) shown: &'a ShownSettings,
    /// What proc(5) says of it in `status`; empty if that cannot be read.
    pub(super) status: &'a str,
}

impl Show {
    /// The table's columns.
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Generations => generations::COLUMNS,
            Self::Pools => pools::COLUMNS,
            Self::Clients => sockets::CLIENTS,
            Self::Servers => sockets::SERVERS,
            Self::Sockets | Self::ActiveSockets => sockets::SOCKETS,
            Self::Databases => databases::COLUMNS,
            Self::Stats => stats::STATS,
            Self::StatsTotals => stats::TOTALS,
            Self::StatsAverages => stats::AVERAGES,
            Self::Lists => lists::LISTS,
            Self::Config => lists::CONFIG,
            Self::Mem => lists::MEM,
            Self::Version => VERSION,
            Self::Help => HELP,
        }
    }

    /// How much of the process the table needs; `None`: nothing has to be asked.
    pub(super) fn depth(self) -> Option<Depth> {
        match self {
            Self::Stats | Self::StatsTotals | Self::StatsAverages => Some(Depth::Threads),
            Self::Config | Self::Mem | Self::Version | Self::Help => None,
            Self::Generations
            | Self::Pools
            | Self::Clients
            | Self::Servers
            | Self::Sockets
            | Self::ActiveSockets
            | Self::Databases
            | Self::Lists => Some(Depth::Clients),
        }
    }

    /// The table's rows.
    pub(super) fn table(self, sight: &Sight<'_>) -> Table {
        let view = sight.view;
        let rows = match self {
            Self::Generations => generations::rows(view),
            Self::Pools => pools::rows(view),
            Self::Clients => sockets::clients(view),
            Self::Servers => sockets::servers(view),
            Self::Sockets => sockets::sockets(view, false),
            Self::ActiveSockets => sockets::sockets(view, true),
            Self::Databases => databases::rows(view),
            Self::Stats => stats::stats(view),
            Self::StatsTotals => stats::totals(view),
            Self::StatsAverages => stats::averages(view),
            Self::Lists => lists::lists(view),
            Self::Config => lists::config(sight.shown),
            Self::Mem => lists::mem(sight.status),
            Self::Version => vec![vec![Value::text(concat!("Leasehold ", env!("CARGO_PKG_VERSION")))]],
            Self::Help => help(),
        };
        Table { columns: self.columns(), rows }
    }
}

/// The columns that ROTATE answers with.
pub(super) fn rotation_columns() -> &'static [Column] {
    ROTATION
}

/// The columns that RELOAD answers with.
pub(super) fn reload_columns() -> &'static [Column] {
    RELOAD
}

/// What RELOAD answers with.
pub(super) fn reloaded(changes: Vec<Change>) -> Table {
    let row = |change: Change| {
        let answer = if change.applied { "applied" } else { "needs a restart" };
        vec![
            Value::Text(Some(change.key)),
            Value::Text(change.was),
            Value::Text(change.is),
            Value::text(answer),
        ]
    };
    Table { columns: RELOAD, rows: changes.into_iter().map(row).collect() }
}

/// What ROTATE answers with; `stopping` as the keepers' snapshots say.
pub(super) fn rotation(answers: Vec<Rotated>) -> Table {
    let row = |rotated: Rotated| {
        let answer = match rotated {
            Rotated { accepted: true, .. } => "issuing",
            Rotated { stopping: true, .. } => "stopping",
            _ => "under way",
        };
        vec![Value::Text(Some(rotated.database)), Value::text(answer)]
    };
    Table { columns: ROTATION, rows: answers.into_iter().map(row).collect() }
}

/// What became of ROTATE for one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rotated {
    /// Which database.
    pub(super) database: String,
    /// A new user is due because of it.
    pub(super) accepted: bool,
    /// The keeper is stopping.
    pub(super) stopping: bool,
}

fn help() -> Vec<Vec<Value>> {
    let shows = Show::ALL.iter().map(|(_, word, meaning)| (format!("SHOW {word}"), *meaning));
    let others = OTHERS.iter().map(|(command, meaning)| ((*command).to_owned(), *meaning));
    shows.chain(others).map(|(command, meaning)| vec![Value::text(command), Value::text(meaning)]).collect()
}

#[cfg(test)]
mod tests;
