//! SHOW CLIENTS, SERVERS, SOCKETS and ACTIVE_SOCKETS: every connection, on either side.

use std::collections::HashMap;

use crate::admin::table::{Column, Kind, Value, column};
use crate::credentials::GenerationState;
use crate::net::Peer;
use crate::pool::{ClientId, ServerRow};
use crate::session::{ClientRow, ClientState};
use crate::snapshot::{DatabaseSnapshot, Snapshot};

/// PgBouncer's columns of a connection, and those that one table has behind them.
macro_rules! columns {
    ($($rest:expr),* $(,)?) => {
        &[
            column("type", Kind::Text, "`C`: a client; `S`: a server connection."),
            column("user", Kind::Text, "Of a client the user it said it is, of a server connection the one it is logged in as."),
            column("database", Kind::Text, "The database that clients ask for."),
            column("replication", Kind::Text, "Always `none`."),
            column("state", Kind::Text, "`active` (a client that holds a server connection, or that connection), `waiting` (a client that waits for one), `idle`, or `being_canceled` (nobody's, but a CancelRequest is on its way)."),
            column("addr", Kind::Text, "Where it comes from or went: an address, or `unix`."),
            column("port", Kind::Int8, "The port there; of a client on the Unix socket 0."),
            column("local_addr", Kind::Text, "Always NULL: not kept."),
            column("local_port", Kind::Int8, "Always NULL: not kept."),
            column("connect_time", Kind::Timestamptz, "When the client logged in, or the connection was opened."),
            column("request_time", Kind::Timestamptz, "Always NULL: not kept."),
            column("wait", Kind::Int8, "How long the client has waited for a server connection: whole seconds; 0 if it does not wait."),
            column("wait_us", Kind::Int8, "The microseconds beside them."),
            column(
                "close_needed",
                Kind::Int8,
                "1: closed as soon as its client gives it back: its user is retired, PAUSE or RECONNECT came, or it reached `server_lifetime`.",
            ),
            column("ptr", Kind::Text, "A name of its own: `c` and `id`, or `s`, the database's number, `.` and `id`."),
            column("link", Kind::Text, "The `ptr` of the other side; empty if there is none."),
            column("remote_pid", Kind::Int8, "The server's process, as in `pg_stat_activity`; of a client 0."),
            column("tls", Kind::Text, "The version of TLS; empty without."),
            column("application_name", Kind::Text, "The client's `application_name` at login; of a server connection that of the client which holds it."),
            column("prepared_statements", Kind::Int8, "Statements prepared on a server connection when it was given back last; of a client NULL."),
            column("id", Kind::Int8, "Number of the client, from 1 for each start of Leasehold; of the connection, from 1 for each database."),
            $($rest),*
        ]
    };
}

const SHARD: Column = column("shard", Kind::Int8, "The data thread that has it, from 0.");

pub(super) const CLIENTS: &[Column] = columns!(
    column(
        "pinned",
        Kind::Int8,
        "1: it keeps its server connection between transactions, in transaction mode."
    ),
    column(
        "pinned_by",
        Kind::Text,
        "What it keeps it for: `prepared`, `listen`, `temporary`, `advisory_lock`, `held_cursor`, `loaded`; empty if it does not."
    ),
    column("pinned_for", Kind::Int8, "For how long, in whole seconds; NULL if it does not."),
    SHARD,
);

pub(super) const SERVERS: &[Column] =
    columns!(column("generation", Kind::Int8, "The generation whose user is logged in."), SHARD,);

pub(super) const SOCKETS: &[Column] = columns!(
    column("recv_pos", Kind::Int8, "Always 0: threads have buffers, connections have none."),
    column("pkt_pos", Kind::Int8, "Always 0."),
    column("pkt_remain", Kind::Int8, "Always 0."),
    column("send_pos", Kind::Int8, "Always 0."),
    column("send_remain", Kind::Int8, "Always 0."),
    column("pkt_avail", Kind::Int8, "Always 0."),
    column("send_avail", Kind::Int8, "Always 0."),
    SHARD,
);

pub(super) fn clients(view: &Snapshot) -> Vec<Vec<Value>> {
    let all = Both::of(view);
    let row = |client: &ClientRow| {
        let kept = |since| view.now.instant.saturating_duration_since(since).as_secs();
        let own = [
            Value::count(u8::from(client.is_pinned())),
            Value::text(client.ties.to_string()),
            client.pinned_since.map_or(Value::Int(None), |since| Value::count(kept(since))),
            Value::count(client.shard),
        ];
        all.client(client, "").into_iter().chain(own).collect()
    };
    view.clients.iter().map(row).collect()
}

pub(super) fn servers(view: &Snapshot) -> Vec<Vec<Value>> {
    let all = Both::of(view);
    let row = |(index, pool, shard, server): Place<'_>| {
        let own = [Value::count(server.generation.number()), Value::count(shard)];
        all.server(index, pool, server, "").into_iter().chain(own).collect()
    };
    places(view).map(row).collect()
}

