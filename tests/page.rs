//! The page at `/` in a real Chromium, beside a real PostgreSQL and a real Vault, through a rotation.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, missing_docs)] // panicking is how a test fails

#[path = "page/browser.rs"]
mod browser;
mod support;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use browser::Browser;
use serde_json::{Value, json};
use support::ports::Port;
use support::{DatabaseRole, Leasehold, Missing, Pgbench, Postgres, Vault, wait_until};
use tempfile::TempDir;

/// Long enough for a loaded machine; only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(120);
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e006}';

/// A proxy whose users live for two minutes: long enough for a slow machine, short enough for a timeline.
struct House {
    postgres: Postgres,
    proxy: Leasehold,
    http: Port,
    _vault: Vault,
    _directory: TempDir,
}

impl House {
    async fn open() -> Result<Self, Missing> {
        let postgres = Postgres::start().await?;
        let vault = Vault::start().await?;
        let ttl = "120s".to_owned();
        let role = DatabaseRole { default_ttl: ttl.clone(), max_ttl: ttl, ..DatabaseRole::default() };
        vault.setup_database(&postgres, &role).await;
        let login = vault.setup_approle("leasehold", "database/creds/app-role", json!({})).await;
        let (directory, http) = (tempfile::tempdir().unwrap(), Port::claim());
        let secret_id = directory.path().join("secret-id");
        std::fs::write(&secret_id, login.secret_id).unwrap();
        let config = format!(
            "[http]\nlisten = \"127.0.0.1:{}\"\n[vault]\naddress = {:?}\n\
             [vault.auth]\nmethod = \"approle\"\nrole_id = {:?}\nsecret_id_file = {secret_id:?}\n[databases.app]\n\
             host = \"127.0.0.1\"\nport = {}\ndbname = \"postgres\"\nsslmode = \"disable\"\npool_size = 4\n\
             credentials = {{ source = \"vault\", path = \"database/creds/app-role\" }}\n",
            http.number(),
            vault.address(),
            login.role_id.trim(),
            postgres.port(),
        );
        let proxy = Leasehold::run(&config).await;
        Ok(Self { postgres, proxy, http, _vault: vault, _directory: directory })
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}/", self.http.number())
    }

    /// A little load until it is stopped.
    fn load(&self, script: &std::path::Path) -> Pgbench {
        let args = ["-n", "-f", script.to_str().unwrap(), "-c", "3", "-j", "1", "-R", "30", "-T", "250"];
        Pgbench::start(&self.proxy.endpoint("app"), &args)
    }
}

/// A lane of the timeline in this state.
fn lane(number: u32, state: &str) -> String {
    format!("document.querySelector('.lane[data-generation=\"{number}\"][data-state=\"{state}\"]') !== null")
}

/// A row of that table that has all of these words in its cells.
fn row(table: &str, words: &[&str]) -> String {
    let words = serde_json::to_string(words).unwrap();
    format!(
        "[...document.querySelectorAll('.{table} tbody tr')].some((row) => {words}.every((word) => \
         [...row.cells].some((cell) => cell.textContent.includes(word))))"
    )
}

#[tokio::test]
async fn a_rotation_is_seen_by_eye_by_keyboard_and_in_the_dark() {
    let browser = or_skip!(Browser::start().await);
    let mut house = or_skip!(House::open().await);
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), "SELECT pg_sleep(0.01);\n").unwrap();
    browser.go(&house.address()).await;
    browser.becomes(&lane(1, "active")).await;
    // Held from before the switch, so that generation 1 drains until it commits.
    let holder = house.proxy.endpoint("app").connect().await;
    holder.batch_execute("BEGIN").await.unwrap();
    let mut load = house.load(script.path());
    let console = house.proxy.endpoint("leasehold").connect().await;
    console.simple_query("ROTATE app").await.unwrap();

    browser.becomes(&format!("{} && {}", lane(1, "retiring"), lane(2, "active"))).await;
    let states = format!(
        "{} && {}",
        row("generations", &["1", "retiring", "asked"]),
        row("generations", &["2", "active"])
    );
    browser.becomes(&states).await;
    browser.becomes(&row("events", &["info", "2", "takes over from generation 1"])).await;
    for part in [".lane .draining", ".lane .expiry", ".lane .life", ".now"] {
        let found = format!("document.querySelectorAll('.timeline {part}').length > 0");
        assert_eq!(browser.value_of(&found).await, true, "{part}");
    }
    let alternative =
        browser.value_of("document.querySelector('.timeline').getAttribute('aria-label')").await;
    assert!(alternative.as_str().unwrap().contains("Generation 1: retiring"), "{alternative}");
    let verdict = "document.getElementById('verdict').textContent";
    assert_eq!(browser.value_of(verdict).await, "Ready: every database is served.");
    let vault = browser.value_of("document.querySelector('dl.vault').textContent").await;
    assert!(vault.as_str().unwrap().contains("Stateanswers"), "{vault}");
    assert!(load.running(), "{}", load.stderr());
    bless(&browser).await;

    holder.batch_execute("COMMIT").await.unwrap();
    browser.becomes(&lane(1, "revoked")).await;
    browser.becomes(&row("events", &["1", "revoked"])).await;
    load.stop();
    let noise = load.stderr();
    assert!(!noise.contains("ERROR") && !noise.contains("FATAL"), "{noise}");

    fits_a_phone_and_the_dark(&browser).await;
    everything_is_reached_by_tab(&browser).await;
    // The console had nothing to say, and nobody else was asked: the policy is strict and kept.
    let (console, requests) = (browser.console().await, browser.requests().await);
    assert!(console.is_empty(), "{console:?}");
    let address = house.address();
    // The browser's own first tab is none of ours.
    let inner = ["chrome://", "data:", &*address];
    let outside: Vec<_> =
        requests.iter().filter(|url| !inner.iter().any(|start| url.starts_with(start))).collect();
    assert!(requests.iter().any(|url| url.ends_with("/status")) && outside.is_empty(), "{outside:?}");
    it_says_when_nobody_answers(&browser, &mut house).await;
}

