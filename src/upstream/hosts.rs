//! Which of several hosts is tried first: what is remembered of them, with `now` passed in.

use std::time::Duration;

use tokio::time::Instant;

/// A host that could not be reached is tried after the others for so long.
const LATELY: Duration = Duration::from_secs(10);

/// What the dials of one pool have learned of its hosts.
#[derive(Debug)]
pub(super) struct Hosts {
    /// The one that took a connection last.
    fitted: usize,
    /// When each could not be reached, if not since.
    failed: Vec<Option<Instant>>,
}

impl Hosts {
    pub(super) fn new(count: usize) -> Self {
        Self { fitted: 0, failed: vec![None; count] }
    }

    /// The one that new connections go to, as far as is known.
    pub(super) fn fitted(&self) -> usize {
        self.fitted
    }

    /// In which order they are tried: the one that fitted last, then as they are written; those that
    /// could not be reached lately come at the end.
    pub(super) fn order(&self, now: Instant) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.failed.len()).collect();
        order.sort_by_key(|host| (self.failed_lately(*host, now), *host != self.fitted));
        order
    }

    pub(super) fn failed_lately(&self, host: usize, now: Instant) -> bool {
        let failed = self.failed.get(host).copied().flatten();
        failed.is_some_and(|at| now.saturating_duration_since(at) < LATELY)
    }

    /// It took a connection. True if another one did before.
    pub(super) fn note_fitted(&mut self, host: usize) -> bool {
        self.note_answered(host);
        std::mem::replace(&mut self.fitted, host) != host
    }

    /// It is there.
    pub(super) fn note_answered(&mut self, host: usize) {
        if let Some(failed) = self.failed.get_mut(host) {
            *failed = None;
        }
    }

    /// It could not be reached.
    pub(super) fn note_failed(&mut self, host: usize, now: Instant) {
        if let Some(failed) = self.failed.get_mut(host) {
            *failed = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_fitted_last_comes_first_and_the_unreachable_last() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut hosts = Hosts::new(3);
        assert_eq!(hosts.order(at(0)), [0, 1, 2]);
        assert!(!hosts.note_fitted(0));
        assert!(hosts.note_fitted(2));
        assert_eq!((hosts.order(at(0)), hosts.fitted()), (vec![2, 0, 1], 2));
        hosts.note_failed(2, at(1));
        hosts.note_failed(0, at(2));
        assert_eq!(hosts.order(at(2)), [1, 2, 0]);
        hosts.note_fitted(1);
        assert_eq!(hosts.order(at(10)), [1, 0, 2]);
        // Nobody holds it against them for ever.
        assert_eq!(hosts.order(at(11)), [1, 2, 0]);
        assert_eq!(hosts.order(at(12)), [1, 0, 2]);
        hosts.note_failed(1, at(20));
        assert_eq!(hosts.order(at(20)), [0, 2, 1]);
        hosts.note_answered(1);
        assert_eq!(hosts.order(at(20)), [1, 0, 2]);
        // None can be reached: as they were.
        (0..3).for_each(|host| hosts.note_failed(host, at(30)));
        assert_eq!(hosts.order(at(30)), [1, 0, 2]);
    }
}
