//! One pooled connection, and the tether by which others reach its holder.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::activity::Activity;
use super::gate::{Era, Standing};
use super::prepared::Prepared;
use super::profile::Profile;
use super::slot::Slot;
use super::timeouts::{Overdue, TimeoutSettings};
use crate::credentials::{CutReason, Generation, GenerationId};
use crate::net::{Detached, Peer, Stream};
use crate::upstream::{Answer, Connected, QueryError, simple_query};
use crate::wire::{CancelKey, Encoder};

/// Numbers clients of this process, from 1, over all shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// Dropped when a server has dealt with a CancelRequest; nothing is ever sent.
pub(super) type CancelDone = oneshot::Sender<Infallible>;

/// One row of SHOW SERVERS.
#[derive(Debug, Clone)]
pub struct ServerRow {
    /// Which of the pool's connections it is, from 1; never used again.
    pub number: u64,
    /// Which generation's user it is logged in as.
    pub generation: GenerationId,
    /// That user.
    pub user: String,
    /// The server's process id.
    pub pid: Option<u32>,
    /// The client that holds it; `None`: idle.
    pub client: Option<ClientId>,
    /// The address it went to.
    pub peer: Peer,
    /// When it was opened.
    pub opened: Instant,
    /// The version of TLS that is spoken on it; `None`: none.
    pub tls: Option<&'static str>,
    /// Statements that are prepared there, as of when it was given back last.
    pub prepared: usize,
    /// CancelRequests for it that are on their way.
    pub cancels: u32,
    /// It is closed once it is given back: the pool is paused or was told to reconnect, it is old, or
    /// its host does not fit any more.
    pub outdated: bool,
}

/// A connection, owned by whoever uses it. In a box: it changes hands twice for each transaction.
#[derive(Debug)]
pub struct Conn(Box<Link>);

/// What a connection is.
#[derive(Debug)]
pub struct Link {
    /// The bytes: the relay reads and writes here.
    pub stream: Stream,
    /// The settings laid on it since login, in transaction mode.
    pub dressed: Arc<Profile>,
    /// The statements that it has prepared, in transaction mode.
    pub prepared: Prepared,
    pub(super) key: Arc<Profile>,
    params: Vec<(String, String)>,
    tethered: Tethered,
    slot: Slot,
}

impl Deref for Conn {
    type Target = Link;

    #[inline]
    fn deref(&self) -> &Link {
        &self.0
    }
}

impl DerefMut for Conn {
    #[inline]
    fn deref_mut(&mut self) -> &mut Link {
        &mut self.0
    }
}

impl Conn {
    pub(super) fn new(
        connected: Connected,
        key: Arc<Profile>,
        mut slot: Slot,
        registry: &Rc<Registry>,
    ) -> Self {
        let Connected { stream, host, peer, key: cancel, params, .. } = connected;
        slot.connect_to(host);
        let tethered = registry.tether(
            Origin { peer, cancel, opened: Instant::now(), fraction: rand::random(), number: slot.number() },
            &stream,
            &slot,
        );
        let (dressed, prepared) = (Arc::default(), Prepared::default());
        Self(Box::new(Link { stream, dressed, prepared, key, params, tethered, slot }))
    }

    /// The generation whose user it is logged in as.
    #[must_use]
    pub fn generation(&self) -> &Arc<Generation> {
        self.slot.generation()
    }

    /// What the server reported at login.
    #[must_use]
    pub fn params(&self) -> &[(String, String)] {
        &self.params
    }

    /// The server's process id and cancel secret.
    #[must_use]
    pub fn cancel_key(&self) -> Option<&CancelKey> {
        self.tethered.tether.cancel.as_ref()
    }

    /// Whether the holder was told to let go, and why.
    #[inline]
    #[must_use]
    pub fn cut(&self) -> Option<CutReason> {
        self.tethered.tether.cut.get()
    }

    /// The bound that its holder went beyond, if it did.
    #[inline]
    #[must_use]
    pub fn overdue(&self) -> Option<Overdue> {
        self.tethered.tether.overdue.get()
    }

    /// Asks a question of our own between transactions. Not cancel safe: a cancelled
    /// question closes the connection. `None`: the connection is lost.
    pub async fn query(self, sql: &str) -> (Option<Self>, Result<Answer, QueryError>) {
        let Link { stream, dressed, mut prepared, key, params, tethered, slot } = *self.0;
        // As every Query does.
        prepared.unnamed = None;
        let (stream, answer) = simple_query(stream, sql).await;
        let whole = |stream| Self(Box::new(Link { stream, dressed, prepared, key, params, tethered, slot }));
        (stream.map(whole), answer)
    }

