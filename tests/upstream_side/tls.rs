//! `sslmode` as libpq means it, with each certificate that a server may show.

use crate::cases::{CREATION, Cases, at, make_group, roots};
use crate::or_skip;
use crate::support::{Ca, Postgres, PostgresOptions, wait_until};
use crate::wire_client::message::query;

#[tokio::test]
async fn each_sslmode_accepts_what_libpq_would_and_nothing_else() {
    let (ca, other_ca) = (Ca::new(), Ca::new());
    let with = |tls| PostgresOptions { tls, ..PostgresOptions::default() };
    // Its certificate names the address and not `localhost`.
    let good = or_skip!(Postgres::start_with(with(Some(ca.issue(&["127.0.0.1"])))).await);
    let expired = or_skip!(Postgres::start_with(with(Some(ca.issue_expired(&["127.0.0.1"])))).await);
    let plain = or_skip!(Postgres::start().await);
    for server in [&good, &expired, &plain] {
        make_group(server).await;
    }
    let (right, wrong) = (roots(&ca.file()), roots(&other_ca.file()));
    // Name, server, host, sslmode, roots; whether TLS is used, or why there is no service.
    let no_tls = "the server does not offer TLS";
    let cases = [
        ("disable", &good, "127.0.0.1", "disable", "", Ok::<_, &str>(false)),
        ("prefer", &good, "127.0.0.1", "prefer", "", Ok(true)),
        ("prefer_other_name", &good, "localhost", "prefer", "", Ok(true)),
        ("prefer_expired", &expired, "127.0.0.1", "prefer", "", Ok(true)),
        ("prefer_plain", &plain, "127.0.0.1", "prefer", "", Ok(false)),
        ("require", &good, "localhost", "require", "", Ok(true)),
        ("require_plain", &plain, "127.0.0.1", "require", "", Err(no_tls)),
        ("require_ca_other_name", &good, "localhost", "require", &right, Ok(true)),
        ("require_ca_wrong", &good, "127.0.0.1", "require", &wrong, Err("invalid peer certificate")),
        ("ca", &good, "127.0.0.1", "verify-ca", &right, Ok(true)),
        ("ca_other_name", &good, "localhost", "verify-ca", &right, Ok(true)),
        ("ca_wrong", &good, "127.0.0.1", "verify-ca", &wrong, Err("invalid peer certificate")),
        ("ca_expired", &expired, "127.0.0.1", "verify-ca", &right, Err("expired")),
        ("ca_plain", &plain, "127.0.0.1", "verify-ca", &right, Err(no_tls)),
        ("full", &good, "127.0.0.1", "verify-full", &right, Ok(true)),
        ("full_other_name", &good, "localhost", "verify-full", &right, Err("not valid for name")),
        ("full_wrong", &good, "127.0.0.1", "verify-full", &wrong, Err("invalid peer certificate")),
        ("full_expired", &expired, "127.0.0.1", "verify-full", &right, Err("expired")),
        ("full_plain", &plain, "127.0.0.1", "verify-full", &right, Err(no_tls)),
    ];
    let mut config = Cases::new();
    for (name, server, host, mode, roots, _) in &cases {
        let keys = format!("{}\nsslmode = '{mode}'\n{roots}\npool_size = 2", at(host, server.port()));
        config.add(name, server, &keys, &[CREATION]);
    }
    let running = config.run().await;
    for (name, server, _, _, _, expected) in &cases {
        match expected {
            Ok(encrypted) => {
                let mut client = running.served(name).await;
                // Only the superuser may see it, since nobody is a member of the users of the day.
                let pid = client.value("SELECT pg_backend_pid()").await;
                let sql = format!("SELECT ssl::text FROM pg_stat_ssl WHERE pid = {pid}");
                let seen = server.admin().psql(&sql).await.success();
                assert_eq!(seen.trim(), encrypted.to_string(), "{name}");
                client.leave().await;
            }
            Err(why) => running.refused(name, why).await,
        }
    }

    // What TLS carries arrives: large results and requests, a cancel, a copy.
    let mut client = running.served("full").await;
    assert_eq!(client.value("SELECT repeat('x', 3000000)").await.len(), 3_000_000);
    let large = format!("SELECT length('{}')", "y".repeat(3_000_000));
    assert_eq!(client.value(&large).await, "3000000");
    client.send(&query("SELECT pg_sleep(120)")).await;
    let asleep =
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(120)' AND state = 'active'";
    let sleeping = async || good.admin().psql(asleep).await.success().trim() == "1";
    assert!(wait_until(std::time::Duration::from_secs(30), sleeping).await);
    client.cancel().await;
    assert_eq!(client.until_ready().await[1].field(b'C'), "57014");
    assert_eq!(client.value("SELECT 'on'").await, "on");
}
