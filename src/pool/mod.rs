//! Joins credentials and upstreams; never looks at a message.

mod settings;

pub use settings::{PoolMode, PoolSettings};
