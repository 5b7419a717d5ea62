//! Our own cancel keys: which client a CancelRequest means.
//!
//! A key leads to a client, never to a connection: what the client runs is
//! looked up by its shard when the request arrives there, so a request can hit
//! only the upstream that the client holds at that moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rand::RngExt;

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

    /// Cancels what the client with this key runs; false if nobody has it.
    #[must_use]
    pub fn cancel(&self, key: &CancelKey) -> bool {
        let route = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied();
        let port = route.and_then(|route| self.shards.get(route.shard).zip(Some(route.client)));
        port.map(|(port, client)| port.send(ShardMessage::CancelClient { client })).is_some()
    }
}

/// A client's key; dropping it makes the key void.
#[derive(Debug)]
pub struct Registration {
    cancels: Arc<Cancels>,
    key: CancelKey,
}

impl Registration {
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
    use super::*;

    #[test]
    fn a_key_reaches_its_client_until_it_is_dropped() {
        let (port, mut words) = ShardPort::new();
        let cancels = Cancels::new(vec![port]);
        let registration = cancels.register(0, ClientId(7), ProtocolVersion { minor: 0 }, None);
        let mut wrong = registration.key().clone();
        assert_eq!(wrong.secret.len(), 4);
        wrong.secret[0] ^= 1;
        assert!(!cancels.cancel(&wrong));
        assert!(cancels.cancel(registration.key()));
        assert!(matches!(words.try_recv(), Ok(ShardMessage::CancelClient { client: ClientId(7) })));
        let key = registration.key().clone();
        drop(registration);
        assert!(!cancels.cancel(&key));
        let long = cancels.register(0, ClientId(8), ProtocolVersion { minor: 2 }, Some(4711));
        assert_eq!((long.key().pid, long.key().secret.len()), (4711, 32));
    }
}
