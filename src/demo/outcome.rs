//! How the demo ended.

use std::fmt;
use std::time::Duration;

use super::view::grouped;

/// The sum of one demo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How long the load ran.
    pub elapsed: Duration,
    /// How often one user took over from another.
    pub swaps: u64,
    /// Transactions that the server committed.
    pub transactions: u64,
    /// Statements and transactions that failed, and such as pgbench counted but the server does not have.
    pub failures: u64,
    /// What pgbench said when it ended before its time.
    pub died: Option<String>,
    /// Users that the proxy made and did not remove.
    pub left_behind: Vec<String>,
}

impl Outcome {
    /// Whether nothing failed and nothing was left.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failures == 0 && self.died.is_none() && self.left_behind.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |n: u64, noun: &str| {
            let number = grouped(f64::from(u32::try_from(n).unwrap_or(u32::MAX)));
            format!("{number} {noun}{}", if n == 1 { "" } else { "s" })
        };
        write!(
            f,
            "{} s: {}, {}, {}; ",
            self.elapsed.as_secs(),
            count(self.swaps, "swap"),
            count(self.transactions, "transaction"),
            count(self.failures, "failure")
        )?;
        match self.left_behind.as_slice() {
            [] => write!(f, "no user was left behind")?,
            users => write!(f, "LEFT BEHIND: {}", users.join(", "))?,
        }
        self.died.as_ref().map_or(Ok(()), |text| write!(f, "; pgbench ended early: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_tells_what_counts() {
        let good = Outcome {
            elapsed: Duration::from_secs(60),
            swaps: 4,
            transactions: 71_234,
            ..Outcome::default()
        };
        assert!(good.is_good());
        assert_eq!(
            good.to_string(),
            "60 s: 4 swaps, 71,234 transactions, 0 failures; no user was left behind"
        );
        let bad =
            Outcome { failures: 1, left_behind: vec!["v-a".into()], died: Some("exit 2".into()), ..good };
        assert!(!bad.is_good());
        assert_eq!(
            bad.to_string(),
            "60 s: 4 swaps, 71,234 transactions, 1 failure; LEFT BEHIND: v-a; pgbench ended early: exit 2"
        );
    }
}
