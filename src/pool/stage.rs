//! A pool that opens no connections, for tests and benchmarks of what holds them: they are brought to it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::conn::Conn;
use super::ledger::Claim;
use super::local::LocalPool;
use super::pins::{PinPolicy, PinSettings};
use super::settings::{PoolMode, PoolSettings};
use super::shared::Pool;
use crate::clock::Moment;
use crate::credentials::{Generation, GenerationId, Login};
use crate::net::{Peer, SslMode, SslRoots, Stream};
use crate::secret::Secret;
use crate::upstream::{Connected, HostSettings, SessionAttrs, UpstreamSettings};
use crate::wire::CancelKey;

impl LocalPool {
    /// A pool of transaction mode with an active user, whose upstreams have so many statements.
    pub(crate) fn staged(max_prepared_statements: usize) -> Option<Rc<Self>> {
        let upstream = UpstreamSettings {
            hosts: vec![HostSettings { host: "/nowhere".to_owned(), port: 5432 }],
            target_session_attrs: SessionAttrs::default(),
            dbname: "app".to_owned(),
            sslmode: SslMode::Disable,
            sslrootcert: SslRoots::default(),
            role: None,
            connect_timeout: Duration::ZERO,
            tcp_keepalive: Duration::ZERO,
            tcp_user_timeout: Duration::ZERO,
        };
        let settings = PoolSettings {
            name: "app".to_owned(),
            upstream,
            mode: PoolMode::Transaction,
            size: 100,
            min_size: 0,
            reserve_size: 0,
            reserve_timeout: Duration::ZERO,
            server_lifetime: Duration::ZERO,
            server_idle_timeout: Duration::ZERO,
            timeouts: Default::default(),
            max_server_connections: 100,
            checkout_timeout: Duration::from_secs(60),
            max_prepared_statements,
            pins: PinSettings { policy: PinPolicy::Auto, most: 100 },
        };
        let local = Self::new(Arc::new(Pool::new(settings, 0, Vec::new()).ok()?), 0);
        // As many are being opened as there could be.
        local.dialling.set(usize::MAX);
        local.stage_rotation();
        Some(local)
    }

    /// Another generation becomes active.
    pub(crate) fn stage_rotation(&self) {
        let id = self.pool.active().map_or(GenerationId::FIRST, GenerationId::next);
        let login = Login { user: format!("u{id}"), password: Secret::new("x".into()) };
        self.pool.ledger().admit(&Arc::new(Generation::new(id, login, Moment::default())));
        self.pool.set_active(Some(id));
    }

    /// A connection of the active generation to the server process of this number; `None`: one too many.
    pub(crate) fn stage(&self, stream: Stream, pid: u32) -> Option<Conn> {
        let slot = self.pool.take_slot(self.pool.active()?, self.shard, Claim::Usual)?;
        let key = Some(CancelKey { pid, secret: Vec::new() });
        let peer = Peer::Unix("/nowhere".into());
        let connected = Connected { stream, host: 0, passed: Vec::new(), peer, key, params: Vec::new() };
        Some(Conn::new(connected, Arc::default(), slot, &self.registry))
    }

    /// A connection is free: the oldest waiting client's, or idle.
    pub(crate) fn stage_arrival(self: &Rc<Self>, conn: Conn) {
        self.arrive(conn);
    }

    /// Whatever is idle.
    pub(crate) fn stage_idle(&self) -> Vec<Conn> {
        self.idle.borrow_mut().drain(..).collect()
    }

    /// How many connections the active generation has.
    pub(crate) fn stage_active(&self) -> usize {
        self.pool.active().map_or(0, |id| self.pool.ledger().open(id))
    }

    /// How many clients wait.
    pub(crate) fn stage_waiting(&self) -> usize {
        self.places.borrow().len()
    }
}
