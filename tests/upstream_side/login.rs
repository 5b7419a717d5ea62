//! Authentication methods, roles, and servers that are slow, silent or away.

use std::net::TcpListener;
use std::time::Duration;

use crate::cases::{CREATION, Cases, at, make_group};
use crate::or_skip;
use crate::support::ports::Port;
use crate::support::{Ca, DatabaseRole, Leasehold, Postgres, PostgresOptions, Vault, wait_until};
use crate::wire_client::{Place, WireClient};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_method_is_answered_and_a_password_in_clear_text_only_over_tls() {
    let ca = Ca::new();
    let hba = [
        "host scram all 127.0.0.1/32 scram-sha-256",
        "host md5 all 127.0.0.1/32 md5",
        "host clear all 127.0.0.1/32 password",
        "host trusted all 127.0.0.1/32 trust",
        "host closed all 127.0.0.1/32 reject",
        "host ident all 127.0.0.1/32 ident",
    ];
    let options = PostgresOptions {
        hba: hba.map(str::to_owned).to_vec(),
        tls: Some(ca.issue(&["127.0.0.1"])),
        ..PostgresOptions::default()
    };
    let postgres = or_skip!(Postgres::start_with(options).await);
    make_group(&postgres).await;
    for database in ["scram", "md5", "clear", "trusted", "closed"] {
        postgres.execute("postgres", &format!("CREATE DATABASE {database}")).await;
    }
    type Method<'a> = (&'a str, &'a str, &'a str, &'a [&'a str], Result<&'a str, &'a str>);
    let methods: Vec<Method<'_>> = vec![
        ("scram_plain", "scram", "disable", &[CREATION], Ok("SCRAM-SHA-256$")),
        ("scram_tls", "scram", "require", &[CREATION], Ok("SCRAM-SHA-256$")),
        // The method md5 asks for SCRAM where the stored password is one.
        ("md5_scram", "md5", "disable", &[CREATION], Ok("SCRAM-SHA-256$")),
        ("clear_tls", "clear", "require", &[CREATION], Ok("SCRAM-SHA-256$")),
        ("clear_plain", "clear", "disable", &[CREATION], Err("clear text without TLS: refused")),
        ("trusted", "trusted", "disable", &[CREATION], Ok("SCRAM-SHA-256$")),
        ("closed", "closed", "disable", &[CREATION], Err("pg_hba.conf rejects connection")),
        ("nosuch", "nosuch", "disable", &[CREATION], Err("database \"nosuch\" does not exist")),
    ];
    let mut config = Cases::new();
    for (name, dbname, mode, creation, _) in &methods {
        let place = at("127.0.0.1", postgres.port()).replace("'postgres'", &format!("'{dbname}'"));
        config.add(name, &postgres, &format!("{place}\nsslmode = '{mode}'\npool_size = 2"), creation);
    }
    let running = config.run().await;
    for (name, dbname, _, _, expected) in &methods {
        match expected {
            Ok(stored) => {
                let mut client = running.served(name).await;
                assert_eq!(client.value("SELECT current_database()").await, *dbname);
                let user = client.value("SELECT session_user").await;
                let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'");
                let password = postgres.admin().psql(&sql).await.success();
                assert!(password.starts_with(stored), "{name}: {password}");
            }
            Err(why) => running.refused(name, why).await,
        }
    }
}

