//! The drivers of other languages, and sqlx: programs that scripts/install-drivers made.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{Endpoint, Missing, Program, short_or_long};
use crate::wire_client::{Plan, Stand};
use crate::{or_leave_out, or_skip};

/// More than the server connections of [`stand`].
pub const CLIENTS: usize = 8;

/// Whether each client has settings of its own; the programs know it as `--no-settings`.
pub const SETTINGS: bool = true;

/// For what a program does beside its mix: it starts, connects, and says goodbye. Five that hang
/// one after another still end before the runner's limit, so that each is named.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn psycopg_with_its_prepare_threshold() {
    let place = or_leave_out!(installed("python").await);
    check(&[None], || python(&place, "psycopg_mix.py")).await;
}

#[tokio::test]
async fn asyncpg_with_its_statement_cache() {
    let place = or_leave_out!(installed("python").await);
    check(&[None], || python(&place, "asyncpg_mix.py")).await;
}

#[tokio::test]
async fn node_postgres_with_named_queries() {
    let place = or_leave_out!(installed("node").await);
    let program = || {
        let mut command = Command::new("node");
        command.env("NODE_PATH", place.join("node_modules")).arg(source("node/mix.js"));
        command
    };
    check(&[None], program).await;
}

#[tokio::test]
async fn pgjdbc_with_its_prepare_threshold_and_with_one() {
    let place = or_leave_out!(installed("java").await);
    let program = || {
        let mut command = Command::new("java");
        let path = format!("{}:{}", place.join("postgresql.jar").display(), place.join("classes").display());
        command.args(["-XX:TieredStopAtLevel=1", "-cp", &path, "Mix"]);
        command
    };
    check(&[Some("default"), Some("threshold_1")], program).await;
}

#[tokio::test]
async fn pgx_in_each_of_its_five_modes() {
    let place = or_leave_out!(installed("go").await);
    let modes = ["cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"].map(Some);
    check(&modes, || Command::new(place.join("mix"))).await;
}

#[tokio::test]
async fn sqlx_with_its_statement_cache() {
    let place = or_leave_out!(installed("sqlx").await);
    check(&[None], || Command::new(place.join("mix"))).await;
}

/// Few server connections for the clients.
pub async fn stand() -> Result<Stand, Missing> {
    let stand = Stand::start_with(Plan { pool_size: 3, threads: 2, ..Plan::default() }).await?;
    // What a program creates belongs to the same role on both ways.
    stand.postgres.execute("postgres", "ALTER ROLE direct SET role = 'app'").await;
    Ok(stand)
}

/// The server itself, as the role that the proxy's users have.
pub fn server(stand: &Stand) -> Endpoint {
    stand.postgres.admin().user("direct", None).database("postgres")
}

/// How long a driver runs through the proxy, all its modes together.
pub fn duration() -> Duration {
    Duration::from_secs(short_or_long(7, 120))
}

/// Runs a program in each mode, against the server for a second and then through the proxy. All
/// modes are tried: which of them fail says more than the first.
async fn check(modes: &[Option<&str>], program: impl Fn() -> Command) {
    let stand = or_skip!(stand().await);
    let each = (duration() / u32::try_from(modes.len()).unwrap()).max(Duration::from_secs(2));
    let each = short_or_long(each, duration());
    let mut wrong = Vec::new();
    for mode in modes {
        let direct = run(program(), &server(&stand), Duration::from_secs(1), *mode).await;
        assert_eq!(direct, Ok(()), "the program is wrong: it fails against PostgreSQL itself");
        if let Err(error) = run(program(), &stand.endpoint(), each, *mode).await {
            wrong.push(error);
        }
    }
    assert!(wrong.is_empty(), "through the proxy:\n{}\n{}", wrong.join("\n"), stand.proxy.log_text());
}

/// Runs it to its end; the error is what it printed.
async fn run(
    mut command: Command,
    at: &Endpoint,
    duration: Duration,
    mode: Option<&str>,
) -> Result<(), String> {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    let numbers = [at.port.to_string(), duration.as_secs().to_string(), CLIENTS.to_string()];
    let [port, seconds, clients] = numbers.each_ref().map(String::as_str);
    command.args([&at.host, port, &at.dbname, &at.user, seconds, clients]).args(mode);
    if !SETTINGS {
        command.arg("--no-settings");
    }
    let mut program = Program::start(command);
    let Some(status) = program.wait(duration + PATIENCE).await else {
        return Err(format!("mode {mode:?} still ran\n{}{}", program.stdout(), program.stderr()));
    };
    let (stdout, stderr) = (program.stdout(), program.stderr());
    let whole =
        stdout.starts_with("driver=") && stdout.ends_with(" errors=0\n") && stdout.lines().count() == 1;
    if status.success() && whole && operations(&stdout) >= CLIENTS {
        eprint!("{stdout}");
        return Ok(());
    }
    Err(format!("mode {mode:?}, {status}\n{stdout}{stderr}"))
}

/// The number behind `operations=`.
fn operations(line: &str) -> usize {
    let words = line.split_whitespace();
    words.filter_map(|word| word.strip_prefix("operations=")?.parse::<usize>().ok()).sum()
}

/// Where a driver is; it is not installed here, so that tests need no registry.
async fn installed(name: &str) -> Result<PathBuf, Missing> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install-drivers");
    let mut command = Command::new(script);
    command.args(["--where", name]);
    let said = Program::run(command, PATIENCE).await;
    match said.code() {
        0 => Ok(PathBuf::from(said.stdout.trim())),
        3 => Err(Missing(said.stderr.trim().to_owned())),
        _ => panic!("{}{}", said.stdout, said.stderr),
    }
}

fn python(place: &Path, script: &str) -> Command {
    let mut command = Command::new(place.join("venv/bin/python"));
    // No __pycache__ in the checkout.
    command.arg("-B").arg(source("python").join(script));
    command
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers").join(path)
}
