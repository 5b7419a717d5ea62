//! The server ends a connection that a client of transaction mode holds: one error for each request, and the
//! client goes on with another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::or_skip;
use crate::support::{PostgresOptions, short_or_long, wait_until};
use crate::wire_client::WireClient;
use crate::wire_client::message::{
    Message, bind, copy_data, copy_done, execute, flush, kinds, parse, query, sync,
};
use crate::wire_client::stand::{Plan, Stand};

const PATIENCE: Duration = Duration::from_secs(60);

/// How the server ends a connection, by the process id.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kill {
    /// It says so: 57P01.
    Administrator,
    /// It says nothing to this one; all are restarted.
    Crash,
}

impl Kill {
    const EACH: [Self; 2] = [Self::Administrator, Self::Crash];

    async fn strike(self, stand: &Stand, pid: &str) {
        match self {
            Self::Administrator => {
                stand.ask(&format!("SELECT pg_terminate_backend({pid})")).await;
            }
            Self::Crash => {
                let ready = || stand.postgres.log().matches("ready to accept connections").count();
                let before = ready();
                let status = std::process::Command::new("kill").args(["-9", pid]).status().unwrap();
                assert!(status.success());
                // Until then others are ended too.
                assert!(wait_until(PATIENCE, async || ready() > before).await, "{}", stand.postgres.log());
            }
        }
    }

    fn sqlstate(self) -> &'static str {
        match self {
            Self::Administrator => "57P01",
            Self::Crash => "08006",
        }
    }
}

/// The process id of the backend that runs a statement with this in its text.
async fn runs(stand: &Stand, text: &str) -> String {
    let sql = format!(
        "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE usename LIKE 'lh-%' AND query LIKE '%{text}%' \
         AND (state = 'active' OR wait_event = 'ClientRead')"
    );
    let mut pid = String::new();
    let found = wait_until(PATIENCE, async || {
        pid = stand.ask(&sql).await;
        pid != "0"
    });
    assert!(found.await, "nobody runs {text}");
    pid
}

/// What is heard up to the last ReadyForQuery of `ready`, WARNINGs aside.
async fn hear(client: &mut WireClient, ready: usize) -> Vec<Message> {
    let mut heard = Vec::new();
    for _ in 0..ready {
        heard.extend(client.until_ready().await);
    }
    // Ahead of the end by a crash there may be a word about it.
    heard.retain(|message| message.kind != b'N');
    heard
}

/// What a client sends, whose upstream is ended when it runs that; then what else it sends, what it hears up to
/// the end of all requests, and whether it is in a transaction then.
struct Case {
    name: &'static str,
    before: &'static [&'static str],
    sent: Vec<u8>,
    /// Of the answer to that, up to a message of this type.
    up_to: u8,
    then: Vec<u8>,
    requests: usize,
    heard: &'static str,
    in_transaction: bool,
}

fn sleep(prefix: &[u8], suffix: &[u8]) -> Vec<u8> {
    let asleep = [parse("", "SELECT pg_sleep(90)"), bind("", "", &[]), execute("", 0)].concat();
    [prefix, &asleep, suffix].concat()
}

