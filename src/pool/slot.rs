//! The right to one connection.

use std::fmt;
use std::sync::Arc;

use super::gate::Era;
use crate::credentials::{Generation, GenerationId};

/// Who lets the places for connections: [`Pool`](super::Pool), which lies above.
pub(super) trait Landlord: fmt::Debug + Send + Sync {
    /// A number for one more connection, from 1; never the same again.
    fn number(&self) -> u64;

    /// A connection went from one shard to another.
    fn moved(&self, from: usize, to: usize);

    /// A connection went to `host`.
    fn arrived(&self, host: usize);

    /// One that went to `host` has ended.
    fn left(&self, host: usize);

    /// The place of a connection of `generation` on `shard` is free.
    fn given_back(&self, generation: GenerationId, shard: usize);
}

/// The right to one connection of one generation: dropping it gives the place
/// back. Generation and era are stamped here, before anything is dialled.
#[derive(Debug)]
pub(super) struct Slot {
    landlord: Arc<dyn Landlord>,
    generation: Arc<Generation>,
    era: Era,
    shard: usize,
    /// Once it is connected.
    host: Option<usize>,
}

impl Slot {
    /// A place on `shard` that `landlord` has entered in its books.
    pub(super) fn new(
        landlord: Arc<dyn Landlord>,
        generation: Arc<Generation>,
        era: Era,
        shard: usize,
    ) -> Self {
        Self { landlord, generation, era, shard, host: None }
    }

    /// A number for the connection that was opened.
    pub(super) fn number(&self) -> u64 {
        self.landlord.number()
    }

    pub(super) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    pub(super) fn era(&self) -> Era {
        self.era
    }

    /// Which of the pool's hosts the connection went to.
    pub(super) fn host(&self) -> usize {
        self.host.unwrap_or_default()
    }

    /// It is connected to this host.
    pub(super) fn connect_to(&mut self, host: usize) {
        self.landlord.arrived(host);
        if let Some(before) = self.host.replace(host) {
            self.landlord.left(before);
        }
    }

    pub(super) fn move_to(&mut self, shard: usize) {
        self.landlord.moved(self.shard, shard);
        self.shard = shard;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(host) = self.host {
            self.landlord.left(host);
        }
        self.landlord.given_back(self.generation.id(), self.shard);
    }
}
