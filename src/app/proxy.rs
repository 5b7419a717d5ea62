//! A running proxy: data threads, keepers, console, HTTP and listeners, started
//! in this order and stopped in the other.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Settings;
use super::reload::{Reloader, Reloading};
use crate::admin::{Console, Managed, Reload, Rights, SettingsInForce, UnknownUser};
use crate::cancel::Cancels;
use crate::credentials::{
    Fleet, Keeper, KeeperSnapshot, LocalSource, RotationSettings, Source, SourceError, SourceSettings,
    VaultSettings, VaultSource,
};
use crate::http::{BoundHttp, HttpError, HttpServer};
use crate::net::TlsError;
use crate::pool::{Pool, PoolCounts, PoolGroup, PoolMode, PoolSettings, ShardPort};
use crate::session::{Accepting, ClientPort, Crowd, Doors, ListenError, Listeners, ShardPlan};
use crate::snapshot::{Depth, Watched, WatchedDatabase};

/// The pool counts shards in the bits of one word.
const MOST_THREADS: usize = 64;
/// What closing connections may take once everything is revoked.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why a proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The HTTP listener cannot be had.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// TLS towards a database cannot be set up.
    #[error("database {database:?}: {source}")]
    Tls {
        /// Which database.
        database: String,
        /// What is wrong.
        source: TlsError,
    },
    /// A source of users cannot be set up.
    #[error("database {database:?}: {source}")]
    Source {
        /// Which database.
        database: String,
        /// What is wrong.
        source: SourceError,
    },
    /// The console's administrators cannot be told.
    #[error(transparent)]
    Console(#[from] UnknownUser),
    /// A database uses Vault, but there are no settings for it.
    #[error(
        "database {database:?} takes its users from Vault, but [vault] is missing: set vault.address or VAULT_ADDR"
    )]
    NoVault {
        /// Which database.
        database: String,
    },
    /// A thread or runtime cannot be started.
    #[error("cannot start a data thread: {0}")]
    Thread(#[from] io::Error),
}

/// A proxy that serves until it is stopped. Several may run in one process.
#[derive(Debug)]
pub struct Proxy {
    databases: Vec<Database>,
    /// One for each source of users, with its name.
    keepers: Vec<(String, Keeper)>,
    clients: Vec<ClientPort>,
    watched: Arc<Watched>,
    threads: Vec<JoinHandle<()>>,
    accepting: Accepting,
    tcp: Option<SocketAddr>,
    /// Where HTTP answers, and the task that does it.
    http: Option<(SocketAddr, tokio::task::JoinHandle<()>)>,
    /// Cancelled when somebody asks for the end by HTTP.
    quit: CancellationToken,
    /// Cancelled when somebody asks for it at the console.
    shutdown: CancellationToken,
    reloader: Option<Arc<Reloader>>,
    shutdown_timeout: Duration,
    console: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Database {
    pool: Arc<Pool>,
    keeper: Keeper,
}

impl Database {
    fn managed(&self) -> Managed {
        Managed { pool: self.pool.clone(), keeper: self.keeper.clone() }
    }
}

impl Proxy {
    /// Binds the listeners, starts the data threads and asks for the first users; does not
    /// wait for them. The keepers and the console run on the current runtime. `from` is where settings
    /// can be read again.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start(settings: Settings, from: Option<Reloading>) -> Result<Self, StartError> {
        let threads = settings.threads.clamp(1, MOST_THREADS);
        let rights = Rights::on_this_host(&settings.console)?;
        let listeners = Listeners::bind(&settings.listen)?;
        let tcp = listeners.tcp_addr();
        let http = BoundHttp::bind(&settings.http)?;
        let (shards, words): (Vec<_>, Vec<_>) = (0..threads).map(|_| ShardPort::new()).unzip();

        let (shared, issuers) = make_pools(&settings, &shards)?;

        let crowd = Crowd::new(settings.listen.clone(), threads);
        let cancels = Cancels::new(shards.clone());
        let doors = Arc::new(Doors::new(threads));
        let (console_port, console_clients) = mpsc::unbounded_channel();
        let (data, clients) = start_threads(words, |index, words| {
            let (pools, crowd, cancels) = (shared.clone(), crowd.clone(), cancels.clone());
            ShardPlan::new(index, pools, crowd, cancels, console_port.clone(), doors.clone(), words)
        })?;

