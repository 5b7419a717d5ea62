//! What kind of world a simulation runs in.

use proptest::prelude::*;

use crate::credentials::settings::RenewPolicy;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    Unavailable,
    Denied,
    Hanging,
    Flaky,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) lease: u64,
    pub(super) max_ttl: u64,
    pub(super) token: Option<u64>,
    pub(super) renewable: bool,
    /// How many renewals a login is good for.
    pub(super) uses: Option<u32>,
    /// Five refused logins within fifteen minutes lock everybody out.
    pub(super) locks: bool,
    pub(super) renew: RenewPolicy,
    pub(super) outage_grace: u64,
    pub(super) drain_timeout: u64,
    /// The source's moods and how long each lasts, before it is well for good.
    pub(super) moods: Vec<(Mood, u64)>,
    /// Chance in 100 that a login is refused while there are moods.
    pub(super) refuses: u32,
    /// Chance in 1000 per second that a living user is dropped, while there are moods.
    pub(super) drops: u32,
    /// Chance in 1000 per second of a ROTATE.
    pub(super) rotates: u32,
    /// Chance in 100 that a connection never comes back by itself.
    pub(super) sticky: u32,
    pub(super) stop_within: u64,
}

pub(super) fn world() -> impl Strategy<Value = World> {
    let mood = prop_oneof![
        Just(Mood::Well),
        Just(Mood::Unavailable),
        Just(Mood::Denied),
        Just(Mood::Hanging),
        Just(Mood::Flaky)
    ];
    let renew =
        prop_oneof![Just(RenewPolicy::WhileDraining), Just(RenewPolicy::UntilMax), Just(RenewPolicy::Never)];
    let lives = (
        prop_oneof![1_000_u64..10_000, 10_000_u64..120_000, Just(3_600_000_u64)],
        1_u64..5,
        proptest::option::of(1_000_u64..200_000),
        (any::<bool>(), renew, proptest::option::of(0_u32..6), any::<bool>()),
        prop_oneof![Just(0_u64), 1_000_u64..60_000],
        prop_oneof![Just(86_400_000_u64), 0_u64..60_000],
    );
    let chances = (
        prop_oneof![Just(0_u32), 0_u32..100],
        prop_oneof![Just(0_u32), 0_u32..300],
        prop_oneof![Just(0_u32), 0_u32..1_000],
        0_u32..60,
    );
    let moods = proptest::collection::vec((mood, 100_u64..60_000), 0..6);
    (any::<u64>(), lives, chances, moods, 0_u64..20_000).prop_map(
        |(
            seed,
            (lease, times, token, (renewable, renew, uses, locks), outage_grace, drain_timeout),
            chances,
            moods,
            stop_within,
        )| {
            let (refuses, drops, rotates, sticky) = chances;
            let max_ttl = lease * times;
            // A lock-out is a matter of a quarter of an hour.
            let longer =
                |(mood, length)| (mood, if locks && mood == Mood::Denied { length * 30 } else { length });
            let moods = moods.into_iter().map(longer).collect();
            World {
                seed,
                lease,
                max_ttl,
                token,
                renewable,
                uses,
                locks,
                renew,
                outage_grace,
                drain_timeout,
                moods,
                refuses,
                drops,
                rotates,
                sticky,
                stop_within,
            }
        },
    )
}
