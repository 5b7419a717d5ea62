//! One shard's part of a pool: checkout and give back, on one thread.
//!
//! Checkout is last in, first out; a connection that is given back goes
//! straight to the oldest waiting client. Nothing here locks, allocates or
//! reads a clock while connections are at hand.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::conn::{CancelDone, ClientId, Conn, DetachedConn, Registry, Tether};
use super::gate::Standing;
use super::hunger::{Sight, gives};
use super::message::ShardMessage;
use super::places::{CheckoutError, Places};
use super::profile::Profile;
use super::settings::PoolMode;
use super::shared::Pool;
use super::work::Work;
use crate::credentials::GenerationId;
use crate::upstream::cancel;

/// How long a CancelRequest may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long `DISCARD ALL` may take.
const RESET_TIMEOUT: Duration = Duration::from_secs(5);

/// How many idle connections are looked at for one that needs no aligning.
const LOOKED_AT: usize = 16;

/// One shard's part of a pool.
#[derive(Debug)]
pub struct LocalPool {
    pub(super) pool: Arc<Pool>,
    pub(super) shard: usize,
    pub(super) registry: Rc<Registry>,
    pub(super) idle: RefCell<Vec<Conn>>,
    /// The generation that is to follow the active one: its connections are handed out already.
    pub(super) coming: Cell<Option<GenerationId>>,
    /// Idle ones of a user that was replaced, closed a few at each tick.
    pub(super) leaving: RefCell<Vec<Conn>>,
    pub(super) leaving_batch: Cell<usize>,
    pub(super) places: RefCell<Places<Rc<Owner>>>,
    pub(super) dialling: Cell<usize>,
    /// A connection is being opened that nobody waits for.
    pub(super) filling: Cell<bool>,
    /// The profile that a client of session mode asked for last.
    pub(super) asked_last: RefCell<Arc<Profile>>,
    /// When a connection was last found to be too old.
    pub(super) last_of_age: Cell<Option<Instant>>,
    pub(super) failures: Cell<u32>,
    pub(super) pausing: Cell<bool>,
    /// In a moment it is looked again whether those who wait need another connection.
    pub(super) looking_again: Cell<bool>,
    /// The other shards have been asked for a connection.
    pub(super) hungry: Cell<bool>,
    /// Waiting clients are being watched for standing still.
    pub(super) patient: Cell<bool>,
    /// What was read last: `idle` is what may be handed out by it.
    pub(super) seen: Cell<Standing>,
    /// Until when the pool was paused: nobody's wait counts before that.
    pub(super) paused_until: Cell<Option<Instant>>,
    /// The most connections that clients held at once since the last switch.
    pub(super) most_used: Cell<usize>,
    pub(super) work: Work,
}

/// A waiting client, as the queue reaches it.
#[derive(Debug)]
pub(super) struct Owner {
    client: ClientId,
    since: Instant,
    waker: RefCell<Waker>,
    outcome: RefCell<Option<Result<Conn, CheckoutError>>>,
}

impl Owner {
    /// Hands over what the place was for, and wakes its client.
    pub(super) fn settle(&self, outcome: Result<Conn, CheckoutError>) {
        *self.outcome.borrow_mut() = Some(outcome);
        self.waker.borrow().wake_by_ref();
    }
}

/// A place in the queue; dropping it leaves the queue, and gives back what had
/// already been handed over.
#[derive(Debug)]
pub struct Waiting {
    local: Rc<LocalPool>,
    owner: Rc<Owner>,
    ticket: u64,
}

impl LocalPool {
    /// The part of `pool` that lives on `shard`.
    #[must_use]
    pub fn new(pool: Arc<Pool>, shard: usize) -> Rc<Self> {
        Rc::new(Self {
            pool,
            shard,
            registry: Rc::default(),
            idle: RefCell::default(),
            coming: Cell::new(None),
            leaving: RefCell::default(),
            leaving_batch: Cell::new(0),
            places: RefCell::default(),
            dialling: Cell::new(0),
            filling: Cell::new(false),
            asked_last: RefCell::default(),
            last_of_age: Cell::new(None),
            failures: Cell::new(0),
            pausing: Cell::new(false),
            looking_again: Cell::new(false),
            hungry: Cell::new(false),
            patient: Cell::new(false),
            seen: Cell::default(),
            paused_until: Cell::new(None),
            most_used: Cell::new(0),
            work: Work::default(),
        })
    }

