//! Users and their generations, by database.

use super::families::{Families, Labels, Name, Outcome, plain, seconds};
use crate::credentials::KeeperCounts;
use crate::http::rules::{self, Word};
use crate::snapshot::{DatabaseSnapshot, Snapshot};

/// Why a database is not ready.
const REASONS: [(&str, Word); 6] = [
    ("stopping", Word::Stopping),
    ("paused", Word::Paused),
    ("disabled", Word::Disabled),
    ("no_user", Word::NoUser),
    ("server", Word::Server),
    ("user_ends", Word::UserEnds),
];

pub(super) fn write(families: &mut Families<'_>, snapshot: &Snapshot) -> Outcome {
    readiness(families, snapshot)?;
    generations(families, snapshot)?;
    results(families, snapshot)?;
    calls(families, snapshot)
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
    let ends = databases.iter().filter_map(|database| {
        let generation = database.active_generation()?;
        Some((of(database), snapshot.token_expires_in(generation)?))
    });
    families.gauge(
        &seconds(
            "leasehold_token_expires",
            "Until the token ends that the active user was issued under; absent where there is none or it does not end.",
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
    let rows = databases.iter().flat_map(|database| {
        database.keeper_counts.rotations().map(move |(reason, outcome, count)| {
            ([("database", database.name.as_str()), ("reason", reason), ("outcome", outcome)], count)
        })
    });
    families.counter(
        &plain(
            "leasehold_rotations",
            "Tries for a new generation, by why it was wanted and what came of it.",
        ),
        rows,
    )?;
    families.histogram(
        &seconds("leasehold_rotation_duration", "From asking for a user to the moment at which it serves."),
        databases.iter().map(|database| (of(database), database.keeper_counts.switches)),
    )?;
    families.histogram(
        &seconds(
            "leasehold_drain_duration",
            "From a generation's last checkout to its last connection's end.",
        ),
        databases.iter().map(|database| (of(database), database.keeper_counts.drains)),
    )
}

fn results(families: &mut Families<'_>, snapshot: &Snapshot) -> Outcome {
    let mut family = |name: &Name, counts: fn(&KeeperCounts) -> Vec<(&'static str, u64)>| {
        let rows = snapshot.databases.iter().flat_map(|database| {
            let counts = counts(&database.keeper_counts).into_iter();
            counts.map(|(word, count)| ([("database", database.name.as_str()), ("result", word)], count))
        });
        families.counter(name, rows)
    };
    family(&plain("leasehold_watches", "Looks at pg_roles for the users that live."), |counts| {
        vec![
            ("alive", counts.watches_alive),
            ("gone", counts.watches_gone),
            ("failed", counts.watches_failed),
        ]
    })?;
    family(&plain("leasehold_renewals", "Calls to renew a lease."), |counts| {
        vec![("renewed", counts.renewals), ("failed", counts.renewals_failed)]
    })?;
    family(
        &plain("leasehold_revocations", "Users revoked, calls that failed, and users that were given up on."),
        |counts| {
            vec![
                ("revoked", counts.revocations),
                ("failed", counts.revocations_failed),
                ("left", counts.revocations_left),
            ]
        },
    )
}

fn calls(families: &mut Families<'_>, snapshot: &Snapshot) -> Outcome {
    let rows = snapshot.databases.iter().flat_map(|database| {
        database.calls.requests.iter().map(|((operation, status), count)| {
            let labels =
                [("database", database.name.as_str()), ("operation", *operation), ("status", *status)];
            (labels, *count)
        })
    });
    families
        .counter(&plain("leasehold_vault_requests", "Calls to Vault, by what for and what came."), rows)?;
    let rows = snapshot.databases.iter().flat_map(|database| {
        database.calls.took.iter().map(|(operation, took)| {
            ([("database", database.name.as_str()), ("operation", *operation)], *took)
        })
    });
    families.histogram(&seconds("leasehold_vault_request_duration", "How long calls to Vault took."), rows)
}

fn of(database: &DatabaseSnapshot) -> Labels<'_, 1> {
    [("database", &database.name)]
}
