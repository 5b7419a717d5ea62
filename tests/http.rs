//! HTTP of the real binary: probes, status and the way to end it, beside a real PostgreSQL and a real Vault.

#![allow(clippy::unwrap_used, clippy::panic)] // panicking is how a test fails, helpers included

mod support;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::ports::Port;
use support::wait::wait_for;
use support::{DatabaseRole, Leasehold, Missing, Postgres, StopMode, Vault, bound, wait_until};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Long enough for a loaded machine; only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a proxy answers HTTP.
#[derive(Debug)]
struct Http {
    port: Port,
    /// Where it listens.
    listen: IpAddr,
    /// Where we ask.
    ask: IpAddr,
}

/// What it said.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    status: u16,
    head: String,
    text: String,
    body: Value,
}

impl Http {
    fn claim() -> Self {
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        Self { port: Port::claim(), listen: loopback, ask: loopback }
    }

    fn section(&self) -> String {
        format!("[http]\nlisten = \"{}:{}\"\n", self.listen, self.port.number())
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect((self.ask, self.port.number())).await.unwrap()
    }

    /// What comes back for these bytes, up to the end of the connection.
    async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        // Who is sent away while it still talks may not get all of it said.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        answer
    }

    async fn ask(&self, method: &str, path: &str, headers: &str) -> Said {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: proxy\r\n{headers}\r\n");
        let answer = String::from_utf8(self.raw(request.as_bytes()).await).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Said {
            status,
            head: head.to_lowercase(),
            text: body.to_owned(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }

    async fn get(&self, path: &str) -> Said {
        self.ask("GET", path, "").await
    }

    async fn becomes(&self, path: &str, status: u16) -> Said {
        let found = wait_for(PATIENCE, async || {
            let said = self.get(path).await;
            (said.status == status).then_some(said)
        });
        match found.await {
            Some(said) => said,
            None => panic!("{path} does not become {status}: {:?}", self.get(path).await),
        }
    }
}

/// The only reason that is given, as database, word and detail.
fn reason(said: &Said) -> (String, String, String) {
    let reasons = said.body["reasons"].as_array().unwrap_or_else(|| panic!("{said:?}"));
    assert_eq!((reasons.len(), &said.body["ok"]), (1, &json!(false)), "{said:?}");
    let field = |name: &str| reasons[0][name].as_str().unwrap_or_default().to_owned();
    (field("database"), field("reason"), field("detail"))
}

/// A PostgreSQL, and what a proxy with users of its own making logs in with.
struct House {
    postgres: Postgres,
    directory: TempDir,
    http: Http,
}

impl House {
    async fn open() -> Result<Self, Missing> {
        let postgres = Postgres::start().await?;
        Ok(Self { postgres, directory: tempfile::tempdir().unwrap(), http: Http::claim() })
    }

    fn admin(&self) -> PathBuf {
        self.directory.path().join("admin-url")
    }

    fn write_admin(&self) {
        std::fs::write(self.admin(), self.postgres.admin_url()).unwrap();
    }

    fn config(&self) -> String {
        let creation =
            r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"#;
        format!(
            "threads = 2\nthread_busy = 0\n{}[databases.app]\nhost = \"127.0.0.1\"\nport = {}\ndbname = \"postgres\"\n\
             sslmode = \"disable\"\npool_size = 4\n[databases.app.credentials]\nsource = \"local\"\n\
             admin_url_file = {:?}\ncreation_statements = [{creation:?}]\ndefault_ttl = \"10m\"\n",
            self.http.section(),
            self.postgres.port(),
            self.admin(),
        )
    }

    async fn run(&self) -> Leasehold {
        self.write_admin();
        let proxy = Leasehold::run(&self.config()).await;
        self.http.becomes("/readyz", 200).await;
        proxy
    }

    /// The users that the proxy made.
    async fn users(&self) -> Vec<String> {
        self.postgres.roles_like("lh-%").await
    }
}

#[tokio::test]
async fn a_proxy_starts_once_there_was_a_user_and_is_ready_while_its_server_is_there() {
    let mut house = or_skip!(House::open().await);
    let mut proxy = Leasehold::run(&house.config()).await;
    // Without the admin's URL there is no user.
    let told = async || reason(&house.http.get("/readyz").await).2.contains("admin-url");
    assert!(wait_until(PATIENCE, told).await, "{:?}", house.http.get("/readyz").await);
    for path in ["/startupz", "/readyz"] {
        let said = house.http.get(path).await;
        let (database, word, detail) = reason(&said);
        assert_eq!((said.status, &*database, &*word), (503, "app", "no_user"), "{path} {detail}");
        assert!(detail.contains("admin-url"), "{path} {detail}");
    }
    let alive = house.http.get("/livez").await;
    assert_eq!((alive.status, alive.body), (200, json!({ "ok": true, "reasons": [] })));

    house.write_admin();
    house.http.becomes("/startupz", 200).await;
    let ready = house.http.becomes("/readyz", 200).await;
    assert_eq!(ready.body, json!({ "ok": true, "reasons": [] }));
    assert!(ready.head.contains("content-type: application/json"), "{ready:?}");

    let began = Instant::now();
    house.postgres.stop(StopMode::Fast).await;
    let said = house.http.becomes("/readyz", 503).await;
    let took = began.elapsed();
    let (database, word, detail) = reason(&said);
    assert_eq!((&*database, &*word), ("app", "server"), "{detail}");
    assert_eq!(house.http.get("/livez").await.status, 200);
    assert_eq!(house.http.get("/startupz").await.status, 200);
    house.postgres.start_again().await;
    house.http.becomes("/readyz", 200).await;
    assert!(took <= bound(Duration::from_secs(5)), "{took:?}");
    eprintln!("not ready {took:?} after the stop began: {detail}");
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
}

#[tokio::test]
async fn the_status_tells_all_but_secrets() {
    let house = or_skip!(House::open().await);
    let mut proxy = house.run().await;
    let busy = proxy.endpoint("app").connect().await;
    busy.batch_execute("BEGIN").await.unwrap();
    let idle = proxy.endpoint("app").connect().await;
    idle.simple_query("SELECT 1").await.unwrap();
    let console = proxy.endpoint("leasehold").connect().await;
    let rows = console.query("SHOW GENERATIONS", &[]).await.unwrap();
    let (lease, user): (String, String) = (rows[0].get("lease_id"), rows[0].get("user"));

    let said = house.http.get("/status").await;
    assert_eq!(said.status, 200);
    let text = &said.text;
    eprintln!("{text}");
    let password = std::fs::read_to_string(house.admin()).unwrap();
    let password = password.split(['@', ':']).nth(2).unwrap();
    assert!(!lease.is_empty() && !password.is_empty());
    for secret in [&*lease, password, "password", "lease", "token"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let status = &said.body;
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["uptime_seconds"].as_u64().unwrap() < 600, "{text}");
    assert_eq!((&status["ready"], &status["stopping"]), (&json!(true), &json!(false)));
    assert_eq!(status["threads"], json!({ "answering": 2, "blocked": [] }));
    let app = &status["databases"][0];
    assert_eq!(
        (&app["database"], &app["source"], &app["pool_mode"]),
        (&"app".into(), &"local".into(), &"transaction".into())
    );
    assert_eq!(app["clients"], json!({ "active": 1, "waiting": 0, "idle": 1 }));
    assert_eq!((&app["servers"]["busy"], &app["servers"]["pool_size"]), (&json!(1), &json!(4)));
    let generation = &app["generations"][0];
    assert_eq!((&generation["generation"], &generation["state"]), (&json!(1), &json!("active")));
    assert_eq!(generation["user"], json!(user));
    let left = generation["expires_in_seconds"].as_f64().unwrap();
    assert!(left > 300.0 && left <= 600.0, "{left}");
    assert!(generation["connections"].as_u64().unwrap() >= 1, "{text}");
    busy.batch_execute("COMMIT").await.unwrap();
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
}

#[tokio::test]
async fn quitquitquit_lets_clients_drain_and_revokes_every_user() {
    let house = or_skip!(House::open().await);
    let mut proxy = house.run().await;
    assert_eq!(house.users().await.len(), 1);
    let client = proxy.endpoint("app").connect().await;
    client.batch_execute("CREATE TEMP TABLE kept (n int); BEGIN; INSERT INTO kept VALUES (1)").await.unwrap();

    let refused = house.http.get("/quitquitquit").await;
    assert_eq!(refused.status, 405);
    assert!(refused.head.contains("allow: post"), "{refused:?}");
    let browser = house.http.ask("POST", "/quitquitquit", "Origin: http://evil.example\r\n").await;
    assert_eq!(browser.status, 403);
    assert!(proxy.running() && proxy.logged("stopping:").is_empty(), "{}", proxy.log_text());

    let said = house.http.ask("POST", "/quitquitquit", "Content-Length: 0\r\n").await;
    assert_eq!((said.status, &said.body), (200, &json!({ "stopping": true })));
    let ready = house.http.becomes("/readyz", 503).await;
    assert_eq!(reason(&ready).1, "stopping");
    // Threads that end now are not dead ones.
    assert_eq!(house.http.get("/livez").await.status, 200);
    client.batch_execute("INSERT INTO kept VALUES (2); COMMIT").await.unwrap();
    assert_eq!(proxy.wait_exit(PATIENCE).await, Some(0), "{}", proxy.log_text());
    assert!(house.users().await.is_empty(), "{}", proxy.log_text());
    assert!(proxy.log_text().contains("quitquitquit"), "{}", proxy.log_text());
}

/// An address of this host that is not on loopback.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the system only says by which address it would go.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}

#[tokio::test]
async fn who_does_not_come_by_loopback_may_probe_and_not_stop_it() {
    let Some(outer) = outer_address() else { skip!("no address off loopback on this machine") };
    let mut house = or_skip!(House::open().await);
    house.http.listen = Ipv4Addr::UNSPECIFIED.into();
    house.http.ask = outer;
    let mut proxy = house.run().await;
    let warned = proxy.logged("`http.listen` is 0.0.0.0:");
    assert!(warned.len() == 1 && warned[0]["level"] == "WARN", "{}", proxy.log_text());
    for path in ["/startupz", "/livez", "/readyz", "/status"] {
        assert_eq!(house.http.get(path).await.status, 200, "{path}");
    }
    let said = house.http.ask("POST", "/quitquitquit", "").await;
    assert_eq!(said.status, 403, "{said:?}");
    house.http.ask = Ipv4Addr::LOCALHOST.into();
    assert_eq!(house.http.get("/readyz").await.status, 200);
    assert!(proxy.logged("stopping:").is_empty(), "{}", proxy.log_text());
    assert_eq!(house.http.ask("POST", "/quitquitquit", "").await.status, 200);
    assert_eq!(proxy.wait_exit(PATIENCE).await, Some(0), "{}", proxy.log_text());
}

#[tokio::test]
async fn nothing_that_a_client_sends_is_more_than_refused() {
    let house = or_skip!(House::open().await);
    let mut proxy = house.run().await;
    let http = &house.http;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    let fat = format!("GET /livez HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(500));
    let cases: &[(&[u8], &[u16])] = &[
        (b"\0\0\0\x08\x04\xd2\x16\x2f", &[400]),
        (b"GET\r\n\r\n", &[400]),
        (b"GET /livez HTTP/9.9\r\n\r\n", &[400]),
        (b"GET /livez HTTP/1.1\r\nContent-Length: -1\r\n\r\n", &[400]),
        (b"GET /livez HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", &[400]),
        (b"\xff\xfe /livez HTTP/1.1\r\n\r\n", &[400]),
        // HTTP/2 is not spoken, not even to say so.
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[]),
        (long.as_bytes(), &[414, 431]),
        (fat.as_bytes(), &[431]),
        (many.as_bytes(), &[431]),
        (b"GET /%00%ff/../livez HTTP/1.1\r\n\r\n", &[404]),
        (b"BREW /livez HTTP/1.1\r\n\r\n", &[405]),
        (b"GET http://elsewhere/livez HTTP/1.1\r\n\r\n", &[200]),
        (b"GET /livez?verbose HTTP/1.0\r\n\r\n", &[200]),
        (b"POST /status HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", &[405]),
    ];
    for (bytes, statuses) in cases {
        let answer = http.raw(bytes).await;
        let text = String::from_utf8_lossy(&answer);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        // Who still talks when it is refused may find the connection reset.
        let closed = answer.is_empty() && (bytes.len() > 16 * 1024 || statuses.is_empty());
        assert!(closed || status.is_some_and(|status| statuses.contains(&status)), "{shown:?}: {text:?}");
    }
    let unknown = http.get("/index.html").await;
    assert_eq!((unknown.status, unknown.body["pages"][1].as_str()), (404, Some("/startupz")));
    let head = http.ask("HEAD", "/readyz", "").await;
    assert_eq!((head.status, head.body), (200, Value::Null));
    // One request, one answer, whatever the client would like.
    let twice = b"GET /livez HTTP/1.1\r\nConnection: keep-alive\r\n\r\nGET /livez HTTP/1.1\r\n\r\n";
    let answer = String::from_utf8(http.raw(twice).await).unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert!(!proxy.log_text().contains("panicked"), "{}", proxy.log_text());
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
}

#[tokio::test]
async fn who_is_slow_or_comes_too_often_is_sent_away_and_nobody_else_suffers() {
    let house = or_skip!(House::open().await);
    let mut proxy = house.run().await;
    let files = proxy.open_files();
    let mut slow = Vec::new();
    let began = Instant::now();
    for _ in 0..64 {
        let mut stream = house.http.connect().await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nX-Slow: ").await.unwrap();
        slow.push(stream);
    }
    // All places are taken: one more is told so, or finds the door shut.
    let crowded = async || {
        let answer = house.http.raw(b"GET /livez HTTP/1.1\r\n\r\n").await;
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 503")
    };
    assert!(wait_until(Duration::from_secs(4), crowded).await);
    assert!(proxy.open_files() <= files + 80, "{} {files}", proxy.open_files());
    // Clients of the database do not notice.
    let client = proxy.endpoint("app").connect().await;
    client.simple_query("SELECT 1").await.unwrap();
    // Drip by drip does not help: the time is for the whole head.
    for stream in &mut slow {
        let _ = stream.write_all(b"x").await;
    }
    house.http.becomes("/livez", 200).await;
    let took = began.elapsed();
    assert!(took <= bound(Duration::from_secs(10)), "{took:?}");
    for mut stream in slow {
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok());
    }
    eprintln!("room again {took:?} after 64 slow clients came");
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
}

