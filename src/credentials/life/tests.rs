//! The core by scripts of events, with the clock in hand.

use std::time::Duration;

use super::{Effect, Event, GenerationState, Life, Notice};
use crate::clock::Moment;
use crate::credentials::fleet::{CutReason, SurveyError, UserState, VerifyError};
use crate::credentials::generation::GenerationId;
use crate::credentials::settings::RotationSettings;
use crate::credentials::source::{SourceError, Term};

mod renewal;
mod script;
mod server;

use self::script::Script;

const G1: GenerationId = GenerationId::from_number(1);
const G2: GenerationId = GenerationId::from_number(2);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(millis: u64) -> Moment {
    Moment::from_nanos(millis * 1_000_000)
}

fn unavailable() -> SourceError {
    SourceError::Unavailable { message: "sealed".into(), retry_after: None }
}

fn denied() -> SourceError {
    SourceError::Denied { message: "no".into() }
}

fn refused() -> VerifyError {
    VerifyError::Refused { sqlstate: "28000".into(), message: "not permitted to log in".into() }
}

#[test]
fn a_generation_goes_from_issue_to_revoked_and_the_next_takes_over_at_its_share() {
    let mut s = Script::plain();
    s.first(s.term(8_000));
    let began = s.now;
    s.second(|s| s.term(8_000));
    assert_eq!(began.until(s.now), ms(5_600));
    assert_eq!((s.state(G1), s.state(G2)), (GenerationState::Retiring, GenerationState::Active));
    assert_eq!(s.tell(Event::Drained(G1)), [Effect::Revoke(G1)]);
    assert_eq!(s.tell(Event::Revoked(G1)), []);
    assert_eq!(s.state(G1), GenerationState::Revoked);
    assert_eq!(s.life.rotations(), 1);
}

#[test]
fn a_slow_warm_does_not_hold_the_switch_up() {
    let mut s = Script::plain();
    s.first(s.term(8_000));
    s.next();
    s.tell(Event::Issued(s.term(8_000)));
    s.tell(Event::Verified(G2));
    let asked = s.now;
    let (switched, effects) = s.next();
    assert_eq!(effects, [Effect::Activate(G2), Effect::Retire(G1)]);
    assert_eq!(asked.until(switched), ms(160), "a tenth of 1.6 s");
    assert_eq!(s.tell(Event::Warmed(G2)), []);
}

#[test]
fn what_is_busy_at_the_end_is_cancelled_then_cut_and_then_revoked() {
    let mut s = Script::plain();
    s.first(s.term(10_000));
    let end = s.now + ms(10_000);
    s.second(|s| s.term(60_000));
    let (cancelled, effects) = s.next();
    assert_eq!((effects, cancelled), (vec![Effect::CancelBusy(G1)], end - ms(750)));
    let (cut, effects) = s.next();
    assert_eq!((effects, cut), (vec![Effect::Cut(G1, CutReason::LeaseEnded)], end - ms(500)));
    assert_eq!(s.tell(Event::Drained(G1)), [Effect::Revoke(G1)]);
}

#[test]
fn a_drain_has_a_timeout_of_its_own() {
    let rotation = RotationSettings { jitter: 0.0, drain_timeout: ms(1_000), ..RotationSettings::default() };
    let mut s = Script::new(rotation);
    s.first(s.renewable(60_000));
    s.second(|s| s.term(60_000));
    let retired = s.now;
    let (cancelled, effects) = s.next();
    assert_eq!((effects, cancelled), (vec![Effect::CancelBusy(G1)], retired + ms(1_000)));
    let (cut, effects) = s.next();
    assert_eq!((effects, cut), (vec![Effect::Cut(G1, CutReason::DrainTimeout)], retired + ms(1_200)));
    // A fleet that never reports does not keep the user alive.
    let (_, effects) = s.next();
    assert_eq!(effects, [Effect::Revoke(G1)]);
    assert!(s.notices.contains(&Notice::Stuck { id: G1 }));
}

