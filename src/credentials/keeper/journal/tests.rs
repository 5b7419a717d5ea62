//! Every event of the journal, field for field.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::tests::{Log, World};
use super::super::{Driver, Held};
use crate::clock::Moment;
use crate::credentials::fleet::{CutReason, UserState};
use crate::credentials::generation::GenerationId;
use crate::credentials::keeper::history::History;
use crate::credentials::keeper::tally::Tally;
use crate::credentials::life::{Effect, Event, Life, Notice};
use crate::credentials::settings::RotationSettings;
use crate::credentials::snapshot::KeeperSnapshot;
use crate::credentials::source::Term;

const ID: GenerationId = GenerationId::FIRST;
const LEASE: Duration = Duration::from_secs(3_600);
const SOON: Duration = Duration::from_millis(1_500);

fn term() -> Term {
    Term { sent: Moment::now(), lease: LEASE, token_end: None, renewable: true }
}

/// A driver that holds one user of two connections.
fn driver() -> Driver {
    let world = World::with_lease(3_600_000);
    let mut life = Life::new(RotationSettings::default(), 0);
    life.handle(Moment::now(), Event::Start);
    life.handle(Moment::now(), Event::Issued(term()));
    let held = Held {
        user: "v-app-1".into(),
        lease_id: "lease/1".into(),
        issued_at: SystemTime::UNIX_EPOCH,
        token_end: None,
        keys: None,
    };
    Driver {
        pool: "app".into(),
        source: world.clone(),
        fleet: world,
        life,
        held: HashMap::from([(ID, held)]),
        tasks: JoinSet::new(),
        if_lost: HashMap::new(),
        stop_by: None,
        started: true,
        recover_failures: 0,
        recover_looks: 0,
        last_error: None,
        server_error: None,
        publisher: watch::channel(KeeperSnapshot::new("fake")).0,
        tally: Tally::default(),
        history: History::default(),
    }
}

/// The event without its target, the lease's hour called `1h` whatever is left of it.
fn told(log: &Log, tell: impl FnOnce()) -> String {
    tell();
    let text = log.take().replace("leasehold::credentials::keeper::journal: ", "");
    let words = text.split(' ').map(|word| match word.trim_end().split_once('=') {
        Some((key @ ("ttl" | "time_left"), value))
            if value.parse().is_ok_and(|left: u64| (3_000..=3_600).contains(&left)) =>
        {
            format!("{key}=1h")
        }
        _ => word.trim_end().to_owned(),
    });
    words.collect::<Vec<_>>().join(" ").trim().to_owned()
}

#[tokio::test]
async fn every_effect_is_told_with_its_fields() {
    let (log, _listening) = Log::listen();
    let driver = driver();
    let whole = "pool=app generation=1 user=v-app-1 ttl=1h connections=2";
    let cases = [
        (Effect::Issue(ID), "DEBUG asking for a user pool=app generation=1".to_owned()),
        (Effect::Verify(ID), "DEBUG verifying pool=app generation=1 user=v-app-1 ttl=1h".to_owned()),
        (Effect::Warm(ID), format!("INFO warming {whole}")),
        (Effect::Deactivate(ID), format!("INFO no generation is active {whole}")),
        (Effect::Retire(ID), format!("INFO retiring {whole}")),
        (Effect::CancelBusy(ID), format!("WARN cancelling what is busy {whole}")),
        (
            Effect::Cut(ID, CutReason::DrainTimeout),
            format!("WARN cutting what is left {whole} reason=DrainTimeout"),
        ),
        (
            Effect::Renew(ID),
            "DEBUG asking the source pool=app generation=1 user=v-app-1 ttl=1h renew=true".to_owned(),
        ),
        (
            Effect::Revoke(ID),
            "DEBUG asking the source pool=app generation=1 user=v-app-1 ttl=1h renew=false".to_owned(),
        ),
        (Effect::Activate(ID), String::new()),
        (Effect::MoveEnd(ID, Moment::now()), String::new()),
        (Effect::Survey(vec![ID], SOON), String::new()),
        (Effect::Forget(ID), String::new()),
        (Effect::Tell(Notice::Revoked { id: ID }), String::new()),
        (Effect::Done, String::new()),
    ];
    for (effect, expected) in cases {
        assert_eq!(told(&log, || driver.log_effect(&effect)), expected, "{effect:?}");
    }
}

