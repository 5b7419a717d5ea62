//! A server that cannot be reached, or says no to a new user.

use super::script::Script;
use super::{Effect, Event, G1, VerifyError, at, denied, ms};

#[test]
fn a_server_that_cannot_be_reached_is_not_the_new_users_fault() {
    let mut s = Script::plain();
    s.tell(Event::Start);
    s.tell(Event::Issued(s.term(3_600_000)));
    while s.now < at(600_000) {
        s.tell(Event::VerifyFailed(G1, VerifyError::Unreachable { message: "down".into() }));
        assert_eq!(s.next().1, [Effect::Verify(G1)]);
    }
    assert_eq!(s.tell(Event::Verified(G1)), [Effect::Activate(G1)]);
}

#[test]
fn who_asks_while_nobody_serves_has_the_server_asked_again_once_a_second() {
    let mut s = Script::plain();
    s.tell(Event::Start);
    s.tell(Event::Issued(s.term(3_600_000)));
    let no = || VerifyError::Unreachable { message: "no such database".into() };
    // Long enough that it would wait for some seconds by itself.
    for _ in 0..8 {
        s.tell(Event::VerifyFailed(G1, no()));
        assert_eq!(s.next().1, [Effect::Verify(G1)]);
    }
    for _ in 0..3 {
        let tried = s.now;
        s.tell(Event::VerifyFailed(G1, no()));
        // However many they are.
        for _ in 0..5 {
            assert_eq!(s.tell(Event::Wanted), []);
        }
        let (at, effects) = s.next();
        assert_eq!(effects, [Effect::Verify(G1)]);
        assert!(at <= tried + ms(1000), "{at:?}");
        // Nothing is asked twice at a time.
        assert_eq!(s.tell(Event::Wanted), []);
        assert_eq!(s.life.next_wake().map(|wake| wake > s.now), Some(true));
    }
    assert_eq!(s.tell(Event::Verified(G1)), [Effect::Activate(G1)]);
    assert_eq!(s.tell(Event::Wanted), []);
}

#[test]
fn a_source_that_said_no_is_not_asked_again_for_that() {
    let mut s = Script::plain();
    s.tell(Event::Start);
    s.tell(Event::IssueFailed(denied()));
    let wake = s.life.next_wake();
    assert_eq!(s.tell(Event::Wanted), []);
    assert_eq!(s.life.next_wake(), wake);
}
