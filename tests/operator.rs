//! `leasehold status` and `leasehold top` as an operator runs them, against a running proxy with a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)] // panicking is how a test fails, helpers included

mod support;
#[path = "operator/terminal.rs"]
mod terminal;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::ports::Port;
use support::program::Signal;
use support::proxy::command;
use support::wait::wait_for;
use support::{Finished, Leasehold, Missing, Postgres, Program, wait_until};
use tempfile::TempDir;
use terminal::Terminal;

/// Long enough for a loaded machine; only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

/// A PostgreSQL, and what proxies with users of their own making need.
struct House {
    postgres: Postgres,
    directory: TempDir,
    http: Port,
}

impl House {
    async fn open() -> Result<Self, Missing> {
        let postgres = Postgres::start().await?;
        Ok(Self { postgres, directory: tempfile::tempdir().unwrap(), http: Port::claim() })
    }

    fn admin(&self) -> PathBuf {
        self.directory.path().join("admin-url")
    }

    fn write_admin(&self) {
        std::fs::write(self.admin(), self.postgres.admin_url()).unwrap();
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http.number())
    }

    fn config(&self) -> String {
        let creation =
            r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"#;
        format!(
            "threads = 1\n[http]\nlisten = \"127.0.0.1:{}\"\n[databases.app]\nhost = \"127.0.0.1\"\nport = {}\n\
             dbname = \"postgres\"\nsslmode = \"disable\"\n[databases.app.credentials]\nsource = \"local\"\n\
             admin_url_file = {:?}\ncreation_statements = [{creation:?}]\ndefault_ttl = \"10m\"\n",
            self.http.number(),
            self.postgres.port(),
            self.admin(),
        )
    }

    /// A proxy that is ready, and its user.
    async fn run(&self) -> (Leasehold, String) {
        self.write_admin();
        let proxy = Leasehold::run(&self.config()).await;
        self.becomes(0).await;
        let json = self.status(&["--json"]).await.success();
        let status: Value = serde_json::from_str(&json).unwrap();
        let user = status["databases"][0]["generations"][0]["user"].as_str().unwrap().to_owned();
        (proxy, user)
    }

    async fn status(&self, arguments: &[&str]) -> Finished {
        let url = self.url();
        let arguments: Vec<&str> = ["status", "--url", &url].iter().chain(arguments).copied().collect();
        Leasehold::command_line(&arguments).await
    }

    /// What `status` says once its exit code is this one.
    async fn becomes(&self, code: i32) -> Finished {
        let found = wait_for(PATIENCE, async || {
            let finished = self.status(&[]).await;
            (finished.code() == code).then_some(finished)
        });
        match found.await {
            Some(finished) => finished,
            None => panic!("the code does not become {code}: {:?}", self.status(&[]).await),
        }
    }
}

/// Runs `leasehold` with these variables.
async fn with_env(arguments: &[&str], env: &[(&str, &str)]) -> Finished {
    let mut command: Command = command();
    command.args(arguments).envs(env.iter().copied());
    Program::run(command, PATIENCE).await
}

#[tokio::test]
async fn the_status_tells_how_a_proxy_is_and_so_does_its_exit_code() {
    let house = or_skip!(House::open().await);
    let mut proxy = Leasehold::run(&house.config()).await;
    // Without the admin's URL there is no user.
    let waiting = house.becomes(1).await;
    assert!(waiting.stdout.contains("\napp: not ready (no_user): "), "{waiting:?}");
    assert!(waiting.stdout.contains("\n  user         none\n"), "{waiting:?}");
    let json = house.status(&["--json"]).await;
    let status: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code(), &status["ready"]), (1, &false.into()), "{json:?}");

    house.write_admin();
    let ready = house.becomes(0).await;
    let json = house.status(&["--json"]).await.success();
    let status: Value = serde_json::from_str(&json).unwrap();
    let user = status["databases"][0]["generations"][0]["user"].as_str().unwrap();
    assert!(ready.stdout.starts_with(&format!("leasehold {} at ", env!("CARGO_PKG_VERSION"))), "{ready:?}");
    assert!(ready.stdout.contains("\napp: ready\n"), "{ready:?}");
    assert!(ready.stdout.contains(&format!("{user}, generation 1, ends in 9m ")), "{ready:?}");
    assert_eq!(ready.stderr, "");
    eprintln!("{}", ready.stdout);

    // The address may come from the configuration, as that of `run` does.
    let file = proxy.config_file().display().to_string();
    let named = with_env(&["status", "--config", &file], &[]).await.success();
    let variable = with_env(&["status"], &[("LEASEHOLD_CONFIG", &file)]).await.success();
    assert!(named.contains(user) && variable.contains(user), "{named}\n{variable}");

    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
    for arguments in [&[][..], &["--json"]] {
        let gone = house.status(arguments).await;
        assert_eq!((gone.code(), gone.stdout.as_str()), (2, ""), "{gone:?}");
        let expected = format!("leasehold: cannot ask {}: cannot connect: ", house.url());
        assert!(gone.stderr.starts_with(&expected), "{gone:?}");
    }
}

#[tokio::test]
async fn a_watch_goes_on_without_the_proxy_and_ends_with_a_signal() {
    let house = or_skip!(House::open().await);
    let (mut proxy, user) = house.run().await;
    let mut command = command();
    command.args(["status", "--watch", "--url", &house.url()]);
    let mut watch = Program::start(command);
    let said = |watch: &Program| watch.stdout().matches(&user).count();
    assert!(wait_until(PATIENCE, async || said(&watch) >= 2).await, "{}", watch.stdout());
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
    assert!(
        wait_until(PATIENCE, async || watch.stderr().contains("cannot connect")).await,
        "{}",
        watch.stderr()
    );
    let (mut proxy, second) = house.run().await;
    assert!(wait_until(PATIENCE, async || watch.stdout().contains(&second)).await, "{}", watch.stdout());
    watch.signal(Signal::INT);
    let finished = watch.finish(PATIENCE).await;
    assert_eq!(finished.code(), 0, "{finished:?}");
    assert!(!finished.stdout.contains('\x1b'), "{finished:?}");
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
}

