//! Composition: starts the rooms, joins them, and stops them in order.

pub mod logging;
mod proxy;
mod settings;
mod stats;

pub use proxy::{Proxy, StartError};
pub use settings::{LogFormat, LogSettings, Settings};
pub use stats::PoolStats;
