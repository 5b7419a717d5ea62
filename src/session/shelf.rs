//! What a client's statements are kept with, and what becomes of its messages about them.

use super::texts::Texts;
use crate::pool::Prepared;

/// What this client shares with others.
#[derive(Debug)]
pub(super) struct Shelf<'a> {
    pub(super) texts: &'a Texts,
    pub(super) prepared: &'a mut Prepared,
    /// Which pool's.
    pub(super) pool: usize,
    /// `max_prepared_statements`.
    pub(super) most: usize,
    /// `max_prepared_bytes`.
    pub(super) bytes: usize,
    /// A number that no other unnamed statement of this process has.
    pub(super) serial: u64,
}

/// What goes to the server in place of a client's message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// The message, as it is.
    AsItIs,
    /// What has been written instead of it.
    Instead,
    /// Nothing: it is answered by us.
    Kept,
}
