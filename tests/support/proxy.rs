//! The proxy itself: the binary that users run, as a child process.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use toml::Table;

use super::endpoint::Endpoint;
use super::ports::Port;
use super::postgres::find_tools;
use super::program::{Finished, Program, Signal};
use super::wait::wait_for;

/// Long enough for a loaded machine; only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same where a program runs it that interprets it.
const SLOWER: Duration = Duration::from_secs(150);

/// A running `leasehold run --config FILE`, its log in JSON. Killed when dropped;
/// a test that cares for a proper end sends SIGTERM and waits.
#[derive(Debug)]
pub struct Leasehold {
    program: Program,
    port: u16,
    directory: TempDir,
    patience: Duration,
    _claim: Option<Port>,
}

impl Leasehold {
    /// Starts it and waits until its TCP listener accepts. `[listen] tcp` becomes a
    /// free port, `[log] format` JSON and `[console] tcp_commands` true where the configuration does not say.
    pub async fn run(config: &str) -> Self {
        Self::run_with(config, &[]).await
    }

    /// As [`Leasehold::run`], with environment variables.
    pub async fn run_with(config: &str, env: &[(&str, &str)]) -> Self {
        Self::start(config, command(), env, PATIENCE).await
    }

    /// As [`Leasehold::run`], by a program that runs it, slower: its command line without the binary's name.
    pub async fn run_by(mut runner: Command, config: &str) -> Self {
        let own = command();
        runner.arg(own.get_program());
        for (name, _) in own.get_envs() {
            runner.env_remove(name);
        }
        Self::start(config, runner, &[], SLOWER).await
    }

    async fn start(config: &str, mut command: Command, env: &[(&str, &str)], patience: Duration) -> Self {
        let mut config: Table = config.parse().unwrap_or_else(|error| panic!("{error}\n{config}"));
        let claim = fill_in(&mut config);
        let listen: SocketAddr = config["listen"]["tcp"].as_str().unwrap().parse().unwrap();
        let directory = tempfile::Builder::new().prefix("leasehold-run-").tempdir().unwrap();
        let file = directory.path().join("leasehold.toml");
        std::fs::write(&file, config.to_string()).unwrap();
        command.arg("run").arg("--config").arg(&file).env("STATE_DIRECTORY", directory.path());
        command.envs(env.iter().copied());
        let mut program = Program::start(command);
        let accepts = wait_for(patience, async || {
            if program.ended().is_some() {
                return Some(false);
            }
            let timeout = Duration::from_millis(200);
            TcpStream::connect_timeout(&listen, timeout).is_ok().then_some(true)
        })
        .await;
        if accepts != Some(true) {
            panic!("leasehold does not listen on {listen}:\n{}\n{}", program.stdout(), program.stderr());
        }
        Self { program, port: listen.port(), directory, patience, _claim: claim }
    }

    /// Runs any command line of the binary to its end.
    pub async fn command_line(args: &[&str]) -> Finished {
        let mut command = command();
        command.args(args);
        Program::run(command, PATIENCE).await
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// The configuration as it was written; a test may change it and reload.
    pub fn config_file(&self) -> PathBuf {
        self.directory.path().join("leasehold.toml")
    }

    /// A database of the proxy as an application sees it: no password.
    pub fn endpoint(&self, dbname: &str) -> Endpoint {
        Endpoint {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: "anyone".to_owned(),
            password: None,
            dbname: dbname.to_owned(),
            tools: find_tools().unwrap_or_default(),
        }
    }

    /// The log so far, one object per line; lines that are not JSON are left out.
    pub fn logs(&self) -> Vec<Value> {
        self.log_text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The log so far as it was written, standard output and error together.
    pub fn log_text(&self) -> String {
        self.program.stdout() + &self.program.stderr()
    }

    /// Log lines whose message contains `text`; fields are looked up at the top and under `fields`.
    pub fn logged(&self, text: &str) -> Vec<Value> {
        self.logs().into_iter().filter(|line| field(line, "message").contains(text)).collect()
    }

    pub fn signal(&mut self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        self.program.ended().is_none()
    }

    /// The exit code, once it ended by itself within `timeout`; -1 if a signal ended it.
    pub async fn wait_exit(&mut self, timeout: Duration) -> Option<i32> {
        self.program.wait(timeout).await.map(|status| status.code().unwrap_or(-1))
    }

    /// SIGTERM and the exit code; a proxy that does not end fails the test with its log.
    pub async fn terminate(&mut self) -> i32 {
        self.signal(Signal::TERM);
        let code = self.wait_exit(self.patience).await;
        code.unwrap_or_else(|| panic!("leasehold did not end after SIGTERM:\n{}", self.log_text()))
    }

    /// Resident memory now, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.program.rss_kib()
    }

    /// The most resident memory so far, in KiB.
    pub fn peak_rss_kib(&self) -> u64 {
        self.program.peak_rss_kib()
    }

    /// CPU time so far, user and system, in steps of 10 ms.
    pub fn cpu_time(&self) -> Duration {
        self.program.cpu_time()
    }

    /// Open file descriptors.
    pub fn open_files(&self) -> usize {
        self.program.open_files()
    }
}

/// A field of a log line as text, wherever the format put it.
pub fn field(line: &Value, name: &str) -> String {
    let value = line.get(name).or_else(|| line.get("fields")?.get(name));
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// The binary, without what the developer's own shell says about Vault and PostgreSQL.
pub fn command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if ["VAULT_", "BAO_", "PG", "LEASEHOLD_", "RUST_LOG"].iter().any(|p| name_text.starts_with(p)) {
            command.env_remove(&name);
        }
    }
    command
}

/// What cargo built for this test.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_leasehold"))
}

fn fill_in(config: &mut Table) -> Option<Port> {
    let table = |config: &mut Table, name: &str, key: &str, value: &dyn Fn() -> toml::Value| {
        let section = config.entry(name).or_insert_with(|| Table::new().into());
        let section = section.as_table_mut().expect("a table");
        if !section.contains_key(key) {
            section.insert(key.to_owned(), value());
        }
    };
    let claim = Port::claim();
    let ours = format!("127.0.0.1:{}", claim.number());
    table(config, "listen", "tcp", &|| ours.clone().into());
    table(config, "log", "format", &|| "json".into());
    // Tests give commands over TCP; who may is a matter of tests/console/rights.rs.
    table(config, "console", "tcp_commands", &|| true.into());
    (config["listen"]["tcp"].as_str() == Some(ours.as_str())).then_some(claim)
}
