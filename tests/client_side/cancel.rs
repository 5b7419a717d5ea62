//! A CancelRequest reaches what its client runs at that moment, and nothing else.

use std::time::Duration;

use crate::or_skip;
use crate::support::program::Signal;
use crate::support::{Program, short_or_long, wait_until};
use crate::wire_client::client::send_cancel;
use crate::wire_client::message::query;
use crate::wire_client::{Message, Plan, Stand, WireClient};

const PATIENCE: Duration = Duration::from_secs(30);

async fn sleepers(stand: &Stand) -> usize {
    stand.sessions("state = 'active' AND query LIKE '%pg_sleep%'").await
}

fn sqlstates(answer: &[Message]) -> Vec<String> {
    answer.iter().filter(|message| message.kind == b'E').map(|error| error.field(b'C')).collect()
}

#[tokio::test]
async fn of_eight_sleepers_only_the_one_that_is_meant_wakes() {
    for mode in ["transaction", "session"] {
        let plan = Plan { mode, pool_size: 8, threads: 2, ..Plan::default() };
        let stand = or_skip!(Stand::start_with(plan).await);
        let mut clients: Vec<WireClient> = Vec::new();
        for _ in 0..8 {
            let mut client = stand.client().await;
            client.send(&query("SELECT pg_sleep(120)")).await;
            clients.push(client);
        }
        assert!(wait_until(PATIENCE, async || sleepers(&stand).await == 8).await);
        // A key that is wrong in either half does nothing, nor does one of nobody.
        let wrong: Vec<u8> = clients[0].secret.iter().map(|byte| byte ^ 1).collect();
        for (pid, secret) in [
            (clients[0].pid, &wrong),
            (clients[0].pid.wrapping_add(1), &clients[0].secret),
            (clients[0].pid, &clients[1].secret),
        ] {
            send_cancel(&stand.place(), pid, secret).await;
        }
        // In an order that is not that of their coming.
        for (left, nth) in [5, 0, 7, 2, 6, 1, 4, 3].into_iter().enumerate().map(|(n, nth)| (7 - n, nth)) {
            let client = &mut clients[nth];
            client.cancel().await;
            let answer = client.until_ready().await;
            assert_eq!(sqlstates(&answer), ["57014"], "{mode}: {answer:?}");
            assert_eq!(client.value("SELECT 'on'").await, "on");
            assert_eq!(sleepers(&stand).await, left, "{mode}");
        }
    }
}

#[tokio::test]
async fn a_cancel_that_comes_too_late_never_hits_the_next_client() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 1, ..Plan::default() }).await);
    let mut cancelled = stand.client().await;
    let mut innocent = stand.client().await;
    let (place, pid, secret) = (stand.place(), cancelled.pid, cancelled.secret.clone());
    let canceller = tokio::spawn(async move {
        loop {
            send_cancel(&place, pid, &secret).await;
        }
    });
    // The one that is cancelled is always at work, so that the cancels find an upstream, and
    // always at the end of it, so that the other one gets the same upstream next.
    // A hit is a matter of luck, and rare on a machine that is busy.
    let enough = short_or_long(5, 25);
    let working = tokio::spawn(async move {
        let mut hits = 0;
        loop {
            let answer = cancelled.query("SELECT count(*) FROM generate_series(1, 2000)").await;
            match sqlstates(&answer).as_slice() {
                [] => {}
                [state] if state == "57014" => hits += 1,
                other => panic!("{other:?}"),
            }
            if hits >= enough {
                return (cancelled, hits);
            }
        }
    });
    let mut queries = 0;
    while !working.is_finished() || queries < 500 {
        let answer = innocent.query("SELECT 1").await;
        assert_eq!(sqlstates(&answer), Vec::<String>::new(), "after {queries} queries: {answer:?}");
        queries += 1;
    }
    let (mut cancelled, hits) = working.await.unwrap();
    assert!(hits > 0);
    // While the client of the key holds nothing, its cancels hit nobody at all.
    for _ in 0..300 {
        let answer = innocent.query("SELECT count(*) FROM generate_series(1, 2000)").await;
        assert_eq!(sqlstates(&answer), Vec::<String>::new(), "{answer:?}");
    }
    canceller.abort();
    let _ = canceller.await;
    assert_eq!(cancelled.value("SELECT 'fine'").await, "fine");
}

/// As drivers do it: a statement that takes about as long as its timeout; the CancelRequest's
/// connection is read to its end, the answer too, and then the next statement goes out at once.
async fn race(client: &mut WireClient, rounds: u32) -> u32 {
    let mut hits = 0;
    for round in 0..rounds {
        // One to some milliseconds: the server needs one to fork what takes the CancelRequest.
        let some_milliseconds =
            format!("SELECT count(*) FROM generate_series(1, {})", (round % 7 + 1) * 4000);
        client.send(&query(&some_milliseconds)).await;
        tokio::time::sleep(Duration::from_micros(u64::from(round % 20) * 100)).await;
        client.cancel().await;
        let answer = client.until_ready().await;
        hits += u32::from(sqlstates(&answer) == ["57014"]);
        let answer = client.query(&some_milliseconds).await;
        assert_eq!(sqlstates(&answer), Vec::<String>::new(), "in round {round}: {answer:?}");
    }
    hits
}

#[tokio::test]
async fn a_cancel_never_hits_the_same_clients_next_statement() {
    let rounds = short_or_long(300, 5000);
    for mode in ["session", "transaction"] {
        let stand = or_skip!(Stand::start_with(Plan { mode, threads: 2, ..Plan::default() }).await);
        let hits = race(&mut stand.client().await, rounds).await;
        assert!((1..rounds).contains(&hits), "{mode}: {hits}");
        if mode == "session" {
            let hits = race(&mut stand.direct().await, rounds).await;
            assert!((1..rounds).contains(&hits), "direct: {hits}");
        }
    }
}

