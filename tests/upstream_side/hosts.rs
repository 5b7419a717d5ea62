//! Several hosts: which one fits, what those cost that do not answer, promotions, and users that arrive
//! by replication.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cases::{CREATION, make_group};
use crate::or_skip;
use crate::support::ports::Port;
use crate::support::wait::wait_for;
use crate::support::{Leasehold, Missing, Postgres, StopMode, wait_until};
use crate::wire_client::stand::credentials;
use crate::wire_client::{Place, Refused, WireClient};

const PATIENCE: Duration = Duration::from_secs(60);

/// A primary and a standby that follows it, and a proxy in front.
struct Pair {
    proxy: Leasehold,
    primary: Postgres,
    standby: Postgres,
    _directory: TempDir,
}

/// `[databases.NAME]` for each, where `hosts` stands for what `host` and `port` are; the users are made
/// wherever the primary is.
async fn start(databases: &[(&str, Hosts, &str)]) -> Result<Pair, Missing> {
    let primary = Postgres::start().await?;
    make_group(&primary).await;
    primary.execute("postgres", "CREATE TABLE work (n bigint); GRANT ALL ON work TO app").await;
    let standby = primary.standby().await;
    let directory = tempfile::tempdir().unwrap();
    let admin_url = directory.path().join("admin-url");
    let url = format!(
        "postgresql://postgres:{}@127.0.0.1:{},127.0.0.1:{}/postgres?sslmode=disable&target_session_attrs=read-write",
        crate::support::postgres::PASSWORD,
        primary.port(),
        standby.port()
    );
    std::fs::write(&admin_url, url).unwrap();
    let mut config = "threads = 2\nthread_busy = 0\n".to_owned();
    let shared = databases.iter().any(|(_, _, keys)| keys.contains("credentials = 'shop'"));
    for (name, hosts, keys) in databases {
        config += &database(name, &hosts.keys(&primary, &standby), keys, &admin_url);
    }
    if shared {
        config += &credentials("x", &admin_url, &[CREATION])
            .replace("[databases.x.credentials]", "[credentials.shop]");
    }
    let proxy = Leasehold::run(&config).await;
    Ok(Pair { proxy, primary, standby, _directory: directory })
}

fn database(name: &str, hosts: &str, keys: &str, admin_url: &Path) -> String {
    let own = credentials(name, admin_url, &[CREATION]);
    // Those of `[credentials.shop]` stand there already.
    let credentials = if keys.contains("credentials = 'shop'") { "" } else { own.as_str() };
    format!(
        "[databases.{name}]\n{hosts}\ndbname = 'postgres'\nsslmode = 'disable'\nrole = 'app'\n{keys}\n{credentials}\n"
    )
}

/// In which order the hosts are written.
#[derive(Debug, Clone, Copy)]
enum Hosts {
    PrimaryFirst,
    StandbyFirst,
    /// In front of both, on this port.
    Behind(u16),
    StandbyOnly,
    /// The standby behind this port.
    StandbyBehind(u16),
}

impl Hosts {
    fn keys(self, primary: &Postgres, standby: &Postgres) -> String {
        let (primary, standby) = (primary.port(), standby.port());
        let ports = match self {
            Self::PrimaryFirst => vec![primary, standby],
            Self::StandbyFirst => vec![standby, primary],
            Self::Behind(port) => vec![port, primary, standby],
            Self::StandbyOnly => vec![standby],
            Self::StandbyBehind(port) => vec![port, standby],
        };
        format!("host = {:?}\nport = {ports:?}", vec!["127.0.0.1"; ports.len()])
    }
}

impl Pair {
    fn place(&self) -> Place {
        Place::loopback(self.proxy.port())
    }

    async fn meet(&self, database: &str) -> Result<WireClient, Refused> {
        WireClient::try_connect(&self.place(), &[("user", "anyone"), ("database", database)]).await
    }

    async fn served(&self, database: &str) -> WireClient {
        let served = wait_for(PATIENCE, async || self.meet(database).await.ok()).await;
        served.unwrap_or_else(|| panic!("{database} does not serve:\n{}", self.proxy.log_text()))
    }

    async fn command(&self, sql: &str) {
        self.proxy.endpoint("leasehold").psql(sql).await.success();
    }
}

