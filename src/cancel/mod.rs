//! Our own cancel keys: which client a CancelRequest means.
//!
//! A key leads to a client, never to a connection: what the client runs is
//! looked up by its shard when the request arrives there, so a request can hit
//! only the upstream that the client holds at that moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rand::RngExt;
use tokio::sync::oneshot;

use crate::pool::{ClientId, ShardMessage, ShardPort};
use crate::wire::{CancelKey, ProtocolVersion};

/// The largest process id that PostgreSQL itself could have (`pid_max` of Linux).
const LARGEST_PID: u32 = 1 << 22;
/// Secrets are 4 bytes in protocol 3.0; 3.2 allows up to 256.
const LONG_SECRET: usize = 32;

/// All cancel keys of this process.
#[derive(Debug)]
pub struct Cancels {
    shards: Vec<ShardPort>,
    keys: Mutex<HashMap<CancelKey, Route>>,
}

#[derive(Debug, Clone, Copy)]
struct Route {
    shard: usize,
    client: ClientId,
}

impl Cancels {
    /// No keys yet.
    #[must_use]
    pub fn new(shards: Vec<ShardPort>) -> Arc<Self> {
        Arc::new(Self { shards, keys: Mutex::default() })
    }

    /// Makes a key for a client. The secret is random; the process id is `pid` where the
    /// client holds one upstream for its life, else random too.
    pub fn register(
        self: &Arc<Self>,
        shard: usize,
        client: ClientId,
        version: ProtocolVersion,
        pid: Option<u32>,
    ) -> Registration {
        let mut random = rand::rng();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut secret = vec![0; if version.minor >= 2 { LONG_SECRET } else { 4 }];
            random.fill(&mut secret[..]);
            let pid = pid.unwrap_or_else(|| random.random_range(1..LARGEST_PID));
            let key = CancelKey { pid, secret };
            if !keys.contains_key(&key) {
                keys.insert(key.clone(), Route { shard, client });
                return Registration { cancels: self.clone(), key };
            }
        }
    }

    /// Cancels what the client with this key runs, and waits until its server has dealt with that.
    ///
    /// As with PostgreSQL, what comes after the end of this is not hit: a server may signal the
    /// process more than once before it closes the connection that asked for it.
    pub async fn cancel(&self, key: &CancelKey) {
        let route = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied();
        let port = route.and_then(|route| self.shards.get(route.shard).zip(Some(route.client)));
        if let Some((port, client)) = port {
            let (done, dealt_with) = oneshot::channel();
            port.send(ShardMessage::CancelClient { client, done });
            let _ = dealt_with.await;
        }
    }
}

/// A client's key; dropping it makes the key void.
#[derive(Debug)]
pub struct Registration {
    cancels: Arc<Cancels>,
    key: CancelKey,
}

impl Registration {
    /// From now on the client is found on another shard.
    pub fn moves(&self, shard: usize) {
        let mut keys = self.cancels.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = keys.get_mut(&self.key) {
            route.shard = shard;
        }
    }

    /// What BackendKeyData carries.
    #[must_use]
    pub fn key(&self) -> &CancelKey {
        &self.key
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.cancels.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn a_key_reaches_its_client_until_it_is_dropped() {
        let (port, mut words) = ShardPort::new();
        let cancels = Cancels::new(vec![port]);
        let registration = cancels.register(0, ClientId(7), ProtocolVersion { minor: 0 }, None);
        let mut wrong = registration.key().clone();
        assert_eq!(wrong.secret.len(), 4);
        wrong.secret[0] ^= 1;
        cancels.cancel(&wrong).await;
        assert!(words.try_recv().is_err());
        let key = registration.key().clone();
        let mut cancel = Box::pin(cancels.cancel(&key));
        assert!(poll!(&mut cancel).is_pending());
        let Ok(ShardMessage::CancelClient { client: ClientId(7), done }) = words.try_recv() else { panic!() };
        assert!(poll!(&mut cancel).is_pending());
        drop(done);
        cancel.await;
        drop(registration);
        cancels.cancel(&key).await;
        assert!(words.try_recv().is_err());
        let long = cancels.register(0, ClientId(8), ProtocolVersion { minor: 2 }, Some(4711));
        assert_eq!((long.key().pid, long.key().secret.len()), (4711, 32));
    }
}
