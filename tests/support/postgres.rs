//! A PostgreSQL cluster of the test's own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::Client;

use super::endpoint::Endpoint;
use super::ports::Port;
use super::program::{Program, Signal, on_path};
use super::skip::Missing;
use super::tls::CertFiles;
use super::wait::wait_until;

/// The superuser's password.
pub const PASSWORD: &str = "superuser-of-the-test";

/// Long enough for a loaded machine; only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

const MISSING: &str = "no PostgreSQL server here: apt-get install postgresql, or set LEASEHOLD_TEST_PG_BIN";

/// What a cluster may differ in.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Lines of postgresql.conf, after ours.
    pub conf: Vec<String>,
    /// Lines of pg_hba.conf, before ours: the first match wins.
    pub hba: Vec<String>,
    /// The server's certificate and key: TLS is offered.
    pub tls: Option<CertFiles>,
}

/// How to stop (PostgreSQL manual, section 19.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Waits for clients to leave.
    Smart,
    /// Ends sessions with 57P01.
    Fast,
    /// As a crash: recovery at the next start.
    Immediate,
}

/// A running (or stopped) cluster: SCRAM over loopback TCP and the Unix
/// socket, superuser `postgres`, fsync and autovacuum off. Stopped and removed when dropped.
#[derive(Debug)]
pub struct Postgres {
    server: Option<Program>,
    port: Port,
    tools: PathBuf,
    programs: PathBuf,
    owner: Option<Owner>,
    directory: TempDir,
}

