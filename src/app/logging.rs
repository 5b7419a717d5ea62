//! Where log lines go and how they look. Called once, from `main`.

use std::fs::File;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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
    /// The thread that tells what was left out cannot be had.
    #[error("no thread for the log: {0}")]
    Thread(#[from] std::io::Error),
}

/// Sets up logging for the whole process.
///
/// # Errors
///
/// A filter that cannot be parsed, or a process that logs already.
pub fn init(settings: &LogSettings, output: LogOutput) -> Result<(), LogError> {
    let limit = (settings.most_alike > 0).then(|| Limit::new(settings.most_alike)).transpose()?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter(&settings.filter)?);
    match output {
        LogOutput::File(file) => {
            let builder = builder.with_writer(Mutex::new(file)).with_ansi(false);
            if settings.format == LogFormat::Json {
                builder.json().flatten_event(true).finish().with(limit).try_init()?;
            } else {
                builder.finish().with(limit).try_init()?;
            }
        }
        LogOutput::Stderr { terminal, color } => {
            let builder = builder.with_writer(std::io::stderr);
            match settings.format {
                LogFormat::Json => builder.json().flatten_event(true).finish().with(limit).try_init()?,
                LogFormat::Auto if !terminal => {
                    builder.json().flatten_event(true).finish().with(limit).try_init()?;
                }
                LogFormat::Auto | LogFormat::Text => {
                    builder.with_ansi(terminal && color).finish().with(limit).try_init()?;
                }
            }
        }
    }
    Ok(())
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