#[tokio::test]
async fn each_word_finds_its_host_in_whatever_order_they_are_written() {
    // What pg_is_in_recovery() says where the primary is written first, and where the standby is.
    let words = [
        ("any", ["f", "t"]),
        ("read-write", ["f", "f"]),
        ("primary", ["f", "f"]),
        ("read-only", ["t", "t"]),
        ("standby", ["t", "t"]),
        ("prefer-standby", ["t", "t"]),
    ];
    let mut databases = Vec::new();
    for (word, _) in &words {
        for (hosts, end) in [(Hosts::PrimaryFirst, 'p'), (Hosts::StandbyFirst, 's')] {
            let name = format!("{}_{end}", word.replace('-', "_"));
            databases.push((name, hosts, format!("target_session_attrs = '{word}'\npool_size = 2")));
        }
    }
    let list: Vec<(&str, Hosts, &str)> =
        databases.iter().map(|(name, hosts, keys)| (name.as_str(), *hosts, keys.as_str())).collect();
    let pair = or_skip!(start(&list).await);
    for (at, (word, expected)) in words.iter().enumerate() {
        for (order, expected) in expected.iter().enumerate() {
            let (name, _, _) = &databases[at * 2 + order];
            let mut client = pair.served(name).await;
            let said = client.value("SELECT pg_is_in_recovery()").await;
            assert_eq!(said, *expected, "{word} {name}");
        }
    }
    // The console has the host in use.
    let console = pair.proxy.endpoint("leasehold").connect().await;
    let rows = console.query("SHOW DATABASES", &[]).await.unwrap();
    for (name, port) in [("primary_s", pair.primary.port()), ("standby_p", pair.standby.port())] {
        let row = rows.iter().find(|row| row.get::<_, &str>("name") == name).unwrap();
        assert_eq!(row.get::<_, i64>("port"), i64::from(port), "{name}");
    }
}

/// A socket that nobody accepts from, with as many connections waiting as there may be: whoever else
/// comes hears nothing.
struct BlackHole {
    port: u16,
    _listener: TcpListener,
    _fill: Vec<TcpStream>,
}

impl BlackHole {
    fn open() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let listener: TcpListener = socket.into();
        let address = listener.local_addr().unwrap();
        let mut fill = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            fill.push(stream);
            assert!(fill.len() < 100, "the backlog has no end");
        }
        Self { port: address.port(), _listener: listener, _fill: fill }
    }
}

#[tokio::test]
async fn hosts_that_do_not_answer_cost_their_share_once() {
    let refused = Port::claim();
    let hole = BlackHole::open();
    let keys = "target_session_attrs = 'read-write'\npool_size = 8\nconnect_timeout = '9s'";
    let only = "target_session_attrs = 'read-write'\npool_size = 8\nconnect_timeout = '2s'";
    let list = [
        ("dead", Hosts::Behind(refused.number()), keys),
        ("silent", Hosts::Behind(hole.port), keys),
        ("none", Hosts::StandbyBehind(hole.port), only),
    ];
    let began = Instant::now();
    let pair = or_skip!(start(&list).await);
    drop(pair.served("dead").await);
    drop(pair.served("silent").await);
    let first = began.elapsed();
    // All of them at once, each with a connection of its own: nobody waits for the dead host again.
    for database in ["dead", "silent"] {
        let began = Instant::now();
        let mut clients = Vec::new();
        for _ in 0..8 {
            let mut client = pair.meet(database).await.unwrap();
            client.query("BEGIN").await;
            assert_eq!(client.value("SELECT pg_is_in_recovery()").await, "f");
            clients.push(client);
        }
        let took = began.elapsed();
        assert!(took < Duration::from_millis(2500), "{database}: {took:?}, at first {first:?}");
    }
    // Where none fits, one error says why of each.
    let mut last = String::new();
    let told = wait_until(PATIENCE, async || {
        if let Err(refused) = pair.meet("none").await {
            last = format!("{} {}", refused.text, refused.detail);
        }
        last.contains("no host fits")
    })
    .await;
    assert!(told, "{last}\n{}", pair.proxy.log_text());
    for why in [
        format!("127.0.0.1:{}: no login within its share of connect_timeout", hole.port),
        format!(
            "127.0.0.1:{}: it is a standby, and target_session_attrs is \"read-write\"",
            pair.standby.port()
        ),
    ] {
        assert!(last.contains(&why), "{why} is not in {last}");
    }
}

