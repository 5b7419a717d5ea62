//! What the client that holds a connection has it do, and since when: for the times of SHOW STATS, and
//! for timeouts.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use super::timeouts::Doing;

/// Since when the holder's transaction is open, and the server at work for it.
///
/// A transaction begins with the first message after the end of the one before, and ends with the
/// ReadyForQuery that says so; the server is at work from a message that finds nothing owed to the
/// ReadyForQuery that leaves nothing owed.
#[derive(Debug, Default)]
pub(super) struct Activity {
    transaction: Cell<Option<Instant>>,
    query: Cell<Option<Instant>>,
    /// Since when there is nothing to do, as far as somebody looked.
    idle: Cell<Option<Instant>>,
}

/// How long something took that is over now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spent {
    /// The server worked, since this was last asked.
    pub(super) query: Duration,
    /// The transaction, if it ended.
    pub(super) transaction: Duration,
}

impl Activity {
    /// Another holder, or none.
    pub(super) fn reset(&self) {
        self.transaction.set(None);
        self.query.set(None);
        self.idle.set(None);
    }

    /// Whether the server is at work.
    #[inline]
    pub(super) fn is_at_work(&self) -> bool {
        self.query.get().is_some()
    }

    /// The server has got something to do.
    #[inline]
    pub(super) fn begins(&self, now: Instant) {
        if self.query.get().is_none() {
            self.query.set(Some(now));
            self.idle.set(None);
        }
        if self.transaction.get().is_none() {
            self.transaction.set(Some(now));
        }
    }

    /// What a bound may be for. Who was never seen with nothing to do has nothing to do from now on.
    pub(super) fn doing(&self, now: Instant) -> Doing {
        if self.query.get().is_none() && self.idle.get().is_none() {
            self.idle.set(Some(now));
        }
        Doing { transaction: self.transaction.get(), query: self.query.get(), idle: self.idle.get() }
    }

    /// The server said ReadyForQuery. `ends`: it left no transaction open; `more`: it has more to do.
    #[inline]
    pub(super) fn answered(&self, now: Instant, ends: bool, more: bool) -> Spent {
        let since =
            |begun: Option<Instant>| begun.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.idle.set((!more).then_some(now));
        let next = more.then_some(now);
        let query_began = self.query.replace(next);
        let query = since(query_began);
        if !ends {
            return Spent { query, ..Spent::default() };
        }
        let began = self.transaction.replace(next);
        Spent { query, transaction: if began == query_began { query } else { since(began) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `q`: a message finds nothing owed; `i`, `t`: ReadyForQuery in and out of a transaction; upper case: more is
    /// owed; a digit: so many milliseconds pass. The milliseconds that queries and transactions took.
    fn play(script: &str) -> (u128, u128) {
        let activity = Activity::default();
        let (mut now, mut total) = (Instant::now(), Spent::default());
        for event in script.chars() {
            match event {
                'q' => activity.begins(now),
                'i' | 'I' | 't' | 'T' => {
                    let ends = event.eq_ignore_ascii_case(&'i');
                    let spent = activity.answered(now, ends, event.is_ascii_uppercase());
                    total.query += spent.query;
                    total.transaction += spent.transaction;
                }
                '/' => activity.reset(),
                pause => now += Duration::from_millis(u64::from(pause.to_digit(10).unwrap())),
            }
        }
        (total.query.as_millis(), total.transaction.as_millis())
    }

    #[test]
    fn idle_is_who_has_nothing_to_do_from_the_moment_on_that_it_is_seen() {
        let activity = Activity::default();
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        assert_eq!(activity.doing(first).idle, Some(first));
        assert_eq!(activity.doing(second), Doing { idle: Some(first), ..Doing::default() });
        activity.begins(second);
        let busy = Doing { transaction: Some(second), query: Some(second), idle: None };
        assert_eq!(activity.doing(second), busy);
        activity.answered(second, false, false);
        assert_eq!(activity.doing(second), Doing { query: None, idle: Some(second), ..busy });
        activity.reset();
        assert_eq!(activity.doing(first).idle, Some(first));
    }

    #[test]
    fn a_query_lasts_while_something_is_owed_and_a_transaction_up_to_its_end() {
        for (script, query, transaction) in [
            ("5q3i5", 3, 3),
            ("q3i9q2i", 5, 5),
            // In a transaction, idle in between.
            ("q1t5q2t4q3i", 6, 15),
            // A pipeline: each transaction begins where the one before ended.
            ("q3I2I4i", 9, 9),
            // A pipeline within a transaction.
            ("q3T2t4q1i", 6, 10),
            // What is written behind what is under way begins nothing.
            ("q3q2i", 5, 5),
            // An answer that nobody asked for.
            ("5i", 0, 0),
            // Another holder, before the end.
            ("q5t7/q1i", 6, 1),
        ] {
            assert_eq!(play(script), (query, transaction), "{script}");
        }
    }
}
