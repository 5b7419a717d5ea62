//! One client's task: greeting, login, relay, goodbye.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::crowd::Seat;
use super::end::End;
use super::greeting::{Greeting, GreetingError, read_greeting};
use super::port::{ClientMessage, ConsoleClient};
use super::profiles::overlay;
use super::refusal;
use super::relay::Relay;
use super::roll::{ClientCell, ClientState};
use super::shard::{Joined, Shard};
use super::traveller::{Traveller, Who};
use crate::cancel::Registration;
use crate::net::Stream;
use crate::pool::{ClientId, Conn, LocalPool, PoolMode, Profile};
use crate::upstream::QueryError;
use crate::wire::{Encoder, ErrorFields, ProtocolVersion, StartupParams, align_query, parse_options};

/// The database name of the console.
const CONSOLE: &str = "leasehold";
/// The newest minor of protocol 3 that we speak.
const NEWEST: ProtocolVersion = ProtocolVersion { minor: 2 };
/// How long a last word may take to be written.
const LAST_WORD: Duration = Duration::from_secs(5);

/// Serves one client until it goes. Every way out passes through the drop of
/// its seat, its place on the list, its cancel key and its upstream.
///
/// What only the login needs lives in a box of its own and is gone when the
/// relay runs: an idle client should cost little.
pub(super) async fn serve(shard: Rc<Shard>, stream: Stream, address: Option<SocketAddr>, seat: Seat) {
    let admitted = match Box::pin(greet(shard, stream, address, seat)).await {
        Ok(admitted) => admitted,
        Err(Away::Silent) => return,
        Err(Away::Served(stream)) => return Box::pin(say(stream, Vec::new())).await,
        Err(Away::Told(stream, fields)) => {
            debug!(sqlstate = %fields.sqlstate, reason = %fields.message, "client refused");
            return Box::pin(say(stream, fields.encode())).await;
        }
    };
    run(admitted).await;
}

/// A client that another shard sent, until it goes.
pub(super) async fn arrive(shard: Rc<Shard>, traveller: Box<Traveller>) {
    // Nobody hears of a client whose socket no runtime takes, as of one that came in.
    let Some(admitted) = Box::pin(settle(shard, *traveller)).await else { return };
    run(admitted).await;
}

/// In a box, which is handed on as it is: a future keeps what it moves twice.
async fn run(mut admitted: Box<Admitted>) {
    let end = poll_fn(|cx| admitted.relay.poll_run(cx)).await;
    debug!(client = admitted.seat.id.0, end = %end, "client out");
    match end {
        End::Moves(shard) => depart(*admitted, shard),
        end => Box::pin(goodbye(*admitted, end)).await,
    }
}

/// Sends a client to another shard; if that has ended, it stays.
fn depart(admitted: Admitted, to: usize) {
    let Admitted { relay, mut seat, joined, key } = admitted;
    let (here, who) = (relay.shard.clone(), Who::of(&joined.cell));
    let Relay { client: stream, local, mine, .. } = relay;
    let Ok(stream) = stream.detach() else { return };
    drop(joined);
    seat.moves(to);
    key.moves(to);
    let traveller = Box::new(Traveller { stream, who, pool: local.pool().index(), mine, seat, key });
    if let Err(ClientMessage::Arrive(mut traveller)) = here.doors.bring(to, ClientMessage::Arrive(traveller))
    {
        traveller.seat.moves(here.index);
        traveller.key.moves(here.index);
        spawn_local(arrive(here, traveller));
    }
}

async fn settle(shard: Rc<Shard>, traveller: Traveller) -> Option<Box<Admitted>> {
    let Traveller { stream, who, pool, mut mine, seat, key } = traveller;
    let stream = stream.attach().ok()?;
    let local = shard.pools.by_index(pool)?.clone();
    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let joined = shard.join(who.settles(waker));
    let cell = joined.cell.clone();
    let mut relay = Relay::new(shard, local, cell, stream, mine.startup.clone(), BytesMut::new());
    mine.startup = relay.shard.profiles.shared(&mine.startup);
    mine.profile = relay.shard.profiles.shared(&mine.profile);
    relay.mine = mine;
    Some(Box::new(Admitted { relay, seat, joined, key }))
}

/// A client that is logged in, with what must be given back when it goes.
struct Admitted {
    relay: Relay,
    seat: Seat,
    joined: Joined,
    key: Registration,
}

