//! The console of the real binary, through psql and tokio-postgres.

#![allow(clippy::unwrap_used, clippy::panic)] // panicking is how a test fails, helpers included

#[path = "console/commands.rs"]
mod commands;
#[path = "console/exporter.rs"]
mod exporter;
#[path = "console/reload.rs"]
mod reload;
#[path = "console/rights.rs"]
mod rights;
#[path = "console/stats.rs"]
mod stats;
mod support;
mod wire_client;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use support::{Leasehold, Missing, Postgres, wait_until};
use tempfile::NamedTempFile;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, SimpleQueryMessage};

const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy whose databases `app` and `Reports` take their users from the local source.
struct House {
    proxy: Leasehold,
    postgres: Postgres,
    _admin: NamedTempFile,
}

impl House {
    async fn open() -> Result<Self, Missing> {
        Self::open_with(&[]).await
    }

    /// With variables in the proxy's environment.
    async fn open_with(env: &[(&str, &str)]) -> Result<Self, Missing> {
        let postgres = Postgres::start().await?;
        let (admin, config) = config(&postgres.admin_url(), postgres.port());
        let proxy = Leasehold::run_with(&config, env).await;
        let house = Self { proxy, postgres, _admin: admin };
        let console = house.console().await;
        let served = async || active(&console, "app").await.is_some();
        assert!(wait_until(PATIENCE, served).await, "{}", house.proxy.log_text());
        let served = async || active(&console, "Reports").await.is_some();
        assert!(wait_until(PATIENCE, served).await, "{}", house.proxy.log_text());
        Ok(house)
    }

    async fn console(&self) -> Client {
        self.proxy.endpoint("leasehold").connect().await
    }

    async fn psql(&self, sql: &str) -> String {
        self.proxy.endpoint("leasehold").psql(sql).await.success()
    }
}

fn config(admin_url: &str, port: u16) -> (NamedTempFile, String) {
    let admin = NamedTempFile::new().unwrap();
    std::fs::write(admin.path(), admin_url).unwrap();
    let database = |name: &str, mode: &str| {
        format!(
            r#"
            [databases.{name}]
            host = "127.0.0.1"
            port = {port}
            dbname = "postgres"
            sslmode = "disable"
            pool_mode = "{mode}"
            pool_size = 4
            [databases.{name}.credentials]
            source = "local"
            admin_url_file = "{}"
            creation_statements = ['''CREATE ROLE "{{{{name}}}}" WITH LOGIN PASSWORD '{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}' ''']
            default_ttl = "10m"
            "#,
            admin.path().display()
        )
    };
    let config = format!(
        "threads = 2\nthread_busy = 0\n{}{}",
        database("app", "transaction"),
        database("Reports", "session")
    );
    (admin, config)
}

/// Number and user of a database's active generation.
async fn active(console: &Client, database: &str) -> Option<(i64, String)> {
    let rows = console.query("SHOW POOLS", &[]).await.unwrap();
    let row = rows.iter().find(|row| row.get::<_, String>("database") == database)?;
    Some((row.get::<_, Option<i64>>("generation")?, row.get("user")))
}

/// What a statement's error says: SQLSTATE, message, and detail with hint.
async fn refused(console: &Client, sql: &str) -> (String, String, String) {
    let error = console.simple_query(sql).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    let rest = [error.detail(), error.hint()].map(Option::unwrap_or_default).join(" ");
    (error.code().code().to_owned(), error.message().to_owned(), rest)
}

