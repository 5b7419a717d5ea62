//! /metrics of the real binary, beside a real PostgreSQL and a real Vault.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, missing_docs)] // panicking is how a test fails

#[path = "metrics/exposition.rs"]
mod exposition;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use exposition::Exposition;
use support::ports::Port;
use support::wait::wait_for;
use support::{DatabaseRole, Leasehold, Missing, Postgres, Vault, wait_until};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Long enough for a loaded machine; only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

/// One path of a proxy's HTTP: status, head and body.
async fn get(port: u16, path: &str) -> (u16, String, String) {
    // A proxy that has just started accepts clients a moment before it answers here.
    let connected = wait_for(PATIENCE, async || TcpStream::connect(("127.0.0.1", port)).await.ok());
    let mut stream = connected.await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: proxy\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

async fn scrape(port: u16) -> (Exposition, String) {
    let (status, head, text) = get(port, "/metrics").await;
    assert_eq!(status, 200, "{text}");
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    (Exposition::parse(&text), text)
}

/// A PostgreSQL, and a proxy with users of its own making before it.
struct House {
    postgres: Postgres,
    proxy: Leasehold,
    http: Port,
    admin_url: String,
    _directory: TempDir,
}

impl House {
    async fn open(database: &str) -> Result<Self, Missing> {
        let postgres = Postgres::start().await?;
        let directory = tempfile::tempdir().unwrap();
        let (file, admin_url, http) =
            (directory.path().join("admin-url"), postgres.admin_url(), Port::claim());
        std::fs::write(&file, &admin_url).unwrap();
        let creation =
            r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"#;
        let config = format!(
            "threads = 2\nthread_busy = 0\n[http]\nlisten = \"127.0.0.1:{}\"\n[databases.{database:?}]\nhost = \"127.0.0.1\"\n\
             port = {}\ndbname = \"postgres\"\nsslmode = \"disable\"\npool_size = 3\n\
             checkout_timeout = \"2s\"\n[databases.{database:?}.credentials]\nsource = \"local\"\n\
             admin_url_file = {file:?}\ncreation_statements = [{creation:?}]\ndefault_ttl = \"10m\"\n",
            http.number(),
            postgres.port(),
        );
        let proxy = Leasehold::run(&config).await;
        let house = Self { postgres, proxy, http, admin_url, _directory: directory };
        let ready = async || get(house.http.number(), "/readyz").await.0 == 200;
        assert!(wait_until(PATIENCE, ready).await, "{}", house.proxy.log_text());
        Ok(house)
    }

    async fn scrape(&self) -> Exposition {
        scrape(self.http.number()).await.0
    }

    /// The first scrape for which this holds.
    async fn becomes(&self, what: &str, holds: impl Fn(&Exposition) -> bool) -> Exposition {
        let found = wait_for(PATIENCE, async || Some(self.scrape().await).filter(&holds)).await;
        found.unwrap_or_else(|| panic!("never: {what}\n{}", self.proxy.log_text()))
    }

    async fn rotate(&self, times: u32) {
        for _ in 0..times {
            let asked = [("reason", "asked"), ("outcome", "switched")];
            let before = self.scrape().await.sum("leasehold_rotations_total", &asked);
            let console = self.proxy.endpoint("leasehold").connect().await;
            console.simple_query("ROTATE app").await.unwrap();
            let more = |seen: &Exposition| seen.sum("leasehold_rotations_total", &asked) == before + 1.0;
            self.becomes("a rotation", more).await;
        }
    }

    async fn close(mut self) {
        assert_eq!(self.proxy.terminate().await, 0, "{}", self.proxy.log_text());
    }
}

const APP: &[(&str, &str)] = &[("database", "app")];

#[tokio::test]
async fn after_n_transactions_the_figures_say_n_and_who_is_there() {
    let house = or_skip!(House::open("app").await);
    let first = house.scrape().await;
    assert_eq!(first.value("leasehold_transactions_total", APP), 0.0);
    assert_eq!(first.value("leasehold_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert_eq!((first.value("leasehold_ready", APP), first.sum("leasehold_not_ready", APP)), (1.0, 0.0));
    let left = first.value("leasehold_generation_expires_seconds", APP);
    assert!(left > 300.0 && left <= 600.0, "{left}");

    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), "SELECT 1;\n").unwrap();
    let file = script.path().to_str().unwrap();
    let load =
        house.proxy.endpoint("app").pgbench(&["-n", "-f", file, "-c", "4", "-j", "1", "-t", "50"]).await;
    load.assert_clean();
    let busy = house.proxy.endpoint("app").connect().await;
    busy.batch_execute("BEGIN").await.unwrap();
    let tied = house.proxy.endpoint("app").connect().await;
    tied.batch_execute("CREATE TEMP TABLE t (n int)").await.unwrap();
    let idle = house.proxy.endpoint("app").connect().await;
    idle.simple_query("SELECT 1").await.unwrap();
    let seen = house
        .becomes("all at rest", |seen| {
            seen.sum("leasehold_clients", APP) == 3.0 && seen.sum("leasehold_pinned_clients", APP) == 1.0
        })
        .await;
    let pins = |name, reason| seen.value(name, &[("database", "app"), ("reason", reason)]);
    for (reason, expected) in [("temporary", 1.0), ("listen", 0.0), ("loaded", 0.0)] {
        assert_eq!(pins("leasehold_pinned_by", reason), expected, "{reason}");
        assert_eq!(pins("leasehold_pins_total", reason), expected, "{reason}");
    }
    assert_eq!(seen.value("leasehold_pins_refused_total", APP), 0.0);
    // 200 of pgbench, the table, the idle client's; BEGIN is answered and ends none.
    assert_eq!(seen.value("leasehold_transactions_total", APP), 202.0);
    assert_eq!(seen.value("leasehold_queries_total", APP), 203.0);
    let times = ["leasehold_query_seconds_total", "leasehold_transaction_seconds_total"];
    let times = times.map(|name| seen.value(name, APP));
    assert!(times.iter().all(|seconds| (0.001..600.0).contains(seconds)), "{times:?}");
    assert!(seen.value("leasehold_checkouts_total", APP) >= 203.0);
    let clients = |state| seen.value("leasehold_clients", &[("database", "app"), ("state", state)]);
    assert_eq!((clients("active"), clients("waiting")), (2.0, 0.0));
    let held = [("database", "app"), ("state", "active"), ("generation_state", "active")];
    assert_eq!(seen.value("leasehold_connections", &held), 2.0);
    assert_eq!(seen.value("leasehold_pool_size", APP), 3.0);
    assert!(seen.value("process_cpu_seconds_total", &[]) > 0.0);
    assert!(seen.value("process_resident_memory_bytes", &[]) > 1e6);
    assert!(seen.value("process_open_fds", &[]) > 5.0);
    busy.batch_execute("COMMIT").await.unwrap();
    house.close().await;
}

#[tokio::test]
async fn rotations_show_and_add_no_series_and_no_secret() {
    let house = or_skip!(House::open("app").await);
    let client = house.proxy.endpoint("app").connect().await;
    client.simple_query("SELECT 1").await.unwrap();
    house.rotate(1).await;
    let before = house.scrape().await.series();
    house.rotate(3).await;
    client.simple_query("SELECT 1").await.unwrap();
    let (seen, text) = scrape(house.http.number()).await;
    assert_eq!(seen.series(), before);
    let start = [("database", "app"), ("reason", "start"), ("outcome", "switched")];
    assert_eq!(seen.value("leasehold_rotations_total", &start), 1.0);
    assert_eq!(seen.sum("leasehold_rotations_total", APP), 5.0);
    assert_eq!(seen.value("leasehold_rotation_duration_seconds_count", APP), 5.0);
    assert!(seen.value("leasehold_rotation_duration_seconds_sum", APP) > 0.0);
    let revoked = [("database", "app"), ("result", "revoked")];
    let seen = house
        .becomes("all drained and revoked", |seen| {
            seen.value("leasehold_drain_duration_seconds_count", APP) == 4.0
                && seen.value("leasehold_revocations_total", &revoked) == 4.0
        })
        .await;
    assert!(seen.value("leasehold_watches_total", &[("database", "app"), ("result", "alive")]) > 0.0);
    assert_eq!(seen.sum("leasehold_watches_total", &[("result", "gone")]), 0.0);

    let console = house.proxy.endpoint("leasehold").connect().await;
    let rows = console.query("SHOW GENERATIONS", &[]).await.unwrap();
    assert!(rows.len() >= 4);
    let mut secrets: Vec<String> = house.admin_url.split(['@', ':', '/']).map(str::to_owned).collect();
    secrets.retain(|part| part.len() > 8);
    for row in &rows {
        secrets.extend([row.get::<_, String>("user"), row.get::<_, String>("lease_id")]);
    }
    secrets.extend(house.postgres.roles_like("lh-%").await);
    secrets.extend(["127.0.0.1".to_owned(), "anyone".to_owned()]);
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        assert!(!text.contains(secret.as_str()), "{secret} in {text}");
    }
    eprintln!("{} series of {} metrics, {} bytes", before.len(), seen.families.len(), text.len());
    house.close().await;
}

