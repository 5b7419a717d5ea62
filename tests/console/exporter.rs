//! What pgbouncer_exporter asks of the console, and how it reads the answers.
//!
//! Source: prometheus-community/pgbouncer_exporter, collector.go. It speaks the simple protocol by lib/pq,
//! finds columns by their names, makes labels of some and numbers of the others.

use std::collections::BTreeMap;

use crate::or_skip;
use crate::support::wait_until;
use crate::wire_client::message::kinds;
use crate::wire_client::{Place, WireClient};
use crate::{House, PATIENCE};

/// What lib/pq says of itself at login.
const LIB_PQ: &[(&str, &str)] = &[
    ("user", "exporter"),
    ("database", "leasehold"),
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, MDY"),
    ("extra_float_digits", "2"),
];

/// Tables of several rows with the columns that become labels and those that become numbers.
const TABLES: &[(&str, &[&str], &[&str])] = &[
    (
        "databases",
        &["name", "host", "port", "database", "force_user", "pool_mode"],
        &["pool_size", "reserve_pool", "max_connections", "current_connections", "paused", "disabled"],
    ),
    (
        "stats_totals",
        &["database"],
        &[
            "query_count",
            "query_time",
            "bytes_received",
            "bytes_sent",
            "wait_time",
            "xact_count",
            "xact_time",
            "client_parse_count",
            "server_parse_count",
            "bind_count",
        ],
    ),
    (
        "pools",
        &["database", "user"],
        &[
            "cl_active",
            "cl_active_cancel_req",
            "cl_waiting",
            "cl_waiting_cancel_req",
            "sv_active",
            "sv_active_cancel",
            "sv_being_canceled",
            "sv_idle",
            "sv_used",
            "sv_tested",
            "sv_login",
            "maxwait",
        ],
    ),
];

/// Rows of `SHOW LISTS` that become numbers.
const LISTS: &[&str] = &[
    "databases",
    "users",
    "pools",
    "free_clients",
    "used_clients",
    "login_clients",
    "free_servers",
    "used_servers",
    "dns_names",
    "dns_zones",
    "dns_queries",
];

/// One row, by the names of its columns.
type Row = BTreeMap<String, Option<String>>;

struct Exporter(WireClient);

impl Exporter {
    async fn connect(port: u16) -> Self {
        Self(WireClient::connect(&Place::loopback(port), LIB_PQ).await)
    }

    /// Column names in their order, and rows.
    async fn ask(&mut self, sql: &str) -> (Vec<String>, Vec<Row>) {
        let answer = self.0.query(sql).await;
        let words = kinds(&answer);
        assert!(words.starts_with('T') && words.ends_with("CZ"), "{sql}: {words}");
        let names = names(&answer[0].body);
        let rows = answer.iter().filter(|message| message.kind == b'D');
        let rows = rows.map(|message| names.iter().cloned().zip(message.row()).collect()).collect();
        (names, rows)
    }

    /// The row of the database `app`, whose name is in this column.
    async fn app(&mut self, sql: &str, name: &str) -> Row {
        let (_, rows) = self.ask(sql).await;
        rows.into_iter().find(|row| row[name].as_deref() == Some("app")).unwrap()
    }
}

/// The names of a RowDescription; 18 bytes stand behind each.
fn names(body: &[u8]) -> Vec<String> {
    let mut rest = &body[2..];
    let mut names = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == 0).unwrap();
        names.push(String::from_utf8(rest[..end].to_vec()).unwrap());
        rest = &rest[end + 1 + 18..];
    }
    names
}

/// A number as the exporter parses it; NULL would become "not a number", and fails the test.
fn number(row: &Row, column: &str) -> f64 {
    let value = row.get(column).unwrap_or_else(|| panic!("no column {column}: {row:?}"));
    value.as_ref().and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{column}: {value:?}"))
}

