//! Composition: starts the rooms, joins them, and stops them in order.

mod limit;
pub mod logging;
mod proxy;
mod reload;
mod settings;

pub use proxy::{Proxy, StartError};
pub use reload::{Reloading, Reread};
pub use settings::{LogFormat, LogSettings, Settings};
