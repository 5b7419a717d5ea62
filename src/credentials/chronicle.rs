//! What happened to one pool's users, for people who look: plain data, no clock, no secret.
//!
//! The log has the same and more; this is what is left of it in memory, bounded.

use std::collections::VecDeque;
use std::sync::Arc;

use super::generation::GenerationId;
use crate::clock::Moment;

/// How many events are kept.
const KEPT: usize = 100;
/// Characters of an event: what a server says may be long.
const LONGEST: usize = 400;

/// How much an event matters, as in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventLevel {
    /// A step of a generation's life.
    Info,
    /// Degraded.
    Warn,
    /// Someone must act.
    Error,
}

impl EventLevel {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Something that happened, once or several times in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastEvent {
    /// When, the last time.
    pub at: Moment,
    /// How much it matters.
    pub level: EventLevel,
    /// Whom it concerns; `None`: no generation in particular.
    pub generation: Option<GenerationId>,
    /// In a sentence.
    pub text: Arc<str>,
    /// How often in a row.
    pub times: u32,
}

/// The latest events, oldest first.
#[derive(Debug, Default)]
pub(super) struct Chronicle(VecDeque<PastEvent>);

impl Chronicle {
    /// One more; the same again only counts.
    pub(super) fn tell(
        &mut self,
        now: Moment,
        level: EventLevel,
        generation: Option<GenerationId>,
        text: &str,
    ) {
        let text: String = text.chars().take(LONGEST).collect();
        if let Some(last) = self.0.back_mut()
            && (last.level, last.generation, &*last.text) == (level, generation, text.as_str())
        {
            last.at = now;
            last.times = last.times.saturating_add(1);
            return;
        }
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(PastEvent { at: now, level, generation, text: text.into(), times: 1 });
    }

    pub(super) fn all(&self) -> Vec<PastEvent> {
        self.0.iter().cloned().collect()
    }
}

/// Why a generation takes no more checkouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetireReason {
    /// It got old.
    Schedule,
    /// Somebody asked for another.
    Asked,
    /// What users are issued with was replaced.
    SourceChanged,
    /// Somebody else removed the user.
    UserGone,
    /// It came to its end, and there was no other.
    UserEnds,
    /// Its life was over before it served.
    TooShort,
    /// PostgreSQL would not let it in.
    NotVerified,
    /// The proxy stops.
    Stopping,
}

impl RetireReason {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Asked => "asked",
            Self::SourceChanged => "source_changed",
            Self::UserGone => "user_gone",
            Self::UserEnds => "user_ends",
            Self::TooShort => "too_short",
            Self::NotVerified => "not_verified",
            Self::Stopping => "stopping",
        }
    }
}

/// When one generation took which step of its life; `None`: not yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps {
    /// The user was asked for.
    pub issued: Option<Moment>,
    /// All checkouts got it.
    pub activated: Option<Moment>,
    /// No checkout got it any more.
    pub retired: Option<Moment>,
    /// Why.
    pub reason: Option<RetireReason>,
    /// The user was revoked, found gone, or given up on.
    pub gone: Option<Moment>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn the_latest_are_kept_and_the_same_again_only_counts() {
        let mut chronicle = Chronicle::default();
        for at in 1..=150_u64 {
            chronicle.tell(second(at), EventLevel::Info, None, &format!("event {at}"));
        }
        let all = chronicle.all();
        assert_eq!((all.len(), &*all[0].text, &*all[99].text), (100, "event 51", "event 150"));
        for at in 151..=153 {
            chronicle.tell(second(at), EventLevel::Warn, Some(GenerationId::FIRST), "away");
        }
        chronicle.tell(second(154), EventLevel::Warn, None, "away");
        let all = chronicle.all();
        assert_eq!(all.len(), 100);
        assert_eq!((all[98].at, all[98].times, all[99].times), (second(153), 3, 1));
        assert_eq!((&*all[0].text, all[99].at), ("event 53", second(154)));
        chronicle.tell(second(155), EventLevel::Error, None, &"ä".repeat(9_000));
        assert_eq!(chronicle.all()[99].text.chars().count(), LONGEST);
    }
}
