//! Who may give commands that change something.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::support::{Leasehold, Program};
use super::{PATIENCE, config, refused};
use crate::skip;

#[tokio::test]
async fn over_tcp_nobody_may_unless_it_is_set() {
    let (_admin, config) = config("postgresql://nobody@127.0.0.1:1/postgres", 1);
    let mut proxy = Leasehold::run(&format!("{config}\n[console]\ntcp_commands = false")).await;
    let console = proxy.endpoint("leasehold").connect().await;
    for command in
        ["ROTATE", "PAUSE", "RESUME", "RECONNECT", "DISABLE app", "ENABLE app", "KILL 1", "SHUTDOWN"]
    {
        let (code, _, hint) = refused(&console, command).await;
        assert_eq!(code, "42501", "{command}");
        assert!(hint.contains("console.tcp_commands") && hint.contains("console.admin_uids"), "{hint}");
    }
    // Prepared ones too.
    assert_eq!(console.query("ROTATE", &[]).await.unwrap_err().code().unwrap().code(), "42501");
    assert_eq!(console.query("SHOW DATABASES", &[]).await.unwrap().len(), 2);
    assert!(proxy.running());
}

#[tokio::test]
async fn on_the_unix_socket_the_kernel_says_who_may() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (_admin, config) = config("postgresql://nobody@127.0.0.1:1/postgres", 1);
    let listen = format!("[listen]\nunix_dir = {:?}\nunix_mode = \"0666\"", directory.path());
    let proxy = Leasehold::run(&format!("{config}\n{listen}\n[console]\ntcp_commands = false")).await;
    let mut endpoint = proxy.endpoint("leasehold");
    endpoint.host = directory.path().to_str().unwrap().to_owned();
    let args = ["-X", "-v", "VERBOSITY=verbose", "-c", "DISABLE app"];
    assert_eq!(endpoint.run("psql", &args).await.success(), "DISABLE\n");

    let own = Command::new("id").arg("-u").output().unwrap();
    if own.stdout != b"0\n" {
        skip!("only root can be another user");
    }
    let psql = endpoint.command("psql");
    let mut other = Command::new("setpriv");
    other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(psql.get_program()).args(args);
    for (name, value) in psql.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    let finished = Program::run(other, PATIENCE).await;
    assert!(!finished.status.success(), "{finished:?}");
    assert!(finished.stderr.contains("42501") && finished.stderr.contains("65534"), "{finished:?}");
}

#[tokio::test]
async fn an_administrator_that_this_host_does_not_have_stops_the_start() {
    let (_admin, config) = config("postgresql://nobody@127.0.0.1:1/postgres", 1);
    let file = tempfile::NamedTempFile::new().unwrap();
    let listen = "[listen]\ntcp = \"127.0.0.1:0\"\n[console]\nadmin_uids = [\"root\", \"no-such-user\"]\n";
    std::fs::write(file.path(), format!("{config}\n{listen}")).unwrap();
    let finished = Leasehold::command_line(&["run", "--config", file.path().to_str().unwrap()]).await;
    assert!(!finished.status.success());
    let said = finished.stdout + &finished.stderr;
    assert!(said.contains("no-such-user") && said.contains("console.admin_uids"), "{said}");
}
