//! Which of several servers fits, in libpq's words (PostgreSQL manual, section 34.1.2,
//! `target_session_attrs`). Values in, values out.

/// What a server must be for a connection to stay there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionAttrs {
    /// Whatever takes the connection.
    #[default]
    Any,
    /// Sessions can write unless they say otherwise.
    ReadWrite,
    /// Sessions cannot write unless they say otherwise.
    ReadOnly,
    /// Not in recovery.
    Primary,
    /// In recovery.
    Standby,
    /// In recovery if one of them is, else any.
    PreferStandby,
}

/// What a server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerState {
    /// It is in recovery.
    pub standby: bool,
    /// Whether transactions are read-only unless they say otherwise; `None`: the client has said so
    /// itself, so that the server's own mind is not known.
    pub read_only: Option<bool>,
}

/// How well a server fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Well,
    /// If there is none that fits better.
    AtNeed,
    Not,
}

impl SessionAttrs {
    /// As it is written in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::PreferStandby => "prefer-standby",
        }
    }

    /// Whether a connection need not stay where it is once the server has become this.
    #[must_use]
    pub fn excludes(self, state: ServerState) -> bool {
        self.fit(state) == Fit::Not
    }

    /// Whether it matters what a server is after a connection was made.
    #[must_use]
    pub fn can_exclude(self) -> bool {
        !matches!(self, Self::Any | Self::PreferStandby)
    }

    /// Whether a standby is asked for, which may not know a new user yet.
    #[must_use]
    pub fn may_be_late(self) -> bool {
        matches!(self, Self::ReadOnly | Self::Standby | Self::PreferStandby)
    }

    pub(super) fn fit(self, state: ServerState) -> Fit {
        let fits = match self {
            Self::Any => true,
            Self::ReadWrite => !state.standby && state.read_only != Some(true),
            Self::ReadOnly => state.standby || state.read_only != Some(false),
            Self::Primary => !state.standby,
            Self::Standby => state.standby,
            Self::PreferStandby if !state.standby => return Fit::AtNeed,
            Self::PreferStandby => true,
        };
        if fits { Fit::Well } else { Fit::Not }
    }
}

impl ServerState {
    /// What servers from 14 on report at login; `None`: it must be asked for. `extra`: what the
    /// client's own settings are.
    pub(super) fn reported(params: &[(String, String)], extra: &[(String, String)]) -> Option<Self> {
        let is_on = |name: &str| params.iter().find(|(n, _)| n == name).map(|(_, value)| value == "on");
        let standby = is_on("in_hot_standby")?;
        let read_only = is_on("default_transaction_read_only")?;
        Some(Self { standby, read_only: (!says_so_itself(extra)).then_some(read_only) })
    }

    /// From the row of [`STATE_QUERY`].
    #[must_use]
    pub fn from_row(row: &[Option<String>]) -> Option<Self> {
        let [Some(standby), Some(read_only)] = row else { return None };
        Some(Self { standby: standby == "t", read_only: Some(read_only == "on") })
    }

    /// Without what the client's own settings made of it.
    pub(super) fn without(self, extra: &[(String, String)]) -> Self {
        Self { read_only: self.read_only.filter(|_| !says_so_itself(extra)), ..self }
    }

    /// In words, behind "it".
    pub(super) fn words(self) -> &'static str {
        match (self.standby, self.read_only) {
            (true, _) => "is a standby",
            (false, Some(true)) => "is a primary whose transactions are read-only by default",
            (false, _) => "is a primary",
        }
    }
}

/// Asks what [`ServerState`] says; known to every version.
pub const STATE_QUERY: &str =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";

fn says_so_itself(extra: &[(String, String)]) -> bool {
    let names = ["default_transaction_read_only", "options"];
    extra.iter().any(|(name, _)| names.iter().any(|known| name.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_means_what_it_means_to_libpq() {
        use Fit::{AtNeed, Not, Well};
        let state = |standby, read_only| ServerState { standby, read_only: Some(read_only) };
        let (primary, meek, standby) = (state(false, false), state(false, true), state(true, false));
        for (attrs, expected) in [
            (SessionAttrs::Any, [Well, Well, Well]),
            (SessionAttrs::ReadWrite, [Well, Not, Not]),
            (SessionAttrs::ReadOnly, [Not, Well, Well]),
            (SessionAttrs::Primary, [Well, Well, Not]),
            (SessionAttrs::Standby, [Not, Not, Well]),
            (SessionAttrs::PreferStandby, [AtNeed, AtNeed, Well]),
        ] {
            assert_eq!([primary, meek, standby].map(|state| attrs.fit(state)), expected, "{attrs:?}");
            let excludes = [primary, meek, standby].map(|state| attrs.excludes(state));
            assert_eq!(excludes, expected.map(|fit| fit == Not), "{attrs:?}");
            assert_eq!(excludes.contains(&true), attrs.can_exclude(), "{attrs:?}");
        }
    }

    #[test]
    fn what_a_client_says_of_read_only_is_not_the_servers_word() {
        let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
        };
        let reported = pairs(&[("in_hot_standby", "off"), ("default_transaction_read_only", "on")]);
        let of = |extra: &[(&str, &str)]| ServerState::reported(&reported, &pairs(extra));
        assert_eq!(of(&[("DateStyle", "ISO")]), Some(ServerState { standby: false, read_only: Some(true) }));
        let own = of(&[("Default_Transaction_Read_Only", "on")]).unwrap();
        assert_eq!(own, ServerState { standby: false, read_only: None });
        for attrs in [SessionAttrs::ReadWrite, SessionAttrs::ReadOnly] {
            assert_eq!(attrs.fit(own), Fit::Well);
        }
        // Before 14.
        assert_eq!(ServerState::reported(&pairs(&[("server_version", "13.1")]), &[]), None);
        let row = [Some("t".to_owned()), Some("on".to_owned())];
        let asked = ServerState::from_row(&row).unwrap();
        assert_eq!(asked, ServerState { standby: true, read_only: Some(true) });
        assert_eq!(asked.without(&pairs(&[("options", "-c x=1")])).read_only, None);
        assert_eq!(ServerState::from_row(&row[..1]), None);
    }
}
