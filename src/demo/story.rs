//! What happened, told from one look at the proxy and the server to the next. No I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::server::ServerUser;

/// The user that all new work goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Active {
    pub(super) generation: u64,
    pub(super) user: String,
    pub(super) remaining: Duration,
}

/// One look: the proxy's word on who is active, the server's on who is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) active: Option<Active>,
    pub(super) users: Vec<ServerUser>,
    pub(super) trouble: Option<String>,
}

/// Something worth a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// The first user took up work.
    First { user: String },
    /// One user took over from another.
    Swap { number: u64, old: String, new: String, moved: u64 },
    /// The server does not know the user any more.
    Gone { user: String },
    /// The proxy could not get or use a new user.
    Trouble { text: String },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First { user } => write!(f, "user     {user} is active"),
            Self::Swap { number, old, new, moved } => {
                let noun = if *moved == 1 { "connection" } else { "connections" };
                write!(f, "swap {number:<3} {old} -> {new}, {moved} {noun} moved")
            }
            Self::Gone { user } => write!(f, "gone     {user} is drained, revoked and dropped"),
            Self::Trouble { text } => write!(f, "trouble  {text}"),
        }
    }
}

/// The story so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    swaps: u64,
    last: Look,
    connections: BTreeMap<String, u64>,
}

impl Story {
    /// How often one user took over from another.
    pub(super) fn swaps(&self) -> u64 {
        self.swaps
    }

    /// The latest look.
    pub(super) fn last(&self) -> &Look {
        &self.last
    }

    /// What is new since the last look.
    pub(super) fn look(&mut self, look: Look) -> Vec<Event> {
        let mut events = Vec::new();
        match (self.last.active.as_ref().or(look.active.as_ref()), &look.active) {
            (Some(old), Some(new)) if old.user != new.user => {
                self.swaps = self.swaps.saturating_add(1);
                let moved = self.connections.get(&old.user).copied().unwrap_or(0);
                let (old, new) = (old.user.clone(), new.user.clone());
                events.push(Event::Swap { number: self.swaps, old, new, moved });
            }
            (_, Some(new)) if self.last.active.is_none() => {
                events.push(Event::First { user: new.user.clone() })
            }
            _ => {}
        }
        self.connections.retain(|user, _| {
            let there = look.users.iter().any(|seen| seen.name == *user);
            if !there {
                events.push(Event::Gone { user: user.clone() });
            }
            there
        });
        for seen in &look.users {
            self.connections.insert(seen.name.clone(), seen.connections);
        }
        if look.trouble != self.last.trouble {
            events.extend(look.trouble.clone().map(|text| Event::Trouble { text }));
        }
        // While nobody is active the last one is remembered, so that its successor counts as a swap.
        let active = look.active.clone().or_else(|| self.last.active.take());
        self.last = Look { active, ..look };
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(active: Option<&str>, users: &[(&str, u64)]) -> Look {
        Look {
            active: active.map(|user| Active { generation: 1, user: user.into(), remaining: Duration::ZERO }),
            users: users
                .iter()
                .map(|(name, n)| ServerUser { name: (*name).into(), connections: *n })
                .collect(),
            trouble: None,
        }
    }

    #[test]
    fn a_swap_is_told_once_with_the_connections_that_moved_and_then_the_old_users_end() {
        let mut story = Story::default();
        assert_eq!(story.look(look(None, &[])), []);
        assert_eq!(story.look(look(Some("a"), &[("a", 1)])), [Event::First { user: "a".into() }]);
        assert_eq!(story.look(look(Some("a"), &[("a", 8), ("b", 1)])), []);
        let swap = Event::Swap { number: 1, old: "a".into(), new: "b".into(), moved: 8 };
        assert_eq!(story.look(look(Some("b"), &[("a", 3), ("b", 8)])), [swap]);
        assert_eq!(story.look(look(Some("b"), &[("b", 8)])), [Event::Gone { user: "a".into() }]);
        assert_eq!(story.look(look(Some("b"), &[("b", 8)])), []);
        assert_eq!(story.swaps(), 1);
    }

    #[test]
    fn a_gap_without_an_active_user_does_not_hide_the_swap() {
        let mut story = Story::default();
        story.look(look(Some("a"), &[("a", 2)]));
        assert_eq!(story.look(look(None, &[])), [Event::Gone { user: "a".into() }]);
        let events = story.look(look(Some("b"), &[("b", 1)]));
        assert_eq!(events, [Event::Swap { number: 1, old: "a".into(), new: "b".into(), moved: 0 }]);
    }

    #[test]
    fn trouble_is_told_when_it_changes() {
        let mut story = Story::default();
        let trouble = Look { trouble: Some("no".into()), ..Look::default() };
        assert_eq!(story.look(trouble.clone()), [Event::Trouble { text: "no".into() }]);
        assert_eq!(story.look(trouble), []);
        assert_eq!(story.look(Look::default()), []);
    }
}
