//! What shards are told.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::conn::{CancelDone, ClientId, DetachedConn};
use super::snapshot::ShardSnapshot;
use crate::credentials::{CutReason, Generation, GenerationId};

/// Word for a shard; `pool` is the pool's index.
#[derive(Debug)]
pub enum ShardMessage {
    /// A place for a connection may be free.
    Kick {
        /// Which pool.
        pool: usize,
    },
    /// Another shard has clients waiting.
    Hungry {
        /// Which pool.
        pool: usize,
        /// Who asks.
        shard: usize,
        /// How many it could use.
        wanted: usize,
    },
    /// A connection from another shard.
    Take {
        /// Which pool.
        pool: usize,
        /// The connection.
        conn: Box<DetachedConn>,
    },
    /// Another generation is active, or none.
    ActiveChanged {
        /// Which pool.
        pool: usize,
    },
    /// A generation takes no more checkouts.
    Retire {
        /// Which pool.
        pool: usize,
        /// Which generation.
        generation: GenerationId,
    },
    /// Open connections of a coming generation.
    Warm {
        /// Which pool.
        pool: usize,
        /// Which generation.
        generation: Arc<Generation>,
        /// How many were opened.
        reply: oneshot::Sender<usize>,
    },
    /// No connection is to stay at a host.
    Leave {
        /// Which pool.
        pool: usize,
        /// Which of its hosts.
        host: usize,
    },
    /// Cancel what a generation's connections run.
    CancelBusy {
        /// Which pool.
        pool: usize,
        /// Which generation.
        generation: GenerationId,
    },
    /// End every session that holds a connection of this generation.
    Cut {
        /// Which pool.
        pool: usize,
        /// Which generation.
        generation: GenerationId,
        /// Why.
        reason: CutReason,
    },
    /// Cancel what a client runs at this moment.
    CancelClient {
        /// Which client.
        client: ClientId,
        /// Dropped when the server has dealt with it.
        done: CancelDone,
    },
    /// Say what there is.
    Snapshot {
        /// Where to.
        reply: oneshot::Sender<ShardSnapshot>,
    },
}

/// Where word for a shard is left.
#[derive(Debug, Clone)]
pub struct ShardPort(mpsc::UnboundedSender<ShardMessage>);

impl ShardPort {
    /// A port and the end that the shard listens to.
    #[must_use]
    pub fn new() -> (Self, mpsc::UnboundedReceiver<ShardMessage>) {
        let (tx, rx) = mpsc::unbounded_channel();
        (Self(tx), rx)
    }

    /// Leaves word; nothing happens if the shard has ended.
    pub fn send(&self, message: ShardMessage) {
        let _ = self.0.send(message);
    }
}