    /// Whether it may go to a client.
    pub(super) fn is_wanted(&self, standing: Standing) -> bool {
        standing.hands_out(self.slot.generation().id(), self.slot.era()) && !self.tether().is_of_age()
    }

    /// Whether it may go to a client although its user, `coming`, is not the active one yet.
    pub(super) fn is_early(&self, standing: Standing, coming: GenerationId) -> bool {
        self.slot.generation().id() == coming && self.is_spare(standing)
    }

    /// Whether it may go to a client although its user has been replaced.
    pub(super) fn is_spare(&self, standing: Standing) -> bool {
        standing.serving().is_some() && standing.era() == self.slot.era() && !self.tether().is_of_age()
    }

    pub(super) fn tether(&self) -> &Rc<Tether> {
        &self.tethered.tether
    }

    /// Says goodbye and closes.
    pub fn close(mut self) {
        let mut goodbye = Encoder::default();
        goodbye.terminate();
        self.stream.try_goodbye(&goodbye.into_bytes());
    }

    /// Takes the connection off this shard; `None` if the runtime does not give it up.
    pub(super) fn detach(self) -> Option<DetachedConn> {
        let Link { stream, dressed, prepared, key, params, tethered, slot } = *self.0;
        let tether = tethered.tether.clone();
        drop(tethered);
        Some(DetachedConn {
            stream: stream.detach().ok()?,
            dressed,
            prepared,
            key,
            params,
            peer: tether.peer.clone(),
            cancel: tether.cancel.clone(),
            opened: tether.opened,
            fraction: tether.fraction,
            number: tether.number,
            slot,
        })
    }
}

/// A connection on its way to another shard.
#[derive(Debug)]
pub struct DetachedConn {
    stream: Detached,
    dressed: Arc<Profile>,
    prepared: Prepared,
    key: Arc<Profile>,
    params: Vec<(String, String)>,
    peer: Peer,
    cancel: Option<CancelKey>,
    opened: Instant,
    fraction: f64,
    number: u64,
    slot: Slot,
}

impl DetachedConn {
    pub(super) fn attach(self, shard: usize, registry: &Rc<Registry>) -> Option<Conn> {
        let Self { stream, dressed, prepared, key, params, peer, cancel, opened, fraction, number, mut slot } =
            self;
        slot.move_to(shard);
        let stream = stream.attach().ok()?;
        let tethered = registry.tether(Origin { peer, cancel, opened, fraction, number }, &stream, &slot);
        tethered.tether.prepared.set(prepared.len());
        Some(Conn(Box::new(Link { stream, dressed, prepared, key, params, tethered, slot })))
    }
}

/// How a connection is reached while somebody else owns it: to cancel what it
/// runs, or to tell its holder to let go.
#[derive(Debug)]
pub(super) struct Tether {
    pub(super) peer: Peer,
    /// Which of the pool's hosts that is.
    pub(super) host: usize,
    pub(super) cancel: Option<CancelKey>,
    pub(super) generation: Arc<Generation>,
    era: Era,
    pub(super) opened: Instant,
    /// Its own part of what it may end early by, from 0 to 1.
    pub(super) fraction: f64,
    number: u64,
    tls: Option<&'static str>,
    holder: Cell<Option<ClientId>>,
    /// When the ticker first saw it idle, since it was given back.
    idle_since: Cell<Option<Instant>>,
    /// It is old enough to be closed, or where no connection is to stay.
    of_age: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    cut: Cell<Option<CutReason>>,
    overdue: Cell<Option<Overdue>>,
    cancels: Cell<u32>,
    pub(super) activity: Activity,
    /// Statements that are prepared there, as of when it was given back last.
    pub(super) prepared: Cell<usize>,
    pub(super) cancels_done: Notify,
}

