//! Corners of the protocol: what is rarely said, in an order that is rarely chosen, or in amounts that
//! fill every buffer on the way.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::scripts::{Script, run, script};
use crate::or_skip;
use crate::support::{short_or_long, wait_until};
use crate::wire_client::message::{
    bind, close_portal, copy_data, copy_done, copy_fail, describe_portal, describe_statement, execute, flush,
    function_call, kinds, parse, query, startup, sync, terminate,
};
use crate::wire_client::stand::{ANYONE, DIRECT};
use crate::wire_client::{Message, Place, Plan, Stand, WireClient};

/// Only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the proxy may grow by while anything passes through.
const ROOM_KIB: u64 = 16 * 1024;
const MODES: [&str; 2] = ["transaction", "session"];

/// Played with the others, to the server and through the proxy.
pub fn scripts() -> Vec<Script> {
    let mut all = order();
    all.extend(failing_copies());
    all
}

fn order() -> Vec<Script> {
    let numbers = "SELECT n FROM t ORDER BY n";
    vec![
        script(
            "function calls in a transaction",
            "CZVZTDCZVZEZEZCZVZ",
            &[
                [query("BEGIN"), function_call(1251, &["-7"]), query("SELECT 1")].concat(),
                [function_call(1251, &["1"]), function_call(1, &[]), function_call(1251, &["2"])].concat(),
                [query("ROLLBACK"), function_call(1251, &["3"])].concat(),
            ],
        ),
        script(
            "several portals at once over several Syncs",
            "CZ12122DDsDDDsZDsDDDD",
            &[
                [query("BEGIN"), parse("", numbers), bind("a", "", &[]), parse("s", numbers)].concat(),
                [bind("b", "s", &[]), bind("", "s", &[]), execute("a", 2), execute("b", 3), sync()].concat(),
                [execute("b", 1), flush(), execute("a", 4), close_portal("b"), flush()].concat(),
                [describe_portal("a"), execute("a", 0), execute("a", 1), sync()].concat(),
                [execute("b", 1), sync(), query("ROLLBACK")].concat(),
            ],
        ),
        script(
            "a suspended portal with Flush and no Sync, and a query behind it",
            "12DDsDDsTDCZ",
            &[
                [parse("", numbers), bind("", "", &[]), execute("", 2), flush()].concat(),
                [execute("", 2), flush(), query("SELECT 1")].concat(),
            ],
        ),
        script(
            "Flush in every place",
            "TDCZ1tn2nCZ1EZCZ",
            &[
                [flush(), flush(), query("SELECT 1"), flush(), parse("", "BEGIN"), flush()].concat(),
                [describe_statement(""), flush(), bind("", "", &[]), flush(), describe_portal("")].concat(),
                [flush(), execute("", 0), flush(), flush(), sync(), flush(), parse("", "SELECT 1")].concat(),
                [flush(), execute("nosuch", 0), flush(), run("SELECT 2"), flush(), sync(), flush()].concat(),
                [query("ROLLBACK"), flush()].concat(),
            ],
        ),
        script(
            "empty statements, flushed and run twice",
            "12nIIZIZ12IZ",
            &[
                [parse("", " "), bind("", "", &[]), describe_portal(""), execute("", 0), flush()].concat(),
                [execute("", 1), flush(), sync(), query(" ; "), run(""), sync()].concat(),
            ],
        ),
    ]
}

fn failing_copies() -> Vec<Script> {
    let copy = "COPY t FROM STDIN";
    let twice =
        || [copy_data(b"100\tone\n"), copy_data(b"1\tthere already\n"), copy_data(b"101\ttwo\n")].concat();
    let more = || copy_data(b"102\tmore\n").repeat(2000);
    let count = || query("SELECT count(*) FROM t");
    let fails = "COPY (SELECT 10 / (n - 3) FROM t ORDER BY n) TO STDOUT";
    vec![
        script(
            "a copy that the table refuses, and data on and on",
            "GEZTDCZ",
            &[query(copy), twice(), more(), copy_done(), count()],
        ),
        script(
            "a copy that is refused and then given up",
            "GEZTDCZ",
            &[query(copy), twice(), copy_fail("me too"), count()],
        ),
        script(
            "a copy by Execute that is refused and then given up",
            "12GEZTDCZ",
            &[run(copy), flush(), twice(), more(), copy_fail("me too"), sync(), count()],
        ),
        script(
            "a copy that is refused in a transaction",
            "CZGEZEZCZTDCZ",
            &[query("BEGIN"), query(copy), twice(), more(), copy_done(), count(), query("COMMIT"), count()],
        ),
        script(
            "a copy that is given up in a transaction",
            "CZGEZEZCZTDCZ",
            &[
                query("BEGIN"),
                query(copy),
                copy_data(b"100\to"),
                copy_fail("no"),
                count(),
                query("COMMIT"),
                count(),
            ],
        ),
        script(
            "copy out by Execute that fails half way",
            "12HddEZTDCZ",
            &[run(fails), run("SELECT 1"), sync(), count()],
        ),
        script(
            "copy out that fails half way in a transaction, with copy data of nobody",
            "CZHddEZEZCZTDCZ",
            &[query("BEGIN"), query(fails), more(), copy_done(), count(), query("ROLLBACK"), count()],
        ),
    ]
}

