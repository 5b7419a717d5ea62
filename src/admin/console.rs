//! The console as the rest of the process knows it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::desk::Desk;
use super::orders::{Managed, Orders};
use super::rights::Rights;
use super::settings::{Reload, SettingsInForce};
use super::{client, refusal};
use crate::session::{ClientPort, ConsoleClient};
use crate::snapshot::Watched;

/// Clients of the console at a time: they are not counted against `max_clients`.
const MOST_CLIENTS: usize = 100;
/// How long a last word may take to be written.
const LAST_WORD: Duration = Duration::from_secs(5);

/// The admin console of one proxy.
#[derive(Debug)]
pub struct Console {
    desk: Arc<Desk>,
}

impl Console {
    /// A console that shows what is watched. Commands reach these databases and the clients behind these
    /// ports, read the configuration again, and cancel `quit` to end the process.
    #[must_use]
    pub fn new(
        watched: Arc<Watched>,
        databases: Vec<Managed>,
        clients: Vec<ClientPort>,
        quit: CancellationToken,
        rights: Rights,
        shown: Arc<SettingsInForce>,
        reload: Option<Arc<dyn Reload>>,
    ) -> Self {
        let orders = Orders { databases, clients, quit, leaving: AtomicBool::new(false), reload };
        Self { desk: Arc::new(Desk { watched, orders, rights, shown }) }
    }

    /// Serves the clients that sessions hand over, on the current runtime, until every session's
    /// end of the channel is gone and the last client has left. Dropping the future closes the
    /// connections of its clients.
    pub async fn serve(self, mut arrivals: mpsc::UnboundedReceiver<ConsoleClient>) {
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                arrived = arrivals.recv() => match arrived {
                    Some(client) if clients.len() < MOST_CLIENTS => {
                        clients.spawn(serve(client, Arc::clone(&self.desk)));
                    }
                    Some(client) => {
                        clients.spawn(refuse(client));
                    }
                    None => break,
                },
                Some(_) = clients.join_next(), if !clients.is_empty() => {}
            }
        }
        while clients.join_next().await.is_some() {}
    }
}

async fn serve(client: ConsoleClient, desk: Arc<Desk>) {
    let user = client.params.get("user").unwrap_or("").to_owned();
    debug!(%user, "console client in");
    let end = Box::pin(client::serve(client, Arc::clone(&desk))).await;
    desk.orders.leave_if_asked();
    debug!(%user, error = end.err().map(|error| error.to_string()), "console client out");
}

async fn refuse(client: ConsoleClient) {
    let Ok(mut stream) = client.stream.attach() else { return };
    let _ = timeout(LAST_WORD, async {
        stream.write_all(&refusal::too_many(MOST_CLIENTS).encode()).await?;
        stream.shutdown().await
    })
    .await;
}