        let (databases, keepers) = start_keepers(issuers, &settings.rotation);
        let watched = watch(&databases, &shards, &clients, settings.console.stats_period);
        let (quit, shutdown) = (CancellationToken::new(), CancellationToken::new());
        let in_force = Arc::new(SettingsInForce::new(settings.shown));
        let reloader = from.map(|from| Reloader::new(from, crowd.clone(), shared.clone(), in_force.clone()));
        let console = Console::new(
            watched.clone(),
            databases.iter().map(Database::managed).collect(),
            clients.clone(),
            shutdown.clone(),
            rights,
            in_force,
            reloader.clone().map(|reloader| -> Arc<dyn Reload> { reloader }),
        );
        let console = tokio::spawn(console.serve(console_clients));
        let http = http.map(|bound| serve_http(bound, &watched, &quit));
        let accepting = listeners.start(&clients)?;
        info!(
            tcp = tcp.map(|a| a.to_string()),
            unix_dir = settings.listen.unix_dir.as_ref().map(|d| d.display().to_string()),
            http = http.as_ref().map(|(address, _)| address.to_string()),
            threads,
            databases = databases.len(),
            version = env!("CARGO_PKG_VERSION"),
            "listening"
        );
        Ok(Self {
            databases,
            keepers,
            clients,
            watched,
            threads: data,
            accepting,
            tcp,
            http,
            quit,
            shutdown,
            reloader,
            shutdown_timeout: settings.shutdown_timeout,
            console,
        })
    }

    /// Where TCP clients come in, with the port that the system chose for port 0.
    #[must_use]
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Where HTTP answers, with the port that the system chose for port 0.
    #[must_use]
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|(address, _)| *address)
    }

    /// Reads the configuration again, as RELOAD does; the log tells what came of it.
    pub fn reload(&self) {
        if let Some(reloader) = &self.reloader {
            let _ = reloader.reload();
        }
    }

    /// Resolves when somebody asks for the end by HTTP or at the console, and says which: call
    /// [`Proxy::stop`] then. Cancel safe.
    pub async fn quit_asked(&self) -> &'static str {
        tokio::select! {
            () = self.quit.cancelled() => "quitquitquit",
            () = self.shutdown.cancelled() => "SHUTDOWN",
        }
    }

    /// The users of one database.
    #[must_use]
    pub fn keeper(&self, database: &str) -> Option<KeeperSnapshot> {
        self.database(database).map(|database| database.keeper.snapshot())
    }

    /// Connections of one generation of one database.
    #[must_use]
    pub fn connections(&self, database: &str, id: crate::credentials::GenerationId) -> usize {
        self.database(database).map_or(0, |database| database.pool.connections(id))
    }

    /// Asks for a new user for one database now; false if that is under way already.
    pub async fn rotate(&self, database: &str) -> bool {
        match self.database(database) {
            Some(database) => database.keeper.rotate().await,
            None => false,
        }
    }

    /// Figures of one database, added up over the shards.
    pub async fn stats(&self, database: &str) -> Option<PoolCounts> {
        let index = self.database(database)?.pool.index();
        Some(self.watched.look(Depth::Threads).await.counts(index))
    }

    fn database(&self, name: &str) -> Option<&Database> {
        self.databases.iter().find(|database| database.pool.settings().name == name)
    }

    /// Stops accepting, lets transactions end within `shutdown_timeout`, revokes every user,
    /// and closes everything.
    pub async fn stop(self) {
        let Self {
            databases,
            keepers,
            clients,
            watched,
            threads,
            accepting,
            shutdown_timeout,
            console,
            http,
            ..
        } = self;
        // Nobody comes in from here on.
        drop(accepting);
        watched.stop();
        clients.iter().for_each(ClientPort::stop);
        let keepers = keepers.iter().map(|(name, keeper)| async move {
            let report = keeper.shutdown(shutdown_timeout).await;
            if !report.is_clean() {
                let users: Vec<&str> =
                    report.left.iter().map(|generation| generation.user.as_str()).collect();
                warn!(
                    pool = %name,
                    users = users.join(","),
                    issuing = report.issuing,
                    "not revoked: these users end with their lease"
                );
            }
        });
        futures_util::future::join_all(keepers).await;
        // Only now, so that those who are connected can watch the users drain.
        console.abort();
        http.iter().for_each(|(_, serving)| serving.abort());
        drop((databases, clients, watched));
        let joining = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        });
        let _ = tokio::time::timeout(LAST_WORDS, joining).await;
        info!("stopped");
    }
}

/// The databases in the order of their pools' indices, and the keepers, each with its source's name.
fn start_keepers(
    issuers: Vec<Issuer>,
    rotation: &RotationSettings,
) -> (Vec<Database>, Vec<(String, Keeper)>) {
    let mut databases: Vec<Database> = Vec::new();
    let mut keepers = Vec::new();
    for Issuer { name, source, pools } in issuers {
        let keeper = Keeper::spawn(name.clone(), source, fleet_of(&pools), rotation.clone());
        databases.extend(pools.into_iter().map(|pool| Database { pool, keeper: keeper.clone() }));
        keepers.push((name, keeper));
    }
    databases.sort_by_key(|database| database.pool.index());
    for database in &databases {
        tokio::spawn(tell_trouble(database.pool.clone(), database.keeper.subscribe()));
        if database.pool.settings().mode == PoolMode::Transaction {
            tokio::spawn(Pool::follow_functions(Arc::downgrade(&database.pool)));
        }
    }
    (databases, keepers)
}

