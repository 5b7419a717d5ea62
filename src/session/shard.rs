//! One data thread's part in every session, and who is on it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;

use super::around::Around;
use super::balance::{Exodus, Meter, SETTLES_IN, exodus};
use super::crowd::Crowd;
use super::doors::Doors;
use super::port::ConsoleClient;
use super::profiles::Profiles;
use super::roll::{ClientCell, ClientCounts, ClientRow, ClientState, Farewell};
use super::texts::Serials;
use crate::cancel::Cancels;
use crate::clock::thread_time;
use crate::net::Pipe;
use crate::pool::{ClientId, PoolShard, Profile, TimeoutSettings};

/// The relay's read buffer: one a thread, as large as the pieces that long streams come in.
pub(super) const SCRATCH: usize = 64 * 1024;

/// What a client may send ahead of its turn before it is left to wait.
pub(super) const AHEAD: usize = 16 * 1024;

/// So many pipes are kept that nobody uses.
const PIPES: usize = 8;

/// How often clients without an upstream are looked after, and at how busy the thread is.
const TICK: Duration = Duration::from_millis(500);

/// One data thread.
#[derive(Debug)]
pub struct Shard {
    pub(super) index: usize,
    pub(super) pools: PoolShard,
    pub(super) crowd: Arc<Crowd>,
    pub(super) cancels: Arc<Cancels>,
    pub(super) console: mpsc::UnboundedSender<ConsoleClient>,
    pub(super) doors: Arc<Doors>,
    /// What is read goes here and straight on. Borrowed within one poll only.
    pub(super) scratch: RefCell<Box<[u8]>>,
    /// Buffers that nobody uses between two polls, kept so that a transaction needs no memory of its own.
    pub(super) around: RefCell<Around>,
    pub(super) spare: RefCell<BytesMut>,
    pub(super) pipes: RefCell<Vec<Pipe>>,
    clients: RefCell<HashMap<ClientId, Rc<ClientCell>>>,
    pub(super) stopping: Cell<bool>,
    /// Clients that come by go elsewhere.
    exodus: Cell<Option<Exodus>>,
    /// When one came from another thread.
    arrival: Cell<Option<Instant>>,
    pub(super) profiles: Profiles,
    pub(super) serials: Serials,
    /// No settings at all: what upstreams are opened with in transaction mode.
    pub(super) base: Arc<Profile>,
    nobody: Notify,
}

impl Shard {
    /// Nobody yet.
    pub(super) fn new(
        index: usize,
        pools: PoolShard,
        crowd: Arc<Crowd>,
        cancels: Arc<Cancels>,
        console: mpsc::UnboundedSender<ConsoleClient>,
        doors: Arc<Doors>,
    ) -> Rc<Self> {
        Rc::new(Self {
            index,
            pools,
            crowd,
            cancels,
            console,
            doors,
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            around: RefCell::default(),
            spare: RefCell::default(),
            pipes: RefCell::default(),
            clients: RefCell::default(),
            stopping: Cell::new(false),
            exodus: Cell::new(None),
            arrival: Cell::new(None),
            profiles: Profiles::default(),
            serials: Serials::default(),
            base: Arc::default(),
            nobody: Notify::new(),
        })
    }

    /// For the next long row, if there are not enough of them.
    pub(super) fn keep_pipe(&self, pipe: Pipe) {
        let mut pipes = self.pipes.borrow_mut();
        if pipes.len() < PIPES {
            pipes.push(pipe);
        }
    }

    /// Tells every client that it is to go.
    pub(super) fn stop(&self) {
        self.stopping.set(true);
        for client in self.clients.borrow().values() {
            client.waker.wake_by_ref();
        }
    }

    /// Ends one client's session. False if there is no such client here.
    pub(super) fn kill(&self, client: ClientId) -> bool {
        let clients = self.clients.borrow();
        let Some(cell) = clients.get(&client) else { return false };
        cell.ends.set(Some(Farewell::Killed));
        cell.waker.wake_by_ref();
        true
    }

