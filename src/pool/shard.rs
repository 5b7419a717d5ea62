//! All pools' parts on one shard, and who does there what is asked.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval};

use super::local::LocalPool;
use super::message::ShardMessage;
use super::shared::Pool;
use super::snapshot::{PoolSnapshot, ShardSnapshot};
use super::spread::TICK;

/// All pools' parts on one shard.
#[derive(Debug, Clone)]
pub struct PoolShard {
    pools: Rc<[Rc<LocalPool>]>,
}

impl PoolShard {
    /// The parts of `pools`, in order of their index, on `shard`.
    #[must_use]
    pub fn new(pools: &[Arc<Pool>], shard: usize) -> Self {
        Self { pools: pools.iter().map(|pool| LocalPool::new(pool.clone(), shard)).collect() }
    }

    /// A pool by the name that clients ask for.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Rc<LocalPool>> {
        self.pools.iter().find(|local| local.pool().settings().name == name)
    }

    /// The pool of this number.
    #[must_use]
    pub fn by_index(&self, index: usize) -> Option<&Rc<LocalPool>> {
        self.pools.get(index)
    }

    /// The names that clients may ask for.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.pools.iter().map(|local| local.pool().settings().name.clone()).collect()
    }

    /// Closes everything that is idle, on the way out.
    pub fn close_idle(&self) {
        self.pools.iter().for_each(|local| local.close_idle());
    }

    /// Listens and ticks until every port is gone. Must run on the shard's thread.
    pub async fn listen(self, mut words: mpsc::UnboundedReceiver<ShardMessage>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                word = words.recv() => match word {
                    Some(word) => self.heed(word),
                    None => return,
                },
                _ = ticks.tick() => self.pools.iter().for_each(LocalPool::tick),
            }
        }
    }

    fn heed(&self, word: ShardMessage) {
        let local = |index: usize| self.pools.get(index);
        match word {
            ShardMessage::Kick { pool } => local(pool).into_iter().for_each(LocalPool::feed),
            ShardMessage::Hungry { pool, shard, wanted } => {
                local(pool).into_iter().for_each(|local| local.help(shard, wanted));
            }
            ShardMessage::Take { pool, conn } => {
                if let Some(local) = local(pool) {
                    local.take(*conn);
                }
            }
            ShardMessage::ActiveChanged { pool } => {
                local(pool).into_iter().for_each(LocalPool::active_changed);
            }
            ShardMessage::Retire { pool, generation } => {
                local(pool).into_iter().for_each(|local| local.retire(generation));
            }
            ShardMessage::Warm { pool, generation, reply } => {
                if let Some(local) = local(pool).cloned() {
                    spawn_local(async move {
                        let _ = reply.send(local.warm(&generation).await);
                    });
                }
            }
            ShardMessage::Leave { pool, host } => {
                local(pool).into_iter().for_each(|local| local.leave(host));
            }
            ShardMessage::CancelBusy { pool, generation } => {
                local(pool).into_iter().for_each(|local| local.cancel_busy(generation));
            }
            ShardMessage::Cut { pool, generation, reason } => {
                local(pool).into_iter().for_each(|local| local.cut(generation, reason));
            }
            ShardMessage::CancelClient { client, done } => {
                // Who holds nothing has nothing that could be cancelled.
                let _ = self.pools.iter().try_fold(done, |done, local| local.cancel_client(client, done));
            }
            ShardMessage::Snapshot { reply } => {
                let pools = self.pools.iter();
                let pools =
                    pools.map(|p| PoolSnapshot { counts: p.counts(), servers: p.servers() }).collect();
                let _ = reply.send(ShardSnapshot { pools });
            }
        }
    }
}
