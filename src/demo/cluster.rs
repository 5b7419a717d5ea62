//! A throw-away PostgreSQL cluster in a folder of its own, gone when it is dropped.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rand::RngExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::error::DemoError;
use super::server::Server;
use super::tools::Tools;
use crate::secret::Secret;

/// The database, on the server and for clients.
pub(super) const DATABASE: &str = "demo";
/// The role that owns the tables and that every connection takes on.
pub(super) const GROUP: &str = "app";
/// The role that issues users.
const ISSUER: &str = "leasehold_issuer";

/// A cluster that runs.
#[derive(Debug)]
pub(super) struct Cluster {
    folder: PathBuf,
    port: u16,
    postmaster: Option<Child>,
}

impl Cluster {
    /// Makes the cluster, starts it, and creates database, group role and issuer.
    /// Dropping the future or the cluster removes everything.
    pub(super) async fn start(tools: &Tools) -> Result<(Self, Server), DemoError> {
        let owner = Owner::choose()?;
        let mut cluster = Self { folder: make_folder(owner)?, port: 0, postmaster: None };
        let password = random_password();
        cluster.initialise(tools, owner, &password).await?;
        let server = cluster.launch(tools, owner, &password).await?;
        let issuer_password = random_password();
        server.set_up(GROUP, ISSUER, &issuer_password, DATABASE).await?;
        let url = format!(
            "postgresql://{ISSUER}:{}@127.0.0.1:{}/{DATABASE}\n",
            issuer_password.expose(),
            cluster.port
        );
        write_private(&cluster.admin_url_file(), &url)?;
        let server = Server::connect(cluster.port, &password, DATABASE).await?;
        Ok((cluster, server))
    }

    /// Where the server listens on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The file with the issuer's URL, readable by this user only.
    pub(super) fn admin_url_file(&self) -> PathBuf {
        self.folder.join("admin-url")
    }

    /// Stops the server and removes the folder. What cannot be done is told.
    pub(super) async fn stop(mut self) -> Result<(), DemoError> {
        if let Some(mut postmaster) = self.postmaster.take() {
            // SIGQUIT ("immediate shutdown"): nothing in it is to be kept, so no checkpoint.
            signal(&postmaster, Signal::QUIT);
            if timeout(Duration::from_secs(10), postmaster.wait()).await.is_err() {
                postmaster.kill().await.map_err(|source| DemoError::io("stop PostgreSQL", source))?;
            }
        }
        fs::remove_dir_all(&self.folder).map_err(|source| DemoError::io("remove the demo's folder", source))
    }

