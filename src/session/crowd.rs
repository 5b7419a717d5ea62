//! How many clients there are, and where.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::balance::place;
use super::listen_settings::ListenSettings;
use super::texts::Texts;
use super::told::{AtomicTell, TellSettings};
use crate::pool::ClientId;

/// What all shards share about clients.
#[derive(Debug)]
pub struct Crowd {
    settings: ListenSettings,
    max_clients: AtomicUsize,
    tell: AtomicTell,
    total: AtomicUsize,
    by_shard: Vec<AtomicUsize>,
    /// What each shard uses of its core, in thousandths.
    shares: Vec<AtomicU32>,
    next: AtomicU64,
    texts: Texts,
}

impl Crowd {
    /// Nobody yet.
    #[must_use]
    pub fn new(settings: ListenSettings, shards: usize) -> Arc<Self> {
        let by_shard = (0..shards).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Self {
            max_clients: AtomicUsize::new(settings.max_clients),
            tell: AtomicTell::new(settings.tell),
            settings,
            total: AtomicUsize::new(0),
            by_shard,
            shares: (0..shards).map(|_| AtomicU32::new(0)).collect(),
            next: AtomicU64::new(1),
            texts: Texts::default(),
        })
    }

    /// The shard for a new client.
    pub(super) fn place(&self) -> usize {
        match self.busy() {
            Some(busy) => place(&self.shares(), busy),
            None => self.least_loaded(),
        }
    }

    /// From which share of its core on a shard is busy, in thousandths; `None`: no matter what,
    /// clients are spread evenly and stay.
    pub(super) fn busy(&self) -> Option<u32> {
        (self.settings.thread_busy > 0).then(|| self.settings.thread_busy.saturating_mul(10))
    }

    /// What each shard used of its core when it looked last.
    pub(super) fn shares(&self) -> Vec<u32> {
        self.shares.iter().map(|share| share.load(Ordering::Relaxed)).collect()
    }

    pub(super) fn uses(&self, shard: usize, share: u32) {
        if let Some(place) = self.shares.get(shard) {
            place.store(share, Ordering::Relaxed);
        }
    }

    /// The shard with the fewest clients.
    fn least_loaded(&self) -> usize {
        let loads = self.by_shard.iter().map(|load| load.load(Ordering::Relaxed));
        loads.enumerate().min_by_key(|(_, load)| *load).map_or(0, |(shard, _)| shard)
    }

    /// Clients on all shards.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// What of the settings can be changed while clients are there; the rest stays.
    pub fn change(&self, settings: &ListenSettings) {
        self.max_clients.store(settings.max_clients, Ordering::Relaxed);
        self.tell.set(settings.tell);
    }

    /// More clients than this are refused.
    pub(super) fn max_clients(&self) -> usize {
        self.max_clients.load(Ordering::Relaxed)
    }

    /// What is told of clients.
    pub(super) fn tell(&self) -> TellSettings {
        self.tell.get()
    }

    /// As of the start: see [`Crowd::max_clients`] and [`Crowd::tell`] for what may have changed since.
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

impl Seat {
    /// The client goes to another shard.
    pub(super) fn moves(&mut self, shard: usize) {
        let load = |shard: usize| self.crowd.by_shard.get(shard);
        load(self.shard).into_iter().for_each(|load| {
            load.fetch_sub(1, Ordering::Relaxed);
        });
        load(shard).into_iter().for_each(|load| {
            load.fetch_add(1, Ordering::Relaxed);
        });
        self.shard = shard;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.total.fetch_sub(1, Ordering::Relaxed);
        if let Some(load) = self.crowd.by_shard.get(self.shard) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