#[tokio::test]
async fn every_table_is_shown_typed_to_a_driver_that_prepares() {
    let house = or_skip!(House::open().await);
    let console = house.console().await;
    let client = house.proxy.endpoint("app").connect().await;
    client.batch_execute("BEGIN").await.unwrap();
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let mut session = house.proxy.endpoint("Reports").config();
    session.application_name("night run");
    let (session, connection) = session.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    session.simple_query("SELECT 1").await.unwrap();

    let generations = console.prepare("SHOW GENERATIONS").await.unwrap();
    let types: Vec<(&str, &Type)> = generations.columns().iter().map(|c| (c.name(), c.type_())).collect();
    assert_eq!(
        types,
        [
            ("database", &Type::TEXT),
            ("source", &Type::TEXT),
            ("generation", &Type::INT8),
            ("user", &Type::TEXT),
            ("state", &Type::TEXT),
            ("lease_id", &Type::TEXT),
            ("issued_at", &Type::TIMESTAMPTZ),
            ("age", &Type::FLOAT8),
            ("expires_in", &Type::FLOAT8),
            ("token_expires_in", &Type::FLOAT8),
            ("connections", &Type::INT8),
            ("idle", &Type::INT8),
            ("busy", &Type::INT8),
            ("draining", &Type::INT8),
            ("pinned", &Type::INT8),
            ("renewals", &Type::INT8),
            ("retire_reason", &Type::TEXT),
        ]
    );
    let rows = console.query(&generations, &[]).await.unwrap();
    let row = rows.iter().find(|row| row.get::<_, &str>("database") == "app").unwrap();
    assert_eq!((row.get::<_, &str>("source"), row.get::<_, &str>("state")), ("local", "active"));
    assert_eq!((row.get::<_, i64>("generation"), row.get::<_, i64>("renewals")), (1, 0));
    let age = SystemTime::now().duration_since(row.get("issued_at")).unwrap();
    assert!(age < Duration::from_secs(60), "{age:?}");
    let left: f64 = row.get("expires_in");
    assert!(left > 500.0 && left <= 600.0, "{left}");
    assert!(row.get::<_, i64>("connections") >= 1);
    assert_eq!(["busy", "draining", "pinned"].map(|name| row.get::<_, i64>(name)), [1, 0, 0]);
    assert!(row.get::<_, f64>("age") < 60.0);
    assert_eq!(row.get::<_, Option<f64>>("token_expires_in"), None);
    let user: &str = row.get("user");
    assert_eq!(house.postgres.roles_like(user).await, [user]);

    let pools = console.query("SHOW POOLS;", &[]).await.unwrap();
    let names: Vec<(&str, &str)> =
        pools.iter().map(|row| (row.get("database"), row.get("pool_mode"))).collect();
    assert!(names.contains(&("app", "transaction")) && names.contains(&("Reports", "session")), "{names:?}");
    let app = pools.iter().find(|row| row.get::<_, &str>("database") == "app").unwrap();
    assert_eq!(app.get::<_, &str>("user"), user);
    let count = |name: &str| app.get::<_, i64>(name);
    assert_eq!(["cl_active", "cl_waiting", "cl_idle", "maxwait"].map(count), [1, 0, 0, 0]);
    assert_eq!(["sv_active", "pool_size", "max_server_connections"].map(count), [1, 4, 8]);
    assert_eq!((count("errors"), app.get::<_, Option<&str>>("last_error")), (0, None));

    let clients = console.query("show clients", &[]).await.unwrap();
    let of = |name: &str| clients.iter().find(|row| row.get::<_, &str>("database") == name).unwrap();
    assert_eq!(clients.len(), 2);
    assert_eq!((of("app").get::<_, &str>("state"), of("app").get::<_, &str>("user")), ("active", "anyone"));
    assert_eq!(of("Reports").get::<_, &str>("application_name"), "night run");
    assert_eq!(of("app").get::<_, &str>("addr"), "127.0.0.1");
    assert!(of("app").get::<_, i64>("port") > 0);
    assert!(of("app").get::<_, SystemTime>("connect_time") <= SystemTime::now());

    let servers = console.query("SHOW SERVERS", &[]).await.unwrap();
    let mine = servers.iter().find(|row| row.get::<_, i64>("remote_pid") == i64::from(pid)).unwrap();
    assert_eq!((mine.get::<_, &str>("state"), mine.get::<_, &str>("user")), ("active", user));
    assert_eq!(mine.get::<_, &str>("link"), of("app").get::<_, &str>("ptr"));
    assert_eq!(of("app").get::<_, &str>("link"), mine.get::<_, &str>("ptr"));
    assert_eq!(
        (mine.get::<_, &str>("addr"), mine.get::<_, i64>("port")),
        ("127.0.0.1", i64::from(house.postgres.port()))
    );
    assert!(servers.iter().any(|row| row.get::<_, &str>("database") == "Reports"));

    let version = console.query_one("SHOW VERSION", &[]).await.unwrap();
    assert_eq!(version.get::<_, String>(0), format!("Leasehold {}", env!("CARGO_PKG_VERSION")));
    assert!(console.query("HELP", &[]).await.unwrap().len() >= 8);
}

