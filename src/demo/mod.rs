//! `leasehold demo`: a throw-away PostgreSQL, the local source with users that
//! live 20 seconds, the proxy in this process, and pgbench through it.
//!
//! Needs nothing but PostgreSQL's programs. Whatever ends it, it leaves nothing
//! behind: pgbench, users, server and folder are gone afterwards, and it says so.

mod cluster;
mod error;
mod load;
mod outcome;
mod screen;
mod server;
mod story;
mod tools;
mod view;

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

pub use error::DemoError;
pub use outcome::Outcome;

use crate::app::{Proxy, Settings, StartError};
use crate::clock::Moment;
use crate::config;
use cluster::{Cluster, DATABASE, GROUP};
use load::{Load, Said};
use screen::Screen;
use server::Server;
use story::{Active, Event, Look, Story};
use tools::Tools;
use view::{Frame, Tone, clock};

/// How long a user lives.
const LIFE: Duration = Duration::from_secs(20);
/// How often proxy and server are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long the first user may take.
const FIRST_USER: Duration = Duration::from_secs(30);
/// How much longer than it was told pgbench may take to end.
const LATE: Duration = Duration::from_secs(30);
/// The port that the manual speaks of; any other if it is taken.
const PORT: u16 = 6432;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long the load runs; `None`: until it is stopped.
    pub duration: Option<Duration>,
    /// Whether the output is a terminal that can be redrawn.
    pub terminal: bool,
    /// Whether it may be coloured.
    pub color: bool,
}

/// Runs the demo until its duration is over or `stop` is cancelled, and cleans up.
///
/// Returns `None` if it was stopped before the load began.
///
/// # Errors
///
/// What kept it from running at all; failures under load are part of the outcome.
/// Dropping the future cleans up too, without the proxy revoking its users.
pub async fn run(
    options: Options,
    out: impl Write,
    stop: &CancellationToken,
) -> Result<Option<Outcome>, DemoError> {
    let mut screen = Screen::new(out, options.terminal, options.color);
    let tools = Tools::find()?;
    screen.say(Tone::Plain, &format!("starting a throw-away {} …", tools.version()));
    let Some(started) = stop.run_until_cancelled(Cluster::start(&tools)).await else { return Ok(None) };
    let (cluster, server) = started?;
    let proxy = match Proxy::start(settings(&cluster, PORT)?, None).await {
        Err(StartError::Listen(_)) => Proxy::start(settings(&cluster, 0)?, None).await?,
        started => started?,
    };

    let shown = match proxy.tcp_addr() {
        Some(address) => {
            let stage = Stage { tools: &tools, server: &server, proxy: &proxy, address };
            stage.play(options, &mut screen, stop).await
        }
        None => Err(DemoError::NotListening),
    };

    screen.say(Tone::Plain, "cleaning up: revoking users, stopping PostgreSQL …");
    proxy.stop().await;
    let closing = close(&server, shown).await;
    drop(server);
    cluster.stop().await?;
    let outcome = closing?;
    if let Some(outcome) = &outcome {
        screen.say(if outcome.is_good() { Tone::Good } else { Tone::Bad }, &outcome.to_string());
    }
    Ok(outcome)
}

/// Asks the server what is left and what it committed, now that the proxy is gone.
async fn close(
    server: &Server,
    shown: Result<Option<(Outcome, Option<u64>)>, DemoError>,
) -> Result<Option<Outcome>, DemoError> {
    let Some((mut outcome, processed)) = shown? else { return Ok(None) };
    outcome.left_behind = server.users().await?.into_iter().map(|user| user.name).collect();
    outcome.transactions = server.committed().await?;
    let lost = processed.unwrap_or(0).saturating_sub(outcome.transactions);
    outcome.failures = outcome.failures.saturating_add(lost);
    Ok(Some(outcome))
}

/// The demo's settings go the way of everybody's: as a configuration.
fn settings(cluster: &Cluster, listen: u16) -> Result<Settings, DemoError> {
    let text = format!(
        r#"
[listen]
tcp = "127.0.0.1:{listen}"

[databases.{DATABASE}]
host = "127.0.0.1"
port = {port}
sslmode = "disable"
role = "{GROUP}"

[databases.{DATABASE}.credentials]
source = "local"
admin_url_file = {file:?}
creation_statements = ['''
CREATE ROLE "{{{{name}}}}" WITH LOGIN PASSWORD '{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}' IN ROLE {GROUP}
''']
default_ttl = "{life}s"
max_ttl = "1m"
"#,
        port = cluster.port(),
        file = cluster.admin_url_file(),
        life = LIFE.as_secs(),
    );
    Ok(config::parse("demo", &text, [])?.settings)
}

/// Everything that plays.
struct Stage<'d> {
    tools: &'d Tools,
    server: &'d Server,
    proxy: &'d Proxy,
    address: SocketAddr,
}

/// What the load did so far.
#[derive(Debug, Default)]
struct Tally {
    tps: f64,
    failures: u64,
    /// The last thing that pgbench said of a failure.
    words: Option<String>,
}