#[tokio::test]
async fn every_notice_is_told_with_its_fields() {
    let (log, _listening) = Log::listen();
    let driver = driver();
    let error = || "no answer".to_owned();
    let cases = [
        (
            Notice::IssueFailed { error: error(), failures: 2, retry_in: SOON, time_left: Some(LEASE) },
            "WARN no new user, the active one serves on pool=app source=\"fake\" error=no answer failures=2 \
             retry_in=1.5 time_left=1h",
        ),
        (
            Notice::IssueFailed { error: error(), failures: 2, retry_in: SOON, time_left: None },
            "ERROR no new user, and none to serve with pool=app source=\"fake\" error=no answer failures=2 \
             retry_in=1.5 time_left=0",
        ),
        (
            Notice::Ended { id: ID },
            "WARN the new user's life is over before it could be used pool=app generation=1 user=v-app-1 ttl=1h",
        ),
        (
            Notice::VerifyFailed {
                id: ID,
                error: error(),
                failures: 3,
                retry_in: SOON,
                time_left: Some(LEASE),
            },
            "WARN the new user cannot log in pool=app generation=1 user=v-app-1 ttl=1h error=no answer failures=3 \
             retry_in=1.5 time_left=1h",
        ),
        (
            Notice::VerifyFailed { id: ID, error: error(), failures: 3, retry_in: SOON, time_left: None },
            "WARN the new user cannot log in pool=app generation=1 user=v-app-1 ttl=1h error=no answer failures=3 \
             retry_in=1.5 time_left=0",
        ),
        (
            Notice::GivenUp { id: ID, retry_in: SOON },
            "ERROR giving the new user up: check the role's creation statements, pg_hba.conf and replication \
             pool=app generation=1 user=v-app-1 ttl=1h retry_in=1.5",
        ),
        (
            Notice::Activated { id: ID, before: None },
            "INFO active pool=app generation=1 user=v-app-1 ttl=1h connections=2",
        ),
        (
            Notice::Activated { id: ID, before: Some(GenerationId::from_number(7)) },
            "INFO active pool=app generation=1 user=v-app-1 ttl=1h connections=2 before=7",
        ),
        (
            Notice::Closed { id: ID },
            "ERROR the user ends and there is no other: clients wait pool=app generation=1 user=v-app-1 ttl=1h \
             connections=2",
        ),
        (
            Notice::Gone { id: ID, state: UserState::Dropped },
            "WARN the user was removed by somebody else pool=app generation=1 user=v-app-1 ttl=1h connections=2 \
             state=Dropped",
        ),
        (
            Notice::Extended { id: ID, until: Moment::now() + LEASE },
            "WARN serving past the user's end while the source is unreachable pool=app generation=1 user=v-app-1 \
             connections=2 time_left=1h",
        ),
        (
            Notice::Renewed { id: ID, again: true },
            "INFO lease renewed pool=app generation=1 user=v-app-1 ttl=1h connections=2 again=true",
        ),
        (
            Notice::RenewFailed { id: ID, error: error(), retry_in: Some(SOON) },
            "WARN lease not renewed pool=app generation=1 user=v-app-1 ttl=1h connections=2 error=no answer \
             retry_in=1.5 time_left=1h",
        ),
        (
            Notice::RenewFailed { id: ID, error: error(), retry_in: None },
            "WARN lease not renewed pool=app generation=1 user=v-app-1 ttl=1h connections=2 error=no answer \
             time_left=1h",
        ),
        (
            Notice::Stuck { id: ID },
            "ERROR connections are left after the cut pool=app generation=1 user=v-app-1 ttl=1h connections=2",
        ),
        (Notice::Revoked { id: ID }, "INFO revoked pool=app generation=1 user=v-app-1"),
        (
            Notice::RevokeFailed { id: ID, error: error(), retry_in: SOON },
            "WARN not revoked pool=app generation=1 user=v-app-1 ttl=1h error=no answer retry_in=1.5 time_left=1h",
        ),
        (
            Notice::Left { id: ID },
            "ERROR the user could not be revoked: it ends by itself pool=app generation=1 user=v-app-1 ttl=1h",
        ),
        (
            Notice::SurveyFailed { error: error(), failures: 1 },
            "WARN cannot ask pg_roles for our users pool=app error=no answer",
        ),
        (
            Notice::SurveyFailed { error: error(), failures: 2 },
            "DEBUG cannot ask pg_roles for our users pool=app error=no answer failures=2",
        ),
    ];
    for (notice, expected) in cases {
        assert_eq!(told(&log, || driver.log_notice(&notice)), expected, "{notice:?}");
    }
}

#[tokio::test]
async fn an_issue_and_the_end_are_told_with_their_fields() {
    let (log, _listening) = Log::listen();
    let driver = driver();
    assert_eq!(
        told(&log, || driver.log_issued(ID, &term())),
        "INFO user issued pool=app generation=1 user=v-app-1 ttl=1h lease=lease/1 renewable=true"
    );
    assert_eq!(told(&log, || driver.log_finished()), "INFO stopped, every user is revoked pool=app");
    let stranger = GenerationId::from_number(9);
    assert_eq!(
        told(&log, || driver.log_notice(&Notice::Stuck { id: stranger })),
        "ERROR connections are left after the cut pool=app generation=9 user= ttl=0 connections=2"
    );
}
