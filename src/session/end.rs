//! How a session goes on, and how it ends.

use std::fmt;

use crate::wire::ErrorFields;

/// What came of looking at a session's sockets.
pub(super) enum Step {
    /// Something moved: look again.
    Again,
    /// Nothing to do until somebody wakes us.
    Park,
    End(End),
}

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The client's side of the connection is gone.
    ClientLeft,
    /// The client said Terminate.
    Terminated,
    /// The same, and what it had asked for was not over in time.
    Overdue,
    /// The server's own last word has been passed on.
    Said,
    /// It goes on, on another shard.
    Moves(usize),
    /// We have a last word.
    Refused(ErrorFields),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientLeft => f.write_str("client_left"),
            Self::Terminated => f.write_str("terminated"),
            Self::Overdue => f.write_str("overdue"),
            Self::Said => f.write_str("server_ended"),
            Self::Moves(shard) => write!(f, "moves to {shard}"),
            Self::Refused(fields) => write!(f, "{} {}", fields.sqlstate, fields.message),
        }
    }
}
