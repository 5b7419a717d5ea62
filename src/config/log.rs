//! `[log]`: how the log looks, and how much of it there is.

use super::problem::Findings;
use super::section::Section;
use crate::app::{LogFormat, LogSettings};
use crate::session::TellSettings;

/// Lines of one kind a minute that are enough for anybody.
const MOST_ALIKE: u32 = 60;

pub(super) fn read(section: &Section<'_>, findings: &mut Findings) -> (LogSettings, TellSettings) {
    let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    let format = section.choice("format", &formats, findings).unwrap_or_default();
    let filter = section.filled("filter", findings).unwrap_or_else(|| "info".to_owned());
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&filter) {
        let what = format!("is {filter:?}, which is no filter: {error}");
        section.error(
            "filter",
            &what,
            "write a level, or directives such as \"info,leasehold::pool=debug\"",
            findings,
        );
    }
    let alike = section.whole("most_alike", 0, i64::from(u32::MAX), findings);
    let most_alike = alike.map_or(MOST_ALIKE, |alike| u32::try_from(alike).unwrap_or(u32::MAX));
    let default = TellSettings::default();
    let tell = TellSettings {
        slow_checkout: section.duration("slow_checkout", findings).unwrap_or(default.slow_checkout),
        audit: section.flag("audit", findings),
    };
    (LogSettings { format, filter, most_alike }, tell)
}
