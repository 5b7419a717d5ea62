//! Bounds on what a client does with its upstream, looked after by each shard's ticker.

use std::time::Duration;

use tokio::time::Instant;

/// Bounds that are zero do not hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeoutSettings {
    /// How long the server may work on what a client asked for.
    pub query: Duration,
    /// How long a transaction may be open.
    pub transaction: Duration,
    /// How long a client may say nothing in a transaction.
    pub idle_transaction: Duration,
    /// How long a client may say nothing outside one.
    pub client_idle: Duration,
}

/// The bound that a client went beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// `query_timeout`.
    Query,
    /// `transaction_timeout`.
    Transaction,
    /// `idle_transaction_timeout`.
    IdleTransaction,
    /// `client_idle_timeout`.
    ClientIdle,
}

/// What a client does: since when its transaction is open, the server works for it, it has said nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Doing {
    pub(super) transaction: Option<Instant>,
    pub(super) query: Option<Instant>,
    pub(super) idle: Option<Instant>,
}

impl TimeoutSettings {
    /// Whether there is nothing to look after.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a client without a transaction is silent for too long.
    #[must_use]
    pub fn is_idle_for_long(&self, since: Instant, now: Instant) -> bool {
        over(self.client_idle, Some(since), now)
    }

    pub(super) fn overdue(&self, doing: Doing, now: Instant) -> Option<Overdue> {
        if over(self.query, doing.query, now) {
            Some(Overdue::Query)
        } else if over(self.transaction, doing.transaction, now) {
            Some(Overdue::Transaction)
        } else if doing.query.is_some() {
            None
        } else if doing.transaction.is_some() {
            over(self.idle_transaction, doing.idle, now).then_some(Overdue::IdleTransaction)
        } else {
            over(self.client_idle, doing.idle, now).then_some(Overdue::ClientIdle)
        }
    }
}

fn over(bound: Duration, since: Option<Instant>, now: Instant) -> bool {
    !bound.is_zero() && since.is_some_and(|since| now.saturating_duration_since(since) >= bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bound_that_does_not_hold_is_told() {
        let seconds = Duration::from_secs;
        let all = TimeoutSettings {
            query: seconds(5),
            transaction: seconds(20),
            idle_transaction: seconds(3),
            client_idle: seconds(9),
        };
        let now = Instant::now() + seconds(1000);
        let ago = |n: Option<u64>| n.map(|n| now - seconds(n));
        for (transaction, query, idle, expected) in [
            (None, None, None, None),
            (None, None, Some(8), None),
            (None, None, Some(9), Some(Overdue::ClientIdle)),
            (Some(4), None, Some(2), None),
            (Some(4), None, Some(3), Some(Overdue::IdleTransaction)),
            (Some(20), None, Some(1), Some(Overdue::Transaction)),
            (Some(20), Some(1), None, Some(Overdue::Transaction)),
            (Some(5), Some(5), None, Some(Overdue::Query)),
            // Who is served is not idle, whatever was noted before.
            (Some(4), Some(4), Some(100), None),
        ] {
            let doing = Doing { transaction: ago(transaction), query: ago(query), idle: ago(idle) };
            assert_eq!(all.overdue(doing, now), expected, "{transaction:?} {query:?} {idle:?}");
            assert_eq!(TimeoutSettings::default().overdue(doing, now), None);
        }
        assert!(TimeoutSettings::default().is_none() && !all.is_none());
        assert!(all.is_idle_for_long(now - seconds(9), now) && !all.is_idle_for_long(now - seconds(8), now));
    }
}