/// The local source hands over SCRAM verifiers and never a password, so it takes Vault to
/// make a user whose password the server keeps as md5.
#[tokio::test]
async fn md5_is_answered_where_the_server_keeps_such_passwords() {
    let options = PostgresOptions {
        conf: vec!["password_encryption = 'md5'".to_owned()],
        hba: vec!["host postgres all 127.0.0.1/32 md5".to_owned()],
        ..PostgresOptions::default()
    };
    let postgres = or_skip!(Postgres::start_with(options).await);
    let vault = or_skip!(Vault::start().await);
    vault.setup_database(&postgres, &DatabaseRole::default()).await;
    let config = format!(
        "[vault]\naddress = '{}'\n[vault.auth]\nmethod = 'token'\n\
         [databases.app]\nhost = '127.0.0.1'\nport = {}\ndbname = 'postgres'\nsslmode = 'disable'\n\
         credentials = {{ source = 'vault', path = 'database/creds/app-role' }}\n",
        vault.address(),
        postgres.port()
    );
    let proxy = Leasehold::run_with(&config, &[("VAULT_TOKEN", vault.root_token())]).await;
    let place = Place::loopback(proxy.port());
    let params = [("user", "anyone"), ("database", "app")];
    let serves = async || WireClient::try_connect(&place, &params).await.is_ok();
    assert!(wait_until(PATIENCE, serves).await, "{}", proxy.log_text());
    let user = WireClient::connect(&place, &params).await.value("SELECT session_user").await;
    let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'");
    let password = postgres.admin().psql(&sql).await.success();
    assert!(password.starts_with("md5"), "{password}");
}

#[tokio::test]
async fn a_user_that_cannot_take_on_the_role_is_never_put_to_use() {
    let postgres = or_skip!(Postgres::start().await);
    make_group(&postgres).await;
    let stranger =
        r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"#;
    let locked = stranger.replace("LOGIN", "NOLOGIN");
    let place = at("127.0.0.1", postgres.port()) + "\nsslmode = 'disable'";
    let roleless = place.replace("role = 'app'", "");
    let mut config = Cases::new();
    config.add("stranger", &postgres, &place, &[stranger]);
    config.add("locked", &postgres, &place, &[&locked]);
    config.add("norole", &postgres, &place.replace("'app'", "'nosuch'"), &[stranger]);
    config.add("broken", &postgres, &place, &["CREATE ROLE \"{{name}}\" NONSENSE '{{password}}'"]);
    config.add("member", &postgres, &place, &[CREATION]);
    config.add("roleless", &postgres, &roleless, &[stranger]);
    let running = config.run().await;
    running.refused("stranger", "permission denied to set role \"app\"").await;
    running.refused("stranger", "membership in the configured role").await;
    running.refused("locked", "is not permitted to log in").await;
    running.refused("norole", "nosuch").await;
    running.refused("broken", "unrecognized role option").await;
    let mut member = running.served("member").await;
    assert_eq!(member.value("SELECT current_user").await, "app");
    let mut roleless = running.served("roleless").await;
    assert_eq!(roleless.value("SELECT current_user = session_user").await, "t");
    // The refused users are not left lying about.
    let users = postgres.roles_like("lh-stranger-%").await;
    assert!(users.len() <= 1, "{users:?}");
}

#[tokio::test]
async fn servers_that_are_silent_away_or_known_by_name_each_have_their_outcome() {
    let postgres = or_skip!(Postgres::start().await);
    make_group(&postgres).await;
    // Connections are accepted by the kernel, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let closed = Port::claim();
    let quick = "sslmode = 'disable'\nconnect_timeout = '500ms'";
    let mut config = Cases::new();
    let mut add = |name: &str, host: &str, port: u16, more: &str| {
        config.add(name, &postgres, &format!("{}\n{more}", at(host, port)), &[CREATION]);
    };
    add("silent", "127.0.0.1", silent_port, quick);
    add("silent_tls", "127.0.0.1", silent_port, "sslmode = 'require'\nconnect_timeout = '500ms'");
    add("closed", "127.0.0.1", closed.number(), quick);
    add("nowhere", "no-such-host.invalid", 5432, "sslmode = 'disable'");
    add("by_name", "localhost", postgres.port(), "sslmode = 'disable'");
    add("by_socket", postgres.dir().to_str().unwrap(), postgres.port(), "");
    let running = config.run().await;
    assert_eq!(running.served("by_name").await.value("SELECT 'named'").await, "named");
    let mut local = running.served("by_socket").await;
    assert_eq!(local.value("SELECT inet_client_addr() IS NULL").await, "t");
    running.refused("silent", "no login within connect_timeout (0.5 s)").await;
    running.refused("silent_tls", "no login within connect_timeout (0.5 s)").await;
    running.refused("closed", "Connection refused").await;
    running.refused("nowhere", "no-such-host.invalid").await;
    drop(silent);
}