/// Clients that each write again and again.
struct Writers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    /// SQLSTATEs, and how long after the start.
    errors: Arc<Mutex<Vec<(Instant, String)>>>,
    alive: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    async fn start(pair: &Pair, database: &'static str, sql: &'static str, count: usize) -> Self {
        let mut writers = Self {
            stop: Arc::default(),
            done: Arc::default(),
            errors: Arc::default(),
            alive: Arc::new(AtomicUsize::new(count)),
            clients: Vec::new(),
        };
        for _ in 0..count {
            let mut client = pair.served(database).await;
            let (stop, done) = (writers.stop.clone(), writers.done.clone());
            let (errors, alive) = (writers.errors.clone(), writers.alive.clone());
            writers.clients.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.query(sql).await;
                    match answer.iter().find(|message| message.kind == b'E') {
                        Some(error) => errors.lock().unwrap().push((Instant::now(), error.field(b'C'))),
                        None => drop(done.fetch_add(1, Ordering::Relaxed)),
                    }
                    if answer.last().is_none_or(|message| message.kind != b'Z') {
                        alive.fetch_sub(1, Ordering::Relaxed);
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }));
        }
        writers
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap().iter().map(|(_, sqlstate)| sqlstate.clone()).collect()
    }

    /// Waits until so many more were done.
    async fn more(&self, count: u64, pair: &Pair) {
        let before = self.done();
        let more = async || self.done() >= before + count;
        assert!(wait_until(PATIENCE, more).await, "{:?}\n{}", self.errors(), pair.proxy.log_text());
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

/// Users of the proxy that are there now, as the server on this side of the promotion has them.
async fn rotate(pair: &Pair, server: &Postgres) {
    let before = server.roles_like("lh-%").await;
    pair.command("ROTATE").await;
    let replaced = async || {
        let now = server.roles_like("lh-%").await;
        now.len() == before.len() && now.iter().all(|user| !before.contains(user))
    };
    assert!(wait_until(PATIENCE, replaced).await, "{before:?}\n{}", pair.proxy.log_text());
}

#[tokio::test]
async fn a_promotion_under_load_costs_what_was_under_way_and_no_session() {
    let keys = "target_session_attrs = 'read-write'\npool_size = 4";
    let mut pair = or_skip!(start(&[("app", Hosts::PrimaryFirst, keys)]).await);
    let writers = Writers::start(&pair, "app", "INSERT INTO work VALUES (1)", 6).await;
    writers.more(50, &pair).await;
    rotate(&pair, &pair.primary).await;
    assert!(writers.errors().is_empty(), "{:?}", writers.errors());

    let began = Instant::now();
    pair.primary.stop(StopMode::Fast).await;
    pair.standby.promote().await;
    let promoted = began.elapsed();
    writers.more(50, &pair).await;
    let back = began.elapsed();
    assert!(back < promoted + Duration::from_secs(20), "{promoted:?} {back:?}\n{}", pair.proxy.log_text());
    let errors = writers.errors();
    let expected = ["57P01", "08006"];
    assert!(errors.iter().all(|sqlstate| expected.contains(&sqlstate.as_str())), "{errors:?}");
    assert!(errors.len() <= 12, "{errors:?}");

    // Afterwards all is as before: rotations too, with users made where the new primary is.
    rotate(&pair, &pair.standby).await;
    rotate(&pair, &pair.standby).await;
    writers.more(50, &pair).await;
    assert_eq!(writers.errors().len(), errors.len(), "{:?}", writers.errors());
    assert_eq!(writers.alive.load(Ordering::Relaxed), 6);
    writers.end().await;
}

#[tokio::test]
async fn a_server_that_became_read_only_is_left_by_connections_that_could_go_on() {
    // A soft demotion: the server still answers, and every session that is open can go on.
    let keys = "target_session_attrs = 'read-write'\npool_size = 4";
    let pair = or_skip!(start(&[("app", Hosts::PrimaryFirst, keys)]).await);
    let writers = Writers::start(&pair, "app", "INSERT INTO work VALUES (1)", 6).await;
    writers.more(50, &pair).await;
    // The user that serves is known there too, and can go on.
    pair.standby.catch_up(&pair.primary).await;
    pair.standby.promote().await;
    let meek = "ALTER SYSTEM SET default_transaction_read_only = on";
    pair.primary.admin().psql(meek).await.success();
    pair.primary.admin().psql("SELECT pg_reload_conf()").await.success();
    let count = async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'lh-%' AND query LIKE 'INSERT%'";
        let at = async |server: &Postgres| server.admin().psql(sql).await.success().trim().to_owned();
        (at(&pair.primary).await, at(&pair.standby).await)
    };
    let moved = async || matches!(count().await, (old, new) if old == "0" && new != "0");
    assert!(wait_until(PATIENCE, moved).await, "{:?}\n{}", count().await, pair.proxy.log_text());
    let errors = writers.errors();
    assert!(errors.iter().all(|sqlstate| sqlstate == "25006"), "{errors:?}");
    assert_eq!(writers.alive.load(Ordering::Relaxed), 6);
    writers.end().await;
    // Whoever was in mid-query when the setting was reported keeps it, as one of its own; who comes now does not.
    let writers = Writers::start(&pair, "app", "INSERT INTO work VALUES (1)", 6).await;
    writers.more(50, &pair).await;
    assert!(writers.errors().is_empty(), "{:?}", writers.errors());
    assert_eq!(count().await.0, "0");
    assert_eq!(pair.proxy.logged("this host does not fit any more").len(), 1, "{}", pair.proxy.log_text());
    writers.end().await;
}

