//! The command line: reads what was asked for and hands it to the library.

#![cfg_attr(not(test), warn(clippy::too_many_lines))] // as src/lib.rs

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use leasehold::app::logging::{self, LogOutput};
use leasehold::app::{LogFormat, LogSettings, Proxy, Reloading, Reread, Settings};
use leasehold::config::{self, Loaded, ThisHost};
use leasehold::demo;
use leasehold::operator::{self, Place, Standing, StatusOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// PostgreSQL proxy that logs in with short-lived users from Vault or OpenBao
/// and swaps them before they end, unnoticed by the application.
#[derive(Debug, Parser)]
#[command(name = "leasehold", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy until SIGTERM or SIGINT
    Run(ConfigArgs),
    /// Check a configuration and say what each key means on this host
    Check(ConfigArgs),
    /// Say how a running proxy is; the exit code is 0 if it is ready, 1 if not, 2 if it cannot be asked
    Status(StatusArgs),
    /// Watch a running proxy on the terminal
    Top(PlaceArgs),
    /// Show it at work: a throw-away PostgreSQL, users that live 20 s, the proxy, and load
    Demo(DemoArgs),
}

#[derive(Debug, clap::Args)]
struct ConfigArgs {
    /// Configuration file [default: ./leasehold.toml, then /etc/leasehold/leasehold.toml]
    #[arg(long, short, value_name = "FILE", env = "LEASEHOLD_CONFIG")]
    config: Option<PathBuf>,
}

/// Whom to ask.
#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// Where the proxy answers HTTP [default: `http.listen` of the configuration]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// Print the JSON of /status as it came
    #[arg(long)]
    json: bool,
    /// Again every two seconds, until SIGINT or SIGTERM
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
struct DemoArgs {
    /// End by itself after this time, with a summary [default: until Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Write the proxy's log to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

impl ConfigArgs {
    fn load(&self) -> Result<Loaded, config::LoadError> {
        // An empty LEASEHOLD_CONFIG counts as unset, as with every other variable of a shell.
        let named = self.config.as_deref().filter(|path| !path.as_os_str().is_empty());
        config::load(named, environment())
    }
}

impl PlaceArgs {
    fn place(&self) -> Result<Place, String> {
        if let Some(url) = &self.url {
            return Place::from_url(url).map_err(|error| error.to_string());
        }
        let loaded = self.config.load().map_err(|error| {
            format!(
                "{}\n\nA running proxy needs no configuration to be asked: --url http://127.0.0.1:9127",
                error.to_string().trim_end()
            )
        })?;
        Place::from_listen(loaded.settings.http.listen).map_err(|error| format!("{}: {error}", loaded.file))
    }
}

/// The environment; variables that are not Unicode cannot be ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => match args.load() {
            Ok(loaded) => run(loaded, args),
            Err(error) => complain(&error),
        },
        Command::Check(args) => match args.load() {
            Ok(loaded) => check(&loaded),
            Err(error) => complain(&error),
        },
        Command::Status(args) => status(&args),
        Command::Top(args) => top(&args),
        Command::Demo(args) => demo(&args),
    }
}

/// Tells standard error and returns the exit code of failure.
fn complain(error: &dyn std::fmt::Display) -> ExitCode {
    let text = error.to_string();
    let _ = writeln!(std::io::stderr(), "leasehold: {}", text.trim_end());
    ExitCode::FAILURE
}

fn check(loaded: &Loaded) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let meaning = config::explain(loaded, &ThisHost);
    let _ = writeln!(out, "{} is right. What it means on this host:\n\n{meaning}", loaded.file);
    if !loaded.warnings.is_empty() {
        let _ = writeln!(out, "Worth a second look:\n{}", loaded.warnings_text());
    }
    ExitCode::SUCCESS
}

fn run(loaded: Loaded, args: ConfigArgs) -> ExitCode {
    let terminal = std::io::stderr().is_terminal();
    let color = wants_color();
    let log = match logging::init(&loaded.settings.log, LogOutput::Stderr { terminal, color }) {
        Ok(log) => log,
        Err(error) => return complain(&error),
    };
    for warning in &loaded.warnings {
        tracing::warn!(
            place = warning.origin.in_file(&loaded.file),
            advice = warning.advice,
            "{}",
            warning.what
        );
    }
    raise_open_files();
    let runtime = match control_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error),
    };
    let reread: Reread = Box::new(move || args.load().map(|it| it.settings).map_err(|it| it.to_string()));
    let code = runtime.block_on(serve(loaded.settings, Reloading { reread, log }));
    // A second signal means now: what still runs on the runtime is not waited for.
    runtime.shutdown_background();
    code
}

