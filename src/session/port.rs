//! Where clients are brought to a shard, and from there to the console.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::crowd::Crowd;
use super::entrance::Entrance;
use super::roll::{ClientCounts, ClientRow};
use super::traveller::Traveller;
use crate::cancel::Registration;
use crate::net::Detached;
use crate::pool::ClientId;
use crate::wire::{ProtocolVersion, StartupParams};

#[derive(Debug)]
pub(super) enum ClientMessage {
    Accept {
        stream: Detached,
        address: Option<SocketAddr>,
    },
    /// To accept clients from now on.
    Listen(Entrance),
    /// From another shard.
    Arrive(Box<Traveller>),
    Stop,
    Kill {
        client: ClientId,
        reply: oneshot::Sender<bool>,
    },
    Snapshot {
        reply: oneshot::Sender<Vec<ClientRow>>,
    },
    Counts {
        reply: oneshot::Sender<Vec<ClientCounts>>,
    },
}

/// Where clients are brought to a shard.
#[derive(Debug, Clone)]
pub struct ClientPort {
    messages: mpsc::UnboundedSender<ClientMessage>,
    crowd: Arc<Crowd>,
}

impl ClientPort {
    /// A port, and the end that the shard listens to.
    pub(super) fn new(crowd: Arc<Crowd>) -> (Self, mpsc::UnboundedReceiver<ClientMessage>) {
        let (messages, inbox) = mpsc::unbounded_channel();
        (Self { messages, crowd }, inbox)
    }

    /// The way in for those who come from other shards.
    pub(super) fn door(&self) -> mpsc::WeakUnboundedSender<ClientMessage> {
        self.messages.downgrade()
    }

    /// The shard accepts clients from now on.
    pub(super) fn listen(&self, entrance: Entrance) {
        let _ = self.messages.send(ClientMessage::Listen(entrance));
    }

    /// Idle clients go now, the others at the end of their transaction.
    pub fn stop(&self) {
        let _ = self.messages.send(ClientMessage::Stop);
    }

    /// Ends one client's session: what it runs is cancelled and rolled back. False if the shard has
    /// no such client.
    pub async fn kill(&self, client: ClientId) -> bool {
        let (reply, answer) = oneshot::channel();
        let _ = self.messages.send(ClientMessage::Kill { client, reply });
        answer.await.unwrap_or(false)
    }

    /// Clients of all shards, those included that are not logged in yet or only bring a CancelRequest.
    #[must_use]
    pub fn everybody(&self) -> usize {
        self.crowd.total()
    }

    /// The shard's clients; empty if it has ended.
    pub async fn snapshot(&self) -> Vec<ClientRow> {
        let (reply, answer) = oneshot::channel();
        let _ = self.messages.send(ClientMessage::Snapshot { reply });
        answer.await.unwrap_or_default()
    }

    /// How many there are, by database; empty if the shard has ended.
    pub async fn counts(&self) -> Vec<ClientCounts> {
        let (reply, answer) = oneshot::channel();
        let _ = self.messages.send(ClientMessage::Counts { reply });
        answer.await.unwrap_or_default()
    }
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