#[tokio::test]
async fn psql_shows_tables_and_several_commands_at_once() {
    let house = or_skip!(House::open().await);
    let version = format!("Leasehold {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(house.psql("show version").await, version);
    assert_eq!(house.psql("SHOW VERSION; SHOW VERSION;").await, version.repeat(2));
    let generations = house.psql("SHOW GENERATIONS").await;
    let line = generations.lines().find(|line| line.starts_with("app|")).unwrap();
    let fields: Vec<&str> = line.split('|').collect();
    assert_eq!((fields.len(), fields[0], fields[4]), (17, "app", "active"), "{generations}");
    // 2026-01-31 12:34:56.789+00
    assert!(fields[6].ends_with("+00") && fields[6].as_bytes()[10] == b' ', "{generations}");
    assert!(fields[8].parse::<f64>().unwrap() > 500.0, "{generations}");
    assert!(house.psql("SHOW HELP").await.contains("ROTATE database|"));
    assert_eq!(house.psql("SELECT 1").await, "1\n");
    assert!(house.psql("SELECT version()").await.starts_with("PostgreSQL 15.0 (Leasehold "));
    assert_eq!(house.psql("BEGIN; SET extra_float_digits = 3; COMMIT").await, "");
    assert_eq!(house.psql("SHOW TRANSACTION ISOLATION LEVEL").await, "read committed\n");
    // psql's own commands and its prompt need what the login reported.
    let told = house.psql("\\echo :SERVER_VERSION_NUM :DBNAME").await;
    assert_eq!(told, "150000 leasehold\n");
}

#[tokio::test]
async fn rotate_makes_another_generation_active() {
    let house = or_skip!(House::open().await);
    let console = house.console().await;
    let (number, user) = active(&console, "app").await.unwrap();
    let (other, _) = active(&console, "Reports").await.unwrap();

    let rows = console.query("ROTATE app", &[]).await.unwrap();
    let told: Vec<(&str, &str)> = rows.iter().map(|row| (row.get("database"), row.get("answer"))).collect();
    assert_eq!(told, [("app", "issuing")]);
    let rotated =
        async || active(&console, "app").await.is_some_and(|(now, name)| now > number && name != user);
    assert!(wait_until(PATIENCE, rotated).await, "{}", house.proxy.log_text());
    assert_eq!(active(&console, "Reports").await.unwrap().0, other);
    // The old one drains and is revoked.
    let over = async || {
        let rows = console.query("SHOW GENERATIONS", &[]).await.unwrap();
        let old = rows.iter().find(|row| row.get::<_, Option<String>>("user").as_ref() == Some(&user));
        old.is_some_and(|row| {
            row.get::<_, &str>("state") == "revoked" && row.get::<_, &str>("retire_reason") == "asked"
        })
    };
    assert!(wait_until(PATIENCE, over).await, "{}", house.proxy.log_text());
    assert!(house.postgres.roles_like(&user).await.is_empty());

    let (app, _) = active(&console, "app").await.unwrap();
    assert_eq!(house.psql("rotate;").await.lines().count(), 2);
    let rotated = async || {
        let app_now = active(&console, "app").await.is_some_and(|(now, _)| now > app);
        app_now && active(&console, "Reports").await.is_some_and(|(now, _)| now > other)
    };
    assert!(wait_until(PATIENCE, rotated).await, "{}", house.proxy.log_text());
    // A bare name is found whatever its case.
    assert!(house.psql("ROTATE reports").await.starts_with("Reports|"));
}

#[tokio::test]
async fn what_is_wrong_is_said_and_the_session_goes_on() {
    let house = or_skip!(House::open().await);
    let console = house.console().await;
    let (code, message, rest) = refused(&console, "DROP TABLE users").await;
    assert_eq!(code, "42601");
    assert!(
        message.contains("DROP") && rest.contains("SHOW GENERATIONS") && rest.contains("ROTATE database")
    );
    let (code, _, rest) = refused(&console, "SHOW POOL").await;
    assert!(code == "42601" && rest.contains("Did you mean SHOW POOLS?"), "{rest}");
    let (code, message, rest) = refused(&console, "ROTATE nowhere").await;
    assert_eq!((code.as_str(), message.as_str()), ("3D000", "database \"nowhere\" does not exist"));
    assert!(rest.contains("app") && rest.contains("Reports"), "{rest}");

    // As in PostgreSQL: nothing is done if one cannot be read, all up to the one that fails otherwise.
    assert_eq!(refused(&console, "SHOW VERSION; NONSENSE").await.0, "42601");
    let finished = house.proxy.endpoint("leasehold").psql("SHOW VERSION; ROTATE nowhere; SHOW VERSION").await;
    assert!(!finished.status.success() && finished.stdout.lines().count() <= 1, "{finished:?}");

    // In the extended protocol everything up to Sync is skipped.
    assert_eq!(console.prepare("NONSENSE").await.unwrap_err().code().unwrap().code(), "42601");
    assert_eq!(console.query("ROTATE nowhere", &[]).await.unwrap_err().code().unwrap().code(), "3D000");
    let several = console.prepare("SHOW POOLS; SHOW POOLS").await.unwrap_err();
    assert_eq!(several.code().unwrap().code(), "42601");
    assert!(console.query("-- nothing", &[]).await.unwrap().is_empty());
    assert_eq!(console.query("SHOW VERSION", &[]).await.unwrap().len(), 1);

    // A transaction that failed says so until it ends, as drivers expect.
    console.batch_execute("BEGIN").await.unwrap();
    assert_eq!(refused(&console, "NONSENSE").await.0, "42601");
    console.batch_execute("ROLLBACK").await.unwrap();
    let messages = console.simple_query("SHOW VERSION").await.unwrap();
    assert!(messages.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))));
}

