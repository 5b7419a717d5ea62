//! Whom a snapshot is gathered from.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::averages::Samples;
use super::now::Now;
use super::process::{DatabaseSnapshot, Snapshot, TargetSnapshot};
use crate::clock::Moment;
use crate::credentials::{Fleet, Keeper, KeeperSnapshot};
use crate::pool::{Pool, ShardMessage, ShardPort, ShardSnapshot};
use crate::session::ClientPort;

/// How long a shard may take to say what it has; one that takes longer is silent.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much is asked for. What asks a data thread costs it a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Databases and their users: no thread is asked, so none can hold it up.
    Users,
    /// Also what every data thread has, and whether it answers at all.
    Threads,
    /// Also how many clients there are.
    Counts,
    /// Instead of that, every client.
    Clients,
}

/// One database to look at.
#[derive(Debug)]
pub struct WatchedDatabase {
    /// Its connections.
    pub pool: Arc<Pool>,
    /// Its users.
    pub keeper: Keeper,
}

/// Where a snapshot is gathered from.
#[derive(Debug)]
pub struct Watched {
    databases: Vec<WatchedDatabase>,
    shards: Vec<ShardPort>,
    clients: Vec<ClientPort>,
    started: Moment,
    stopping: AtomicBool,
    /// Written once a period, read by who looks: never on a data thread.
    samples: Mutex<Samples>,
}

impl Watched {
    /// `databases` are in the order of their pools' indices, `shards` and `clients` in that of the
    /// data threads. The process counts as started now.
    #[must_use]
    pub fn new(databases: Vec<WatchedDatabase>, shards: Vec<ShardPort>, clients: Vec<ClientPort>) -> Self {
        let (stopping, samples) = (AtomicBool::new(false), Mutex::default());
        Self { databases, shards, clients, started: Moment::now(), stopping, samples }
    }

    /// Asks everybody at once; takes at most a second. Cancel safe.
    pub async fn look(&self, depth: Depth) -> Snapshot {
        let shards = if depth >= Depth::Threads { &self.shards[..] } else { &[] };
        let rows = if depth == Depth::Clients { &self.clients[..] } else { &[] };
        let rows = rows.iter().map(|port| timeout(PATIENCE, port.snapshot()));
        let counts = if depth == Depth::Counts { &self.clients[..] } else { &[] };
        let counts = counts.iter().map(|port| timeout(PATIENCE, port.counts()));
        let shards = join_all(shards.iter().map(ask));
        let (shards, clients, counts) = tokio::join!(shards, join_all(rows), join_all(counts));
        let mut snapshot = Snapshot {
            now: Now::read(),
            started: self.started,
            databases: self.databases.iter().map(WatchedDatabase::look).collect(),
            shards: Vec::new(),
            silent: Vec::new(),
            ended: Vec::new(),
            stopping: self.stopping.load(Ordering::Acquire),
            clients: clients.into_iter().flatten().flatten().collect(),
            everybody: self.clients.first().map_or(0, ClientPort::everybody),
            period: self.samples().period(),
            client_counts: counts.into_iter().flatten().flatten().collect(),
        };
        for (shard, word) in shards.into_iter().enumerate() {
            match word {
                Word::Said(said) => snapshot.shards.push((shard, said)),
                Word::Silent => snapshot.silent.push(shard),
                Word::Over => snapshot.ended.push(shard),
            }
        }
        snapshot
    }

    /// Takes a sample of the totals each `period`, for averages. Ends when nobody else has what is watched.
    pub async fn sample(watched: Weak<Self>, period: Duration) {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(watched) = watched.upgrade() else { return };
            let seen = watched.look(Depth::Threads).await;
            // Totals without those of a thread would look as if they had shrunk.
            if seen.silent.is_empty() && seen.ended.is_empty() {
                let totals = (0..seen.databases.len()).map(|index| seen.counts(index)).collect();
                watched.samples().add(seen.now.boot, totals);
            }
        }
    }

    fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on shards that end do so because they were told to.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The databases that clients may ask for.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.databases.iter().map(|database| database.pool.settings().name.as_str())
    }
}

/// What came of asking a shard.
enum Word {
    Said(ShardSnapshot),
    Silent,
    /// It has ended.
    Over,
}

async fn ask(port: &ShardPort) -> Word {
    let (reply, answer) = oneshot::channel();
    port.send(ShardMessage::Snapshot { reply });
    match timeout(PATIENCE, answer).await {
        Ok(Ok(said)) => Word::Said(said),
        Ok(Err(_)) => Word::Over,
        Err(_) => Word::Silent,
    }
}

impl WatchedDatabase {
    fn look(&self) -> DatabaseSnapshot {
        let Self { pool, keeper } = self;
        let (keeper_counts, calls, events) = (keeper.counts(), keeper.calls().counts(), keeper.events());
        let keeper: KeeperSnapshot = keeper.snapshot();
        let (settings, limits) = (pool.settings(), pool.limits());
        // The one that new connections go to.
        let host = pool.target().host(pool.target().preferred());
        let ids = keeper.generations.iter().map(|generation| generation.id);
        DatabaseSnapshot {
            name: settings.name.clone(),
            mode: settings.mode,
            size: limits.size,
            min_size: limits.min_size,
            reserve_size: limits.reserve_size,
            server_lifetime: limits.server_lifetime,
            max_server_connections: limits.max_server_connections,
            pins: pool.pins().counts(),
            connections: ids.map(|id| (id, pool.connections(id))).collect(),
            active: pool.chosen(),
            was_active: pool.was_active(),
            paused: pool.is_paused(),
            disabled: pool.is_disabled(),
            trouble: pool.trouble(),
            target: TargetSnapshot {
                host: host.map(|host| host.host.clone()).unwrap_or_default(),
                port: host.map_or(0, |host| host.port),
                dbname: settings.upstream.dbname.clone(),
            },
            keeper,
            keeper_counts,
            calls,
            events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::PoolSnapshot;

    #[tokio::test]
    async fn a_thread_that_does_not_answer_is_silent_and_one_that_ended_is_not() {
        let (good, mut words) = ShardPort::new();
        let (ended, _) = ShardPort::new();
        let (blocked, _kept) = ShardPort::new();
        tokio::spawn(async move {
            while let Some(word) = words.recv().await {
                if let ShardMessage::Snapshot { reply } = word {
                    let _ = reply.send(ShardSnapshot { pools: vec![PoolSnapshot::default()] });
                }
            }
        });
        let watched = Watched::new(Vec::new(), vec![ended, blocked, good], Vec::new());
        let seen = watched.look(Depth::Threads).await;
        assert_eq!((&seen.silent[..], &seen.ended[..]), (&[1][..], &[0][..]));
        assert_eq!(seen.shards.iter().map(|(shard, _)| *shard).collect::<Vec<_>>(), [2]);
        // Who only asks for users is not held up by it: no timer has to fire.
        let users = watched.look(Depth::Users);
        let users = futures_util::FutureExt::now_or_never(users).unwrap();
        assert!(users.silent.is_empty());
    }
}
