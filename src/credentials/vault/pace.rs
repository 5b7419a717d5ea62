//! How often a login may be tried that Vault refuses.
//!
//! Five refused logins of one role id (or user name), each within 15 minutes of the one before, lock it
//! for everybody who logs in with it.
//! <https://developer.hashicorp.com/vault/docs/concepts/user-lockout>

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use crate::clock::Moment;
use crate::secret::Secret;

/// Refusals in a row before the long wait; what is left to five is for others, and for a restart.
const QUICK: u32 = 3;
/// As [`QUICK`], where the secret was replaced since.
const QUICK_WITH_ANOTHER: u32 = 4;
/// After this time Vault counts anew.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60 + 30);

/// The refused logins of all sources whose settings are clones of one another.
#[derive(Debug, Clone, Default)]
pub struct LoginPace(Arc<Mutex<Refusals>>);

impl LoginPace {
    /// One login at a time, so that a refusal is known before the next one begins. Cancel safe.
    pub(super) async fn turn(&self) -> MutexGuard<'_, Refusals> {
        self.0.lock().await
    }
}

/// What Vault counts.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    in_a_row: u32,
    last: Option<Moment>,
    /// What was refused last.
    secret: Option<Secret>,
}

impl Refusals {
    /// How long a login with this secret must wait.
    pub(crate) fn wait(&self, now: Moment, secret: &Secret) -> Option<Duration> {
        let free = self.last? + FORGOTTEN;
        let most = if self.secret.as_ref() == Some(secret) { QUICK } else { QUICK_WITH_ANOTHER };
        (self.in_a_row >= most && now < free).then(|| now.until(free))
    }

    pub(crate) fn refused(&mut self, now: Moment, secret: &Secret) {
        let recent = self.last.is_some_and(|last| now < last + FORGOTTEN);
        self.in_a_row = if recent { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some(now);
        self.secret = Some(secret.clone());
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn however_often_it_is_tried_five_are_never_refused_within_fifteen_minutes() {
        let (mut refusals, mut sent) = (Refusals::default(), Vec::new());
        // A try each second for two hours, every seventh with another secret.
        for second in 1..7200 {
            let now = Moment::from_nanos(second * 1_000_000_000);
            let secret = secret(if second % 7 == 0 { "another" } else { "one" });
            if refusals.wait(now, &secret).is_none() {
                refusals.refused(now, &secret);
                sent.push(second);
            }
        }
        assert!(sent.len() > 20, "{sent:?}");
        // Vault's own count.
        let mut in_a_row = 1;
        for pair in sent.windows(2) {
            in_a_row = if pair[1] - pair[0] <= 900 { in_a_row + 1 } else { 1 };
            assert!(in_a_row < 5, "{sent:?}");
        }
    }

    #[test]
    fn a_login_that_succeeds_makes_the_next_ones_free() {
        let now = Moment::from_nanos(1_000_000_000);
        let mut refusals = Refusals::default();
        for _ in 0..QUICK {
            assert_eq!(refusals.wait(now, &secret("one")), None);
            refusals.refused(now, &secret("one"));
        }
        assert_eq!(refusals.wait(now, &secret("one")), Some(FORGOTTEN));
        assert_eq!(refusals.wait(now, &secret("another")), None);
        refusals.succeeded();
        assert_eq!(refusals.wait(now, &secret("one")), None);
    }
}