    /// What all shards share.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Until when the pool was paused last, as of the latest tick.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        self.paused_until.get()
    }

    /// An idle connection with this profile, if there is one and nobody waits; one that is
    /// dressed in `dress` if that is quickly found. The waker of `cx` is how its holder is told to let go; it is
    /// woken, too, when the server says something.
    pub fn try_checkout(
        &self,
        client: ClientId,
        key: &Arc<Profile>,
        dress: &Arc<Profile>,
        cx: &mut Context<'_>,
    ) -> Option<Conn> {
        self.follow_active();
        if !self.places.borrow().is_empty() {
            return None;
        }
        loop {
            let mut conn = self.pop_idle(key, dress).or_else(|| self.pop_leaving(key))?;
            if conn.stream.has_news(cx) {
                // The server said something or left while nobody was reading.
                drop(conn);
                continue;
            }
            conn.tether().hold(client, cx.waker());
            self.note_use();
            return Some(conn);
        }
    }

    fn pop_idle(&self, key: &Arc<Profile>, dress: &Arc<Profile>) -> Option<Conn> {
        let mut idle = self.idle.borrow_mut();
        let fits = |conn: &Conn| Arc::ptr_eq(&conn.dressed, dress) && Arc::ptr_eq(&conn.key, key);
        if let Some(back) = idle.iter().rev().take(LOOKED_AT).position(fits) {
            let last = idle.len().saturating_sub(1);
            return Some(idle.remove(last.saturating_sub(back)));
        }
        if idle.last().is_some_and(|conn| Arc::ptr_eq(&conn.key, key)) {
            return idle.pop();
        }
        let at = idle.iter().rposition(|conn| conn.key == *key)?;
        Some(idle.remove(at))
    }

    /// Queues up for a connection with this profile.
    #[must_use]
    pub fn wait(self: &Rc<Self>, client: ClientId, key: &Arc<Profile>, waker: &Waker) -> Waiting {
        if self.pool.settings().mode == PoolMode::Session {
            self.asked_last.replace(key.clone());
        }
        let since = Instant::now();
        let (waker, outcome) = (RefCell::new(waker.clone()), RefCell::new(None));
        let owner = Rc::new(Owner { client, since, waker, outcome });
        let ticket = self.places.borrow_mut().join(key.clone(), since, owner.clone());
        self.feed();
        Waiting { local: self.clone(), owner, ticket }
    }

    /// Takes a connection back that stands between transactions at a message
    /// boundary. One of a retired generation is closed.
    pub fn give_back(self: &Rc<Self>, conn: Conn) {
        conn.tether().release();
        conn.tether().prepared.set(conn.prepared.len());
        if conn.tether().cancelling() {
            self.park(conn);
        } else {
            self.arrive(conn);
        }
    }

    /// Takes a connection back whose client left it between transactions with state
    /// of its own: `DISCARD ALL` first.
    pub fn reset_and_give_back(self: &Rc<Self>, mut conn: Conn) {
        conn.tether().release();
        conn.dressed = Arc::default();
        conn.prepared.clear();
        self.follow_active();
        if !self.wants(&conn) {
            conn.close();
            return;
        }
        let local = self.clone();
        spawn_local(async move {
            match timeout(RESET_TIMEOUT, conn.query("DISCARD ALL")).await {
                Ok((Some(conn), Ok(_))) if conn.cut().is_none() => local.give_back(conn),
                Ok((Some(conn), _)) => conn.close(),
                _ => {}
            }
        });
    }

    /// Cancels what a connection runs, then closes it.
    pub fn cancel_and_close(self: &Rc<Self>, conn: Conn) {
        let (pool, tether) = (self.pool.clone(), conn.tether().clone());
        tether.cancel_begins();
        spawn_local(async move {
            send_cancel(&pool, &tether).await;
            conn.close();
        });
    }

    /// A CancelRequest is still on its way: whoever gets this connection next must not be hit.
    fn park(self: &Rc<Self>, conn: Conn) {
        let local = self.clone();
        spawn_local(async move {
            let tether = conn.tether().clone();
            while tether.cancelling() {
                tether.cancels_done.notified().await;
            }
            local.arrive(conn);
        });
    }

    /// A free connection: to another shard that is worse off, to the oldest waiting client, or idle.
    pub(super) fn arrive(self: &Rc<Self>, conn: Conn) {
        self.follow_active();
        if !self.wants(&conn) {
            conn.close();
            self.feed();
            return;
        }
        if let Some(other) = self.pool.hungry_other_than(self.shard)
            && self.should_move(other)
        {
            self.send_away(conn, other);
            return;
        }
        let owner = self.places.borrow_mut().serve(&conn.key);
        match owner {
            Some(owner) => self.hand_over(conn, &owner),
            None => self.idle.borrow_mut().push(conn),
        }
        self.weigh(Sight::Room);
        // Who still waits may want another profile than the one that came.
        if self.pool.settings().mode == PoolMode::Session {
            self.feed();
        }
    }

    fn note_use(&self) {
        self.work.checkouts.add(1);
        let free = self.idle.borrow().len().saturating_add(self.leaving.borrow().len());
        let used = self.registry.len().saturating_sub(free);
        if used > self.most_used.get() {
            self.most_used.set(used);
        }
    }

    pub(super) fn hand_over(&self, conn: Conn, owner: &Owner) {
        conn.tether().hold(owner.client, &owner.waker.borrow());
        self.note_use();
        self.work.waits.borrow_mut().observe(owner.since.elapsed());
        owner.settle(Ok(conn));
    }

    fn should_move(&self, other: usize) -> bool {
        let ledger = self.pool.ledger();
        gives(self.places.borrow().len(), ledger.held(self.shard), ledger.held(other))
    }

    fn send_away(&self, conn: Conn, shard: usize) {
        if let Some(conn) = conn.detach() {
            self.pool.send_to(shard, ShardMessage::Take { pool: self.pool.index(), conn: Box::new(conn) });
        }
    }

    /// Closes what is idle at a host where no connection is to stay; what is busy goes once it is given back.
    pub(super) fn leave(self: &Rc<Self>, host: usize) {
        self.registry
            .all()
            .iter()
            .filter(|tether| tether.host == host)
            .for_each(|tether| tether.come_of_age());
        let leaves = |conn: &mut Conn| conn.tether().host == host;
        let gone: Vec<Conn> = self.idle.borrow_mut().extract_if(.., leaves).collect();
        gone.into_iter().for_each(Conn::close);
        self.feed();
    }

    /// Cancels what the connections of a generation run.
    pub(super) fn cancel_busy(&self, generation: GenerationId) {
        for tether in self.registry.all() {
            if tether.generation.id() == generation && tether.holder().is_some() {
                self.cancel_tether(tether, None);
            }
        }
    }

    /// Cancels what this client runs at this moment; gives `done` back if it holds nothing here.
    pub(super) fn cancel_client(&self, client: ClientId, done: CancelDone) -> Option<CancelDone> {
        let held = self.registry.all().into_iter().find(|tether| tether.holder() == Some(client));
        let Some(tether) = held else { return Some(done) };
        self.cancel_tether(tether, Some(done));
        None
    }

    fn cancel_tether(&self, tether: Rc<Tether>, done: Option<CancelDone>) {
        let pool = self.pool.clone();
        // Before anything else runs on this thread: from here on the connection cannot
        // change hands until the request has been answered.
        tether.cancel_begins();
        spawn_local(async move {
            send_cancel(&pool, &tether).await;
            drop(done);
        });
    }

    /// Another shard wants up to `wanted` connections.
    pub(super) fn help(&self, shard: usize, wanted: usize) {
        if !self.places.borrow().is_empty() {
            return;
        }
        for _ in 0..wanted {
            let conn = {
                let mut idle = self.idle.borrow_mut();
                if idle.is_empty() { None } else { Some(idle.remove(0)) }
            };
            match conn {
                Some(conn) => self.send_away(conn, shard),
                None => return,
            }
        }
    }

    /// A connection comes from another shard.
    pub(super) fn take(self: &Rc<Self>, conn: DetachedConn) {
        if let Some(conn) = conn.attach(self.shard, &self.registry) {
            self.arrive(conn);
        }
        self.feed();
    }

    /// What needs no haste: clients that waited too long, idle connections that the server closed,
    /// those that are too old, too many or too few.
    pub(super) fn tick(self: &Rc<Self>) {
        let (limits, now) = (self.pool.limits(), Instant::now());
        if self.pool.is_paused() {
            self.paused_until.set(Some(now));
        }
        let expired = self.places.borrow_mut().expired(now, limits.checkout_timeout, self.paused_until.get());
        for (owner, waited) in expired {
            let trouble = self.pool.trouble();
            self.work.timeouts.add(1);
            let pinned = Box::new(self.pool.pins().clients());
            owner.settle(Err(CheckoutError::Timeout { waited, trouble, pinned }));
        }
        self.close_leaving(self.leaving_batch.get());
        self.follow_active();
        let mut cx = Context::from_waker(Waker::noop());
        let gone: Vec<Conn> =
            self.idle.borrow_mut().extract_if(.., |conn| conn.stream.has_news(&mut cx)).collect();
        drop(gone);
        self.feed();
        self.tend(now, &limits);
        if !limits.timeouts.is_none() {
            self.registry.all().iter().for_each(|tether| tether.look_after(&limits.timeouts, now));
        }
    }

    /// Closes everything that is idle.
    pub(super) fn close_idle(&self) {
        let idle: Vec<Conn> = self.idle.borrow_mut().drain(..).collect();
        idle.into_iter().for_each(Conn::close);
        self.close_leaving(usize::MAX);
    }
}

impl Waiting {
    /// Since when.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.owner.since
    }

    /// The connection, once there is one. Cancel safe.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Conn, CheckoutError>> {
        if let Some(outcome) = self.owner.outcome.borrow_mut().take() {
            return Poll::Ready(outcome);
        }
        self.owner.waker.borrow_mut().clone_from(cx.waker());
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        match self.owner.outcome.borrow_mut().take() {
            Some(Ok(conn)) => self.local.give_back(conn),
            Some(Err(_)) => {}
            None => self.local.places.borrow_mut().leave(self.ticket),
        }
    }
}

/// Sends the request that [`Tether::cancel_begins`] announced.
async fn send_cancel(pool: &Pool, tether: &Tether) {
    if let Some(key) = &tether.cancel
        && let Err(error) = cancel(pool.target(), tether.host, &tether.peer, key, CANCEL_TIMEOUT).await
    {
        warn!(pool = %pool.settings().name, %error, "cancelling failed");
    }
    tether.cancel_ends();
}
