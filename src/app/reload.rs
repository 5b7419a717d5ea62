//! The configuration, read again by a process that runs: RELOAD at the console, SIGHUP.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{info, warn};

use super::logging::LogHandle;
use super::settings::Settings;
use crate::admin::{Change, Reload, SettingsInForce};
use crate::pool::{Limits, Pool};
use crate::session::Crowd;

/// Reads the configuration as the process did at its start; what is wrong with it is text for people.
pub type Reread = Box<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// Where settings come from while the process runs.
pub struct Reloading {
    /// Reads them again.
    pub reread: Reread,
    /// The log, which is set up before anything else.
    pub log: LogHandle,
}

/// Reads the configuration again and takes over what can be changed at once.
pub(super) struct Reloader {
    from: Reloading,
    crowd: Arc<Crowd>,
    pools: Vec<Arc<Pool>>,
    in_force: Arc<SettingsInForce>,
    /// One at a time.
    turn: Mutex<()>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

impl Reloader {
    pub(super) fn new(
        from: Reloading,
        crowd: Arc<Crowd>,
        pools: Vec<Arc<Pool>>,
        in_force: Arc<SettingsInForce>,
    ) -> Arc<Self> {
        Arc::new(Self { from, crowd, pools, in_force, turn: Mutex::new(()) })
    }

    fn take_over(&self, settings: &Settings) -> Result<Vec<Change>, String> {
        // The one that can fail comes first.
        self.from.log.change(&settings.log).map_err(|error| error.to_string())?;
        self.crowd.change(&settings.listen);
        for pool in &self.pools {
            let name = &pool.settings().name;
            if let Some((new, _)) = settings.databases.iter().find(|(new, _)| new.name == *name) {
                pool.change(Limits::of(new));
                pool.pins().change(new.pins);
            }
        }
        Ok(self.in_force.take_over(&settings.shown))
    }
}

impl Reload for Reloader {
    fn reload(&self) -> Result<Vec<Change>, String> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let read = (self.from.reread)().and_then(|settings| self.take_over(&settings));
        match &read {
            Ok(changes) => {
                for Change { key, was, is, applied } in changes {
                    info!(%key, was, is, applied, "the configuration has another value");
                }
                info!(changes = changes.len(), "the configuration was read again");
            }
            Err(error) => warn!(%error, "the configuration is wrong, and nothing was changed"),
        }
        read
    }
}
