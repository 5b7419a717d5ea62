//! What a client is told when something does not go its way: the one file that
//! turns our own errors into SQLSTATE and words.

use std::time::Duration;

use crate::clock::Moment;
use crate::credentials::{CutReason, Generation};
use crate::pool::{CheckoutError, Overdue, PinHolder, PinnedClients, Ties};
use crate::wire::{ErrorFields, Header, Malformed, Severity, StartupError};

fn fatal(sqlstate: &str, message: impl Into<String>) -> ErrorFields {
    ErrorFields::new(Severity::Fatal, sqlstate, message)
}

pub(super) fn unknown_database(name: &str, known: &[String]) -> ErrorFields {
    fatal("3D000", format!("database \"{name}\" does not exist"))
        .detail(format!("Leasehold knows these databases: {}.", known.join(", ")))
        .hint("Connect to one of them, or add a [databases.NAME] section to Leasehold's configuration.")
}

pub(super) fn too_many_clients(max: usize) -> ErrorFields {
    fatal("53300", "sorry, too many clients already")
        .detail(format!("Leasehold serves at most {max} clients (listen.max_clients)."))
        .hint("Close idle connections or raise listen.max_clients.")
}

pub(super) fn no_user_yet(database: &str, trouble: Option<&str>) -> ErrorFields {
    let error = fatal("57P03", format!("Leasehold has no database user for \"{database}\" yet"));
    match trouble {
        Some(trouble) => error.detail(trouble),
        None => error.detail("The first user is being issued."),
    }
    .hint("Try again in a moment; Leasehold keeps trying, and its log says why it has none.")
}

pub(super) fn startup(error: &StartupError) -> ErrorFields {
    let sqlstate = match error {
        StartupError::Version { .. } => "0A000",
        _ => "08P01",
    };
    fatal(sqlstate, error.to_string())
}

pub(super) fn startup_timeout(limit: Duration) -> ErrorFields {
    fatal("57014", format!("no startup packet within {} s", limit.as_secs_f64()))
        .hint("listen.startup_timeout sets the limit.")
}

pub(super) fn no_user_name() -> ErrorFields {
    fatal("28000", "no PostgreSQL user name specified in startup packet")
}

pub(super) fn replication() -> ErrorFields {
    fatal("0A000", "replication connections are not supported by Leasehold")
        .hint("Connect to the server directly for replication.")
}

pub(super) fn too_much_prepared(most: usize) -> ErrorFields {
    fatal("53200", "too much text of prepared statements")
        .detail(format!(
            "All clients together may have {most} bytes of it (listen.max_prepared_bytes), one client a sixteenth."
        ))
        .hint("Deallocate statements that are not used any more, or raise listen.max_prepared_bytes.")
}

fn listed(pinned: &PinnedClients) -> String {
    let one = |client: &PinHolder| {
        format!("client {} {:?} ({})", client.client.0, client.application_name, client.ties)
    };
    let mut all: Vec<String> = pinned.some.iter().map(one).collect();
    let more = pinned.count.saturating_sub(all.len());
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all.join(", ")
}

/// One more client that would keep its upstream, by these ties.
pub(super) fn too_many_pinned(ties: Ties, full: &PinnedClients) -> ErrorFields {
    fatal("53300", format!("too many clients keep a server connection of their own (max_pinned is {})", full.most))
        .detail(format!("This client left behind: {ties}. Pinned are: {}.", listed(full)))
        .hint(
            "Raise max_pinned or pool_size; or use pin = \"never\", which takes such state away at the end of each \
             transaction, or pool_mode = \"session\".",
        )
}

pub(super) fn lost() -> ErrorFields {
    fatal("08P01", "the server's answers do not fit what was asked")
        .detail("Leasehold cannot tell any more which of them are this client's.")
        .hint("Use pool_mode = \"session\" for this application, and report what it sent.")
}

pub(super) fn bad_options(word: &str) -> ErrorFields {
    fatal(
        "22023",
        format!("startup parameter \"options\" holds {word:?}, which is not supported in transaction mode"),
    )
    .hint("Use -c name=value, --name=value, -e, -f or -S, or pool_mode = \"session\".")
}

pub(super) fn malformed(error: Malformed) -> ErrorFields {
    fatal("08P01", format!("invalid frontend message: {error}"))
}

/// Passed on, it would be answered when this client holds no upstream any more.
pub(super) fn unexpected_message(header: Header) -> ErrorFields {
    let Header { kind, body } = header;
    fatal("08P01", format!("invalid frontend message type 0x{kind:02x} with a body of {body} bytes"))
}

