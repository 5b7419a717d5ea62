//! What the pool does of itself: upstreams end by age and by idleness, a minimum is kept open, and a
//! reserve is opened for clients that wait.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::or_skip;
use crate::support::postgres::StopMode;
use crate::support::{Missing, wait_until};
use crate::wire_client::stand::ANYONE;
use crate::wire_client::{Plan, Stand, WireClient};

const PATIENCE: Duration = Duration::from_secs(60);

async fn start(mode: &'static str, pool_size: usize, database: &str) -> Result<Stand, Missing> {
    start_on(2, mode, pool_size, database).await
}

async fn start_on(
    threads: usize,
    mode: &'static str,
    pool_size: usize,
    database: &str,
) -> Result<Stand, Missing> {
    let plan = Plan { mode, pool_size, threads, database: database.to_owned(), ..Plan::default() };
    Stand::start_with(plan).await
}

/// One value of the server's, of the proxy's own sessions: `FROM sessions`.
async fn ask_sessions(stand: &Stand, select: &str) -> String {
    let sessions = "SELECT * FROM pg_stat_activity WHERE usename LIKE 'lh-%' AND query NOT LIKE '%pg_roles%' \
                    AND query NOT LIKE '%current_user'";
    stand.ask(&format!("WITH sessions AS ({sessions}) {select}")).await
}

/// Waits until there are so many sessions of one user and no other.
async fn wait_for_sessions(stand: &Stand, wanted: usize, why: &str) {
    let mut seen = String::new();
    let there = wait_until(PATIENCE, async || {
        seen =
            ask_sessions(stand, "SELECT count(*) || ' of ' || count(DISTINCT usename) FROM sessions").await;
        seen == format!("{wanted} of {}", usize::from(wanted > 0))
    })
    .await;
    assert!(there, "{why}: {seen}, not {wanted}\n{}", stand.proxy.log_text());
}

async fn command(stand: &Stand, sql: &str) {
    stand.proxy.endpoint("leasehold").psql(sql).await.success();
}

/// Another user, and the one before is gone.
async fn rotate(stand: &Stand) {
    let before = stand.postgres.roles_like("lh-%").await;
    command(stand, "ROTATE").await;
    let replaced = async || {
        let now = stand.postgres.roles_like("lh-%").await;
        now.len() == 1 && now != before
    };
    assert!(wait_until(PATIENCE, replaced).await, "{}", stand.proxy.log_text());
}

/// Clients that each ask for the server's process id again and again.
struct Load {
    stop: Arc<AtomicBool>,
    /// In the order of the answers.
    pids: Arc<Mutex<Vec<String>>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(stand: &Stand, clients: usize) -> Self {
        let (stop, pids) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let clients = (0..clients).map(|_| {
            let (place, stop, pids) = (stand.place(), stop.clone(), pids.clone());
            tokio::spawn(async move {
                let mut client = WireClient::connect(&place, &ANYONE).await;
                while !stop.load(Ordering::Relaxed) {
                    // An error or a lost connection fails the test.
                    let pid = client.value("SELECT pg_backend_pid() FROM pg_sleep(0.005)").await;
                    pids.lock().unwrap().push(pid);
                }
            })
        });
        let clients = clients.collect();
        Self { stop, pids, clients }
    }

