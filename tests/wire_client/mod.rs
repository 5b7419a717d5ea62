//! Protocol 3 by hand, over a socket of our own: for what no driver would send,
//! and to see exactly what comes back. Source: PostgreSQL manual, "Message Formats".

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

pub mod client;
pub mod conversation;
pub mod message;
pub mod stand;

pub use client::{Place, Refused, WireClient};
pub use conversation::{Pieces, converse};
pub use message::Message;
pub use stand::{Plan, Stand};
