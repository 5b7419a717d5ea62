//! Leasehold: a PostgreSQL wire-protocol proxy whose database users come from
//! HashiCorp Vault, OpenBao or an embedded issuer, live for a short while, and
//! are swapped before they end without the application noticing.
//!
//! A *room* is a file or folder directly under `src/`. Arrows point down only,
//! and `tests/rooms.rs` keeps them true:
//!
//! ```text
//!   main ──► config      names every room's Settings, nothing else
//!     ├────► operator    asks a running proxy for its status; names no other room
//!     ├────► demo        a throw-away cluster, the proxy and pgbench in one command
//!     └────► app         composition: the only room that may name all the others
//!             │
//!       ┌─────┴──┬────────┐
//!       │      admin    http               console and HTTP: read snapshots, never hold a connection
//!       │        └──┬─────┘
//!       │       snapshot                   the process at one moment, as plain data
//!       ▼           ▼
//!    session ◄──────┤                      one client, from accept to goodbye
//!       │  └► cancel
//!       ▼           ▼
//!      pool ─────────────► credentials     users with an end
//!       ▼
//!    upstream ─► scram                     one logged-in connection to PostgreSQL
//!       ▼
//!      net ─► wire                         sockets, TLS ─► protocol 3 as bytes
//! ```
//!
//! `secret`, `clock` and `histogram` are leaves that every room may use.

// Of production code; a test may tell a long story (clippy.toml has the limit).
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

pub mod admin;
pub mod app;
pub mod cancel;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod demo;
pub mod histogram;
pub mod http;
pub mod net;
pub mod operator;
pub mod pool;
pub mod scram;
pub mod secret;
pub mod session;
pub mod snapshot;
pub mod upstream;
pub mod wire;
