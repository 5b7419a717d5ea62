//! What a client of the console is told when something does not go its way: the
//! one file of this room that turns errors into SQLSTATE and words.

use pgwire::error::{ErrorInfo, PgWireError};

use super::command::{OTHERS, ParseError, Show};
use super::frame::FrameError;
use crate::wire::{ErrorFields, Severity};

fn error(sqlstate: &str, message: String) -> ErrorInfo {
    let mut info = ErrorInfo::new("ERROR".to_owned(), sqlstate.to_owned(), message);
    info.severity_nonlocalized = Some("ERROR".to_owned());
    info
}

/// For the handlers of pgwire.
pub(super) fn raise(info: ErrorInfo) -> PgWireError {
    PgWireError::UserError(Box::new(info))
}

pub(super) fn not_understood(why: &ParseError) -> ErrorInfo {
    let mut info = error("42601", why.to_string());
    let near = match why {
        ParseError::UnknownShow { nearest: Some(nearest), .. } => format!("Did you mean SHOW {nearest}? "),
        _ => String::new(),
    };
    info.hint = Some(format!("{near}Commands: {}.", commands()));
    info
}

fn commands() -> String {
    let shows = Show::ALL.iter().map(|(_, word, _)| format!("SHOW {word}"));
    let others = OTHERS.iter().map(|(command, _)| (*command).to_owned());
    shows.chain(others).collect::<Vec<_>>().join(", ")
}

pub(super) fn unknown_database(name: &str, known: &[&str]) -> ErrorInfo {
    let mut info = error("3D000", format!("database \"{name}\" does not exist"));
    info.detail = Some(format!("Leasehold knows these databases: {}.", known.join(", ")));
    info.hint = Some("ROTATE without a name is for all of them.".to_owned());
    info
}

pub(super) fn parameters(supplied: usize) -> ErrorInfo {
    error(
        "08P01",
        format!("{supplied} parameters were supplied, but statements of Leasehold's console take none"),
    )
}

pub(super) fn formats(formats: usize, columns: usize) -> ErrorInfo {
    error("08P01", format!("bind message has {formats} result formats but query has {columns} columns"))
}

pub(super) fn bad_frame(why: FrameError) -> ErrorFields {
    ErrorFields::new(Severity::Fatal, "08P01", why.to_string())
}

pub(super) fn too_many(most: usize) -> ErrorFields {
    ErrorFields::new(Severity::Fatal, "53300", "sorry, too many clients of Leasehold's console already")
        .detail(format!("The console serves {most} clients at a time."))
        .hint("Close one of the others.")
}
