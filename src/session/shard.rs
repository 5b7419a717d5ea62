//! One data thread's clients.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::client;
use super::listen_settings::ListenSettings;
use super::profiles::Profiles;
use super::texts::{Serials, Texts};
use crate::cancel::{Cancels, Registration};
use crate::net::Detached;
use crate::pool::{ClientId, Pool, PoolShard, Profile, ShardMessage};
use crate::wire::{ProtocolVersion, StartupParams};

/// The relay's read buffer: one a thread. 16 KiB beat 8 and 64 on large results.
pub(super) const SCRATCH: usize = 16 * 1024;

/// What all shards share about clients.
#[derive(Debug)]
pub struct Crowd {
    settings: ListenSettings,
    total: AtomicUsize,
    by_shard: Vec<AtomicUsize>,
    next: AtomicU64,
    texts: Texts,
}

impl Crowd {
    /// Nobody yet.
    #[must_use]
    pub fn new(settings: ListenSettings, shards: usize) -> Arc<Self> {
        let by_shard = (0..shards).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Self {
            settings,
            total: AtomicUsize::new(0),
            by_shard,
            next: AtomicU64::new(1),
            texts: Texts::default(),
        })
    }

    /// The shard with the fewest clients.
    #[must_use]
    pub fn least_loaded(&self) -> usize {
        let loads = self.by_shard.iter().map(|load| load.load(Ordering::Relaxed));
        loads.enumerate().min_by_key(|(_, load)| *load).map_or(0, |(shard, _)| shard)
    }

    /// Clients on all shards.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    pub(super) fn settings(&self) -> &ListenSettings {
        &self.settings
    }

    /// The texts of the statements that clients have prepared.
    pub(super) fn texts(&self) -> &Texts {
        &self.texts
    }

    pub(super) fn enter(self: &Arc<Self>, shard: usize) -> Seat {
        self.total.fetch_add(1, Ordering::Relaxed);
        if let Some(load) = self.by_shard.get(shard) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        let id = ClientId(self.next.fetch_add(1, Ordering::Relaxed));
        Seat { crowd: self.clone(), shard, id }
    }
}

/// A client's place in the crowd, taken at accept, given back by dropping it.
#[derive(Debug)]
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    shard: usize,
    pub(super) id: ClientId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.total.fetch_sub(1, Ordering::Relaxed);
        if let Some(load) = self.crowd.by_shard.get(self.shard) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What a client is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// Holds no upstream.
    Idle,
    /// Waits for an upstream.
    Waiting,
    /// Holds an upstream.
    Active,
}

/// One row of SHOW CLIENTS.
#[derive(Debug, Clone)]
pub struct ClientRow {
    /// Its number.
    pub id: ClientId,
    /// The database it asked for.
    pub database: String,
    /// The user it said it is.
    pub user: String,
    /// Its `application_name`.
    pub application_name: String,
    /// Where it comes from; `None`: the Unix socket.
    pub address: Option<SocketAddr>,
    /// What it is doing.
    pub state: ClientState,
    /// When it came.
    pub since: Instant,
    /// The shard that serves it.
    pub shard: usize,
}

/// A client as others on its thread see it.
#[derive(Debug)]
pub(super) struct ClientCell {
    pub(super) id: ClientId,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) application_name: String,
    pub(super) address: Option<SocketAddr>,
    pub(super) state: Cell<ClientState>,
    pub(super) since: Instant,
    pub(super) waker: Waker,
}

/// A client of the console, logged in by nobody yet.
#[derive(Debug)]
pub struct ConsoleClient {
    /// Its stream, the startup packet read.
    pub stream: Detached,
    /// What it sent behind the startup packet.
    pub early: Vec<u8>,
    /// What it asked for.
    pub params: StartupParams,
    /// The protocol that is spoken with it.
    pub version: ProtocolVersion,
    /// The protocol that it asked for, to be negotiated down if it differs.
    pub asked: ProtocolVersion,
    /// Protocol options that it asked for and nobody knows.
    pub unknown_options: Vec<String>,
    /// Its cancel key, valid while it is kept.
    pub key: Registration,
    /// Where it comes from.
    pub address: Option<SocketAddr>,
}

#[derive(Debug)]
pub(super) enum ClientMessage {
    Accept { stream: Detached, address: Option<SocketAddr> },
    Stop,
    Snapshot { reply: oneshot::Sender<Vec<ClientRow>> },
}

/// Where clients are brought to a shard.
#[derive(Debug, Clone)]
pub struct ClientPort(mpsc::UnboundedSender<ClientMessage>);

impl ClientPort {
    pub(super) fn accept(&self, stream: Detached, address: Option<SocketAddr>) {
        let _ = self.0.send(ClientMessage::Accept { stream, address });
    }

    /// Idle clients go now, the others at the end of their transaction.
    pub fn stop(&self) {
        let _ = self.0.send(ClientMessage::Stop);
    }

    /// The shard's clients; empty if it has ended.
    pub async fn snapshot(&self) -> Vec<ClientRow> {
        let (reply, answer) = oneshot::channel();
        let _ = self.0.send(ClientMessage::Snapshot { reply });
        answer.await.unwrap_or_default()
    }
}

