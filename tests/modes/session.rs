//! Session mode: one upstream for a client's life, and nothing of it for the next.

use std::time::Duration;

use crate::or_skip;
use crate::support::wait_until;
use crate::wire_client::message::{bind, execute, parse, query, sync};
use crate::wire_client::{Plan, Stand, WireClient};

const PATIENCE: Duration = Duration::from_secs(60);

async fn start(pool_size: usize, more: &str) -> Result<Stand, crate::support::Missing> {
    let plan = Plan { mode: "session", pool_size, more: more.to_owned(), ..Plan::default() };
    Stand::start_with(plan).await
}

/// Everything that ties state to a connection.
const STATE: &[&str] = &[
    "SET work_mem = '7MB'",
    "SET my.own = 'secret'",
    "SET ROLE none",
    "CREATE TEMP TABLE mine AS SELECT 1 AS n",
    "PREPARE mine AS SELECT 1",
    "LISTEN mine",
    "SELECT pg_advisory_lock(4711)",
    "BEGIN; DECLARE mine CURSOR WITH HOLD FOR SELECT 1; COMMIT",
    "SELECT nextval('numbers')",
];

/// What tells whether any of it is there.
const TRACES: &[(&str, &str)] = &[
    ("SHOW work_mem", "4MB"),
    ("SELECT coalesce(current_setting('my.own', true), '')", ""),
    ("SELECT current_user", "app"),
    ("SELECT count(*) FROM pg_class WHERE relname = 'mine'", "0"),
    ("SELECT count(*) FROM pg_prepared_statements", "0"),
    ("SELECT count(*) FROM pg_listening_channels()", "0"),
    ("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()", "0"),
    ("SELECT count(*) FROM pg_cursors WHERE name = 'mine'", "0"),
];

#[tokio::test]
async fn a_session_keeps_its_upstream_and_the_next_one_finds_it_clean() {
    let stand = or_skip!(start(1, "").await);
    let mut pids = Vec::new();
    stand.ask("CREATE SEQUENCE numbers; GRANT ALL ON numbers TO PUBLIC").await;
    for round in 0..3 {
        let mut client = stand.client().await;
        let pid = client.value("SELECT pg_backend_pid()").await;
        assert_eq!(client.pid.to_string(), pid, "the key tells the server's own process id");
        for (sql, clean) in TRACES {
            assert_eq!(client.value(sql).await, *clean, "round {round}: {sql}");
        }
        let refused = client.try_value("SELECT currval('numbers')").await.unwrap_err();
        assert_eq!(refused.sqlstate, "55000", "{refused:?}");
        for sql in STATE {
            client.value(sql).await;
        }
        client.send(&[parse("named", "SELECT 'named'"), sync()].concat()).await;
        client.until_ready().await;
        // It is all there, whatever others do meanwhile.
        assert_eq!(client.value("SELECT n FROM mine").await, "1");
        assert_eq!(client.value("EXECUTE mine").await, "1");
        assert_eq!(client.value("FETCH ALL FROM mine").await, "1");
        assert_eq!(client.value("SHOW my.own").await, "secret");
        client.send(&[bind("", "named", &[]), execute("", 0), sync()].concat()).await;
        assert_eq!(client.until_ready().await[1].row(), [Some("named".to_owned())]);
        assert_eq!(client.value("SELECT pg_backend_pid()").await, pid);
        // RESET and DISCARD ALL lead back to the role of the pool, not to the user of the day.
        client.query("RESET ALL").await;
        client.query("RESET ROLE").await;
        assert_eq!(client.value("SELECT current_user").await, "app");
        client.query("SET work_mem = '9MB'").await;
        if round == 1 {
            drop(client);
        } else {
            client.leave().await;
        }
        pids.push(pid);
    }
    pids.dedup();
    assert_eq!(pids.len(), 1, "the upstream is used again: {pids:?}");
}

#[tokio::test]
async fn notifications_reach_an_idle_session() {
    let stand = or_skip!(start(2, "").await);
    let mut listener = stand.client().await;
    let mut speaker = stand.client().await;
    listener.query("LISTEN news").await;
    for n in 0..20 {
        speaker.query(&format!("NOTIFY news, 'number {n}'")).await;
        let heard = listener.next().await.unwrap();
        assert_eq!(heard.kind, b'A');
        assert!(heard.body.ends_with(format!("news\0number {n}\0").as_bytes()), "{heard:?}");
    }
    // A message of the server's at a quiet moment does not confuse what follows.
    assert_eq!(listener.value("SELECT 1").await, "1");
}