/// A proxy whose users live that long at a real Vault, and the way to it.
struct Vaulted {
    postgres: Postgres,
    vault: Vault,
    http: Http,
    proxy: Leasehold,
    _directory: TempDir,
}

impl Vaulted {
    async fn open(ttl: &str, sections: &str) -> Result<Self, Missing> {
        let postgres = Postgres::start().await?;
        let vault = Vault::start().await?;
        let role =
            DatabaseRole { default_ttl: ttl.to_owned(), max_ttl: ttl.to_owned(), ..DatabaseRole::default() };
        vault.setup_database(&postgres, &role).await;
        let login = vault.setup_approle("leasehold", "database/creds/app-role", json!({})).await;
        let directory = tempfile::tempdir().unwrap();
        let secret_id = directory.path().join("secret-id");
        std::fs::write(&secret_id, login.secret_id).unwrap();
        let http = Http::claim();
        let config = format!(
            "{}[vault]\naddress = {:?}\ntimeout = \"1s\"\n[vault.auth]\nmethod = \"approle\"\nrole_id = {:?}\n\
             secret_id_file = {secret_id:?}\n[databases.app]\nhost = \"127.0.0.1\"\nport = {}\n\
             dbname = \"postgres\"\nsslmode = \"disable\"\n\
             credentials = {{ source = \"vault\", path = \"database/creds/app-role\" }}\n{sections}\n",
            http.section(),
            vault.address(),
            login.role_id.trim(),
            postgres.port(),
        );
        let proxy = Leasehold::run(&config).await;
        http.becomes("/readyz", 200).await;
        Ok(Self { postgres, vault, http, proxy, _directory: directory })
    }