/// A client that is not logged in.
enum Away {
    /// It wants nothing more, or is gone.
    Silent,
    /// It got what it came for.
    Served(Stream),
    /// It is told why.
    Told(Stream, ErrorFields),
}

/// A client's StartupMessage, and what goes with it.
struct Hello {
    version: ProtocolVersion,
    asked: ProtocolVersion,
    params: StartupParams,
    unknown_options: Vec<String>,
    early: BytesMut,
    address: Option<SocketAddr>,
}

async fn greet(
    shard: Rc<Shard>,
    mut stream: Stream,
    address: Option<SocketAddr>,
    seat: Seat,
) -> Result<Box<Admitted>, Away> {
    let limit = shard.crowd.settings().startup_timeout;
    let greeting = match timeout(limit, read_greeting(&mut stream)).await {
        Ok(Ok(greeting)) => greeting,
        Ok(Err(GreetingError::Startup(error))) => return Err(Away::Told(stream, refusal::startup(&error))),
        Ok(Err(GreetingError::Io(_))) => return Err(Away::Silent),
        Err(_elapsed) => return Err(Away::Told(stream, refusal::startup_timeout(limit))),
    };
    match greeting {
        Greeting::Left => Err(Away::Silent),
        Greeting::Cancel(key) => {
            // As PostgreSQL does, nothing is said of whether the key is known.
            shard.cancels.cancel(&key).await;
            Err(Away::Served(stream))
        }
        Greeting::Startup { version, params, unknown_options, early } => {
            let max = shard.crowd.max_clients();
            // Who comes to see why there are so many must not be one too many; the console has a
            // limit of its own.
            if shard.crowd.total() > max && database_of(&params) != Some(CONSOLE) {
                return Err(Away::Told(stream, refusal::too_many_clients(max)));
            }
            let asked = version;
            let version = version.min(NEWEST);
            admit(shard, stream, Hello { version, asked, params, unknown_options, early, address }, seat)
                .await
        }
    }
}

async fn admit(
    shard: Rc<Shard>,
    mut stream: Stream,
    hello: Hello,
    seat: Seat,
) -> Result<Box<Admitted>, Away> {
    if database_of(&hello.params) == Some(CONSOLE) {
        console(&shard, stream, hello, &seat);
        return Err(Away::Silent);
    }
    if let Some(refused) = ask_again(&shard, &hello.params).await {
        return Err(Away::Told(stream, refused));
    }
    let (user, database, local, profile) = match what_is_asked(&shard, &hello.params) {
        Ok(asked) => asked,
        Err(refused) => return Err(Away::Told(stream, refused)),
    };
    // A task's waker stays the same: whoever holds it can wake this client for its whole life.
    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let now = Instant::now();
    let joined = shard.join(ClientCell {
        id: seat.id,
        database,
        user,
        application_name: hello.params.get("application_name").unwrap_or("").to_owned(),
        address: hello.address,
        state: Cell::new(ClientState::Waiting),
        pinned: Cell::new(None),
        ends: Cell::new(None),
        idle_since: Cell::new(None),
        waiting_since: Cell::new(now),
        since: now,
        waker: waker.clone(),
    });
    let seeker = Seeker { shard: &shard, local: &local, cell: &joined.cell, client: seat.id, waker: &waker };
    let prepared = match local.pool().settings().mode {
        PoolMode::Transaction => prepare_transaction(&seeker, &profile).await,
        PoolMode::Session => prepare_session(&seeker, &profile).await,
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(refused) => return Err(Away::Told(stream, refused)),
    };
    joined.cell.state.set(ClientState::Idle);
    let pid = prepared.conn.as_ref().and_then(Conn::cancel_key).map(|key| key.pid);
    let key = shard.cancels.register(shard.index, seat.id, hello.version, pid);
    let welcome = welcome(&hello, &prepared.reported, &key);
    if stream.write_all(&welcome).await.is_err() || stream.flush().await.is_err() {
        release(&local, prepared.conn);
        return Err(Away::Silent);
    }
    debug!(client = seat.id.0, database = %joined.cell.database, "client in");
    let cell = joined.cell.clone();
    let mut relay = Relay::new(shard.clone(), local, cell, stream, prepared.profile, hello.early);
    if let Some(conn) = prepared.conn {
        relay.hold(conn);
    }
    Ok(Box::new(Admitted { relay, seat, joined, key }))
}

