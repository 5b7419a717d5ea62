//! The settings of a model of PostgreSQL: what a session said, what only its transaction said,
//! and what it began with.

use std::collections::{BTreeMap, BTreeSet};

/// Reported to the client when they change, by the names that it reads.
pub(super) const REPORTED: [&str; 2] = ["TimeZone", "application_name"];

#[derive(Debug, Clone, Default, PartialEq)]
struct Setting {
    session: Option<String>,
    /// By SET LOCAL; a SET behind it wins.
    local: Option<String>,
}

/// Names are in lower case.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    began_with: BTreeMap<String, String>,
    now: BTreeMap<String, Setting>,
    /// Custom ones that were ever set: empty from then on, and not absent.
    ever: BTreeSet<String>,
}

impl Settings {
    /// A session whose startup packet said this.
    pub(super) fn new(startup: &[(String, String)]) -> Self {
        let built_in = [("timezone", "UTC"), ("application_name", ""), ("work_mem", "4MB"), ("role", "none")];
        let mut began_with: BTreeMap<String, String> =
            built_in.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        began_with.extend(startup.iter().map(|(name, value)| (name.to_lowercase(), value.clone())));
        Self { began_with, now: BTreeMap::new(), ever: BTreeSet::new() }
    }

    pub(super) fn value(&self, name: &str) -> Option<String> {
        let set = self.now.get(name).and_then(|set| set.local.as_ref().or(set.session.as_ref()));
        let value = set.or_else(|| self.began_with.get(name)).cloned();
        value.or_else(|| self.ever.contains(name).then(String::new))
    }

    /// Whether the session did not set it; a custom one that is empty may have been set to that.
    pub(super) fn is_as_it_began(&self, name: &str) -> bool {
        let empty = || self.value(name).unwrap_or_default().is_empty();
        if name.contains('.') { empty() } else { !self.now.contains_key(name) }
    }

    /// False: there is no such setting.
    pub(super) fn set(&mut self, name: &str, value: &str, local: bool) -> bool {
        if !name.contains('.') && !self.began_with.contains_key(name) {
            return false;
        }
        if name.contains('.') {
            self.ever.insert(name.to_owned());
        }
        let setting = self.now.entry(name.to_owned()).or_default();
        if local {
            setting.local = Some(value.to_owned());
        } else {
            *setting = Setting { session: Some(value.to_owned()), local: None };
        }
        true
    }

    pub(super) fn reset(&mut self, name: &str) {
        self.now.remove(name);
    }

    pub(super) fn reset_all(&mut self) {
        self.now.clear();
    }

    /// A transaction ends well.
    pub(super) fn commit(&mut self) {
        self.now.values_mut().for_each(|setting| setting.local = None);
        self.now.retain(|_, setting| *setting != Setting::default());
    }

    /// A transaction, or part of it, is undone.
    pub(super) fn roll_back(&mut self, before: &Self) {
        self.now.clone_from(&before.now);
    }

    /// What `pg_settings` lists as set by the session.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&str, String)> {
        let listed = self.now.keys().filter(|name| !name.contains('.') && *name != "role");
        listed.map(|name| (name.as_str(), self.value(name).unwrap_or_default()))
    }

    /// What is not as a session begins; a custom one that is empty is as it began.
    pub(super) fn differences(&self) -> BTreeMap<String, String> {
        let fresh = Self::new(&[]);
        let names = self.now.keys().chain(self.began_with.keys());
        let differs =
            |name: &&String| self.value(name).unwrap_or_default() != fresh.value(name).unwrap_or_default();
        names.filter(differs).map(|name| (name.clone(), self.value(name).unwrap_or_default())).collect()
    }
}