#[test]
fn a_lease_is_renewed_while_its_generation_drains_until_answers_stop_growing() {
    let mut s = Script::plain();
    s.first(s.renewable(10_000));
    let began = s.now;
    s.second(|s| s.term(600_000));
    let (due, effects) = s.next();
    assert_eq!((effects, due), (vec![Effect::Renew(G1)], began + ms(8_000)));
    let longer = s.renewable(10_000);
    assert_eq!(s.tell(Event::Renewed(G1, longer)), [Effect::MoveEnd(G1, due + ms(10_000))]);
    let (due, effects) = s.next();
    assert_eq!((effects, due), (vec![Effect::Renew(G1)], began + ms(16_000)));
    // max_ttl: the end stays where it was.
    let same = s.renewable(2_000);
    assert_eq!(s.tell(Event::Renewed(G1, same)), [Effect::MoveEnd(G1, began + ms(18_000))]);
    let (_, effects) = s.next();
    assert_eq!(effects, [Effect::CancelBusy(G1)]);
    let (_, effects) = s.next();
    assert_eq!(effects, [Effect::Cut(G1, CutReason::LeaseEnded)]);
}

#[test]
fn a_short_lease_can_be_renewed_however_long_its_user_has_lived() {
    let mut s = Script::plain();
    s.first(s.renewable(8_000));
    s.second(|s| s.term(6_000_000));
    for _ in 0..100 {
        let (_, effects) = s.next();
        assert_eq!(effects, [Effect::Renew(G1)], "at {:?}", s.now);
        let term = s.renewable(8_000);
        s.tell(Event::Renewed(G1, term));
    }
}

#[test]
fn failed_calls_take_nothing_from_a_valid_user_and_a_renewal_saves_it() {
    let mut s = Script::plain();
    s.first(s.renewable(60_000));
    let mut tries = 0;
    loop {
        let (_, effects) = s.next();
        match effects.as_slice() {
            [Effect::Issue(_)] => assert_eq!(s.tell(Event::IssueFailed(unavailable())), []),
            [Effect::Renew(G1)] => break,
            other => panic!("{other:?}"),
        }
        tries += 1;
    }
    assert!(tries >= 2, "{tries}");
    let longer = s.renewable(60_000);
    s.tell(Event::Renewed(G1, longer));
    assert_eq!(s.life.active(), Some(G1));
    let (_, effects) = s.next();
    assert_eq!(effects, [Effect::Issue(G2)]);
}

#[test]
fn with_no_successor_it_fails_closed_before_the_end_and_goes_on_asking() {
    for error in [unavailable, denied] {
        let mut s = Script::plain();
        s.first(s.term(8_000));
        let end = s.now + ms(8_000);
        let mut tries = 0;
        let closed = loop {
            let (now, effects) = s.next();
            if effects == [Effect::Issue(G2)] {
                tries += 1;
                assert_eq!(s.tell(Event::IssueFailed(error())), []);
            } else {
                assert_eq!(effects.get(..2), Some([Effect::Deactivate(G1), Effect::Retire(G1)].as_slice()));
                break now;
            }
        };
        assert_eq!(closed, end - ms(800));
        assert!(tries >= 2, "{tries}");
        s.tell(Event::IssueFailed(error()));
        let mut cut = None;
        let mut last = s.now;
        while s.now < end + ms(60_000) {
            let (now, effects) = s.next();
            for effect in effects {
                match effect {
                    Effect::Cut(G1, CutReason::LeaseEnded) => cut = Some(now),
                    Effect::Issue(G2) => {
                        assert!(last.until(now) <= ms(30_000));
                        last = now;
                        s.tell(Event::IssueFailed(error()));
                    }
                    _ => {}
                }
            }
        }
        assert!(cut.is_some_and(|cut| cut < end));
    }
}

