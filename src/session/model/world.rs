//! Clients' relays, a pool and models of servers, all in memory: moved on step by step, in an order
//! and in pieces that dice decide.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::server::Server;
use super::settings::REPORTED;
use super::words::Word;
use crate::net::{Memory, Stream, memory_pair};
use crate::pool::{Conn, LocalPool, Profile};
use crate::session::relay::{Hold, Relay};
use crate::session::shard::Shard;
use crate::wire::parameter_status;

/// More rounds than any case needs to come to rest.
const ENDLESS: usize = 20_000;

/// Numbers that look random; from 0 only zeros.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    /// Less than `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % sides.max(1)
    }

    fn pieces(&mut self, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let length = if self.roll(3) == 0 { bytes.len() } else { 1 + self.roll(bytes.len().min(30)) };
            let (piece, rest) = bytes.split_at(length);
            pieces.push(piece.to_vec());
            bytes = rest;
        }
        pieces
    }

    /// How much may be written at a time.
    fn room(&mut self) -> usize {
        match self.roll(3) {
            0 => usize::MAX,
            _ => 1 + self.roll(40),
        }
    }
}

/// A client on both ways: through its session, and to a server of its own.
struct Client {
    relay: Relay,
    far: Memory,
    outbox: VecDeque<Vec<u8>>,
    startup: Vec<(String, String)>,
    private: Server,
    expected: Vec<u8>,
    got: Vec<u8>,
}

struct Upstream {
    far: Memory,
    server: Server,
    outbox: VecDeque<Vec<u8>>,
}

/// All of it.
pub(super) struct World {
    shard: Rc<Shard>,
    local: Rc<LocalPool>,
    clients: Vec<Client>,
    upstreams: BTreeMap<u32, Upstream>,
    /// Connections that nobody has.
    reserve: Vec<Conn>,
    /// How many upstreams of the active generation there are.
    wanted: usize,
    next_pid: u32,
    dice: Dice,
}

impl World {
    pub(super) fn new(startups: &[Vec<(String, String)>], upstreams: usize, most: usize, seed: u64) -> Self {
        let mut world = Self {
            shard: Shard::staged(),
            local: LocalPool::staged(most).unwrap(),
            clients: Vec::new(),
            upstreams: BTreeMap::new(),
            reserve: Vec::new(),
            wanted: upstreams,
            next_pid: 1,
            dice: Dice(seed),
        };
        world.open(upstreams);
        world.clients = startups.iter().map(|startup| world.arrives(startup)).collect();
        world
    }

    fn open(&mut self, upstreams: usize) {
        for _ in 0..upstreams {
            let (far, near) = memory_pair();
            self.reserve.push(self.local.stage(Stream::memory(near), self.next_pid).unwrap());
            let upstream = Upstream { far, server: Server::new(&[]), outbox: VecDeque::new() };
            self.upstreams.insert(self.next_pid, upstream);
            self.next_pid += 1;
        }
    }

    fn arrives(&self, startup: &[(String, String)]) -> Client {
        let (far, near) = memory_pair();
        let profile = Profile::new(startup.iter().cloned());
        Client {
            relay: Relay::staged(&self.shard, &self.local, Stream::memory(near), profile),
            far,
            outbox: VecDeque::new(),
            startup: startup.to_vec(),
            private: Server::new(startup),
            expected: Vec::new(),
            got: Vec::new(),
        }
    }

    /// A client says this, to its session and to a server of its own.
    pub(super) fn says(&mut self, client: usize, words: &[Word]) {
        let bytes: Vec<u8> = words.iter().flat_map(Word::bytes).collect();
        for piece in self.dice.pieces(&bytes) {
            self.sends(client, &piece);
        }
    }

    /// A client sends this piece.
    pub(super) fn sends(&mut self, client: usize, piece: &[u8]) {
        let client = &mut self.clients[client];
        client.expected.extend(client.private.hears(piece).unwrap());
        client.outbox.push_back(piece.to_vec());
    }

