//! Who may give commands that change something: decided by where a client comes from, as the
//! kernel says it. To look is everybody's.

use super::settings::ConsoleSettings;

/// A user of `console.admin_uids` that this host does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`console.admin_uids` names {0:?}, and there is no such user on this host")]
pub struct UnknownUser(String);

/// Where a client comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Over TCP, where nobody says who it is.
    Tcp,
    /// From the Unix socket, as this user; `None`: the kernel did not say.
    Unix(Option<u32>),
}

/// Why a client may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// Over TCP nobody may.
    Tcp,
    /// This user may not.
    User(Option<u32>),
}

/// Who may give commands that change something.
#[derive(Debug, PartialEq, Eq)]
pub struct Rights {
    uids: Vec<u32>,
    tcp: bool,
}

impl Rights {
    /// As the settings say, on this host.
    ///
    /// # Errors
    /// [`UnknownUser`].
    pub fn on_this_host(settings: &ConsoleSettings) -> Result<Self, UnknownUser> {
        let own = rustix::process::geteuid().as_raw();
        Self::new(settings, own, uid_of)
    }

    /// From the settings; `own` is the user that the program runs as, `look_up` finds a user's number.
    ///
    /// # Errors
    /// [`UnknownUser`]: a name that nobody has would keep somebody out who is meant to be let in.
    fn new(
        settings: &ConsoleSettings,
        own: u32,
        look_up: impl Fn(&str) -> Option<u32>,
    ) -> Result<Self, UnknownUser> {
        let uid = |text: &String| {
            let text = text.trim();
            text.parse().ok().or_else(|| look_up(text)).ok_or_else(|| UnknownUser(text.to_owned()))
        };
        let uids = match &settings.admin_uids {
            None => vec![0, own],
            Some(named) => named.iter().map(uid).collect::<Result<_, _>>()?,
        };
        Ok(Self { uids, tcp: settings.tcp_commands })
    }

    /// Whether a client may change something.
    pub(super) fn check(&self, origin: Origin) -> Result<(), Denied> {
        match origin {
            Origin::Tcp if self.tcp => Ok(()),
            Origin::Tcp => Err(Denied::Tcp),
            Origin::Unix(Some(uid)) if self.uids.contains(&uid) => Ok(()),
            Origin::Unix(uid) => Err(Denied::User(uid)),
        }
    }
}

/// The number of a user of this host.
fn uid_of(name: &str) -> Option<u32> {
    nix::unistd::User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(admins: Option<&[&str]>, tcp_commands: bool) -> Result<Rights, UnknownUser> {
        let admin_uids = admins.map(|admins| admins.iter().map(|name| (*name).to_owned()).collect());
        let look_up = |name: &str| (name == "dba").then_some(70);
        Rights::new(
            &ConsoleSettings { admin_uids, tcp_commands, ..ConsoleSettings::default() },
            1000,
            look_up,
        )
    }

    #[test]
    fn root_and_our_own_user_may_unless_others_are_named() {
        use Origin::{Tcp, Unix};
        type Case<'a> = (Option<&'a [&'a str]>, bool, Origin, Result<(), Denied>);
        let cases: &[Case<'_>] = &[
            (None, false, Unix(Some(0)), Ok(())),
            (None, false, Unix(Some(1000)), Ok(())),
            (None, false, Unix(Some(70)), Err(Denied::User(Some(70)))),
            (None, false, Unix(None), Err(Denied::User(None))),
            (None, false, Tcp, Err(Denied::Tcp)),
            (None, true, Tcp, Ok(())),
            (None, true, Unix(Some(70)), Err(Denied::User(Some(70)))),
            (Some(&["dba", " 71 "]), false, Unix(Some(70)), Ok(())),
            (Some(&["dba", " 71 "]), false, Unix(Some(71)), Ok(())),
            (Some(&["dba", " 71 "]), false, Unix(Some(0)), Err(Denied::User(Some(0)))),
            (Some(&[]), false, Unix(Some(0)), Err(Denied::User(Some(0)))),
        ];
        for (admins, tcp, origin, expected) in cases {
            assert_eq!(rights(*admins, *tcp).unwrap().check(*origin), *expected, "{admins:?} {origin:?}");
        }
        assert_eq!(rights(Some(&["nobody-here"]), false), Err(UnknownUser("nobody-here".into())));
    }
}