/// Vault, console, watch and housekeeping; the data threads have runtimes of their own.
fn control_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("control").enable_all().build()
}

/// Each client and each upstream is an open file: take as many as the system allows us.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

async fn serve(settings: Settings, from: Reloading) -> ExitCode {
    let (mut signals, mut hangup) =
        match Signals::listen().and_then(|it| Ok((it, signal(SignalKind::hangup())?))) {
            Ok(signals) => signals,
            Err(error) => return complain(&error),
        };
    let start = Proxy::start(settings, Some(from));
    let proxy = tokio::select! {
        started = start => match started {
            Ok(proxy) => proxy,
            Err(error) => {
                tracing::error!(%error, "cannot start");
                return ExitCode::FAILURE;
            }
        },
        name = signals.next() => {
            tracing::info!(signal = name, "stopped before the start was complete");
            return ExitCode::SUCCESS;
        }
    };
    let name = loop {
        tokio::select! {
            name = signals.next() => break name,
            name = proxy.quit_asked() => break name,
            _ = hangup.recv() => proxy.reload(),
        }
    };
    tracing::info!(signal = name, "stopping: transactions may end, then every user is revoked");
    tokio::select! {
        () = proxy.stop() => ExitCode::SUCCESS,
        name = signals.next() => {
            tracing::warn!(signal = name, "second signal: leaving at once, users end with their lease");
            ExitCode::from(130)
        }
    }
}

/// The exit code of `status` where there is none: neither ready nor not.
const UNKNOWN: u8 = 2;

fn status(args: &StatusArgs) -> ExitCode {
    let place = match args.place.place() {
        Ok(place) => place,
        Err(error) => {
            complain(&error);
            return ExitCode::from(UNKNOWN);
        }
    };
    let out = std::io::stdout();
    let options = StatusOptions { json: args.json, watch: args.watch, terminal: out.is_terminal() };
    let stop = CancellationToken::new();
    let asked = operator::status(&place, options, out, std::io::stderr(), &stop);
    match until_signal(asked, &stop) {
        Ok(Standing::Ready) => ExitCode::SUCCESS,
        Ok(Standing::NotReady) => ExitCode::FAILURE,
        Ok(Standing::Unknown) => ExitCode::from(UNKNOWN),
        Err(error) => {
            complain(&error);
            ExitCode::from(UNKNOWN)
        }
    }
}

fn top(args: &PlaceArgs) -> ExitCode {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return complain(&"`top` needs a terminal; `leasehold status --watch` needs none");
    }
    let place = match args.place() {
        Ok(place) => place,
        Err(error) => return complain(&error),
    };
    let stop = CancellationToken::new();
    match until_signal(operator::top(&place, wants_color(), &stop), &stop) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => complain(&error),
        Err(error) => complain(&error),
    }
}

/// Runs `work`, which a signal asks to end.
fn until_signal<T>(work: impl Future<Output = T>, stop: &CancellationToken) -> std::io::Result<T> {
    let runtime = control_runtime()?;
    let done = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                _ = signals.next() => stop.cancel(),
            }
        }
    });
    runtime.shutdown_background();
    done
}

fn demo(args: &DemoArgs) -> ExitCode {
    if let Some(path) = &args.log {
        let log = LogSettings { format: LogFormat::Text, filter: "debug".to_owned(), most_alike: 0 };
        let file = match std::fs::File::create(path) {
            Ok(file) => file,
            Err(error) => return complain(&format!("cannot write {}: {error}", path.display())),
        };
        if let Err(error) = logging::init(&log, LogOutput::File(file)) {
            return complain(&error);
        }
    }
    let options = demo::Options {
        duration: args.duration,
        terminal: std::io::stdout().is_terminal(),
        color: wants_color(),
    };
    match control_runtime() {
        Ok(runtime) => {
            let code = runtime.block_on(play(options));
            runtime.shutdown_background();
            code
        }
        Err(error) => complain(&error),
    }
}

async fn play(options: demo::Options) -> ExitCode {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return complain(&error),
    };
    let stop = CancellationToken::new();
    let mut demo = Box::pin(demo::run(options, std::io::stdout(), &stop));
    loop {
        tokio::select! {
            ended = &mut demo => return match ended {
                Ok(outcome) if outcome.as_ref().is_none_or(demo::Outcome::is_good) => ExitCode::SUCCESS,
                Ok(_) => ExitCode::FAILURE,
                Err(error) => complain(&error),
            },
            // The first signal ends the demo in order, the second drops it where it is.
            _ = signals.next() => if stop.is_cancelled() { return ExitCode::from(130) } else { stop.cancel() },
        }
    }
}

/// <https://no-color.org>
fn wants_color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// SIGTERM and SIGINT, whichever comes.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one and names it. Cancel safe.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
