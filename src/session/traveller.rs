//! A client between two data threads: all that it is, without its thread's part.

use std::cell::Cell;
use std::net::SocketAddr;
use std::task::Waker;

use tokio::time::Instant;

use super::crowd::Seat;
use super::roll::{ClientCell, ClientState};
use super::virtual_session::VirtualSession;
use crate::cancel::Registration;
use crate::net::Detached;
use crate::pool::ClientId;

/// A client of transaction mode that moves while it holds no upstream and nothing of it is under way.
#[derive(Debug)]
pub(super) struct Traveller {
    pub(super) stream: Detached,
    pub(super) who: Who,
    /// Which pool it is of.
    pub(super) pool: usize,
    pub(super) mine: VirtualSession,
    pub(super) seat: Seat,
    pub(super) key: Registration,
}

/// What others see of a client, wherever it is.
#[derive(Debug)]
pub(super) struct Who {
    id: ClientId,
    database: String,
    user: String,
    application_name: String,
    address: Option<SocketAddr>,
    since: Instant,
}

impl Who {
    pub(super) fn of(cell: &ClientCell) -> Self {
        Self {
            id: cell.id,
            database: cell.database.clone(),
            user: cell.user.clone(),
            application_name: cell.application_name.clone(),
            address: cell.address,
            since: cell.since,
        }
    }

    /// Its place on the list of another shard.
    pub(super) fn settles(self, waker: Waker) -> ClientCell {
        let Self { id, database, user, application_name, address, since } = self;
        ClientCell {
            id,
            database,
            user,
            application_name,
            address,
            state: Cell::new(ClientState::Idle),
            pinned: Cell::new(None),
            ends: Cell::new(None),
            idle_since: Cell::new(None),
            waiting_since: Cell::new(since),
            since,
            waker,
        }
    }
}
