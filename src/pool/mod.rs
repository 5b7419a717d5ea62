//! Joins credentials and upstreams; never looks at a message.
//!
//! [`Pool`] is what all threads share: which generation is active and how many
//! connections there may be. A [`LocalPool`] is one shard's part of it: its
//! idle connections and its waiting clients, on one thread, without locks.

mod conn;
mod feed;
mod fleet;
mod hunger;
mod ledger;
mod local;
mod places;
mod prepared;
mod profile;
mod settings;
mod shard;
mod shared;
#[cfg(test)]
mod stage;
mod watch;

pub use conn::{ClientId, Conn, ServerRow};
pub(crate) use feed::is_suspicious;
pub use local::{LocalPool, PoolCounts, Waiting};
pub use places::CheckoutError;
pub use prepared::Prepared;
pub use profile::Profile;
pub use settings::{PoolMode, PoolSettings};
pub use shard::{PoolShard, PoolSnapshot, ShardMessage, ShardPort, ShardSnapshot};
pub use shared::Pool;
