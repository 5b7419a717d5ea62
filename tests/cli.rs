//! The command line, run as an operator runs it.

#![allow(clippy::unwrap_used)] // panicking is how a test fails, helpers included

use std::path::Path;
use std::process::{Command, Output};

fn leasehold(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
    command.current_dir(directory).args(arguments).env_clear();
    command.envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const MINIMAL: &str = r#"
[vault.auth]
method = "approle"
role_id = "r"
[databases.app]
host = "127.0.0.1"
credentials = { source = "vault", path = "database/creds/app" }
"#;

#[test]
fn check_says_what_each_key_means_and_never_a_secret() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("leasehold.toml"), MINIMAL).unwrap();
    let variables = [
        ("VAULT_ADDR", "https://vault.example.com:8200"),
        ("LEASEHOLD_VAULT__AUTH__SECRET_ID", "hunter2"),
        ("LEASEHOLD_DATABASES__APP__POOL_SIZE", "7"),
    ];
    let output = leasehold(directory.path(), &["check"], &variables);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(out.contains("pool_size = 7   ($LEASEHOLD_DATABASES__APP__POOL_SIZE)"), "{out}");
    assert!(out.contains("host = 127.0.0.1   (leasehold.toml:6)"), "{out}");
    assert!(out.contains("https://vault.example.com:8200"), "{out}");
    assert!(!out.contains("hunter2"), "{out}");
}

#[test]
fn check_and_run_tell_every_error_at_once_and_fail() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bad.toml");
    std::fs::write(&file, "threads = 0\n[listen]\ntcp = \"0.0.0.0:1\"\n[databases.app]\nhots = \"db\"\n")
        .unwrap();
    for command in ["check", "run"] {
        let output =
            leasehold(directory.path(), &[command, "--config", "bad.toml"], &[("LEASEHOLD_TREADS", "2")]);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        for line in [
            "bad.toml:1: `threads` is 0, which is too small",
            "bad.toml:3: `listen.tcp` is 0.0.0.0:1",
            "bad.toml:5: unknown key `databases.app.hots`",
            "did you mean `host`?",
            "$LEASEHOLD_TREADS: unknown variable LEASEHOLD_TREADS",
            "did you mean LEASEHOLD_THREADS?",
        ] {
            assert!(err.contains(line), "{line}\n{err}");
        }
    }
}

#[test]
fn what_kubernetes_and_docker_set_for_a_neighbour_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("leasehold.toml"), MINIMAL).unwrap();
    let mut variables = vec![
        ("VAULT_ADDR", "https://vault.example.com:8200"),
        ("LEASEHOLD_VAULT__AUTH__SECRET_ID", "hunter2"),
        ("LEASEHOLD_DATABASES__APP__PORT", "5433"),
        ("LEASEHOLD_SERVICE_HOST", "10.0.0.1"),
        ("LEASEHOLD_SERVICE_PORT", "6432"),
        ("LEASEHOLD_PORT", "tcp://10.0.0.1:6432"),
        ("LEASEHOLD_PORT_6432_TCP", "tcp://10.0.0.1:6432"),
        ("LEASEHOLD_PORT_6432_TCP_ADDR", "10.0.0.1"),
        ("LEASEHOLD_METRICS_SERVICE_HOST", "10.0.0.2"),
        ("LEASEHOLD_METRICS_SERVICE_PORT", "9090"),
        ("LEASEHOLD_METRICS_SERVICE_PORT_HTTP_METRICS", "9090"),
        ("LEASEHOLD_METRICS_PORT", "tcp://10.0.0.2:9090"),
        ("LEASEHOLD_METRICS_PORT_9090_TCP_PROTO", "tcp"),
        ("LEASEHOLD_OLD_NAME", "/web/leasehold-old"),
        ("LEASEHOLD_OLD_ENV_LEASEHOLD_THREADS", "2"),
    ];
    let output = leasehold(directory.path(), &["check"], &variables);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(out.contains("port = 5433   ($LEASEHOLD_DATABASES__APP__PORT)"), "{out}");

    variables.push(("LEASEHOLD_DATABASES__APP__DB_NAME", "app"));
    let output = leasehold(directory.path(), &["check"], &variables);
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("the configuration has 1 error\n"), "{err}");
    assert!(err.contains("did you mean LEASEHOLD_DATABASES__APP__DBNAME?"), "{err}");
}

#[test]
fn a_file_that_is_named_must_exist() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, variables) in [
        (&["check", "--config", "none.toml"][..], &[][..]),
        (&["check"][..], &[("LEASEHOLD_CONFIG", "none.toml")][..]),
    ] {
        let output = leasehold(directory.path(), arguments, variables);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("cannot read the configuration none.toml"));
    }
}

#[test]
fn version_is_told() {
    let output = leasehold(Path::new("/"), &["--version"], &[]);
    assert_eq!(text(&output.stdout), format!("leasehold {}\n", env!("CARGO_PKG_VERSION")));
}
