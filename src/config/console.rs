//! `[console]`: who may give commands there, and what its averages are over.

use std::time::Duration;

use super::problem::Findings;
use super::section::Section;
use crate::admin::ConsoleSettings;

/// Each data thread is asked once a period.
const SHORTEST: Duration = Duration::from_secs(1);

pub(super) fn read(section: &Section<'_>, findings: &mut Findings) -> ConsoleSettings {
    let admin_uids = section.texts("admin_uids", findings);
    if admin_uids.iter().flatten().any(|name| name.trim().is_empty()) {
        let advice = "write a user's number or name, for example [\"root\", \"1000\"]";
        section.error("admin_uids", "holds an empty name", advice, findings);
    }
    let usual = ConsoleSettings::default();
    let mut stats_period = section.duration("stats_period", findings).unwrap_or(usual.stats_period);
    if stats_period < SHORTEST {
        let advice = "write a second or more, for example \"15s\"";
        section.error("stats_period", "is shorter than a second", advice, findings);
        stats_period = usual.stats_period;
    }
    ConsoleSettings { admin_uids, tcp_commands: section.flag("tcp_commands", findings), stats_period }
}
