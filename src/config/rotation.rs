//! `[rotation]`: when users are replaced and how their connections end.

use super::problem::Findings;
use super::section::Section;
use crate::credentials::{RenewPolicy, RotationSettings};

pub(super) fn read(section: &Section<'_>, findings: &mut Findings) -> RotationSettings {
    let default = RotationSettings::default();
    let at = section.number("at", findings).unwrap_or(default.at);
    let jitter = section.number("jitter", findings).unwrap_or(default.jitter);
    // Written so that NaN is refused too.
    if !(at > 0.0 && at < 1.0) {
        let advice = "it is a part of the user's life: more than 0 and less than 1, for example 0.7";
        section.error("at", &format!("is {at}"), advice, findings);
    } else if !(0.0..1.0).contains(&jitter) {
        section.error("jitter", &format!("is {jitter}"), "it must be at least 0 and less than 1", findings);
    } else if at + jitter / 2.0 >= 1.0 || at - jitter / 2.0 <= 0.0 {
        let what = format!("spreads the rotation over {:.2} to {:.2}", at - jitter / 2.0, at + jitter / 2.0);
        let advice = "at ± jitter/2 must lie between 0 and 1: the next user has to come before this one ends";
        section.error("jitter", &what, advice, findings);
    }
    let policies = [
        ("while_draining", RenewPolicy::WhileDraining),
        ("until_max", RenewPolicy::UntilMax),
        ("never", RenewPolicy::Never),
    ];
    RotationSettings {
        at,
        jitter,
        drain_timeout: section.duration("drain_timeout", findings).unwrap_or(default.drain_timeout),
        revoked_grace: section.duration("revoked_grace", findings).unwrap_or(default.revoked_grace),
        watch_interval: section.some_time("watch_interval", findings).unwrap_or(default.watch_interval),
        outage_grace: section.duration("outage_grace", findings).unwrap_or(default.outage_grace),
        renew: section.choice("renew", &policies, findings).unwrap_or_default(),
    }
}
