//! Times and rates as people read them.

use std::time::Duration;

/// A time in its two largest units: `42s`, `9m 05s`, `2h 05m`, `3d 04h`.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d {:02}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h {:02}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m {:02}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

/// A wait, most of which are short: `50ms`, `2.5s`, then as [`span`].
pub(super) fn wait(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{}ms", time.as_millis())
    } else if time < Duration::from_secs(10) {
        let text = format!("{:.1}", time.as_secs_f64());
        format!("{}s", text.strip_suffix(".0").unwrap_or(&text))
    } else {
        span(time)
    }
}

/// So many a second.
pub(super) fn rate(per_second: f64) -> String {
    if per_second == 0.0 || per_second >= 100.0 {
        format!("{per_second:.0}")
    } else {
        format!("{per_second:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units_and_rates_few_digits() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (545, "9m 05s"), (7_500, "2h 05m"), (273_600, "3d 04h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
        for (millis, expected) in [(50, "50ms"), (1_000, "1s"), (2_500, "2.5s"), (61_000, "1m 01s")] {
            assert_eq!(wait(Duration::from_millis(millis)), expected);
        }
        for (number, expected) in [(0.0, "0"), (0.52, "0.5"), (12_345.6, "12346")] {
            assert_eq!(rate(number), expected);
        }
    }
}