/// Without a user because the server said no, it is asked once more; what it says.
async fn ask_again(shard: &Shard, params: &StartupParams) -> Option<ErrorFields> {
    let database = database_of(params)?;
    let pool = shard.pools.by_name(database)?.pool().clone();
    if pool.chosen().is_some() || shard.stopping.get() {
        return None;
    }
    let said = pool.ask_again().await?;
    Some(ErrorFields { severity: "FATAL".into(), ..*said })
}

/// User, database, its pool and the settings that a startup packet asks for, if they can be had.
fn what_is_asked(
    shard: &Shard,
    params: &StartupParams,
) -> Result<(String, String, Rc<LocalPool>, Arc<Profile>), ErrorFields> {
    let user = params.get("user").filter(|user| !user.is_empty()).ok_or_else(refusal::no_user_name)?;
    let database = database_of(params).unwrap_or(user);
    let local = shard.pools.by_name(database);
    let local = local.ok_or_else(|| refusal::unknown_database(database, &shard.pools.names()))?;
    if wants_replication(params) {
        return Err(refusal::replication());
    }
    let pool = local.pool();
    if !pool.was_active() {
        return Err(refusal::no_user_yet(database, pool.trouble().as_deref()));
    }
    if shard.stopping.get() {
        return Err(refusal::shutdown());
    }
    if pool.is_disabled() {
        return Err(refusal::disabled(database));
    }
    let profile = profile_of(params, pool.settings().mode)?;
    Ok((user.to_owned(), database.to_owned(), local.clone(), Arc::new(profile)))
}

/// The database that is asked for; one that is not named is called like the user.
fn database_of(params: &StartupParams) -> Option<&str> {
    let named = |name| params.get(name).filter(|value| !value.is_empty());
    named("database").or_else(|| named("user"))
}

fn wants_replication(params: &StartupParams) -> bool {
    !matches!(
        params.get("replication").map(str::to_ascii_lowercase).as_deref(),
        None | Some("" | "0" | "off" | "no" | "false" | "f" | "n")
    )
}

/// The settings that a startup packet asks for. In session mode the server reads
/// `options` itself.
fn profile_of(params: &StartupParams, mode: PoolMode) -> Result<Profile, ErrorFields> {
    let mut settings: Vec<(String, String)> = Vec::new();
    for (name, value) in params.iter() {
        match name {
            "user" | "database" | "replication" => {}
            "options" if mode == PoolMode::Transaction => {
                let parsed = parse_options(value).map_err(|word| refusal::bad_options(&word))?;
                // As in PostgreSQL, parameters of their own win over `options`.
                let rest = std::mem::take(&mut settings);
                settings.extend(parsed);
                settings.extend(rest);
            }
            _ => settings.push((name.to_owned(), value.to_owned())),
        }
    }
    Ok(Profile::new(settings))
}

/// A client that needs an upstream before its relay runs.
struct Seeker<'a> {
    shard: &'a Shard,
    local: &'a Rc<LocalPool>,
    cell: &'a ClientCell,
    client: ClientId,
    waker: &'a Waker,
}

/// What the relay starts with.
struct Prepared {
    profile: Arc<Profile>,
    reported: Rc<Vec<(String, String)>>,
    conn: Option<Conn>,
}

/// In transaction mode a client needs no upstream to log in, once somebody with the
/// same settings has.
async fn prepare_transaction(seeker: &Seeker<'_>, profile: &Arc<Profile>) -> Result<Prepared, ErrorFields> {
    let (shard, local) = (seeker.shard, seeker.local);
    let pool = local.pool();
    let profile = &shard.profiles.shared(profile);
    if profile.iter().next().is_none() {
        let reported = Rc::new(pool.server_params().as_ref().clone());
        return Ok(Prepared { profile: profile.clone(), reported, conn: None });
    }
    if let Some((profile, reported)) = shard.profiles.known(pool.index(), profile, pool.chosen()) {
        return Ok(Prepared { profile, reported, conn: None });
    }
    let mut conn = seeker.checkout(&Arc::default()).await?;
    let generation = conn.generation().id();
    // First back to what the login gave, so that everything the profile changes is reported.
    let undress = align_query(conn.dressed.iter(), [].into_iter());
    if let Some(sql) = undress {
        conn = ask(local, conn, &sql).await?.0;
    }
    conn.dressed = Arc::default();
    let mut changes = Vec::new();
    if let Some(sql) = align_query([].into_iter(), profile.iter()) {
        (conn, changes) = ask(local, conn, &sql).await?;
        conn.dressed = profile.clone();
    }
    let reported = Rc::new(overlay(conn.params(), &changes));
    local.give_back(conn);
    shard.profiles.learn(pool.index(), profile, generation, reported.clone());
    Ok(Prepared { profile: profile.clone(), reported, conn: None })
}

