//! What the benchmarks in `benches/` move: a client's relay, its pool and a server connection, on
//! streams in memory. No part of the program: behind the feature `bench`.

use std::rc::Rc;
use std::task::{Context, Waker};

use bytes::BytesMut;

use super::around::Around;
use super::relay::{Hold, Relay};
use super::shard::Shard;
use super::virtual_session::{House, Sight};
use crate::net::{Memory, Stream, memory_pair};
use crate::pool::{ClientId, Conn, LocalPool, Profile};

/// One client and what it needs, at rest.
#[derive(Debug)]
pub struct Bench {
    shard: Rc<Shard>,
    local: Rc<LocalPool>,
    relay: Relay,
    /// The far ends.
    client: Memory,
    server: Memory,
    /// An upstream that the pool does not have, and its far end.
    spare: Conn,
    _spare_server: Memory,
}

impl Bench {
    /// A client that has logged in, and an idle upstream. `None`: the pool took none.
    #[must_use]
    pub fn new() -> Option<Self> {
        let (shard, local) = (Shard::staged(), LocalPool::staged(100)?);
        let (client, near) = memory_pair();
        let relay = Relay::staged(&shard, &local, Stream::memory(near), Profile::default());
        let (server, near) = memory_pair();
        local.stage_arrival(local.stage(Stream::memory(near), 1)?);
        let (spare_server, near) = memory_pair();
        let spare = local.stage(Stream::memory(near), 2)?;
        client.give_room(usize::MAX);
        server.give_room(usize::MAX);
        Some(Self { shard, local, relay, client, server, spare, _spare_server: spare_server })
    }

    /// A whole transaction of the client: its request through checkout to the server, the answer
    /// back, and the upstream given back. How much the server and the client got; `None`: the session
    /// ended, or kept the upstream.
    pub fn transaction(&mut self, request: &[u8], answer: &[u8]) -> Option<(usize, usize)> {
        self.client.put(request);
        self.run()?;
        let sent = self.server.take().len();
        self.server.put(answer);
        self.run()?;
        let got = self.client.take().len();
        matches!(self.relay.hold, Hold::Idle).then_some((sent, got))
    }

    fn run(&mut self) -> Option<()> {
        let mut cx = Context::from_waker(Waker::noop());
        self.relay.poll_run(&mut cx).is_pending().then_some(())
    }

    /// An upstream is taken from the pool and given back. False: there was none.
    #[must_use]
    pub fn checkout_and_give_back(&self) -> bool {
        let base = &self.shard.base;
        let mut cx = Context::from_waker(Waker::noop());
        let conn = self.local.try_checkout(ClientId(1), base, self.relay.mine.profile(), &mut cx);
        conn.map(|conn| self.local.give_back(conn)).is_some()
    }

    /// An upstream that is as the client wants it is brought into line. How much there was to say.
    pub fn align(&mut self) -> usize {
        let mut out = BytesMut::new();
        self.relay.mine.begin(&mut self.spare, &mut out);
        out.len()
    }

    /// The same, and then the client binds on it: the body of its Bind. What goes ahead of the body's
    /// rest; `None`: the statement is not known.
    pub fn bind(&mut self, body: &[u8]) -> Option<usize> {
        self.align();
        let mut around = Around::default();
        let (crowd, pool) = (&self.shard.crowd, self.local.pool());
        let house = House {
            texts: crowd.texts(),
            pool: pool.index(),
            database: pool,
            most: pool.settings().max_prepared_statements,
            bytes: crowd.settings().max_prepared_bytes,
            serial: self.shard.serials.next(self.shard.index),
        };
        let header = (b'B', body.len());
        let sight = self.relay.mine.sees(header, body, false, house, &mut self.spare, &mut around);
        matches!(sight, Sight::Instead(_)).then_some(around.before.len())
    }
}