    /// The next user cannot be had: ready until the end is near, then not; ready again with a user.
    async fn rides_out(&mut self) {
        // Asked for in vain, while the user that serves is good.
        let failed = async || !self.proxy.logged("no new user, the active one serves on").is_empty();
        let mut sooner = Vec::new();
        let tried = wait_until(PATIENCE, async || {
            sooner.push(self.http.get("/readyz").await);
            failed().await
        });
        assert!(tried.await, "{}", self.proxy.log_text());
        let not_ready: Vec<_> = sooner.iter().filter(|said| said.status != 200).collect();
        assert!(not_ready.is_empty(), "{not_ready:?}\n{}", self.proxy.log_text());
        let status = self.http.get("/status").await.body;
        assert!(status["databases"][0]["failures"].as_u64().unwrap() >= 1, "{status}");
        assert_eq!(
            (&status["ready"], self.http.get("/readyz").await.status),
            (&json!(true), 200),
            "{status}"
        );

        let said = self.http.becomes("/readyz", 503).await;
        let (database, word, detail) = reason(&said);
        assert_eq!((&*database, &*word), ("app", "user_ends"), "{detail}\n{}", self.proxy.log_text());
        assert_eq!(self.http.get("/livez").await.status, 200);
        assert_eq!(self.http.get("/startupz").await.status, 200);
        // It still serves.
        self.proxy.endpoint("app").connect().await.simple_query("SELECT 1").await.unwrap();
        eprintln!("{detail}");
    }

    async fn close(mut self) {
        self.http.becomes("/readyz", 200).await;
        assert_eq!(self.proxy.terminate().await, 0, "{}", self.proxy.log_text());
        let nothing = async || self.postgres.roles_like("v-%").await.is_empty();
        assert!(wait_until(PATIENCE, nothing).await, "{}", self.proxy.log_text());
    }
}

/// Of 40 s: the next user is due after 12, the end is too near from 24 on, the close at 36.
const EARLY: &str = "[rotation]\nat = 0.3\njitter = 0.0";

#[tokio::test]
async fn a_sealed_vault_is_no_reason_until_the_user_is_about_to_end() {
    let mut site = or_skip!(Vaulted::open("40s", EARLY).await);
    site.vault.seal().await;
    site.rides_out().await;
    site.vault.unseal().await;
    site.close().await;
}

#[tokio::test]
async fn nor_is_one_that_hangs() {
    let mut site = or_skip!(Vaulted::open("40s", EARLY).await);
    site.vault.freeze();
    site.rides_out().await;
    site.vault.thaw();
    site.close().await;
}
