//! Composition: starts the rooms, joins them, and stops them in order.

mod settings;

pub use settings::{LogFormat, LogSettings, Settings};
