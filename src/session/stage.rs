//! A data thread and clients past their login, without sockets: what tests and benchmarks of the relay stand on.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::crowd::Crowd;
use super::doors::Doors;
use super::listen_settings::ListenSettings;
use super::relay::Relay;
use super::roll::{ClientCell, ClientState};
use super::shard::Shard;
use super::told::TellSettings;
use crate::cancel::Cancels;
use crate::net::Stream;
use crate::pool::{LocalPool, PoolShard, Profile};

impl Shard {
    /// One that knows no pools, and listens nowhere.
    pub(super) fn staged() -> Rc<Self> {
        let settings = ListenSettings {
            tcp: None,
            unix_dir: None,
            unix_port: 6432,
            unix_mode: 0o700,
            max_clients: 100,
            startup_timeout: Duration::from_secs(1),
            max_prepared_bytes: 1 << 24,
            thread_busy: 0,
            tell: TellSettings::default(),
        };
        let (console, _) = mpsc::unbounded_channel();
        let crowd = Crowd::new(settings, 1);
        Self::new(
            0,
            PoolShard::new(&[], 0),
            crowd,
            Cancels::new(Vec::new()),
            console,
            Arc::new(Doors::new(1)),
        )
    }
}

impl Relay {
    /// A client that has just logged in, with these settings in its startup packet.
    pub(super) fn staged(shard: &Rc<Shard>, local: &Rc<LocalPool>, stream: Stream, startup: Profile) -> Self {
        let cell = ClientCell {
            id: shard.crowd.enter(0).id,
            database: "app".to_owned(),
            user: "app".to_owned(),
            application_name: String::new(),
            address: None,
            state: Cell::new(ClientState::Idle),
            pinned: Cell::new(None),
            ends: Cell::new(None),
            idle_since: Cell::new(None),
            waiting_since: Cell::new(Instant::now()),
            since: Instant::now(),
            waker: Waker::noop().clone(),
        };
        let profile = shard.profiles.shared(&Arc::new(startup));
        Self::new(shard.clone(), local.clone(), Rc::new(cell), stream, profile, BytesMut::new())
    }
}
