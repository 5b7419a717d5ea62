//! What others see of a client.

use std::cell::Cell;
use std::net::SocketAddr;
use std::task::Waker;

use tokio::time::Instant;

use crate::pool::ClientId;

/// What a client is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// Holds no upstream.
    Idle,
    /// Waits for an upstream.
    Waiting,
    /// Holds an upstream.
    Active,
}

/// One row of SHOW CLIENTS.
#[derive(Debug, Clone)]
pub struct ClientRow {
    /// Its number.
    pub id: ClientId,
    /// The database it asked for.
    pub database: String,
    /// The user it said it is.
    pub user: String,
    /// Its `application_name`.
    pub application_name: String,
    /// Where it comes from; `None`: the Unix socket.
    pub address: Option<SocketAddr>,
    /// What it is doing.
    pub state: ClientState,
    /// When it came.
    pub since: Instant,
    /// The shard that serves it.
    pub shard: usize,
}

/// A client as others on its thread see it.
#[derive(Debug)]
pub(super) struct ClientCell {
    pub(super) id: ClientId,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) application_name: String,
    pub(super) address: Option<SocketAddr>,
    pub(super) state: Cell<ClientState>,
    pub(super) since: Instant,
    pub(super) waker: Waker,
}
