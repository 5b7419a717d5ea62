//! When things are due: pure functions of moments, settings, what went wrong
//! so far, and a random fraction that the caller draws.
//!
//! A *fraction* is a number in `[0, 1)`. Nothing here reads a clock, keeps
//! state or knows what a generation is; [`super::life`] does.

use std::time::Duration;

use super::settings::RotationSettings;
use super::source::SourceError;
use crate::clock::Moment;

/// The least time between two calls of one kind, whatever else says so.
pub(crate) const GAP: Duration = Duration::from_millis(200);

/// The latest share of a life at which the next user is asked for: before
/// [`Deadline::close`], which is never earlier than nine tenths.
const LATEST_ROTATION: f64 = 0.85;
const EARLIEST_ROTATION: f64 = 0.02;

/// How long before a close the waits between tries, a minute at most and a quarter of what is left,
/// begin to shrink: four of the longest.
const TIGHT: Duration = Duration::from_secs(240);

/// The longest that is kept free before an end.
const LONGEST_MARGIN: Duration = Duration::from_secs(5);

/// What kind of failure a call met: decides how long the next one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The source could not be reached or was busy.
    Unavailable,
    /// The source gave a user that PostgreSQL would not let in.
    Refused,
    /// The source refused us, or an operator must change something: every
    /// further try may count against us (AppRole locks out after five bad
    /// logins within 15 minutes, for every client of that role id).
    Denied,
}

impl From<&SourceError> for Trouble {
    fn from(error: &SourceError) -> Self {
        match error {
            SourceError::Unavailable { .. } => Self::Unavailable,
            SourceError::Denied { .. } | SourceError::Misconfigured { .. } | SourceError::Gone { .. } => {
                Self::Denied
            }
        }
    }
}

/// How fast the waits of one kind of failure grow, and how far.
struct Pace {
    first: Duration,
    longest: Duration,
    shortest: Duration,
}

impl Trouble {
    const fn pace(self, have_user: bool) -> Pace {
        const fn pace(first_ms: u64, longest_s: u64, shortest_ms: u64) -> Pace {
            Pace {
                first: Duration::from_millis(first_ms),
                longest: Duration::from_secs(longest_s),
                shortest: Duration::from_millis(shortest_ms),
            }
        }
        match (self, have_user) {
            (Self::Unavailable, true) => pace(1_000, 60, 200),
            (Self::Unavailable, false) => pace(500, 3, 200),
            (Self::Refused, true) => pace(2_000, 300, 500),
            (Self::Refused, false) => pace(500, 30, 200),
            (Self::Denied, true) => pace(120_000, 1_200, 1_000),
            (Self::Denied, false) => pace(5_000, 30, 2_500),
        }
    }
}

/// When to ask for the next user: [`RotationSettings::at`] of the life from
/// `sent` to `end`, moved by up to half of the jitter to either side.
pub(crate) fn rotate_at(sent: Moment, end: Moment, rotation: &RotationSettings, fraction: f64) -> Moment {
    let share = rotation.at + rotation.jitter * (fraction - 0.5);
    let share = if share.is_finite() { share } else { RotationSettings::default().at };
    part(sent, end, share.clamp(EARLIEST_ROTATION, LATEST_ROTATION))
}

/// From when on a user that serves and has no successor is nearer to its end than the retries allow
/// for: half of the time is gone that they have between the latest rotation and `close`, and the waits
/// between them shrink because the end is near.
pub(crate) fn late_from(sent: Moment, end: Moment, close: Moment, rotation: &RotationSettings) -> Moment {
    let asked = rotate_at(sent, end, rotation, 1.0).min(close);
    (asked + asked.until(close) / 2).max(close - TIGHT)
}

/// When to ask for more time for a user that is still needed: late enough
/// that one which drains quickly costs no call, with room for a second try.
pub(crate) fn renew_at(sent: Moment, end: Moment) -> Moment {
    part(sent, end, 0.8)
}

/// Whether a renewal moved the end so far that another one is worth a call.
/// Near max_ttl and under a token that ends, answers stop growing.
pub(crate) fn grew(before: Moment, after: Moment, sent: Moment) -> bool {
    let gained = before.until(after);
    gained >= GAP && gained >= sent.until(after) / 20
}

