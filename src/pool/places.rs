//! The queue of waiting clients: first come, first served, by profile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::pins::PinnedClients;
use super::profile::Profile;
use crate::wire::ErrorFields;

/// Why a client got no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckoutError {
    /// `checkout_timeout` ran out.
    #[error("no upstream within checkout_timeout ({} s)", .waited.as_secs_f64())]
    Timeout {
        /// How long it waited.
        waited: Duration,
        /// What stood in the way last, if anything but other clients.
        trouble: Option<String>,
        /// Who keeps connections of the pool.
        pinned: Box<PinnedClients>,
    },
    /// The server refused the client's own startup parameters.
    #[error("{}", .0.message)]
    Refused(Box<ErrorFields>),
}

/// A queue of places, each wanting a connection with one profile. `P` is how
/// the owner of a place is reached.
#[derive(Debug)]
pub(super) struct Places<P> {
    queue: VecDeque<Place<P>>,
    next: u64,
}

#[derive(Debug)]
struct Place<P> {
    ticket: u64,
    key: Arc<Profile>,
    since: Instant,
    owner: P,
}

impl<P> Place<P> {
    fn waited(&self, now: Instant, from: Option<Instant>) -> Duration {
        now.saturating_duration_since(from.map_or(self.since, |from| self.since.max(from)))
    }
}

impl<P> Default for Places<P> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), next: 0 }
    }
}

impl<P> Places<P> {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The oldest place's ticket.
    pub(super) fn first(&self) -> Option<u64> {
        self.queue.front().map(|place| place.ticket)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How long the oldest has waited.
    pub(super) fn longest_wait(&self, now: Instant) -> Option<Duration> {
        self.queue.front().map(|place| now.saturating_duration_since(place.since))
    }

    /// Queues up; the ticket takes the place back with [`Places::leave`].
    pub(super) fn join(&mut self, key: Arc<Profile>, now: Instant, owner: P) -> u64 {
        let ticket = self.next;
        self.next = self.next.wrapping_add(1);
        self.queue.push_back(Place { ticket, key, since: now, owner });
        ticket
    }

    pub(super) fn leave(&mut self, ticket: u64) {
        if let Some(at) = self.queue.iter().position(|place| place.ticket == ticket) {
            self.queue.remove(at);
        }
    }

    /// The oldest that wants this profile.
    pub(super) fn serve(&mut self, key: &Arc<Profile>) -> Option<P> {
        let fits = |place: &Place<P>| Arc::ptr_eq(&place.key, key) || place.key == *key;
        let at = self.queue.iter().position(fits)?;
        self.queue.remove(at).map(|place| place.owner)
    }

    /// What the `nth` place wants: the profile to dial for when `nth` dials are under way.
    pub(super) fn wanted(&self, nth: usize) -> Option<Arc<Profile>> {
        self.queue.get(nth).map(|place| place.key.clone())
    }

    /// How many have waited for `limit`; no wait counts before `from`.
    pub(super) fn waiting_for(&self, now: Instant, limit: Duration, from: Option<Instant>) -> usize {
        self.queue.iter().take_while(|place| place.waited(now, from) >= limit).count()
    }

    /// Those who have waited for longer than `limit`, oldest first; no wait counts before `from`.
    pub(super) fn expired(
        &mut self,
        now: Instant,
        limit: Duration,
        from: Option<Instant>,
    ) -> Vec<(P, Duration)> {
        let mut out = Vec::new();
        while let Some(place) = self.queue.front() {
            let waited = place.waited(now, from);
            if waited < limit {
                break;
            }
            out.extend(self.queue.pop_front().map(|place| (place.owner, waited)));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str) -> Arc<Profile> {
        Arc::new(Profile::new([("application_name".to_owned(), name.to_owned())]))
    }

    #[test]
    fn the_oldest_with_the_profile_is_served_first() {
        let (a, b) = (profile("a"), profile("b"));
        let mut places = Places::default();
        places.join(a.clone(), Instant::now(), 1);
        let second = places.join(b.clone(), Instant::now(), 2);
        places.join(b.clone(), Instant::now(), 3);
        assert_eq!(places.wanted(1), Some(b.clone()));
        places.leave(second);
        assert_eq!(places.serve(&b), Some(3));
        assert_eq!(places.serve(&b), None);
        // An equal profile of another shard is the same profile.
        assert_eq!(places.serve(&profile("a")), Some(1));
        assert!(places.is_empty());
    }

    #[test]
    fn only_those_past_the_limit_expire() {
        let mut places = Places::default();
        let start = Instant::now();
        places.join(profile("a"), start, 1);
        places.join(profile("a"), start + Duration::from_secs(2), 2);
        // Paused until a second ago.
        let (now, limit) = (start + Duration::from_secs(3), Duration::from_secs(3));
        assert_eq!(places.expired(now, limit, Some(start + Duration::from_secs(2))), []);
        let waiting = |limit, from| places.waiting_for(now, Duration::from_secs(limit), from);
        assert_eq!((waiting(0, None), waiting(1, None), waiting(2, None), waiting(4, None)), (2, 2, 1, 0));
        assert_eq!(waiting(2, Some(now)), 0);
        let expired = places.expired(now, limit, None);
        assert_eq!(expired, [(1, Duration::from_secs(3))]);
        assert_eq!(places.len(), 1);
        let longest = places.longest_wait(start + Duration::from_secs(7));
        assert_eq!(longest, Some(Duration::from_secs(5)));
    }
}
