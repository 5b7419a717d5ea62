//! One client, from accept to goodbye; the relay is the hot path.

mod answers;
mod by_name;
mod client;
mod downward;
mod end;
mod exchange;
mod greeting;
mod heard;
mod leaving;
mod lexer;
mod listen_settings;
mod listener;
mod messages;
#[cfg(test)]
mod model;
mod owed;
mod profiles;
mod refusal;
mod relay;
mod scan;
mod settings;
mod shard;
mod statements;
mod texts;
mod undo;
mod upward;
mod virtual_session;

pub use listen_settings::ListenSettings;
pub use listener::{Accepting, ListenError, Listeners};
pub use shard::{ClientPort, ClientRow, ClientState, ConsoleClient, Crowd, Shard, ShardPlan};
