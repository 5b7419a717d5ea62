//! What the console understands, read from a query string.

use super::lexer::{Token, Unterminated, statements};

/// One statement that the console answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// A table about this process.
    Show(Show),
    /// A new user now, for one database or for all.
    Rotate(Option<Name>),
    /// The same, if the generation with this number is the active one.
    Retire(u64, Option<Name>),
    /// No server connections for clients until RESUME.
    Pause(Option<Name>),
    /// The end of a pause.
    Resume(Option<Name>),
    /// Server connections are opened anew.
    Reconnect(Option<Name>),
    /// New clients are refused.
    Disable(Name),
    /// New clients are let in again.
    Enable(Name),
    /// The end of the client with this number; the tag to answer with.
    Kill(u64, &'static str),
    /// The configuration is read again.
    Reload,
    /// The end of the process.
    Shutdown,
    /// The value of a parameter that the login reported.
    Parameter(&'static str),
    /// `SELECT 1`, which pools send to see whether a connection lives.
    SelectOne,
    /// `SELECT version()`.
    SelectVersion,
    /// Starts a transaction, which means nothing here.
    Begin,
    /// Ends one: COMMIT or ROLLBACK.
    End(&'static str),
    /// What drivers send about their session and what changes nothing here; the tag to answer with.
    Nothing(&'static str),
}

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// Issued users.
    Generations,
    /// Pools.
    Pools,
    /// Clients.
    Clients,
    /// Connections to PostgreSQL.
    Servers,
    /// Clients and connections to PostgreSQL.
    Sockets,
    /// Those of them that do something.
    ActiveSockets,
    /// Databases that clients may ask for.
    Databases,
    /// Totals and averages.
    Stats,
    /// Totals alone.
    StatsTotals,
    /// Averages alone.
    StatsAverages,
    /// Counts of the process.
    Lists,
    /// Settings.
    Config,
    /// Memory.
    Mem,
    /// The version.
    Version,
    /// The commands.
    Help,
}

/// A database as it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// The text without quotes.
    pub(super) text: String,
    /// It was quoted, so its case counts.
    pub(super) exact: bool,
}

/// Why a statement is none of the console's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseError {
    /// Not words at all.
    #[error(transparent)]
    Unterminated(#[from] Unterminated),
    /// Not a command at all; SQL that only a database answers is one of these.
    #[error("\"{0}\" is not a command of Leasehold's console")]
    UnknownCommand(String),
    /// SHOW of something that is not there; the nearest that is.
    #[error("there is no \"SHOW {name}\" in Leasehold's console")]
    UnknownShow {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// Something behind a complete command.
    #[error("syntax error at or near \"{0}\"")]
    Unexpected(String),
    /// An incomplete command.
    #[error("syntax error at end of input")]
    Incomplete,
    /// Several statements in one prepared statement.
    #[error("cannot insert multiple commands into a prepared statement")]
    Several,
}

impl Show {
    /// Every table with the word that names it and what it shows.
    pub(super) const ALL: &[(Self, &str, &str)] = &[
        (Self::Generations, "GENERATIONS", "Issued users of every database, with lease and remaining life."),
        (Self::Pools, "POOLS", "Clients, server connections and figures of every database."),
        (Self::Clients, "CLIENTS", "Clients that are connected."),
        (Self::Servers, "SERVERS", "Connections to PostgreSQL."),
        (Self::Sockets, "SOCKETS", "Both in one table."),
        (Self::ActiveSockets, "ACTIVE_SOCKETS", "As SOCKETS, without what is idle."),
        (Self::Databases, "DATABASES", "Databases that clients may ask for, and where they go."),
        (Self::Stats, "STATS", "What was done for every database: totals and averages."),
        (Self::StatsTotals, "STATS_TOTALS", "The totals alone, since the start."),
        (Self::StatsAverages, "STATS_AVERAGES", "The averages alone, of the latest minute."),
        (Self::Lists, "LISTS", "How many databases, users, clients and connections there are."),
        (Self::Config, "CONFIG", "The settings in force."),
        (Self::Mem, "MEM", "Memory of the process."),
        (Self::Version, "VERSION", "Leasehold's version."),
        (Self::Help, "HELP", "This list."),
    ];
}

/// Commands other than SHOW, with what they do.
pub(super) const OTHERS: &[(&str, &str)] = &[
    ("ROTATE", "Issue a new user for every database now."),
    ("ROTATE database", "Issue a new user for one database now."),
    ("RETIRE number [database]", "As ROTATE, if the generation with this number is the active one."),
    ("PAUSE [database]", "Close every server connection once it is given back; clients wait."),
    ("RESUME [database]", "End a pause."),
    ("RECONNECT [database]", "Open server connections anew, each once it is given back."),
    ("DISABLE database", "Refuse new clients."),
    ("ENABLE database", "Let new clients in again."),
    ("KILL client", "End the session of the client with this number; KILL_CLIENT is the same."),
    ("RELOAD", "Read the configuration again, as SIGHUP does: what can be changed at once is."),
    ("SHUTDOWN [WAIT]", "End the process as SIGTERM does: transactions may end, users are revoked."),
];

/// Parameters of the login that SHOW knows, with their values; drivers ask for some.
pub(super) const PARAMETERS: &[(&str, &str)] = &[
    ("server_version", concat!("15.0 (Leasehold ", env!("CARGO_PKG_VERSION"), ")")),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("in_hot_standby", "off"),
    ("default_transaction_read_only", "off"),
];

/// Parameters that SHOW knows but no login reports.
const UNREPORTED: &[(&str, &str)] = &[
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "off"),
    ("search_path", ""),
    ("max_identifier_length", "63"),
];

/// The value of a parameter.
pub(super) fn parameter(name: &str) -> Option<&'static str> {
    let mut known = PARAMETERS.iter().chain(UNREPORTED);
    known.find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// Reads every statement of a query string; none if it holds only comments and semicolons.
///
/// # Errors
/// [`ParseError`] of the first statement that is none of the console's; as in
/// PostgreSQL, nothing of the string is carried out then.
pub(super) fn parse(sql: &str) -> Result<Vec<Command>, ParseError> {
    statements(sql)?.iter().map(|tokens| statement(tokens)).collect()
}

/// Reads a statement to prepare; `None` if it is empty.
///
/// # Errors
/// As [`parse`], and [`ParseError::Several`].
pub(super) fn parse_one(sql: &str) -> Result<Option<Command>, ParseError> {
    let mut commands = parse(sql)?;
    if commands.len() > 1 {
        return Err(ParseError::Several);
    }
    Ok(commands.pop())
}

fn statement(tokens: &[Token]) -> Result<Command, ParseError> {
    let Some((first, rest)) = tokens.split_first() else { return Err(ParseError::Incomplete) };
    let Token::Word(word) = first else { return Err(ParseError::Unexpected(first.text())) };
    match word.to_ascii_uppercase().as_str() {
        "SHOW" => show(rest),
        "HELP" => ends(rest, Command::Show(Show::Help)),
        "ROTATE" => Ok(Command::Rotate(maybe_named(rest)?)),
        "RETIRE" => {
            let (number, rest) = number(rest)?;
            Ok(Command::Retire(number, maybe_named(rest)?))
        }
        "PAUSE" => Ok(Command::Pause(maybe_named(rest)?)),
        "RESUME" => Ok(Command::Resume(maybe_named(rest)?)),
        "RECONNECT" => Ok(Command::Reconnect(maybe_named(rest)?)),
        "DISABLE" => Ok(Command::Disable(named(rest)?)),
        "ENABLE" => Ok(Command::Enable(named(rest)?)),
        "KILL" => kill(rest, "KILL"),
        "KILL_CLIENT" => kill(rest, "KILL_CLIENT"),
        "RELOAD" => ends(rest, Command::Reload),
        "SHUTDOWN" => match rest {
            [wait, rest @ ..] if wait.is("WAIT") || wait.is("WAIT_FOR_SERVERS") => {
                ends(rest, Command::Shutdown)
            }
            _ => ends(rest, Command::Shutdown),
        },
        "SELECT" => select(rest),
        "BEGIN" | "START" => Ok(Command::Begin),
        "COMMIT" | "END" => Ok(Command::End("COMMIT")),
        // To a savepoint there is no way back, and no way there either.
        "ROLLBACK" | "ABORT" if !rest.iter().any(|token| token.is("TO")) => Ok(Command::End("ROLLBACK")),
        "SET" if !rest.is_empty() => Ok(Command::Nothing("SET")),
        "RESET" if !rest.is_empty() => Ok(Command::Nothing("RESET")),
        "DISCARD" if !rest.is_empty() => Ok(Command::Nothing("DISCARD ALL")),
        "DEALLOCATE" if !rest.is_empty() => Ok(Command::Nothing("DEALLOCATE")),
        "UNLISTEN" if !rest.is_empty() => Ok(Command::Nothing("UNLISTEN")),
        "CLOSE" if rest.first().is_some_and(|token| token.is("ALL")) => {
            Ok(Command::Nothing("CLOSE CURSOR ALL"))
        }
        "SET" | "RESET" | "DISCARD" | "DEALLOCATE" | "UNLISTEN" => Err(ParseError::Incomplete),
        _ => Err(ParseError::UnknownCommand(word.clone())),
    }
}

fn ends(rest: &[Token], command: Command) -> Result<Command, ParseError> {
    match rest.first() {
        Some(token) => Err(ParseError::Unexpected(token.text())),
        None => Ok(command),
    }
}

fn show(rest: &[Token]) -> Result<Command, ParseError> {
    let Some((name, rest)) = rest.split_first() else { return Err(ParseError::Incomplete) };
    if let Some((show, ..)) = Show::ALL.iter().find(|(_, word, _)| name.is(word)) {
        return ends(rest, Command::Show(*show));
    }
    // The two that SQL spells in several words.
    let words: Vec<String> = std::iter::once(name).chain(rest).map(Token::text).collect();
    match words.join(" ").to_ascii_lowercase().as_str() {
        "transaction isolation level" => return Ok(Command::Parameter("transaction_isolation")),
        "time zone" => return Ok(Command::Parameter("TimeZone")),
        _ => {}
    }
    let text = name.text();
    let known = PARAMETERS.iter().chain(UNREPORTED).find(|(known, _)| known.eq_ignore_ascii_case(&text));
    match known {
        Some((known, _)) => ends(rest, Command::Parameter(known)),
        None => Err(ParseError::UnknownShow { nearest: nearest(&text), name: text }),
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    let distance = |word: &str| strsim::damerau_levenshtein(word, &upper);
    let words = Show::ALL.iter().map(|(_, word, _)| *word);
    words.filter(|word| distance(word) <= 3 && distance(word) < word.len()).min_by_key(|word| distance(word))
}

/// A database, and nothing behind it.
fn named(rest: &[Token]) -> Result<Name, ParseError> {
    let (first, behind) = rest.split_first().ok_or(ParseError::Incomplete)?;
    let name = match first {
        Token::Word(text) => Name { text: text.clone(), exact: false },
        Token::Quoted(text) => Name { text: text.clone(), exact: true },
        sign @ Token::Sign(_) => return Err(ParseError::Unexpected(sign.text())),
    };
    match behind.first() {
        Some(token) => Err(ParseError::Unexpected(token.text())),
        None => Ok(name),
    }
}

/// A database or nothing, and nothing behind it.
fn maybe_named(rest: &[Token]) -> Result<Option<Name>, ParseError> {
    if rest.is_empty() { Ok(None) } else { named(rest).map(Some) }
}

/// A number, and what is behind it.
fn number(rest: &[Token]) -> Result<(u64, &[Token]), ParseError> {
    let (first, behind) = rest.split_first().ok_or(ParseError::Incomplete)?;
    match first {
        Token::Word(text) => {
            let number = text.parse().map_err(|_| ParseError::Unexpected(text.clone()))?;
            Ok((number, behind))
        }
        other => Err(ParseError::Unexpected(other.text())),
    }
}

fn kill(rest: &[Token], tag: &'static str) -> Result<Command, ParseError> {
    let (client, rest) = number(rest)?;
    ends(rest, Command::Kill(client, tag))
}

impl Command {
    /// Whether it changes something, so that not everybody may give it.
    pub(super) fn changes(&self) -> bool {
        match self {
            Self::Show(_)
            | Self::Parameter(_)
            | Self::SelectOne
            | Self::SelectVersion
            | Self::Begin
            | Self::End(_)
            | Self::Nothing(_) => false,
            Self::Rotate(_)
            | Self::Retire(..)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Reconnect(_)
            | Self::Disable(_)
            | Self::Enable(_)
            | Self::Kill(..)
            | Self::Reload
            | Self::Shutdown => true,
        }
    }

    /// The word that CommandComplete begins with.
    pub(super) fn tag(&self) -> &'static str {
        match self {
            Self::Show(_) | Self::Parameter(_) => "SHOW",
            Self::Rotate(_) => "ROTATE",
            Self::Retire(..) => "RETIRE",
            Self::Pause(_) => "PAUSE",
            Self::Resume(_) => "RESUME",
            Self::Reconnect(_) => "RECONNECT",
            Self::Disable(_) => "DISABLE",
            Self::Enable(_) => "ENABLE",
            Self::Reload => "RELOAD",
            Self::Shutdown => "SHUTDOWN",
            Self::SelectOne | Self::SelectVersion => "SELECT",
            Self::Begin => "BEGIN",
            Self::End(tag) | Self::Nothing(tag) | Self::Kill(_, tag) => tag,
        }
    }
}

fn select(rest: &[Token]) -> Result<Command, ParseError> {
    let sign = |token: &Token, sign| *token == Token::Sign(sign);
    match rest {
        [one] if one.is("1") => Ok(Command::SelectOne),
        [version, open, close]
            if (version.is("version") || version.is("pg_catalog.version"))
                && sign(open, '(')
                && sign(close, ')') =>
        {
            Ok(Command::SelectVersion)
        }
        _ => Err(ParseError::UnknownCommand("SELECT".to_owned())),
    }
}

impl Name {
    /// Which of these names is meant: the same one, else, where the case does not count, one that
    /// differs in case alone.
    pub(super) fn find<'a>(&self, names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
        let same = names.clone().find(|name| *name == self.text);
        let mut alike = names.filter(|name| !self.exact && name.eq_ignore_ascii_case(&self.text));
        same.or_else(|| alike.next())
    }
}

#[cfg(test)]
mod tests;
