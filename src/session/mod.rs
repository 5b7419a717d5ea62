//! One client, from accept to goodbye; the relay is the hot path.

mod accept;
mod again;
mod answers;
mod around;
mod balance;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod by_name;
mod bypass;
mod calls;
mod client;
mod crowd;
mod doors;
mod downward;
mod end;
mod entrance;
mod exchange;
mod flow;
mod gather;
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
mod shelf;
#[cfg(test)]
mod sizes;
#[cfg(any(test, feature = "bench"))]
mod stage;
mod statements;
mod terminate;
mod texts;
mod told;
mod traveller;
mod undo;
mod upward;
mod virtual_session;

pub use crowd::Crowd;
pub use doors::Doors;
pub use listen_settings::ListenSettings;
pub use listener::{Accepting, ListenError, Listeners};
pub use plan::ShardPlan;
pub use port::{ClientPort, ConsoleClient};
pub use roll::{ClientCounts, ClientRow, ClientState};
pub use shard::Shard;
pub use told::TellSettings;
