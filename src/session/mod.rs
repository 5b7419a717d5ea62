//! One client, from accept to goodbye; the relay is the hot path.

mod answers;
mod client;
mod end;
mod exchange;
mod greeting;
mod leaving;
mod listener;
mod profiles;
mod refusal;
mod relay;
mod settings;
mod shard;

pub use listener::{Accepting, ListenError, Listeners};
pub use settings::ListenSettings;
pub use shard::{ClientPort, ClientRow, ClientState, ConsoleClient, Crowd, Shard, ShardPlan};
