//! Everything the tables are made from, gathered at one moment.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::console::ConsolePool;
use crate::clock::Moment;
use crate::credentials::{Fleet, GenerationId, KeeperSnapshot};
use crate::pool::{Pool, PoolMode, ShardMessage, ShardPort, ShardSnapshot};
use crate::session::{ClientPort, ClientRow};

/// How long a shard may take to say what it has; one that takes longer is left out.
const PATIENCE: Duration = Duration::from_secs(1);

/// The process at one moment.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// That moment.
    pub(super) now: Now,
    /// In the order of their indices.
    pub(super) pools: Vec<PoolView>,
    /// Shards that answered, with their numbers.
    pub(super) shards: Vec<(usize, ShardSnapshot)>,
    /// Clients of the shards that answered.
    pub(super) clients: Vec<ClientRow>,
}

/// One moment on every clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// The clock of leases.
    pub(super) boot: Moment,
    /// The clock of connections.
    pub(super) instant: Instant,
    /// The clock that people read.
    pub(super) wall: SystemTime,
}

/// One pool at that moment.
#[derive(Debug, Clone)]
pub(super) struct PoolView {
    /// The name that clients ask for.
    pub(super) name: String,
    /// When upstreams are given back.
    pub(super) mode: PoolMode,
    /// The most connections of the active generation.
    pub(super) size: usize,
    /// The most of all generations.
    pub(super) max_server_connections: usize,
    /// Its users.
    pub(super) keeper: KeeperSnapshot,
    /// Connections of each listed generation.
    pub(super) connections: BTreeMap<GenerationId, usize>,
    /// What stands in the way of service.
    pub(super) trouble: Option<String>,
}

impl View {
    /// A process without anything in it.
    pub(super) fn empty() -> Self {
        Self { now: Now::read(), pools: Vec::new(), shards: Vec::new(), clients: Vec::new() }
    }
}

impl Now {
    /// Reads the clocks.
    pub(super) fn read() -> Self {
        Self { boot: Moment::now(), instant: Instant::now(), wall: SystemTime::now() }
    }

    /// The wall clock's time of an earlier instant.
    pub(super) fn wall_of(&self, instant: Instant) -> Option<SystemTime> {
        self.wall.checked_sub(self.instant.saturating_duration_since(instant))
    }
}

impl PoolView {
    fn of(pool: &Pool, keeper: KeeperSnapshot) -> Self {
        let settings = pool.settings();
        let ids = keeper.generations.iter().map(|generation| generation.id);
        Self {
            name: settings.name.clone(),
            mode: settings.mode,
            size: settings.size,
            max_server_connections: settings.max_server_connections,
            connections: ids.map(|id| (id, pool.connections(id))).collect(),
            trouble: pool.trouble(),
            keeper,
        }
    }
}

/// Where a view is gathered from.
#[derive(Debug)]
pub(super) struct Watched {
    /// Pools and their keepers, in the order of the pools' indices.
    pub(super) pools: Vec<ConsolePool>,
    /// The shards.
    pub(super) shards: Vec<ShardPort>,
    /// Where the shards' clients are asked for.
    pub(super) clients: Vec<ClientPort>,
}

impl Watched {
    /// Asks everybody at once; takes at most [`PATIENCE`]. Cancel safe.
    pub(super) async fn look(&self) -> View {
        let shards = self.shards.iter().enumerate().map(|(shard, port)| async move {
            let (reply, answer) = oneshot::channel();
            port.send(ShardMessage::Snapshot { reply });
            let snapshot = timeout(PATIENCE, answer).await.ok()?.ok()?;
            Some((shard, snapshot))
        });
        let clients = self.clients.iter().map(|port| timeout(PATIENCE, port.snapshot()));
        let (shards, clients) = tokio::join!(join_all(shards), join_all(clients));
        let of = |pool: &ConsolePool| PoolView::of(&pool.pool, pool.keeper.snapshot());
        View {
            now: Now::read(),
            pools: self.pools.iter().map(of).collect(),
            shards: shards.into_iter().flatten().collect(),
            clients: clients.into_iter().flatten().flatten().collect(),
        }
    }

    /// The databases that clients may ask for.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.pools.iter().map(|pool| pool.pool.settings().name.as_str())
    }
}
