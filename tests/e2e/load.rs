//! A load of our own that records what became of each transaction, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use crate::support::Endpoint;

/// One transaction, or one attempt to connect.
#[derive(Debug, Clone)]
pub struct Deed {
    pub started: Instant,
    pub ended: Instant,
    /// The user that served it.
    pub outcome: Result<String, Fault>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Empty: the connection ended without a word.
    pub sqlstate: String,
    /// Whether a transaction was under way.
    pub in_flight: bool,
    pub text: String,
}

impl Fault {
    fn new(error: &Error, in_flight: bool) -> Self {
        let sqlstate = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
        Self { sqlstate, in_flight, text: format!("{error:?}") }
    }
}

/// Clients that do one transaction after another, and come back after a fault.
pub struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<Deed>>>,
}

impl Load {
    /// `work` runs between BEGIN and COMMIT.
    pub fn start(endpoint: &Endpoint, clients: usize, work: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicUsize::new(0));
        let clients = (0..clients)
            .map(|_| tokio::spawn(run(endpoint.clone(), work, stop.clone(), served.clone())))
            .collect();
        Self { stop, served, clients }
    }

    /// Transactions that succeeded so far.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// Lets each client end its transaction; everything in order of its end.
    pub async fn finish(self) -> Vec<Deed> {
        self.stop.store(true, Ordering::Relaxed);
        let mut deeds = Vec::new();
        for client in self.clients {
            deeds.extend(client.await.unwrap());
        }
        deeds.sort_by_key(|deed| deed.ended);
        deeds
    }
}

async fn run(
    endpoint: Endpoint,
    work: &'static str,
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
) -> Vec<Deed> {
    let mut deeds = Vec::new();
    let mut session: Option<Session> = None;
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let mut record = |outcome| deeds.push(Deed { started, ended: Instant::now(), outcome });
        let mut connected = match session.take() {
            Some(session) => session,
            None => match Session::open(&endpoint).await {
                Ok(session) => session,
                Err(error) => {
                    record(Err(Fault::new(&error, true)));
                    pause().await;
                    continue;
                }
            },
        };
        match transaction(&connected.client, work).await {
            Ok(user) => {
                record(Ok(user));
                served.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let over = connected.client.batch_execute("ROLLBACK").await.is_err();
                // What was said between two statements is known to the connection alone.
                let elsewhere = over && error.code().is_none();
                let last_word = if elsewhere { connected.last_word().await } else { None };
                record(Err(Fault::new(&last_word.unwrap_or(error), true)));
                if over {
                    continue;
                }
            }
        }
        // Faults are to be found, not the machine's limits.
        pause().await;
        if connected.client.is_closed() {
            let last_word = connected.last_word().await.expect("why it ended");
            deeds.push(Deed { started, ended: Instant::now(), outcome: Err(Fault::new(&last_word, false)) });
        } else {
            session = Some(connected);
        }
    }
    deeds
}

/// A client, and the task that knows how its connection ended.
struct Session {
    client: Client,
    connection: JoinHandle<Result<(), Error>>,
}

impl Session {
    async fn open(endpoint: &Endpoint) -> Result<Self, Error> {
        let (client, connection) = endpoint.config().connect(NoTls).await?;
        Ok(Self { client, connection: tokio::spawn(connection) })
    }

    /// What a connection that is over said last.
    async fn last_word(&mut self) -> Option<Error> {
        (&mut self.connection).await.unwrap().err()
    }
}

async fn transaction(client: &Client, work: &str) -> Result<String, Error> {
    client.batch_execute("BEGIN").await?;
    client.batch_execute(work).await?;
    let user = session_user(client).await?;
    client.batch_execute("COMMIT").await?;
    Ok(user)
}

/// Who serves this client at this moment.
pub async fn session_user(client: &Client) -> Result<String, Error> {
    for message in client.simple_query("SELECT session_user").await? {
        if let SimpleQueryMessage::Row(row) = message {
            return Ok(row.get(0).unwrap_or_default().to_owned());
        }
    }
    Ok(String::new())
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}
