//! From one data thread to another: where a client goes that moves.

use std::sync::OnceLock;

use tokio::sync::mpsc;

use super::port::ClientMessage;

/// The way in to each shard. It keeps none of them open: one that ended takes nobody.
#[derive(Debug)]
pub struct Doors(Vec<OnceLock<mpsc::WeakUnboundedSender<ClientMessage>>>);

impl Doors {
    /// For so many shards, which are not there yet.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| OnceLock::new()).collect())
    }

    pub(super) fn set(&self, shard: usize, door: mpsc::WeakUnboundedSender<ClientMessage>) {
        if let Some(place) = self.0.get(shard) {
            let _ = place.set(door);
        }
    }

    /// Brings a client to another shard.
    ///
    /// # Errors
    /// What was to be brought, if nobody is in there any more.
    pub(super) fn bring(&self, shard: usize, message: ClientMessage) -> Result<(), ClientMessage> {
        let door = self.0.get(shard).and_then(OnceLock::get).and_then(mpsc::WeakUnboundedSender::upgrade);
        match door {
            Some(door) => door.send(message).map_err(|mpsc::error::SendError(message)| message),
            None => Err(message),
        }
    }
}
