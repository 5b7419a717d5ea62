//! One logged-in connection to PostgreSQL.

mod settings;

pub use settings::UpstreamSettings;