fn cases() -> Vec<Case> {
    let case = Case {
        name: "",
        before: &[],
        sent: Vec::new(),
        up_to: 0,
        then: Vec::new(),
        requests: 1,
        heard: "EZ",
        in_transaction: false,
    };
    let copy = "COPY copied FROM STDIN /* pg_sleep */";
    vec![
        Case { name: "a statement", sent: query("SELECT pg_sleep(90)"), ..copy_of(&case) },
        Case {
            name: "a statement in a transaction",
            before: &["BEGIN", "SET TimeZone = 'Asia/Tokyo'"],
            sent: query("SELECT pg_sleep(90)"),
            // What the server reported of the setting is taken back.
            heard: "SEZ",
            in_transaction: true,
            ..copy_of(&case)
        },
        Case {
            name: "several requests at once",
            sent: [query("SELECT pg_sleep(90)"), query("SELECT 2"), query("SELECT 3")].concat(),
            requests: 3,
            heard: "EZEZEZ",
            ..copy_of(&case)
        },
        Case { name: "a batch", sent: sleep(&[], &sync()), heard: "12EZ", ..copy_of(&case) },
        Case {
            name: "batches, one of which is open",
            sent: sleep(&[], &[sync(), parse("", "SELECT 2"), bind("", "", &[])].concat()),
            then: [execute("", 0), sync()].concat(),
            requests: 2,
            heard: "12EZEZ",
            ..copy_of(&case)
        },
        Case {
            name: "an open batch in a transaction",
            before: &["BEGIN"],
            sent: sleep(&[], &flush()),
            then: [bind("", "", &[]), execute("", 0), sync()].concat(),
            heard: "12EZ",
            in_transaction: true,
            ..copy_of(&case)
        },
        Case {
            name: "a COPY",
            sent: query(copy),
            up_to: b'G',
            then: [copy_data(b"1\n"), copy_data(b"2\n"), copy_done()].concat(),
            ..copy_of(&case)
        },
        Case {
            name: "a COPY in a batch and in a transaction",
            before: &["BEGIN"],
            sent: [parse("", copy), bind("", "", &[]), execute("", 0), sync()].concat(),
            up_to: b'G',
            then: [copy_data(b"1\n"), copy_done(), sync()].concat(),
            in_transaction: true,
            ..copy_of(&case)
        },
    ]
}

fn copy_of(case: &Case) -> Case {
    Case { sent: case.sent.clone(), then: case.then.clone(), ..*case }
}

#[tokio::test]
async fn each_request_gets_one_error_and_the_session_goes_on() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 2, ..Plan::default() }).await);
    stand.postgres.execute("postgres", "CREATE TABLE copied (n int); GRANT ALL ON copied TO app").await;
    for kill in Kill::EACH {
        for case in cases() {
            let name = format!("{} {kill:?}", case.name);
            let mut client = stand.client().await;
            client.query("SET TimeZone = 'Africa/Cairo'").await;
            client.send(&[parse("kept", "SELECT 'kept'"), sync()].concat()).await;
            assert_eq!(kinds(&client.until_ready().await), "1Z", "{name}");
            for sql in case.before {
                let heard = kinds(&client.query(sql).await);
                assert!(["CZ", "CSZ"].contains(&heard.as_str()), "{name}: {heard}");
            }
            client.send(&case.sent).await;
            client.hear(0, case.up_to).await;
            let pid = runs(&stand, "pg_sleep").await;
            kill.strike(&stand, &pid).await;
            client.send(&case.then).await;
            let heard = hear(&mut client, case.requests).await;
            // Whether what came before the error is sent at all is the server's to say.
            let told: String = kinds(&heard).chars().filter(|kind| !"12T".contains(*kind)).collect();
            let expected: String = case.heard.chars().filter(|kind| !"12T".contains(*kind)).collect();
            assert_eq!(told, expected, "{name}: {heard:?}");
            for error in heard.iter().filter(|message| message.kind == b'E') {
                let said = (error.field(b'S'), error.field(b'C'));
                assert_eq!(said, ("ERROR".to_owned(), kill.sqlstate().to_owned()), "{name}");
            }
            for report in heard.iter().filter(|message| message.kind == b'S') {
                assert_eq!(report.parameter(), ("TimeZone".to_owned(), "Africa/Cairo".to_owned()), "{name}");
            }
            let status = heard.last().unwrap().body.clone();
            assert_eq!(status, if case.in_transaction { b"E" } else { b"I" }, "{name}");
            goes_on(&mut client, case.in_transaction, &name).await;
            client.leave().await;
        }
    }
    assert!(!stand.proxy.log_text().contains("panicked"), "{}", stand.proxy.log_text());
}

