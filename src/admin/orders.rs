//! Carries out the commands that change something. Each is told in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use pgwire::error::ErrorInfo;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::command::Name;
use super::refusal;
use super::settings::Reload;
use super::show::{Rotated, reloaded, rotation};
use super::table::Table;
use crate::credentials::{GenerationId, Keeper};
use crate::pool::{ClientId, Pool};
use crate::session::ClientPort;

/// How often the shards are asked for a client to end.
const KILLS: usize = 3;

/// One database, as commands reach it.
#[derive(Debug, Clone)]
pub struct Managed {
    /// Its connections.
    pub pool: Arc<Pool>,
    /// Its users.
    pub keeper: Keeper,
}

/// What commands reach.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) databases: Vec<Managed>,
    pub(super) clients: Vec<ClientPort>,
    /// Cancelled when somebody asks for the end.
    pub(super) quit: CancellationToken,
    /// Somebody has, and is still to hear that it was understood.
    pub(super) leaving: AtomicBool,
    /// `None`: what this process runs with was not read from anywhere.
    pub(super) reload: Option<Arc<dyn Reload>>,
}

impl Managed {
    fn name(&self) -> &str {
        &self.pool.settings().name
    }

    async fn rotate(&self) -> Rotated {
        let accepted = self.keeper.rotate().await;
        info!(pool = %self.name(), accepted, "rotation asked for at the console");
        let stopping = self.keeper.snapshot().stopping;
        Rotated { database: self.name().to_owned(), accepted, stopping }
    }
}

impl Orders {
    /// The databases that are meant: the named one, or all.
    fn meant(&self, name: Option<&Name>) -> Result<Vec<&Managed>, Box<ErrorInfo>> {
        let Some(name) = name else { return Ok(self.databases.iter().collect()) };
        let known = self.databases.iter().map(Managed::name);
        let Some(found) = name.find(known.clone()) else {
            return Err(Box::new(refusal::unknown_database(&name.text, &known.collect::<Vec<_>>())));
        };
        Ok(self.databases.iter().filter(|database| database.name() == found).collect())
    }

    /// The configuration is read again.
    pub(super) fn reload(&self) -> Result<Table, Box<ErrorInfo>> {
        let reload = self.reload.as_ref().ok_or_else(|| Box::new(refusal::nothing_to_reload()))?;
        reload.reload().map(reloaded).map_err(|what| Box::new(refusal::bad_configuration(what)))
    }

    pub(super) async fn rotate(&self, name: Option<&Name>) -> Result<Table, Box<ErrorInfo>> {
        let meant = self.meant(name)?;
        Ok(rotation(join_all(meant.into_iter().map(Managed::rotate)).await))
    }

    /// As ROTATE, if the generation with this number is the active one.
    pub(super) async fn retire(&self, number: u64, name: Option<&Name>) -> Result<Table, Box<ErrorInfo>> {
        let meant = self.meant(name)?;
        let [database] = meant[..] else { return Err(Box::new(refusal::which_database())) };
        let active = database.keeper.snapshot().active;
        if active.map(GenerationId::number) != Some(number) {
            return Err(Box::new(refusal::not_active(
                number,
                database.name(),
                active.map(GenerationId::number),
            )));
        }
        Ok(rotation(vec![database.rotate().await]))
    }

    /// Waits until the last server connection is closed.
    pub(super) async fn pause(&self, name: Option<&Name>) -> Result<(), Box<ErrorInfo>> {
        let fresh: Vec<&Managed> = self.meant(name)?.into_iter().filter(|one| one.pool.pause()).collect();
        if fresh.is_empty() {
            return Err(Box::new(refusal::already_paused()));
        }
        for database in &fresh {
            info!(pool = %database.name(), "pause asked for at the console");
        }
        let complete = join_all(fresh.iter().map(|database| database.pool.paused())).await;
        if complete.contains(&false) {
            return Err(Box::new(refusal::resumed_meanwhile()));
        }
        Ok(())
    }

    pub(super) fn resume(&self, name: Option<&Name>) -> Result<(), Box<ErrorInfo>> {
        let resumed: Vec<&Managed> = self.meant(name)?.into_iter().filter(|one| one.pool.resume()).collect();
        if resumed.is_empty() {
            return Err(Box::new(refusal::not_paused(name.map(|name| name.text.as_str()))));
        }
        for database in resumed {
            info!(pool = %database.name(), "resumed at the console");
        }
        Ok(())
    }

    pub(super) fn reconnect(&self, name: Option<&Name>) -> Result<(), Box<ErrorInfo>> {
        for database in self.meant(name)? {
            info!(pool = %database.name(), "new server connections asked for at the console");
            database.pool.reconnect();
        }
        Ok(())
    }

    pub(super) fn disable(&self, name: &Name, disabled: bool) -> Result<(), Box<ErrorInfo>> {
        for database in self.meant(Some(name))? {
            info!(pool = %database.name(), disabled, "new clients refused or let in again at the console");
            database.pool.set_disabled(disabled);
        }
        Ok(())
    }

    pub(super) async fn kill(&self, client: u64) -> Result<(), Box<ErrorInfo>> {
        // A client that goes from one thread to another is on neither for a moment.
        for _ in 0..KILLS {
            let told = join_all(self.clients.iter().map(|port| port.kill(ClientId(client)))).await;
            if told.contains(&true) {
                info!(client, "session ended at the console");
                return Ok(());
            }
        }
        Err(Box::new(refusal::no_such_client(client)))
    }

    /// The end comes once who asked has its answer: [`Orders::leave_if_asked`].
    pub(super) fn shutdown(&self) {
        info!("shutdown asked for at the console");
        self.leaving.store(true, Ordering::Release);
    }

    pub(super) fn leave_if_asked(&self) {
        if self.leaving.load(Ordering::Acquire) {
            self.quit.cancel();
        }
    }
}