/// Whether the answer to a renewal, asked for at `sent`, gives about as much as the `longest` before.
/// Near max_ttl and the token's cap it does not: the next would give less still.
pub(crate) fn is_full(longest: Duration, sent: Moment, end: Moment) -> bool {
    sent.until(end) >= longest * 9 / 10
}

/// When the next user is asked for although a renewal was, at `renew_at`, and has no answer yet.
pub(crate) fn issue_unanswered_at(renew_at: Moment, close: Moment) -> Moment {
    renew_at + renew_at.until(close) / 2
}

/// How long to wait after the `failures`-th failure in a row (from 1).
///
/// `left` is the time until the user that serves now must stop, `None` if
/// none serves. Exponential backoff with jitter (full for failures that pass
/// by themselves, half for the others), of which one wait takes at most a
/// quarter of what is left (half after a denial), so that several tries
/// remain, and never more than all of it. `asked` is the source's Retry-After: the wait is at least
/// that, as far as half of what is left allows (a minute with no user).
pub(crate) fn retry_in(
    trouble: Trouble,
    failures: u32,
    left: Option<Duration>,
    asked: Option<Duration>,
    fraction: f64,
) -> Duration {
    let pace = trouble.pace(left.is_some());
    let doubled =
        pace.first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let parts = if trouble == Trouble::Denied { 2 } else { 4 };
    let ceiling = doubled.min(pace.longest).min(left.map_or(Duration::MAX, |left| left / parts));
    let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.5 };
    let share = match trouble {
        Trouble::Unavailable => fraction,
        Trouble::Refused | Trouble::Denied => 0.5 + fraction / 2.0,
    };
    let wait = ceiling.mul_f64(share).max(pace.shortest);
    let asked = asked.unwrap_or_default().min(left.map_or(Duration::from_secs(60), |left| left / 2));
    let wait = wait.max(asked);
    left.map_or(wait, |left| wait.min(left)).max(Duration::from_millis(1))
}

/// What happens to a generation as its end comes near, in this order, all of
/// it before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    /// No more checkouts. What runs may finish.
    pub(crate) close: Moment,
    /// A CancelRequest for what still runs.
    pub(crate) cancel: Moment,
    /// FATAL and close for what is left.
    pub(crate) cut: Moment,
}

impl Deadline {
    /// Before `end`, of a user that was granted `term` at a time: a tenth of
    /// that, at most five seconds, is kept free. Not a share of the whole life,
    /// which grows with every renewal until it leaves none for the next.
    pub(crate) fn of_lease(term: Duration, end: Moment) -> Self {
        let margin = (term / 10).min(LONGEST_MARGIN);
        Self { close: end - margin, cancel: end - margin * 3 / 4, cut: end - margin / 2 }
    }

    /// After `grace` from `since`: what a revoked user's connections get.
    pub(crate) fn of_grace(since: Moment, grace: Duration) -> Self {
        Self { close: since, cancel: since + grace * 9 / 10, cut: since + grace }
    }

    /// `timeout` after `since` the cancel, and a little later the cut: the bound of a drain.
    pub(crate) fn of_drain(since: Moment, timeout: Duration) -> Self {
        let grace = (timeout / 10).clamp(GAP, LONGEST_MARGIN);
        Self { close: since, cancel: since + timeout, cut: since + timeout + grace }
    }

    /// Of a stop that began at `since` and must be over at `by`: a quarter of
    /// the time, at most five seconds, stays for revoking.
    pub(crate) fn of_shutdown(since: Moment, by: Moment) -> Self {
        let reserve = (since.until(by) / 4).min(LONGEST_MARGIN);
        let cut = by - reserve;
        Self { close: since, cancel: since.max(cut - reserve / 2), cut }
    }
}

/// How long to go on trying to log in with a new user that is refused (replay
/// lag, pg_hba, a missing grant) before another one is asked for. Short while
/// nobody serves, growing with every user that was refused.
pub(crate) fn verify_patience(life: Duration, have_user: bool, refused: u32) -> Duration {
    let patience = (life / 4).min(Duration::from_secs(15));
    if have_user {
        return patience;
    }
    patience.min(Duration::from_secs(1).saturating_mul(1_u32.checked_shl(refused).unwrap_or(u32::MAX)))
}

