//! A client's keeping its upstream between transactions, as others see it.

use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, info};

use super::roll::{ClientCell, Pinned};
use crate::pool::{Pin, PinHolder, PinnedClients, Pins, Ties};

/// A client that keeps its upstream. Dropping it says that it does not any more.
#[derive(Debug)]
pub(super) struct Keeping {
    cell: Rc<ClientCell>,
    pin: Pin,
}

impl Keeping {
    pub(super) fn new(pins: &Arc<Pins>, cell: &Rc<ClientCell>, ties: Ties) -> Result<Self, PinnedClients> {
        let application_name = cell.application_name.clone();
        let pin = pins.pin(PinHolder { client: cell.id, application_name, ties })?;
        cell.pinned.set(Some(Pinned { ties, since: Instant::now() }));
        info!(
            pool = %cell.database,
            client = cell.id.0,
            application_name = %cell.application_name,
            reasons = %ties,
            "pinned"
        );
        Ok(Self { cell: cell.clone(), pin })
    }

    pub(super) fn ties(&self) -> Ties {
        self.pin.ties()
    }

    pub(super) fn set(&mut self, ties: Ties) {
        self.pin.set(ties);
        let since = self.cell.pinned.get().map_or_else(Instant::now, |pinned| pinned.since);
        self.cell.pinned.set(Some(Pinned { ties, since }));
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.cell.pinned.set(None);
        debug!(
            pool = %self.cell.database,
            client = self.cell.id.0,
            application_name = %self.cell.application_name,
            reasons = %self.pin.ties(),
            "no longer pinned"
        );
    }
}
