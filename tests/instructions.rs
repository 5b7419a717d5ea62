//! What a transaction costs, in instructions of the proxy's own: counted by valgrind's callgrind, which counts
//! the same on a loaded machine as on an idle one. A test that fails when it grows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // panicking is how a test fails, helpers included

mod support;
mod wire_client;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::program::on_path;
use support::{Leasehold, Missing, Postgres, PostgresOptions, wait_until};
use tempfile::TempDir;
use wire_client::stand::{CREATION, admin_url_file, credentials};

/// Instructions of a transaction of `pgbench -S`, one client and one data thread, as last measured on x86-64:
/// by protocol, in a debug build and in a release. Who makes it cheaper writes the new number here. The aim
/// for the simple protocol is 4,000 in a release.
const MEASURED: [(&str, u64, u64); 2] = [("simple", 80_400, 9_000), ("prepared", 101_300, 11_700)];
/// A tenth more than that fails.
const ROOM: u64 = 10;

/// So many of each protocol go through a proxy, and three times as many of one of them through another. What the two
/// differ by is transactions alone: no start, no login, no end.
const TRANSACTIONS: u64 = 500;
/// What only data threads run.
const HOT: &str = "session::relay::Relay";
/// Only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(150);

fn valgrind() -> Result<PathBuf, Missing> {
    on_path("valgrind").ok_or_else(|| Missing("no valgrind here: apt-get install valgrind".to_owned()))
}

/// A server with pgbench's tables, and what the proxy is told of it.
async fn stage(directory: &TempDir) -> Result<(Postgres, String), Missing> {
    // No passwords and one connection: how many logins a run has must not depend on who is faster.
    let hba = vec!["host all all 127.0.0.1/32 trust".to_owned()];
    let postgres = Postgres::start_with(PostgresOptions { hba, ..PostgresOptions::default() }).await?;
    postgres.admin().run("pgbench", &["-i", "-q", "-s", "1"]).await.success();
    let grant = "CREATE ROLE app NOLOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO app";
    postgres.execute("postgres", grant).await;
    let config = format!(
        "threads = 1\n[databases.app]\nhost = '127.0.0.1'\nport = {}\ndbname = 'postgres'\n\
         sslmode = 'disable'\nrole = 'app'\npool_size = 1\n{}",
        postgres.port(),
        credentials("app", &admin_url_file(directory, &postgres), &[CREATION]),
    );
    Ok((postgres, config))
}

/// The instructions of a proxy's data thread from its start to its end, with so many transactions of each protocol.
async fn count(valgrind: &Path, config: &str, transactions: [u64; 2]) -> u64 {
    let directory = tempfile::Builder::new().prefix("leasehold-test-callgrind-").tempdir().unwrap();
    let counts = directory.path().join("counts");
    let mut runner = Command::new(valgrind);
    runner
        .args(["--quiet", "--tool=callgrind", "--separate-threads=yes"])
        .arg(format!("--callgrind-out-file={}", counts.display()));
    let mut proxy = Leasehold::run_by(runner, config).await;
    let endpoint = proxy.endpoint("app");
    // By its word, since asking it would count.
    let active = async || !proxy.logged("active").is_empty();
    assert!(wait_until(PATIENCE, active).await, "{}", proxy.log_text());
    for ((protocol, ..), transactions) in MEASURED.iter().zip(transactions) {
        let number = transactions.to_string();
        let report = endpoint.pgbench(&["-n", "-S", "-M", protocol, "-c", "1", "-t", &number]).await;
        report.assert_clean();
        assert_eq!(report.processed, transactions);
    }
    assert_eq!(proxy.terminate().await, 0, "{}", proxy.log_text());
    of_data_thread(directory.path())
}

/// Callgrind writes a file for each thread. What the others do depends on how long a run takes.
fn of_data_thread(counts: &Path) -> u64 {
    let files = std::fs::read_dir(counts).unwrap().flatten();
    let threads = files.map(|file| std::fs::read_to_string(file.path()).unwrap());
    let data: Vec<String> = threads.filter(|text| text.contains(HOT)).collect();
    assert_eq!(data.len(), 1, "threads that run {HOT}");
    let total = data[0].lines().find_map(|line| line.strip_prefix("totals: "));
    total.expect("callgrind's total").trim().parse().unwrap()
}

#[tokio::test]
async fn a_transaction_costs_no_more_instructions_than_it_did() {
    let valgrind = or_skip!(valgrind());
    let directory = tempfile::tempdir().unwrap();
    let (_postgres, config) = or_skip!(stage(&directory).await);
    let few = count(&valgrind, &config, [TRANSACTIONS; 2]).await;
    let mut said = Vec::new();
    let mut grown = false;
    for (at, (protocol, debug, release)) in MEASURED.into_iter().enumerate() {
        let mut transactions = [TRANSACTIONS; 2];
        transactions[at] *= 3;
        let many = count(&valgrind, &config, transactions).await;
        let each = many.checked_sub(few).expect("more transactions cost more") / (2 * TRANSACTIONS);
        // Fewer are none at all: pgbench went somewhere else, or callgrind did not count.
        assert!(each > 1000, "{protocol}: {each} instructions for each transaction");
        let (build, known) = if cfg!(debug_assertions) { ("debug", debug) } else { ("release", release) };
        let most = known + known / ROOM;
        grown |= each > most;
        said.push(format!(
            "{protocol}, {build} build: {each} instructions for each transaction, at most {most}"
        ));
    }
    println!("{}", said.join("\n"));
    assert!(!grown, "{}", said.join("\n"));
}