    async fn initialise(
        &self,
        tools: &Tools,
        owner: Option<Owner>,
        password: &Secret,
    ) -> Result<(), DemoError> {
        let password_file = self.folder.join("password");
        write_private(&password_file, password.expose())?;
        if let Some(owner) = owner {
            give(&password_file, owner)?;
        }
        let mut command = self.command(&tools.initdb, owner);
        command.arg("-D").arg(self.data()).arg("--pwfile").arg(&password_file);
        command.args([
            "-U",
            "postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        command.kill_on_drop(true);
        let output = command.output().await.map_err(|source| DemoError::io("run initdb", source))?;
        let _ = fs::remove_file(&password_file);
        if output.status.success() { Ok(()) } else { Err(DemoError::failed("initdb", &output.stderr)) }
    }

    /// Starts the server on a free port; another one if somebody takes that port first.
    async fn launch(
        &mut self,
        tools: &Tools,
        owner: Option<Owner>,
        password: &Secret,
    ) -> Result<Server, DemoError> {
        let log = self.folder.join("postgres.log");
        let mut told = Vec::new();
        for _ in 0..3 {
            self.port = free_port()?;
            let file =
                File::create(&log).map_err(|source| DemoError::io("write PostgreSQL's log", source))?;
            let mut command = self.command(&tools.postgres, owner);
            command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
            for setting in
                ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=100"]
            {
                command.args(["-c", setting]);
            }
            command.stdout(Stdio::null()).stderr(file);
            let child = command.spawn().map_err(|source| DemoError::io("start postgres", source))?;
            self.postmaster = Some(child);
            if let Some(server) = self.answer(password).await? {
                return Ok(server);
            }
            told = fs::read(&log).unwrap_or_default();
        }
        Err(DemoError::failed("postgres", &told))
    }

    /// The server's first answer; `None` if it ended instead.
    async fn answer(&mut self, password: &Secret) -> Result<Option<Server>, DemoError> {
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            let ended = match self.postmaster.as_mut() {
                Some(child) => {
                    child.try_wait().map_err(|source| DemoError::io("wait for postgres", source))?
                }
                None => return Ok(None),
            };
            if ended.is_some() {
                self.postmaster = None;
                return Ok(None);
            }
            match Server::connect(self.port, password, "postgres").await {
                Ok(server) => return Ok(Some(server)),
                Err(error) if Instant::now() > patience => return Err(error),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// A program of PostgreSQL's, as its owner, out of reach of the terminal's Ctrl-C.
    fn command(&self, program: &Path, owner: Option<Owner>) -> Command {
        let mut command = clean_command(program);
        command.current_dir(&self.folder);
        if let Some(owner) = owner {
            command.uid(owner.uid).gid(owner.gid);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(postmaster) = self.postmaster.take() {
            // Every server process ends at once; `kill_on_drop` would leave its children alone.
            signal(&postmaster, Signal::QUIT);
        }
        // Until the last process has written its last file.
        for _ in 0..100 {
            let removed = fs::remove_dir_all(&self.folder);
            if removed.is_ok() || !self.folder.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A command without what the operator's shell says about PostgreSQL, in a
/// process group of its own: the terminal's Ctrl-C is for us.
pub(super) fn clean_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).process_group(0);
    command
}

/// Sends a signal to a child that we started and have not waited for yet.
pub(super) fn signal(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        let _ = kill_process(id, signal);
    }
}

/// Whom the server runs as, where we are root: PostgreSQL refuses to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    fn choose() -> Result<Option<Self>, DemoError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users =
            fs::read_to_string("/etc/passwd").map_err(|source| DemoError::io("read /etc/passwd", source))?;
        let found = ["postgres", "nobody"].iter().find_map(|name| Self::parse(&users, name));
        found.map(Some).ok_or(DemoError::NoOwner)
    }

    /// Finds a user in the text of passwd(5).
    fn parse(users: &str, name: &str) -> Option<Self> {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then_some(())?;
            let mut numbers = fields.skip(1).map(|field| field.parse().ok());
            Some(Self { uid: numbers.next()??, gid: numbers.next()?? })
        })
    }
}

fn make_folder(owner: Option<Owner>) -> Result<PathBuf, DemoError> {
    let name = format!("leasehold-demo-{:08x}", rand::rng().random::<u32>());
    let folder = std::env::temp_dir().join(name);
    DirBuilder::new().mode(0o700).create(&folder).map_err(|source| DemoError::io("make a folder", source))?;
    if let Some(owner) = owner {
        give(&folder, owner)?;
    }
    Ok(folder)
}

fn give(path: &Path, owner: Owner) -> Result<(), DemoError> {
    chown(path, Some(owner.uid), Some(owner.gid))
        .map_err(|source| DemoError::io("hand a file to PostgreSQL's user", source))
}

fn write_private(path: &Path, text: &str) -> Result<(), DemoError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| DemoError::io("write a file", source))
}

fn free_port() -> Result<u16, DemoError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| DemoError::io("find a free port", source))
}

/// 32 hexadecimal digits: safe in a URL and in SQL.
fn random_password() -> Secret {
    Secret::new(format!("{:032x}", rand::rng().random::<u128>()))
}

#[cfg(test)]
mod tests {
    use super::Owner;

    #[test]
    fn a_user_is_found_in_passwd() {
        let users = "root:x:0:0::/root:/bin/sh\nbroken\npostgres:x:101:104:PostgreSQL,,,:/var:/bin/bash\n";
        assert_eq!(Owner::parse(users, "postgres"), Some(Owner { uid: 101, gid: 104 }));
        assert_eq!(Owner::parse(users, "nobody"), None);
        assert_eq!(Owner::parse(users, "broken"), None);
    }
}
