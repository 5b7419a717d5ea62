//! One issued user, as everything outside the keeper sees it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Moment;
use crate::secret::Secret;

/// Numbers generations of one pool, from 1, never reused while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(u64);

impl GenerationId {
    /// The first generation of a pool.
    pub const FIRST: Self = Self(1);

    /// The id with this number.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number, for logs and tables.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The id after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What PostgreSQL asks for: both halves from one answer of the source.
#[derive(Debug, Clone)]
pub struct Login {
    /// The database user's name, as pg_roles has it.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// A generation as the pool holds it: stamped on a connection together with the
/// credential, before the connection is dialled.
#[derive(Debug)]
pub struct Generation {
    id: GenerationId,
    login: Login,
    end: AtomicU64,
}

impl Generation {
    /// A generation whose user ends at `end` (already min(lease, token)).
    #[must_use]
    pub fn new(id: GenerationId, login: Login, end: Moment) -> Self {
        Self { id, login, end: AtomicU64::new(end.as_nanos()) }
    }

    /// Which one of its pool this is.
    #[must_use]
    pub fn id(&self) -> GenerationId {
        self.id
    }

    /// User and password.
    #[must_use]
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// When the user ends: nothing is sent with it afterwards. A renewal moves it, and so
    /// does `outage_grace`.
    #[must_use]
    pub fn end(&self) -> Moment {
        Moment::from_nanos(self.end.load(Ordering::Acquire))
    }

    /// A renewal moved the end.
    pub fn set_end(&self, end: Moment) {
        self.end.store(end.as_nanos(), Ordering::Release);
    }
}
