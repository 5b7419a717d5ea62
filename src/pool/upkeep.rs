//! What a pool does of itself, by the ticker: which connections close now, and how many are opened
//! that nobody has to wait for. Numbers in, numbers out.

use std::time::Duration;

use super::limits::Limits;

/// By which part of `server_lifetime` connections may end early, so that those opened together do not end together.
const SPREAD: f64 = 0.1;

/// By how much a connection is older than it may become; `fraction` (0 to 1) is its own part of the spread.
pub(super) fn overdue(age: Duration, limits: &Limits, fraction: f64) -> Option<Duration> {
    if limits.server_lifetime.is_zero() {
        return None;
    }
    age.checked_sub(limits.server_lifetime.mul_f64(1.0 - SPREAD * fraction.clamp(0.0, 1.0)))
}

/// How long after one connection has come of age the next one of the shard may: a pool takes a tenth of
/// `server_lifetime` to be replaced, even if all of it is overdue at once.
pub(super) fn pace(limits: &Limits) -> Duration {
    let size = u32::try_from(limits.size.max(1)).unwrap_or(u32::MAX);
    limits.server_lifetime.mul_f64(SPREAD).checked_div(size).unwrap_or_default()
}

/// How many of the idle connections close now, those that were idle longest. `idle_for`: how long each was,
/// the longest first; `open`: connections of the active generation over all shards; `waited_for`: some client waits.
pub(super) fn spare(
    idle_for: impl Iterator<Item = Duration>,
    open: usize,
    waited_for: bool,
    limits: &Limits,
) -> usize {
    let (mut idle, mut expired) = (0_usize, 0_usize);
    for span in idle_for {
        idle = idle.saturating_add(1);
        if !limits.server_idle_timeout.is_zero() && span >= limits.server_idle_timeout {
            expired = expired.saturating_add(1);
        }
    }
    let beyond_size = if waited_for { 0 } else { open.saturating_sub(limits.size) };
    let expired = expired.min(open.saturating_sub(limits.min_size));
    expired.max(beyond_size).min(idle)
}

/// How many connections of the reserve a shard asks for: `overdue` of its clients have waited for
/// `reserve_pool_timeout`, and so many are being dialled already.
pub(super) fn from_reserve(overdue: usize, dialling: usize, limits: &Limits) -> usize {
    overdue.saturating_sub(dialling).min(limits.reserve_size)
}

/// How many connections a shard opens so that there are `min_pool_size`: one at a time, and none while its
/// clients wait, for those have theirs opened.
pub(super) fn to_minimum(open: usize, waiting: usize, dialling: usize, limits: &Limits) -> usize {
    usize::from(open < limits.min_size && waiting == 0 && dialling == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            size: 5,
            min_size: 2,
            reserve_size: 3,
            max_server_connections: 16,
            checkout_timeout: Duration::from_secs(30),
            reserve_timeout: Duration::from_secs(5),
            server_lifetime: Duration::from_secs(1000),
            server_idle_timeout: Duration::from_secs(60),
            timeouts: Default::default(),
        }
    }

    #[test]
    fn each_connection_comes_of_age_at_its_own_time_in_the_last_tenth() {
        let of_age = |age: u64, fraction| overdue(Duration::from_secs(age), &limits(), fraction);
        for (age, fraction, expected) in [
            (0, 0.0, None),
            (999, 0.0, None),
            (1000, 0.0, Some(0)),
            (1010, 0.0, Some(10)),
            (949, 0.5, None),
            (950, 0.5, Some(0)),
            (899, 1.0, None),
            (900, 1.0, Some(0)),
            (899, 7.0, None),
        ] {
            assert_eq!(of_age(age, fraction), expected.map(Duration::from_secs), "{age} {fraction}");
        }
        let for_ever = Limits { server_lifetime: Duration::ZERO, ..limits() };
        assert_eq!(overdue(Duration::MAX, &for_ever, 0.5), None);
        assert_eq!(pace(&limits()), Duration::from_secs(20));
        assert_eq!(pace(&Limits { size: 0, ..limits() }), Duration::from_secs(100));
    }

    #[test]
    fn what_was_idle_for_long_closes_down_to_the_minimum_and_what_is_beyond_the_size_at_once() {
        for (idle_for, open, waited_for, expected) in [
            (&[][..], 0, false, 0),
            (&[59, 3], 5, false, 0),
            (&[60, 3], 5, false, 1),
            (&[90, 80, 70], 5, false, 3),
            // Others are busy or on another shard: all together count.
            (&[90, 80, 70], 3, false, 1),
            (&[90, 80], 2, false, 0),
            (&[90], 1, false, 0),
            // The reserve, given up once nobody waits.
            (&[0, 0], 7, false, 2),
            (&[0], 7, false, 1),
            (&[0, 0], 7, true, 0),
            (&[], 8, false, 0),
            (&[61, 60, 0], 6, false, 2),
        ] {
            let spans = idle_for.iter().map(|seconds| Duration::from_secs(*seconds));
            assert_eq!(
                spare(spans, open, waited_for, &limits()),
                expected,
                "{idle_for:?} {open} {waited_for}"
            );
        }
        let never = Limits { server_idle_timeout: Duration::ZERO, ..limits() };
        assert_eq!(spare([Duration::MAX; 5].into_iter(), 5, false, &never), 0);
    }

    #[test]
    fn the_reserve_is_for_those_who_waited_long_and_have_no_dial_yet() {
        for (overdue, dialling, expected) in
            [(0, 0, 0), (1, 0, 1), (1, 1, 0), (3, 1, 2), (9, 1, 3), (0, 2, 0)]
        {
            assert_eq!(from_reserve(overdue, dialling, &limits()), expected, "{overdue} {dialling}");
        }
        assert_eq!(from_reserve(9, 0, &Limits { reserve_size: 0, ..limits() }), 0);
    }

    #[test]
    fn the_minimum_is_opened_one_by_one_when_nobody_waits() {
        for (open, waiting, dialling, expected) in
            [(0, 0, 0, 1), (1, 0, 0, 1), (2, 0, 0, 0), (9, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0)]
        {
            assert_eq!(
                to_minimum(open, waiting, dialling, &limits()),
                expected,
                "{open} {waiting} {dialling}"
            );
        }
    }
}