#[tokio::test]
async fn a_user_that_is_late_on_the_standby_is_waited_for() {
    let keys = "target_session_attrs = 'standby'\npool_size = 4";
    let pair = or_skip!(start(&[("app", Hosts::PrimaryFirst, keys)]).await);
    let readers = Writers::start(&pair, "app", "SELECT count(*) FROM work", 6).await;
    readers.more(20, &pair).await;
    let user = async || pair.meet("app").await.unwrap().value("SELECT session_user").await;
    let before = user().await;
    pair.standby.admin().psql("SELECT pg_wal_replay_pause()").await.success();
    pair.command("ROTATE").await;
    let late = async || pair.proxy.log_text().contains("replication is late");
    assert!(wait_until(PATIENCE, late).await, "{}", pair.proxy.log_text());
    // The new one lives on the primary, and is neither used nor given up.
    let users = pair.primary.roles_like("lh-%").await;
    assert_eq!(users.len(), 2, "{users:?}");
    assert_eq!(user().await, before);
    readers.more(20, &pair).await;
    pair.standby.admin().psql("SELECT pg_wal_replay_resume()").await.success();
    // For a moment both serve, one connection after the other.
    let other = async || Some(user().await).filter(|user| *user != before);
    let now = wait_for(PATIENCE, other).await.unwrap_or_else(|| panic!("{}", pair.proxy.log_text()));
    assert!(users.contains(&now), "{now} is none of {users:?}");
    let gone = async || pair.primary.roles_like("lh-%").await == [now.clone()];
    assert!(wait_until(PATIENCE, gone).await, "{}", pair.proxy.log_text());
    readers.more(20, &pair).await;
    assert!(readers.errors().is_empty(), "{:?}", readers.errors());
    readers.end().await;
}

#[tokio::test]
async fn one_lease_serves_the_primary_and_a_pool_of_standbys() {
    let shop = "pool_size = 4\ncredentials = 'shop'\ntarget_session_attrs";
    let (write, read) = (format!("{shop} = 'read-write'"), format!("{shop} = 'standby'"));
    let list = [("write", Hosts::StandbyFirst, write.as_str()), ("read", Hosts::StandbyOnly, read.as_str())];
    let pair = or_skip!(start(&list).await);
    let writers = Writers::start(&pair, "write", "INSERT INTO work VALUES (1)", 3).await;
    let readers = Writers::start(&pair, "read", "SELECT count(*) FROM work WHERE n = 0", 3).await;
    for _ in 0..3 {
        rotate(&pair, &pair.primary).await;
        writers.more(20, &pair).await;
        readers.more(20, &pair).await;
        let users = pair.primary.roles_like("lh-%").await;
        for database in ["write", "read"] {
            let user = pair.meet(database).await.unwrap().value("SELECT session_user").await;
            assert_eq!([user], users[..], "{database}");
        }
    }
    for load in [writers, readers] {
        assert!(load.errors().is_empty(), "{:?}\n{}", load.errors(), pair.proxy.log_text());
        load.end().await;
    }
    // Neither database was without a user meanwhile.
    assert!(pair.proxy.logged("has no user yet").is_empty(), "{}", pair.proxy.log_text());
}