    /// A client goes, whatever it is doing, and another comes in its place.
    pub(super) fn leaves(&mut self, client: usize) {
        let startup = self.clients[client].startup.clone();
        self.clients[client] = self.arrives(&startup);
    }

    /// Another generation: what is free is closed, what is in use when it is given back.
    pub(super) fn rotates(&mut self) {
        self.reserve.clear();
        self.local.stage_rotation();
        self.open(self.wanted);
    }

    /// Moves everything on until nothing moves any more.
    pub(super) fn settles(&mut self) -> Result<(), String> {
        let mut quiet = 0;
        for _ in 0..ENDLESS {
            // What moved inside of one session may move bytes only in the next round.
            quiet = if self.moves(true)? { 0 } else { quiet + 1 };
            if quiet == 3 {
                return Ok(());
            }
        }
        Err("never comes to rest".to_owned())
    }

    /// Everybody moves once; servers only if they `serve`. True if something moved.
    pub(super) fn moves(&mut self, serve: bool) -> Result<bool, String> {
        let mut moved = false;
        let first = self.dice.roll(self.clients.len());
        for nth in 0..self.clients.len() {
            moved |= self.client_moves((first + nth) % self.clients.len())?;
        }
        if serve {
            for upstream in self.upstreams.values_mut() {
                moved |= upstream.moves(&mut self.dice)?;
            }
        }
        self.upstreams.retain(|_, upstream| !upstream.far.is_closed());
        // What was closed without need, by a client that left, is opened anew.
        let lost = self.wanted.saturating_sub(self.local.stage_active());
        self.open(lost);
        Ok(moved || lost > 0)
    }

    fn client_moves(&mut self, at: usize) -> Result<bool, String> {
        let mut moved = self.brings_upstream(true);
        let client = &mut self.clients[at];
        if client.far.is_read()
            && let Some(piece) = client.outbox.pop_front()
        {
            client.far.put(&piece);
            moved = true;
        }
        client.far.give_room(self.dice.room());
        self.upstreams.values().for_each(|upstream| upstream.far.give_room(self.dice.room()));
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(end) = client.relay.poll_run(&mut cx) {
            return Err(format!("the session of client {at} ended: {end}"));
        }
        let got = client.far.take();
        moved |= !got.is_empty();
        client.got.extend(got);
        self.reserve.extend(self.local.stage_idle());
        Ok(self.brings_upstream(false) || moved)
    }

    /// Any of the free upstreams, to the oldest waiting client; or, `early`, as an idle one for
    /// whoever comes next.
    fn brings_upstream(&mut self, early: bool) -> bool {
        let waiting = self.local.stage_waiting() > 0;
        let brings = waiting || early && self.dice.roll(2) == 0;
        if self.reserve.is_empty() || !brings {
            return false;
        }
        let conn = self.reserve.swap_remove(self.dice.roll(self.reserve.len()));
        self.local.stage_arrival(conn);
        waiting
    }

    /// What a client got must be what its own server said, as far as it goes; if things have `settled`, all of
    /// it, but for who waits for an upstream; and at the `end` all of it.
    pub(super) fn compare(&self, settled: bool, end: bool) -> Result<(), String> {
        for (at, client) in self.clients.iter().enumerate() {
            let due = client.essence(&client.expected).0.len();
            // What we say ourselves waits for no Flush.
            let early = client.private.holds_back();
            let (expected, told_directly) = client.essence(&[&client.expected[..], &early].concat());
            let (got, told) = client.essence(&client.got);
            let all = settled && !matches!(client.relay.hold, Hold::Waiting(_)) || end;
            if !expected.starts_with(&got) || all && got.len() < due {
                let from = expected.iter().zip(&got).take_while(|(one, other)| one == other).count();
                return Err(format!(
                    "client {at}, from answer {from} on:\n  expected {}\n  got      {}\n  {} upstreams are free",
                    spelt(&expected[from..]),
                    spelt(&got[from..]),
                    self.reserve.len()
                ));
            }
            if end && told_directly != told {
                return Err(format!("client {at} believes {told:?} instead of {told_directly:?}"));
            }
        }
        Ok(())
    }

