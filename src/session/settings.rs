//! The settings that a client made beyond one transaction, and what ties it to its upstream.
//!
//! Nobody here guesses what a SET, a ROLLBACK or a function came to: when a client that may
//! have changed something is about to let its upstream go, the server is asked, and its answer is
//! the client's profile from then on. Which upstream it gets next is aligned with that.

use std::fmt::Write as _;

use super::scan::Meaning;
use crate::pool::{Profile, Ties};
use crate::wire::quote_literal;

/// Not in pg_settings, whatever they are: asked for by name.
const UNLISTED: &[&str] = &["role", "session_authorization"];
/// End with their transaction, or cannot be set.
const NEVER: &[&str] = &[
    "transaction_isolation",
    "transaction_read_only",
    "transaction_deferrable",
    "is_superuser",
    "seed",
    "in_hot_standby",
];
/// A name in a question's answer that is no setting: which ties are left.
const TIES: &str = "#ties";
/// More names than this are not asked for one by one.
const MOST_NAMES: usize = 64;

/// What may have changed since the server was asked last.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    names: Vec<String>,
    /// Reported by the server, nobody knows why: by the client's doing, or because its configuration changed.
    reported: Vec<String>,
    any: bool,
    ties: Ties,
}

impl Doubt {
    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.names.is_empty() && self.reported.is_empty() && !self.any && self.ties.is_empty()
    }

    /// Whether this setting may be another now; its name in lower case.
    pub(super) fn is_about_setting(&self, name: &str) -> bool {
        self.any || self.asked_names().any(|known| known == name)
    }

    /// A text with this meaning is executed.
    pub(super) fn add(&mut self, meaning: &Meaning) {
        meaning.settings.iter().for_each(|name| self.name(name));
        self.any |= meaning.any_setting;
        self.ties.add(meaning.ties);
    }

    /// Any setting may be another now.
    pub(super) fn anything(&mut self) {
        self.any = true;
    }

    /// What ties the client is asked for again.
    pub(super) fn tied(&mut self, ties: Ties) {
        self.ties.add(ties);
    }

    /// Whether a tie of this kind may have come about.
    pub(super) fn is_about(&self, ties: Ties) -> bool {
        self.ties.has(ties)
    }

    /// What another doubt is about, too.
    pub(super) fn merge(&mut self, other: Self) {
        other.names.iter().for_each(|name| self.name(name));
        other.reported.iter().for_each(|name| self.reported(name));
        self.any |= other.any;
        self.ties.add(other.ties);
    }

    /// A setting may be another now; its name in lower case.
    pub(super) fn name(&mut self, name: &str) {
        if NEVER.contains(&name) {
            return;
        }
        if self.names.len() < MOST_NAMES && !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }

    /// The server reported this setting out of the blue; its name in lower case. It is the client's only
    /// if the session set it.
    pub(super) fn reported(&mut self, name: &str) {
        if is_unlisted(name) {
            self.name(name);
        } else if !NEVER.contains(&name) && !self.reported.iter().any(|known| known == name) {
            self.reported.push(name.to_owned());
        }
    }

    fn asked_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().chain(&self.reported).map(String::as_str)
    }

    /// A parameter that could be the name of a setting of an extension or the application.
    pub(super) fn candidate(&mut self, value: &[u8]) {
        let word = |part: &[u8]| {
            part.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
                && part.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'))
        };
        if value.len() <= 126 && value.contains(&b'.') && value.split(|byte| *byte == b'.').all(word) {
            self.name(&String::from_utf8_lossy(value).to_ascii_lowercase());
        }
    }

    /// The one query that settles it. Its rows: a name, and a value or NULL.
    pub(super) fn question(&self, profile: &Profile) -> String {
        let mut names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        if self.any {
            let unlisted = profile.iter().map(|(name, _)| name).filter(|name| is_unlisted(name));
            names.extend(unlisted.chain(["role"]));
        }
        names.sort_unstable();
        names.dedup();
        let mut parts = Vec::new();
        for name in names {
            let name = quote_literal(name);
            parts.push(format!("SELECT {name}, pg_catalog.current_setting({name}, true)"));
        }
        let reported: Vec<String> = self
            .reported
            .iter()
            .filter(|name| !self.any && !self.names.contains(name))
            .map(|name| quote_literal(name))
            .collect();
        if !reported.is_empty() {
            parts.push(format!(
                "SELECT pg_catalog.lower(name), pg_catalog.current_setting(name, true) FROM pg_catalog.pg_settings \
                 WHERE source = 'session' AND pg_catalog.lower(name) IN ({})",
                reported.join(", ")
            ));
        }
        if self.any {
            let never: Vec<String> = NEVER.iter().map(|name| quote_literal(name)).collect();
            parts.push(format!(
                "SELECT pg_catalog.lower(name), pg_catalog.current_setting(name, true) FROM pg_catalog.pg_settings \
                 WHERE source = 'session' AND context <> 'internal' AND name NOT IN ({})",
                never.join(", ")
            ));
        }
        if !self.ties.is_empty() {
            parts.push(self.ties_left());
        }
        parts.join(" UNION ALL ")
    }

    /// The names of the ties that are left, each in brackets.
    fn ties_left(&self) -> String {
        let mut sum = String::from("''");
        for (tie, there) in [
            (
                Ties::PREPARED,
                "SELECT 1 FROM pg_catalog.pg_prepared_statements WHERE NOT pg_catalog.starts_with(name, 'leasehold_')",
            ),
            (Ties::LISTEN, "SELECT 1 FROM pg_catalog.pg_listening_channels()"),
            (
                Ties::TEMPORARY,
                "SELECT 1 FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema()",
            ),
            (
                Ties::ADVISORY,
                "SELECT 1 FROM pg_catalog.pg_locks \
                 WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()",
            ),
            (Ties::HELD, "SELECT 1 FROM pg_catalog.pg_cursors WHERE is_holdable"),
        ] {
            if self.ties.has(tie) {
                let name = tie.names().concat();
                let _ = write!(sum, " || CASE WHEN EXISTS ({there}) THEN '[{name}]' ELSE '' END");
            }
        }
        if self.ties.has(Ties::LOADED) {
            // A library stays as long as its connection.
            sum.push_str(" || '[loaded]'");
        }
        format!("SELECT '{TIES}', {sum}")
    }

    /// What the answer says: the client's settings from now on, and what still ties it.
    /// `own`: what the upstream has by its login.
    pub(super) fn settle(
        self,
        profile: &Profile,
        answer: &[(String, Option<String>)],
        own: &[(&str, &str)],
    ) -> (Profile, Ties) {
        let mut kept: Vec<(String, String)> = profile
            .iter()
            .filter(|(name, _)| {
                !self.any && !self.asked_names().any(|asked| asked.eq_ignore_ascii_case(name))
            })
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut ties = Ties::default();
        for (name, value) in answer {
            let value = value.as_deref();
            if name == TIES {
                for tie in Ties::EACH {
                    if value.unwrap_or_default().contains(&format!("[{}]", tie.names().concat())) {
                        ties.add(tie);
                    }
                }
                continue;
            }
            kept.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            if let Some(value) = value
                && !own.contains(&(name.as_str(), value))
            {
                kept.push((name.clone(), value.to_owned()));
            }
        }
        kept.sort();
        (Profile::new(kept), ties)
    }
}