/// Everything that one scrape asks for.
async fn scrape(exporter: &mut Exporter) {
    // It begins with this one to see whether anybody is there.
    exporter.ask("SHOW STATS").await;
    let (names, rows) = exporter.ask("SHOW VERSION;").await;
    assert_eq!((names, rows.len()), (vec!["version".to_owned()], 1));

    let (names, rows) = exporter.ask("SHOW LISTS;").await;
    assert_eq!(names, ["list", "items"]);
    for list in LISTS {
        let row = rows.iter().find(|row| row["list"].as_deref() == Some(list));
        number(row.unwrap_or_else(|| panic!("no list {list}: {rows:?}")), "items");
    }

    let (names, rows) = exporter.ask("SHOW CONFIG;").await;
    assert_eq!(names, ["key", "value", "default", "changeable"]);
    assert!(rows.iter().all(|row| row["key"].is_some() && row["changeable"].is_some()), "{rows:?}");
    let value = |key: &str| rows.iter().find(|row| row["key"].as_deref() == Some(key)).unwrap();
    let limits = ["max_client_conn", "max_user_connections"].map(|key| number(value(key), "value"));
    assert_eq!(limits, [10_000.0, 0.0]);
    assert_eq!(value("databases.app.pool_size")["value"].as_deref(), Some("4"));

    for (table, labels, figures) in TABLES {
        let (names, rows) = exporter.ask(&format!("SHOW {table};")).await;
        assert_eq!(rows.len(), 2, "{table}");
        for label in *labels {
            assert!(names.iter().any(|name| name == label), "{table}: no {label}");
        }
        for row in &rows {
            figures.iter().for_each(|column| assert!(number(row, column) >= 0.0, "{table} {column}"));
        }
        // Two rows with the same labels would be refused by Prometheus.
        let labelled = |row: &Row| labels.iter().map(|label| row[*label].clone()).collect::<Vec<_>>();
        assert_ne!(labelled(&rows[0]), labelled(&rows[1]), "{table}");
    }
}

#[tokio::test]
async fn pgbouncer_exporter_reads_every_figure_it_knows_under_load() {
    let house = or_skip!(House::open().await);
    let mut exporter = Exporter::connect(house.proxy.port()).await;
    let figures =
        ["xact_count", "query_count", "bytes_received", "bytes_sent", "wait_time", "xact_time", "query_time"];
    let before = exporter.app("SHOW STATS_TOTALS", "database").await;

    // Twice as many clients as connections, so that some have to wait.
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), "SELECT pg_sleep(0.005);\n").unwrap();
    let path = script.path().display().to_string();
    let mut load = house.proxy.endpoint("app").start_pgbench(&["-n", "-c", "8", "-T", "60", "-f", &path]);
    let mut probe = Exporter::connect(house.proxy.port()).await;
    let mut moved = false;
    let mut queued = false;
    for _ in 0..10_000 {
        scrape(&mut exporter).await;
        let now = probe.app("SHOW STATS_TOTALS", "database").await;
        moved = figures.iter().all(|column| number(&now, column) > number(&before, column));
        let pool = probe.app("SHOW POOLS", "database").await;
        queued |= number(&pool, "cl_waiting") > 0.0 && number(&pool, "sv_active") > 0.0;
        if moved && queued {
            break;
        }
        assert!(load.running(), "{}", load.stderr());
    }
    assert!(moved && queued, "moved {moved}, queued {queued}: {}", house.proxy.log_text());
    load.stop();
    let _ = load.finish().await;

    // The two tables of totals say the same once all is quiet.
    let quiet = async || {
        let mut probe = Exporter::connect(house.proxy.port()).await;
        let pool = probe.app("SHOW POOLS", "database").await;
        number(&pool, "cl_active") == 0.0 && number(&pool, "cl_waiting") == 0.0
    };
    assert!(wait_until(PATIENCE, quiet).await, "{}", house.proxy.log_text());
    let totals = exporter.app("SHOW STATS_TOTALS", "database").await;
    let stats = exporter.app("SHOW STATS", "database").await;
    let same = [
        ("xact_count", "total_xact_count"),
        ("query_count", "total_query_count"),
        ("bytes_received", "total_received"),
        ("bytes_sent", "total_sent"),
        ("wait_time", "total_wait_time"),
        ("xact_time", "total_xact_time"),
        ("query_time", "total_query_time"),
    ];
    for (one, other) in same {
        assert_eq!(number(&totals, one), number(&stats, other), "{one}");
    }
}
