//! Renew or rotate: `rotation.renew` by scripts of events.

use super::{G1, G2, Script, at, denied, ms, unavailable};
use crate::clock::Moment;
use crate::credentials::generation::GenerationId;
use crate::credentials::life::{Effect, Event};
use crate::credentials::settings::{RenewPolicy, RotationSettings};
use crate::credentials::source::{SourceError, Term};

fn script(renew: RenewPolicy) -> Script {
    Script::new(RotationSettings { jitter: 0.0, renew, ..RotationSettings::default() })
}

/// What a role with this default_ttl and max_ttl grants a user that was made at `born`, under a token
/// that can be renewed for `token` at a time up to `token_max`.
#[derive(Debug, Clone, Copy)]
struct Caps {
    lease: u64,
    max: u64,
    token: u64,
    token_max: u64,
}

impl Caps {
    fn term(self, born: Moment, now: Moment) -> Term {
        let left = |most: u64| now.until(born + ms(most));
        let token = ms(self.token).min(left(self.token_max));
        let lease = ms(self.lease).min(left(self.max));
        Term { sent: now, lease, token_end: Some(now + token), renewable: true }
    }
}

/// Serves from a source that always answers, until the second user is asked for: after how many
/// renewals of the first, when, and how long that one still had then.
fn first_turn(s: &mut Script, caps: Caps) -> (u32, u64, u64) {
    let born = s.now;
    let mut end = caps.term(born, born).end();
    s.first(caps.term(born, born));
    let mut renewals = 0;
    let mut effects = s.next().1;
    while effects.contains(&Effect::Renew(G1)) {
        renewals += 1;
        let term = caps.term(born, s.now);
        end = term.end();
        effects = s.tell(Event::Renewed(G1, term));
        assert_eq!(effects.first(), Some(&Effect::MoveEnd(G1, end)));
        if effects.len() == 1 {
            effects = s.next().1;
        }
    }
    assert_eq!(effects.last(), Some(&Effect::Issue(G2)), "{effects:?}");
    let millis = |from: Moment, to: Moment| u64::try_from(from.until(to).as_millis()).unwrap();
    (renewals, millis(born, s.now), millis(s.now, end))
}

#[test]
fn until_max_serves_as_long_as_full_lives_are_granted_and_leaves_the_next_user_its_time() {
    let hour = 3_600_000;
    let plain = Caps { lease: 6_000, max: 30_000, token: hour, token_max: hour };
    let rows = [
        // (policy, caps, renewals, the next user asked for after, with this left of the first)
        (RenewPolicy::WhileDraining, plain, 0, 4_200, 1_800),
        (RenewPolicy::Never, plain, 0, 4_200, 1_800),
        // At 25.2 s Vault grants 4.8 s, less than the 6 s before.
        (RenewPolicy::UntilMax, plain, 6, 28_200, 1_800),
        // The first renewal gives nothing.
        (RenewPolicy::UntilMax, Caps { max: 6_000, ..plain }, 1, 4_200, 1_800),
        (RenewPolicy::UntilMax, Caps { max: 8_000, ..plain }, 1, 6_200, 1_800),
        // The token is what ends it.
        (RenewPolicy::UntilMax, Caps { token_max: 12_000, ..plain }, 2, 10_200, 1_800),
        (RenewPolicy::UntilMax, Caps { token: 2_000, token_max: 4_000, ..plain }, 2, 3_400, 600),
        (RenewPolicy::UntilMax, Caps { lease: hour, max: 3 * hour, ..plain }, 1, 2_520_000, 1_080_000),
        (RenewPolicy::WhileDraining, Caps { token: 2_000, ..plain }, 0, 1_400, 600),
    ];
    for (policy, caps, renewals, after, left) in rows {
        let found = first_turn(&mut script(policy), caps);
        let near = |a: u64, b: u64| a.abs_diff(b) <= 2;
        assert!(
            found.0 == renewals && near(found.1, after) && near(found.2, left),
            "{policy:?} {caps:?}: {found:?}"
        );
    }
}

#[test]
fn without_an_end_to_it_a_user_serves_for_ever() {
    let mut s = script(RenewPolicy::UntilMax);
    s.first(s.renewable(8_000));
    for _ in 0..1_000 {
        let (_, effects) = s.next();
        assert_eq!(effects, [Effect::Renew(G1)], "at {:?}", s.now);
        let term = s.renewable(8_000);
        s.tell(Event::Renewed(G1, term));
    }
    assert_eq!(s.life.active(), Some(G1));
}