#[tokio::test]
async fn waits_errors_bytes_and_statements_are_counted() {
    let house = or_skip!(House::open("app").await);
    let endpoint = house.proxy.endpoint("app");
    let client = endpoint.connect().await;
    for sql in ["SELECT 1/0", "SELECT nothing", "DO $$ BEGIN RAISE 'x' USING ERRCODE = 'ZZ123'; END $$"] {
        assert!(client.simple_query(sql).await.is_err());
    }
    let statement = client.prepare("SELECT repeat('x', $1)").await.unwrap();
    let text: String = client.query_one(&statement, &[&100_000]).await.unwrap().get(0);
    assert_eq!(text.len(), 100_000);
    let seen = house.scrape().await;
    let errors =
        |class| seen.value("leasehold_errors_total", &[("database", "app"), ("sqlstate_class", class)]);
    assert_eq!((errors("22"), errors("42"), errors("other")), (1.0, 1.0, 1.0));
    assert_eq!(seen.sum("leasehold_errors_total", APP), 3.0);
    let bytes = |from| seen.value("leasehold_received_bytes_total", &[("database", "app"), ("from", from)]);
    assert!((100_000.0..110_000.0).contains(&bytes("server")), "{}", bytes("server"));
    assert!((100.0..2_000.0).contains(&bytes("client")), "{}", bytes("client"));
    assert_eq!(seen.value("leasehold_prepared_statements", APP), 1.0);

    // All three connections are held; one client waits and gets one, one waits in vain.
    let waited = seen.value("leasehold_checkout_wait_seconds_count", APP);
    let mut holders = Vec::new();
    for _ in 0..3 {
        let holder = endpoint.connect().await;
        holder.batch_execute("BEGIN").await.unwrap();
        holders.push(holder);
    }
    let opened = house.scrape().await.value("leasehold_checkout_wait_seconds_count", APP);
    assert!((waited..=waited + 3.0).contains(&opened));
    let waiting = tokio::spawn(async move { client.simple_query("SELECT 1").await.map(drop) });
    let clients = [("database", "app"), ("state", "waiting")];
    house.becomes("a client that waits", |seen| seen.sum("leasehold_clients", &clients) == 1.0).await;
    holders[0].batch_execute("COMMIT").await.unwrap();
    waiting.await.unwrap().unwrap();
    holders[0].batch_execute("BEGIN").await.unwrap();
    let vain = endpoint.connect().await;
    assert_eq!(vain.simple_query("SELECT 1").await.unwrap_err().code().unwrap().code(), "53300");
    let seen = house.scrape().await;
    // The holder that came back at once may have had to wait a moment too.
    let waits = seen.value("leasehold_checkout_wait_seconds_count", APP) - opened;
    assert!((1.0..=2.0).contains(&waits), "{waits}");
    assert!(seen.value("leasehold_checkout_wait_seconds_sum", APP) > 0.0);
    assert_eq!(seen.value("leasehold_checkout_timeouts_total", APP), 1.0);
    house.close().await;
}