    /// What is said of each free upstream must be so.
    pub(super) fn check_books(&mut self) -> Result<(), String> {
        let mut texts: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for conn in &mut self.reserve {
            let pid = conn.cancel_key().map(|key| key.pid).unwrap_or_default();
            let server = &self.upstreams[&pid].server;
            if !server.is_idle() {
                return Err(format!("upstream {pid} was given back in the middle of something"));
            }
            for (name, (body, _)) in &server.statements {
                let id = name.strip_prefix("leasehold_").and_then(|id| id.parse().ok());
                let Some(id) = id.filter(|id| conn.prepared.has(*id)) else {
                    return Err(format!("upstream {pid} has {name:?}, and nobody knows"));
                };
                // Of version 0 is what is no placeholder.
                if conn.prepared.touch(id, 0) && texts.entry(id).or_insert_with(|| body.clone()) != body {
                    return Err(format!("upstream {pid} has another text as {name:?}"));
                }
            }
            let known = (0..1000).filter(|id| conn.prepared.has(*id));
            if let Some(id) =
                known.into_iter().find(|id| !server.statements.contains_key(&format!("leasehold_{id}")))
            {
                return Err(format!("upstream {pid} has no statement {id}"));
            }
            if conn.prepared.unnamed.is_none() && server.unnamed.is_some() {
                return Err(format!("upstream {pid} has an unnamed statement, and nobody knows"));
            }
            let dressed: BTreeMap<String, String> =
                conn.dressed.iter().map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
            let mut laid_on = Server::new(&[]).settings;
            for (name, value) in &dressed {
                laid_on.set(name, value, false);
            }
            if laid_on.differences() != server.settings.differences() {
                return Err(format!(
                    "upstream {pid} has {:?} instead of {dressed:?}",
                    server.settings.differences()
                ));
            }
        }
        Ok(())
    }
}

impl Upstream {
    fn moves(&mut self, dice: &mut Dice) -> Result<bool, String> {
        let bytes = self.far.take();
        let mut moved = !bytes.is_empty();
        let answers =
            self.server.hears(&bytes).ok_or_else(|| format!("a server was sent {}", bytes.escape_ascii()))?;
        self.outbox.extend(dice.pieces(&answers));
        if self.far.is_read()
            && let Some(piece) = self.outbox.pop_front()
        {
            self.far.put(&piece);
            moved = true;
        }
        Ok(moved)
    }
}

type Message = (u8, Vec<u8>);

impl Client {
    /// The answers, and what was reported last of each setting. Where the startup packet set something,
    /// a RESET is reported twice, first as the upstream's login has it: only the last one counts.
    fn essence(&self, bytes: &[u8]) -> (Vec<Message>, BTreeMap<String, String>) {
        let (mut answers, mut told) = (Vec::new(), BTreeMap::<String, String>::new());
        let mut rest = bytes;
        while let Some((&[kind, a, b, c, d], _)) = rest.split_first_chunk::<5>() {
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap() + 1;
            let Some((message, tail)) = rest.split_at_checked(length) else { break };
            rest = tail;
            let body = message[5..].to_vec();
            if kind == b'S' {
                let (name, value) = parameter_status(&body).unwrap();
                told.insert(name, value);
                if !self.startup.is_empty() {
                    continue;
                }
            }
            answers.push((kind, body));
        }
        for (name, value) in self.startup.iter().filter(|(name, _)| REPORTED.contains(&name.as_str())) {
            told.entry(name.clone()).or_insert_with(|| value.clone());
        }
        (answers, told)
    }
}

fn spelt(messages: &[Message]) -> String {
    let some = messages.iter().take(8);
    some.map(|(kind, body)| format!("{}[{}]", char::from(*kind), body.escape_ascii()))
        .collect::<Vec<_>>()
        .join(" ")
}