#[test]
fn a_lease_that_cannot_be_renewed_is_rotated_at_its_share() {
    let mut s = script(RenewPolicy::UntilMax);
    s.first(s.term(10_000));
    assert_eq!(s.next(), (at(8_000), vec![Effect::Issue(G2)]));
}

#[test]
fn a_renewal_that_fails_or_hangs_brings_the_next_user() {
    let gone = || SourceError::Gone { message: "lease not found".into() };
    for error in [unavailable, denied, gone] {
        let mut s = script(RenewPolicy::UntilMax);
        s.first(s.renewable(10_000));
        assert_eq!(s.next(), (at(8_000), vec![Effect::Renew(G1)]));
        assert_eq!(s.tell(Event::RenewFailed(G1, error())), [Effect::Issue(G2)]);
    }
    let mut s = script(RenewPolicy::UntilMax);
    s.first(s.renewable(10_000));
    assert_eq!(s.next().1, [Effect::Renew(G1)]);
    assert_eq!(s.next(), (at(9_000), vec![Effect::Issue(G2)]), "half-way to the last checkout");
}

#[test]
fn a_renewal_that_comes_through_after_an_outage_calls_the_next_user_off() {
    let mut s = script(RenewPolicy::UntilMax);
    s.first(s.renewable(60_000));
    assert_eq!(s.next().1, [Effect::Renew(G1)]);
    assert_eq!(s.tell(Event::RenewFailed(G1, unavailable())), [Effect::Issue(G2)]);
    assert_eq!(s.tell(Event::IssueFailed(unavailable())), []);
    while s.next().1 != [Effect::Renew(G1)] {
        s.tell(Event::IssueFailed(unavailable()));
    }
    let renewed = s.now;
    s.tell(Event::Renewed(G1, s.renewable(60_000)));
    assert_eq!(s.next(), (renewed + ms(42_000), vec![Effect::Renew(G1)]));
}

#[test]
fn failing_renewals_do_not_cut_a_backoff_short() {
    let mut s = script(RenewPolicy::UntilMax);
    s.first(s.renewable(3_600_000));
    let (mut issues, end) = (0, s.now + ms(3_590_000));
    while s.now < end {
        for effect in s.next().1 {
            match effect {
                Effect::Renew(G1) => {
                    let asked = s.tell(Event::RenewFailed(G1, unavailable()));
                    issues += asked.iter().filter(|effect| matches!(effect, Effect::Issue(_))).count();
                    if !asked.is_empty() {
                        s.tell(Event::IssueFailed(denied()));
                    }
                }
                Effect::Issue(_) => {
                    issues += 1;
                    s.tell(Event::IssueFailed(denied()));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((3..30).contains(&issues), "{issues}");
}

#[test]
fn what_was_asked_for_meanwhile_is_not_called_off() {
    for event in [Event::Rotate, Event::SourceChanged] {
        let mut s = script(RenewPolicy::UntilMax);
        s.first(s.renewable(10_000));
        assert_eq!(s.next().1, [Effect::Renew(G1)]);
        assert_eq!(s.tell(event), [Effect::Issue(G2)]);
        s.tell(Event::Renewed(G1, s.renewable(10_000)));
        s.tell(Event::Issued(s.renewable(10_000)));
        s.tell(Event::Verified(G2));
        assert_eq!(s.tell(Event::Warmed(G2)), [Effect::Activate(G2), Effect::Retire(G1)]);
    }
}

#[test]
fn never_renews_neither_what_drains_nor_what_is_late() {
    let mut s = script(RenewPolicy::Never);
    s.first(s.renewable(10_000));
    s.second(Script::renewable_minute);
    assert_eq!(s.next().1, [Effect::CancelBusy(G1)]);
    assert!(matches!(s.next().1.as_slice(), [Effect::Cut(G1, _)]));
    s.tell(Event::Drained(G1));
    s.tell(Event::Revoked(G1));
    let mut closed = false;
    while !closed {
        for effect in s.next().1 {
            match effect {
                Effect::Issue(_) => assert_eq!(s.tell(Event::IssueFailed(unavailable())), []),
                Effect::Deactivate(id) => closed = id == GenerationId::from_number(2),
                Effect::Renew(id) => panic!("renewed {id}"),
                _ => {}
            }
        }
    }
}
