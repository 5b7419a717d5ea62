//! Which data thread serves whom: the first until it is busy, then the next, and back together.
//!
//! A second thread that is half idle makes everything dearer: both go to sleep and are woken for less work
//! at a time. So clients come to the first thread that is not busy, move on from one that is, and back
//! once fewer threads would do. Plain functions of what was measured; nothing here moves anybody.

use std::time::Duration;

use tokio::time::Instant;

/// The whole of a core, in the unit of all shares here.
const CORE: u32 = 1000;
/// Threads are joined when together they would use this part of what makes one busy, in tenths: far enough
/// below for clients not to go to and fro.
const JOINED: u32 = 6;

/// What a thread used of its core, over the last two looks.
#[derive(Debug, Default)]
pub(super) struct Meter {
    before: Option<(Instant, Duration)>,
    last: Option<(Instant, Duration)>,
}

impl Meter {
    /// The thread has used so much time by now. Its share since the look before the last, in thousandths;
    /// 0 at the first.
    pub(super) fn look(&mut self, now: Instant, used: Duration) -> u32 {
        let since = self.before.or(self.last);
        self.before = self.last.replace((now, used));
        let Some((at, then)) = since else { return 0 };
        let (time, used) = (now.saturating_duration_since(at), used.saturating_sub(then));
        let share = used.as_micros().saturating_mul(u128::from(CORE)).checked_div(time.as_micros());
        share.map_or(0, |share| u32::try_from(share).unwrap_or(CORE).min(CORE))
    }
}

/// How long after a client came from another thread a thread is unsettled.
pub(super) const SETTLES_IN: Duration = Duration::from_secs(2);

/// Where clients of a thread go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exodus {
    /// The shard that takes them.
    pub(super) to: usize,
    /// How many of those that come by.
    pub(super) left: usize,
}

/// The thread for a new client: the first that is not busy, else the one that has most left.
pub(super) fn place(shares: &[u32], busy: u32) -> usize {
    let first = shares.iter().position(|share| *share < busy);
    let least = || shares.iter().enumerate().min_by_key(|(_, share)| **share).map_or(0, |(shard, _)| shard);
    first.unwrap_or_else(least)
}

