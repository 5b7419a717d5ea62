//! Lines of one kind, so many a minute: an outage of an hour is not a gigabyte of log.
//!
//! A kind is a place in the program and a pool. What is left out is counted, and told once the minute
//! is over. Errors, warnings and steps are limited; what somebody asked for is not: debug, trace, audit.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The time that `log.most_alike` is about.
const WINDOW: Duration = Duration::from_secs(60);
/// How often it is looked whether something was left out.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Never limited.
const AUDIT: &str = "leasehold::audit";

/// Of one kind in the present minute.
#[derive(Debug)]
struct Count {
    since: Instant,
    told: u32,
    left_out: u64,
    message: String,
}

/// What was left out of one kind.
#[derive(Debug, PartialEq, Eq)]
struct LeftOut {
    pool: String,
    message: String,
    count: u64,
}

/// Counts lines by kind.
#[derive(Debug)]
struct Limiter<K> {
    most: u32,
    kinds: HashMap<(K, String), Count>,
}

impl<K: Eq + std::hash::Hash> Limiter<K> {
    fn new(most: u32) -> Self {
        Self { most, kinds: HashMap::new() }
    }

    /// Whether one more line of this kind is written.
    fn allows(&mut self, place: K, words: Words, now: Instant) -> bool {
        let Words { pool, message } = words;
        let count = self.kinds.entry((place, pool)).or_insert_with(|| Count {
            since: now,
            told: 0,
            left_out: 0,
            message: String::new(),
        });
        if now.saturating_duration_since(count.since) >= WINDOW {
            count.since = now;
            count.told = 0;
        }
        if count.told < self.most || self.most == 0 {
            count.told = count.told.saturating_add(1);
            return true;
        }
        count.left_out = count.left_out.saturating_add(1);
        count.message = message;
        false
    }

    /// What was left out in minutes that are over; kinds that were quiet since are forgotten.
    fn sweep(&mut self, now: Instant) -> Vec<LeftOut> {
        let over = |count: &Count| now.saturating_duration_since(count.since) >= WINDOW;
        let over: Vec<_> = self.kinds.extract_if(|_, count| over(count)).collect();
        let left_out = over.into_iter().filter(|(_, count)| count.left_out > 0);
        left_out
            .map(|((_, pool), count)| LeftOut { pool, message: count.message, count: count.left_out })
            .collect()
    }
}

/// The part of a line that tells its kind.
#[derive(Debug, Default)]
struct Words {
    pool: String,
    message: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "pool" | "database" => self.pool = format!("{value:?}"),
            "message" => self.message = format!("{value:?}"),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "pool" | "database" => value.clone_into(&mut self.pool),
            "message" => value.clone_into(&mut self.message),
            _ => {}
        }
    }
}

/// Leaves out what is too much.
#[derive(Debug, Clone)]
pub(super) struct Limit(Arc<Mutex<Limiter<Identifier>>>);

impl Limit {
    /// At most so many lines of one kind a minute; 0: no limit. What is left out is told by a thread of its own,
    /// which ends with the process.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn new(most: u32) -> std::io::Result<Self> {
        let limit = Self(Arc::new(Mutex::new(Limiter::new(most))));
        let swept = limit.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || swept.sweep_for_ever())?;
        Ok(limit)
    }

    /// Another limit, from now on.
    pub(super) fn change(&self, most: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).most = most;
    }

    fn sweep_for_ever(&self) {
        loop {
            std::thread::sleep(SWEEP_EVERY);
            let left_out = self.0.lock().unwrap_or_else(PoisonError::into_inner).sweep(Instant::now());
            for LeftOut { pool, message, count } in left_out {
                warn!(%pool, like = %message, count, "lines were left out; `log.most_alike` is the limit");
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let about = event.metadata();
        if *about.level() > Level::INFO || about.target() == AUDIT {
            return true;
        }
        let mut words = Words::default();
        event.record(&mut words);
        let mut limiter = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.allows(about.callsite(), words, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pool: &str) -> Words {
        Words { pool: pool.to_owned(), message: "it failed".to_owned() }
    }

    #[test]
    fn an_hour_of_trouble_is_a_few_lines_and_a_count() {
        let start = Instant::now();
        let mut limiter = Limiter::new(3);
        let (mut written, mut left_out) = (0, 0);
        // Ten a second, for an hour, looked at every five seconds.
        for tenth in 0..36_000_u64 {
            let now = start + Duration::from_millis(tenth * 100);
            written += u64::from(limiter.allows(1, words("app"), now));
            if tenth % 50 == 0 {
                left_out += limiter.sweep(now).iter().map(|out| out.count).sum::<u64>();
            }
        }
        let last = limiter.sweep(start + Duration::from_secs(3_700));
        left_out += last.iter().map(|out| out.count).sum::<u64>();
        assert!((170..=190).contains(&written), "{written}");
        assert_eq!(written + left_out, 36_000);
        assert!(limiter.kinds.is_empty());
    }

    #[test]
    fn each_place_and_pool_has_a_limit_of_its_own() {
        let now = Instant::now();
        let mut limiter = Limiter::new(1);
        for (place, pool, expected) in [
            (1, "a", true),
            (1, "a", false),
            (1, "b", true),
            (2, "a", true),
            (2, "a", false),
            (1, "a", false),
        ] {
            assert_eq!(limiter.allows(place, words(pool), now), expected, "{place} {pool}");
        }
        assert!(limiter.sweep(now + WINDOW / 2).is_empty(), "its minute is not over");
        let mut found = limiter.sweep(now + WINDOW);
        found.sort_by_key(|out| out.count);
        let message = "it failed".to_owned();
        assert_eq!(
            found,
            [
                LeftOut { pool: "a".to_owned(), message: message.clone(), count: 1 },
                LeftOut { pool: "a".to_owned(), message, count: 2 },
            ]
        );
        assert!(limiter.allows(1, words("a"), now + WINDOW));
    }
}
