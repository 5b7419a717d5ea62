//! A model of PostgreSQL as a session sees it: bytes of the protocol in, bytes out.
//!
//! Sources: `postgres.c` (`exec_simple_query`, `exec_parse_message` and their like) and `xact.c` of
//! PostgreSQL 15. Nothing is sent before a Flush, an error or ReadyForQuery, as in the server.

use std::collections::BTreeMap;

use super::settings::{REPORTED, Settings};
use super::sql::{Sql, read};
use crate::wire::{Encoder, ErrorFields, Severity};

const ABORTED: (&str, &str) =
    ("25P02", "current transaction is aborted, commands ignored until end of transaction block");

/// Why something fails: SQLSTATE and words.
#[derive(Debug)]
pub(super) struct Fail(&'static str, String);

pub(super) type Done = Result<(), Fail>;

pub(super) fn fail<T>(code: &'static str, words: impl Into<String>) -> Result<T, Fail> {
    Err(Fail(code, words.into()))
}

#[derive(Debug, Clone)]
pub(super) struct Portal {
    sql: Option<Sql>,
    done: bool,
    /// How many savepoints there were.
    pub(super) depth: usize,
}

/// A transaction.
#[derive(Debug)]
pub(super) struct Block {
    /// Begun by BEGIN.
    pub(super) explicit: bool,
    pub(super) failed: bool,
    pub(super) before: Settings,
    pub(super) savepoints: Vec<(String, Settings)>,
    /// Something was executed by the extended protocol.
    pub(super) pipelined: bool,
}

/// One server process.
#[derive(Debug)]
pub(super) struct Server {
    input: Vec<u8>,
    /// Answered and not sent yet.
    held: Encoder,
    sent: Vec<u8>,
    /// By name: what stands behind it in Parse.
    pub(super) statements: BTreeMap<String, (Vec<u8>, Option<Sql>)>,
    pub(super) unnamed: Option<Option<Sql>>,
    pub(super) portals: BTreeMap<String, Portal>,
    pub(super) settings: Settings,
    told: BTreeMap<&'static str, String>,
    pub(super) block: Option<Block>,
    skipping: bool,
}

impl Server {
    /// Logged in with this in the startup packet.
    pub(super) fn new(startup: &[(String, String)]) -> Self {
        let mut server = Self {
            input: Vec::new(),
            held: Encoder::default(),
            sent: Vec::new(),
            statements: BTreeMap::new(),
            unnamed: None,
            portals: BTreeMap::new(),
            settings: Settings::new(startup),
            told: BTreeMap::new(),
            block: None,
            skipping: false,
        };
        server.report();
        server.held = Encoder::default();
        server
    }

    /// What it says to these bytes; `None`: they are none of the protocol's.
    pub(super) fn hears(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.input.extend_from_slice(bytes);
        while let Some(header) = self.input.first_chunk::<5>() {
            let length =
                usize::try_from(u32::from_be_bytes([header[1], header[2], header[3], header[4]])).ok()?;
            if self.input.len() <= length {
                break;
            }
            let rest = self.input.split_off(length + 1);
            let message = std::mem::replace(&mut self.input, rest);
            self.message(message[0], &message[5..])?;
        }
        Some(std::mem::take(&mut self.sent))
    }

    /// What it holds back until somebody asks for it.
    pub(super) fn holds_back(&self) -> Vec<u8> {
        self.held.clone().into_bytes()
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.input.is_empty() && self.block.is_none() && !self.skipping
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> Option<()> {
        if kind == b'S' {
            self.skipping = false;
            self.end_implicit();
            self.ready();
            return Some(());
        }
        if self.skipping || kind == b'X' {
            return Some(());
        }
        let words: Vec<&str> = body
            .split(|byte| *byte == 0)
            .map(|word| std::str::from_utf8(word).ok())
            .collect::<Option<_>>()?;
        let done = match (kind, &words[..]) {
            (b'Q', [text, ..]) => {
                self.query(text);
                return Some(());
            }
            (b'H', _) => {
                self.flush();
                Ok(())
            }
            (b'P', [name, text, ..]) => self.parse(name, text, &body[name.len() + 1..]),
            (b'B', [portal, name, ..]) => self.bind(portal, name),
            (b'D', [what, ..]) if what.starts_with('S') => self.describe_statement(&what[1..]),
            (b'D', [what, ..]) if what.starts_with('P') => self.describe_portal(&what[1..]),
            (b'C', [what, ..]) => {
                self.close(what);
                Ok(())
            }
            (b'E', [portal, ..]) => self.execute(portal),
            _ => return None,
        };
        if let Err(failed) = done {
            self.fails(&failed);
            self.skipping = true;
        }
        Some(())
    }

    fn flush(&mut self) {
        self.sent.extend(std::mem::take(&mut self.held).into_bytes());
    }

    fn ready(&mut self) {
        self.report();
        let status = match &self.block {
            None => b'I',
            Some(block) if block.failed => b'E',
            Some(_) => b'T',
        };
        self.held.message(b'Z', |body| body.push(status));
        self.flush();
    }

    fn report(&mut self) {
        for name in REPORTED {
            let value = self.settings.value(&name.to_lowercase()).unwrap_or_default();
            if self.told.get(name) != Some(&value) {
                self.held.parameter_status(name, &value);
                self.told.insert(name, value);
            }
        }
    }

    fn fails(&mut self, Fail(code, words): &Fail) {
        let bytes = ErrorFields::new(Severity::Error, code, words.as_str()).encode();
        self.flush();
        self.sent.extend(bytes);
        self.abort();
    }

    pub(super) fn warn(&mut self, code: &str, words: &str) {
        let mut fields = ErrorFields::new(Severity::Error, code, words);
        fields.severity = "WARNING".to_owned();
        self.flush();
        let from = self.sent.len();
        self.sent.extend(fields.encode());
        self.sent[from] = b'N';
    }

    pub(super) fn start(&mut self) -> &mut Block {
        let before = &self.settings;
        self.block.get_or_insert_with(|| Block {
            explicit: false,
            failed: false,
            before: before.clone(),
            savepoints: Vec::new(),
            pipelined: false,
        })
    }

    pub(super) fn commit(&mut self) {
        self.block = None;
        self.settings.commit();
        self.portals.clear();
    }

    fn end_implicit(&mut self) {
        if self.block.as_ref().is_some_and(|block| !block.explicit) {
            self.commit();
        }
    }

    /// What an error does to the transaction.
    fn abort(&mut self) {
        let Some(block) = &mut self.block else { return };
        let before = block.savepoints.last().map_or(&block.before, |(_, settings)| settings);
        self.settings.roll_back(before);
        block.failed = true;
        if !block.explicit {
            self.block = None;
            self.portals.clear();
        }
    }

    fn is_aborted(&self) -> bool {
        self.block.as_ref().is_some_and(|block| block.failed)
    }

    fn query(&mut self, text: &str) {
        self.start();
        self.unnamed = None;
        if let Err(failed) = self.run_all(text) {
            self.fails(&failed);
        }
        self.end_implicit();
        self.ready();
    }

    fn run_all(&mut self, text: &str) -> Done {
        let Some(list) = read(text) else { return fail("42601", "syntax error") };
        if list.is_empty() {
            self.held.message(b'I', |_| {});
        }
        for sql in &list {
            if self.is_aborted() && !sql.is_exit() {
                return fail(ABORTED.0, ABORTED.1);
            }
            self.start();
            self.portals.remove("");
            let columns = self.columns(sql);
            self.can_be_planned(sql)?;
            if let Some(columns) = columns {
                self.row_description(columns);
            }
            self.run(sql, list.len() == 1)?;
        }
        Ok(())
    }

    fn parse(&mut self, name: &str, text: &str, body: &[u8]) -> Done {
        self.start();
        if name.is_empty() {
            self.unnamed = None;
        }
        let Some(mut list) = read(text) else { return fail("42601", "syntax error") };
        if list.len() > 1 {
            return fail("42601", "cannot insert multiple commands into a prepared statement");
        }
        let sql = list.pop();
        if sql.as_ref().is_some_and(|sql| self.is_aborted() && !sql.is_exit()) {
            return fail(ABORTED.0, ABORTED.1);
        }
        if name.is_empty() {
            self.unnamed = Some(sql);
        } else {
            self.store(name, body.to_vec(), sql)?;
        }
        self.held.message(b'1', |_| {});
        Ok(())
    }

    pub(super) fn store(&mut self, name: &str, body: Vec<u8>, sql: Option<Sql>) -> Done {
        if self.statements.contains_key(name) {
            return fail("42P05", format!("prepared statement \"{name}\" already exists"));
        }
        self.statements.insert(name.to_owned(), (body, sql));
        Ok(())
    }

    pub(super) fn fetch(&self, name: &str) -> Result<Option<Sql>, Fail> {
        let found = if name.is_empty() {
            &self.unnamed
        } else {
            &self.statements.get(name).map(|(_, sql)| sql.clone())
        };
        match found {
            Some(sql) => Ok(sql.clone()),
            None if name.is_empty() => fail("26000", "unnamed prepared statement does not exist"),
            None => fail("26000", format!("prepared statement \"{name}\" does not exist")),
        }
    }

    fn bind(&mut self, portal: &str, name: &str) -> Done {
        let sql = self.fetch(name)?;
        self.start();
        if self.is_aborted() && !sql.as_ref().is_some_and(Sql::is_exit) {
            return fail(ABORTED.0, ABORTED.1);
        }
        if !portal.is_empty() && self.portals.contains_key(portal) {
            return fail("42P03", format!("cursor \"{portal}\" already exists"));
        }
        // Replaced before the new one is planned.
        self.portals.remove(portal);
        sql.iter().try_for_each(|sql| self.can_be_planned(sql))?;
        let depth = self.block.as_ref().map_or(0, |block| block.savepoints.len());
        self.portals.insert(portal.to_owned(), Portal { sql, done: false, depth });
        self.held.message(b'2', |_| {});
        Ok(())
    }

    pub(super) fn can_be_planned(&self, sql: &Sql) -> Done {
        if *sql == Sql::DivideByZero { fail("22012", "division by zero") } else { Ok(()) }
    }

    fn describe_statement(&mut self, name: &str) -> Done {
        self.start();
        let sql = self.fetch(name)?;
        let columns = sql.as_ref().and_then(Sql::columns);
        // PostgreSQL describes what has no columns here too; a statement that has to be prepared
        // first cannot be (docs/behaviour.md).
        if self.is_aborted() {
            return fail(ABORTED.0, ABORTED.1);
        }
        self.held.message(b't', |body| body.extend([0, 0]));
        self.row_description_or_none(columns);
        Ok(())
    }

    fn describe_portal(&mut self, portal: &str) -> Done {
        self.start();
        let Some(found) = self.portals.get(portal) else {
            return fail("34000", format!("portal \"{portal}\" does not exist"));
        };
        let columns = found.sql.as_ref().and_then(Sql::columns);
        if self.is_aborted() && columns.is_some() {
            return fail(ABORTED.0, ABORTED.1);
        }
        self.row_description_or_none(columns);
        Ok(())
    }

    fn close(&mut self, what: &str) {
        let (kind, name) = what.split_at(1);
        match (kind, name) {
            ("S", "") => self.unnamed = None,
            ("S", name) => drop(self.statements.remove(name)),
            (_, name) => drop(self.portals.remove(name)),
        }
        self.held.message(b'3', |_| {});
    }

    fn execute(&mut self, portal: &str) -> Done {
        let Some(found) = self.portals.get(portal).cloned() else {
            return fail("34000", format!("portal \"{portal}\" does not exist"));
        };
        let Some(sql) = found.sql else {
            self.held.message(b'I', |_| {});
            return Ok(());
        };
        self.start();
        if self.is_aborted() && !sql.is_exit() {
            return fail(ABORTED.0, ABORTED.1);
        }
        if found.done {
            match &sql {
                Sql::Show(_) => self.complete("SHOW"),
                sql if sql.columns().is_some() => self.complete("SELECT 0"),
                _ => return fail("55000", format!("portal \"{portal}\" cannot be run")),
            }
            return Ok(());
        }
        self.run(&sql, true)?;
        if let Some(portal) = self.portals.get_mut(portal) {
            portal.done = true;
        }
        if sql.is_control() || sql == Sql::DiscardAll {
            self.end_implicit();
        } else if let Some(block) = &mut self.block {
            block.pipelined = true;
        }
        Ok(())
    }

    /// A row of text; the tag that goes with one.
    pub(super) fn row(&mut self, values: &[Option<String>]) -> &'static str {
        self.held.message(b'D', |body| {
            body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
            for value in values {
                let length = value.as_ref().map_or(-1, |value| i32::try_from(value.len()).unwrap());
                body.extend(length.to_be_bytes());
                body.extend(value.iter().flat_map(|value| value.bytes()));
            }
        });
        "SELECT 1"
    }

    /// As a Query says it: EXECUTE has the columns of what it executes.
    fn columns(&self, sql: &Sql) -> Option<&'static [&'static str]> {
        match sql {
            Sql::Execute(name) => self.statements.get(name).and_then(|(_, sql)| sql.as_ref()?.columns()),
            sql => sql.columns(),
        }
    }

    fn row_description_or_none(&mut self, columns: Option<&[&str]>) {
        match columns {
            Some(columns) => self.row_description(columns),
            None => drop(self.held.message(b'n', |_| {})),
        }
    }

    fn row_description(&mut self, columns: &[&str]) {
        self.held.message(b'T', |body| {
            body.extend(u16::try_from(columns.len()).unwrap().to_be_bytes());
            for column in columns {
                body.extend(column.bytes());
                body.extend([0; 7]);
                body.extend([0, 0, 0, 25, 255, 255, 255, 255, 255, 255, 0, 0]);
            }
        });
    }

    pub(super) fn complete(&mut self, tag: &str) {
        self.held.message(b'C', |body| {
            body.extend(tag.bytes());
            body.push(0);
        });
    }
}
