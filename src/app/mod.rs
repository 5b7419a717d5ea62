//! Composition: starts the rooms, joins them, and stops them in order.

mod limit;
pub mod logging;
mod proxy;
mod settings;

pub use proxy::{Proxy, StartError};
pub use settings::{LogFormat, LogSettings, Settings};