async fn meet(place: &Place, minor: u16) -> WireClient {
    let mut client = WireClient::open(place).await.unwrap();
    client.startup(minor, &ANYONE).await.unwrap();
    client
}

/// Those of 3.2 are longer than the four bytes that the server itself may have given.
#[tokio::test]
async fn cancel_keys_of_every_protocol_cancel_what_they_are_of() {
    for mode in MODES {
        let stand = or_skip!(Stand::start_with(Plan { mode, ..Plan::default() }).await);
        let asleep = async || stand.sessions("state = 'active' AND query LIKE '%pg_sleep%'").await == 1;
        for (minor, least) in [(0, 4), (2, 32), (9, 32)] {
            let mut client = meet(&stand.place(), minor).await;
            assert_eq!(client.negotiated.is_some(), minor == 9);
            assert!(client.secret.len() >= least, "3.{minor}: {}", client.secret.len());
            client.send(&query("SELECT pg_sleep(120)")).await;
            assert!(wait_until(PATIENCE, asleep).await);
            let mut wrong = client.secret.clone();
            *wrong.last_mut().unwrap() ^= 1;
            for secret in [&wrong[..], &client.secret[..client.secret.len() - 1], &client.secret.repeat(2)] {
                crate::wire_client::client::send_cancel(&stand.place(), client.pid, secret).await;
            }
            assert!(asleep().await, "{mode}: a wrong key of 3.{minor} has cancelled it");
            client.cancel().await;
            let answers = client.until_ready().await;
            assert_eq!(codes(&answers), ["57014"], "{mode}, 3.{minor}");
            assert_eq!(client.value("SELECT 1").await, "1");
        }
    }
}

fn codes(answers: &[Message]) -> Vec<String> {
    answers.iter().filter(|message| message.kind == b'E').map(|error| error.field(b'C')).collect()
}

#[tokio::test]
async fn what_the_server_says_unasked_comes_through_at_once() {
    for mode in MODES {
        let stand = or_skip!(Stand::start_with(Plan { mode, ..Plan::default() }).await);
        let mut client = stand.client().await;
        let mut other = stand.client().await;
        client.query("LISTEN news").await;
        for nth in 0..3 {
            // While it is idle and has its upstream, and while it is in a transaction's middle.
            other.query(&format!("NOTIFY news, '{nth}'")).await;
            let heard = client.next().await.unwrap();
            assert_eq!((heard.kind, heard.body.ends_with(format!("news\0{nth}\0").as_bytes())), (b'A', true));
            assert_eq!(client.value("SELECT 1").await, "1");
        }
        // Another setting of the server's: with the answer to what comes next.
        client.query("UNLISTEN *").await;
        stand.ask("ALTER SYSTEM SET TimeZone = 'Asia/Tokyo'").await;
        stand.ask("SELECT pg_reload_conf()").await;
        let mut zones = Vec::new();
        let told = async || {
            let answers = client.query("DO $$ BEGIN RAISE NOTICE 'on the way'; END $$").await;
            assert_eq!(kinds(&answers).replace('S', ""), "NCZ", "{answers:?}");
            let parameters = answers.iter().filter(|message| message.kind == b'S').map(Message::parameter);
            zones.extend(parameters);
            zones.iter().any(|(name, value)| name == "TimeZone" && value == "Asia/Tokyo")
        };
        assert!(wait_until(PATIENCE, told).await, "{mode}");
    }
}