/// Everything a shard is made from; may cross threads, unlike the shard.
#[derive(Debug)]
pub struct ShardPlan {
    index: usize,
    pools: Vec<Arc<Pool>>,
    crowd: Arc<Crowd>,
    cancels: Arc<Cancels>,
    console: mpsc::UnboundedSender<ConsoleClient>,
    words: mpsc::UnboundedReceiver<ShardMessage>,
    clients: mpsc::UnboundedReceiver<ClientMessage>,
}

impl ShardPlan {
    /// A plan, and the port that brings clients.
    #[must_use]
    pub fn new(
        index: usize,
        pools: Vec<Arc<Pool>>,
        crowd: Arc<Crowd>,
        cancels: Arc<Cancels>,
        console: mpsc::UnboundedSender<ConsoleClient>,
        words: mpsc::UnboundedReceiver<ShardMessage>,
    ) -> (Self, ClientPort) {
        let (tx, clients) = mpsc::unbounded_channel();
        (Self { index, pools, crowd, cancels, console, words, clients }, ClientPort(tx))
    }

    /// Serves clients until every port is gone, or until it was told to stop and
    /// nobody is left. Must run on a `LocalRuntime` or `LocalSet`.
    pub async fn run(self) {
        let pools = PoolShard::new(&self.pools, self.index);
        let shard = Shard::new(self.index, pools.clone(), self.crowd, self.cancels, self.console);
        let listening = spawn_local(pools.clone().listen(self.words));
        shard.clone().admit(self.clients).await;
        while !shard.clients.borrow().is_empty() {
            shard.nobody.notified().await;
        }
        pools.close_idle();
        listening.abort();
        let _ = listening.await;
    }
}

/// One data thread.
#[derive(Debug)]
pub struct Shard {
    pub(super) index: usize,
    pub(super) pools: PoolShard,
    pub(super) crowd: Arc<Crowd>,
    pub(super) cancels: Arc<Cancels>,
    pub(super) console: mpsc::UnboundedSender<ConsoleClient>,
    /// What is read goes here and straight on. Borrowed within one poll only.
    pub(super) scratch: RefCell<Box<[u8]>>,
    clients: RefCell<HashMap<ClientId, Rc<ClientCell>>>,
    pub(super) stopping: Cell<bool>,
    pub(super) profiles: Profiles,
    pub(super) serials: Serials,
    /// No settings at all: what upstreams are opened with in transaction mode.
    pub(super) base: Arc<Profile>,
    nobody: tokio::sync::Notify,
}

impl Shard {
    /// Nobody yet.
    pub(super) fn new(
        index: usize,
        pools: PoolShard,
        crowd: Arc<Crowd>,
        cancels: Arc<Cancels>,
        console: mpsc::UnboundedSender<ConsoleClient>,
    ) -> Rc<Self> {
        Rc::new(Self {
            index,
            pools,
            crowd,
            cancels,
            console,
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            clients: RefCell::default(),
            stopping: Cell::new(false),
            profiles: Profiles::default(),
            serials: Serials::default(),
            base: Arc::default(),
            nobody: tokio::sync::Notify::new(),
        })
    }

    async fn admit(self: Rc<Self>, mut messages: mpsc::UnboundedReceiver<ClientMessage>) {
        while let Some(message) = messages.recv().await {
            match message {
                ClientMessage::Accept { stream, address } => {
                    if let Ok(stream) = stream.attach() {
                        let seat = self.crowd.enter(self.index);
                        spawn_local(client::serve(self.clone(), stream, address, seat));
                    }
                }
                ClientMessage::Stop => {
                    self.stopping.set(true);
                    for client in self.clients.borrow().values() {
                        client.waker.wake_by_ref();
                    }
                    return;
                }
                ClientMessage::Snapshot { reply } => {
                    let _ = reply.send(self.rows());
                }
            }
        }
    }

    pub(super) fn join(self: &Rc<Self>, cell: ClientCell) -> Joined {
        let cell = Rc::new(cell);
        self.clients.borrow_mut().insert(cell.id, cell.clone());
        Joined { shard: self.clone(), cell }
    }

    fn rows(&self) -> Vec<ClientRow> {
        let sorted: BTreeMap<ClientId, Rc<ClientCell>> =
            self.clients.borrow().iter().map(|(id, cell)| (*id, cell.clone())).collect();
        let row = |cell: &Rc<ClientCell>| ClientRow {
            id: cell.id,
            database: cell.database.clone(),
            user: cell.user.clone(),
            application_name: cell.application_name.clone(),
            address: cell.address,
            state: cell.state.get(),
            since: cell.since,
            shard: self.index,
        };
        sorted.values().map(row).collect()
    }
}

/// A client on the shard's list; dropping it takes it off.
#[derive(Debug)]
pub(super) struct Joined {
    shard: Rc<Shard>,
    pub(super) cell: Rc<ClientCell>,
}

impl Drop for Joined {
    fn drop(&mut self) {
        let mut clients = self.shard.clients.borrow_mut();
        clients.remove(&self.cell.id);
        if clients.is_empty() {
            self.shard.nobody.notify_one();
        }
    }
}
