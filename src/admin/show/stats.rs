//! SHOW STATS, STATS_TOTALS and STATS_AVERAGES: what was done for each database.

use crate::admin::table::{Column, Kind, Value, column};
use crate::pool::PoolCounts;
use crate::snapshot::{DatabaseSnapshot, Rates, Snapshot};

const DATABASE: Column = column("database", Kind::Text, "The database that clients ask for.");

const CHECKOUTS: &str = "Server connections handed to clients.";
const TRANSACTIONS: &str = "Transactions finished.";
const QUERIES: &str = "Queries answered: a Query, a FunctionCall, or all up to a Sync.";
const RECEIVED: &str = "Bytes that came from clients.";
const SENT: &str = "Bytes that came from the server for them.";
const WAITED: &str = "Microseconds that clients waited for a server connection until they got it.";
const AVERAGE_CHECKOUTS: &str = "Server connections handed to clients, a second.";
const AVERAGE_TRANSACTIONS: &str = "Transactions finished, a second.";
const AVERAGE_QUERIES: &str = "Queries answered, a second.";
const AVERAGE_RECEIVED: &str = "Bytes that came from clients, a second.";
const AVERAGE_SENT: &str = "Bytes that came from the server for them, a second.";
const AVERAGE_WAIT: &str =
    "Microseconds that a client which had to wait for a server connection did so until it got it.";
const IN_TRANSACTION: &str = "Microseconds that transactions were open which are over.";
const AT_WORK: &str = "Microseconds that the server worked on queries which are answered.";
const CLIENT_PARSES: &str = "Statements that clients prepared (Parse).";
const SERVER_PARSES: &str = "Statements that servers prepared for clients.";
const BINDS: &str = "Statements that clients readied for execution (Bind).";
const AVERAGE_IN_TRANSACTION: &str = "Microseconds that a transaction was open.";
const AVERAGE_AT_WORK: &str = "Microseconds that the server worked on a query.";
const AVERAGE_CLIENT_PARSES: &str = "Statements that clients prepared (Parse), a second.";
const AVERAGE_SERVER_PARSES: &str = "Statements that servers prepared for clients, a second.";
const AVERAGE_BINDS: &str = "Statements that clients readied for execution (Bind), a second.";

pub(super) const TOTALS: &[Column] = &[
    DATABASE,
    column("server_assignment_count", Kind::Int8, CHECKOUTS),
    column("xact_count", Kind::Int8, TRANSACTIONS),
    column("query_count", Kind::Int8, QUERIES),
    column("bytes_received", Kind::Int8, RECEIVED),
    column("bytes_sent", Kind::Int8, SENT),
    column("xact_time", Kind::Int8, IN_TRANSACTION),
    column("query_time", Kind::Int8, AT_WORK),
    column("wait_time", Kind::Int8, WAITED),
    column("client_parse_count", Kind::Int8, CLIENT_PARSES),
    column("server_parse_count", Kind::Int8, SERVER_PARSES),
    column("bind_count", Kind::Int8, BINDS),
];

pub(super) const AVERAGES: &[Column] = &[
    DATABASE,
    column("server_assignment_count", Kind::Int8, AVERAGE_CHECKOUTS),
    column("xact_count", Kind::Int8, AVERAGE_TRANSACTIONS),
    column("query_count", Kind::Int8, AVERAGE_QUERIES),
    column("bytes_received", Kind::Int8, AVERAGE_RECEIVED),
    column("bytes_sent", Kind::Int8, AVERAGE_SENT),
    column("xact_time", Kind::Int8, AVERAGE_IN_TRANSACTION),
    column("query_time", Kind::Int8, AVERAGE_AT_WORK),
    column("wait_time", Kind::Int8, AVERAGE_WAIT),
    column("client_parse_count", Kind::Int8, AVERAGE_CLIENT_PARSES),
    column("server_parse_count", Kind::Int8, AVERAGE_SERVER_PARSES),
    column("bind_count", Kind::Int8, AVERAGE_BINDS),
];

pub(super) const STATS: &[Column] = &[
    DATABASE,
    column("total_server_assignment_count", Kind::Int8, CHECKOUTS),
    column("total_xact_count", Kind::Int8, TRANSACTIONS),
    column("total_query_count", Kind::Int8, QUERIES),
    column("total_received", Kind::Int8, RECEIVED),
    column("total_sent", Kind::Int8, SENT),
    column("total_xact_time", Kind::Int8, IN_TRANSACTION),
    column("total_query_time", Kind::Int8, AT_WORK),
    column("total_wait_time", Kind::Int8, WAITED),
    column("total_client_parse_count", Kind::Int8, CLIENT_PARSES),
    column("total_server_parse_count", Kind::Int8, SERVER_PARSES),
    column("total_bind_count", Kind::Int8, BINDS),
    column("avg_server_assignment_count", Kind::Int8, AVERAGE_CHECKOUTS),
    column("avg_xact_count", Kind::Int8, AVERAGE_TRANSACTIONS),
    column("avg_query_count", Kind::Int8, AVERAGE_QUERIES),
    column("avg_recv", Kind::Int8, AVERAGE_RECEIVED),
    column("avg_sent", Kind::Int8, AVERAGE_SENT),
    column("avg_xact_time", Kind::Int8, AVERAGE_IN_TRANSACTION),
    column("avg_query_time", Kind::Int8, AVERAGE_AT_WORK),
    column("avg_wait_time", Kind::Int8, AVERAGE_WAIT),
    column("avg_client_parse_count", Kind::Int8, AVERAGE_CLIENT_PARSES),
    column("avg_server_parse_count", Kind::Int8, AVERAGE_SERVER_PARSES),
    column("avg_bind_count", Kind::Int8, AVERAGE_BINDS),
];

pub(super) fn stats(view: &Snapshot) -> Vec<Vec<Value>> {
    rows(view, |index| [sums(&view.counts(index)), rates(&view.rates(index))].concat())
}

pub(super) fn totals(view: &Snapshot) -> Vec<Vec<Value>> {
    rows(view, |index| sums(&view.counts(index)).to_vec())
}

pub(super) fn averages(view: &Snapshot) -> Vec<Vec<Value>> {
    rows(view, |index| rates(&view.rates(index)).to_vec())
}

fn rows(view: &Snapshot, figures: impl Fn(usize) -> Vec<Value>) -> Vec<Vec<Value>> {
    let row = |(index, pool): (usize, &DatabaseSnapshot)| {
        std::iter::once(Value::text(&pool.name)).chain(figures(index)).collect()
    };
    view.databases.iter().enumerate().map(row).collect()
}

fn sums(counts: &PoolCounts) -> [Value; 11] {
    [
        Value::count(counts.checkouts),
        Value::count(counts.transactions),
        Value::count(counts.queries),
        Value::count(counts.from_clients),
        Value::count(counts.from_servers),
        Value::count(counts.transaction_time.as_micros()),
        Value::count(counts.query_time.as_micros()),
        Value::count(counts.waits.sum().as_micros()),
        Value::count(counts.client_parses),
        Value::count(counts.server_parses),
        Value::count(counts.binds),
    ]
}

fn rates(rates: &Rates) -> [Value; 11] {
    [
        Value::count(rates.checkouts),
        Value::count(rates.transactions),
        Value::count(rates.queries),
        Value::count(rates.from_clients),
        Value::count(rates.from_servers),
        Value::count(rates.transaction_micros),
        Value::count(rates.query_micros),
        Value::count(rates.wait_micros),
        Value::count(rates.client_parses),
        Value::count(rates.server_parses),
        Value::count(rates.binds),
    ]
}
