//! Tokens that are good for so many calls (`num_uses`). The last one ends the token, and every user
//! that was issued under it, so it is never made while a user is there.
//!
//! Vault tells how many are left only in exchange for one of them; they are counted here instead.

use std::sync::Mutex;

use super::lock::lock;
use crate::clock::Moment;
use crate::credentials::SourceError;
use crate::secret::Secret;

/// What is left of one token.
struct Limited {
    token: Secret,
    uses: u64,
    end: Option<Moment>,
}

/// The tokens that are known to be limited. The others may be used at will.
#[derive(Default)]
pub(super) struct Uses {
    limited: Mutex<Vec<Limited>>,
}

impl Uses {
    /// Takes note of `num_uses` as Vault tells it: 0 is no limit, less than 0 that this was the last.
    pub(super) fn learn(&self, token: &Secret, num_uses: i64, end: Option<Moment>) {
        if num_uses != 0 {
            let uses = u64::try_from(num_uses).unwrap_or(0);
            let mut limited = lock(&self.limited);
            limited.retain(|known| known.token != *token);
            limited.push(Limited { token: token.clone(), uses, end });
        }
    }

    /// When the token ends, if it is one of these.
    pub(super) fn end_of(&self, token: &Secret) -> Option<Option<Moment>> {
        lock(&self.limited).iter().find(|known| known.token == *token).map(|known| known.end)
    }

    /// Whether a call may be made with the token and leaves it another: always, if it is not limited.
    pub(super) fn are_spare(&self, token: &Secret) -> bool {
        lock(&self.limited).iter().all(|known| known.token != *token || known.uses > 1)
    }

    /// As [`Uses::are_spare`], for a call that is made right after.
    pub(super) fn spend(&self, token: &Secret) -> bool {
        let mut limited = lock(&self.limited);
        let Some(known) = limited.iter_mut().find(|known| known.token == *token) else { return true };
        let spare = known.uses > 1;
        if spare {
            known.uses -= 1;
        }
        spare
    }

    /// The token is no more.
    pub(super) fn forget(&self, token: &Secret) {
        lock(&self.limited).retain(|known| known.token != *token);
    }
}

/// There is no use for one more user.
pub(super) fn none_to_spare(own: bool) -> SourceError {
    if own {
        SourceError::Misconfigured {
            message: "vault gives tokens of one use, which end with it and take their user along; \
                      set token_num_uses of the role that logs in to 0, or to 2 or more"
                .to_owned(),
        }
    } else {
        SourceError::Denied {
            message:
                "the vault token has one use left, which would end it and every user that was issued under \
                      it; give a new one, without num_uses"
                    .to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_is_kept_and_other_tokens_have_no_limit() {
        let token = |text: &str| Secret::new(text.to_owned());
        let uses = Uses::default();
        for (name, told, calls) in [("free", 0, 100), ("three", 3, 2), ("one", 1, 0), ("ended", -1, 0)] {
            uses.learn(&token(name), told, Some(Moment::from_nanos(1)));
            let made = (0..100).take_while(|_| uses.are_spare(&token(name)) && uses.spend(&token(name)));
            assert_eq!(made.count(), calls, "{name}");
            assert_eq!(uses.end_of(&token(name)).is_some(), told != 0);
        }
        uses.learn(&token("three"), 5, None);
        assert!(uses.spend(&token("three")));
        uses.forget(&token("one"));
        assert!(uses.spend(&token("one")));
    }
}
