//! `leasehold top`: a running proxy on the terminal, live.

mod drive;
mod input;
mod state;
mod tables;
mod theme;
mod view;

pub use drive::{TopError, top};