impl Tether {
    pub(super) fn hold(&self, client: ClientId, waker: &Waker) {
        self.overdue.set(None);
        self.holder.set(Some(client));
        self.idle_since.set(None);
        self.activity.reset();
        let mut mine = self.waker.borrow_mut();
        match &mut *mine {
            Some(kept) => kept.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(super) fn release(&self) {
        self.holder.set(None);
        self.activity.reset();
    }

    pub(super) fn holder(&self) -> Option<ClientId> {
        self.holder.get()
    }

    /// How long it has been idle, counted from the first time that this is asked.
    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        let since = self.idle_since.get().unwrap_or(now);
        self.idle_since.set(Some(since));
        now.saturating_duration_since(since)
    }

    /// From here on it goes to no client.
    pub(super) fn come_of_age(&self) {
        self.of_age.set(true);
    }

    pub(super) fn is_of_age(&self) -> bool {
        self.of_age.get()
    }

    pub(super) fn cut(&self, reason: CutReason) {
        self.cut.set(Some(reason));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Tells the holder that it went beyond a bound, if it did.
    pub(super) fn look_after(&self, timeouts: &TimeoutSettings, now: Instant) {
        if self.holder.get().is_none() || self.overdue.get().is_some() {
            return;
        }
        let overdue = timeouts.overdue(self.activity.doing(now), now);
        if let (Some(_), Some(waker)) = (overdue, &*self.waker.borrow()) {
            self.overdue.set(overdue);
            waker.wake_by_ref();
        }
    }

    /// A CancelRequest is on its way: the connection must not change hands until it is done.
    pub(super) fn cancel_begins(&self) {
        self.cancels.set(self.cancels.get().saturating_add(1));
    }

    pub(super) fn cancel_ends(&self) {
        self.cancels.set(self.cancels.get().saturating_sub(1));
        self.cancels_done.notify_waiters();
    }

    pub(super) fn cancelling(&self) -> bool {
        self.cancels.get() > 0
    }

    pub(super) fn row(&self, standing: Standing) -> ServerRow {
        ServerRow {
            number: self.number,
            generation: self.generation.id(),
            user: self.generation.login().user.clone(),
            pid: self.cancel.as_ref().map(|key| key.pid),
            client: self.holder.get(),
            peer: self.peer.clone(),
            opened: self.opened,
            tls: self.tls,
            prepared: self.prepared.get(),
            cancels: self.cancels.get(),
            outdated: standing.is_paused() || standing.era() != self.era || self.of_age.get(),
        }
    }
}

/// Where a connection went, and when.
struct Origin {
    peer: Peer,
    cancel: Option<CancelKey>,
    opened: Instant,
    fraction: f64,
    number: u64,
}

/// All connections of one shard's part of a pool, whoever holds them.
#[derive(Debug, Default)]
pub(super) struct Registry {
    tethers: RefCell<HashMap<u64, Rc<Tether>>>,
    next: Cell<u64>,
}

impl Registry {
    fn tether(self: &Rc<Self>, origin: Origin, stream: &Stream, slot: &Slot) -> Tethered {
        let Origin { peer, cancel, opened, fraction, number } = origin;
        let id = self.next.get();
        self.next.set(id.wrapping_add(1));
        let tether = Rc::new(Tether {
            peer,
            host: slot.host(),
            cancel,
            generation: slot.generation().clone(),
            era: slot.era(),
            opened,
            fraction,
            number,
            tls: stream.tls_version(),
            holder: Cell::new(None),
            idle_since: Cell::new(None),
            of_age: Cell::new(false),
            waker: RefCell::new(None),
            cut: Cell::new(None),
            overdue: Cell::new(None),
            cancels: Cell::new(0),
            activity: Activity::default(),
            prepared: Cell::new(0),
            cancels_done: Notify::new(),
        });
        self.tethers.borrow_mut().insert(id, tether.clone());
        Tethered { registry: self.clone(), id, tether }
    }

    /// A copy of the list, so that nothing is borrowed while it is used.
    pub(super) fn all(&self) -> Vec<Rc<Tether>> {
        self.tethers.borrow().values().cloned().collect()
    }

    /// The one of which `rank` says most; `None` if it says nothing of any.
    pub(super) fn most<R: Ord>(&self, rank: impl Fn(&Tether) -> Option<R>) -> Option<Rc<Tether>> {
        let tethers = self.tethers.borrow();
        let ranked = tethers.values().filter_map(|tether| Some((rank(tether)?, tether)));
        ranked.max_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, tether)| tether.clone())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.tethers.borrow().len()
    }
}

/// Takes the tether off the list when the connection goes, however it goes.
#[derive(Debug)]
struct Tethered {
    registry: Rc<Registry>,
    id: u64,
    tether: Rc<Tether>,
}

impl Drop for Tethered {
    fn drop(&mut self) {
        self.registry.tethers.borrow_mut().remove(&self.id);
    }
}