#[tokio::test]
async fn drivers_may_fetch_in_pieces_and_pipeline() {
    let house = or_skip!(House::open().await);
    let mut console = house.console().await;
    let all = console.query("SHOW HELP", &[]).await.unwrap().len();
    let transaction = console.transaction().await.unwrap();
    let portal = transaction.bind("SHOW HELP", &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 3).await.unwrap().len(), 3);
    assert_eq!(transaction.query_portal(&portal, 0).await.unwrap().len(), all - 3);
    // Negative and absurd limits neither panic nor reserve memory.
    let portal = transaction.bind("SHOW HELP", &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, i32::MAX).await.unwrap().len(), all);
    let portal = transaction.bind("SHOW HELP", &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, -1).await.unwrap().len(), all);
    transaction.commit().await.unwrap();
    let (version, pools, clients) = tokio::join!(
        console.query("SHOW VERSION", &[]),
        console.query("SHOW POOLS", &[]),
        console.query("SHOW CLIENTS", &[]),
    );
    assert_eq!((version.unwrap().len(), pools.unwrap().len(), clients.unwrap().len()), (1, 2, 0));
}

#[tokio::test]
async fn the_console_answers_when_there_are_too_many_clients() {
    let (_admin, config) = config("postgresql://nobody@127.0.0.1:1/postgres", 1);
    let proxy = Leasehold::run(&format!("{config}\n[listen]\nmax_clients = 1")).await;
    let _silent = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    let full = async || {
        let refused = proxy.endpoint("app").try_connect().await.unwrap_err();
        refused.code().is_some_and(|code| code.code() == "53300")
    };
    assert!(wait_until(PATIENCE, full).await, "{}", proxy.log_text());
    let console = proxy.endpoint("leasehold").connect().await;
    assert_eq!(console.query("SHOW VERSION", &[]).await.unwrap().len(), 1);
    // Its own limit is another one.
    let mut consoles = vec![console];
    let refused = loop {
        match proxy.endpoint("leasehold").try_connect().await {
            Ok(console) => consoles.push(console),
            Err(error) => break error,
        }
    };
    assert_eq!((consoles.len(), refused.code().unwrap().code()), (100, "53300"));
    consoles.pop();
    let again = async || proxy.endpoint("leasehold").try_connect().await.is_ok();
    assert!(wait_until(PATIENCE, again).await, "{}", proxy.log_text());
}

