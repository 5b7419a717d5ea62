//! Real drivers against transaction mode, none of them set up for it: many clients on few server
//! connections, and every answer is checked. tests/drivers/README.md says what they do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;
mod wire_client;

#[path = "drivers/programs.rs"]
mod programs;
#[path = "drivers/tokio_postgres.rs"]
mod tokio_postgres_mix;
