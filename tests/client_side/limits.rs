//! Bounds that are kept, and clients that are none.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::or_skip;
use crate::support::{Leasehold, wait_until};
use crate::wire_client::message::{self, message, query, startup};
use crate::wire_client::stand::ANYONE;
use crate::wire_client::{Plan, Stand, WireClient};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn each_limit_is_kept_and_named() {
    let plan = Plan {
        pool_size: 1,
        listen: "max_clients = 3\nstartup_timeout = '1s'".to_owned(),
        database: "checkout_timeout = '1s'".to_owned(),
        ..Plan::default()
    };
    let stand = or_skip!(Stand::start_with(plan).await);
    let mut first = stand.client().await;
    let mut second = stand.client().await;
    let third = stand.client().await;
    let refused = WireClient::try_connect(&stand.place(), &ANYONE).await.unwrap_err();
    assert_eq!((refused.severity.as_str(), refused.sqlstate.as_str()), ("FATAL", "53300"));
    assert!(refused.detail.contains("max_clients"), "{refused:?}");
    // Whoever leaves makes room, and a cancel is served though the house is full.
    first.send(&query("SELECT pg_sleep(60)")).await;
    assert!(wait_until(PATIENCE, async || stand.sessions("query LIKE '%pg_sleep%'").await == 1).await);
    first.cancel().await;
    assert_eq!(first.until_ready().await[1].field(b'C'), "57014");
    third.leave().await;
    let again = async || WireClient::try_connect(&stand.place(), &ANYONE).await.is_ok();
    assert!(wait_until(PATIENCE, again).await);

    // No upstream for longer than checkout_timeout.
    first.query("BEGIN").await;
    let waited = std::time::Instant::now();
    let refused = second.try_value("SELECT 1").await.unwrap_err();
    assert_eq!((refused.severity.as_str(), refused.sqlstate.as_str()), ("FATAL", "53300"));
    assert!(refused.text.contains("no server connection became free"), "{refused:?}");
    assert!(refused.hint.contains("pool_size") && refused.hint.contains("checkout_timeout"), "{refused:?}");
    assert!(waited.elapsed() >= Duration::from_secs(1), "{:?}", waited.elapsed());
    assert_eq!(second.next().await, None);
    first.query("COMMIT").await;
    assert_eq!(first.value("SELECT 1").await, "1");

    // Who says nothing for startup_timeout is sent away; an open session is not.
    let mut silent = WireClient::open(&stand.place()).await.unwrap();
    silent.send(&[0, 0]).await;
    let said = silent.until_end().await;
    assert_eq!(message::kinds(&said), "E");
    assert!(said[0].field(b'H').contains("startup_timeout"), "{said:?}");
    assert_eq!(first.value("SELECT 1").await, "1");
}

#[tokio::test]
async fn a_listener_off_loopback_is_refused_at_start_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("leasehold.toml");
    let config = "[listen]\ntcp = '0.0.0.0:6432'\n[databases.app]\nhost = '127.0.0.1'\nsslmode = 'disable'\n\
                  [databases.app.credentials]\nsource = 'local'\nadmin_url_file = '/dev/null'\n\
                  creation_statements = [\"CREATE ROLE \\\"{{name}}\\\" LOGIN PASSWORD '{{password}}'\"]\n";
    std::fs::write(&file, config).unwrap();
    let ended = Leasehold::command_line(&["run", "--config", file.to_str().unwrap()]).await;
    assert!(ended.code() > 0, "{ended:?}");
    for word in ["0.0.0.0:6432", "other hosts can reach", "without a password", "127.0.0.1"] {
        assert!(ended.stderr.contains(word), "{word}: {ended:?}");
    }
}

/// First packets that are none, with the SQLSTATE of what is said to them before the end.
fn garbage() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let mut random: Vec<u8> = Vec::new();
    let mut seed = 0x2545_f491_u32;
    for _ in 0..4096 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random.push((seed >> 24) as u8);
    }
    let mut cut = startup(0, &ANYONE);
    cut.truncate(20);
    let mut unterminated = startup(0, &ANYONE);
    *unterminated.last_mut().unwrap() = b'x';
    vec![
        ("random bytes", random, Some("08P01")),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Some("08P01")),
        ("TLS", [&[0x16, 3, 1, 2, 0][..], &[1; 512]].concat(), Some("08P01")),
        ("a huge length", vec![0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0], Some("08P01")),
        ("a length of zero", vec![0, 0, 0, 0, 0, 3, 0, 0], Some("08P01")),
        ("no terminator", unterminated, Some("08P01")),
        ("a truncated startup", cut, None),
        ("nothing", Vec::new(), None),
    ]
}

#[tokio::test]
async fn garbage_on_the_port_hurts_nobody_else() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 1, ..Plan::default() }).await);
    let mut other = stand.client().await;
    other.query("BEGIN").await;
    let files = stand.proxy.open_files();
    for (what, bytes, sqlstate) in garbage() {
        for _ in 0..5 {
            let mut stream = TcpStream::connect(("127.0.0.1", stand.proxy.port())).await.unwrap();
            // It may be sent away before it has said everything.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let mut client = WireClient::reading(stream);
            let said = client.until_end().await;
            // Bytes that nobody reads make TCP throw the last word away: then nothing came.
            if let Some(error) = said.first() {
                assert_eq!(Some(error.field(b'C').as_str()), sqlstate, "{what}: {said:?}");
                assert_eq!((said.len(), error.field(b'S')), (1, "FATAL".to_owned()), "{what}");
            } else if bytes.len() < 100 {
                assert_eq!(sqlstate, None, "{what}: no word");
            }
        }
        assert_eq!(other.value("SELECT 'well'").await, "well", "{what}");
    }
    other.query("COMMIT").await;
    assert!(wait_until(PATIENCE, async || stand.proxy.open_files() <= files).await, "sockets are kept");
    assert!(stand.proxy.logged("panicked").is_empty() && !stand.proxy.log_text().contains("panicked"));
}

#[tokio::test]
async fn a_message_of_an_impossible_length_ends_that_session_with_08p01() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 1, ..Plan::default() }).await);
    let mut other = stand.client().await;
    for length in [0_u32, 3, 0x8000_0000, u32::MAX] {
        for within in ["", "BEGIN; CREATE TABLE should_not_stay (n int)"] {
            let mut client = stand.client().await;
            client.query(within).await;
            client.send(&[&[b'Q'][..], &length.to_be_bytes()].concat()).await;
            let said = client.until_end().await;
            assert_eq!(message::kinds(&said), "E", "{length}: {said:?}");
            assert_eq!((said[0].field(b'S'), said[0].field(b'C')), ("FATAL".to_owned(), "08P01".to_owned()));
            assert_eq!(other.value("SELECT to_regclass('should_not_stay')").await, "");
        }
    }
    // Nor does what no server would take from a client, though its length is possible.
    let long = [b'x'; 20_000];
    for (kind, body) in [(b'?', &b"what"[..]), (b'p', b"secret\0"), (b'H', b"x"), (b'S', b"x"), (b'D', &long)]
    {
        let mut client = stand.client().await;
        client.send(&message(kind, body)).await;
        let said = client.until_end().await;
        assert_eq!(message::kinds(&said), "E", "{}: {said:?}", char::from(kind));
        assert_eq!((said[0].field(b'S'), said[0].field(b'C')), ("FATAL".to_owned(), "08P01".to_owned()));
        assert_eq!(other.value("SELECT 'unharmed'").await, "unharmed");
    }
    assert_eq!(other.value("SELECT 1").await, "1");
}