pub(super) fn bad_server(error: Malformed) -> ErrorFields {
    fatal("08P01", format!("the server broke the protocol: {error}"))
}

pub(super) fn server_gone() -> ErrorFields {
    fatal("08006", "server closed the connection unexpectedly")
        .detail("The connection from Leasehold to PostgreSQL ended while it was in use.")
        .hint("Connect again and repeat the transaction; its outcome is unknown if it was being committed.")
}

/// The same, to a client that can go on.
pub(super) fn server_gone_on() -> ErrorFields {
    server_gone().hint("Repeat the transaction; its outcome is unknown if it was being committed.")
}

pub(super) fn align_failed() -> ErrorFields {
    fatal("58000", "the settings of this session could not be restored on another server connection")
        .hint("Connect again; Leasehold's log has the server's error.")
}

pub(super) fn shutdown() -> ErrorFields {
    fatal("57P01", "terminating connection: Leasehold is shutting down").hint("Connect again.")
}

pub(super) fn killed() -> ErrorFields {
    fatal("57P01", "terminating connection due to administrator command")
        .detail("This session was ended by KILL at Leasehold's console.")
}

/// A client went beyond a bound that the operator set.
pub(super) fn overdue(bound: Overdue) -> ErrorFields {
    let (sqlstate, message, key) = match bound {
        Overdue::Query => ("57014", "canceling statement due to query timeout", "query_timeout"),
        Overdue::Transaction => {
            ("25P04", "terminating connection due to transaction timeout", "transaction_timeout")
        }
        Overdue::IdleTransaction => {
            ("25P03", "terminating connection due to idle-in-transaction timeout", "idle_transaction_timeout")
        }
        Overdue::ClientIdle => {
            ("57P05", "terminating connection due to idle-session timeout", "client_idle_timeout")
        }
    };
    fatal(sqlstate, message).hint(format!("Leasehold's {key} sets how long that may last."))
}

/// As of a database that PostgreSQL lets nobody connect to (`datallowconn`).
pub(super) fn disabled(database: &str) -> ErrorFields {
    fatal("55000", format!("database \"{database}\" is not currently accepting connections"))
        .detail("It was disabled at Leasehold's console; clients that are connected go on.")
        .hint("ENABLE at the console lets clients in again.")
}

pub(super) fn checkout(error: CheckoutError) -> ErrorFields {
    match error {
        CheckoutError::Timeout { waited, trouble, pinned } => {
            let message = format!("no server connection became free within {:.1} s", waited.as_secs_f64());
            let error = fatal("53300", message);
            match trouble {
                Some(trouble) => error
                    .detail(format!("The last attempt to open one failed: {trouble}"))
                    .hint("checkout_timeout sets how long a client waits."),
                None if pinned.count == 0 => error
                    .detail("All connections of the pool were in use by other clients.")
                    .hint("Raise pool_size, shorten transactions, or raise checkout_timeout."),
                None => error
                    .detail(format!(
                        "All connections of the pool were in use by other clients; {} of them keep one: {}.",
                        pinned.count,
                        listed(&pinned)
                    ))
                    .hint("Bound such clients by max_pinned or pin = \"never\", raise pool_size, or raise checkout_timeout."),
            }
        }
        CheckoutError::Refused(fields) => {
            let mut fields = *fields;
            fields.severity = "FATAL".into();
            fields
        }
    }
}

pub(super) fn cut(reason: CutReason, generation: &Generation) -> ErrorFields {
    let user = &generation.login().user;
    let id = generation.id();
    let error = fatal("57P01", "terminating connection due to administrator command");
    match reason {
        CutReason::LeaseEnded => {
            let left = Moment::now().until(generation.end()).as_secs_f64();
            error
                .detail(format!(
                    "The lease of database user \"{user}\" (generation {id}) ends in {left:.1} s, and nothing may be sent with it afterwards."
                ))
                .hint("Keep transactions shorter than the lease, or raise max_ttl of the role (and the token's) so that a draining lease can be renewed.")
        }
        CutReason::Revoked => error
            .detail(format!("Database user \"{user}\" (generation {id}) was revoked or locked from outside."))
            .hint("Connect again: a new user is used. rotation.revoked_grace sets how long a transaction may go on."),
        CutReason::DrainTimeout => error
            .detail(format!(
                "Database user \"{user}\" (generation {id}) was replaced, and this connection held it for longer than rotation.drain_timeout."
            ))
            .hint("Connect again: a new user is used. Raise rotation.drain_timeout for longer transactions."),
        CutReason::Shutdown => shutdown(),
    }
}
