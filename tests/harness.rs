//! The harness itself, on the real things it starts.

#![allow(clippy::unwrap_used)] // panicking is how a test fails, helpers included

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use support::ports::Port;
use support::{
    Ca, DatabaseRole, Endpoint, Postgres, PostgresOptions, Program, StopMode, Vault, VaultOptions, wait_until,
};

/// A user that Vault just issued, as somewhere to log in.
async fn issue(vault: &Vault, postgres: &Postgres) -> (Endpoint, Value) {
    let creds = vault.root(Method::GET, "database/creds/app-role", Value::Null).await;
    let text = |name: &str| creds["data"][name].as_str().unwrap().to_owned();
    (postgres.admin().user(&text("username"), Some(&text("password"))), creds)
}

#[tokio::test]
async fn postgres_asks_for_scram_and_lives_through_a_restart() {
    let mut postgres = or_skip!(Postgres::start().await);
    let client = postgres.connect().await;
    client.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)").await.unwrap();
    let port = postgres.port();
    let wrong = postgres.admin().user("postgres", Some("wrong")).try_connect().await.unwrap_err();
    assert_eq!(wrong.code().unwrap().code(), "28P01");

    postgres.restart().await;
    assert!(wait_until(Duration::from_secs(60), async || client.is_closed()).await);
    assert_eq!(postgres.port(), port);
    let row = postgres.connect().await.query_one("SELECT n FROM kept", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);

    // The Unix socket asks for the password too.
    let mut local = postgres.admin();
    local.host = postgres.dir().to_str().unwrap().to_owned();
    assert_eq!(local.psql("SHOW fsync").await.success().trim(), "off");
    local.password = None;
    assert!(!local.psql("SELECT 1").await.status.success());
}

