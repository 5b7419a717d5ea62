//! Whether the proxy has started, is alive, and is ready: functions of a snapshot and the time.
//!
//! Ready is about what clients get, not about what is healthy behind it: a Vault that is down is no
//! reason while the user that serves is good for long enough.

use serde::Serialize;

use crate::clock::Moment;
use crate::credentials::GenerationState;
use crate::snapshot::{DatabaseSnapshot, Snapshot};

/// What a probe is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    /// Whether all is well.
    pub(super) ok: bool,
    /// If not, why not.
    pub(super) reasons: Vec<Reason>,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reason {
    /// The database that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database: Option<String>,
    /// The data thread that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thread: Option<usize>,
    /// In one word.
    pub(super) reason: Word,
    /// For people.
    pub(super) detail: String,
}

/// A reason in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// The proxy is about to end.
    Stopping,
    /// PAUSE holds.
    Paused,
    /// DISABLE holds.
    Disabled,
    /// No user is active.
    NoUser,
    /// The server cannot be reached, or lets nobody in.
    Server,
    /// The user ends soon, and there is no other.
    UserEnds,
    /// A data thread gives no answer.
    Blocked,
    /// A data thread has ended.
    Ended,
}

impl Verdict {
    fn of(reasons: Vec<Reason>) -> Self {
        Self { ok: reasons.is_empty(), reasons }
    }
}

/// `/startupz`: every database has had a user.
pub(super) fn started(snapshot: &Snapshot) -> Verdict {
    let waiting = snapshot.databases.iter().filter(|database| !database.was_active);
    Verdict::of(waiting.map(no_user).collect())
}

/// `/livez`: every data thread answers. Asks for [`crate::snapshot::Depth::Threads`].
pub(super) fn alive(snapshot: &Snapshot) -> Verdict {
    let reason = |thread: &usize, reason, detail: &str| Reason {
        database: None,
        thread: Some(*thread),
        reason,
        detail: detail.to_owned(),
    };
    let blocked = snapshot.silent.iter().map(|thread| {
        reason(
            thread,
            Word::Blocked,
            "this data thread gave no answer within a second: its clients stand still",
        )
    });
    // At a stop they end one after another, as they should.
    let ended = snapshot.ended.iter().filter(|_| !snapshot.stopping);
    let ended =
        ended.map(|thread| reason(thread, Word::Ended, "this data thread has ended: see the log for why"));
    Verdict::of(blocked.chain(ended).collect())
}

/// `/readyz`: every database can be served, and will be for a while. At most one reason for each.
pub(super) fn ready(snapshot: &Snapshot, now: Moment) -> Verdict {
    Verdict::of(
        snapshot.databases.iter().filter_map(|database| risk(snapshot.stopping, database, now)).collect(),
    )
}

/// What endangers the service of one database, the worst first.
fn risk(stopping: bool, database: &DatabaseSnapshot, now: Moment) -> Option<Reason> {
    if stopping || database.keeper.stopping {
        return Some(about(database, Word::Stopping, "the proxy is stopping".to_owned()));
    }
    // On purpose, but no client that comes now is served: traffic belongs elsewhere.
    if database.paused {
        let detail = "paused at the console: clients wait until RESUME";
        return Some(about(database, Word::Paused, detail.to_owned()));
    }
    if database.disabled {
        let detail = "disabled at the console: new clients are refused until ENABLE";
        return Some(about(database, Word::Disabled, detail.to_owned()));
    }
    let Some(active) = database.active_generation().filter(|_| database.active.is_some()) else {
        return Some(no_user(database));
    };
    if let Some(error) = &database.keeper.server_error {
        return Some(about(database, Word::Server, error.clone()));
    }
    let followed =
        database.keeper.generations.iter().any(|generation| generation.state == GenerationState::Warming);
    if followed || now < active.late_from {
        return None;
    }
    let left = now.until(active.end).as_secs_f64();
    let why = database.last_error().map(|error| format!(": {error}")).unwrap_or_default();
    let detail = format!("user {:?} ends in {left:.1} s and there is no other yet{why}", active.user);
    Some(about(database, Word::UserEnds, detail))
}