/// A transaction that was open has failed until it is ended; settings and statements from before are there.
async fn goes_on(client: &mut WireClient, in_transaction: bool, name: &str) {
    if in_transaction {
        for batch in [query("SELECT 1"), [parse("", "SELECT 1"), bind("", "", &[]), sync()].concat()] {
            client.send(&batch).await;
            let heard = client.until_ready().await;
            assert_eq!((kinds(&heard).as_str(), heard[0].field(b'C').as_str()), ("EZ", "25P02"), "{name}");
            assert_eq!(heard[1].body, b"E", "{name}");
        }
        let heard = client.query("COMMIT").await;
        assert_eq!((kinds(&heard).as_str(), &heard[0].body[..]), ("CZ", &b"ROLLBACK\0"[..]), "{name}");
        assert_eq!(heard[1].body, b"I", "{name}");
    }
    assert_eq!(client.value("SHOW TimeZone").await, "Africa/Cairo", "{name}");
    client.send(&[bind("", "kept", &[]), execute("", 0), sync()].concat()).await;
    let heard = client.until_ready().await;
    assert_eq!((kinds(&heard).as_str(), heard[1].row()), ("2DCZ", vec![Some("kept".to_owned())]), "{name}");
    assert_eq!(client.value("SELECT count(*) FROM copied").await, "0", "{name}");
}

#[tokio::test]
async fn who_is_idle_in_a_transaction_hears_of_it_with_the_next_request() {
    let options = PostgresOptions {
        conf: vec!["idle_in_transaction_session_timeout = '1s'".to_owned()],
        ..PostgresOptions::default()
    };
    let stand = or_skip!(Stand::start_with(Plan { postgres: options, ..Plan::default() }).await);
    for batch in
        [query("SELECT 1"), [parse("", "SELECT 1"), bind("", "", &[]), execute("", 0), sync()].concat()]
    {
        let mut client = stand.client().await;
        client.query("SET TimeZone = 'Africa/Cairo'").await;
        client.query("BEGIN").await;
        let pid = client.value("SELECT pg_backend_pid()").await;
        let gone = async || {
            stand.ask(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")).await == "0"
        };
        assert!(wait_until(PATIENCE, gone).await);
        client.send(&batch).await;
        let heard = client.until_ready().await;
        let said = (heard[0].field(b'S'), heard[0].field(b'C'));
        assert_eq!((kinds(&heard).as_str(), said), ("EZ", ("ERROR".to_owned(), "25P03".to_owned())));
        assert_eq!(heard[1].body, b"E");
        assert_eq!(client.try_value("SELECT 1").await.unwrap_err().sqlstate, "25P02");
        client.query("ROLLBACK").await;
        assert_eq!(client.value("SHOW TimeZone").await, "Africa/Cairo");
        client.leave().await;
    }
}

#[tokio::test]
async fn who_has_something_in_its_upstream_ends_with_it() {
    let stand = or_skip!(Stand::start().await);
    for sql in [
        "SELECT pg_advisory_lock(7)",
        "CREATE TEMP TABLE mine (n int)",
        "LISTEN news",
        "PREPARE mine AS SELECT 1",
    ] {
        for transaction in ["", "BEGIN"] {
            let mut client = stand.client().await;
            client.query(sql).await;
            client.query(transaction).await;
            let pid = client.value("SELECT pg_backend_pid()").await;
            Kill::Administrator.strike(&stand, &pid).await;
            let heard = client.until_end().await;
            assert_eq!(kinds(&heard), "E", "{sql} {transaction}");
            let said = (heard[0].field(b'S'), heard[0].field(b'C'));
            assert_eq!(said, ("FATAL".to_owned(), "57P01".to_owned()), "{sql} {transaction}");
        }
    }
    // A lock that was taken in a transaction does not go with it, and so the client must hear that it is gone.
    let mut client = stand.client().await;
    client.query("BEGIN; SELECT pg_advisory_lock(7)").await;
    let pid = client.value("SELECT pg_backend_pid()").await;
    Kill::Administrator.strike(&stand, &pid).await;
    assert_eq!(kinds(&client.until_end().await), "E");
}

#[tokio::test]
async fn a_driver_goes_on_while_users_change() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 3, threads: 2, ..Plan::default() }).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(stand.endpoint().connect().await);
    }
    for round in 0..4 {
        for client in &mut clients {
            let transaction = client.transaction().await.unwrap();
            let pid: i32 = transaction.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
            if round % 2 == 0 {
                console.simple_query("ROTATE app").await.unwrap();
            }
            Kill::Administrator.strike(&stand, &pid.to_string()).await;
            let error = transaction.query_one("SELECT 1", &[]).await.unwrap_err();
            assert_eq!(error.code().map(|code| code.code()), Some("57P01"), "{error:?}");
            transaction.rollback().await.unwrap();
            let answer: i32 = client.query_one("SELECT $1::int + 1", &[&round]).await.unwrap().get(0);
            assert_eq!(answer, round + 1);
        }
    }
}