/// The system user that the server runs as: PostgreSQL refuses to run as root.
#[derive(Debug, Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Postgres {
    /// A cluster as most tests want it.
    pub async fn start() -> Result<Self, Missing> {
        Self::start_with(PostgresOptions::default()).await
    }

    /// A cluster with its own settings.
    pub async fn start_with(options: PostgresOptions) -> Result<Self, Missing> {
        let tools = find_tools()?;
        // Another major's server, where the tools are not in one place with it.
        let programs = std::env::var_os("LEASEHOLD_TEST_PG_SERVER_BIN").filter(|set| !set.is_empty());
        let programs = programs.map_or_else(|| tools.clone(), PathBuf::from);
        let directory = tempfile::Builder::new().prefix("leasehold-pg-").tempdir().unwrap();
        let (port, owner) = (Port::claim(), Owner::if_root());
        let mut postgres = Self { server: None, port, tools, programs, owner, directory };
        postgres.own(postgres.directory.path());
        postgres.initdb(&options).await;
        // The port is ours among tests; some other program may still take it first.
        for _ in 0..3 {
            match postgres.try_launch().await {
                Ok(()) => return Ok(postgres),
                Err(log) if log.contains("Address already in use") => postgres.port = Port::claim(),
                Err(log) => panic!("PostgreSQL did not start:\n{log}"),
            }
        }
        panic!("PostgreSQL found no free port three times");
    }

    /// A streaming standby of this server, up to date and running.
    pub async fn standby(&self) -> Self {
        let directory = tempfile::Builder::new().prefix("leasehold-pg-").tempdir().unwrap();
        let standby = Self {
            server: None,
            port: Port::claim(),
            tools: self.tools.clone(),
            programs: self.programs.clone(),
            owner: self.owner,
            directory,
        };
        standby.own(standby.directory.path());
        // By the low-level API (PostgreSQL manual, 25.3.3): not every build of the server has pg_basebackup.
        let session = self.connect().await;
        session.execute("SELECT pg_backup_start('standby', true)", &[]).await.unwrap();
        let mut command = Command::new("cp");
        if let Some(owner) = self.owner {
            command.uid(owner.uid).gid(owner.gid);
        }
        command.arg("-a").arg(self.data()).arg(standby.data());
        // A file that goes while it is copied is none that matters.
        Program::run(command, PATIENCE).await;
        let label = "SELECT labelfile FROM pg_backup_stop(false)";
        let label: String = session.query_one(label, &[]).await.unwrap().get(0);
        let _ = fs::remove_file(standby.data().join("postmaster.pid"));
        standby.write("backup_label", &label);
        standby.write("standby.signal", "");
        // The last setting of a name wins.
        let conf = fs::read_to_string(standby.data().join("postgresql.conf")).unwrap();
        let own = format!(
            "unix_socket_directories = '{}'\nhot_standby_feedback = on\nprimary_conninfo = 'host={} port={} \
             user=postgres password={PASSWORD} application_name=standby'\n",
            standby.directory.path().display(),
            self.directory.path().display(),
            self.port()
        );
        standby.write("postgresql.conf", &(conf + "\n" + &own));
        let mut standby = standby;
        standby.start_again().await;
        standby.catch_up(self).await;
        standby
    }

    /// Waits until this standby has replayed what the primary has written by now.
    pub async fn catch_up(&self, primary: &Self) {
        let written = primary.admin().psql("SELECT pg_current_wal_lsn()").await.success();
        let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{}'", written.trim());
        let replayed = async || self.admin().psql(&sql).await.success().trim() == "t";
        assert!(wait_until(PATIENCE, replayed).await, "the standby does not follow:\n{}", self.log());
    }

    /// Makes a primary of this standby (`pg_ctl promote`).
    pub async fn promote(&self) {
        let mut command = self.as_owner("pg_ctl");
        command.arg("promote").arg("-w").arg("-D").arg(self.data());
        Program::run(command, PATIENCE).await.success();
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The directory of the Unix socket; the data is in `data` under it.
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// Directory of psql, pgbench and the others.
    pub fn tools(&self) -> &Path {
        &self.tools
    }

    /// The superuser over TCP, in database `postgres`.
    pub fn admin(&self) -> Endpoint {
        Endpoint {
            host: "127.0.0.1".to_owned(),
            port: self.port(),
            user: "postgres".to_owned(),
            password: Some(PASSWORD.to_owned()),
            dbname: "postgres".to_owned(),
            tools: self.tools.clone(),
        }
    }

    /// `postgresql://postgres:…@127.0.0.1:PORT/postgres`.
    pub fn admin_url(&self) -> String {
        self.admin().url()
    }

    /// A superuser's client.
    pub async fn connect(&self) -> Client {
        self.admin().connect().await
    }

    /// Runs SQL as the superuser in `dbname`, statement by statement.
    pub async fn execute(&self, dbname: &str, sql: &str) {
        let client = self.admin().database(dbname).connect().await;
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Names in pg_roles that match a LIKE pattern.
    pub async fn roles_like(&self, pattern: &str) -> Vec<String> {
        let client = self.connect().await;
        let rows = client
            .query("SELECT rolname::text FROM pg_roles WHERE rolname LIKE $1 ORDER BY 1", &[&pattern])
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The server's process, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.server.as_ref().map(Program::id)
    }

    /// What the server has logged since its last start.
    pub fn log(&self) -> String {
        self.server.as_ref().map(Program::stderr).unwrap_or_default()
    }

    /// Stops it and waits until it is gone. Smart waits for clients, so it can take long.
    pub async fn stop(&mut self, mode: StopMode) {
        if let Some(mut server) = self.server.take() {
            server.signal(mode.signal());
            assert!(server.wait(PATIENCE).await.is_some(), "PostgreSQL did not stop:\n{}", server.stderr());
        }
    }

    /// Starts it again on the same port and data.
    pub async fn start_again(&mut self) {
        if let Err(log) = self.try_launch().await {
            panic!("PostgreSQL did not start again:\n{log}");
        }
    }

    /// A fast stop and a start.
    pub async fn restart(&mut self) {
        self.stop(StopMode::Fast).await;
        self.start_again().await;
    }

    /// Rereads postgresql.conf and pg_hba.conf.
    pub fn reload(&mut self) {
        self.server.as_mut().expect("PostgreSQL does not run").signal(Signal::HUP);
    }

    /// Replaces pg_hba.conf by these lines and the usual ones, and rereads it.
    pub fn set_hba(&mut self, first: &[&str]) {
        let first: Vec<String> = first.iter().map(|line| (*line).to_owned()).collect();
        self.write("pg_hba.conf", &hba(&first));
        self.reload();
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A command that runs as the server's owner.
    fn as_owner(&self, tool: &str) -> Command {
        let mut command = Command::new(self.programs.join(tool));
        command.current_dir(self.directory.path()).env("LC_ALL", "C");
        if let Some(owner) = self.owner {
            command.uid(owner.uid).gid(owner.gid);
        }
        command
    }

    fn own(&self, path: &Path) {
        if let Some(owner) = self.owner {
            chown(path, Some(owner.uid), Some(owner.gid)).unwrap();
        }
    }

    /// Writes a file into the data directory, readable by the server alone.
    fn write(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.own(&path);
    }

    async fn initdb(&self, options: &PostgresOptions) {
        let password = self.directory.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        self.own(&password);
        let mut command = self.as_owner("initdb");
        command.args([
            "-U",
            "postgres",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ]);
        command.arg(self.data()).arg("--pwfile").arg(&password);
        Program::run(command, PATIENCE).await.success();
        fs::remove_file(&password).unwrap();

        let mut conf = vec![
            "listen_addresses = '127.0.0.1'".to_owned(),
            format!("unix_socket_directories = '{}'", self.directory.path().display()),
            "max_connections = 200".to_owned(),
            "fsync = off".to_owned(),
            // Fresh statistics in mid-test would change plans, and with them where an error comes among the rows.
            "autovacuum = off".to_owned(),
            "synchronous_commit = off".to_owned(),
            "full_page_writes = off".to_owned(),
            "password_encryption = 'scram-sha-256'".to_owned(),
            "logging_collector = off".to_owned(),
            "shared_buffers = '64MB'".to_owned(),
            "log_line_prefix = '%m [%p] %q%u@%d '".to_owned(),
        ];
        if let Some(tls) = &options.tls {
            self.write("server.crt", &fs::read_to_string(&tls.cert).unwrap());
            self.write("server.key", &fs::read_to_string(&tls.key).unwrap());
            conf.push("ssl = on".to_owned());
        }
        conf.extend(options.conf.iter().cloned());
        conf.push(String::new());
        // initdb's own file stays as it is; the last setting of a name wins.
        let defaults = fs::read_to_string(self.data().join("postgresql.conf")).unwrap();
        self.write("postgresql.conf", &(defaults + "\n" + &conf.join("\n")));
        self.write("pg_hba.conf", &hba(&options.hba));
    }

    /// Starts the server and waits until it is ready; its log, if it ends instead.
    async fn try_launch(&mut self) -> Result<(), String> {
        assert!(self.server.is_none(), "PostgreSQL runs already");
        let mut command = self.as_owner("postgres");
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port().to_string());
        let mut server = Program::start(command);
        let pid_file = self.data().join("postmaster.pid");
        let id = server.id().to_string();
        let settled =
            wait_until(PATIENCE, async || server.ended().is_some() || is_ready(&pid_file, &id)).await;
        if !settled || server.ended().is_some() {
            return Err(server.stderr());
        }
        self.server = Some(server);
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.end_now(StopMode::Immediate.signal(), Duration::from_secs(10));
        }
    }
}