/// Behind a RESET: lays on again what has gone back to the upstream's own value instead of the
/// client's. What was set since, or was not reset, is left alone. `None`: there is nothing to lay on.
pub(super) fn restoring(startup: &Profile) -> Option<String> {
    let parts: Vec<String> = startup
        .iter()
        .map(|(name, value)| {
            let name_of = name.to_ascii_lowercase();
            let lower = quote_literal(&name_of);
            let (name, value) = (quote_literal(name), quote_literal(value));
            let set = format!("SELECT pg_catalog.set_config({name}, {value}, false)");
            if !is_unlisted(&name_of) {
                format!(
                    "{set} FROM pg_catalog.pg_settings \
                     WHERE pg_catalog.lower(name) = {lower} AND source <> 'session'"
                )
            } else if name_of.contains('.') {
                format!("{set} WHERE coalesce(pg_catalog.current_setting({name}, true), '') = ''")
            } else {
                set
            }
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn is_unlisted(name: &str) -> bool {
    name.contains('.') || UNLISTED.iter().any(|unlisted| name.eq_ignore_ascii_case(unlisted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(pairs: &[(&str, &str)]) -> Profile {
        Profile::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn answer(pairs: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
    }

    #[test]
    fn only_what_is_in_doubt_is_asked_and_learnt() {
        let before = profile(&[("TimeZone", "UTC"), ("app.x", "1")]);
        let mut doubt = Doubt::default();
        assert!(doubt.is_none());
        doubt.name("timezone");
        assert_eq!(
            doubt.question(&before),
            "SELECT 'timezone', pg_catalog.current_setting('timezone', true)"
        );
        let (after, ties) = doubt.settle(&before, &answer(&[("timezone", Some("Asia/Tokyo"))]), &[]);
        assert_eq!(after, profile(&[("app.x", "1"), ("timezone", "Asia/Tokyo")]));
        assert!(ties.is_empty());
    }

    #[test]
    fn what_the_server_reports_is_the_clients_only_if_the_session_set_it() {
        let before = profile(&[("TimeZone", "UTC"), ("application_name", "x")]);
        let mut doubt = Doubt::default();
        doubt.reported("timezone");
        doubt.reported("timezone");
        doubt.reported("in_hot_standby");
        assert!(!doubt.is_none() && doubt.is_about_setting("timezone"));
        assert_eq!(
            doubt.question(&before),
            "SELECT pg_catalog.lower(name), pg_catalog.current_setting(name, true) FROM pg_catalog.pg_settings \
             WHERE source = 'session' AND pg_catalog.lower(name) IN ('timezone')"
        );
        // The server's configuration changed: it says nothing of the session.
        let mut merged = Doubt::default();
        merged.merge(doubt);
        assert_eq!(merged.settle(&before, &[], &[]).0, profile(&[("application_name", "x")]));
        // It is asked for once.
        let mut doubt = Doubt::default();
        doubt.reported("timezone");
        doubt.name("timezone");
        assert_eq!(doubt.question(&before).matches("timezone").count(), 2);
        doubt.anything();
        assert!(!doubt.question(&before).contains("IN ('timezone')"));
    }

    #[test]
    fn when_anything_may_have_changed_the_answer_is_all_there_is() {
        let before = profile(&[("timezone", "UTC"), ("app.x", "1"), ("app.y", "2")]);
        let mut doubt = Doubt::default();
        doubt.anything();
        let question = doubt.question(&before);
        assert!(question.contains("current_setting('app.x', true)") && question.contains("pg_settings"));
        let rows = answer(&[("app.x", None), ("app.y", Some("")), ("role", Some("app")), ("a", Some("b"))]);
        assert_eq!(doubt.settle(&before, &rows, &[("role", "app")]).0, profile(&[("a", "b"), ("app.y", "")]));
    }

    #[test]
    fn parameters_that_look_like_names_are_asked_for() {
        let mut doubt = Doubt::default();
        for value in ["app.tenant", "App.User_1", "1.5", "a. b", "x", "a..b", "10.0.0.1"] {
            doubt.candidate(value.as_bytes());
        }
        assert_eq!(doubt.names, ["app.tenant", "app.user_1"]);
    }

    #[test]
    fn ties_are_those_that_the_server_still_sees() {
        let mut doubt = Doubt::default();
        doubt.tied(Ties::LISTEN);
        doubt.tied(Ties::HELD);
        let question = doubt.question(&Profile::default());
        assert!(question.contains("pg_cursors") && !question.contains("pg_locks"), "{question}");
        let (_, ties) = doubt.settle(&Profile::default(), &answer(&[("#ties", Some("[held_cursor]"))]), &[]);
        assert_eq!(ties, Ties::HELD);
    }
}