impl Stage<'_> {
    /// Runs the load and shows it. The outcome lacks what only the server knows;
    /// beside it, how many transactions pgbench itself counted, if it came to that.
    async fn play<W: Write>(
        &self,
        options: Options,
        screen: &mut Screen<W>,
        stop: &CancellationToken,
    ) -> Result<Option<(Outcome, Option<u64>)>, DemoError> {
        let Some(command) = self.set_up(screen, stop).await? else { return Ok(None) };
        let mut load = Load::start(self.tools, self.address, options.duration)?;
        let began = Instant::now();
        let deadline = began + options.duration.map_or(Duration::from_secs(365 * 24 * 3600), |d| d + LATE);
        let (mut story, mut tally) = (Story::default(), Tally::default());
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let frame = |story: &Story, tally: &Tally, screen: &mut Screen<W>| {
            screen.show(&Frame {
                elapsed: began.elapsed(),
                duration: options.duration,
                command: &command,
                life: LIFE,
                look: story.last(),
                tps: tally.tps,
                failures: tally.failures,
                swaps: story.swaps(),
            });
        };
        // The pace comes from a signal, from pgbench, or from the clock.
        let ended = loop {
            tokio::select! {
                () = stop.cancelled() => break false,
                () = sleep_until(deadline) => {
                    tally.words = Some("it did not end in time".to_owned());
                    break false;
                }
                said = load.next() => match said {
                    Some(said) => {
                        if tally.hear(said, screen, began.elapsed()) && !screen.is_terminal() {
                            frame(&story, &tally, screen);
                        }
                    }
                    None => break true,
                },
                _ = ticks.tick() => {
                    self.follow(&mut story, screen, began).await;
                    if screen.is_terminal() {
                        frame(&story, &tally, screen);
                    }
                }
            }
        };
        let outcome = Outcome { elapsed: began.elapsed(), swaps: story.swaps(), ..Outcome::default() };
        if ended {
            return tally.after_its_end(load, options, outcome).await.map(Some);
        }
        let late = Instant::now() >= deadline;
        load.interrupt().await;
        let died = tally.words.take().filter(|_| late);
        Ok(Some((Outcome { died, failures: tally.failures, ..outcome }, None)))
    }

    /// Waits for the first user and makes pgbench's tables. How to connect, or `None` if it was
    /// stopped before.
    async fn set_up<W: Write>(
        &self,
        screen: &mut Screen<W>,
        stop: &CancellationToken,
    ) -> Result<Option<String>, DemoError> {
        let Some(came) = stop.run_until_cancelled(self.first_user()).await else { return Ok(None) };
        came?;
        screen.say(Tone::Plain, &format!("making pgbench's tables through the proxy at {} …", self.address));
        let Some(prepared) = stop.run_until_cancelled(load::prepare(self.tools, self.address)).await else {
            return Ok(None);
        };
        prepared?;
        let command =
            format!("psql \"host={} port={} dbname={DATABASE}\"", self.address.ip(), self.address.port());
        screen.say(Tone::Strong, &format!("ready; no password, no user to know:   {command}"));
        Ok(Some(command))
    }

    /// Clients are refused until there is a user; an application would try again.
    async fn first_user(&self) -> Result<(), DemoError> {
        let patience = Instant::now() + FIRST_USER;
        loop {
            let snapshot = self.proxy.keeper(DATABASE);
            if snapshot.as_ref().is_some_and(|snapshot| snapshot.active.is_some()) {
                return Ok(());
            }
            if Instant::now() > patience {
                let trouble = snapshot.and_then(|snapshot| snapshot.last_error);
                return Err(DemoError::NoUser {
                    waited: FIRST_USER,
                    trouble: trouble.unwrap_or_else(|| "no reason given".to_owned()),
                });
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Tells what has changed.
    async fn follow<W: Write>(&self, story: &mut Story, screen: &mut Screen<W>, began: Instant) {
        for event in story.look(self.look(story.last()).await) {
            let tone = if matches!(event, Event::Trouble { .. }) { Tone::Bad } else { Tone::Strong };
            screen.say(tone, &format!("{:>5}  {event}", clock(began.elapsed())));
        }
    }

    /// Asks the proxy who is active and the server who is there; what cannot be
    /// learned now stays as it was.
    async fn look(&self, last: &Look) -> Look {
        let users = self.server.users().await.unwrap_or_else(|_| last.users.clone());
        let Some(snapshot) = self.proxy.keeper(DATABASE) else { return Look { users, ..last.clone() } };
        let active = snapshot.active.and_then(|id| snapshot.generation(id)).map(|generation| Active {
            generation: generation.id.number(),
            user: generation.user.clone(),
            remaining: Moment::now().until(generation.end),
        });
        Look { active, users, trouble: snapshot.last_error.clone() }
    }
}

impl Tally {
    /// Takes in what pgbench said; true once a second.
    fn hear<W: Write>(&mut self, said: Said, screen: &mut Screen<W>, at: Duration) -> bool {
        match said {
            Said::Progress { tps, failed } => {
                self.tps = tps;
                self.failures = self.failures.saturating_add(failed);
                return true;
            }
            Said::Aborted(text) => {
                self.failures = self.failures.saturating_add(1);
                screen.say(Tone::Bad, &format!("{:>5}  pgbench: {text}", clock(at)));
                self.words = Some(text);
            }
            Said::Other(_) => {}
        }
        false
    }

    /// pgbench has ended: what it says of itself, and how many transactions it counted. Without a
    /// duration it should not have.
    async fn after_its_end(
        mut self,
        load: Load,
        options: Options,
        mut outcome: Outcome,
    ) -> Result<(Outcome, Option<u64>), DemoError> {
        let (status, summary) = load.finish().await?;
        outcome.failures = self.failures.max(summary.failed.unwrap_or(0));
        if !status.success() || options.duration.is_none() {
            outcome.died = Some(self.words.take().unwrap_or_else(|| status.to_string()));
        }
        Ok((outcome, summary.processed))
    }
}