fn no_user(database: &DatabaseSnapshot) -> Reason {
    about(database, Word::NoUser, database.last_error().unwrap_or("no user has come yet").to_owned())
}

fn about(database: &DatabaseSnapshot, reason: Word, detail: String) -> Reason {
    Reason { database: Some(database.name.clone()), thread: None, reason, detail }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::credentials::{
        CallCounts, GenerationId, GenerationSnapshot, KeeperCounts, KeeperSnapshot, Steps,
    };
    use crate::pool::{PinCounts, PoolMode};

    /// A good database: generation 1 serves, ends at second 100, is late from second 80.
    fn database(name: &str) -> DatabaseSnapshot {
        DatabaseSnapshot {
            name: name.into(),
            mode: PoolMode::Transaction,
            size: 1,
            min_size: 0,
            reserve_size: 0,
            server_lifetime: Duration::ZERO,
            max_server_connections: 2,
            pins: PinCounts::default(),
            target: crate::snapshot::TargetSnapshot::default(),
            keeper: KeeperSnapshot {
                source: "vault",
                generations: vec![generation(1, GenerationState::Active)],
                active: Some(GenerationId::FIRST),
                rotations: 0,
                next_issue: None,
                failures: 0,
                last_error: None,
                server_error: None,
                stopping: false,
            },
            keeper_counts: KeeperCounts::default(),
            calls: CallCounts::default(),
            events: Vec::new(),
            active: Some(GenerationId::FIRST),
            was_active: true,
            connections: std::collections::BTreeMap::new(),
            paused: false,
            disabled: false,
            trouble: None,
        }
    }

    fn generation(number: u64, state: GenerationState) -> GenerationSnapshot {
        GenerationSnapshot {
            id: GenerationId::from_number(number),
            user: format!("u{number}"),
            lease_id: format!("lease/{number}"),
            state,
            issued_at: SystemTime::UNIX_EPOCH,
            end: second(100),
            late_from: second(80),
            token_end: None,
            renewals: 0,
            steps: Steps::default(),
        }
    }

    fn second(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    fn with(databases: Vec<DatabaseSnapshot>) -> Snapshot {
        Snapshot { databases, ..Snapshot::empty() }
    }

    /// What was said, as `database: reason: detail`.
    fn words(verdict: &Verdict) -> Vec<String> {
        assert_eq!(verdict.ok, verdict.reasons.is_empty());
        let word = |reason: &Reason| {
            let place = reason.database.clone().or(reason.thread.map(|thread| thread.to_string())).unwrap();
            format!("{place}: {:?}: {}", reason.reason, reason.detail)
        };
        verdict.reasons.iter().map(word).collect()
    }

    #[test]
    fn ready_is_what_clients_get_and_will_get_for_a_while() {
        type Change = fn(&mut DatabaseSnapshot);
        let cases: &[(&str, u64, Change, Option<&str>)] = &[
            ("good", 10, |_| {}, None),
            (
                "Vault is down and the user good",
                79,
                |d| (d.keeper.failures, d.keeper.last_error) = (7, Some("sealed".into())),
                None,
            ),
            (
                "Vault is down and the end near",
                80,
                |d| (d.keeper.failures, d.keeper.last_error) = (7, Some("sealed".into())),
                Some("a: UserEnds: user \"u1\" ends in 20.0 s and there is no other yet: sealed"),
            ),
            (
                "the next user has logged in",
                95,
                |d| d.keeper.generations.push(generation(2, GenerationState::Warming)),
                None,
            ),
            (
                "the next user cannot log in",
                95,
                |d| d.keeper.generations.push(generation(2, GenerationState::Verifying)),
                Some("a: UserEnds: user \"u1\" ends in 5.0 s and there is no other yet"),
            ),
            (
                "nobody yet",
                10,
                |d| (d.keeper.active, d.active, d.was_active) = (None, None, false),
                Some("a: NoUser: no user has come yet"),
            ),
            (
                "nobody any more, and nothing to ask the server with",
                10,
                |d| {
                    (d.keeper.active, d.active) = (None, None);
                    (d.keeper.last_error, d.keeper.server_error) =
                        (Some("denied".into()), Some("down".into()));
                },
                Some("a: NoUser: denied"),
            ),
            (
                "others that share the user have it",
                10,
                |d| (d.active, d.trouble) = (None, Some("no such database".into())),
                Some("a: NoUser: no such database"),
            ),
            (
                "the server is away",
                90,
                |d| d.keeper.server_error = Some("connection refused".into()),
                Some("a: Server: connection refused"),
            ),
            (
                "it stops",
                10,
                |d| (d.keeper.stopping, d.keeper.active, d.active) = (true, None, None),
                Some("a: Stopping: the proxy is stopping"),
            ),
        ];
        for (case, now, change, expected) in cases {
            let mut changed = database("a");
            change(&mut changed);
            let verdict = ready(&with(vec![changed, database("b")]), second(*now));
            let others = words(&verdict).into_iter().filter(|word| word.starts_with("a: "));
            assert_eq!(others.collect::<Vec<_>>(), expected.iter().copied().collect::<Vec<_>>(), "{case}");
        }
        let stopping = Snapshot { stopping: true, ..with(vec![database("a"), database("b")]) };
        assert_eq!(ready(&stopping, second(10)).reasons.len(), 2);
        assert!(ready(&with(Vec::new()), second(10)).ok);
    }

    #[test]
    fn started_is_once_every_database_has_had_a_user() {
        let mut fresh = database("b");
        (fresh.was_active, fresh.keeper.active, fresh.active) = (false, None, None);
        fresh.keeper.last_error = Some("sealed".into());
        assert_eq!(words(&started(&with(vec![database("a"), fresh]))), ["b: NoUser: sealed"]);
        let mut lost = database("b");
        (lost.keeper.active, lost.active) = (None, None);
        assert!(started(&with(vec![database("a"), lost])).ok);
    }

    #[test]
    fn alive_is_every_data_thread_that_answers() {
        // silent, ended, stopping, what is said of which thread
        type Case<'c> = (&'c [usize], &'c [usize], bool, &'c [(usize, Word)]);
        let cases: &[Case<'_>] = &[
            (&[], &[], false, &[]),
            (&[1], &[], false, &[(1, Word::Blocked)]),
            (&[0, 2], &[1], false, &[(0, Word::Blocked), (2, Word::Blocked), (1, Word::Ended)]),
            (&[], &[0, 1], true, &[]),
            (&[1], &[0], true, &[(1, Word::Blocked)]),
        ];
        for (silent, ended, stopping, expected) in cases {
            let snapshot = Snapshot {
                silent: silent.to_vec(),
                ended: ended.to_vec(),
                stopping: *stopping,
                ..Snapshot::empty()
            };
            let verdict = alive(&snapshot);
            let found: Vec<_> = verdict.reasons.iter().map(|r| (r.thread.unwrap(), r.reason)).collect();
            assert_eq!((found.as_slice(), verdict.ok), (*expected, expected.is_empty()));
        }
    }

    #[test]
    fn what_an_operator_stopped_is_not_ready_whatever_else_is_wrong() {
        let mut changed = database("a");
        changed.keeper.server_error = Some("away".into());
        changed.disabled = true;
        let words = |database: &DatabaseSnapshot| {
            let verdict = ready(&with(vec![database.clone()]), second(1));
            verdict.reasons.iter().map(|reason| reason.reason).collect::<Vec<_>>()
        };
        assert_eq!(words(&changed), [Word::Disabled]);
        changed.paused = true;
        assert_eq!(words(&changed), [Word::Paused]);
    }

    #[test]
    fn a_probe_reads_json() {
        let mut changed = database("a");
        changed.keeper.server_error = Some("away".into());
        let verdict = ready(&with(vec![changed]), second(1));
        let text = serde_json::to_string(&verdict).unwrap();
        assert_eq!(text, r#"{"ok":false,"reasons":[{"database":"a","reason":"server","detail":"away"}]}"#);
    }
}
