//! One logged-in connection to PostgreSQL: dialling, logging in, asking a
//! question of our own, cancelling.

mod dial;
mod error;
mod key_ring;
mod login;
mod messages;
mod query;
mod settings;

pub use dial::{Connected, Target, cancel, dial};
pub use error::DialError;
pub use messages::Messages;
pub use query::{Answer, QueryError, simple_query};
pub use settings::UpstreamSettings;
