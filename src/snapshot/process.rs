//! What was gathered.

use std::collections::BTreeMap;
use std::time::Duration;

use super::averages::{Period, Rates};
use super::now::{Now, milliseconds};
use crate::clock::Moment;
use crate::credentials::{
    CallCounts, GenerationId, GenerationSnapshot, GenerationState, KeeperCounts, KeeperSnapshot, PastEvent,
};
use crate::pool::{PinCounts, PoolCounts, PoolMode, ServerRow, ShardSnapshot};
use crate::session::{ClientCounts, ClientRow, ClientState};

/// The process at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// That moment.
    pub now: Now,
    /// When the process began to serve.
    pub started: Moment,
    /// In the order of their indices.
    pub databases: Vec<DatabaseSnapshot>,
    /// Shards that answered, with their numbers.
    pub shards: Vec<(usize, ShardSnapshot)>,
    /// Shards that should have answered and did not.
    pub silent: Vec<usize>,
    /// Shards that have ended, as they do at a stop.
    pub ended: Vec<usize>,
    /// The process is stopping.
    pub stopping: bool,
    /// Clients of the shards that answered.
    pub clients: Vec<ClientRow>,
    /// Clients in all, those included that are not logged in yet or only bring a CancelRequest.
    pub everybody: usize,
    /// The latest period that is complete, for averages.
    pub period: Option<Period>,
    /// How many there are, by database and shard, where only that was asked for.
    pub client_counts: Vec<ClientCounts>,
}

/// One pool and its users at that moment.
#[derive(Debug, Clone)]
pub struct DatabaseSnapshot {
    /// The name that clients ask for.
    pub name: String,
    /// When upstreams are given back.
    pub mode: PoolMode,
    /// The most connections of the active generation.
    pub size: usize,
    /// So many of them are kept open.
    pub min_size: usize,
    /// So many more may be opened for clients that have waited for long.
    pub reserve_size: usize,
    /// How old a connection may become; zero: as old as its user.
    pub server_lifetime: Duration,
    /// The most of all generations.
    pub max_server_connections: usize,
    /// Its clients that keep an upstream between transactions.
    pub pins: PinCounts,
    /// Where its connections go.
    pub target: TargetSnapshot,
    /// Its users.
    pub keeper: KeeperSnapshot,
    /// What was done for them.
    pub keeper_counts: KeeperCounts,
    /// What their source asked of others over HTTP.
    pub calls: CallCounts,
    /// The latest of what happened to its users, oldest first.
    pub events: Vec<PastEvent>,
    /// Whose connections its clients get; `None`, and the keeper has an active one: of several that
    /// share it this database has not taken it yet.
    pub active: Option<GenerationId>,
    /// Whether there ever was one.
    pub was_active: bool,
    /// Connections of each listed generation.
    pub connections: BTreeMap<GenerationId, usize>,
    /// Its clients get no connections until RESUME.
    pub paused: bool,
    /// New clients are refused until ENABLE.
    pub disabled: bool,
    /// What stands in the way of service.
    pub trouble: Option<String>,
}

/// Where a database's connections go, as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetSnapshot {
    /// Host name or address, or the directory of a Unix socket.
    pub host: String,
    /// TCP port, and the number in the Unix socket's name.
    pub port: u16,
    /// The database's name on the server.
    pub dbname: String,
}

impl Snapshot {
    /// A process without anything in it.
    #[must_use]
    pub fn empty() -> Self {
        let now = Now::read();
        Self {
            now,
            started: now.boot,
            databases: Vec::new(),
            shards: Vec::new(),
            silent: Vec::new(),
            ended: Vec::new(),
            stopping: false,
            clients: Vec::new(),
            everybody: 0,
            period: None,
            client_counts: Vec::new(),
        }
    }

    /// Figures of the database with this index, added up over the shards that answered.
    #[must_use]
    pub fn counts(&self, index: usize) -> PoolCounts {
        let parts = self.shards.iter().filter_map(|(_, shard)| shard.pools.get(index));
        parts.fold(PoolCounts::default(), |sum, part| sum.and(&part.counts))
    }

    /// Averages of the database with this index; nothing before the first period is complete.
    #[must_use]
    pub fn rates(&self, index: usize) -> Rates {
        self.period.as_ref().map_or_else(Rates::default, |period| period.rates(index))
    }

    /// How many clients of this database do that.
    #[must_use]
    pub fn clients_that(&self, state: ClientState, database: &str) -> usize {
        self.clients.iter().filter(|client| client.database == database && client.state == state).count()
    }

    /// Seconds that the token of a user has left; `None` where there is no user, or no such end.
    #[must_use]
    pub fn token_expires_in(&self, generation: &GenerationSnapshot) -> Option<f64> {
        self.expires_in(generation)?;
        Some(milliseconds(self.now.boot.until(generation.token_end?)))
    }

    /// Server connections of the database with this index, with the shard that has each.
    pub fn servers(&self, index: usize) -> impl Iterator<Item = (usize, &ServerRow)> {
        self.shards.iter().flat_map(move |(shard, said)| {
            let servers = said.pools.get(index).map_or(&[][..], |part| &part.servers);
            servers.iter().map(|server| (*shard, server))
        })
    }

    /// Seconds that a user has left; `None` where there is no user.
    #[must_use]
    pub fn expires_in(&self, generation: &GenerationSnapshot) -> Option<f64> {
        use GenerationState::{Active, Dead, Drained, Issuing, Left, Retiring, Revoked, Verifying, Warming};
        match generation.state {
            Issuing | Revoked | Dead => None,
            Verifying | Warming | Active | Retiring | Drained | Left => {
                Some(milliseconds(self.now.boot.until(generation.end)))
            }
        }
    }
}

impl DatabaseSnapshot {
    /// Connections of all generations, those being opened included.
    #[must_use]
    pub fn current_connections(&self) -> usize {
        self.connections.values().sum()
    }

    /// The generation that the keeper has active, if it is listed.
    #[must_use]
    pub fn active_generation(&self) -> Option<&GenerationSnapshot> {
        self.keeper.active.and_then(|id| self.keeper.generation(id))
    }

    /// What went wrong last.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        self.keeper.last_error.as_deref().or(self.trouble.as_deref())
    }
}
