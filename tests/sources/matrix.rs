//! Lives of tokens × lives of leases × their longest lives × kinds of tokens: whichever ends first,
//! nothing fails, nobody outlives its user, and nothing is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::or_skip;
use crate::shop::database;
use crate::support::proxy::field;
use crate::support::{AppRole, DatabaseRole, Leasehold, Postgres, Vault, short_or_long, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs at a time; each waits more than it works.
const AT_A_TIME: usize = 6;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Service,
    Batch,
    Periodic,
}

/// One cell: lives in seconds.
#[derive(Debug, Clone, Copy)]
struct Cell {
    kind: Kind,
    token: u64,
    lease: u64,
    longest: u64,
}

impl Cell {
    fn name(self) -> String {
        let Self { kind, token, lease, longest } = self;
        format!("{kind:?}-{token}-{lease}-{longest}").to_lowercase()
    }

    /// The fields of the AppRole role that make its tokens so.
    fn login(self) -> Value {
        let life = format!("{}s", self.token);
        match self.kind {
            Kind::Service => json!({ "token_ttl": life, "token_max_ttl": life }),
            Kind::Batch => json!({ "token_type": "batch", "token_ttl": life }),
            Kind::Periodic => json!({ "token_period": life }),
        }
    }

    /// Long enough for two users, and for three where they are short-lived.
    fn load_seconds(self) -> u64 {
        match self.token.min(self.lease).min(self.longest) {
            short @ ..60 => short * 2 + 2,
            life => life,
        }
    }
}

/// A few in which each of the three ends first, with room for a slow machine; all of 5, 15 and 60 s
/// in the long form.
fn cells() -> Vec<Cell> {
    let cell = |kind, token, lease, longest| Cell { kind, token, lease, longest };
    let few = vec![
        cell(Kind::Service, 8, 20, 60),
        cell(Kind::Service, 60, 8, 20),
        cell(Kind::Service, 60, 20, 8),
        cell(Kind::Service, 8, 8, 8),
        cell(Kind::Batch, 8, 20, 60),
        cell(Kind::Periodic, 8, 60, 60),
    ];
    let lives = [5, 15, 60];
    let all = [Kind::Service, Kind::Batch, Kind::Periodic].into_iter().flat_map(move |kind| {
        lives.into_iter().flat_map(move |token| {
            lives
                .into_iter()
                .flat_map(move |lease| lives.map(move |longest| cell(kind, token, lease, longest)))
        })
    });
    short_or_long(few, all.collect())
}

/// Watches for sessions whose user is gone or past its end; true if there was any.
async fn watch(client: Client, stop: Arc<AtomicBool>) -> Vec<String> {
    // A dropped user's session has no name any more.
    let outlived = "SELECT format('%s until %s at %s: %s since %s, begun %s', coalesce(a.usename, 'dropped'),
            r.rolvaliduntil::time, clock_timestamp()::time, a.state, a.state_change::time, a.backend_start::time)
        FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
        WHERE a.datname = 'app' AND a.backend_type = 'client backend'
            AND (a.usename IS NULL OR a.usename LIKE 'v-%' AND r.rolvaliduntil < clock_timestamp())";
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let rows = client.query(outlived, &[]).await.unwrap();
        seen.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    seen
}

/// Vault's roles for one cell; the AppRole's login.
async fn set_up(postgres: &Postgres, vault: &Vault, cell: Cell) -> AppRole {
    let name = cell.name();
    let role = DatabaseRole {
        name: name.clone(),
        dbname: "app".to_owned(),
        default_ttl: format!("{}s", cell.lease),
        max_ttl: format!("{}s", cell.longest),
        ..DatabaseRole::default()
    };
    vault.setup_database(postgres, &role).await;
    vault.setup_approle(&name, &format!("database/creds/{name}"), cell.login()).await
}

/// One cell under load. What went wrong.
async fn run(postgres: &Postgres, vault: &Vault, cell: Cell, login: &AppRole) -> Result<usize, String> {
    let (name, path) = (cell.name(), format!("database/creds/{}", cell.name()));
    let directory = tempfile::tempdir().unwrap();
    let secret_id = directory.path().join("secret-id");
    std::fs::write(&secret_id, &login.secret_id).unwrap();
    let config = format!(
        "threads = 1\n[databases.app]\nhost = \"127.0.0.1\"\nport = {}\nsslmode = \"disable\"\npool_size = 3\n\
         credentials = {{ source = \"vault\", path = {path:?} }}\n[vault]\naddress = {:?}\n[vault.auth]\n\
         method = \"approle\"\nrole_id = {:?}\nsecret_id_file = {secret_id:?}\n",
        postgres.port(),
        vault.address(),
        login.role_id,
    );
    let mut proxy = Leasehold::run(&config).await;
    let place = proxy.endpoint("app");
    if !wait_until(PATIENCE, async || place.try_connect().await.is_ok()).await {
        return Err(format!("{name}: nobody serves\n{}", proxy.log_text()));
    }
    let seconds = cell.load_seconds().to_string();
    let report = place.pgbench(&["-n", "-S", "-c", "2", "-R", "20", "-T", &seconds, "app"]).await;
    if !report.status.success() || report.failed > 0 || report.aborted > 0 || report.processed == 0 {
        return Err(format!("{name}: {report:#?}\n{}", proxy.log_text()));
    }
    let active = |line: &Value| field(line, "message") == "active";
    let users = proxy.logs().into_iter().filter(active).count();
    if users < 2 {
        return Err(format!("{name}: nobody was replaced in {seconds} s\n{}", proxy.log_text()));
    }
    if proxy.terminate().await != 0 {
        return Err(format!("{name}: did not stop well\n{}", proxy.log_text()));
    }
    // Vault ends what batch tokens leave by itself.
    if !wait_until(PATIENCE, async || vault.leases(&path).await.is_empty()).await {
        return Err(format!("{name}: leases are left\n{}", proxy.log_text()));
    }
    Ok(users)
}

#[tokio::test]
async fn whichever_ends_first_nothing_fails_and_nobody_outlives_its_user() {
    let postgres = or_skip!(database().await);
    let vault = or_skip!(Vault::start().await);
    let admin = postgres.admin().database("app");
    admin.run("pgbench", &["-i", "-q", "-s", "1"]).await.success();
    postgres.execute("app", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC").await;
    let stop = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(watch(admin.connect().await, stop.clone()));

    // Before the first load: each writes the connection that all of them use anew.
    let mut cells_and_logins = Vec::new();
    for cell in cells() {
        cells_and_logins.push((cell, set_up(&postgres, &vault, cell).await));
    }
    let cells = cells_and_logins;
    let outcomes: Vec<_> = stream::iter(&cells)
        .map(|(cell, login)| run(&postgres, &vault, *cell, login))
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    stop.store(true, Ordering::Relaxed);
    let outlived = watching.await.unwrap();

    let wrong: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(wrong.is_empty(), "{} of {} cells\n{}", wrong.len(), cells.len(), wrong[0]);
    assert!(outlived.is_empty(), "{outlived:?}");
    let none = wait_until(PATIENCE, async || postgres.roles_like("v-%").await.is_empty()).await;
    assert!(none, "{:?}", postgres.roles_like("v-%").await);
    let users: usize = outcomes.iter().flatten().sum();
    eprintln!("{} cells, {users} users, 0 failed", cells.len());
}
