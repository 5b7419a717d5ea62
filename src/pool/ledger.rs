//! How many connections there are and may be: plain bookkeeping.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hunger::has_more;
use super::limits::Limits;
use crate::credentials::{Generation, GenerationId};

/// What a connection is to be opened for: says how many of its generation there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// A client, or clients to come: `pool_size`.
    Usual,
    /// A client that has waited for long: the reserve beyond that.
    Reserve,
    /// Nobody yet: `min_pool_size`.
    Minimum,
}

/// Connections of one pool by generation and by shard.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: Limits,
    total: usize,
    held: Vec<usize>,
    generations: BTreeMap<GenerationId, Entry>,
}

#[derive(Debug)]
struct Entry {
    generation: Arc<Generation>,
    open: usize,
    /// Of those, the ones that shards are closing at this moment though they are good.
    leaving: usize,
}

impl Ledger {
    pub(super) fn new(limits: Limits, shards: usize) -> Self {
        Self { limits, total: 0, held: vec![0; shards], generations: BTreeMap::new() }
    }

    /// Other limits; what is beyond them stays until it goes by itself.
    pub(super) fn change(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The most of one generation.
    fn most(&self, claim: Claim) -> usize {
        let Limits { size, min_size, reserve_size, .. } = self.limits;
        match claim {
            Claim::Usual => size,
            Claim::Reserve => size.saturating_add(reserve_size),
            Claim::Minimum => min_size.min(size),
        }
    }

    /// Makes a generation known; connections may be counted for it from here on.
    pub(super) fn admit(&mut self, generation: &Arc<Generation>) {
        self.generations.entry(generation.id()).or_insert_with(|| Entry {
            generation: generation.clone(),
            open: 0,
            leaving: 0,
        });
    }

    /// A place for one more connection of this generation; `None` if a limit is reached
    /// or the generation is unknown.
    pub(super) fn take(&mut self, id: GenerationId, shard: usize, claim: Claim) -> Option<Arc<Generation>> {
        let (most, all) = (self.most(claim), self.limits.max_server_connections.max(self.limits.size));
        let entry = self.generations.get_mut(&id)?;
        if entry.open >= most || self.total >= all {
            return None;
        }
        entry.open = entry.open.saturating_add(1);
        self.total = self.total.saturating_add(1);
        if let Some(held) = self.held.get_mut(shard) {
            *held = held.saturating_add(1);
        }
        Some(entry.generation.clone())
    }

    /// Gives a place back. True if the generation has none left.
    pub(super) fn give(&mut self, id: GenerationId, shard: usize) -> bool {
        self.total = self.total.saturating_sub(1);
        if let Some(held) = self.held.get_mut(shard) {
            *held = held.saturating_sub(1);
        }
        self.generations.get_mut(&id).is_none_or(|entry| {
            entry.open = entry.open.saturating_sub(1);
            entry.open == 0
        })
    }

    /// Lets good connections of a generation go: `decide` says how many, by how many there are beside those that
    /// other shards let go at this moment. Once they are closed, [`Ledger::gone`] must be told.
    pub(super) fn dismiss(&mut self, id: GenerationId, decide: impl FnOnce(usize) -> usize) -> usize {
        let Some(entry) = self.generations.get_mut(&id) else { return 0 };
        let count = decide(entry.open.saturating_sub(entry.leaving));
        entry.leaving = entry.leaving.saturating_add(count);
        count
    }

    /// So many that were dismissed are closed.
    pub(super) fn gone(&mut self, id: GenerationId, count: usize) {
        if let Some(entry) = self.generations.get_mut(&id) {
            entry.leaving = entry.leaving.saturating_sub(count);
        }
    }

    /// A connection moved from one shard to another.
    pub(super) fn moved(&mut self, from: usize, to: usize) {
        if let Some(held) = self.held.get_mut(from) {
            *held = held.saturating_sub(1);
        }
        if let Some(held) = self.held.get_mut(to) {
            *held = held.saturating_add(1);
        }
    }

    /// Connections that a shard has.
    pub(super) fn held(&self, shard: usize) -> usize {
        self.held.get(shard).copied().unwrap_or(0)
    }

    /// Whether another shard has [more](has_more) than this one.
    pub(super) fn is_worse_off(&self, shard: usize) -> bool {
        let most = self.held.iter().max().copied().unwrap_or(0);
        has_more(most, self.held(shard))
    }

    /// Connections of a generation, those being opened included.
    pub(super) fn open(&self, id: GenerationId) -> usize {
        self.generations.get(&id).map_or(0, |entry| entry.open)
    }

    /// Whether there is no connection at all.
    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// A known generation.
    pub(super) fn generation(&self, id: GenerationId) -> Option<Arc<Generation>> {
        self.generations.get(&id).map(|entry| entry.generation.clone())
    }

    /// Forgets a generation that has no connections left.
    pub(super) fn forget(&mut self, id: GenerationId) {
        if self.open(id) == 0 {
            self.generations.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Moment;
    use crate::credentials::Login;
    use crate::secret::Secret;

    fn generation(number: u64) -> Arc<Generation> {
        let login = Login { user: format!("u{number}"), password: Secret::new("x".into()) };
        Arc::new(Generation::new(GenerationId::from_number(number), login, Moment::default()))
    }

    fn limits(size: usize, max_server_connections: usize) -> Limits {
        Limits {
            size,
            min_size: 0,
            reserve_size: 0,
            max_server_connections,
            checkout_timeout: Duration::ZERO,
            reserve_timeout: Duration::ZERO,
            server_lifetime: Duration::ZERO,
            server_idle_timeout: Duration::ZERO,
            timeouts: Default::default(),
        }
    }

    #[test]
    fn what_one_shard_lets_go_another_does_not_count_on() {
        let mut ledger = Ledger::new(limits(5, 5), 2);
        let one = generation(1);
        ledger.admit(&one);
        for shard in [0, 1, 1] {
            assert!(ledger.take(one.id(), shard, Claim::Usual).is_some());
        }
        let beyond_one = |open: usize| open - 1;
        assert_eq!(ledger.dismiss(one.id(), beyond_one), 2);
        assert_eq!(ledger.dismiss(one.id(), beyond_one), 0, "they are on their way");
        ledger.give(one.id(), 1);
        ledger.give(one.id(), 1);
        ledger.gone(one.id(), 2);
        assert_eq!(ledger.dismiss(one.id(), beyond_one), 0, "they are gone");
        assert!(ledger.take(one.id(), 0, Claim::Usual).is_some());
        assert_eq!(ledger.dismiss(one.id(), beyond_one), 1);
        assert_eq!(ledger.dismiss(GenerationId::from_number(9), beyond_one), 0, "unknown");
    }

    #[test]
    fn the_minimum_ends_below_the_size_and_the_reserve_beyond_it() {
        let mut ledger = Ledger::new(Limits { min_size: 1, reserve_size: 2, ..limits(3, 7) }, 1);
        let (one, two) = (generation(1), generation(2));
        ledger.admit(&one);
        ledger.admit(&two);
        let mut takes = |id, claim| ledger.take(id, 0, claim).is_some();
        assert!(takes(one.id(), Claim::Minimum) && !takes(one.id(), Claim::Minimum));
        assert!(takes(one.id(), Claim::Usual) && takes(one.id(), Claim::Usual));
        assert!(!takes(one.id(), Claim::Usual) && !takes(one.id(), Claim::Minimum));
        assert!(takes(one.id(), Claim::Reserve) && takes(one.id(), Claim::Reserve));
        assert!(!takes(one.id(), Claim::Reserve));
        // All together are within the maximum, whatever they are for.
        assert!(takes(two.id(), Claim::Minimum) && takes(two.id(), Claim::Reserve));
        assert!(!takes(two.id(), Claim::Usual) && !takes(two.id(), Claim::Reserve));
    }

    #[test]
    fn a_generation_stays_within_the_size_and_all_within_the_maximum() {
        let mut ledger = Ledger::new(limits(2, 3), 2);
        let (one, two) = (generation(1), generation(2));
        assert!(ledger.take(one.id(), 0, Claim::Usual).is_none(), "unknown");
        ledger.admit(&one);
        ledger.admit(&two);
        assert!(ledger.take(one.id(), 0, Claim::Usual).is_some());
        assert!(ledger.take(one.id(), 1, Claim::Usual).is_some());
        assert!(ledger.take(one.id(), 1, Claim::Usual).is_none(), "size");
        assert!(ledger.take(two.id(), 1, Claim::Usual).is_some());
        assert!(ledger.take(two.id(), 1, Claim::Usual).is_none(), "maximum");
        assert_eq!((ledger.held(0), ledger.held(1), ledger.total), (1, 2, 3));
        assert!(!ledger.is_worse_off(0), "one more is no reason");
        ledger.moved(1, 0);
        assert_eq!((ledger.held(0), ledger.held(1)), (2, 1));
        assert!(!ledger.give(one.id(), 0));
        assert!(ledger.give(one.id(), 0), "drained");
        ledger.forget(one.id());
        assert!(ledger.generation(one.id()).is_none());
        ledger.change(limits(3, 9));
        assert!(
            ledger.take(two.id(), 1, Claim::Usual).is_some()
                && ledger.take(two.id(), 1, Claim::Usual).is_some()
        );
        assert!(ledger.take(two.id(), 1, Claim::Usual).is_none(), "the new size");
        ledger.change(limits(1, 1));
        assert_eq!(ledger.total, 3, "nothing is taken away");
        ledger.forget(two.id());
        assert!(ledger.generation(two.id()).is_some(), "still open");
    }
}