fn watch(
    databases: &[Database],
    shards: &[ShardPort],
    clients: &[ClientPort],
    period: Duration,
) -> Arc<Watched> {
    let each = |database: &Database| WatchedDatabase {
        pool: database.pool.clone(),
        keeper: database.keeper.clone(),
    };
    let databases = databases.iter().map(each).collect();
    let watched = Arc::new(Watched::new(databases, shards.to_vec(), clients.to_vec()));
    tokio::spawn(Watched::sample(Arc::downgrade(&watched), period));
    watched
}

fn serve_http(
    bound: BoundHttp,
    watched: &Arc<Watched>,
    quit: &CancellationToken,
) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let server = HttpServer::new(watched.clone(), quit.clone());
    (bound.address(), tokio::spawn(server.serve(bound)))
}

/// One data thread for each of these; where their clients come in.
fn start_threads<W>(
    words: Vec<W>,
    plan: impl Fn(usize, W) -> (ShardPlan, ClientPort),
) -> io::Result<(Vec<JoinHandle<()>>, Vec<ClientPort>)> {
    let (mut threads, mut clients) = (Vec::new(), Vec::new());
    for (index, words) in words.into_iter().enumerate() {
        let (plan, port) = plan(index, words);
        threads.push(start_thread(index, plan)?);
        clients.push(port);
    }
    Ok((threads, clients))
}

fn start_thread(index: usize, plan: ShardPlan) -> io::Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(format!("shard-{index}"));
    let (started, outcome) = std::sync::mpsc::channel();
    let handle = thread.spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                let _ = started.send(Ok(()));
                runtime.block_on(plan.run());
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    })?;
    outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended")))?;
    Ok(handle)
}

/// A source of users, and the pools that have them.
struct Issuer {
    name: String,
    source: Arc<dyn Source>,
    pools: Vec<Arc<Pool>>,
}

/// A pool for each database, and a source for each one's own credentials and for each that has a name.
fn make_pools(
    settings: &Settings,
    shards: &[ShardPort],
) -> Result<(Vec<Arc<Pool>>, Vec<Issuer>), StartError> {
    let mut pools = Vec::new();
    let mut issuers: Vec<Issuer> = Vec::new();
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for (index, (pool, credentials)) in settings.databases.iter().enumerate() {
        let made = Pool::new(pool.clone(), index, shards.to_vec())
            .map_err(|source| StartError::Tls { database: pool.name.clone(), source })?;
        let made = Arc::new(made);
        pools.push(made.clone());
        let known = credentials.name.as_deref().and_then(|name| by_name.get(name));
        if let Some(issuer) = known.and_then(|at| issuers.get_mut(*at)) {
            issuer.pools.push(made);
            continue;
        }
        let name = credentials.name.as_deref().unwrap_or(&pool.name).to_owned();
        let source = make_source(pool, &name, &credentials.source, settings.vault.as_ref())?;
        if let Some(name) = credentials.name.as_deref() {
            by_name.insert(name, issuers.len());
        }
        issuers.push(Issuer { name, source, pools: vec![made] });
    }
    Ok((pools, issuers))
}

/// What the keeper of these pools' users drives.
fn fleet_of(pools: &[Arc<Pool>]) -> Arc<dyn Fleet> {
    match pools {
        [only] => only.clone(),
        several => Arc::new(PoolGroup::new(several.to_vec())),
    }
}

fn make_source(
    pool: &PoolSettings,
    name: &str,
    source: &SourceSettings,
    vault: Option<&VaultSettings>,
) -> Result<Arc<dyn Source>, StartError> {
    let database = || pool.name.clone();
    let wrong = |source| StartError::Source { database: database(), source };
    match source {
        SourceSettings::Vault { path } => {
            let vault = vault.ok_or_else(|| StartError::NoVault { database: database() })?;
            Ok(Arc::new(VaultSource::new(vault.clone(), path.clone()).map_err(wrong)?))
        }
        SourceSettings::Local(local) => {
            let role = pool.upstream.role.as_deref();
            Ok(Arc::new(LocalSource::new(local.clone(), name, role).map_err(wrong)?))
        }
    }
}

/// Keeps the reason why there is no user where a refused client can be told.
async fn tell_trouble(pool: Arc<Pool>, mut keeper: tokio::sync::watch::Receiver<KeeperSnapshot>) {
    while keeper.changed().await.is_ok() {
        let snapshot = keeper.borrow_and_update().clone();
        if snapshot.active.is_none() {
            pool.set_trouble(snapshot.last_error);
        }
    }
}
