//! One client, from accept to goodbye; the relay is the hot path.

mod settings;

pub use settings::ListenSettings;
