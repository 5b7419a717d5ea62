//! SHOW DATABASES: what clients may ask for, and where it goes.

use crate::admin::table::{Column, Kind, Value, column};
use crate::snapshot::{DatabaseSnapshot, Snapshot};

pub(super) const COLUMNS: &[Column] = &[
    column("name", Kind::Text, "The database that clients ask for."),
    column("host", Kind::Text, "The server's host name or address, or the directory of its Unix socket."),
    column("port", Kind::Int8, "Its port."),
    column("database", Kind::Text, "The database's name there."),
    column("force_user", Kind::Text, "Always NULL: the user is issued; SHOW POOLS has it."),
    column("pool_size", Kind::Int8, "The most connections of the active user (`pool_size`)."),
    column("min_pool_size", Kind::Int8, "So many connections are kept open (`min_pool_size`)."),
    column(
        "reserve_pool_size",
        Kind::Int8,
        "So many more than `pool_size` may be opened for clients that wait for long (`reserve_pool_size`).",
    ),
    column(
        "server_lifetime",
        Kind::Int8,
        "Seconds that a connection may live (`server_lifetime`); 0: as long as its user serves.",
    ),
    column("pool_mode", Kind::Text, "`transaction` or `session`."),
    column("load_balance_hosts", Kind::Text, "Always NULL."),
    column(
        "max_connections",
        Kind::Int8,
        "The most connections of all users together (`max_server_connections`).",
    ),
    column("current_connections", Kind::Int8, "Server connections now, those being opened included."),
    column("max_client_connections", Kind::Int8, "Always 0: only `listen.max_clients` bounds them."),
    column("current_client_connections", Kind::Int8, "Clients now."),
    column("paused", Kind::Int8, "1: PAUSE holds; its clients get no server connections."),
    column("disabled", Kind::Int8, "1: DISABLE holds; new clients are refused."),
    column("reserve_pool", Kind::Int8, "As `reserve_pool_size`: the name that pgbouncer_exporter reads."),
];

pub(super) fn rows(view: &Snapshot) -> Vec<Vec<Value>> {
    view.databases.iter().map(|pool| row(view, pool)).collect()
}

fn row(view: &Snapshot, pool: &DatabaseSnapshot) -> Vec<Value> {
    let clients = view.clients.iter().filter(|client| client.database == pool.name).count();
    vec![
        Value::text(&pool.name),
        Value::text(&pool.target.host),
        Value::count(pool.target.port),
        Value::text(&pool.target.dbname),
        Value::Text(None),
        Value::count(pool.size),
        Value::count(pool.min_size),
        Value::count(pool.reserve_size),
        Value::count(pool.server_lifetime.as_secs()),
        Value::text(pool.mode.word()),
        Value::Text(None),
        Value::count(pool.max_server_connections),
        Value::count(pool.current_connections()),
        Value::count(0),
        Value::count(clients),
        Value::count(u8::from(pool.paused)),
        Value::count(u8::from(pool.disabled)),
        Value::count(pool.reserve_size),
    ]
}