    /// Looks after clients without an upstream that say nothing, and at how busy the thread is, for ever.
    pub(super) async fn look_after(self: Rc<Self>) {
        let (mut ticks, mut meter, mut marked) = (interval(TICK), Meter::default(), false);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            self.crowd.uses(self.index, meter.look(now, thread_time()));
            marked = self.spread(now, marked);
            self.look_after_idle(now);
        }
    }

    fn look_after_idle(&self, now: Instant) {
        let bounded = |name: &str| {
            let timeouts = self.pools.by_name(name)?.pool().limits().timeouts;
            (!timeouts.client_idle.is_zero()).then_some(timeouts)
        };
        let names = self.pools.names().into_iter();
        let bounded: HashMap<String, TimeoutSettings> =
            names.filter_map(|name| bounded(&name).map(|timeouts| (name, timeouts))).collect();
        if bounded.is_empty() {
            return;
        }
        for cell in self.clients.borrow().values() {
            if let Some(timeouts) = bounded.get(&cell.database) {
                cell.look_after(timeouts, now);
            }
        }
    }

    /// Decides whether clients go to another thread. Of a busy thread it is looked first which of them do
    /// something until the next look: `marked` if that was begun, and so is what is returned.
    fn spread(&self, now: Instant, marked: bool) -> bool {
        let Some(busy) = self.crowd.busy() else { return false };
        let shares = self.crowd.shares();
        let is_busy = shares.get(self.index).is_some_and(|share| *share >= busy);
        let mut active = 0_usize;
        if is_busy {
            for cell in self.clients.borrow().values() {
                active = active.saturating_add(usize::from(cell.was_active(now)));
            }
        }
        let unsettled = self.arrival.get().is_some_and(|at| now.saturating_duration_since(at) < SETTLES_IN);
        let decided =
            if is_busy && !marked { None } else { exodus(self.index, &shares, busy, active, unsettled) };
        if let Some(Exodus { to, left }) = decided.filter(|decided| decided.left < usize::MAX) {
            debug!(shard = self.index, to, clients = left, ?shares, "a busy thread: clients move on");
        }
        self.exodus.set(decided);
        // What comes of it is seen in two looks.
        is_busy && decided.is_none()
    }

    /// A client came from another shard.
    pub(super) fn welcomes(&self) {
        self.arrival.set(Some(Instant::now()));
        // Whoever was to go from here because there was little to do stays for now.
        self.exodus.set(self.exodus.get().filter(|exodus| exodus.left < usize::MAX));
    }

    /// The shard that the client which asks is to go to, if any.
    #[inline]
    pub(super) fn sends_away(&self) -> Option<usize> {
        let Exodus { to, left } = self.exodus.get()?;
        self.exodus.set(
            (left > 1).then_some(Exodus {
                to,
                left: if left == usize::MAX { left } else { left.saturating_sub(1) },
            }),
        );
        (!self.stopping.get()).then_some(to)
    }

    /// Waits until nobody is left. Cancel safe.
    pub(super) async fn emptied(&self) {
        while !self.clients.borrow().is_empty() {
            self.nobody.notified().await;
        }
    }

    pub(super) fn join(self: &Rc<Self>, cell: ClientCell) -> Joined {
        let cell = Rc::new(cell);
        self.clients.borrow_mut().insert(cell.id, cell.clone());
        Joined { shard: self.clone(), cell }
    }

    /// SHOW CLIENTS, by number.
    pub(super) fn rows(&self) -> Vec<ClientRow> {
        let sorted: BTreeMap<ClientId, Rc<ClientCell>> =
            self.clients.borrow().iter().map(|(id, cell)| (*id, cell.clone())).collect();
        let row = |cell: &Rc<ClientCell>| ClientRow {
            id: cell.id,
            database: cell.database.clone(),
            user: cell.user.clone(),
            application_name: cell.application_name.clone(),
            address: cell.address,
            state: cell.state.get(),
            ties: cell.pinned.get().map(|pinned| pinned.ties).unwrap_or_default(),
            pinned_since: cell.pinned.get().map(|pinned| pinned.since),
            waiting_since: (cell.state.get() == ClientState::Waiting).then(|| cell.waiting_since.get()),
            since: cell.since,
            shard: self.index,
        };
        sorted.values().map(row).collect()
    }

    /// Clients by database: no list of them is made.
    pub(super) fn counts(&self) -> Vec<ClientCounts> {
        let mut found: Vec<ClientCounts> = Vec::new();
        for cell in self.clients.borrow().values() {
            match found.iter_mut().find(|counts| counts.database == cell.database) {
                Some(counts) => counts.count(cell),
                None => {
                    let mut counts =
                        ClientCounts { database: cell.database.clone(), ..ClientCounts::default() };
                    counts.count(cell);
                    found.push(counts);
                }
            }
        }
        found
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
