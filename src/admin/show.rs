//! The tables: from a snapshot of the process to columns and rows.
//!
//! `docs/console.md` specifies every column; a test compares the two.

use super::command::{OTHERS, Show};
use super::table::{Column, Kind, Table, Value};
use crate::credentials::GenerationSnapshot;
use crate::net::Peer;
use crate::pool::{PoolMode, ServerRow};
use crate::session::{ClientRow, ClientState};
use crate::snapshot::{DatabaseSnapshot, Now, Snapshot};

const fn column(name: &'static str, kind: Kind, meaning: &'static str) -> Column {
    Column { name, kind, meaning }
}

const GENERATIONS: &[Column] = &[
    column("database", Kind::Text, "The database that clients ask for."),
    column("source", Kind::Text, "Where its users come from: `vault` or `local`."),
    column("generation", Kind::Int8, "Number of the generation, from 1 for each database."),
    column("user", Kind::Text, "The database user; NULL while it is being issued."),
    column(
        "state",
        Kind::Text,
        "`issuing`, `verifying`, `warming`, `active`, `retiring`, `drained`, `revoked`, `dead` (somebody else removed the user) or `left` (could not be revoked, ends by itself).",
    ),
    column("lease_id", Kind::Text, "The source's name for the lease; NULL while it is being issued."),
    column("issued_at", Kind::Timestamptz, "When the user was asked for."),
    column(
        "expires_in",
        Kind::Float8,
        "Seconds until lease or token ends, whichever is first; NULL while it is being issued and when the user is gone.",
    ),
    column("connections", Kind::Int8, "Server connections of this user, those being opened included."),
    column("renewals", Kind::Int8, "How often the lease was renewed."),
];

const POOLS: &[Column] = &[
    column("database", Kind::Text, "The database that clients ask for."),
    column("pool_mode", Kind::Text, "`transaction` or `session`."),
    column("generation", Kind::Int8, "The active generation; NULL: no client can be served."),
    column("user", Kind::Text, "The active generation's user."),
    column("clients_active", Kind::Int8, "Clients that hold a server connection."),
    column("clients_waiting", Kind::Int8, "Clients that wait for one."),
    column("clients_idle", Kind::Int8, "Clients that need none at the moment."),
    column("servers_idle", Kind::Int8, "Server connections at hand for a client."),
    column("servers_busy", Kind::Int8, "Server connections that a client holds."),
    column("pool_size", Kind::Int8, "The most connections of the active user (`pool_size`)."),
    column(
        "max_server_connections",
        Kind::Int8,
        "The most connections of all users together (`max_server_connections`).",
    ),
    column("transactions", Kind::Int8, "Transactions finished since the start."),
    column("errors", Kind::Int8, "Errors that the server sent since the start."),
    column("rotations", Kind::Int8, "How often one generation took over from another."),
    column("last_error", Kind::Text, "What went wrong last with its users; NULL once a new one is active."),
];

const CLIENTS: &[Column] = &[
    column("id", Kind::Int8, "Number of the client, from 1 for each start of Leasehold."),
    column("database", Kind::Text, "The database it asked for."),
    column("user", Kind::Text, "The user it said it is; not the one that PostgreSQL sees."),
    column("application_name", Kind::Text, "Its `application_name` at login."),
    column("address", Kind::Text, "Where it comes from: address and port, or `unix`."),
    column(
        "state",
        Kind::Text,
        "`active` (holds a server connection), `waiting` (for one) or `idle` (needs none).",
    ),
    column("connected_since", Kind::Timestamptz, "When it logged in."),
    column("shard", Kind::Int8, "The data thread that serves it, from 0."),
];

const SERVERS: &[Column] = &[
    column("database", Kind::Text, "The database that clients ask for."),
    column("generation", Kind::Int8, "The generation whose user is logged in."),
    column("user", Kind::Text, "That user."),
    column("pid", Kind::Int8, "The server's process, as in `pg_stat_activity`."),
    column("state", Kind::Text, "`busy` (a client holds it) or `idle`."),
    column("client", Kind::Int8, "The client that holds it, as `id` in SHOW CLIENTS; NULL: none."),
    column("address", Kind::Text, "Where it went: address and port, or the path of a socket."),
    column("connected_since", Kind::Timestamptz, "When it was opened."),
    column("shard", Kind::Int8, "The data thread that owns it, from 0."),
];

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