    fn seen(&self) -> Vec<String> {
        self.pids.lock().unwrap().clone()
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

#[tokio::test]
async fn upstreams_end_by_age_one_after_the_other_and_no_client_notices() {
    let stand = or_skip!(start("transaction", 4, "server_lifetime = '1s'").await);
    // More clients than upstreams: these are given back, and never idle.
    for clients in [3, 9] {
        let load = Load::start(&stand, clients);
        let distinct = |pids: &[String]| pids.iter().cloned().collect::<BTreeSet<_>>().len();
        let replaced = async || distinct(&load.seen()) >= 2 * clients.min(4);
        assert!(wait_until(PATIENCE, replaced).await, "{}", stand.proxy.log_text());
        let seen = load.seen();
        let first: Vec<&String> = seen.iter().take(2 * clients).collect();
        let newcomer = seen.iter().position(|pid| !first.contains(&pid)).unwrap();
        let later = seen[newcomer..].iter().filter(|pid| first.contains(pid)).count();
        assert!(later > 0, "the whole pool was closed at once: {seen:?}");
        rotate(&stand).await;
        let before = load.seen().len();
        assert!(wait_until(PATIENCE, async || load.seen().len() > before + 50).await);
        assert!(stand.sessions("true").await <= 4);
        // A client in a transaction keeps its upstream, however old that is.
        let mut holder = stand.client().await;
        holder.query("BEGIN").await;
        let pid = holder.value("SELECT pg_backend_pid()").await;
        let old = format!("pid = {pid} AND now() - backend_start > interval '1.5s'");
        assert!(wait_until(PATIENCE, async || stand.sessions(&old).await == 1).await);
        assert_eq!(holder.value("SELECT pg_backend_pid()").await, pid);
        holder.query("COMMIT").await;
        let gone = async || stand.sessions(&format!("pid = {pid}")).await == 0;
        assert!(wait_until(PATIENCE, gone).await, "{}", stand.proxy.log_text());
        load.end().await;
    }
}

#[tokio::test]
async fn idle_upstreams_close_down_to_the_minimum() {
    let keys = "min_pool_size = 2\nserver_idle_timeout = '1s'";
    // One thread: which one was given back last is known of one thread's upstreams.
    let stand = or_skip!(start_on(1, "transaction", 6, keys).await);
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = stand.client().await;
        client.query("BEGIN").await;
        clients.push(client);
    }
    wait_for_sessions(&stand, 5, "all are in use").await;
    // Who is in a transaction is not idle, however little it says.
    let quiet = "now() - state_change > interval '1.5s'";
    assert!(wait_until(PATIENCE, async || stand.sessions(quiet).await == 5).await);
    for client in &mut clients {
        client.query("COMMIT").await;
    }
    // One that is used stays beside what the minimum says.
    let pid = clients[0].value("SELECT pg_backend_pid()").await;
    wait_for_sessions(&stand, 2, "three were idle for too long").await;
    assert_eq!(clients[0].value("SELECT pg_backend_pid()").await, pid, "last in, first out");
    // Those of the minimum stay.
    let kept = async || stand.sessions("now() - state_change > interval '2.5s'").await == 2;
    assert!(wait_until(PATIENCE, kept).await, "{}", stand.proxy.log_text());
    rotate(&stand).await;
    wait_for_sessions(&stand, 2, "a new user has the minimum").await;
}

#[tokio::test]
async fn the_minimum_is_there_before_a_client_and_again_after_whatever_comes() {
    let stand = or_skip!(start("transaction", 6, "min_pool_size = 3").await);
    wait_for_sessions(&stand, 3, "no client has asked for anything").await;
    rotate(&stand).await;
    wait_for_sessions(&stand, 3, "another user").await;

    command(&stand, "PAUSE").await;
    stand.ask("SELECT pg_sleep(0.5)").await;
    assert_eq!(stand.sessions("true").await, 0, "nothing is opened in a pause");
    command(&stand, "RESUME").await;
    wait_for_sessions(&stand, 3, "resumed").await;

    command(&stand, "DISABLE app").await;
    ask_sessions(&stand, "SELECT pg_terminate_backend(min(pid)) FROM sessions").await;
    stand.ask("SELECT pg_sleep(0.5)").await;
    assert_eq!(stand.sessions("true").await, 2, "nothing is opened where nobody may come");
    command(&stand, "ENABLE app").await;
    wait_for_sessions(&stand, 3, "enabled").await;

    let file = stand.proxy.config_file();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("min_pool_size = 3"));
    std::fs::write(&file, text.replace("min_pool_size = 3", "min_pool_size = 5")).unwrap();
    command(&stand, "RELOAD").await;
    wait_for_sessions(&stand, 5, "reloaded").await;
    let console = stand.proxy.endpoint("leasehold").connect().await;
    let rows = console.query("SHOW DATABASES", &[]).await.unwrap();
    let shown =
        ["min_pool_size", "reserve_pool_size", "server_lifetime"].map(|name| rows[0].get::<_, i64>(name));
    assert_eq!(shown, [5, 0, 3600]);