/// Both sides; those that do something, or all.
pub(super) fn sockets(view: &Snapshot, only_active: bool) -> Vec<Vec<Value>> {
    let all = Both::of(view);
    let own = |shard: usize| (0..7).map(|_| Value::count(0)).chain([Value::count(shard)]);
    let clients = view.clients.iter().filter(|client| !only_active || client.state != ClientState::Idle);
    let clients =
        clients.map(|client| all.client(client, "cl_").into_iter().chain(own(client.shard)).collect());
    let servers = places(view).filter(|(.., server)| !only_active || server.client.is_some());
    let servers = servers.map(|(index, pool, shard, server)| {
        all.server(index, pool, server, "sv_").into_iter().chain(own(shard)).collect()
    });
    clients.chain(servers).collect()
}

/// A connection to the server, with its database and its shard.
type Place<'s> = (usize, &'s DatabaseSnapshot, usize, &'s ServerRow);

fn places(view: &Snapshot) -> impl Iterator<Item = Place<'_>> {
    view.databases.iter().enumerate().flat_map(move |(index, pool)| {
        view.servers(index).map(move |(shard, server)| (index, pool, shard, server))
    })
}

/// Who is linked to whom.
struct Both<'s> {
    view: &'s Snapshot,
    clients: HashMap<ClientId, &'s ClientRow>,
    /// The name of the connection that a client holds.
    held: HashMap<ClientId, String>,
}

impl<'s> Both<'s> {
    fn of(view: &'s Snapshot) -> Self {
        let clients = view.clients.iter().map(|client| (client.id, client)).collect();
        let held = places(view).filter_map(|(index, _, _, server)| {
            let client = server.client?;
            Some((client, server_name(index, server)))
        });
        Self { view, clients, held: held.collect() }
    }

    fn client(&self, client: &ClientRow, prefix: &str) -> Vec<Value> {
        let state = match client.state {
            ClientState::Active => "active",
            ClientState::Waiting => "waiting",
            ClientState::Idle => "idle",
        };
        let waited = self.view.now.waited(client);
        vec![
            Value::text("C"),
            Value::text(&client.user),
            Value::text(&client.database),
            Value::text("none"),
            Value::text(format!("{prefix}{state}")),
            Value::text(client.address.map_or_else(|| "unix".to_owned(), |address| address.ip().to_string())),
            Value::count(client.address.map_or(0, |address| address.port())),
            Value::Text(None),
            Value::Int(None),
            Value::Time(self.view.now.wall_of(client.since)),
            Value::Time(None),
            Value::count(waited.as_secs()),
            Value::count(waited.subsec_micros()),
            Value::count(0),
            Value::text(client_name(client.id)),
            Value::text(self.held.get(&client.id).map_or("", String::as_str)),
            Value::count(0),
            Value::text(""),
            Value::text(&client.application_name),
            Value::Int(None),
            Value::count(client.id.0),
        ]
    }

    fn server(&self, index: usize, pool: &DatabaseSnapshot, server: &ServerRow, prefix: &str) -> Vec<Value> {
        let state = match (server.client, server.cancels) {
            (Some(_), _) => "active",
            (None, 0) => "idle",
            (None, _) => "being_canceled",
        };
        let (addr, port) = match &server.peer {
            Peer::Tcp(address) => (address.ip().to_string(), address.port()),
            Peer::Unix(_) => ("unix".to_owned(), pool.target.port),
        };
        let holder = server.client.and_then(|id| self.clients.get(&id));
        vec![
            Value::text("S"),
            Value::text(&server.user),
            Value::text(&pool.name),
            Value::text("none"),
            Value::text(format!("{prefix}{state}")),
            Value::text(addr),
            Value::count(port),
            Value::Text(None),
            Value::Int(None),
            Value::Time(self.view.now.wall_of(server.opened)),
            Value::Time(None),
            Value::count(0),
            Value::count(0),
            Value::count(u8::from(server.outdated || is_retired(pool, server))),
            Value::text(server_name(index, server)),
            Value::text(server.client.map(client_name).unwrap_or_default()),
            Value::count(server.pid.unwrap_or(0)),
            Value::text(server.tls.unwrap_or("")),
            Value::text(holder.map_or("", |client| client.application_name.as_str())),
            Value::count(server.prepared),
            Value::count(server.number),
        ]
    }
}

fn client_name(id: ClientId) -> String {
    format!("c{}", id.0)
}

fn server_name(index: usize, server: &ServerRow) -> String {
    format!("s{index}.{}", server.number)
}

/// Whether its user takes no more checkouts.
fn is_retired(pool: &DatabaseSnapshot, server: &ServerRow) -> bool {
    use GenerationState::{Active, Issuing, Verifying, Warming};
    let state = pool.keeper.generation(server.generation).map(|generation| generation.state);
    !matches!(state, Some(Issuing | Verifying | Warming | Active))
}
