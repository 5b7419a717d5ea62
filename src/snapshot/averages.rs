//! Averages over the latest period that is complete: two samples of the totals, and what lies between.

use std::time::Duration;

use crate::clock::Moment;
use crate::pool::PoolCounts;

/// The totals of every database at one moment, in the order of their indices.
#[derive(Debug, Clone)]
struct Sample {
    at: Moment,
    totals: Vec<PoolCounts>,
}

/// The latest samples.
#[derive(Debug, Default)]
pub(super) struct Samples {
    older: Option<Sample>,
    newer: Option<Sample>,
}

impl Samples {
    /// Takes another one in.
    pub(super) fn add(&mut self, at: Moment, totals: Vec<PoolCounts>) {
        self.older = self.newer.replace(Sample { at, totals });
    }

    /// What lies between the latest two; `None` while there are none.
    pub(super) fn period(&self) -> Option<Period> {
        let (older, newer) = (self.older.as_ref()?, self.newer.as_ref()?);
        let totals = older.totals.iter().zip(&newer.totals);
        let grown = totals.map(|(before, after)| Grown::between(before, after)).collect();
        Some(Period { length: older.at.until(newer.at), grown })
    }
}

/// A period that is complete.
#[derive(Debug, Clone)]
pub struct Period {
    length: Duration,
    grown: Vec<Grown>,
}

/// By how much a database's totals grew.
#[derive(Debug, Clone, Copy, Default)]
struct Grown {
    checkouts: u64,
    transactions: u64,
    queries: u64,
    from_clients: u64,
    from_servers: u64,
    query_time: Duration,
    transaction_time: Duration,
    client_parses: u64,
    server_parses: u64,
    binds: u64,
    waits: u64,
    waited: Duration,
}

impl Grown {
    fn between(before: &PoolCounts, after: &PoolCounts) -> Self {
        Self {
            checkouts: after.checkouts.saturating_sub(before.checkouts),
            transactions: after.transactions.saturating_sub(before.transactions),
            queries: after.queries.saturating_sub(before.queries),
            from_clients: after.from_clients.saturating_sub(before.from_clients),
            from_servers: after.from_servers.saturating_sub(before.from_servers),
            query_time: after.query_time.saturating_sub(before.query_time),
            transaction_time: after.transaction_time.saturating_sub(before.transaction_time),
            client_parses: after.client_parses.saturating_sub(before.client_parses),
            server_parses: after.server_parses.saturating_sub(before.server_parses),
            binds: after.binds.saturating_sub(before.binds),
            waits: after.waits.count().saturating_sub(before.waits.count()),
            waited: after.waits.sum().saturating_sub(before.waits.sum()),
        }
    }
}

/// Averages of one database: whole numbers a second, times in whole microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Connections handed to clients.
    pub checkouts: u64,
    /// Transactions finished.
    pub transactions: u64,
    /// Queries answered.
    pub queries: u64,
    /// Bytes that came from clients.
    pub from_clients: u64,
    /// Bytes that came from the server for them.
    pub from_servers: u64,
    /// How long a transaction was open; 0 if there was none.
    pub transaction_micros: u64,
    /// How long the server worked on a query; 0 if there was none.
    pub query_micros: u64,
    /// Parse messages of clients.
    pub client_parses: u64,
    /// Statements that servers prepared for clients.
    pub server_parses: u64,
    /// Bind messages of clients.
    pub binds: u64,
    /// How long a client that had to wait and got a connection did so; 0 if none had to.
    pub wait_micros: u64,
}

impl Period {
    /// The averages of the database with this index.
    #[must_use]
    pub fn rates(&self, index: usize) -> Rates {
        let grown = self.grown.get(index).copied().unwrap_or_default();
        let per_second = |count: u64| over(u128::from(count).saturating_mul(1000), self.length.as_millis());
        Rates {
            checkouts: per_second(grown.checkouts),
            transactions: per_second(grown.transactions),
            queries: per_second(grown.queries),
            from_clients: per_second(grown.from_clients),
            from_servers: per_second(grown.from_servers),
            transaction_micros: over(grown.transaction_time.as_micros(), u128::from(grown.transactions)),
            query_micros: over(grown.query_time.as_micros(), u128::from(grown.queries)),
            client_parses: per_second(grown.client_parses),
            server_parses: per_second(grown.server_parses),
            binds: per_second(grown.binds),
            wait_micros: over(grown.waited.as_micros(), u128::from(grown.waits)),
        }
    }
}

/// A whole quotient; 0 of nothing.
fn over(sum: u128, parts: u128) -> u64 {
    u64::try_from(sum.checked_div(parts).unwrap_or(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Histogram;

    fn second(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    fn totals(n: u64, waits: &[u64]) -> PoolCounts {
        let mut histogram = Histogram::default();
        waits.iter().for_each(|micros| histogram.observe(Duration::from_micros(*micros)));
        PoolCounts {
            checkouts: n,
            transactions: 2 * n,
            queries: 3 * n,
            from_clients: 10 * n,
            from_servers: 100 * n,
            query_time: Duration::from_micros(60 * n),
            transaction_time: Duration::from_micros(50 * n),
            client_parses: 4 * n,
            server_parses: n,
            binds: 5 * n,
            waits: histogram,
            ..PoolCounts::default()
        }
    }

    #[test]
    fn averages_are_those_between_the_latest_two_samples() {
        let mut samples = Samples::default();
        assert!(samples.period().is_none());
        samples.add(second(10), vec![totals(7, &[50])]);
        assert!(samples.period().is_none(), "one sample is no period");
        samples.add(second(70), vec![totals(67, &[50, 100, 300])]);
        let first = Rates {
            checkouts: 1,
            transactions: 2,
            queries: 3,
            from_clients: 10,
            from_servers: 100,
            transaction_micros: 25,
            query_micros: 20,
            client_parses: 4,
            server_parses: 1,
            binds: 5,
            wait_micros: 200,
        };
        assert_eq!(samples.period().unwrap().rates(0), first);
        // A sample that came late counts for as long as it took.
        samples.add(second(190), vec![totals(67 + 1200, &[50, 100, 300])]);
        let rates = samples.period().unwrap().rates(0);
        assert_eq!((rates.checkouts, rates.queries, rates.wait_micros), (10, 30, 0));
    }

    #[test]
    fn what_is_not_there_or_shrank_is_nothing() {
        let mut samples = Samples::default();
        samples.add(second(1), vec![totals(9, &[9])]);
        samples.add(second(1), vec![totals(3, &[])]);
        let period = samples.period().unwrap();
        assert_eq!((period.rates(0), period.rates(1)), (Rates::default(), Rates::default()));
    }
}