#[test]
fn an_outage_grace_lets_the_user_serve_past_its_end_only_while_the_source_is_unreachable() {
    let rotation = RotationSettings { jitter: 0.0, outage_grace: ms(60_000), ..RotationSettings::default() };
    let mut s = Script::new(rotation);
    s.first(s.term(10_000));
    let end = s.now + ms(10_000);
    let mut moved = None;
    while s.now < end + ms(20_000) {
        let (_, effects) = s.next();
        for effect in effects {
            match effect {
                Effect::Issue(_) => assert_eq!(s.tell(Event::IssueFailed(unavailable())), []),
                Effect::MoveEnd(G1, until) => moved = Some(until),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(moved, Some(end + ms(60_000)));
    assert_eq!(s.life.active(), Some(G1));
    // VALID UNTIL is over by then, and says nothing new.
    assert_eq!(s.survey(&[(G1, UserState::Expired)]), []);
    // The source is back, and says no: this is not an outage.
    while s.next().1 != [Effect::Issue(G2)] {}
    let effects = s.tell(Event::IssueFailed(denied()));
    assert!(effects.contains(&Effect::Deactivate(G1)), "{effects:?}");
    assert!(effects.contains(&Effect::Cut(G1, CutReason::LeaseEnded)), "{effects:?}");
}

#[test]
fn a_user_that_cannot_log_in_is_tried_again_then_replaced_while_the_old_one_serves() {
    let mut s = Script::plain();
    s.first(s.term(3_600_000));
    s.next();
    let mut effects = s.tell(Event::Issued(s.term(3_600_000)));
    let asked = s.now;
    let mut tries = 0;
    while effects == [Effect::Verify(G2)] {
        tries += 1;
        effects = s.tell(Event::VerifyFailed(G2, refused()));
        if effects.is_empty() {
            effects = s.next().1;
        }
    }
    assert_eq!(effects, [Effect::Retire(G2)]);
    assert!(asked.until(s.now) >= ms(15_000) && tries > 3, "{tries}");
    assert_eq!(s.notices.iter().filter(|n| matches!(n, Notice::VerifyFailed { .. })).count(), tries);
    assert_eq!(s.tell(Event::Drained(G2)), [Effect::Revoke(G2)]);
    s.tell(Event::Revoked(G2));
    assert_eq!(s.life.active(), Some(G1));
    assert_eq!(s.next().1, [Effect::Issue(GenerationId::from_number(3))]);
    assert!(asked.until(s.now) > ms(16_000));
}

#[test]
fn a_user_found_gone_is_replaced_at_once_and_its_connections_get_the_grace() {
    let mut s = Script::plain();
    s.first(s.renewable(3_600_000));
    s.now = s.now + ms(5_000);
    let found = s.now;
    let effects = s.survey(&[(G1, UserState::Dropped)]);
    assert_eq!(effects, [Effect::Deactivate(G1), Effect::Retire(G1), Effect::Issue(G2)]);
    assert_eq!(s.state(G1), GenerationState::Dead);
    assert_eq!(s.tell(Event::Issued(s.term(3_600_000))), [Effect::Verify(G2)]);
    assert_eq!(s.tell(Event::Verified(G2)), [Effect::Activate(G2)]);
    assert_eq!(s.next(), (found + ms(4_500), vec![Effect::CancelBusy(G1)]));
    assert_eq!(s.next(), (found + ms(5_000), vec![Effect::Cut(G1, CutReason::Revoked)]));
    assert_eq!(s.tell(Event::Drained(G1)), [Effect::Revoke(G1)]);
    s.tell(Event::Revoked(G1));
    assert_eq!(s.state(G1), GenerationState::Dead);
    // The second time within a minute, it waits a little.
    assert_eq!(s.survey(&[(G2, UserState::NoLogin)]), [Effect::Deactivate(G2), Effect::Retire(G2)]);
    let again = s.now;
    let (issued, effects) = s.next();
    assert_eq!(effects, [Effect::Issue(GenerationId::from_number(3))]);
    assert!(again.until(issued) >= ms(200) && again.until(issued) <= ms(1_000));
}

#[test]
fn a_successor_that_is_ready_takes_over_in_the_step_that_finds_the_old_one_gone() {
    let mut s = Script::plain();
    s.first(s.term(60_000));
    s.next();
    s.tell(Event::Issued(s.term(60_000)));
    s.tell(Event::Verified(G2));
    let effects = s.survey(&[(G1, UserState::Dropped), (G2, UserState::Alive)]);
    assert_eq!(effects, [Effect::Activate(G2), Effect::Retire(G1)]);
    assert_eq!(s.state(G1), GenerationState::Dead);
}

#[test]
fn when_both_are_gone_neither_serves() {
    let mut s = Script::plain();
    s.first(s.term(60_000));
    s.next();
    s.tell(Event::Issued(s.term(60_000)));
    s.tell(Event::Verified(G2));
    s.now = s.now + ms(300);
    let effects = s.survey(&[(G1, UserState::Dropped), (G2, UserState::Dropped)]);
    assert!(
        effects.contains(&Effect::Deactivate(G1)) && !effects.contains(&Effect::Activate(G2)),
        "{effects:?}"
    );
    assert_eq!(s.life.active(), None);
}

#[test]
fn surveys_cover_verified_users_only_keep_their_interval_and_follow_suspicion() {
    let mut life = Life::new(RotationSettings { jitter: 0.0, ..RotationSettings::default() }, 7);
    let term = Term { sent: at(0), lease: ms(10_000), token_end: None, renewable: false };
    life.handle(at(0), Event::Start);
    let of = |effects: &[Effect]| {
        effects.iter().find_map(|e| if let Effect::Survey(ids, _) = e { Some(ids.clone()) } else { None })
    };
    assert_eq!(of(&life.handle(at(0), Event::Issued(term))), None);
    assert_eq!(of(&life.handle(at(0), Event::Verified(G1))), Some(vec![G1]));
    assert_eq!(of(&life.handle(at(500), Event::Suspicion)), None, "one at a time");
    let failed = || Event::SurveyFailed(SurveyError { message: "no connection".into() });
    assert_eq!(of(&life.handle(at(600), failed())), Some(vec![G1]), "the suspicion is not forgotten");
    life.handle(at(610), failed());
    assert_eq!(life.active(), Some(G1));
    assert_eq!(of(&life.handle(at(620), Event::Suspicion)), None, "100 ms apart");
    assert_eq!(of(&life.handle(at(700), Event::Tick)), Some(vec![G1]));
    life.handle(at(710), Event::Surveyed(vec![(G1, UserState::Alive)]));
    assert_eq!(life.next_wake(), Some(at(1_700)));
    // The next one is issued: it is not asked for before it is verified.
    life.handle(at(7_000), Event::Tick);
    life.handle(at(7_000), Event::Surveyed(vec![(G1, UserState::Alive)]));
    life.handle(at(7_000), Event::Issued(Term { sent: at(7_000), ..term }));
    assert_eq!(of(&life.handle(at(8_000), Event::Tick)), Some(vec![G1]));
}

#[test]
fn a_user_whose_life_is_over_before_it_served_is_revoked() {
    let mut s = Script::plain();
    s.tell(Event::Start);
    assert_eq!(s.tell(Event::Issued(s.term(100))), [Effect::Revoke(G1)]);
    s.tell(Event::Revoked(G1));
    let (_, effects) = s.next();
    assert_eq!(effects, [Effect::Issue(G2)]);
    assert_eq!(s.tell(Event::Issued(s.term(4_000))), [Effect::Verify(G2)]);
    // The login hangs.
    let issued = s.now;
    let (now, effects) = s.next();
    assert_eq!((issued.until(now), effects), (ms(3_600), vec![Effect::Retire(G2)]));
    assert_eq!(s.tell(Event::Verified(G2)), []);
}

#[test]
fn revoking_is_tried_again_then_told() {
    let mut s = Script::plain();
    s.first(s.term(60_000));
    s.second(|s| s.term(600_000));
    let mut effects = s.tell(Event::Drained(G1));
    let mut tries = 0;
    while effects == [Effect::Revoke(G1)] {
        tries += 1;
        s.tell(Event::RevokeFailed(G1, denied()));
        if s.state(G1) == GenerationState::Left {
            break;
        }
        effects = s.next().1;
    }
    assert_eq!(tries, 5);
    assert!(s.notices.contains(&Notice::Left { id: G1 }));
}

#[test]
fn rotate_is_taken_once_and_not_while_one_is_on_its_way() {
    let mut s = Script::plain();
    s.first(s.term(3_600_000));
    s.now = s.now + ms(1_000);
    assert!(s.life.may_rotate());
    assert_eq!(s.tell(Event::Rotate), [Effect::Issue(G2)]);
    assert!(!s.life.may_rotate());
    assert_eq!(s.tell(Event::Rotate), []);
    s.tell(Event::Issued(s.term(3_600_000)));
    assert!(!s.life.may_rotate());
    s.tell(Event::Verified(G2));
    s.tell(Event::Warmed(G2));
    assert!(s.life.may_rotate());
}

#[test]
fn a_source_that_changes_while_a_user_is_on_its_way_gets_another_one_after_it() {
    let mut s = Script::plain();
    s.first(s.term(3_600_000));
    s.now = s.now + ms(1_000);
    assert_eq!(s.tell(Event::SourceChanged), [Effect::Issue(G2)]);
    assert_eq!(s.tell(Event::SourceChanged), []);
    s.tell(Event::Issued(s.term(3_600_000)));
    s.tell(Event::Verified(G2));
    s.now = s.now + ms(1_000);
    assert!(s.tell(Event::Warmed(G2)).contains(&Effect::Issue(G2.next())));
}

#[test]
fn shutdown_retires_cuts_in_time_and_revokes_even_what_was_in_flight() {
    let mut s = Script::plain();
    s.first(s.term(60_000));
    assert_eq!(s.next().1, [Effect::Issue(G2)]);
    let by = s.now + ms(8_000);
    assert_eq!(s.tell(Event::Shutdown(by)), [Effect::Deactivate(G1), Effect::Retire(G1)]);
    assert_eq!(s.tell(Event::Issued(s.term(60_000))), [Effect::Revoke(G2)]);
    assert_eq!(s.tell(Event::Revoked(G2)), []);
    assert_eq!(s.next(), (by - ms(3_000), vec![Effect::CancelBusy(G1)]));
    assert_eq!(s.next(), (by - ms(2_000), vec![Effect::Cut(G1, CutReason::Shutdown)]));
    assert_eq!(s.tell(Event::Drained(G1)), [Effect::Revoke(G1)]);
    assert_eq!(s.tell(Event::Revoked(G1)), [Effect::Done]);
    assert_eq!(s.life.next_wake(), None);
    assert_eq!(s.tell(Event::Tick), []);
}

#[test]
fn shutdown_is_over_when_its_time_is_up_and_says_who_is_left() {
    let mut s = Script::plain();
    s.first(s.term(60_000));
    s.now = s.now + ms(100);
    s.tell(Event::Shutdown(s.now + ms(1_000)));
    s.tell(Event::Drained(G1));
    loop {
        let effects = s.next().1;
        if effects == [Effect::Done] {
            break;
        }
        assert_eq!(effects, [Effect::Revoke(G1)]);
        s.tell(Event::RevokeFailed(G1, unavailable()));
    }
    assert_eq!(s.now, at(2_100));
    assert_eq!(s.state(G1), GenerationState::Left);
    assert!(s.notices.contains(&Notice::Left { id: G1 }));
}

#[test]
fn the_latest_few_that_are_over_stay_listed() {
    let mut s = Script::plain();
    s.first(s.term(3_600_000));
    let mut forgotten = Vec::new();
    for number in 2..20 {
        let (old, new) = (GenerationId::from_number(number - 1), GenerationId::from_number(number));
        s.now = s.now + ms(1_000);
        s.tell(Event::Rotate);
        s.tell(Event::Issued(s.term(3_600_000)));
        s.tell(Event::Verified(new));
        s.tell(Event::Warmed(new));
        s.tell(Event::Drained(old));
        forgotten.extend(s.tell(Event::Revoked(old)));
    }
    assert_eq!(s.life.views().count(), 6);
    assert_eq!(forgotten.first(), Some(&Effect::Forget(G1)));
    assert_eq!(forgotten.len(), 13);
    s.quiet_until(s.now + ms(1_000));
}

#[test]
fn a_server_that_is_now_and_then_unreachable_does_not_save_a_user_it_refuses() {
    let mut s = Script::plain();
    s.tell(Event::Start);
    s.tell(Event::Issued(s.term(3_600_000)));
    let mut tries = 0;
    loop {
        tries += 1;
        let error =
            if tries % 2 == 0 { VerifyError::Unreachable { message: "down".into() } } else { refused() };
        let mut effects = s.tell(Event::VerifyFailed(G1, error));
        if effects.is_empty() {
            effects = s.next().1;
        }
        if effects == [Effect::Retire(G1)] {
            break;
        }
        assert_eq!(effects, [Effect::Verify(G1)]);
    }
    assert!(s.now < at(15_000), "{:?}", s.now);
}

#[test]
fn a_renewal_that_gives_nothing_does_not_cost_an_extended_user_its_handover() {
    let rotation = RotationSettings { jitter: 0.0, outage_grace: ms(60_000), ..RotationSettings::default() };
    let mut s = Script::new(rotation);
    s.first(s.renewable(10_000));
    let end = s.now + ms(10_000);
    let mut renewing = false;
    while !renewing || s.now < end {
        for effect in s.next().1 {
            match effect {
                Effect::Issue(_) => assert_eq!(s.tell(Event::IssueFailed(unavailable())), []),
                Effect::Renew(G1) => renewing = true,
                _ => {}
            }
        }
    }
    let nothing = s.renewable(0);
    assert_eq!(s.tell(Event::Renewed(G1, nothing)), [Effect::MoveEnd(G1, s.now + ms(10_000))]);
    assert_eq!(s.life.active(), Some(G1));
}