/// Whether clients of shard `me` are to go elsewhere, by the share that each shard uses. `active`: so many
/// clients of it did something meanwhile.
///
/// From a busy one they go to the first that has half as much to do or less and can take some, so many that both have the
/// same afterwards, if all do the same; one client that is a whole load stays where it is. From one that
/// is not busy all go to an earlier one that can do the work of both, but not while it is `unsettled`: those
/// who came lately are not in its share yet, and would go on at once.
pub(super) fn exodus(me: usize, shares: &[u32], busy: u32, active: usize, unsettled: bool) -> Option<Exodus> {
    let mine = shares.get(me).copied()?;
    if mine >= busy {
        let whole = usize::try_from(mine.saturating_mul(2)).ok()?;
        let some = |(to, theirs): (usize, &u32)| {
            let surplus = usize::try_from(mine.saturating_sub(*theirs)).ok()?;
            let left = active.saturating_mul(surplus).checked_div(whole)?;
            (*theirs <= mine / 2 && left > 0).then_some(Exodus { to, left })
        };
        return shares.iter().enumerate().find_map(some);
    }
    if unsettled {
        return None;
    }
    let joined = busy.saturating_mul(JOINED) / 10;
    let to = shares.get(..me)?.iter().position(|theirs| theirs.saturating_add(mine) <= joined)?;
    Some(Exodus { to, left: usize::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUSY: u32 = 700;

    #[test]
    fn a_share_is_of_the_time_since_the_look_before_the_last() {
        let (begin, mut meter) = (Instant::now(), Meter::default());
        let ms = Duration::from_millis;
        for (at, used, share) in [
            (0, 5000, 0),
            (500, 5250, 500),
            (1000, 5250, 250),
            (1500, 5750, 500),
            (2000, 6250, 1000),
            // More than there is, and less than before: clocks differ.
            (2500, 9000, 1000),
            (2500, 8000, 1000),
            (3500, 8000, 0),
        ] {
            assert_eq!(meter.look(begin + ms(at), ms(used)), share, "{at} {used}");
        }
    }

    #[test]
    fn new_clients_go_to_the_first_that_is_not_busy() {
        for (shares, shard) in [
            (&[0, 0][..], 0),
            (&[699, 0], 0),
            (&[700, 0], 1),
            (&[900, 800, 100], 2),
            (&[900, 800, 850], 1),
            (&[300, 800, 0], 0),
            (&[1000], 0),
            (&[], 0),
        ] {
            assert_eq!(place(shares, BUSY), shard, "{shares:?}");
        }
    }

    #[test]
    fn clients_move_on_from_a_busy_thread_and_back_together() {
        let some = |to, left| Some(Exodus { to, left });
        for (me, shares, active, expected) in [
            // Nobody else, or nobody who could take them.
            (0, &[1000][..], 9, None),
            (0, &[1000, 900], 9, None),
            (0, &[699, 0], 9, None),
            // Half of them, or as many as it takes.
            (0, &[1000, 0], 9, some(1, 4)),
            (0, &[1000, 0], 2, some(1, 1)),
            (0, &[800, 400], 8, some(1, 2)),
            (1, &[100, 700, 0], 7, some(0, 3)),
            (0, &[900, 700, 0], 4, some(2, 2)),
            // One client is the load.
            (0, &[1000, 0], 1, None),
            (0, &[1000, 100], 2, None),
            (0, &[1000, 0], 0, None),
            // Back, as soon as one would be far from busy.
            (1, &[210, 210], 5, some(0, usize::MAX)),
            (1, &[210, 211], 5, None),
            (1, &[0, 0], 0, some(0, usize::MAX)),
            (2, &[400, 100, 50], 5, some(1, usize::MAX)),
            (0, &[10, 0], 5, None),
            (7, &[10, 0], 5, None),
        ] {
            assert_eq!(exodus(me, shares, BUSY, active, false), expected, "{me} {shares:?} {active}");
            let unsettled = expected.filter(|exodus| exodus.left < usize::MAX);
            assert_eq!(exodus(me, shares, BUSY, active, true), unsettled, "{me} {shares:?} {active}");
        }
    }

    proptest! {
        /// Clients that all do the same: after some looks nobody moves any more, and if their
        /// work can be shared so, no thread is full beside one with less than half.
        #[test]
        fn it_comes_to_rest(threads in 1_usize..6, clients in 0_usize..200, each in 1_u32..400) {
            let mut served = vec![0_usize; threads];
            served[0] = clients;
            let shares = |served: &[usize]| -> Vec<u32> {
                served.iter().map(|n| u32::try_from(*n).unwrap().saturating_mul(each).min(CORE)).collect()
            };
            let (mut quiet, mut came) = (0, vec![0; threads]);
            for round in 4..200 {
                let now = shares(&served);
                let mut moved = false;
                for me in 0..threads {
                    if let Some(Exodus { to, left }) = exodus(me, &now, BUSY, served[me], came[me] + 4 > round) {
                        let count = left.min(served[me]);
                        served[me] -= count;
                        served[to] += count;
                        if count > 0 {
                            came[to] = round;
                        }
                        moved |= count > 0;
                    }
                }
                quiet = if moved { 0 } else { quiet + 1 };
            }
            prop_assert!(quiet > 20, "{served:?}");
            prop_assert_eq!(served.iter().sum::<usize>(), clients);
            let now = shares(&served);
            let most = served.iter().zip(&now).filter(|(n, _)| **n > 1).map(|(_, share)| *share).max();
            let least = now.iter().copied().min().unwrap_or(0);
            if let Some(most) = most.filter(|most| *most >= BUSY) {
                prop_assert!(least > most / 2 || least + each > most / 2, "{now:?}");
            }
        }
    }
}
