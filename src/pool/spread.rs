//! A change of users that clients do not feel: the connections of the coming user are opened one after the
//! other, and those of the one before it closed a few at a time, as each costs the server's machine a process.

use std::time::Duration;

/// How often each shard looks after its part of each pool.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// The longest pause between two connections that are opened ahead of a switch.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// This part of what the old user has left is taken for opening, one of so many.
const TO_OPEN: u32 = 3;
/// And this for closing.
const TO_CLOSE: u32 = 3;
/// Within so many ticks all idle connections of a replaced user are closed.
const MOST_TICKS: u32 = 20;

/// The pause behind each of `count` connections that are opened for a coming user, while the one before it
/// has so much left.
pub(super) fn pause(count: usize, left: Duration) -> Duration {
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    (left / TO_OPEN / count).min(LONGEST_PAUSE)
}

/// How many of `count` idle connections of a replaced user are closed at each tick, while it has so much left.
pub(super) fn batch(count: usize, left: Duration) -> usize {
    let ticks = (left / TO_CLOSE).as_millis() / TICK.as_millis();
    let ticks = u32::try_from(ticks).unwrap_or(u32::MAX).clamp(1, MOST_TICKS);
    count.div_ceil(usize::try_from(ticks).unwrap_or(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn opening_takes_a_third_of_what_is_left_at_most() {
        for (count, left, expected) in [
            (20, seconds(3600), 50),
            (100, seconds(3600), 50),
            (20, seconds(2), 33),
            (100, seconds(2), 6),
            (20, Duration::ZERO, 0),
            (0, seconds(1), 50),
        ] {
            assert_eq!(pause(count, left).as_millis(), expected, "{count} {left:?}");
        }
    }

    #[test]
    fn closing_takes_two_seconds_or_a_third_of_what_is_left() {
        for (count, left, expected) in [
            (20, seconds(3600), 1),
            (100, seconds(3600), 5),
            (101, seconds(3600), 6),
            (3, seconds(3600), 1),
            (20, seconds(4), 2),
            (20, seconds(1), 7),
            (20, Duration::ZERO, 20),
        ] {
            assert_eq!(batch(count, left), expected, "{count} {left:?}");
        }
    }
}
