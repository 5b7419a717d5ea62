//! `[console]`: who may give commands there.

use super::problem::Findings;
use super::section::Section;
use crate::admin::ConsoleSettings;

pub(super) fn read(section: &Section<'_>, findings: &mut Findings) -> ConsoleSettings {
    let admin_uids = section.texts("admin_uids", findings);
    if admin_uids.iter().flatten().any(|name| name.trim().is_empty()) {
        let advice = "write a user's number or name, for example [\"root\", \"1000\"]";
        section.error("admin_uids", "holds an empty name", advice, findings);
    }
    ConsoleSettings { admin_uids, tcp_commands: section.flag("tcp_commands", findings) }
}
