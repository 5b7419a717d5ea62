//! One logged-in connection to PostgreSQL: dialling the host that fits, logging in, asking a
//! question of our own, cancelling.

mod attrs;
mod choose;
mod dial;
mod error;
mod hosts;
mod key_ring;
mod login;
mod messages;
mod query;
mod settings;
mod target;

pub use attrs::{STATE_QUERY, ServerState, SessionAttrs};
pub use choose::{dial, dial_host};
pub use dial::{Connected, cancel};
pub use error::DialError;
pub use messages::Messages;
pub use query::{Answer, QueryError, simple_query};
pub use settings::{HostSettings, UpstreamSettings};
pub use target::Target;
