//! Transaction and session mode: whatever a client says, it is answered as by the server
//! itself, and the server's connections are shared or kept as the mode wants.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;
mod wire_client;

#[path = "modes/copies.rs"]
mod copies;
#[path = "modes/corners.rs"]
mod corners;
#[path = "modes/differential.rs"]
mod differential;
#[path = "modes/habits.rs"]
mod habits;
#[path = "modes/moving.rs"]
mod moving;
#[path = "modes/pins.rs"]
mod pins;
#[path = "modes/random.rs"]
mod random;
#[path = "modes/scripts.rs"]
mod scripts;
#[path = "modes/session.rs"]
mod session;
#[path = "modes/shapes.rs"]
mod shapes;
#[path = "modes/together.rs"]
mod together;
#[path = "modes/transaction.rs"]
mod transaction;
#[path = "modes/upstream_end.rs"]
mod upstream_end;
