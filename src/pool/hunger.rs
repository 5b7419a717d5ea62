//! When a shard is hungry (its clients wait, and the others are asked for connections), and who
//! gives to one that is. The queue and the ledger are looked at elsewhere.

/// What a shard sees when it looks at its waiting clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing says that there are too few connections.
    Room,
    /// Every connection that there may be is open, and this shard has so many of them.
    Full { held: usize },
    /// That was so a little while ago, and the clients have been watched since.
    Watched {
        /// The same client is first.
        stood_still: bool,
        /// Another shard [has more](has_more).
        worse_off: bool,
    },
}

/// Whether a shard with so many waiting clients is hungry now. Hunger lasts until nobody waits. A shard
/// without any connection is hungry at once; one that has some first sees whether they come round.
pub(super) fn is_hungry(was: bool, waiting: usize, sight: Sight) -> bool {
    let begins = match sight {
        Sight::Room => false,
        Sight::Full { held } => held == 0,
        Sight::Watched { stood_still, worse_off } => stood_still || worse_off,
    };
    waiting > 0 && (was || begins)
}

/// Whether a shard lets a hungry one have a connection that is free.
pub(super) fn gives(waiting: usize, ours: usize, theirs: usize) -> bool {
    waiting == 0 || has_more(ours, theirs)
}

/// One more is no reason: the connection would only go to and fro.
pub(super) fn has_more(ours: usize, theirs: usize) -> bool {
    ours > theirs.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Sight = Sight::Full { held: 0 };
    const SOME: Sight = Sight::Full { held: 1 };

    fn watched(stood_still: bool, worse_off: bool) -> Sight {
        Sight::Watched { stood_still, worse_off }
    }

    #[test]
    fn hunger_begins_where_connections_lack_and_ends_when_nobody_waits() {
        let cases = [
            // was, waiting, sight, is
            (false, 0, Sight::Room, false),
            (false, 0, EMPTY, false),
            (false, 0, watched(true, true), false),
            (false, 1, Sight::Room, false),
            (false, 1, EMPTY, true),
            (false, 1, SOME, false),
            (false, 1, watched(false, false), false),
            (false, 1, watched(true, false), true),
            (false, 1, watched(false, true), true),
            (true, 0, Sight::Room, false),
            (true, 0, EMPTY, false),
            (true, 0, watched(true, true), false),
            (true, 1, Sight::Room, true),
            (true, 1, SOME, true),
            (true, 1, watched(false, false), true),
        ];
        for (was, waiting, sight, is) in cases {
            assert_eq!(is_hungry(was, waiting, sight), is, "{was} {waiting} {sight:?}");
        }
    }

    #[test]
    fn who_waits_itself_gives_only_from_two_more() {
        let cases = [
            // waiting, ours, theirs, gives
            (0, 1, 0, true),
            (0, 1, 5, true),
            (1, 1, 0, false),
            (1, 2, 0, true),
            (1, 2, 1, false),
            (1, 3, 1, true),
            (1, 1, 1, false),
            (1, 1, usize::MAX, false),
        ];
        for (waiting, ours, theirs, expected) in cases {
            assert_eq!(gives(waiting, ours, theirs), expected, "{waiting} {ours} {theirs}");
        }
    }
}
