//! Joins credentials and upstreams; never looks at a message.
//!
//! [`Pool`] is what all threads share: which generation is active and how many
//! connections there may be. A [`LocalPool`] is one shard's part of it: its
//! idle connections and its waiting clients, on one thread, without locks.

mod activity;
mod bodies;
mod catalog;
mod classes;
mod conn;
mod feed;
mod figures;
mod fleet;
mod functions;
mod gate;
mod group;
mod handover;
mod hunger;
mod learning;
mod ledger;
mod limits;
mod local;
mod message;
mod orders;
mod pins;
mod places;
mod prepared;
mod profile;
mod settings;
mod shard;
mod shared;
mod slot;
mod snapshot;
mod spread;
// Benchmarks use a part of it.
#[cfg(any(test, feature = "bench"))]
#[cfg_attr(not(test), allow(dead_code))]
mod stage;
mod survey;
mod tend;
mod ties;
mod timeouts;
mod upkeep;
mod watch;
mod work;

pub use bodies::{Leaves, left_by};
pub use classes::ErrorClasses;
pub use conn::{ClientId, Conn, ServerRow};
pub(crate) use feed::is_suspicious;
pub use functions::Functions;
pub use group::PoolGroup;
pub use limits::Limits;
pub use local::{LocalPool, Waiting};
pub use message::{ShardMessage, ShardPort};
pub use pins::{Pin, PinCounts, PinHolder, PinPolicy, PinSettings, PinnedClients, Pins};
pub use places::CheckoutError;
pub use prepared::Prepared;
pub use profile::Profile;
pub use settings::{PoolMode, PoolSettings};
pub use shard::PoolShard;
pub use shared::Pool;
pub use snapshot::{PoolCounts, PoolSnapshot, ShardSnapshot};
pub use ties::Ties;
pub use timeouts::{Overdue, TimeoutSettings};
