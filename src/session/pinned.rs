//! A client that is tied to its upstream at the end of a transaction: it keeps it, is one too many, or leaves
//! there what ties it (`pin`, `max_pinned`).

use tracing::warn;

use super::end::{End, Step};
use super::keeping::Keeping;
use super::refusal;
use super::relay::{Hold, Relay};
use crate::pool::{PinPolicy, PinnedClients, Ties};

impl Relay {
    /// Between transactions, tied to its upstream as the server says. `None`: it stays there.
    pub(super) fn keeps(&mut self) -> Option<Step> {
        let ties = self.mine.ties;
        let pins = self.local.pool().pins();
        if pins.policy() == PinPolicy::Never {
            self.leaves_behind();
            return Some(Step::Again);
        }
        match &mut self.keeping {
            Some(keeping) if keeping.ties() == ties => {}
            Some(keeping) => keeping.set(ties),
            None => match Keeping::new(pins, &self.cell, ties) {
                Ok(keeping) => self.keeping = Some(Box::new(keeping)),
                Err(full) => {
                    self.tell_refused(ties, &full);
                    return Some(Step::End(End::Refused(refusal::too_many_pinned(ties, &full))));
                }
            },
        }
        self.mine.stays().then_some(Step::Again)
    }

    fn tell_refused(&self, ties: Ties, full: &PinnedClients) {
        warn!(
            pool = %self.cell.database,
            client = self.cell.id.0,
            application_name = %self.cell.application_name,
            reasons = %ties,
            max_pinned = full.most,
            pinned = full.count,
            "client ended: as many clients as there may be are pinned"
        );
    }

    /// With `pin = "never"`: its upstream goes to others without what it left there.
    fn leaves_behind(&mut self) {
        self.gathers_no_more();
        let closes =
            self.exchange.uncertain() || std::mem::take(&mut self.server_said) || self.mine.has_lasting();
        self.mine.unties();
        let Hold::Active(conn) = std::mem::replace(&mut self.hold, Hold::Idle) else { return };
        if closes {
            conn.close();
        } else {
            self.local.reset_and_give_back(conn);
        }
        self.let_go();
    }
}
