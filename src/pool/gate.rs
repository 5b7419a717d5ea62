//! What every checkout reads: which generation serves, whether the pool is paused, and from when
//! on a connection must have been opened. One word, so that a checkout loads it once.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::credentials::GenerationId;

const PAUSED: u64 = 1 << 63;
/// One step of the era, and the bits that it has.
const ERA: u64 = 1 << 48;
const ERAS: u64 = PAUSED - ERA;
/// The generation's number; 0: none.
const NUMBER: u64 = ERA - 1;

/// RECONNECT begins another one: connections of an earlier era are not handed out any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Era(u64);

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing(u64);

impl Standing {
    /// The generation whose connections clients get; none while paused.
    #[inline]
    pub(super) fn serving(self) -> Option<GenerationId> {
        if self.is_paused() { None } else { self.chosen() }
    }

    /// The active generation, paused or not.
    #[inline]
    pub(super) fn chosen(self) -> Option<GenerationId> {
        match self.0 & NUMBER {
            0 => None,
            number => Some(GenerationId::from_number(number)),
        }
    }

    #[inline]
    pub(super) fn is_paused(self) -> bool {
        self.0 & PAUSED != 0
    }

    pub(super) fn era(self) -> Era {
        Era(self.0 & ERAS)
    }

    /// Whether a connection of this generation and era may go to a client.
    pub(super) fn hands_out(self, generation: GenerationId, era: Era) -> bool {
        self.serving() == Some(generation) && self.era() == era
    }
}

/// The word.
#[derive(Debug, Default)]
pub(super) struct Gate(AtomicU64);

impl Gate {
    #[inline]
    pub(super) fn read(&self) -> Standing {
        Standing(self.0.load(Ordering::Acquire))
    }

    /// Another generation is active, or none.
    pub(super) fn choose(&self, id: Option<GenerationId>) {
        let number = id.map_or(0, GenerationId::number) & NUMBER;
        self.change(|word| (word & !NUMBER) | number);
    }

    /// None is active if this one was.
    pub(super) fn unchoose(&self, id: GenerationId) {
        self.change(|word| if Standing(word).chosen() == Some(id) { word & !NUMBER } else { word });
    }

    /// False if it was paused.
    pub(super) fn pause(&self) -> bool {
        self.0.fetch_or(PAUSED, Ordering::AcqRel) & PAUSED == 0
    }

    /// False if it was not paused.
    pub(super) fn resume(&self) -> bool {
        self.0.fetch_and(!PAUSED, Ordering::AcqRel) & PAUSED != 0
    }

    /// What is open by now is of an earlier era.
    pub(super) fn begin_era(&self) {
        self.change(|word| (word & !ERAS) | (word.wrapping_add(ERA) & ERAS));
    }

    fn change(&self, to: impl Fn(u64) -> u64) {
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| Some(to(word)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_hides_the_generation_and_keeps_it() {
        let gate = Gate::default();
        let (one, two) = (GenerationId::FIRST, GenerationId::FIRST.next());
        assert_eq!((gate.read().serving(), gate.read().chosen()), (None, None));
        gate.choose(Some(one));
        assert_eq!(gate.read().serving(), Some(one));
        assert!(gate.pause() && !gate.pause());
        assert_eq!((gate.read().serving(), gate.read().chosen()), (None, Some(one)));
        // Rotations go on behind a pause.
        gate.choose(Some(two));
        gate.unchoose(one);
        assert!(gate.read().is_paused());
        assert!(gate.resume() && !gate.resume());
        assert_eq!(gate.read().serving(), Some(two));
        gate.unchoose(two);
        assert_eq!(gate.read().serving(), None);
    }

    #[test]
    fn another_era_makes_connections_old_and_touches_nothing_else() {
        let gate = Gate::default();
        let id = GenerationId::from_number(7);
        gate.choose(Some(id));
        let before = gate.read().era();
        assert!(gate.read().hands_out(id, before));
        assert!(!gate.read().hands_out(id.next(), before));
        gate.begin_era();
        assert!(!gate.read().hands_out(id, before));
        assert!(gate.read().hands_out(id, gate.read().era()));
        gate.pause();
        assert!(!gate.read().hands_out(id, gate.read().era()));
        // It comes round without a carry into the pause.
        for _ in 0..(1 << 15) {
            gate.begin_era();
        }
        assert_eq!((gate.read().chosen(), gate.read().is_paused()), (Some(id), true));
        gate.resume();
        for _ in 0..(1 << 15) {
            gate.begin_era();
        }
        assert_eq!(gate.read().serving(), Some(id));
    }
}
