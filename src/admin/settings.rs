//! The settings in force, as the configuration hands them over to be shown.

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
}

impl ShownSettings {
    /// One more key, in the order of the manual.
    pub fn add(&mut self, key: &str, value: String, is_default: bool) {
        self.rows.push(ShownSetting { key: key.to_owned(), value, is_default });
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

/// Who may give commands that change something (`[console]`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// Users of this host by number or name; `None`: root and the user that the program runs as.
    pub admin_uids: Option<Vec<String>>,
    /// Everybody who reaches the console over TCP may.
    pub tcp_commands: bool,
}
