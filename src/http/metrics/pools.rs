//! Clients and server connections, by database.

use super::families::{Families, Labels, Outcome, bytes, plain, seconds};
use crate::credentials::{GenerationId, GenerationState};
use crate::pool::{PoolCounts, Ties};
use crate::session::ClientCounts;
use crate::snapshot::{DatabaseSnapshot, Snapshot};

/// Where a connection's user is in its life, as far as that matters to who counts connections.
const STAGES: [&str; 3] = ["warming", "active", "retiring"];

/// One database's figures, added up over the data threads.
struct Pool<'s> {
    database: &'s DatabaseSnapshot,
    counts: PoolCounts,
    clients: ClientCounts,
    /// By stage: held by a client, idle, being opened.
    connections: [[u64; 3]; 3],
}

pub(super) fn write(families: &mut Families<'_>, snapshot: &Snapshot) -> Outcome {
    let pools = snapshot.databases.iter().enumerate();
    let pools: Vec<Pool<'_>> = pools.map(|(index, database)| Pool::of(snapshot, index, database)).collect();
    clients(families, &pools)?;
    connections(families, &pools)?;
    work(families, &pools)?;
    waits(families, &pools)
}

fn clients(families: &mut Families<'_>, pools: &[Pool<'_>]) -> Outcome {
    let rows = pools.iter().flat_map(|pool| {
        let states =
            [("active", pool.clients.active), ("waiting", pool.clients.waiting), ("idle", pool.clients.idle)];
        states.map(|(state, count)| ([("database", pool.name()), ("state", state)], count))
    });
    families.gauge(
        &plain(
            "leasehold_clients",
            "Clients that hold a server connection (active), wait for one, or need none (idle).",
        ),
        rows,
    )?;
    families.gauge(
        &plain(
            "leasehold_pinned_clients",
            "Clients in transaction mode that keep their server connection between transactions.",
        ),
        pools.iter().map(|pool| (pool.labels(), pool.clients.pinned)),
    )?;
    pins(families, pools)
}

fn pins(families: &mut Families<'_>, pools: &[Pool<'_>]) -> Outcome {
    families.gauge(
        &plain("leasehold_pinned_by", "Clients that keep their server connection, by what they keep it for."),
        pools.iter().flat_map(|pool| by_reason(pool, pool.database.pins.now)),
    )?;
    families.counter(
        &plain("leasehold_pins", "How many times a client came to keep its server connection for a reason."),
        pools.iter().flat_map(|pool| by_reason(pool, pool.database.pins.total)),
    )?;
    families.counter(
        &plain("leasehold_pins_refused", "Clients that were ended as one more than max_pinned."),
        pools.iter().map(|pool| (pool.labels(), pool.database.pins.refused)),
    )
}

fn by_reason<'s>(pool: &Pool<'s>, counts: [u64; 6]) -> impl Iterator<Item = (Labels<'s, 2>, u64)> {
    let name = pool.name();
    let rows = Ties::NAMES.into_iter().zip(counts);
    rows.map(move |(reason, count)| ([("database", name), ("reason", reason)], count))
}

fn connections(families: &mut Families<'_>, pools: &[Pool<'_>]) -> Outcome {
    let rows = pools.iter().flat_map(|pool| {
        STAGES.into_iter().zip(pool.connections).flat_map(move |(stage, counts)| {
            ["active", "idle", "opening"].into_iter().zip(counts).map(move |(state, count)| {
                ([("database", pool.name()), ("state", state), ("generation_state", stage)], count)
            })
        })
    });
    families.gauge(
        &plain(
            "leasehold_connections",
            "Server connections: held by a client (active), at hand (idle) or being opened, by what their user is.",
        ),
        rows,
    )?;
    families.gauge(
        &plain("leasehold_pool_size", "The most server connections of the active user."),
        pools.iter().map(|pool| (pool.labels(), wide(pool.database.size))),
    )?;
    families.gauge(
        &plain("leasehold_max_server_connections", "The most server connections of all users together."),
        pools.iter().map(|pool| (pool.labels(), wide(pool.database.max_server_connections))),
    )
}

