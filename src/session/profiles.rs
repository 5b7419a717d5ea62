//! What the server reports to a client with given startup settings, learned
//! once per generation and kept, so that a client that connects again costs no
//! round trip.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use crate::credentials::GenerationId;
use crate::pool::Profile;

/// More profiles than this and all are learned anew.
const MOST: usize = 1024;

type Reported = Rc<Vec<(String, String)>>;
/// By pool index and profile: under which generation it was learned, and what.
type Known = HashMap<(usize, Arc<Profile>), (GenerationId, Reported)>;

/// The profiles that one shard knows.
#[derive(Debug, Default)]
pub(super) struct Profiles(RefCell<Known>, RefCell<HashSet<Arc<Profile>>>);

impl Profiles {
    /// What was learned under this generation of this pool, and the profile as others share it.
    pub(super) fn known(
        &self,
        pool: usize,
        profile: &Arc<Profile>,
        active: Option<GenerationId>,
    ) -> Option<(Arc<Profile>, Reported)> {
        let known = self.0.borrow();
        let ((_, shared), (generation, reported)) = known.get_key_value(&(pool, profile.clone()))?;
        (Some(*generation) == active).then(|| (shared.clone(), reported.clone()))
    }

    /// The profile as others with the same settings have it, so that equal ones are one.
    pub(super) fn shared(&self, profile: &Arc<Profile>) -> Arc<Profile> {
        let mut shared = self.1.borrow_mut();
        if let Some(known) = shared.get(profile) {
            return known.clone();
        }
        if shared.len() >= MOST {
            shared.retain(|profile| Arc::strong_count(profile) > 1);
        }
        if shared.len() < MOST {
            shared.insert(profile.clone());
        }
        profile.clone()
    }

    /// Remembers what the server reported.
    pub(super) fn learn(
        &self,
        pool: usize,
        profile: &Arc<Profile>,
        generation: GenerationId,
        reported: Reported,
    ) {
        let profile = &self.shared(profile);
        let mut known = self.0.borrow_mut();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert((pool, profile.clone()), (generation, reported));
    }
}

/// `base`, with what has been reported since laid over it. Names compare as PostgreSQL's do.
pub(super) fn overlay(base: &[(String, String)], changes: &[(String, String)]) -> Vec<(String, String)> {
    let mut out = base.to_vec();
    for (name, value) in changes {
        match out.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            Some(pair) => pair.1.clone_from(value),
            None => out.push((name.clone(), value.clone())),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_ends_with_its_generation() {
        let profiles = Profiles::default();
        let profile = Arc::new(Profile::new([("TimeZone".to_owned(), "UTC".to_owned())]));
        let (one, two) = (GenerationId::FIRST, GenerationId::FIRST.next());
        assert!(profiles.known(0, &profile, Some(one)).is_none());
        profiles.learn(0, &profile, one, Rc::default());
        assert!(profiles.known(0, &profile, Some(one)).is_some());
        assert!(profiles.known(0, &profile, Some(two)).is_none());
        assert!(profiles.known(1, &profile, Some(one)).is_none());
        assert!(profiles.known(0, &profile, None).is_none());
    }

    #[test]
    fn changes_replace_or_follow() {
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        let out =
            overlay(&[pair("TimeZone", "UTC"), pair("a", "1")], &[pair("timezone", "CET"), pair("b", "2")]);
        assert_eq!(out, [pair("TimeZone", "CET"), pair("a", "1"), pair("b", "2")]);
    }
}