/// How long opening connections ahead may delay the switch: a tenth of what
/// the serving user has left, at most two seconds; not at all if none serves.
pub(crate) fn warm_patience(left: Option<Duration>) -> Duration {
    left.map_or(Duration::ZERO, |left| (left / 10).min(Duration::from_secs(2)))
}

fn part(from: Moment, to: Moment, share: f64) -> Moment {
    from + from.until(to).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn rotation_is_due_at_its_share_of_the_life_spread_by_jitter() {
        let rows = [
            // (at, jitter, fraction, life in ms, due in ms)
            (0.7, 0.1, 0.5, 8_000, 5_600),
            (0.7, 0.1, 0.0, 8_000, 5_200),
            (0.7, 0.1, 1.0, 8_000, 6_000),
            (0.7, 0.0, 0.9, 3_600_000, 2_520_000),
            (0.99, 0.0, 0.0, 10_000, 8_500),
            (0.1, 0.9, 0.0, 10_000, 200),
            (f64::NAN, 0.1, 0.5, 10_000, 7_000),
        ];
        for (share, jitter, fraction, life, due) in rows {
            let rotation = RotationSettings { at: share, jitter, ..RotationSettings::default() };
            let found = rotate_at(at(1_000), at(1_000 + life), &rotation, fraction);
            let off = found.since(at(1_000 + due)) + at(1_000 + due).since(found);
            assert!(off < Duration::from_millis(1), "{share} {jitter} {fraction} {life}: {found:?}");
        }
    }

    #[test]
    fn a_user_is_late_once_half_of_the_time_for_retries_is_gone_or_four_long_waits_are_left() {
        let rows = [
            // (at, jitter, life, close, late from), in seconds
            (0.7, 0.1, 100, 90, 82),
            (0.3, 0.0, 100, 90, 60),
            (0.99, 0.0, 100, 90, 87),
            (0.7, 0.1, 3_600, 3_595, 3_355),
            (0.7, 0.1, 86_400, 86_395, 86_155),
            // outage_grace: the close is later than the end.
            (0.7, 0.1, 100, 190, 132),
            // Nothing is left.
            (0.7, 0.1, 100, 10, 10),
        ];
        for (share, jitter, life, close, late) in rows {
            let rotation = RotationSettings { at: share, jitter, ..RotationSettings::default() };
            let found = late_from(at(5_000), at(5_000) + s(life), at(5_000) + s(close), &rotation);
            let off = found.since(at(5_000) + s(late)) + (at(5_000) + s(late)).since(found);
            assert!(off < s(1), "{share} {jitter} {life} {close}: {found:?}");
        }
    }

    #[test]
    fn retries_stretch_within_their_caps() {
        let rows = [
            // (trouble, failures, left, asked, fraction, wait in ms)
            (Trouble::Unavailable, 1, None, None, 1.0, 500),
            (Trouble::Unavailable, 2, None, None, 1.0, 1_000),
            (Trouble::Unavailable, 99, None, None, 1.0, 3_000),
            (Trouble::Unavailable, 99, None, None, 0.0, 200),
            (Trouble::Denied, 1, None, None, 0.0, 2_500),
            (Trouble::Denied, 1, None, None, 1.0, 5_000),
            (Trouble::Denied, 99, None, None, 1.0, 30_000),
            (Trouble::Denied, 1, Some(s(3600)), None, 1.0, 120_000),
            (Trouble::Denied, 9, Some(s(360_000)), None, 1.0, 1_200_000),
            (Trouble::Unavailable, 1, Some(s(1000)), None, 1.0, 1_000),
            (Trouble::Unavailable, 30, Some(s(1000)), None, 1.0, 60_000),
            (Trouble::Unavailable, 30, Some(s(8)), None, 1.0, 2_000),
            (Trouble::Unavailable, 30, Some(Duration::from_millis(100)), None, 1.0, 100),
            (Trouble::Unavailable, 30, Some(Duration::ZERO), None, 1.0, 1),
            (Trouble::Unavailable, 1, Some(s(1000)), Some(s(30)), 0.0, 30_000),
            (Trouble::Unavailable, 1, Some(s(20)), Some(s(30)), 0.0, 10_000),
            (Trouble::Unavailable, 1, None, Some(s(3600)), 0.0, 60_000),
        ];
        for (trouble, failures, left, asked, fraction, wait) in rows {
            let found = retry_in(trouble, failures, left, asked, fraction);
            assert_eq!(found.as_millis(), wait, "{trouble:?} {failures} {left:?} {asked:?} {fraction}");
        }
    }

    #[test]
    fn several_tries_remain_before_the_end_and_none_is_scheduled_after_it() {
        for trouble in [Trouble::Unavailable, Trouble::Refused, Trouble::Denied] {
            for life in [s(8), s(60), s(3600), s(86_400)] {
                for fraction in [0.0, 0.5, 1.0] {
                    let mut left = life * 2 / 10;
                    let mut tries = 0;
                    while left > Duration::ZERO {
                        tries += 1;
                        let wait = retry_in(trouble, tries, Some(left), None, fraction);
                        assert!(wait <= left);
                        assert!(wait >= GAP.min(left));
                        left -= wait;
                    }
                    let least = if trouble == Trouble::Denied && life <= s(8) { 2 } else { 3 };
                    assert!(tries >= least, "{trouble:?} {life:?} {fraction}: {tries}");
                    assert!(trouble != Trouble::Denied || tries < 60, "{life:?} {tries}");
                }
            }
        }
    }

    #[test]
    fn a_deadline_is_in_order_and_before_the_end() {
        let rows = [(8_000, 7_200, 7_400, 7_600), (3_600_000, 3_595_000, 3_596_250, 3_597_500), (0, 0, 0, 0)];
        for (end, close, cancel, cut) in rows {
            let found = Deadline::of_lease(Duration::from_millis(end), at(end));
            assert_eq!(found, Deadline { close: at(close), cancel: at(cancel), cut: at(cut) }, "{end}");
        }
        let stop = Deadline::of_shutdown(at(1_000), at(9_000));
        assert_eq!(stop, Deadline { close: at(1_000), cancel: at(6_000), cut: at(7_000) });
        let revoked = Deadline::of_grace(at(1_000), s(5));
        assert_eq!(revoked, Deadline { close: at(1_000), cancel: at(5_500), cut: at(6_000) });
        let drain = Deadline::of_drain(at(0), s(10));
        assert_eq!(drain, Deadline { close: at(0), cancel: at(10_000), cut: at(11_000) });
    }

    #[test]
    fn an_answer_that_stops_growing_is_the_last_one() {
        assert!(grew(at(8_000), at(14_400), at(6_400)));
        assert!(!grew(at(8_000), at(8_100), at(6_400)));
        assert!(!grew(at(30_000), at(30_000), at(29_000)));
        assert!(!grew(at(30_000), at(20_000), at(12_000)));
    }

    #[test]
    fn an_answer_that_gives_less_than_before_is_not_full() {
        for (longest, given, full) in [
            (6_000, 6_000, true),
            (6_000, 5_400, true),
            (6_000, 5_399, false),
            (6_000, 0, false),
            (0, 0, true),
        ] {
            let found = is_full(Duration::from_millis(longest), at(9_000), at(9_000 + given));
            assert_eq!(found, full, "{longest} {given}");
        }
        assert_eq!(issue_unanswered_at(at(4_200), at(5_400)), at(4_800));
        assert_eq!(issue_unanswered_at(at(5_400), at(5_000)), at(5_400));
    }

    #[test]
    fn a_refused_user_gets_less_patience_while_nobody_serves() {
        assert_eq!(verify_patience(s(3600), true, 0), s(15));
        assert_eq!(verify_patience(s(8), true, 0), s(2));
        assert_eq!(verify_patience(s(3600), false, 0), s(1));
        assert_eq!(verify_patience(s(3600), false, 2), s(4));
        assert_eq!(verify_patience(s(3600), false, 40), s(15));
        assert_eq!(warm_patience(Some(s(8))), Duration::from_millis(800));
        assert_eq!(warm_patience(Some(s(800))), s(2));
        assert_eq!(warm_patience(None), Duration::ZERO);
    }
}
