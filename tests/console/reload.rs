//! RELOAD and SIGHUP: what can be changed at once is, under the eyes of clients; the rest is told.

use std::process::Command;

use super::support::wait_until;
use super::{House, PATIENCE, refused};
use crate::or_skip;

impl House {
    /// Writes the configuration anew, with these changes in its text.
    fn rewrite(&self, changes: &[(&str, &str)]) {
        let file = self.proxy.config_file();
        let mut text = std::fs::read_to_string(&file).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "no {from} in\n{text}");
            text = text.replacen(from, to, 1);
        }
        std::fs::write(&file, text).unwrap();
    }

    /// What SHOW CONFIG says of a key.
    async fn setting(&self, key: &str) -> Option<(String, String)> {
        let rows = self.console().await.query("SHOW CONFIG", &[]).await.unwrap();
        let row = rows.iter().find(|row| row.get::<_, &str>("key") == key)?;
        Some((row.get("value"), row.get("changeable")))
    }
}

#[tokio::test]
async fn reload_changes_what_can_be_changed_and_tells_the_rest() {
    let house = or_skip!(House::open().await);
    let console = house.console().await;
    assert_eq!(console.query("RELOAD", &[]).await.unwrap().len(), 0, "nothing has changed");
    // Both databases have four connections; the first of them is `Reports`.
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(house.proxy.endpoint("Reports").connect().await);
    }
    let place = house.proxy.endpoint("Reports");
    let fifth = tokio::spawn(async move { place.try_connect().await });
    let waits = async || {
        let rows = console.query("SHOW POOLS", &[]).await.unwrap();
        rows.iter().any(|row| row.get::<_, i64>("cl_waiting") == 1)
    };
    assert!(wait_until(PATIENCE, waits).await, "{}", house.proxy.log_text());
    house.rewrite(&[("pool_size = 4", "pool_size = 5"), ("threads = 2", "threads = 3")]);
    let rows = console.query("RELOAD", &[]).await.unwrap();
    let told: Vec<[String; 4]> = rows.iter().map(|row| [0, 1, 2, 3].map(|at| row.get(at))).collect();
    let pool = |key: &str| format!("databases.Reports.{key}");
    assert_eq!(
        told,
        [
            ["threads".into(), "2".into(), "3".into(), "needs a restart".into()],
            [pool("pool_size"), "4".into(), "5".into(), "applied".into()],
            [pool("max_server_connections"), "8".into(), "10".into(), "applied".into()],
        ]
    );
    // Who waited has the connection that there may be now.
    let fifth = fifth.await.unwrap().unwrap();
    assert_eq!(house.setting(&pool("pool_size")).await, Some(("5".into(), "yes".into())));
    assert_eq!(house.setting("threads").await, Some(("2".into(), "no".into())));
    drop((clients, fifth));
}

#[tokio::test]
async fn a_configuration_that_is_wrong_changes_nothing_and_sighup_does_what_reload_does() {
    let house = or_skip!(House::open().await);
    let console = house.console().await;
    house.rewrite(&[
        ("pool_size = 4", "pool_size = 0"),
        ("format = \"json\"", "format = \"json\"\nfilter = \"debug\""),
    ]);
    let (sqlstate, message, rest) = refused(&console, "RELOAD").await;
    assert_eq!((sqlstate.as_str(), message.contains("nothing was changed")), ("F0000", true), "{message}");
    assert!(rest.contains("pool_size") && rest.contains("leasehold check"), "{rest}");
    assert_eq!(house.setting("databases.Reports.pool_size").await, Some(("4".into(), "yes".into())));
    assert!(house.proxy.logged("client in").is_empty(), "the filter was not changed");

    house.rewrite(&[("pool_size = 0", "pool_size = 4")]);
    let hangup = Command::new("kill").args(["-HUP", &house.proxy.id().to_string()]).status().unwrap();
    assert!(hangup.success());
    let read = async || !house.proxy.logged("the configuration was read again").is_empty();
    assert!(wait_until(PATIENCE, read).await, "{}", house.proxy.log_text());
    assert_eq!(house.setting("log.filter").await, Some(("debug".into(), "yes".into())));
    let said = async || {
        drop(house.proxy.endpoint("app").connect().await);
        !house.proxy.logged("client in").is_empty()
    };
    assert!(wait_until(PATIENCE, said).await, "{}", house.proxy.log_text());
}