/// Sends bytes behind a startup packet in one write, and returns all that comes until the end.
fn exchange(port: u16, minor: u16, behind: &[u8]) -> Vec<u8> {
    let body = b"user\0me\0database\0leasehold\0\0";
    let mut bytes = u32::try_from(8 + body.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend([0, 3]);
    bytes.extend(minor.to_be_bytes());
    bytes.extend(body);
    bytes.extend(behind);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn contains(answer: &[u8], text: &str) -> bool {
    answer.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_told_and_let_go() {
    // Without any PostgreSQL: the console needs none.
    let (_admin, config) = config("postgresql://nobody@127.0.0.1:1/postgres", 1);
    let mut proxy = Leasehold::run(&config).await;
    let port = proxy.port();
    let cases: &[(&[u8], &str)] = &[
        (b"Q\x7f\xff\xff\xff", "08P01"),
        (b"Q\0\0\0\0", "08P01"),
        (b"Q\0\x01\0\0", "08P01"),
        (b"P\0\0\0\x06ab", "08P01"),
        (b"B\0\0\0\x0a\0\0\xff\xff\xff\xff", "08P01"),
        (b"F\0\0\0\x04", "08P01"),
        // Two result formats for seventeen columns, then a statement that is not there, then goodbye.
        (
            b"P\0\0\0\x18\0SHOW GENERATIONS\0\0\0B\0\0\0\x10\0\0\0\0\0\0\0\x02\0\x01\0\x01D\0\0\0\x06P\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04X\0\0\0\x04",
            "bind message has 2 result formats but query has 17 columns",
        ),
        (b"E\0\0\0\x0ax\0\0\0\0\0S\0\0\0\x04X\0\0\0\x04", "26000"),
    ];
    for (behind, expected) in cases {
        let answer = exchange(port, 0, behind);
        assert!(contains(&answer, expected), "{behind:?}: {}", String::from_utf8_lossy(&answer));
    }
    // What comes with the startup packet is answered, and a newer protocol is negotiated down.
    let answer = exchange(port, 99, b"Q\0\0\0\x11SHOW VERSION\0X\0\0\0\x04");
    assert_eq!(answer[0], b'v');
    assert!(contains(&answer, "Leasehold ") && contains(&answer, "SHOW 1"));
    assert!(proxy.running());
    assert!(!proxy.log_text().contains("panicked"), "{}", proxy.log_text());

    // There is no user and none will come; the console says why.
    let console = proxy.endpoint("leasehold").connect().await;
    assert_eq!(active(&console, "app").await, None);
    let why = async || {
        let rows = console.query("SHOW POOLS", &[]).await.unwrap();
        rows.iter().all(|row| row.get::<_, Option<&str>>("last_error").is_some())
    };
    assert!(wait_until(PATIENCE, why).await, "{}", proxy.log_text());
    assert_eq!(proxy.terminate().await, 0);
    assert!(wait_until(PATIENCE, async || console.is_closed()).await);
}
