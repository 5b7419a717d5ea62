//! The process at one moment, as plain data: what the console shows, what HTTP answers from.
//!
//! [`Watched`] knows whom to ask and gathers; a [`Snapshot`] holds what they said. Who reads one never
//! asks a pool, a keeper or a shard itself, so that all of them tell the same story. Nothing is changed
//! from here, and no password is in it.

mod averages;
mod now;
mod process;
mod watched;

pub use averages::{Period, Rates};
pub use now::Now;
pub use process::{DatabaseSnapshot, Snapshot, TargetSnapshot};
pub use watched::{Depth, Watched, WatchedDatabase};
