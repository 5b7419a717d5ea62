//! Several databases that share one user: one lease, and one switch for all of them.

use crate::journal::{Journal, REMOVALS, clean, say};
use crate::load::session_user;
use crate::or_skip;
use crate::site::{PATIENCE, Site, database_section};
use crate::support::{Leasehold, wait_until};

/// `app` and others, all with the users of `[credentials.shared]`.
fn config(site: &Site, others: &[&str]) -> String {
    let own = "credentials = { source = \"vault\", path = \"database/creds/app\" }";
    let more: String = others
        .iter()
        .map(|name| database_section(&site.postgres, name, Some("app"), "database/creds/app", ""))
        .collect();
    let all = site.config("", &more);
    assert_eq!(all.matches(own).count(), others.len() + 1, "{all}");
    let table = "[credentials.shared]\nsource = \"vault\"\npath = \"database/creds/app\"\n";
    format!("{}\n{table}", all.replace(own, "credentials = \"shared\""))
}

async fn filled(proxy: &Leasehold, database: &str) {
    proxy.endpoint(database).run("pgbench", &["-i", "-q", "-s", "1"]).await.success();
}

#[tokio::test]
async fn two_databases_share_one_user_and_change_it_together_under_load() {
    let site = or_skip!(Site::open(&[("DEFAULT_TTL", "6s"), ("MAX_TTL", "1h")]).await);
    let mut proxy = Leasehold::run(&config(&site, &["ledger"])).await;
    proxy.step("active", PATIENCE, |step| step.pool == "shared").await;
    let places = ["app", "ledger"].map(|name| proxy.endpoint(name));
    for name in ["app", "ledger"] {
        filled(&proxy, name).await;
    }
    let load = |name: &'static str| ["-n", "-S", "-c", "4", "-R", "300", "-T", "15", name];
    let loads = [places[0].start_pgbench(&load("app")), places[1].start_pgbench(&load("ledger"))];

    // Whoever asks at any moment: both have users of the one row of generations.
    let mut most = 0;
    let rotated = wait_until(PATIENCE, async || {
        let (one, two) = (places[0].connect().await, places[1].connect().await);
        let seen = [session_user(&one).await.unwrap(), session_user(&two).await.unwrap()];
        // The next one serves from its warming on, connection after connection.
        let known = ["warming", "active"].map(|step| proxy.steps(step)).concat();
        let known: Vec<String> =
            known.into_iter().filter(|step| step.pool == "shared").map(|step| step.user).collect();
        assert!(seen.iter().all(|user| known.contains(user)), "{seen:?} {known:?}");
        most = most.max(site.users().await.len());
        proxy.activations("shared").len() >= 3
    })
    .await;
    assert!(rotated, "{}", proxy.log_text());
    let mut transactions = Vec::new();
    for load in loads {
        transactions.push(clean(load, &proxy).await);
    }
    // One lease serves both, and one more while they change it.
    assert!(most <= 2, "{most} users at once\n{}", proxy.log_text());
    let pools: Vec<String> = proxy.steps("active").into_iter().map(|step| step.pool).collect();
    assert!(pools.iter().all(|pool| pool == "shared"), "{pools:?}");
    // The two are asked at two moments, and an old user may go in between.
    let as_many = async || site.vault.leases("database/creds/app").await.len() == site.users().await.len();
    assert!(wait_until(PATIENCE, as_many).await, "{}", proxy.log_text());

    // Revoked by somebody else, it is replaced for both at once.
    let before = proxy.activations("shared").pop().unwrap();
    site.vault.revoke_prefix("database/creds/app").await;
    proxy.step("active", PATIENCE, |step| step.generation > before.generation).await;
    for place in &places {
        let client = place.connect().await;
        assert_ne!(session_user(&client).await.unwrap(), before.user);
    }
    site.close(&mut proxy).await;
    say(format_args!("{transactions:?} transactions, 0 failed"));
}

/// The one that is not there waits for itself alone.
#[tokio::test]
async fn a_database_that_is_not_there_yet_does_not_keep_its_neighbours_waiting() {
    let site = or_skip!(Site::open(&[("DEFAULT_TTL", "8s"), ("MAX_TTL", "1h")]).await);
    let mut proxy = Leasehold::run(&config(&site, &["later", "ledger"])).await;
    proxy.step("active", PATIENCE, |step| step.pool == "shared").await;
    for name in ["app", "ledger"] {
        session_user(&proxy.endpoint(name).connect().await).await.unwrap();
    }
    let late = proxy.endpoint("later");
    let refused = late.run("psql", &["-X", "-c", "SELECT 1"]).await;
    assert!(refused.stderr.contains("does not exist"), "{refused:?}");
    // Two more users come and go meanwhile.
    proxy.step("active", PATIENCE, |step| step.pool == "shared" && step.generation >= 3).await;
    site.postgres.execute("postgres", "CREATE DATABASE later").await;
    let served =
        wait_until(PATIENCE, async || late.run("psql", &["-X", "-c", "SELECT 1"]).await.status.success());
    assert!(served.await, "{}", proxy.log_text());
    proxy.assert_never(&REMOVALS);
    site.close(&mut proxy).await;
}