/// Behind a transaction that set something Leasehold asks the server what came of it: a cancel that
/// comes then is for nobody.
#[tokio::test]
async fn a_late_cancel_costs_a_client_nothing_of_what_it_set() {
    let rounds: u32 = short_or_long(200, 2000);
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 2, ..Plan::default() }).await);
    let mut other = stand.client().await;
    let mut client = stand.client().await;
    let (place, pid, secret) = (stand.place(), client.pid, client.secret.clone());
    for round in 0..rounds {
        let set = query(&format!("SET app.round = '{round}'; DISCARD PLANS; RESET work_mem"));
        let (answer, ()) = tokio::join!(
            async {
                client.send(&set).await;
                client.until_ready().await
            },
            async {
                tokio::time::sleep(Duration::from_micros(u64::from(round % 30) * 50)).await;
                send_cancel(&place, pid, &secret).await;
            }
        );
        let cancelled = sqlstates(&answer) == ["57014"];
        other.query("BEGIN").await;
        let now =
            client.try_value("SELECT current_setting('app.round', true)").await.expect("it is still served");
        if !cancelled {
            assert_eq!(now, round.to_string());
        }
        other.query("COMMIT").await;
    }
}

/// Its upstream ends while the cancel is under way, sometimes before it and sometimes behind: nobody else
/// is hit, neither on the upstream that comes in its place.
#[tokio::test]
async fn a_cancel_whose_upstream_is_lost_on_the_way_hits_nobody() {
    let rounds: u64 = short_or_long(24, 300);
    for mode in ["transaction", "session"] {
        let stand = or_skip!(Stand::start_with(Plan { mode, pool_size: 2, ..Plan::default() }).await);
        let admin = stand.postgres.connect().await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE usename LIKE 'lh-%' AND state = 'active' AND query LIKE '%pg_sleep%'";
        let mut innocent = stand.client().await;
        let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
        let working = tokio::spawn(async move {
            let mut queries = 0_u32;
            while stopped.try_recv().is_err() {
                let answer = innocent.query("SELECT count(*) FROM generate_series(1, 2000)").await;
                assert_eq!(sqlstates(&answer), Vec::<String>::new(), "after {queries} queries: {answer:?}");
                queries += 1;
            }
            queries
        });
        let (mut cancelled, mut lost) = (0, 0);
        for round in 0..rounds {
            let mut client = stand.client().await;
            client.send(&query("SELECT pg_sleep(120)")).await;
            assert!(wait_until(PATIENCE, async || sleepers(&stand).await == 1).await);
            let (killed, ()) = tokio::join!(
                async {
                    tokio::time::sleep(Duration::from_micros(round % 4 * 700)).await;
                    admin.query(kill, &[]).await
                },
                async {
                    tokio::time::sleep(Duration::from_micros(round % 3 * 700)).await;
                    client.cancel().await;
                }
            );
            killed.unwrap();
            let answer = client.until_ready().await;
            match sqlstates(&answer).first().map(String::as_str) {
                Some("57014") => cancelled += 1,
                Some(_) => lost += 1,
                None => panic!("{mode}: {answer:?}"),
            }
            drop(client);
            // Those who come next have what is left, or what was opened in its place.
            let mut next = stand.client().await;
            assert_eq!(next.value("SELECT count(*) FROM generate_series(1, 3000)").await, "3000", "{mode}");
            next.leave().await;
        }
        assert_eq!(cancelled + lost, rounds);
        assert!(lost > 0, "{mode}: never lost");
        stop.send(()).unwrap();
        assert!(working.await.unwrap() > 0);
    }
}

/// It has no upstream: there is nothing to cancel, and its request is served when its turn comes.
#[tokio::test]
async fn a_cancel_of_who_waits_in_the_queue_cancels_nothing() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 1, ..Plan::default() }).await);
    let mut holder = stand.client().await;
    let mut waiting = stand.client().await;
    for _ in 0..short_or_long(5, 50) {
        holder.query("BEGIN").await;
        holder.send(&query("SELECT pg_sleep(0.2)")).await;
        waiting.send(&query("SELECT 'served'")).await;
        assert!(wait_until(PATIENCE, async || sleepers(&stand).await == 1).await);
        for _ in 0..10 {
            waiting.cancel().await;
        }
        assert_eq!(sqlstates(&holder.until_ready().await), Vec::<String>::new());
        waiting.cancel().await;
        assert_eq!(sqlstates(&holder.query("COMMIT").await), Vec::<String>::new());
        let answer = waiting.until_ready().await;
        assert_eq!(answer[1].row(), [Some("served".to_owned())], "{answer:?}");
    }
    assert_eq!(waiting.value("SELECT 'on'").await, "on");
}

#[tokio::test]
async fn control_c_in_psql_cancels_its_query() {
    let stand = or_skip!(Stand::start().await);
    let mut psql = stand.endpoint().command("psql");
    psql.args(["-X", "-c", "SELECT pg_sleep(120)"]);
    let mut psql = Program::start(psql);
    assert!(wait_until(PATIENCE, async || sleepers(&stand).await == 1).await);
    psql.signal(Signal::INT);
    let finished = psql.finish(PATIENCE).await;
    assert!(finished.stderr.contains("canceling statement due to user request"), "{finished:?}");
    assert_eq!(sleepers(&stand).await, 0);
}
