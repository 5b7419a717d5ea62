//! The way from the proxy to the server: TLS, logging in, servers that do not answer, and how long connections stay.
//! Each database of one proxy is a case of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;
mod wire_client;

#[path = "upstream_side/cases.rs"]
mod cases;
#[path = "upstream_side/handover.rs"]
mod handover;
#[path = "upstream_side/hosts.rs"]
mod hosts;
#[path = "upstream_side/login.rs"]
mod login;
#[path = "upstream_side/tls.rs"]
mod tls;
#[path = "upstream_side/upkeep.rs"]
mod upkeep;