/// The picture in the manual: taken here, of this rotation.
async fn bless(browser: &Browser) {
    if std::env::var_os("LEASEHOLD_TEST_BLESS").is_none_or(|set| set != "1") {
        return;
    }
    let height = browser.value_of("document.documentElement.scrollHeight").await.as_u64().unwrap();
    browser.width(900, u32::try_from(height).unwrap()).await;
    browser
        .becomes("innerWidth === 900 && document.querySelector('.timeline').viewBox.baseVal.width > 800")
        .await;
    let picture = STANDARD.decode(browser.picture().await).unwrap();
    assert!(picture.len() < 200_000, "{}", picture.len());
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/page.png"), picture).unwrap();
}

async fn fits_a_phone_and_the_dark(browser: &Browser) {
    browser.width(360, 740).await;
    browser
        .becomes("innerWidth === 360 && document.querySelector('.timeline').viewBox.baseVal.width < 360")
        .await;
    // A scrollbar at the side is part of the 360.
    let widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]";
    let widths = browser.value_of(widths).await;
    assert!(widths[0] == widths[1] && widths[0].as_u64().unwrap() <= 360, "{widths}");
    let ground = "getComputedStyle(document.body).backgroundColor";
    let scheme = |value: &str| json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
    let mut grounds = Vec::new();
    for value in ["light", "dark"] {
        browser.devtools("Emulation.setEmulatedMedia", scheme(value)).await;
        grounds.push(browser.value_of(ground).await);
    }
    assert_eq!(grounds, ["rgb(255, 255, 255)", "rgb(20, 23, 26)"]);
}

/// Tab goes through all that can be used or scrolled, in the order of the page; each shows its focus.
async fn everything_is_reached_by_tab(browser: &Browser) {
    browser.value_of("(document.activeElement.blur(), scrollTo(0, 0))").await;
    let mut reached = Vec::new();
    for _ in 0..4 {
        browser.press(TAB).await;
        let focus = "[document.activeElement.id || document.activeElement.className, \
                     document.activeElement.matches(':focus-visible') && \
                     getComputedStyle(document.activeElement).outlineStyle]";
        let found = browser.value_of(focus).await;
        assert_eq!(found[1], "solid", "{found}");
        reached.push(found[0].as_str().unwrap().to_owned());
    }
    assert_eq!(reached, ["skip", "pause", "scroll generations", "scroll events"]);
    let pressed = "document.getElementById('pause').getAttribute('aria-pressed')";
    browser.value_of("document.getElementById('pause').focus()").await;
    for state in ["true", "false"] {
        browser.press(ENTER).await;
        assert_eq!(browser.value_of(pressed).await, state);
    }
}

async fn it_says_when_nobody_answers(browser: &Browser, house: &mut House) {
    assert_eq!(house.proxy.terminate().await, 0, "{}", house.proxy.log_text());
    browser
        .becomes("document.getElementById('verdict').textContent.startsWith('The proxy does not answer.')")
        .await;
    assert_eq!(browser.value_of("document.body.classList.contains('stale')").await, true);
    let nothing = async || house.postgres.roles_like("v-%").await.is_empty();
    assert!(wait_until(PATIENCE, nothing).await, "{}", house.proxy.log_text());
}

#[tokio::test]
async fn the_page_comes_with_its_policy_and_head_has_no_body() {
    // No user will come: the page does not need one.
    let http = Port::claim();
    let directory = tempfile::tempdir().unwrap();
    let config = format!(
        "[http]\nlisten = \"127.0.0.1:{}\"\n[databases.app]\nhost = \"127.0.0.1\"\nport = 1\ndbname = \"x\"\n\
         sslmode = \"disable\"\n[databases.app.credentials]\nsource = \"local\"\nadmin_url_file = {:?}\n\
         creation_statements = [\"CREATE ROLE \\\"{{{{name}}}}\\\" PASSWORD '{{{{password}}}}'\"]\n",
        http.number(),
        directory.path().join("none"),
    );
    let proxy = Leasehold::run(&config).await;
    let client = browser::client();
    let url = format!("http://127.0.0.1:{}/", http.number());
    let got = client.get(&url).send().await.unwrap();
    let policy = got.headers()["content-security-policy"].to_str().unwrap().to_owned();
    for part in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(got.headers()["content-type"], "text/html; charset=utf-8");
    for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
        assert_eq!(got.headers()[name], value, "{name}");
    }
    let length = got.headers()["content-length"].clone();
    assert!(got.text().await.unwrap().starts_with("<!doctype html>"));
    let head = client.head(&url).send().await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &length));
    assert!(head.text().await.unwrap().is_empty());
    let post = client.post(&url).send().await.unwrap();
    assert_eq!((post.status().as_u16(), &post.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    let status: Value =
        client.get(format!("{url}status")).send().await.unwrap().text().await.unwrap().parse().unwrap();
    assert_eq!(
        (&status["ready"], &status["databases"][0]["vault"]),
        (&json!(false), &Value::Null),
        "{status}"
    );
    drop(proxy);
}
