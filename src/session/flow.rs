//! How much of a stream has gone by, and how much more of it is to be there before it is worth a look.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::Sleep;

/// What went one way since the last ReadyForQuery, from which on it is worth to wait for more. The end of each
/// such stream comes [`PAUSE`] late, so it is to have taken much longer.
const LONG: u32 = 1024 * 1024;
/// How much is waited for.
const PIECE: u32 = 64 * 1024;
/// A stream in which that much does not come in time is left alone until so much has gone by again.
const STUTTER: u32 = 256 * 1024;
/// How long: what a runtime's clock can tell apart.
pub(super) const PAUSE: Duration = Duration::from_millis(1);
/// What is left of a message that is passed on past us comes without another's doing: this much is waited for
/// without a clock.
pub(super) const REST: u32 = 128 * 1024;

/// What went either way since the last ReadyForQuery, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    down: u32,
    up: u32,
}

/// At how many bytes each side wakes us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) server: u32,
    pub(super) client: u32,
}

/// At each.
pub(super) const NONE: Marks = Marks { server: 1, client: 1 };

impl Flow {
    #[inline]
    pub(super) fn comes_down(&mut self, bytes: usize) {
        self.down = self.down.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    #[inline]
    pub(super) fn goes_up(&mut self, bytes: usize) {
        self.up = self.up.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// A ReadyForQuery.
    #[inline]
    pub(super) fn ends(&mut self) {
        *self = Self::default();
    }

    #[inline]
    pub(super) fn is_long(self) -> bool {
        self.down >= LONG || self.up >= LONG
    }

    /// More did not come in time.
    pub(super) fn stutters(&mut self) {
        let most = LONG.saturating_sub(STUTTER);
        *self = Self { down: self.down.min(most), up: self.up.min(most) };
    }

    /// How much there is to be before one looks again: of whichever way is long.
    pub(super) fn marks(self) -> Marks {
        let piece = |bytes: u32| if bytes >= LONG { PIECE } else { 1 };
        Marks { server: piece(self.down), client: piece(self.up) }
    }
}

/// Larger pieces are waited for.
#[derive(Debug)]
pub(super) struct Gather {
    pub(super) marks: Marks,
    /// Until then; none for the rest of a message.
    pub(super) pause: Option<Pin<Box<Sleep>>>,
    /// What had gone by when the pause began.
    pub(super) seen: Flow,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_waited_for_of_the_way_that_is_long() {
        let flow = |down, up| Flow { down, up };
        for (flow, server, client) in [
            (flow(0, 0), 1, 1),
            (flow(LONG - 1, LONG - 1), 1, 1),
            (flow(LONG, 0), PIECE, 1),
            (flow(300, LONG), 1, PIECE),
            (flow(u32::MAX, LONG), PIECE, PIECE),
        ] {
            assert_eq!(flow.marks(), Marks { server, client }, "{flow:?}");
            assert_eq!(flow.is_long(), flow.marks() != NONE, "{flow:?}");
        }
    }

    #[test]
    fn who_stutters_is_left_alone_for_a_while_and_a_new_request_begins_anew() {
        let mut flow = Flow::default();
        flow.comes_down(10_000_000);
        flow.goes_up(100);
        assert!(flow.is_long());
        flow.stutters();
        assert_eq!(flow, Flow { down: LONG - STUTTER, up: 100 });
        flow.comes_down(256 * 1024 - 1);
        assert!(!flow.is_long());
        flow.comes_down(1);
        assert!(flow.is_long());
        flow.comes_down(usize::MAX);
        flow.ends();
        assert_eq!(flow, Flow::default());
    }
}
