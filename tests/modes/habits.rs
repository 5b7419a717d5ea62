//! What Django, Rails and Hibernate do with a session, all at once, by more clients than there are upstreams,
//! while users change: nobody fails, nobody sees another's, and nothing stays behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::poll_fn;
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::or_skip;
use crate::support::{short_or_long, wait_until};
use crate::wire_client::{Plan, Stand};

const PATIENCE: Duration = Duration::from_secs(60);
/// What migrations lock each other out by.
const MIGRATIONS: i64 = 2_053_462_845;

/// One application's connection.
struct Session {
    number: i32,
    zone: &'static str,
    client: Client,
    /// Channel and payload.
    heard: mpsc::UnboundedReceiver<(String, String)>,
    migrating: Arc<AtomicBool>,
}

impl Session {
    async fn open(stand: &Stand, number: i32, migrating: Arc<AtomicBool>) -> Self {
        let zone =
            ["UTC", "Asia/Tokyo", "Europe/Paris", "America/Lima"][usize::try_from(number).unwrap() % 4];
        let mut config = stand.endpoint().config();
        config.application_name(format!("habits {number}"));
        let (client, mut connection) = config.connect(NoTls).await.unwrap();
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut messages = poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(note) = message {
                    let _ = tell.send((note.channel().to_owned(), note.payload().to_owned()));
                }
            }
        });
        let session = Self { number, zone, client, heard, migrating };
        // As Rails and Django begin.
        for sql in [
            "SET client_min_messages TO 'warning'",
            "SET standard_conforming_strings = on",
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
            &format!("SET TIME ZONE '{zone}'"),
            &format!("SELECT set_config('habits.me', '{number}', false)"),
        ] {
            session.run(sql).await;
        }
        session
    }

    async fn run(&self, sql: &str) {
        let done = self.client.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("client {}: {sql}: {error:?}", self.number));
    }

    /// The first column of all rows, by a statement that is prepared.
    async fn all<T>(&self, sql: &str) -> Vec<T>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let rows = self.client.query(sql, &[]).await;
        let rows = rows.unwrap_or_else(|error| panic!("client {}: {sql}: {error:?}", self.number));
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn one<T>(&self, sql: &str) -> T
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        self.all(sql).await.pop().unwrap()
    }

    /// Nothing of another client's is here, and all of ours is.
    async fn looks_round(&self) {
        let found: String = self
            .one(
                "SELECT current_setting('TimeZone') || ' ' || current_setting('habits.me') || ' ' || \
                 (SELECT count(*) FROM pg_cursors WHERE is_holdable) || \
                 (SELECT count(*) FROM pg_listening_channels()) || \
                 (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()) || \
                 (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) || \
                 (SELECT count(*) FROM pg_prepared_statements WHERE from_sql)",
            )
            .await;
        assert_eq!(found, format!("{} {} 00000", self.zone, self.number), "client {}", self.number);
    }

    async fn habit(&mut self, which: usize) {
        match which % 8 {
            0 => self.reads_by_a_cursor().await,
            1 => self.migrates("SELECT pg_try_advisory_lock($1)").await,
            2 => self.migrates("SELECT pg_advisory_lock($1) IS NOT NULL").await,
            3 => self.collects_in_a_temporary_table().await,
            4 => self.listens().await,
            5 => self.nests_transactions().await,
            6 => self.changes_its_zone_for_a_transaction().await,
            _ => self.prepares_by_hand().await,
        }
    }

    /// Django's `iterator()` outside a transaction.
    async fn reads_by_a_cursor(&self) {
        let name = format!("_django_curs_{}_sync_1", self.number);
        self.run(&format!(
            "DECLARE \"{name}\" NO SCROLL CURSOR WITH HOLD FOR SELECT n + {} FROM generate_series(1, 100) n",
            self.number
        ))
        .await;
        let mut read: Vec<i32> = Vec::new();
        loop {
            let more: Vec<i32> = self.all(&format!("FETCH FORWARD 40 FROM \"{name}\"")).await;
            if more.is_empty() {
                break;
            }
            read.extend(more);
            assert_eq!(self.one::<String>("SHOW TimeZone").await, self.zone);
        }
        assert!(read.into_iter().eq((1..=100).map(|n| n + self.number)), "client {}", self.number);
        self.run(&format!("CLOSE \"{name}\"")).await;
    }

    /// Rails tries, Flyway and others wait.
    async fn migrates(&self, lock: &str) {
        let locked: bool = self.client.query_one(lock, &[&MIGRATIONS]).await.unwrap().get(0);
        if !locked {
            return;
        }
        assert!(!self.migrating.swap(true, Ordering::SeqCst), "two migrate at once");
        self.run("BEGIN; CREATE TABLE IF NOT EXISTS migrated (version int); INSERT INTO migrated VALUES (1); COMMIT").await;
        self.run("BEGIN; DELETE FROM migrated; COMMIT").await;
        self.migrating.store(false, Ordering::SeqCst);
        let unlocked: bool =
            self.client.query_one("SELECT pg_advisory_unlock($1)", &[&MIGRATIONS]).await.unwrap().get(0);
        assert!(unlocked, "client {}: the lock was not here any more", self.number);
    }

    /// Hibernate's bulk operations: in the session, or in a transaction.
    async fn collects_in_a_temporary_table(&self) {
        self.run("CREATE TEMPORARY TABLE IF NOT EXISTS ht_orders (id int NOT NULL)").await;
        self.run(&format!("INSERT INTO ht_orders VALUES ({})", self.number)).await;
        assert_eq!(self.all::<i32>("SELECT id FROM ht_orders").await, [self.number]);
        self.run("DROP TABLE ht_orders").await;
        self.run("BEGIN; CREATE TEMPORARY TABLE ht_lines (id int) ON COMMIT DROP; INSERT INTO ht_lines VALUES (1); COMMIT").await;
    }

    async fn listens(&mut self) {
        let (channel, payload) = (format!("cable_{}", self.number), format!("for {}", self.number));
        self.run(&format!("LISTEN {channel}")).await;
        self.run(&format!("NOTIFY {channel}, '{payload}'")).await;
        let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await.expect("a notification");
        assert_eq!(heard, Some((channel, payload)));
        self.run("UNLISTEN *").await;
    }

    /// Django's `atomic()` in `atomic()`.
    async fn nests_transactions(&self) {
        self.run("BEGIN; SAVEPOINT \"s1_x1\"").await;
        assert!(self.client.query_one("SELECT 1/0", &[]).await.is_err());
        self.run("ROLLBACK TO SAVEPOINT \"s1_x1\"; RELEASE SAVEPOINT \"s1_x1\"").await;
        assert_eq!(self.one::<i32>("SELECT 7").await, 7);
        self.run("COMMIT").await;
    }

    async fn changes_its_zone_for_a_transaction(&self) {
        self.run("BEGIN; SET LOCAL TIME ZONE 'Africa/Cairo'").await;
        assert_eq!(self.one::<String>("SHOW TimeZone").await, "Africa/Cairo");
        self.run("COMMIT").await;
        self.run("SET TIME ZONE 'Africa/Cairo'").await;
        assert_eq!(self.one::<String>("SHOW TimeZone").await, "Africa/Cairo");
        self.run(&format!("SET TIME ZONE '{}'", self.zone)).await;
    }

    async fn prepares_by_hand(&self) {
        self.run(&format!("PREPARE mine AS SELECT {} + $1::int", self.number)).await;
        let rows = self.client.simple_query("EXECUTE mine(1)").await.unwrap();
        let first = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        assert_eq!(first, Some((self.number + 1).to_string()));
        self.run("DEALLOCATE mine").await;
    }
}