async fn prepare_session(seeker: &Seeker<'_>, profile: &Arc<Profile>) -> Result<Prepared, ErrorFields> {
    let conn = seeker.checkout(profile).await?;
    let reported = Rc::new(conn.params().to_vec());
    Ok(Prepared { profile: Arc::default(), reported, conn: Some(conn) })
}

impl Seeker<'_> {
    async fn checkout(&self, key: &Arc<Profile>) -> Result<Conn, ErrorFields> {
        let mut cx = Context::from_waker(self.waker);
        if let Some(conn) = self.local.try_checkout(self.client, key, &self.shard.base, &mut cx) {
            return Ok(conn);
        }
        let mut waiting = self.local.wait(self.client, key, self.waker);
        let conn = poll_fn(|cx| {
            if self.shard.stopping.get() {
                return Poll::Ready(Err(refusal::shutdown()));
            }
            if self.cell.ends.get().is_some() {
                return Poll::Ready(Err(refusal::killed()));
            }
            waiting.poll(cx).map_err(refusal::checkout)
        })
        .await?;
        self.shard.crowd.tell().waited(waiting.since(), self.cell, self.local);
        Ok(conn)
    }
}

async fn ask(
    local: &Rc<LocalPool>,
    conn: Conn,
    sql: &str,
) -> Result<(Conn, Vec<(String, String)>), ErrorFields> {
    match conn.query(sql).await {
        (Some(conn), Ok(answer)) => Ok((conn, answer.params)),
        (conn, Err(QueryError::Refused(mut fields))) => {
            release(local, conn);
            fields.severity = "FATAL".into();
            Err(*fields)
        }
        _ => Err(refusal::server_gone()),
    }
}

fn release(local: &Rc<LocalPool>, conn: Option<Conn>) {
    if let Some(conn) = conn {
        local.give_back(conn);
    }
}

fn welcome(hello: &Hello, reported: &[(String, String)], key: &Registration) -> Vec<u8> {
    let mut out = Encoder::default();
    if hello.asked != hello.version || !hello.unknown_options.is_empty() {
        out.negotiate_protocol_version(hello.version, &hello.unknown_options);
    }
    out.authentication_ok();
    for (name, value) in reported {
        out.parameter_status(name, value);
    }
    out.backend_key_data(key.key());
    out.ready_idle();
    out.into_bytes()
}

fn console(shard: &Rc<Shard>, stream: Stream, hello: Hello, seat: &Seat) {
    let Ok(stream) = stream.detach() else { return };
    let key = shard.cancels.register(shard.index, seat.id, hello.version, None);
    let Hello { version, asked, params, unknown_options, early, address } = hello;
    let early = early.to_vec();
    let client = ConsoleClient { stream, early, params, version, asked, unknown_options, key, address };
    let _ = shard.console.send(client);
}

/// Leaves nothing of the session on its upstream, and says why to a client that is still there.
async fn goodbye(admitted: Admitted, end: End) {
    let Admitted { relay, seat: _seat, joined: _joined, key: _key } = admitted;
    let said = match end {
        End::ClientLeft | End::Terminated | End::Overdue | End::Said | End::Moves(_) => None,
        End::Refused(fields) => Some(fields),
    };
    let (stream, unsent, at_boundary) = relay.part();
    if let Some(fields) = said.filter(|_| at_boundary) {
        let mut last = unsent.to_vec();
        last.extend(fields.encode());
        say(stream, last).await;
    } else if !unsent.is_empty() {
        say(stream, unsent.to_vec()).await;
    }
}

async fn say(mut stream: Stream, bytes: Vec<u8>) {
    let _ = timeout(LAST_WORD, async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    })
    .await;
}
