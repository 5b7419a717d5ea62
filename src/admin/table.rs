//! Rows and columns, before anything is encoded.

use std::time::{SystemTime, UNIX_EPOCH};

/// A column's type, in PostgreSQL's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `int8`.
    Int8,
    /// `float8`.
    Float8,
    /// `text`.
    Text,
    /// `timestamptz`.
    Timestamptz,
}

impl Kind {
    /// The name of the type.
    #[cfg(test)]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Float8 => "float8",
            Self::Text => "text",
            Self::Timestamptz => "timestamptz",
        }
    }
}

/// One column: its name, its type, and what it means (the text of `docs/console.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    /// What it is called.
    pub(super) name: &'static str,
    /// What its values are.
    pub(super) kind: Kind,
    /// What it tells.
    #[cfg_attr(not(test), allow(dead_code))] // read by the test that compares the documentation
    pub(super) meaning: &'static str,
}

/// A column.
pub(super) const fn column(name: &'static str, kind: Kind, meaning: &'static str) -> Column {
    Column { name, kind, meaning }
}

/// One value, of its column's type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// `int8`, or NULL.
    Int(Option<i64>),
    /// `float8`, or NULL.
    Float(Option<f64>),
    /// `text`, or NULL.
    Text(Option<String>),
    /// `timestamptz`, or NULL.
    Time(Option<SystemTime>),
}

impl Value {
    /// A text that is there.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(Some(text.into()))
    }

    /// A count; one that int8 cannot hold is its largest.
    pub(super) fn count(count: impl TryInto<i64>) -> Self {
        Self::Int(Some(count.try_into().unwrap_or(i64::MAX)))
    }
}

/// What a statement answers with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    /// The columns.
    pub(super) columns: &'static [Column],
    /// The rows, each with one value for each column.
    pub(super) rows: Vec<Vec<Value>>,
}

/// Microseconds since 2000-01-01 00:00 UTC, which is timestamptz in binary.
pub(super) fn postgres_micros(time: SystemTime) -> i64 {
    const EPOCH: i64 = 946_684_800_000_000;
    unix_micros(time).saturating_sub(EPOCH)
}

/// As PostgreSQL writes a timestamptz with `DateStyle` ISO and `TimeZone` UTC.
pub(super) fn timestamp_text(time: SystemTime) -> String {
    const DAY: i64 = 86_400_000_000;
    let micros = unix_micros(time);
    let (year, month, day) = civil(micros.div_euclid(DAY));
    let of_day = micros.rem_euclid(DAY);
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if fraction != 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text + "+00"
}

fn unix_micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, i64::saturating_neg),
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar
/// (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that the leap day is a year's last.
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_postgres_writes_them() {
        let cases = [
            (0, "1970-01-01 00:00:00+00"),
            (946_684_800_000_000, "2000-01-01 00:00:00+00"),
            (951_782_400_000_000, "2000-02-29 00:00:00+00"),
            (951_868_799_999_999, "2000-02-29 23:59:59.999999+00"),
            (4_107_542_400_000_000, "2100-03-01 00:00:00+00"),
            (1_798_761_599_120_000, "2026-12-31 23:59:59.12+00"),
        ];
        for (micros, expected) in cases {
            assert_eq!(timestamp_text(UNIX_EPOCH + Duration::from_micros(micros)), expected);
        }
        assert_eq!(timestamp_text(UNIX_EPOCH - Duration::from_secs(1)), "1969-12-31 23:59:59+00");
    }

    #[test]
    fn binary_times_count_from_the_year_2000() {
        assert_eq!(postgres_micros(UNIX_EPOCH + Duration::from_secs(946_684_801)), 1_000_000);
        assert_eq!(postgres_micros(UNIX_EPOCH), -946_684_800_000_000);
    }
}
