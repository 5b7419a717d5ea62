//! The two sources of users against a real Vault and a real PostgreSQL; a
//! scripted HTTP peer only for what a real Vault cannot be made to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;

#[path = "sources/aws.rs"]
mod aws;
#[path = "sources/clouds.rs"]
mod clouds;
#[path = "sources/local.rs"]
mod local;
#[path = "sources/logins.rs"]
mod logins;
#[path = "sources/matrix.rs"]
mod matrix;
#[path = "sources/peer.rs"]
mod peer;
#[path = "sources/scripted.rs"]
mod scripted;
#[path = "sources/shop.rs"]
mod shop;
#[path = "sources/tokens.rs"]
mod tokens;
#[path = "sources/vault.rs"]
mod vault;
