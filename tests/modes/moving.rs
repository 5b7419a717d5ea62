//! Data threads are filled one after the other: clients move from a busy one to the next and back, with all
//! that they have, and neither they nor those who cancel or end them notice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::or_skip;
use crate::support::wait_until;
use crate::wire_client::client::send_cancel;
use crate::wire_client::message::{bind, execute, parse, query, sync};
use crate::wire_client::{Message, Plan, Stand, WireClient};

const PATIENCE: Duration = Duration::from_secs(60);

/// Which shards each client was seen on, by its name.
type Seen = BTreeMap<String, BTreeSet<i64>>;

async fn look(console: &Client, seen: &mut Seen) -> BTreeMap<String, i64> {
    let rows = console.query("SHOW CLIENTS", &[]).await.unwrap();
    let place = |row: &tokio_postgres::Row| (row.get("application_name"), row.get("shard"));
    let mut now: BTreeMap<String, i64> = rows.iter().map(place).collect();
    now.retain(|name, _| name.starts_with("resident"));
    for (name, shard) in &now {
        seen.entry(name.clone()).or_default().insert(*shard);
    }
    now
}

fn rows(answer: &[Message]) -> Vec<String> {
    let rows = answer.iter().filter(|message| message.kind == b'D');
    rows.map(|row| row.row().first().cloned().flatten().unwrap_or_default()).collect()
}

fn sqlstates(answer: &[Message]) -> Vec<String> {
    answer.iter().filter(|message| message.kind == b'E').map(|message| message.field(b'C')).collect()
}

/// A client with settings and statements of its own, which it finds as it left them.
struct Resident {
    name: String,
    client: WireClient,
}

impl Resident {
    async fn comes(stand: &Stand, number: usize) -> Self {
        let name = format!("resident {number}");
        let mut client = stand.client_with(&[("application_name", &name), ("TimeZone", "Asia/Tokyo")]).await;
        client.query(&format!("SET app.me = '{number}'; SET work_mem = '{}kB'", 1000 + number)).await;
        client.send(&[parse("mine", &format!("SELECT {number} + $1::int")), sync()].concat()).await;
        client.until_ready().await;
        let mut resident = Self { name, client };
        resident.prepares(number).await;
        resident
    }

    /// Each simple query drops the unnamed statement.
    async fn prepares(&mut self, number: usize) {
        self.client.send(&[parse("", &format!("SELECT {number} * $1::int")), sync()].concat()).await;
        self.client.until_ready().await;
    }

    async fn looks_round(&mut self, number: usize, round: usize) {
        let Self { name, client } = self;
        let value = round.to_string();
        let batch = |statement| [bind("", statement, &[Some(&value)]), execute("", 0), sync()].concat();
        client.send(&batch("mine")).await;
        assert_eq!(rows(&client.until_ready().await), [(number + round).to_string()], "{name}");
        client.send(&batch("")).await;
        assert_eq!(rows(&client.until_ready().await), [(number * round).to_string()], "{name}");
        let found = client
            .value("SELECT current_setting('app.me') || current_setting('work_mem') || current_setting('TimeZone') || current_setting('application_name')")
            .await;
        assert_eq!(found, format!("{number}{}kBAsia/Tokyo{name}", 1000 + number));
        self.prepares(number).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_move_between_threads_with_all_they_have() {
    let plan = Plan { pool_size: 3, threads: 2, thread_busy: 3, ..Plan::default() };
    let stand = or_skip!(Stand::start_with(plan).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    let (mut seen, enough) = (Seen::new(), Arc::new(AtomicBool::new(false)));
    let mut residents = JoinSet::new();
    for number in 1..=6 {
        let mut resident = Resident::comes(&stand, number).await;
        let enough = enough.clone();
        residents.spawn(async move {
            let mut round = 0;
            while !enough.load(Ordering::SeqCst) {
                round += 1;
                resident.looks_round(number, round).await;
            }
            resident
        });
    }
    // All begin on the first; under load some are found on the other.
    let both = async || {
        let now = look(&console, &mut seen).await;
        now.values().any(|shard| *shard == 1) && now.values().any(|shard| *shard == 0)
    };
    let first = look(&console, &mut Seen::new()).await;
    assert!(wait_until(PATIENCE, both).await, "{first:?}\n{}", stand.proxy.log_text());
    enough.store(true, Ordering::SeqCst);
    let mut residents: Vec<Resident> = residents.join_all().await;
    residents.sort_by(|one, other| one.name.cmp(&other.name));
    // They are hit by cancels where they are now.
    let now = look(&console, &mut seen).await;
    let at = residents.iter().position(|resident| now.get(&resident.name) == Some(&1)).unwrap();
    let moved = &mut residents[at];
    let (place, pid, secret) = (stand.place(), moved.client.pid, moved.client.secret.clone());
    moved.client.send(&query("SELECT pg_sleep(60)")).await;
    let sleeps =
        async || stand.sessions("query = 'SELECT pg_sleep(60)' AND wait_event = 'PgSleep'").await == 1;
    assert!(wait_until(PATIENCE, sleeps).await);
    send_cancel(&place, pid, &secret).await;
    assert_eq!(sqlstates(&moved.client.until_ready().await), ["57014"]);
    moved.prepares(at + 1).await;
    // Those who have little to do come back together, when they say something.
    let mut round = 1_000_000;
    let together = async || {
        round += 1;
        for (at, resident) in residents.iter_mut().enumerate() {
            resident.looks_round(at + 1, round % 1000).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        look(&console, &mut seen).await.values().all(|shard| *shard == 0)
    };
    assert!(wait_until(PATIENCE, together).await, "{seen:?}\n{}", stand.proxy.log_text());
    let travelled = seen.iter().filter(|(_, shards)| shards.len() == 2).map(|(name, _)| name).next().unwrap();
    // And are ended by KILL like any other.
    let rows = console.query("SHOW CLIENTS", &[]).await.unwrap();
    let row = rows.iter().find(|row| row.get::<_, &str>("application_name") == travelled).unwrap();
    let id: i64 = row.get("id");
    console.simple_query(&format!("KILL_CLIENT {id}")).await.unwrap();
    let resident = residents.iter_mut().find(|resident| resident.name == *travelled).unwrap();
    assert_eq!(sqlstates(&resident.client.until_end().await), ["57P01"]);
    // Nobody holds anything, and the books of clients are right.
    let idle = async || stand.sessions("state <> 'idle'").await == 0;
    assert!(wait_until(PATIENCE, idle).await);
    assert_eq!(look(&console, &mut seen).await.len(), 5);
}
