//! The main job, end to end: the proxy's own binary between pgbench and a real
//! PostgreSQL, its users from a real Vault that was set up by the files in
//! config/vault, and everything that can go wrong between them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;

#[path = "e2e/crash.rs"]
mod crash;
#[path = "e2e/deadline.rs"]
mod deadline;
#[path = "e2e/journal.rs"]
mod journal;
#[path = "e2e/last_word.rs"]
mod last_word;
#[path = "e2e/load.rs"]
mod load;
#[path = "e2e/names.rs"]
mod names;
#[path = "e2e/outage.rs"]
mod outage;
#[path = "e2e/refused.rs"]
mod refused;
#[path = "e2e/renewal.rs"]
mod renewal;
#[path = "e2e/revoked.rs"]
mod revoked;
#[path = "e2e/shared.rs"]
mod shared;
#[path = "e2e/site.rs"]
mod site;
#[path = "e2e/stop.rs"]
mod stop;
#[path = "e2e/swap.rs"]
mod swap;
#[path = "e2e/tokens.rs"]
mod tokens;
