//! The settings in force, as the configuration hands them over to be shown, and what becomes of them
//! when it is read again.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Every key with its value; never a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownSettings {
    rows: Vec<ShownSetting>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShownSetting {
    pub(super) key: String,
    pub(super) value: String,
    /// Nobody set it: the value is the default.
    pub(super) is_default: bool,
    /// It can be changed while the process runs.
    pub(super) is_changeable: bool,
}

impl ShownSettings {
    /// One more key, in the order of the manual.
    pub fn add(&mut self, key: &str, value: String, is_default: bool, is_changeable: bool) {
        self.rows.push(ShownSetting { key: key.to_owned(), value, is_default, is_changeable });
    }

    /// What is different in `new`, in the order of the manual; what is there no more comes last.
    fn changes(&self, new: &Self) -> Vec<Change> {
        let change = |key: &str, was: Option<&ShownSetting>, is: Option<&ShownSetting>| Change {
            key: key.to_owned(),
            was: was.map(|row| row.value.clone()),
            is: is.map(|row| row.value.clone()),
            // A key that comes or goes belongs to a database that does.
            applied: was.is_some() && is.is_some_and(|row| row.is_changeable),
        };
        let gone = self.rows.iter().filter(|row| new.find(&row.key).is_none());
        let there = new.rows.iter().map(|row| change(&row.key, self.find(&row.key), Some(row)));
        there.chain(gone.map(|row| change(&row.key, Some(row), None))).filter(|it| it.was != it.is).collect()
    }

    /// What holds once `new` is taken over: the rest needs a restart.
    fn after(&self, new: &Self) -> Self {
        let row = |row: &ShownSetting| match new.find(&row.key) {
            Some(other) if other.is_changeable => other.clone(),
            _ => row.clone(),
        };
        Self { rows: self.rows.iter().map(row).collect() }
    }

    /// All keys.
    pub(super) fn rows(&self) -> &[ShownSetting] {
        &self.rows
    }

    /// One key.
    pub(super) fn find(&self, key: &str) -> Option<&ShownSetting> {
        self.rows.iter().find(|row| row.key == key)
    }
}

/// One key that has another value in the configuration than in the running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// What holds; `None`: the key was not there.
    pub was: Option<String>,
    /// What the configuration says now; `None`: the key is not there any more.
    pub is: Option<String>,
    /// It holds from now on; else it needs a restart.
    pub applied: bool,
}

/// The settings in force, for everybody who shows or changes them.
#[derive(Debug, Default)]
pub struct SettingsInForce(Mutex<ShownSettings>);

impl SettingsInForce {
    /// These hold.
    #[must_use]
    pub fn new(shown: ShownSettings) -> Self {
        Self(Mutex::new(shown))
    }

    /// As they are now.
    #[must_use]
    pub fn get(&self) -> ShownSettings {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What can be changed is from now on as in `new`; what was different.
    pub fn take_over(&self, new: &ShownSettings) -> Vec<Change> {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = now.changes(new);
        *now = now.after(new);
        changes
    }
}

/// Reads the configuration again.
pub trait Reload: Debug + Send + Sync {
    /// Takes over what can be changed at once.
    ///
    /// # Errors
    /// What is wrong with the configuration, as `leasehold check` tells it; nothing is changed then.
    fn reload(&self) -> Result<Vec<Change>, String>;
}

/// Who may give commands that change something, and what averages are over (`[console]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// Users of this host by number or name; `None`: root and the user that the program runs as.
    pub admin_uids: Option<Vec<String>>,
    /// Everybody who reaches the console over TCP may.
    pub tcp_commands: bool,
    /// Averages in SHOW STATS are those of the latest period of this length that is complete.
    pub stats_period: Duration,
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self { admin_uids: None, tcp_commands: false, stats_period: Duration::from_secs(60) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_changed_is_and_the_rest_waits_for_a_restart() {
        let shown = |rows: &[(&str, &str, bool)]| {
            let mut shown = ShownSettings::default();
            for (key, value, changeable) in rows {
                shown.add(key, (*value).to_owned(), false, *changeable);
            }
            shown
        };
        let before = [
            ("threads", "2", false),
            ("log.filter", "info", true),
            ("databases.app.pool_size", "5", true),
            ("databases.old.pool_size", "5", true),
        ];
        let after = [
            ("threads", "4", false),
            ("log.filter", "debug", true),
            ("databases.app.pool_size", "5", true),
            ("databases.new.pool_size", "7", true),
        ];
        let in_force = SettingsInForce::new(shown(&before));
        let changes = in_force.take_over(&shown(&after));
        let told: Vec<_> = changes
            .iter()
            .map(|it| (it.key.as_str(), it.was.as_deref(), it.is.as_deref(), it.applied))
            .collect();
        assert_eq!(
            told,
            [
                ("threads", Some("2"), Some("4"), false),
                ("log.filter", Some("info"), Some("debug"), true),
                ("databases.new.pool_size", None, Some("7"), false),
                ("databases.old.pool_size", Some("5"), None, false),
            ]
        );
        let value = |key: &str| in_force.get().find(key).map(|row| row.value.clone());
        assert_eq!(value("threads").as_deref(), Some("2"), "that is what the process runs with");
        assert_eq!(value("log.filter").as_deref(), Some("debug"));
        assert_eq!(value("databases.new.pool_size"), None);
        // Once more: only what still waits.
        let again = in_force.take_over(&shown(&after));
        assert_eq!(again.len(), 3, "{again:?}");
        assert!(in_force.take_over(&in_force.get()).is_empty());
    }
}