#[tokio::test]
async fn habits_of_frameworks_go_together_on_a_few_upstreams_while_users_change() {
    let (clients, upstreams, seconds) = short_or_long((20, 5, 5), (50, 10, 30));
    let stand =
        or_skip!(Stand::start_with(Plan { pool_size: upstreams, threads: 2, ..Plan::default() }).await);
    let migrating = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let mut sessions = Vec::new();
    for number in 0..clients {
        sessions.push(Session::open(&stand, number, migrating.clone()).await);
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let work = sessions.into_iter().map(|mut session| {
        let done = done.clone();
        tokio::spawn(async move {
            let mut which = usize::try_from(session.number).unwrap();
            while Instant::now() < until {
                session.looks_round().await;
                session.habit(which).await;
                which += 3;
                done.fetch_add(1, Ordering::Relaxed);
            }
            session.looks_round().await;
            session
        })
    });
    let work: Vec<_> = work.collect();
    let console = stand.proxy.endpoint("leasehold").connect().await;
    while Instant::now() < until {
        console.simple_query("ROTATE app").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let sessions: Vec<Session> =
        futures_util::stream::iter(work).then(|work| work).try_collect().await.unwrap();
    // They are all still there, and keep nothing.
    let kept = async || {
        let rows = console.query("SHOW POOLS", &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, i64>("cl_pinned")).sum::<i64>()
    };
    assert!(wait_until(PATIENCE, async || kept().await == 0).await, "{}", stand.proxy.log_text());
    let locks = format!("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {MIGRATIONS}");
    assert_eq!(stand.ask(&locks).await, "0");
    let open = stand.sessions("true").await;
    assert!(open <= 2 * upstreams, "{open}");
    assert_eq!(sessions.len(), usize::try_from(clients).unwrap());
    let done = done.load(Ordering::Relaxed);
    assert!(done > sessions.len() * 2, "{done} habits");
}
