//! Users and their generations, by database.

use super::families::{Families, Labels, Outcome, plain, seconds};
use crate::http::rules::{self, Word};
use crate::snapshot::{DatabaseSnapshot, Snapshot};

/// Why a database is not ready.
const REASONS: [(&str, Word); 4] = [
    ("stopping", Word::Stopping),
    ("no_user", Word::NoUser),
    ("server", Word::Server),
    ("user_ends", Word::UserEnds),
];

pub(super) fn write(families: &mut Families<'_>, snapshot: &Snapshot) -> Outcome {
    readiness(families, snapshot)?;
    generations(families, snapshot)
}

fn readiness(families: &mut Families<'_>, snapshot: &Snapshot) -> Outcome {
    let verdict = rules::ready(snapshot, snapshot.now.boot);
    let reason = |database: &DatabaseSnapshot| {
        let found = verdict.reasons.iter().find(|reason| reason.database.as_ref() == Some(&database.name));
        found.map(|reason| reason.reason)
    };
    let databases = &snapshot.databases;
    families.gauge(
        &plain("leasehold_ready", "1 while the database is served and will be for a while, as /readyz says."),
        databases.iter().map(|database| (of(database), u64::from(reason(database).is_none()))),
    )?;
    let rows = databases.iter().flat_map(|database| {
        let reason = reason(database);
        REASONS.map(|(word, is)| {
            ([("database", database.name.as_str()), ("reason", word)], u64::from(reason == Some(is)))
        })
    });
    families.gauge(&plain("leasehold_not_ready", "1 for the reason why the database is not ready."), rows)
}

fn generations(families: &mut Families<'_>, snapshot: &Snapshot) -> Outcome {
    let databases = &snapshot.databases;
    let ends = databases.iter().filter_map(|database| {
        let generation = database.active_generation()?;
        Some((of(database), snapshot.expires_in(generation)?))
    });
    families.gauge(
        &seconds(
            "leasehold_generation_expires",
            "Until lease or token of the active user ends, whichever is first; absent without one.",
        ),
        ends,
    )?;
    families.gauge(
        &plain(
            "leasehold_issue_failures_in_a_row",
            "Calls for a user that failed since the last that did not.",
        ),
        databases.iter().map(|database| (of(database), u64::from(database.keeper.failures))),
    )?;
    families.counter(
        &plain("leasehold_rotations", "How often one generation took over from another."),
        databases.iter().map(|database| (of(database), database.keeper.rotations)),
    )
}

fn of(database: &DatabaseSnapshot) -> Labels<'_, 1> {
    [("database", &database.name)]
}
