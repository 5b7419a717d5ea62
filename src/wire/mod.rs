//! PostgreSQL's protocol 3 as bytes: headers, startup packets, views and
//! encoders. No I/O, and nothing that a peer sends can panic it.
//!
//! Source: PostgreSQL manual, chapter "Frontend/Backend Protocol", sections
//! "Message Flow" and "Message Formats".
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod encode;
mod error;
mod header;
#[cfg(test)]
mod pieces;
mod startup;
mod view;

pub use encode::{Encoder, align_query, quote_literal};
pub use error::{ErrorFields, Severity};
pub use header::{Header, HeaderScan, Malformed};
#[cfg(test)]
pub(crate) use pieces::{any_pieces, found_in};
pub use startup::{
    CancelKey, MAX_STARTUP_PACKET, Opening, ProtocolVersion, StartupError, StartupParams, opening,
    parse_options, startup_packet_len,
};
pub use view::{DataRow, Status, backend_key, parameter_status, ready_status};
