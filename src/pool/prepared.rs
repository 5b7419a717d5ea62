//! Which statements one connection has prepared, for all clients together.

use std::collections::HashMap;

/// What a connection has prepared under names of our own, and for whom its unnamed statement stands.
#[derive(Debug, Default)]
pub struct Prepared {
    statements: HashMap<u64, Place>,
    /// The unnamed statement, by the number its client gave it.
    pub unnamed: Option<u64>,
    /// Counts checkouts.
    turn: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    version: u32,
    used: u64,
}

impl Prepared {
    /// Another client has it: what it uses from now on is in use.
    pub fn begin(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// Whether a statement is there in this version; if so, it is in use.
    pub fn touch(&mut self, id: u64, version: u32) -> bool {
        match self.statements.get_mut(&id) {
            Some(place) if place.version == version => {
                place.used = self.turn;
                true
            }
            _ => false,
        }
    }

    /// Whether it is there in any version.
    #[must_use]
    pub fn has(&self, id: u64) -> bool {
        self.statements.contains_key(&id)
    }

    /// How many there are, the unnamed one apart.
    pub(super) fn len(&self) -> usize {
        self.statements.len()
    }

    /// It is prepared, and in use.
    pub fn insert(&mut self, id: u64, version: u32) {
        self.statements.insert(id, Place { version, used: self.turn });
    }

    /// It is gone; the version that was there.
    pub fn remove(&mut self, id: u64) -> Option<u32> {
        self.statements.remove(&id).map(|place| place.version)
    }

    /// All are gone, the unnamed one too.
    pub fn clear(&mut self) {
        self.statements.clear();
        self.unnamed = None;
    }

    /// The one that has not been used for the longest time, if there are `most` or more; never
    /// one that is in use.
    pub fn evict(&mut self, most: usize) -> Option<(u64, u32)> {
        if self.statements.len() < most {
            return None;
        }
        let (id, place) = self.statements.iter().min_by_key(|(_, place)| place.used)?;
        let (id, place) = (*id, *place);
        if place.used == self.turn {
            return None;
        }
        self.statements.remove(&id);
        Some((id, place.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_never_one_in_use() {
        let mut prepared = Prepared::default();
        for id in 1..=3 {
            prepared.begin();
            prepared.insert(id, 0);
        }
        prepared.begin();
        assert!(prepared.touch(1, 0));
        assert_eq!(prepared.evict(4), None);
        assert_eq!(prepared.evict(3), Some((2, 0)));
        assert_eq!(prepared.evict(1), Some((3, 0)));
        assert_eq!((prepared.evict(1), prepared.statements.len()), (None, 1));
    }

    #[test]
    fn another_version_is_not_it() {
        let mut prepared = Prepared::default();
        prepared.insert(1, 0);
        assert!(!prepared.touch(1, 1) && prepared.has(1));
    }
}
