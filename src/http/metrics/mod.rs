//! A snapshot as Prometheus reads it (`/metrics`), in the OpenMetrics text format 1.0.
//!
//! Everything is read off the snapshot when somebody asks; nothing is counted here. Labels are names of
//! databases and words of closed sets, never users, leases or addresses, so that the number of series
//! depends on the configuration alone. `docs/http.md` specifies every metric; a test compares the two.

mod families;
mod pools;
mod process;
mod users;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use self::families::{Families, Outcome};
use self::process::Process;
use crate::snapshot::Snapshot;

/// What the text is, for the header.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The whole text.
///
/// # Errors
/// None in practice: writing to a string does not fail.
pub(super) fn text_of(snapshot: Snapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures { snapshot, process: Process::read() }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Figures {
    snapshot: Snapshot,
    process: Process,
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Outcome {
        let mut families = Families::new(encoder);
        families.info(
            "leasehold_build",
            "Version of this program.",
            &[("version", env!("CARGO_PKG_VERSION"))],
        )?;
        pools::write(&mut families, &self.snapshot)?;
        users::write(&mut families, &self.snapshot)?;
        self.process.write(&mut families)
    }
}