#[tokio::test]
async fn sessions_with_settings_of_their_own_share_a_small_pool_one_after_the_other() {
    let stand = or_skip!(start(2, "").await);
    for round in 0..12 {
        let zone = ["UTC", "Asia/Tokyo", "Europe/Paris"][round % 3];
        let mut client = stand.client_with(&[("TimeZone", zone)]).await;
        assert_eq!(client.value("SHOW TimeZone").await, zone);
        client.query("SET TimeZone = 'Africa/Cairo'").await;
        client.query("DISCARD ALL").await;
        assert_eq!(client.value("SHOW TimeZone").await, zone, "a startup setting is the session's default");
        client.query("SET TimeZone = 'Africa/Cairo'").await;
        client.leave().await;
    }
    assert!(stand.sessions("true").await <= 2);
}

#[tokio::test]
async fn a_session_that_ends_in_an_error_frees_its_place() {
    let stand = or_skip!(start(1, "").await);
    for sql in ["SELECT 1/0", "BEGIN; SELECT 1/0", "SELEKT", "COPY nosuch FROM STDIN"] {
        let mut client = stand.client().await;
        client.query(sql).await;
        drop(client);
        let mut next = stand.client().await;
        assert_eq!(next.value("SELECT 1").await, "1", "{sql}");
        next.leave().await;
    }
    // The server's own end of a session is passed on, and the place is free.
    let mut client = stand.client().await;
    stand.ask(&format!("SELECT pg_terminate_backend({})", client.pid)).await;
    let said = client.until_end().await;
    assert_eq!((said.len(), said[0].field(b'C')), (1, "57P01".to_owned()), "{said:?}");
    let mut next = stand.client().await;
    assert_ne!(next.value("SELECT pg_backend_pid()").await, client.pid.to_string());
}

#[tokio::test]
async fn a_session_on_an_upstream_that_was_used_before_is_cut_when_its_user_is_revoked() {
    let grace = "[rotation]\nrevoked_grace = '500ms'\nwatch_interval = '200ms'";
    let stand = or_skip!(start(1, grace).await);
    let mut first = stand.client().await;
    let pid = first.value("SELECT pg_backend_pid()").await;
    let user = first.value("SELECT session_user").await;
    first.leave().await;
    let free = async || stand.sessions("state = 'idle' AND query = 'DISCARD ALL'").await == 1;
    assert!(wait_until(PATIENCE, free).await);
    let mut second = stand.client().await;
    assert_eq!(second.value("SELECT pg_backend_pid()").await, pid);
    stand.ask(&format!("ALTER ROLE \"{user}\" NOLOGIN")).await;
    // It is idle: nothing but our own word can end it.
    let said = tokio::time::timeout(Duration::from_secs(60), second.until_end()).await;
    let said = said.expect("an idle session is told that its user is gone");
    assert_eq!((said.len(), said[0].field(b'C')), (1, "57P01".to_owned()), "{said:?}");
    assert!(said[0].field(b'D').contains("revoked"), "{said:?}");
    let mut third = stand.client().await;
    assert_ne!(third.value("SELECT session_user").await, user);
}

#[tokio::test]
async fn a_full_pool_makes_the_next_session_wait_until_one_leaves() {
    let stand = or_skip!(start(1, "").await);
    let first = stand.client().await;
    let (place, files) = (stand.place(), stand.proxy.open_files());
    let waiting = tokio::spawn(async move {
        let mut client = WireClient::connect(&place, &crate::wire_client::stand::ANYONE).await;
        client.send(&query("SELECT 'in'")).await;
        client.until_ready().await
    });
    let in_queue = async || stand.proxy.open_files() > files;
    assert!(wait_until(PATIENCE, in_queue).await);
    assert!(!waiting.is_finished());
    first.leave().await;
    assert_eq!(waiting.await.unwrap()[1].row(), [Some("in".to_owned())]);
}
