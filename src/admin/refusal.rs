//! What a client of the console is told when something does not go its way: the
//! one file of this room that turns errors into SQLSTATE and words.

use pgwire::error::{ErrorInfo, PgWireError};

use super::command::{OTHERS, ParseError, Show};
use super::frame::FrameError;
use super::rights::Denied;
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
    info.hint = Some("A command without a name is for all of them.".to_owned());
    info
}

pub(super) fn denied(denied: Denied) -> ErrorInfo {
    let mut info = error("42501", "permission denied to change anything at Leasehold's console".to_owned());
    match denied {
        Denied::Tcp => {
            info.detail = Some("Over TCP nobody says who it is; SHOW is allowed.".to_owned());
            info.hint = Some(
                "Connect by the Unix socket (listen.unix_dir) as one of console.admin_uids, or set \
                 console.tcp_commands = true."
                    .to_owned(),
            );
        }
        Denied::User(uid) => {
            let who =
                uid.map_or_else(|| "This client".to_owned(), |uid| format!("The user with number {uid}"));
            info.detail = Some(format!("{who} is none of console.admin_uids; SHOW is allowed."));
            info.hint = Some("Connect as one of them, or add this user to console.admin_uids.".to_owned());
        }
    }
    info
}

/// In PgBouncer's words, which its tools look for.
pub(super) fn already_paused() -> ErrorInfo {
    error("55000", "already suspended/paused".to_owned())
}

/// In PgBouncer's words.
pub(super) fn not_paused(database: Option<&str>) -> ErrorInfo {
    let message = match database {
        Some(name) => format!("database {name} is not paused"),
        None => "pooler is not paused/suspended".to_owned(),
    };
    error("55000", message)
}

pub(super) fn resumed_meanwhile() -> ErrorInfo {
    error("57014", "RESUME came before every server connection was given back".to_owned())
}

pub(super) fn nothing_to_reload() -> ErrorInfo {
    error("55000", "this process has no configuration to read again".to_owned())
}

/// As PostgreSQL has it for its own files (`config_file_error`).
pub(super) fn bad_configuration(what: String) -> ErrorInfo {
    let mut info = error("F0000", "the configuration is wrong, and nothing was changed".to_owned());
    info.detail = Some(what);
    info.hint = Some("`leasehold check` says the same.".to_owned());
    info
}

/// In PgBouncer's words.
pub(super) fn no_such_client(id: u64) -> ErrorInfo {
    let mut info = error("42704", "client not found".to_owned());
    info.detail = Some(format!("No client has number {id}."));
    info.hint = Some("SHOW CLIENTS has the numbers in its column id.".to_owned());
    info
}

pub(super) fn which_database() -> ErrorInfo {
    let mut info = error("42601", "RETIRE needs a database: there are several".to_owned());
    info.hint = Some("Write RETIRE number database.".to_owned());
    info
}

pub(super) fn not_active(number: u64, database: &str, active: Option<u64>) -> ErrorInfo {
    let message = format!("generation {number} is not the active one of database \"{database}\"");
    let mut info = error("55000", message);
    info.detail = Some(match active {
        Some(active) => format!("Generation {active} is."),
        None => "None is.".to_owned(),
    });
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