#[tokio::test]
async fn a_database_of_any_name_is_a_valid_label() {
    let name = "a\"b\\c{d}";
    let house = or_skip!(House::open(name).await);
    assert_eq!(house.scrape().await.value("leasehold_ready", &[("database", name)]), 1.0);
    house.close().await;
}

#[tokio::test]
async fn the_manual_has_every_metric_with_type_labels_and_unit() {
    let house = or_skip!(House::open("app").await);
    let seen = house.scrape().await;
    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/http.md")).unwrap();
    let rows = manual.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[name, kind, labels, unit, meaning] = cells.as_slice() else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        Some((name, (kind, labels, unit, meaning)))
    });
    let mut rows: BTreeMap<&str, _> = rows.collect();
    for (name, family) in &seen.families {
        let suffix = match family.kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let name = format!("{name}{suffix}");
        let found = rows.remove(name.as_str());
        let (kind, labels, unit, meaning) = found.unwrap_or_else(|| panic!("{name} is not in docs/http.md"));
        assert_eq!((kind, unit), (family.kind.as_str(), family.unit.as_str()), "{name}");
        assert!(!meaning.is_empty(), "{name}");
        if !family.samples.is_empty() {
            let told: BTreeSet<&str> = labels.split(", ").filter(|label| !label.is_empty()).collect();
            assert_eq!(told, family.labels(), "{name}");
        }
    }
    assert!(rows.is_empty(), "in docs/http.md and nowhere else: {:?}", rows.keys());
    house.close().await;
}

