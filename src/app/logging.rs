//! Where log lines go and how they look. Called once, from `main`.

use std::fs::File;
use std::sync::Mutex;

use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

use super::limit::Limit;
use super::settings::{LogFormat, LogSettings};
use crate::credentials::QUIET;

/// Said with the sources' own list before the operator's filter, which wins where
/// it names the same target.
const QUIET_TOO: &str = "hyper=warn,h2=warn,rustls=warn";

/// Where log lines go.
#[derive(Debug)]
pub enum LogOutput {
    /// Standard error.
    Stderr {
        /// Whether it is a terminal: decides what `auto` means.
        terminal: bool,
        /// Whether text may be coloured.
        color: bool,
    },
    /// A file, without colours; `auto` means text.
    File(File),
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be parsed.
    #[error("`log.filter` is no filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody else has set up logging in this process.
    #[error("logging is already set up: {0}")]
    Taken(#[from] tracing_subscriber::util::TryInitError),
    /// The log is gone, as it is at the end of the process.
    #[error("the filter cannot be changed: {0}")]
    Reload(#[from] reload::Error),
    /// The thread that tells what was left out cannot be had.
    #[error("no thread for the log: {0}")]
    Thread(#[from] std::io::Error),
}

/// What can be changed of the log while the process runs.
#[derive(Debug, Clone)]
pub struct LogHandle {
    filter: reload::Handle<EnvFilter, Registry>,
    limit: Limit,
}

impl LogHandle {
    /// Takes over the filter and the limit; where lines go and how they look stays.
    ///
    /// # Errors
    ///
    /// A filter that cannot be parsed; nothing is changed then.
    pub fn change(&self, settings: &LogSettings) -> Result<(), LogError> {
        self.filter.reload(filter(&settings.filter)?)?;
        self.limit.change(settings.most_alike);
        Ok(())
    }
}

/// Sets up logging for the whole process.
///
/// # Errors
///
/// A filter that cannot be parsed, or a process that logs already.
pub fn init(settings: &LogSettings, output: LogOutput) -> Result<LogHandle, LogError> {
    let limit = Limit::new(settings.most_alike)?;
    let (filter, handle) = reload::Layer::new(filter(&settings.filter)?);
    let json = match (&output, settings.format) {
        (_, LogFormat::Json) => true,
        (LogOutput::Stderr { terminal, .. }, LogFormat::Auto) => !terminal,
        (LogOutput::File(_), LogFormat::Auto) | (_, LogFormat::Text) => false,
    };
    let (writer, ansi) = match output {
        LogOutput::File(file) => (BoxMakeWriter::new(Mutex::new(file)), false),
        LogOutput::Stderr { terminal, color } => (BoxMakeWriter::new(std::io::stderr), terminal && color),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = if json { lines.json().flatten_event(true).boxed() } else { lines.with_ansi(ansi).boxed() };
    tracing_subscriber::registry().with(filter).with(limit.clone()).with(lines).try_init()?;
    Ok(LogHandle { filter: handle, limit })
}

fn filter(wanted: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::builder().parse(format!("{},{QUIET_TOO},{wanted}", QUIET.join(",")))
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn noisy_libraries_are_quiet_unless_they_are_asked_for() {
        let quiet = filter("debug").unwrap().to_string();
        assert!(quiet.contains("vaultrs=off") && quiet.contains("debug"), "{quiet}");
        let asked = filter("info,vaultrs=debug").unwrap().to_string();
        assert!(asked.contains("vaultrs=debug") && !asked.contains("vaultrs=off"), "{asked}");
        assert!(filter("in=fo=x").is_err());
    }
}
