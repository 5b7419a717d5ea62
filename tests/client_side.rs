//! What a client meets, from the first byte to the last: the real proxy in front of a real
//! PostgreSQL, and a client that speaks the protocol by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;
mod wire_client;

#[path = "client_side/cancel.rs"]
mod cancel;
#[path = "client_side/endings.rs"]
mod endings;
#[path = "client_side/leaving.rs"]
mod leaving;
#[path = "client_side/limits.rs"]
mod limits;
#[path = "client_side/startup.rs"]
mod startup;
#[path = "client_side/timeouts.rs"]
mod timeouts;
#[path = "client_side/told.rs"]
mod told;