/// Nothing is read before all is written; the server answers all the time.
#[tokio::test]
async fn long_pipelines_are_answered_to_a_client_that_reads_afterwards() {
    let batches = short_or_long(5_000, 25_000);
    let one = [parse("", "SELECT 1"), bind("", "", &[]), execute("", 0)].concat();
    let with_sync = [one.clone(), sync()].concat().repeat(batches);
    let without = [one.repeat(batches), sync()].concat();
    let named =
        [parse("s", "SELECT 1"), [bind("", "s", &[]), execute("", 0)].concat().repeat(batches), sync()];
    for mode in MODES {
        let stand = or_skip!(Stand::start_with(Plan { mode, ..Plan::default() }).await);
        stand.client().await.value("SELECT length(repeat('x', 100000))").await;
        let before = stand.proxy.peak_rss_kib();
        for (bytes, answers) in [
            (&with_sync, "12DCZ".repeat(batches)),
            (&without, "12DC".repeat(batches) + "Z"),
            (&named.concat(), "1".to_owned() + &"2DC".repeat(batches) + "Z"),
            (&query("SELECT 1").repeat(batches), "TDCZ".repeat(batches)),
        ] {
            let mut client = stand.client().await;
            client.send(bytes).await;
            client.send(&terminate()).await;
            let heard = kinds(&client.until_end().await);
            let at = heard.bytes().zip(answers.bytes()).take_while(|(a, b)| a == b).count();
            assert_eq!((at, heard.len()), (answers.len(), answers.len()), "{mode}");
        }
        let grown = stand.proxy.peak_rss_kib() - before;
        assert!(grown < ROOM_KIB, "{mode}: the proxy grew by {grown} KiB");
    }
}

/// Every buffer is full in both directions before anything is read.
#[tokio::test]
async fn a_large_result_and_a_large_query_meet_and_neither_piles_up() {
    let rows = short_or_long(40_000, 400_000);
    let copy = format!("COPY (SELECT repeat('x', 999) FROM generate_series(1, {rows})) TO STDOUT");
    let large = format!("SELECT length('{}')", "y".repeat(short_or_long(20_000_000, 200_000_000)));
    for mode in MODES {
        let stand = or_skip!(Stand::start_with(Plan { mode, ..Plan::default() }).await);
        let mut first = stand.client().await;
        first.value("SELECT length(repeat('x', 100000))").await;
        first.leave().await;
        let before = stand.proxy.peak_rss_kib();
        let (reading, mut writing) = tokio::io::split(stand.client().await.into_stream());
        let bytes = [query(&copy), query(&large), terminate()].concat();
        let writer = tokio::spawn(async move { writing.write_all(&bytes).await.map(|()| writing) });
        let stuck = async || stand.sessions("wait_event = 'ClientWrite'").await == 1;
        assert!(wait_until(PATIENCE, stuck).await, "{mode}");
        assert!(!writer.is_finished());
        let heard = kinds(&WireClient::reading(reading).until_end().await);
        assert_eq!(heard.replace('d', ""), "HcCZTDCZ", "{mode}");
        assert_eq!(heard.len(), rows + 8, "{mode}");
        writer.await.unwrap().unwrap();
        let grown = stand.proxy.peak_rss_kib() - before;
        assert!(grown < ROOM_KIB, "{mode}: the proxy grew by {grown} KiB");
    }
}

#[tokio::test]
async fn who_says_everything_at_once_and_closes_its_half_hears_every_answer() {
    let requests: [(&str, Vec<u8>, &str); 4] = [
        ("query", query("SELECT 1"), "TDCZ"),
        ("slow", query("SELECT pg_sleep(0.3)"), "TDCZ"),
        ("batches", [run("SELECT 1"), sync(), run("SELECT 2"), sync()].concat(), "12DCZ12DCZ"),
        ("copy", [query("COPY kept FROM STDIN"), copy_data(b"1\n"), copy_done()].concat(), "GCZ"),
    ];
    for mode in MODES {
        let stand = or_skip!(Stand::start_with(Plan { mode, ..Plan::default() }).await);
        stand.ask("CREATE TABLE kept (n int); GRANT ALL ON kept TO app").await;
        for (name, request, expected) in &requests {
            for (place, who) in
                [(Place::loopback(stand.postgres.port()), &DIRECT[..]), (stand.place(), &ANYONE[..])]
            {
                // After its last message, in one write with the startup packet, and with Terminate.
                for (at_once, end) in [(false, &[][..]), (true, &[]), (true, &terminate())] {
                    let mut client = WireClient::open(&place).await.unwrap();
                    let packet = startup(0, who);
                    if at_once {
                        client.send(&[&packet, &request[..], end].concat()).await;
                    } else {
                        client.startup(0, who).await.unwrap();
                        client.send(request).await;
                    }
                    if end.is_empty() {
                        client.half_close().await;
                    }
                    let heard = kinds(&client.until_end().await);
                    let heard = if at_once { heard.split_once('Z').unwrap().1 } else { &heard };
                    assert_eq!(heard, *expected, "{mode}: {name}, {at_once}, {end:?} at {place:?}");
                }
            }
        }
        // Each of the six, of which three came through.
        assert_eq!(stand.ask("SELECT count(*) FROM kept").await, "6");
    }
}
