//! Composition: starts the rooms, joins them, and stops them in order.

pub mod logging;
mod proxy_stub;
mod settings;

pub use proxy_stub::{Proxy, StartError};
pub use settings::{LogFormat, LogSettings, Settings};
