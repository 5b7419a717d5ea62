//! What a local source needs to know, and what of it cannot work.

use std::path::PathBuf;
use std::time::Duration;

use super::template::{Values, fill};

/// The settings of one pool's local source.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalSettings {
    /// File that holds the admin connection's URL (`postgresql://admin:…@host/db`).
    pub admin_url_file: PathBuf,
    /// Statements that make a user; Vault's templates `{{name}}`, `{{password}}`, `{{expiration}}`, `{{role}}`.
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
    /// Everything that can be known to fail without a server; `{{role}}` stands for `role`.
    pub(super) fn check(&self, role: Option<&str>) -> Result<(), String> {
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
        let plain = |role: &str| {
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
                let values = Values { name: "x", password, expiration, role };
                let filled = fill(statement, &values).map_err(|why| format!("{what}: {why}"))?;
                let without = Values { role: Some(""), ..values };
                let uses_role = fill(statement, &without).is_ok_and(|other| other != filled);
                if uses_role && !role.is_some_and(plain) {
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
        const ROLE: Option<&str> = Some("app");
        assert!(settings().check(ROLE).is_ok());
        type Spoil = fn(&mut LocalSettings);
        let bad: [(&str, Option<&str>, Spoil); 8] = [
            ("creation_statements is empty", ROLE, |s| s.creation_statements = vec![" ".into()]),
            ("below 1s", ROLE, |s| s.default_ttl = Duration::from_millis(10)),
            ("below default_ttl", ROLE, |s| s.max_ttl = Duration::from_secs(1)),
            ("no role set", None, |_| {}),
            ("cannot stand in", Some("a\"; DROP"), |_| {}),
            ("{{nmae}}", ROLE, |s| s.creation_statements = vec!["{{nmae}}".into()]),
            ("{{password}} has no value", ROLE, |s| s.renew_statements = vec!["{{password}}".into()]),
            ("{{expiration}} has no value", ROLE, |s| {
                s.revocation_statements = vec!["{{expiration}}".into()]
            }),
        ];
        for (words, role, spoil) in bad {
            let mut settings = settings();
            spoil(&mut settings);
            let error = settings.check(role).unwrap_err();
            assert!(error.contains(words), "{error} lacks {words}");
        }
        let mut odd_but_unused = settings();
        odd_but_unused.creation_statements = vec!["CREATE ROLE \"{{name}}\"".into()];
        assert!(odd_but_unused.check(Some("my app")).is_ok());
    }
}
