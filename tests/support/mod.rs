//! What the integration tests stand on: a real PostgreSQL, a real Vault, the
//! proxy's own binary, pgbench and psql, each in a directory of its own that
//! goes when the value is dropped.
//!
//! ```ignore
//! mod support;
//! use support::{Leasehold, Postgres, Vault};
//!
//! #[tokio::test]
//! async fn a_sentence() {
//!     let postgres = or_skip!(Postgres::start().await);
//!     let vault = or_skip!(Vault::start().await);
//!     let proxy = Leasehold::run("…toml…").await;
//! }
//! ```
//!
//! Everything that waits is async and polls, so a test on one thread keeps its
//! own connections alive meanwhile. A part that is not on this machine is
//! `Err(Missing)`: [`or_skip!`] turns it into a skip that is printed and counted.
//! Anything else that goes wrong panics with the log of the part concerned.
//! Never keep one of these in a static: what is not dropped is not stopped.

// Each test binary uses its own part of this module; panicking is how a test fails.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures
)]

pub mod endpoint;
pub mod form;
pub mod pgbench;
pub mod ports;
pub mod postgres;
pub mod program;
pub mod proxy;
pub mod skip;
pub mod tls;
pub mod vault;
pub mod wait;

pub use endpoint::Endpoint;
pub use form::{bound, drawn, short_or_long};
pub use pgbench::{Pgbench, PgbenchReport};
pub use postgres::{Postgres, PostgresOptions, StopMode};
pub use program::{Finished, Program};
pub use proxy::Leasehold;
pub use skip::Missing;
pub use tls::{Ca, CertFiles};
pub use vault::{AppRole, DatabaseRole, Vault, VaultOptions};
pub use wait::wait_until;
