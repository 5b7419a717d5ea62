//! Kinds of state that PostgreSQL keeps in one connection: what ties a client to its upstream.

use std::fmt;

/// Kinds of state that live in one connection; each is a bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ties(u8);

impl Ties {
    /// `PREPARE` in SQL.
    pub const PREPARED: Self = Self(1);
    /// `LISTEN`.
    pub const LISTEN: Self = Self(2);
    /// Temporary tables.
    pub const TEMPORARY: Self = Self(4);
    /// Session advisory locks.
    pub const ADVISORY: Self = Self(8);
    /// Cursors `WITH HOLD`.
    pub const HELD: Self = Self(16);
    /// `LOAD`: nothing takes a library out of its connection again.
    pub const LOADED: Self = Self(32);
    /// All of them.
    pub const EACH: [Self; 6] =
        [Self::PREPARED, Self::LISTEN, Self::TEMPORARY, Self::ADVISORY, Self::HELD, Self::LOADED];
    /// Those that the server can be asked for.
    pub const ASKED: [Self; 5] = [Self::PREPARED, Self::LISTEN, Self::TEMPORARY, Self::ADVISORY, Self::HELD];
    /// Their names, in the same order.
    pub const NAMES: [&'static str; 6] =
        ["prepared", "listen", "temporary", "advisory_lock", "held_cursor", "loaded"];

    /// No state at all.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether some of the other is in it.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The other, too.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Without the other.
    pub fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Each by its name, as people read it.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        Self::EACH
            .into_iter()
            .zip(Self::NAMES)
            .filter_map(|(tie, name)| self.has(tie).then_some(name))
            .collect()
    }
}

/// Their names with commas between them.
impl fmt::Display for Ties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(", "))
    }
}
