//! A shard from its first client to its last: who comes is admitted, and has a task of its own.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{spawn_local, yield_now};

use super::accept;
use super::client;
use super::crowd::Crowd;
use super::doors::Doors;
use super::port::{ClientMessage, ClientPort, ConsoleClient};
use super::shard::Shard;
use crate::cancel::Cancels;
use crate::pool::{Pool, PoolShard, ShardMessage};

/// Everything a shard is made from; may cross threads, unlike the shard.
#[derive(Debug)]
pub struct ShardPlan {
    index: usize,
    pools: Vec<Arc<Pool>>,
    crowd: Arc<Crowd>,
    cancels: Arc<Cancels>,
    console: mpsc::UnboundedSender<ConsoleClient>,
    doors: Arc<Doors>,
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
        doors: Arc<Doors>,
        words: mpsc::UnboundedReceiver<ShardMessage>,
    ) -> (Self, ClientPort) {
        let (port, clients) = ClientPort::new(crowd.clone());
        doors.set(index, port.door());
        (Self { index, pools, crowd, cancels, console, doors, words, clients }, port)
    }

    /// Serves clients until every port is gone, or until it was told to stop and
    /// nobody is left. Must run on a `LocalRuntime` or `LocalSet`.
    pub async fn run(self) {
        let pools = PoolShard::new(&self.pools, self.index);
        let shard = Shard::new(self.index, pools.clone(), self.crowd, self.cancels, self.console, self.doors);
        let listening = spawn_local(pools.clone().listen(self.words));
        let looking = spawn_local(shard.clone().look_after());
        admit(&shard, self.clients).await;
        shard.emptied().await;
        looking.abort();
        let _ = looking.await;
        pools.close_idle();
        listening.abort();
        let _ = listening.await;
    }
}

/// Does what the port is told, until that is to stop or every port is gone.
async fn admit(shard: &Rc<Shard>, mut messages: mpsc::UnboundedReceiver<ClientMessage>) {
    while let Some(message) = messages.recv().await {
        match message {
            ClientMessage::Accept { stream, address } => {
                if let Ok(stream) = stream.attach() {
                    accept::serve(shard, stream, address);
                }
            }
            ClientMessage::Listen(entrance) => {
                spawn_local(accept::accept(shard.clone(), entrance));
            }
            ClientMessage::Arrive(traveller) => {
                shard.welcomes();
                spawn_local(client::arrive(shard.clone(), traveller));
            }
            ClientMessage::Stop => {
                shard.stop();
                // Who was on its way here is told, too; nobody else comes.
                messages.close();
                while let Ok(message) = messages.try_recv() {
                    if let ClientMessage::Arrive(traveller) = message {
                        spawn_local(client::arrive(shard.clone(), traveller));
                    }
                }
                // They are on the list before it is looked whether anybody is.
                yield_now().await;
                return;
            }
            ClientMessage::Kill { client, reply } => {
                let _ = reply.send(shard.kill(client));
            }
            ClientMessage::Snapshot { reply } => {
                let _ = reply.send(shard.rows());
            }
            ClientMessage::Counts { reply } => {
                let _ = reply.send(shard.counts());
            }
        }
    }
}