#[tokio::test]
async fn calls_to_vault_and_tries_in_vain_are_counted_and_hold_no_name() {
    let postgres = or_skip!(Postgres::start().await);
    let vault = or_skip!(Vault::start().await);
    vault.setup_database(&postgres, &DatabaseRole::default()).await;
    let login = vault
        .setup_approle(
            "leasehold",
            "database/creds/app-role",
            serde_json::json!({ "token_ttl": "20m", "token_max_ttl": "20m" }),
        )
        .await;
    let directory = tempfile::tempdir().unwrap();
    let (secret_id, http) = (directory.path().join("secret-id"), Port::claim());
    std::fs::write(&secret_id, &login.secret_id).unwrap();
    let config = format!(
        "[http]\nlisten = \"127.0.0.1:{}\"\n[vault]\naddress = {:?}\n[vault.auth]\nmethod = \"approle\"\n\
         role_id = {:?}\nsecret_id_file = {secret_id:?}\n[databases.app]\nhost = \"127.0.0.1\"\nport = {}\n\
         dbname = \"postgres\"\nsslmode = \"disable\"\n\
         credentials = {{ source = \"vault\", path = \"database/creds/app-role\" }}\n",
        http.number(),
        vault.address(),
        login.role_id.trim(),
        postgres.port(),
    );
    let mut proxy = Leasehold::run(&config).await;
    let ready = async || get(http.number(), "/readyz").await.0 == 200;
    assert!(wait_until(PATIENCE, ready).await, "{}", proxy.log_text());
    let (seen, _) = scrape(http.number()).await;
    for operation in ["login", "issue"] {
        let labels = [("database", "app"), ("operation", operation), ("status", "ok")];
        assert_eq!(seen.value("leasehold_vault_requests_total", &labels), 1.0, "{operation}");
        let took = seen.value("leasehold_vault_request_duration_seconds_sum", &labels[..2]);
        assert!(took > 0.0 && took < 60.0, "{operation} {took}");
    }

    let token = seen.value("leasehold_token_expires_seconds", APP);
    assert!(token > 900.0 && token <= 1200.0, "{token}");

    let console = proxy.endpoint("leasehold").connect().await;
    let generations = console.query("SHOW GENERATIONS", &[]).await.unwrap();
    let ends: Option<f64> = generations[0].get("token_expires_in");
    assert!(ends.is_some_and(|ends| ends > 900.0 && ends <= token), "{ends:?}");

    vault.seal().await;
    console.simple_query("ROTATE app").await.unwrap();
    let sealed = [("database", "app"), ("status", "503")];
    let vain = [("database", "app"), ("reason", "asked"), ("outcome", "not_issued")];
    let in_vain = async || {
        let (seen, _) = scrape(http.number()).await;
        seen.sum("leasehold_vault_requests_total", &sealed) >= 1.0
            && seen.value("leasehold_rotations_total", &vain) >= 1.0
            && seen.value("leasehold_issue_failures_in_a_row", APP) >= 1.0
    };
    assert!(wait_until(PATIENCE, in_vain).await, "{}", proxy.log_text());
    vault.unseal().await;
    let switched = [("database", "app"), ("reason", "asked"), ("outcome", "switched")];
    let again = async || {
        let (seen, _) = scrape(http.number()).await;
        seen.value("leasehold_rotations_total", &switched) == 1.0
    };
    assert!(wait_until(PATIENCE, again).await, "{}", proxy.log_text());
    let (seen, text) = scrape(http.number()).await;
    assert_eq!(seen.value("leasehold_ready", APP), 1.0);
    let mut names = postgres.roles_like("v-%").await;
    names.extend([login.role_id.trim().to_owned(), login.secret_id.trim().to_owned()]);
    names.extend(["app-role", "creds", "hvs.", "approle"].map(str::to_owned));
    for name in names {
        assert!(!text.contains(&name), "{name} in {text}");
    }
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
}

#[tokio::test]
async fn dashboard_and_alerts_name_only_what_there_is() {
    let house = or_skip!(House::open("app").await);
    let known = house.scrape().await.names();
    let mut named = BTreeSet::new();
    for file in ["config/grafana/leasehold.json", "config/prometheus/leasehold-alerts.yml"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(path).unwrap();
        if file.ends_with(".json") {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metrics = words.filter(|word| word.starts_with("leasehold_") || word.starts_with("process_"));
        let metrics: Vec<&str> = metrics.collect();
        assert!(metrics.len() > 5, "{file}: {metrics:?}");
        for metric in metrics {
            assert!(known.contains(metric), "{file} names {metric}, which /metrics does not have");
            named.insert(metric.to_owned());
        }
    }
    eprintln!("{} of {} names are shown or watched", named.len(), known.len());
    house.close().await;
}