#[tokio::test]
async fn postgres_takes_settings_hba_lines_and_a_certificate() {
    let ca = Ca::new();
    let options = PostgresOptions {
        conf: vec!["max_connections = 20".to_owned()],
        hba: vec!["host all refused 127.0.0.1/32 reject".to_owned()],
        tls: Some(ca.issue(&["localhost", "127.0.0.1"])),
    };
    let mut postgres = or_skip!(Postgres::start_with(options).await);
    assert_eq!(postgres.admin().psql("SHOW max_connections").await.success().trim(), "20");
    let refused = postgres.admin().user("refused", Some("x")).try_connect().await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "28000");

    let mut verified = postgres.admin().command("psql");
    verified.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", ca.file()).env("PGHOST", "localhost");
    verified.args(["-X", "-A", "-t", "-c", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"]);
    let verified = Program::run(verified, Duration::from_secs(30)).await.success();
    assert_eq!(verified.trim(), "t");

    postgres.set_hba(&["host all all 127.0.0.1/32 reject"]);
    let admin = postgres.admin();
    let shut = async || admin.try_connect().await.is_err();
    assert!(wait_until(Duration::from_secs(60), shut).await);
    postgres.stop(StopMode::Immediate).await;
    assert!(postgres.id().is_none());
}

#[tokio::test]
async fn pgbench_reports_what_it_did_and_what_failed() {
    let mut postgres = or_skip!(Postgres::start().await);
    let admin = postgres.admin();
    admin.run("pgbench", &["-i", "-q", "-s", "1"]).await.success();
    let report = admin.pgbench(&["-c", "2", "-t", "50"]).await;
    report.assert_clean();
    assert_eq!(report.processed, 100);
    assert!(report.tps > 0.0 && report.latency_avg > 0.0, "{report:?}");

    let mut run = admin.start_pgbench(&["-c", "2", "-T", "60", "-S"]);
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'";
    let loaded = async || admin.psql(busy).await.success().trim() == "2";
    assert!(wait_until(Duration::from_secs(60), loaded).await);
    assert!(run.running());
    postgres.stop(StopMode::Fast).await;
    let report = run.finish().await;
    assert_eq!((report.aborted, report.status.success()), (2, false), "{report:?}");
}

#[tokio::test]
async fn vault_issues_a_user_that_logs_in_and_revokes_it() {
    let postgres = or_skip!(Postgres::start().await);
    let vault = or_skip!(Vault::start().await);
    vault.setup_database(&postgres, &DatabaseRole::default()).await;
    let (user, creds) = issue(&vault, &postgres).await;
    let row = user.connect().await.query_one("SELECT session_user::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), user.user);
    assert_eq!(postgres.roles_like("v-%").await, std::slice::from_ref(&user.user));
    assert_eq!(vault.leases("database/creds/app-role").await.len(), 1);

    let lease = json!({ "lease_id": creds["lease_id"] });
    vault.root(Method::PUT, "sys/leases/revoke", lease).await;
    let gone = async || postgres.roles_like("v-%").await.is_empty();
    assert!(wait_until(Duration::from_secs(60), gone).await);
    assert!(vault.leases("database/creds/app-role").await.is_empty());
    assert_eq!(user.try_connect().await.unwrap_err().code().unwrap().code(), "28P01");
}

#[tokio::test]
async fn an_approle_login_reads_its_own_path_and_nothing_else() {
    let postgres = or_skip!(Postgres::start().await);
    let vault = or_skip!(Vault::start().await);
    vault.setup_database(&postgres, &DatabaseRole::default()).await;
    let fields = json!({ "token_ttl": "20s" });
    let login = vault.setup_approle("app", "database/creds/app-role", fields).await;
    let body = json!({ "role_id": login.role_id, "secret_id": login.secret_id });
    let (status, answer) = vault.request(Method::POST, "auth/approle/login", Some(body), None).await;
    assert_eq!((status, &answer["auth"]["lease_duration"]), (200, &json!(20)), "{answer}");
    let token = answer["auth"]["client_token"].as_str();
    let (status, _) = vault.request(Method::GET, "database/creds/app-role", None, token).await;
    assert_eq!(status, 200);
    let (status, _) = vault.request(Method::GET, "database/config/postgres", None, token).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn vault_keeps_its_leases_when_it_is_sealed_or_killed() {
    let postgres = or_skip!(Postgres::start().await);
    let mut vault = or_skip!(Vault::start().await);
    vault.setup_database(&postgres, &DatabaseRole::default()).await;
    let (user, creds) = issue(&vault, &postgres).await;
    let renew = json!({ "lease_id": creds["lease_id"] });
    let token = vault.root_token().to_owned();

    vault.seal().await;
    let (status, _) = vault.request(Method::PUT, "sys/leases/renew", Some(renew.clone()), Some(&token)).await;
    assert_eq!(status, 503);
    vault.unseal().await;
    vault.root(Method::PUT, "sys/leases/renew", renew.clone()).await;

    let address = vault.address();
    vault.stop();
    assert!(vault.try_request(Method::GET, "sys/health", None, None).await.is_err());
    vault.start_again().await;
    assert_eq!(vault.address(), address);
    assert_eq!(vault.request(Method::GET, "sys/health", None, None).await.0, 503);
    vault.unseal().await;
    vault.root(Method::PUT, "sys/leases/renew", renew).await;
    user.connect().await;
    vault.revoke_prefix("database/creds/app-role").await;
    assert!(postgres.roles_like("v-%").await.is_empty());
}

#[tokio::test]
async fn vault_serves_tls_with_the_certificate_it_was_given() {
    let ca = Ca::new();
    let options = VaultOptions { tls: Some((ca.issue(&["127.0.0.1"]), ca.file())) };
    let vault = or_skip!(Vault::start_with(options).await);
    assert!(vault.address().starts_with("https://"));
    let (status, body) = vault.request(Method::GET, "sys/health", None, None).await;
    assert_eq!((status, &body["sealed"]), (200, &json!(false)));
}

#[test]
fn a_skip_ends_the_test_is_printed_and_counted() {
    const PROBE: &str = "LEASEHOLD_TEST_SKIP_PROBE";
    if std::env::var_os(PROBE).is_some() {
        skip!("only a {}", "probe");
    }
    let name = "a_skip_ends_the_test_is_printed_and_counted";
    let directory = tempfile::tempdir().unwrap();
    let skips = directory.path().join("skips");
    // This very test in another process, where it skips itself.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(PROBE, "1")
        .env("LEASEHOLD_TEST_SKIPS", &skips)
        .env("NEXTEST_BINARY_ID", "leasehold::harness")
        .output()
        .unwrap();
    let line = format!("SKIPPED leasehold::harness {name}: only a probe\n");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains(&line), "{output:?}");
    assert_eq!(std::fs::read_to_string(skips).unwrap(), line);
}

#[test]
fn a_claimed_port_is_nobody_elses() {
    let ports: Vec<Port> = (0..100).map(|_| Port::claim()).collect();
    let numbers: BTreeSet<u16> = ports.iter().map(Port::number).collect();
    assert_eq!(numbers.len(), ports.len());
}

#[tokio::test]
async fn a_program_is_measured_and_ends_with_its_value() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo out; echo err >&2; while :; do :; done"]);
    let mut program = Program::start(command);
    let busy = async || program.cpu_time() >= Duration::from_millis(50);
    assert!(wait_until(Duration::from_secs(60), busy).await);
    assert!(program.rss_kib() > 0 && program.peak_rss_kib() >= program.rss_kib());
    assert!(program.open_files() >= 3);
    assert_eq!((program.stdout().trim(), program.stderr().trim()), ("out", "err"));
    let id = program.id();
    assert!(program.ended().is_none());
    drop(program);
    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
}

#[tokio::test]
async fn servers_and_their_files_go_when_a_test_panics() {
    let postgres = or_skip!(Postgres::start().await);
    let (id, directory) = (postgres.id().unwrap(), postgres.dir().to_owned());
    let test = tokio::spawn(async move {
        let _held = postgres;
        panic!("as a failing test does");
    });
    assert!(test.await.unwrap_err().is_panic());
    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    assert!(!directory.exists());
}
