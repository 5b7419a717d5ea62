//! SHOW POOLS: who is in each pool now.

use std::time::Duration;

use crate::admin::table::{Column, Kind, Value, column};
use crate::session::ClientState;
use crate::snapshot::{DatabaseSnapshot, Snapshot};

pub(super) const COLUMNS: &[Column] = &[
    column("database", Kind::Text, "The database that clients ask for."),
    column("user", Kind::Text, "The active generation's user; NULL: no client can be served."),
    column("cl_active", Kind::Int8, "Clients that hold a server connection, or need none at the moment."),
    column("cl_waiting", Kind::Int8, "Clients that wait for one."),
    column(
        "cl_active_cancel_req",
        Kind::Int8,
        "Always 0: who brings a CancelRequest is no client of a database.",
    ),
    column("cl_waiting_cancel_req", Kind::Int8, "Always 0."),
    column("sv_active", Kind::Int8, "Server connections that a client holds."),
    column("sv_active_cancel", Kind::Int8, "CancelRequests that are on their way to the server."),
    column(
        "sv_being_canceled",
        Kind::Int8,
        "Server connections that nobody holds and that wait for the answer to a CancelRequest.",
    ),
    column(
        "sv_idle",
        Kind::Int8,
        "Other server connections that nobody holds, those of a coming user and those being reset included.",
    ),
    column("sv_used", Kind::Int8, "Always 0: an idle connection needs no check."),
    column("sv_tested", Kind::Int8, "Always 0."),
    column("sv_login", Kind::Int8, "Server connections that are being opened."),
    column("maxwait", Kind::Int8, "How long the oldest of `cl_waiting` has waited: whole seconds."),
    column("maxwait_us", Kind::Int8, "The microseconds beside them."),
    column("pool_mode", Kind::Text, "`transaction` or `session`."),
    column("load_balance_hosts", Kind::Text, "Always NULL."),
    column("cl_idle", Kind::Int8, "Those of `cl_active` that need no server connection at the moment."),
    column("cl_pinned", Kind::Int8, "Clients in transaction mode that keep theirs between transactions."),
    column("generation", Kind::Int8, "The active generation; NULL: no client can be served."),
    column("pool_size", Kind::Int8, "The most connections of the active user (`pool_size`)."),
    column(
        "max_server_connections",
        Kind::Int8,
        "The most connections of all users together (`max_server_connections`).",
    ),
    column("errors", Kind::Int8, "Errors that the server sent since the start."),
    column("timeouts", Kind::Int8, "Clients that waited longer than `checkout_timeout` since the start."),
    column("rotations", Kind::Int8, "How often one generation took over from another."),
    column("last_error", Kind::Text, "What went wrong last with its users; NULL once a new one is active."),
];

pub(super) fn rows(view: &Snapshot) -> Vec<Vec<Value>> {
    view.databases.iter().enumerate().map(|(index, pool)| row(view, index, pool)).collect()
}

/// Clients of one database.
#[derive(Default)]
struct Clients {
    active: usize,
    waiting: usize,
    idle: usize,
    pinned: usize,
    longest: Duration,
}

impl Clients {
    fn of(view: &Snapshot, pool: &DatabaseSnapshot) -> Self {
        let mut found = Self::default();
        for client in view.clients.iter().filter(|client| client.database == pool.name) {
            let count = match client.state {
                ClientState::Active => &mut found.active,
                ClientState::Waiting => &mut found.waiting,
                ClientState::Idle => &mut found.idle,
            };
            *count = count.saturating_add(1);
            found.pinned = found.pinned.saturating_add(usize::from(client.is_pinned()));
            found.longest = found.longest.max(view.now.waited(client));
        }
        found
    }
}

/// Server connections of one database.
#[derive(Default)]
struct Servers {
    active: usize,
    cancels: usize,
    being_canceled: usize,
    idle: usize,
    login: usize,
}

impl Servers {
    fn of(view: &Snapshot, index: usize, pool: &DatabaseSnapshot) -> Self {
        let mut found = Self::default();
        for (_, server) in view.servers(index) {
            let count = match (server.client, server.cancels) {
                (Some(_), _) => &mut found.active,
                (None, 0) => &mut found.idle,
                (None, _) => &mut found.being_canceled,
            };
            *count = count.saturating_add(1);
            found.cancels = found.cancels.saturating_add(usize::try_from(server.cancels).unwrap_or(0));
        }
        // What a thread has that gives no answer is not being opened.
        if view.silent.is_empty() {
            let all = pool.current_connections();
            found.login = all.saturating_sub(found.active).saturating_sub(found.idle);
            found.login = found.login.saturating_sub(found.being_canceled);
        }
        found
    }
}

fn row(view: &Snapshot, index: usize, pool: &DatabaseSnapshot) -> Vec<Value> {
    let active = pool.active_generation();
    let (clients, servers) = (Clients::of(view, pool), Servers::of(view, index, pool));
    let counts = view.counts(index);
    vec![
        Value::text(&pool.name),
        Value::Text(active.map(|active| active.user.clone())),
        Value::count(clients.active.saturating_add(clients.idle)),
        Value::count(clients.waiting),
        Value::count(0),
        Value::count(0),
        Value::count(servers.active),
        Value::count(servers.cancels),
        Value::count(servers.being_canceled),
        Value::count(servers.idle),
        Value::count(0),
        Value::count(0),
        Value::count(servers.login),
        Value::count(clients.longest.as_secs()),
        Value::count(clients.longest.subsec_micros()),
        Value::text(pool.mode.word()),
        Value::Text(None),
        Value::count(clients.idle),
        Value::count(clients.pinned),
        Value::Int(active.and_then(|active| i64::try_from(active.id.number()).ok())),
        Value::count(pool.size),
        Value::count(pool.max_server_connections),
        Value::count(counts.errors),
        Value::count(counts.timeouts),
        Value::count(pool.keeper.rotations),
        Value::Text(pool.last_error().map(str::to_owned)),
    ]
}
