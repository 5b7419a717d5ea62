//! A load of our own that records what became of each transaction, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

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
    pub text: String,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let sqlstate = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
        Self { sqlstate, text: format!("{error:?}") }
    }
}

/// Clients that do one transaction after another, and come back after a fault.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Deed>>>,
}

impl Load {
    /// `work` runs between BEGIN and COMMIT.
    pub fn start(endpoint: &Endpoint, clients: usize, work: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..clients).map(|_| tokio::spawn(run(endpoint.clone(), work, stop.clone()))).collect();
        Self { stop, clients }
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

async fn run(endpoint: Endpoint, work: &'static str, stop: Arc<AtomicBool>) -> Vec<Deed> {
    let mut deeds = Vec::new();
    let mut client: Option<Client> = None;
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let mut record = |outcome| deeds.push(Deed { started, ended: Instant::now(), outcome });
        let connected = match client.take() {
            Some(client) => client,
            None => match endpoint.try_connect().await {
                Ok(client) => client,
                Err(error) => {
                    record(Err(error.into()));
                    pause().await;
                    continue;
                }
            },
        };
        match transaction(&connected, work).await {
            Ok(user) => record(Ok(user)),
            Err(error) => {
                record(Err(error.into()));
                if connected.batch_execute("ROLLBACK").await.is_err() {
                    continue;
                }
            }
        }
        client = Some(connected);
        // Faults are to be found, not the machine's limits.
        pause().await;
    }
    deeds
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