/// Transfers between accounts, by prepared statements, in transactions and out of them, while somebody ends
/// server connections all the time: each transfer is there whole or not at all, and no session ends.
#[tokio::test]
async fn whatever_is_ended_transfers_are_whole_and_sessions_go_on() {
    const CLIENTS: i32 = 8;
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 4, threads: 2, ..Plan::default() }).await);
    let table = "CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL, touched int NOT NULL DEFAULT 0); \
                 INSERT INTO accounts SELECT n, 100 FROM generate_series(0, 15) n; GRANT ALL ON accounts TO app";
    stand.postgres.execute("postgres", table).await;
    // At least so long, and until enough has happened, however slow the machine is.
    let until = Instant::now() + Duration::from_secs(short_or_long(4, 60));
    let counts: Arc<[AtomicU32; 2]> = Arc::default();
    let enough = move |counts: &[AtomicU32; 2]| {
        let [good, lost] = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Instant::now() >= until && good > 100 && lost > 5
    };
    let mut work = Vec::new();
    for number in 0..CLIENTS {
        let mut client = stand.endpoint().connect().await;
        let counts = counts.clone();
        work.push(tokio::spawn(async move {
            let mut nth = number;
            while !enough(&counts) {
                nth += 1;
                match transfer(&mut client, (nth * 7) % 16, (nth * 5 + number) % 16).await {
                    Ok(()) => drop(counts[0].fetch_add(1, Ordering::Relaxed)),
                    Err(error) => {
                        let code = error.code().map(|code| code.code().to_owned());
                        // A deadlock of two transfers is the test's own.
                        let expected = ["57P01", "08006", "25P02", "40P01"];
                        assert!(code.as_deref().is_some_and(|code| expected.contains(&code)), "{error:?}");
                        counts[1].fetch_add(u32::from(code.as_deref() == Some("57P01")), Ordering::Relaxed);
                    }
                }
            }
        }));
    }
    let (mut ended, last) = (0_u32, Instant::now() + 2 * PATIENCE);
    while !enough(&counts) {
        assert!(Instant::now() < last, "{counts:?}, {ended} ended");
        // Any that is not our own: an idle one, one in a transaction, or one at work.
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity \
                   WHERE usename LIKE 'lh-%' AND query ~ 'accounts|BEGIN|COMMIT|ROLLBACK' ORDER BY random() LIMIT 1) one";
        ended += stand.ask(sql).await.parse::<u32>().unwrap();
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    for work in work {
        work.await.unwrap();
    }
    assert!(ended > 2, "{counts:?}, {ended} ended");
    assert_eq!(stand.ask("SELECT sum(balance) FROM accounts").await, "1600");
}

async fn transfer(
    client: &mut tokio_postgres::Client,
    from: i32,
    to: i32,
) -> Result<(), tokio_postgres::Error> {
    client.execute("UPDATE accounts SET touched = touched + 1 WHERE id = $1", &[&from]).await?;
    let transaction = client.transaction().await?;
    let take = "UPDATE accounts SET balance = balance - 1 WHERE id = $1";
    let taken = transaction.execute(take, &[&from]).await;
    let given = match taken {
        Ok(_) => transaction.execute("UPDATE accounts SET balance = balance + 1 WHERE id = $1", &[&to]).await,
        error => error,
    };
    match given {
        Ok(_) => transaction.commit().await,
        Err(error) => {
            transaction.rollback().await?;
            Err(error)
        }
    }
}
