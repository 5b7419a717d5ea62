//! The console: database `leasehold` on the listeners that every client uses.
//!
//! Reads snapshots and hands commands to keepers, pools and data threads; never holds a connection
//! to a database. A session hands a client over after its startup packet; from
//! there on the stream lives on the control runtime, and the crate pgwire
//! speaks the simple and the extended protocol on it.
//!
//! [`Console`] drives. What decides is plain: `frame` (may these bytes reach
//! the decoder), `command` (what was asked for), `rights` (who may), `show` (snapshots to rows).
//! Every column is specified in `docs/console.md`.
#![deny(clippy::indexing_slicing)]

mod answer;
mod clerk;
mod client;
mod command;
mod console;
mod desk;
mod frame;
mod lexer;
mod login;
mod orders;
mod refusal;
mod rights;
mod settings;
mod show;
mod table;

pub use console::Console;
pub use orders::Managed;
pub use rights::{Rights, UnknownUser};
pub use settings::{Change, ConsoleSettings, Reload, SettingsInForce, ShownSettings};
