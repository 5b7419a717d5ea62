//! One client, from accept to goodbye; the relay is the hot path.

mod again;
mod answers;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod by_name;
mod calls;
mod client;
mod crowd;
mod downward;
mod end;
mod exchange;
mod going_on;
mod greeting;
mod heard;
mod keeping;
mod leaving;
mod lexer;
mod listen_settings;
mod listener;
mod loss;
mod messages;
#[cfg(test)]
mod model;
mod owed;
mod pinned;
mod plan;
mod port;
mod profiles;
mod refusal;
mod relay;
mod roll;
mod scan;
mod settings;
mod shard;
#[cfg(test)]
mod sizes;
#[cfg(any(test, feature = "bench"))]
mod stage;
mod statements;
mod terminate;
mod texts;
mod told;
mod undo;
mod upward;
mod virtual_session;

pub use crowd::Crowd;
pub use listen_settings::ListenSettings;
pub use listener::{Accepting, ListenError, Listeners};
pub use plan::ShardPlan;
pub use port::{ClientPort, ConsoleClient};
pub use roll::{ClientCounts, ClientRow, ClientState};
pub use shard::Shard;
pub use told::TellSettings;
