//! What a local source needs to know, and what of it cannot work.

use std::path::PathBuf;
use std::time::Duration;

use super::template::{Values, fill};
use crate::credentials::SourceSettings;

/// The settings of one pool's local source.
#[derive(Debug, Clone)]
pub struct LocalSettings {
    /// The pool's name; part of the users' names.
    pub pool: String,
    /// The pool's startup role: what `{{role}}` stands for.
    pub role: Option<String>,
    /// File that holds the admin connection's URL.
    pub admin_url_file: PathBuf,
    /// Statements that make a user.
    pub creation_statements: Vec<String>,
    /// Statements that extend it; empty: `ALTER ROLE … VALID UNTIL`.
    pub renew_statements: Vec<String>,
    /// Statements that remove it; empty: Vault's default revocation.
    pub revocation_statements: Vec<String>,
    /// The lease.
    pub default_ttl: Duration,
    /// The longest life, renewals included.
    pub max_ttl: Duration,
}

impl LocalSettings {
    /// The settings of a pool whose source is [`SourceSettings::Local`]; `None` for another one.
    #[must_use]
    pub fn of_pool(settings: &SourceSettings, pool: &str, role: Option<&str>) -> Option<Self> {
        let SourceSettings::Local {
            admin_url_file,
            creation_statements,
            renew_statements,
            revocation_statements,
            default_ttl,
            max_ttl,
        } = settings
        else {
            return None;
        };
        Some(Self {
            pool: pool.to_owned(),
            role: role.filter(|role| !role.is_empty()).map(str::to_owned),
            admin_url_file: admin_url_file.clone(),
            creation_statements: creation_statements.clone(),
            renew_statements: renew_statements.clone(),
            revocation_statements: revocation_statements.clone(),
            default_ttl: *default_ttl,
            max_ttl: *max_ttl,
        })
    }
}

impl LocalSettings {
    /// Everything that can be known to fail without a server.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.creation_statements.iter().all(|statement| statement.trim().is_empty()) {
            return Err(
                "creation_statements is empty; write e.g. CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD \
                    '{{password}}' VALID UNTIL '{{expiration}}'"
                    .to_owned(),
            );
        }
        if self.default_ttl < Duration::from_secs(1) {
            return Err("default_ttl is below 1s".to_owned());
        }
        if self.max_ttl < self.default_ttl {
            return Err("max_ttl is below default_ttl".to_owned());
        }
        let plain = |role: &String| {
            !role.is_empty()
                && role.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let all = [
            ("creation_statements", &self.creation_statements, Some("x"), Some("x")),
            ("renew_statements", &self.renew_statements, None, Some("x")),
            ("revocation_statements", &self.revocation_statements, None, None),
        ];
        for (what, statements, password, expiration) in all {
            for statement in statements {
                let values = Values { name: "x", password, expiration, role: self.role.as_deref() };
                let filled = fill(statement, &values).map_err(|why| format!("{what}: {why}"))?;
                let without = Values { role: Some(""), ..values };
                let uses_role = fill(statement, &without).is_ok_and(|other| other != filled);
                if uses_role && !self.role.as_ref().is_some_and(plain) {
                    return Err(format!(
                        "{what}: role holds characters that cannot stand in {{{{role}}}}; write it out in the statement"
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> LocalSettings {
        LocalSettings {
            pool: "app".into(),
            role: Some("app".into()),
            admin_url_file: "/nonexistent".into(),
            creation_statements: vec![
                "CREATE ROLE \"{{name}}\" PASSWORD '{{password}}' IN ROLE {{role}}".into(),
            ],
            renew_statements: vec![],
            revocation_statements: vec![],
            default_ttl: Duration::from_secs(60),
            max_ttl: Duration::from_secs(600),
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_at_once() {
        assert!(settings().check().is_ok());
        type Spoil = fn(&mut LocalSettings);
        let bad: [(&str, Spoil); 8] = [
            ("creation_statements is empty", |s| s.creation_statements = vec![" ".into()]),
            ("below 1s", |s| s.default_ttl = Duration::from_millis(10)),
            ("below default_ttl", |s| s.max_ttl = Duration::from_secs(1)),
            ("no role set", |s| s.role = None),
            ("cannot stand in", |s| s.role = Some("a\"; DROP".into())),
            ("{{nmae}}", |s| s.creation_statements = vec!["{{nmae}}".into()]),
            ("{{password}} has no value", |s| s.renew_statements = vec!["{{password}}".into()]),
            ("{{expiration}} has no value", |s| s.revocation_statements = vec!["{{expiration}}".into()]),
        ];
        for (words, spoil) in bad {
            let mut settings = settings();
            spoil(&mut settings);
            let error = settings.check().unwrap_err();
            assert!(error.contains(words), "{error} lacks {words}");
        }
        let mut odd_but_unused = settings();
        odd_but_unused.role = Some("my app".into());
        odd_but_unused.creation_statements = vec!["CREATE ROLE \"{{name}}\"".into()];
        assert!(odd_but_unused.check().is_ok());
    }
}