impl StopMode {
    fn signal(self) -> Signal {
        match self {
            Self::Smart => Signal::TERM,
            Self::Fast => Signal::INT,
            Self::Immediate => Signal::QUIT,
        }
    }
}

impl Owner {
    /// `postgres`, else `nobody`, if we are root.
    fn if_root() -> Option<Self> {
        if !rustix::process::getuid().is_root() {
            return None;
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let find = |name: &str| {
            let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2);
            Some(Self { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
        };
        Some(find("postgres").or_else(|| find("nobody")).expect("no user postgres or nobody to run as"))
    }
}

fn hba(first: &[String]) -> String {
    let mut lines = first.to_vec();
    for kind in ["local all all", "host all all 127.0.0.1/32", "local replication all"] {
        lines.push(format!("{kind} scram-sha-256"));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The server writes its state into the eighth line of its lock file (pg_ctl waits for the same).
fn is_ready(pid_file: &Path, id: &str) -> bool {
    let text = fs::read_to_string(pid_file).unwrap_or_default();
    let mut lines = text.lines();
    lines.next() == Some(id) && lines.nth(6).is_some_and(|state| ["ready", "standby"].contains(&state.trim()))
}

/// The directory that holds `postgres`, `initdb`, `psql` and `pgbench`.
pub fn find_tools() -> Result<PathBuf, Missing> {
    let whole = |directory: &Path| {
        ["postgres", "initdb", "psql", "pgbench"].iter().all(|tool| directory.join(tool).is_file())
    };
    if let Some(set) = std::env::var_os("LEASEHOLD_TEST_PG_BIN") {
        let set = PathBuf::from(set);
        assert!(whole(&set), "LEASEHOLD_TEST_PG_BIN={} lacks a tool", set.display());
        return Ok(set);
    }
    let by_pg_config = || {
        let output = Command::new(on_path("pg_config")?).arg("--bindir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    };
    let debian = || {
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .ok()?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
            })
            .filter(|(_, bin)| whole(bin))
            .collect();
        versions.sort();
        versions.pop().map(|(_, bin)| bin)
    };
    let in_path = || on_path("postgres")?.canonicalize().ok()?.parent().map(Path::to_path_buf);
    by_pg_config()
        .filter(|bin| whole(bin))
        .or_else(debian)
        .or_else(|| in_path().filter(|bin| whole(bin)))
        .ok_or_else(|| Missing(MISSING.to_owned()))
}