fn work(families: &mut Families<'_>, pools: &[Pool<'_>]) -> Outcome {
    families.counter(
        &plain("leasehold_checkouts", "Server connections handed to clients."),
        pools.iter().map(|pool| (pool.labels(), pool.counts.checkouts)),
    )?;
    families.counter(
        &plain("leasehold_queries", "Queries of clients answered."),
        pools.iter().map(|pool| (pool.labels(), pool.counts.queries)),
    )?;
    families.counter(
        &plain("leasehold_transactions", "Transactions finished."),
        pools.iter().map(|pool| (pool.labels(), pool.counts.transactions)),
    )?;
    families.counter(
        &seconds("leasehold_query", "How long the server worked on queries which are answered."),
        pools.iter().map(|pool| (pool.labels(), pool.counts.query_time.as_secs_f64())),
    )?;
    families.counter(
        &seconds("leasehold_transaction", "How long transactions were open which are over."),
        pools.iter().map(|pool| (pool.labels(), pool.counts.transaction_time.as_secs_f64())),
    )?;
    let rows = pools.iter().flat_map(|pool| {
        let class = |(class, count)| ([("database", pool.name()), ("sqlstate_class", class)], count);
        pool.counts.error_classes.seen().map(class).collect::<Vec<_>>()
    });
    families
        .counter(&plain("leasehold_errors", "Errors that the server sent, by class of SQLSTATE."), rows)?;
    let rows = pools.iter().flat_map(|pool| {
        let sides = [("client", pool.counts.from_clients), ("server", pool.counts.from_servers)];
        sides.map(|(side, count)| ([("database", pool.name()), ("from", side)], count))
    });
    families.counter(&bytes("leasehold_received", "Read from clients, and from the server for them."), rows)
}

fn waits(families: &mut Families<'_>, pools: &[Pool<'_>]) -> Outcome {
    families.histogram(
        &seconds(
            "leasehold_checkout_wait",
            "How long clients that had to wait for a server connection did so until they got it.",
        ),
        pools.iter().map(|pool| (pool.labels(), pool.counts.waits)),
    )?;
    families.counter(
        &plain(
            "leasehold_checkout_timeouts",
            "Clients that got no server connection within checkout_timeout.",
        ),
        pools.iter().map(|pool| (pool.labels(), pool.counts.timeouts)),
    )?;
    families.gauge(
        &plain("leasehold_prepared_statements", "Statements prepared on server connections."),
        pools.iter().map(|pool| (pool.labels(), pool.counts.prepared)),
    )
}

impl<'s> Pool<'s> {
    fn of(snapshot: &'s Snapshot, index: usize, database: &'s DatabaseSnapshot) -> Self {
        let mut clients = ClientCounts::default();
        for part in snapshot.client_counts.iter().filter(|part| part.database == database.name) {
            clients.active = clients.active.saturating_add(part.active);
            clients.waiting = clients.waiting.saturating_add(part.waiting);
            clients.idle = clients.idle.saturating_add(part.idle);
            clients.pinned = clients.pinned.saturating_add(part.pinned);
        }
        Self {
            database,
            counts: snapshot.counts(index),
            clients,
            connections: connections_of(snapshot, index, database),
        }
    }

    fn name(&self) -> &'s str {
        &self.database.name
    }

    fn labels(&self) -> Labels<'s, 1> {
        [("database", self.name())]
    }
}

/// Those that a data thread has, and those that are counted and no thread has yet.
fn connections_of(snapshot: &Snapshot, index: usize, database: &DatabaseSnapshot) -> [[u64; 3]; 3] {
    let mut found = [[0_u64; 3]; 3];
    let mut add = |id: GenerationId, state: usize, more: u64| {
        let count = found.get_mut(stage_of(database, id)).and_then(|states| states.get_mut(state));
        if let Some(count) = count {
            *count = count.saturating_add(more);
        }
    };
    let mut unseen = database.connections.clone();
    let shards = snapshot.shards.iter().filter_map(|(_, shard)| shard.pools.get(index));
    for server in shards.flat_map(|pool| &pool.servers) {
        add(server.generation, usize::from(server.client.is_none()), 1);
        if let Some(count) = unseen.get_mut(&server.generation) {
            *count = count.saturating_sub(1);
        }
    }
    // What a thread has that gives no answer is not being opened.
    if snapshot.silent.is_empty() {
        unseen.into_iter().for_each(|(id, count)| add(id, 2, wide(count)));
    }
    found
}

/// Its place in [`STAGES`].
fn stage_of(database: &DatabaseSnapshot, id: GenerationId) -> usize {
    use GenerationState::{Active, Dead, Drained, Issuing, Left, Retiring, Revoked, Verifying, Warming};
    match database.keeper.generation(id).map(|generation| generation.state) {
        Some(Issuing | Verifying | Warming) => 0,
        Some(Active) => 1,
        // One that is not listed any more was over long ago.
        Some(Retiring | Drained | Revoked | Dead | Left) | None => 2,
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