#[tokio::test]
async fn what_cannot_be_asked_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("quiet.toml");
    std::fs::write(
        &file,
        "[vault]\naddress = \"http://127.0.0.1:8200\"\n[vault.auth]\nmethod = \"approle\"\nrole_id = \"r\"\n\
         [databases.app]\nhost = \"127.0.0.1\"\ncredentials = { source = \"vault\", path = \"database/creds/app\" }\n",
    )
    .unwrap();
    let file = file.display().to_string();
    let secret = [("LEASEHOLD_VAULT__AUTH__SECRET_ID", "hunter2")];
    let cases: &[(&[&str], i32, &str)] = &[
        (&["status", "--config", &file], 2, "`http.listen` is not set"),
        (&["status", "--config", "/nowhere/leasehold.toml"], 2, "--url http://127.0.0.1:9127"),
        (&["status", "--url", "https://127.0.0.1"], 2, "only http://"),
        (&["status", "--url", "127.0.0.1:port"], 2, "is no URL"),
        (&["top", "--url", "http://127.0.0.1:1"], 1, "needs a terminal"),
    ];
    for (arguments, code, expected) in cases {
        let finished = with_env(arguments, &secret).await;
        assert_eq!((finished.code(), finished.stdout.as_str()), (*code, ""), "{finished:?}");
        assert!(finished.stderr.contains(expected), "{arguments:?}: {finished:?}");
        assert!(!finished.stderr.contains("hunter2"), "{finished:?}");
    }
}

/// Whether the terminal is as it was: its modes, the screen that was there before, and the cursor.
fn restored(ended: &terminal::Ended) -> bool {
    let after = |on: &str, off: &str| ended.output.rfind(off) > ended.output.rfind(on);
    let cooked = |mode: &str| ended.modes.split([' ', ';', '\n']).any(|word| word == mode);
    cooked("icanon")
        && cooked("echo")
        && after("\x1b[?1049h", "\x1b[?1049l")
        && after("\x1b[?25l", "\x1b[?25h")
}

/// What `top` says of the transactions a second of `app`.
fn rate(screen: &str) -> Option<String> {
    let at = screen.lines().find(|line| line.starts_with("database"))?.find("tx/s")?;
    let line = screen.lines().find(|line| line.starts_with("app "))?;
    Some(line.get(at..)?.split(' ').next()?.to_owned())
}

#[tokio::test]
async fn top_shows_a_proxy_through_its_absence_and_gives_the_terminal_back() {
    let house = or_skip!(House::open().await);
    let (mut proxy, user) = house.run().await;
    let arguments = format!("top --url {}", house.url());
    let mut top = or_skip!(Terminal::start(&arguments, (100, 30), &[]));
    let ready = |screen: &str, user: &str| {
        screen.starts_with("ready") && screen.contains("\napp ") && screen.contains(user)
    };
    top.until("active user", PATIENCE, |screen| ready(screen, &user)).await;
    // From the second answer on the rate is known.
    top.until("rate", PATIENCE, |screen| rate(screen).as_deref() == Some("0")).await;
    eprintln!("{}", top.screen());
    top.press("?");
    top.until("help", PATIENCE, |screen| screen.contains("choose a database")).await;
    top.press("?");
    top.until("screen without help", PATIENCE, |screen| !screen.contains("choose a database")).await;
    top.press("p");
    top.until("pause", PATIENCE, |screen| screen.contains("paused for")).await;
    top.press("p");
    top.until("end of the pause", PATIENCE, |screen| !screen.contains("paused for")).await;

    top.resize((40, 16));
    let narrow = |screen: &str| screen.contains("life ends in user") && screen.contains(&user[..8]);
    top.until("narrow screen", PATIENCE, narrow).await;
    eprintln!("{}", top.screen());
    top.resize((100, 30));
    top.until("wide screen", PATIENCE, |screen| ready(screen, &user)).await;

    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
    top.until("silence", PATIENCE, |screen| screen.contains("no answer for") && screen.contains(&user)).await;
    let (mut proxy, second) = house.run().await;
    let back = |screen: &str| ready(screen, &second) && !screen.contains("no answer for");
    top.until("second proxy", PATIENCE, back).await;

    top.press("q");
    let ended = top.end(PATIENCE).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(restored(&ended), "{ended:?}");
    assert!(ended.output.contains("\x1b[38;5;"), "no colours: {ended:?}");

    for (end, env) in [("\x03", &[("NO_COLOR", "1")][..]), ("SIGTERM", &[])] {
        let mut top = or_skip!(Terminal::start(&arguments, (80, 24), env));
        top.until("active user", PATIENCE, |screen| ready(screen, &second)).await;
        if end == "SIGTERM" {
            let id = rustix::process::Pid::from_raw(top.id()).unwrap();
            rustix::process::kill_process(id, Signal::TERM).unwrap();
        } else {
            top.press(end);
        }
        let ended = top.end(PATIENCE).await;
        assert_eq!(ended.code, 0, "{end:?} {ended:?}");
        assert!(restored(&ended), "{end:?} {ended:?}");
        assert_eq!(ended.output.contains("\x1b[38;5;"), env.is_empty(), "{end:?} {ended:?}");
    }
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
}
