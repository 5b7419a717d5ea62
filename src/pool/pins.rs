//! Clients that keep an upstream because of state that lives in one connection: who, by what, and how many
//! there may be, on all shards together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::conn::ClientId;
use super::ties::Ties;

/// A client that is refused is told of so many others.
const MOST_TOLD: usize = 10;

/// What becomes of a client with state that lives in one connection (`pin`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PinPolicy {
    /// It keeps that connection until the state is gone.
    #[default]
    Auto,
    /// The state is taken away at the end of each transaction.
    Never,
}

impl PinPolicy {
    /// As it is written in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Never => "never",
        }
    }
}

/// `pin` and `max_pinned`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinSettings {
    /// What becomes of such a client.
    pub policy: PinPolicy,
    /// The most of them.
    pub most: usize,
}

/// Clients by what ties them, each in the order of [`Ties::EACH`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PinCounts {
    /// How many are tied by it now.
    pub now: [u64; 6],
    /// How many times one came to be tied by it.
    pub total: [u64; 6],
    /// Clients that would have been one too many.
    pub refused: u64,
}

/// A client that keeps its upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinHolder {
    /// Its number.
    pub client: ClientId,
    /// Its `application_name`.
    pub application_name: String,
    /// What ties it.
    pub ties: Ties,
}

/// Clients that keep their upstream, as those are told who wait in vain or are one too many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedClients {
    /// The most there may be.
    pub most: usize,
    /// How many there are.
    pub count: usize,
    /// The first of them, by number.
    pub some: Vec<PinHolder>,
}

/// Those of one pool.
#[derive(Debug)]
pub struct Pins {
    never: AtomicBool,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    most: usize,
    holders: BTreeMap<ClientId, PinHolder>,
    total: [u64; 6],
    refused: u64,
}

impl Book {
    fn clients(&self) -> PinnedClients {
        let some = self.holders.values().take(MOST_TOLD).cloned().collect();
        PinnedClients { most: self.most, count: self.holders.len(), some }
    }

    fn count(&mut self, new: Ties) {
        for (tie, total) in Ties::EACH.into_iter().zip(&mut self.total) {
            *total = total.saturating_add(u64::from(new.has(tie)));
        }
    }
}

impl Pins {
    pub(super) fn new(settings: PinSettings) -> Arc<Self> {
        let new = Self { never: AtomicBool::new(false), book: Mutex::default() };
        new.change(settings);
        Arc::new(new)
    }

    /// Other settings from now on. Who is pinned stays so where there may be fewer; with `never` it is let go at
    /// the end of its next transaction.
    pub fn change(&self, settings: PinSettings) {
        self.book().most = settings.most;
        self.never.store(settings.policy == PinPolicy::Never, Ordering::Relaxed);
    }

    /// What becomes of a client with such state.
    #[inline]
    #[must_use]
    pub fn policy(&self) -> PinPolicy {
        if self.never.load(Ordering::Relaxed) { PinPolicy::Never } else { PinPolicy::Auto }
    }

    /// One more client that keeps its upstream, for as long as what is returned is kept.
    ///
    /// # Errors
    /// Who is pinned, if there may be no more.
    pub fn pin(self: &Arc<Self>, holder: PinHolder) -> Result<Pin, PinnedClients> {
        let mut book = self.book();
        if book.holders.len() >= book.most {
            book.refused = book.refused.saturating_add(1);
            return Err(book.clients());
        }
        let PinHolder { client, ties, .. } = holder;
        book.count(ties);
        book.holders.insert(client, holder);
        Ok(Pin { pins: self.clone(), client, ties })
    }

    /// Who is pinned.
    #[must_use]
    pub fn clients(&self) -> PinnedClients {
        self.book().clients()
    }

    /// The figures.
    #[must_use]
    pub fn counts(&self) -> PinCounts {
        let book = self.book();
        let mut now = [0_u64; 6];
        for holder in book.holders.values() {
            for (tie, count) in Ties::EACH.into_iter().zip(&mut now) {
                *count = count.saturating_add(u64::from(holder.ties.has(tie)));
            }
        }
        PinCounts { now, total: book.total, refused: book.refused }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's place among those that are pinned, given back by dropping it.
#[derive(Debug)]
pub struct Pin {
    pins: Arc<Pins>,
    client: ClientId,
    ties: Ties,
}

impl Pin {
    /// What ties it.
    #[inline]
    #[must_use]
    pub fn ties(&self) -> Ties {
        self.ties
    }

    /// It is tied by something else now.
    pub fn set(&mut self, ties: Ties) {
        let mut new = ties;
        new.remove(self.ties);
        self.ties = ties;
        let mut book = self.pins.book();
        book.count(new);
        if let Some(holder) = book.holders.get_mut(&self.client) {
            holder.ties = ties;
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.pins.book().holders.remove(&self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(most: usize) -> Arc<Pins> {
        Pins::new(PinSettings { policy: PinPolicy::Auto, most })
    }

    fn holder(client: u64, ties: Ties) -> PinHolder {
        PinHolder { client: ClientId(client), application_name: format!("a{client}"), ties }
    }

    #[test]
    fn there_are_no_more_than_may_be_and_a_place_is_free_again_once_it_is_given_back() {
        let pins = pins(2);
        let first = pins.pin(holder(1, Ties::LISTEN)).unwrap();
        let second = pins.pin(holder(2, Ties::HELD)).unwrap();
        let refused = pins.pin(holder(3, Ties::HELD)).unwrap_err();
        assert_eq!((refused.most, refused.count, refused.some.len()), (2, 2, 2));
        assert_eq!(refused.some[1], holder(2, Ties::HELD));
        drop(first);
        let third = pins.pin(holder(3, Ties::HELD)).unwrap();
        // Fewer from now on: who is there stays.
        pins.change(PinSettings { policy: PinPolicy::Never, most: 1 });
        assert_eq!(pins.policy(), PinPolicy::Never);
        assert_eq!(pins.pin(holder(4, Ties::HELD)).unwrap_err().count, 2);
        drop((second, third));
        assert_eq!(pins.counts().now, [0; 6]);
        assert_eq!(pins.counts().refused, 2);
    }

    #[test]
    fn who_is_refused_is_told_of_some_of_many() {
        let pins = pins(30);
        let all: Vec<Pin> = (1..=30).map(|n| pins.pin(holder(n, Ties::LOADED)).unwrap()).collect();
        let refused = pins.pin(holder(31, Ties::LOADED)).unwrap_err();
        assert_eq!((refused.count, refused.some.len()), (30, MOST_TOLD));
        drop(all);
    }

    #[test]
    fn each_tie_is_counted_when_it_comes() {
        let pins = pins(5);
        let mut both = Ties::LISTEN;
        both.add(Ties::TEMPORARY);
        let mut pin = pins.pin(holder(1, Ties::LISTEN)).unwrap();
        pin.set(both);
        pin.set(Ties::TEMPORARY);
        let other = pins.pin(holder(2, both)).unwrap();
        let counts = pins.counts();
        // prepared, listen, temporary, …
        assert_eq!(counts.now, [0, 1, 2, 0, 0, 0]);
        assert_eq!(counts.total, [0, 2, 2, 0, 0, 0]);
        drop((pin, other));
        assert_eq!(pins.counts().total, [0, 2, 2, 0, 0, 0]);
    }
}