    let mut stand = stand;
    stand.postgres.stop(StopMode::Fast).await;
    stand.postgres.start_again().await;
    wait_for_sessions(&stand, 5, "the server came back").await;
    assert_eq!(stand.client().await.value("SELECT 1").await, "1");
}

#[tokio::test]
async fn in_session_mode_the_minimum_fits_the_client_that_asked_last() {
    // One thread: what is idle on another one is not looked for while there is room.
    let stand = or_skip!(start_on(1, "session", 4, "min_pool_size = 1").await);
    let name = [("application_name", "one of many")];
    stand.client_with(&name).await.leave().await;
    let there = "application_name = 'one of many' AND state = 'idle'";
    assert!(wait_until(PATIENCE, async || stand.sessions(there).await == 1).await);
    // All of them, the one opened before the client came too.
    let ended = "SELECT string_agg(pid || ' ' || pg_terminate_backend(pid), '') FROM sessions";
    let ended = ask_sessions(&stand, ended).await;
    let only = "SELECT string_agg(pid::text, ' ') FROM sessions";
    let mut pid = String::new();
    let opened = async || {
        pid = ask_sessions(&stand, only).await;
        pid.parse::<u32>().is_ok() && !ended.contains(&pid) && stand.sessions(there).await == 1
    };
    assert!(wait_until(PATIENCE, opened).await, "{}", stand.proxy.log_text());
    let mut client = stand.client_with(&name).await;
    assert_eq!(client.value("SELECT pg_backend_pid()").await, pid);
}

/// A client in a transaction, and how long it took to get there.
async fn begin(stand: &Stand) -> (WireClient, Duration) {
    let mut client = stand.client().await;
    let since = Instant::now();
    client.query("BEGIN; SELECT 1").await;
    (client, since.elapsed())
}

#[tokio::test]
async fn the_reserve_is_opened_for_who_waits_long_and_given_up_when_nobody_does() {
    let reserve = "reserve_pool_size = 2\nreserve_pool_timeout = '500ms'";
    let stand = or_skip!(start("transaction", 1, reserve).await);
    for round in 0..2 {
        let (mut first, at_once) = begin(&stand).await;
        let (mut second, waited) = begin(&stand).await;
        assert!(waited >= Duration::from_millis(500), "round {round}: {at_once:?} {waited:?}");
        let (mut third, waited) = begin(&stand).await;
        assert!(waited >= Duration::from_millis(500), "round {round}: {waited:?}");
        wait_for_sessions(&stand, 3, "one and the reserve").await;
        // There is no more than that.
        let place = stand.place();
        let fourth = tokio::spawn(async move {
            let mut client = WireClient::connect(&place, &ANYONE).await;
            client.value("SELECT 4").await
        });
        let console = stand.proxy.endpoint("leasehold").connect().await;
        let long = async || {
            let rows = console.query("SHOW POOLS", &[]).await.unwrap();
            let row = rows.iter().find(|row| row.get::<_, &str>("database") == "app").unwrap();
            row.get::<_, i64>("maxwait") >= 1
        };
        assert!(wait_until(PATIENCE, long).await, "{}", stand.proxy.log_text());
        assert!(!fourth.is_finished());
        assert_eq!(stand.sessions("true").await, 3);
        if round == 1 {
            // Old and new user side by side: the fourth has the new one's.
            command(&stand, "ROTATE").await;
        } else {
            third.query("COMMIT").await;
        }
        assert_eq!(fourth.await.unwrap(), "4");
        for client in [&mut first, &mut second, &mut third] {
            client.query("COMMIT").await;
        }
        wait_for_sessions(&stand, 1, "nobody waits").await;
    }
}