impl Show {
    /// The table's columns.
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Generations => GENERATIONS,
            Self::Pools => POOLS,
            Self::Clients => CLIENTS,
            Self::Servers => SERVERS,
            Self::Version => VERSION,
            Self::Help => HELP,
        }
    }

    /// The table's rows.
    pub(super) fn table(self, view: &Snapshot) -> Table {
        let rows = match self {
            Self::Generations => generations(view),
            Self::Pools => {
                view.databases.iter().enumerate().map(|(index, pool)| pool_row(view, index, pool)).collect()
            }
            Self::Clients => view.clients.iter().map(|client| client_row(&view.now, client)).collect(),
            Self::Servers => servers(view),
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

fn generations(view: &Snapshot) -> Vec<Vec<Value>> {
    let rows = view
        .databases
        .iter()
        .map(|pool| pool.keeper.generations.iter().map(|generation| generation_row(view, pool, generation)));
    rows.flatten().collect()
}

fn generation_row(view: &Snapshot, pool: &DatabaseSnapshot, generation: &GenerationSnapshot) -> Vec<Value> {
    let known = |text: &str| Value::Text((!text.is_empty()).then(|| text.to_owned()));
    vec![
        Value::text(&pool.name),
        Value::text(pool.keeper.source),
        Value::count(generation.id.number()),
        known(&generation.user),
        Value::text(generation.state.to_string()),
        known(&generation.lease_id),
        Value::Time(Some(generation.issued_at)),
        Value::Float(view.expires_in(generation)),
        Value::count(pool.connections.get(&generation.id).copied().unwrap_or(0)),
        Value::count(generation.renewals),
    ]
}

fn pool_row(view: &Snapshot, index: usize, pool: &DatabaseSnapshot) -> Vec<Value> {
    let active = pool.active_generation();
    let clients = |state| Value::count(view.clients_that(state, &pool.name));
    let counts = view.counts(index);
    vec![
        Value::text(&pool.name),
        Value::text(match pool.mode {
            PoolMode::Transaction => "transaction",
            PoolMode::Session => "session",
        }),
        Value::Int(active.and_then(|active| i64::try_from(active.id.number()).ok())),
        Value::Text(active.map(|active| active.user.clone())),
        clients(ClientState::Active),
        clients(ClientState::Waiting),
        clients(ClientState::Idle),
        Value::count(counts.idle),
        Value::count(counts.busy),
        Value::count(pool.size),
        Value::count(pool.max_server_connections),
        Value::count(counts.transactions),
        Value::count(counts.errors),
        Value::count(pool.keeper.rotations),
        Value::Text(pool.last_error().map(str::to_owned)),
    ]
}

fn client_row(now: &Now, client: &ClientRow) -> Vec<Value> {
    vec![
        Value::count(client.id.0),
        Value::text(&client.database),
        Value::text(&client.user),
        Value::text(&client.application_name),
        Value::Text(Some(client.address.map_or_else(|| "unix".to_owned(), |address| address.to_string()))),
        Value::text(match client.state {
            ClientState::Active => "active",
            ClientState::Waiting => "waiting",
            ClientState::Idle => "idle",
        }),
        Value::Time(now.wall_of(client.since)),
        Value::count(client.shard),
    ]
}

fn servers(view: &Snapshot) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for (index, pool) in view.databases.iter().enumerate() {
        for (shard, snapshot) in &view.shards {
            let servers = snapshot.pools.get(index).map_or(&[][..], |part| &part.servers);
            rows.extend(servers.iter().map(|server| server_row(&view.now, pool, *shard, server)));
        }
    }
    rows
}

fn server_row(now: &Now, pool: &DatabaseSnapshot, shard: usize, server: &ServerRow) -> Vec<Value> {
    vec![
        Value::text(&pool.name),
        Value::count(server.generation.number()),
        Value::text(&server.user),
        Value::Int(server.pid.map(i64::from)),
        Value::text(if server.client.is_some() { "busy" } else { "idle" }),
        Value::Int(server.client.and_then(|client| i64::try_from(client.0).ok())),
        Value::text(match &server.peer {
            Peer::Tcp(address) => address.to_string(),
            Peer::Unix(path) => path.display().to_string(),
        }),
        Value::Time(now.wall_of(server.opened)),
        Value::count(shard),
    ]
}

fn help() -> Vec<Vec<Value>> {
    let shows = Show::ALL.iter().map(|(_, word, meaning)| (format!("SHOW {word}"), *meaning));
    let others = OTHERS.iter().map(|(command, meaning)| ((*command).to_owned(), *meaning));
    shows.chain(others).map(|(command, meaning)| vec![Value::text(command), Value::text(meaning)]).collect()
}

#[cfg(test)]
mod tests;
