//! Are all names known? And if not, which one was meant?

use super::known::{self, Known};
use super::problem::{Findings, Origin};
use super::tree::{Table, Value};

/// What the file must never hold, whatever table it is put in.
const SECRET_NAMES: &[&str] = &["token", "secret_id", "password", "admin_url"];

/// Reports every unknown name and every secret that stands in the file.
pub(super) fn check(tree: &Table, findings: &mut Findings) {
    check_table(tree, &mut Vec::new(), findings);
}

fn check_table<'t>(table: &'t Table, path: &mut Vec<&'t str>, findings: &mut Findings) {
    for (name, node) in table {
        path.push(name);
        let full = path.join(".");
        let in_file = !matches!(node.origin, Origin::Variable(_));
        match known::look_up(path) {
            Known::Key(key) if key.secret && in_file => refuse_secret(&node.origin, path, findings),
            Known::Key(_) => {
                if let Value::Table(inner) = &node.value
                    && !known::children(path).is_empty()
                {
                    check_table(inner, path, findings);
                }
            }
            Known::Table => match &node.value {
                Value::Table(inner) => check_table(inner, path, findings),
                other => findings.error(
                    &node.origin,
                    format!("`{full}` must be a table, not {}", other.kind()),
                    format!("write [{full}] and its keys below it"),
                ),
            },
            Known::Nothing if SECRET_NAMES.contains(&name.as_str()) => {
                refuse_secret(&node.origin, path, findings);
            }
            Known::Nothing => {
                findings.error(&node.origin, format!("unknown key `{full}`"), advice(path));
            }
        }
        path.pop();
    }
}

fn refuse_secret(origin: &Origin, path: &[&str], findings: &mut Findings) {
    let full = path.join(".");
    let advice = match path {
        ["vault", "auth", "token"] => "use `token_file` or the variable VAULT_TOKEN",
        ["vault", "auth", "secret_id"] => {
            "use `secret_id_file` or the variable LEASEHOLD_VAULT__AUTH__SECRET_ID"
        }
        ["vault", "auth", "password"] => {
            "use `password_file` or the variable LEASEHOLD_VAULT__AUTH__PASSWORD"
        }
        [.., "admin_url"] => {
            "put the URL into a file that only this user can read, and name it with `admin_url_file`"
        }
        [.., "password"] => "users and passwords come from `credentials`; there is none to set",
        _ => "remove it, and treat the secret as leaked if others can read this file",
    };
    findings.error(origin, format!("`{full}`: secrets only by file or environment"), advice);
}

/// What to write instead of the unknown last name of `path`.
fn advice(path: &[&str]) -> String {
    let Some((name, table)) = path.split_last() else { return String::new() };
    let siblings = known::children(table);
    if let Some(near) = nearest(name, &siblings) {
        return format!("did you mean `{near}`?");
    }
    if let Some(home) = known::homes(name).first() {
        return format!("`{name}` belongs in [{home}]");
    }
    let place = if table.is_empty() { "at the top".to_owned() } else { format!("in [{}]", table.join(".")) };
    format!("known {place}: {}", siblings.join(", "))
}

/// The candidate that was probably meant, if any is near enough.
pub(super) fn nearest<'c>(name: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let name = name.to_lowercase().replace('-', "_");
    candidates
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| {
            let longer = name.len().max(candidate.len());
            let part = name.len() >= 4 && candidate.len() >= 4;
            *distance <= (longer / 3).max(1)
                || (part && (candidate.contains(name.as_str()) || name.contains(candidate)))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree::parse_document;

    fn errors(text: &str) -> Vec<String> {
        let mut findings = Findings::default();
        let tree = parse_document(text, &mut findings);
        check(&tree, &mut findings);
        findings.errors.into_iter().map(|p| format!("{} | {}", p.what, p.advice)).collect()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_path_and_the_nearest_one() {
        let cases = [
            (
                "[databases.app]\npoolsize = 1",
                "unknown key `databases.app.poolsize` | did you mean `pool_size`?",
            ),
            ("[databases.app]\nhots = 1", "unknown key `databases.app.hots` | did you mean `host`?"),
            ("[database.app]\nhost = 1", "unknown key `database` | did you mean `databases`?"),
            ("[listen]\ntimeout = 1", "unknown key `listen.timeout` | did you mean `startup_timeout`?"),
            ("[listen]\nmax-clients = 1", "unknown key `listen.max-clients` | did you mean `max_clients`?"),
            ("pool_size = 1", "unknown key `pool_size` | `pool_size` belongs in [databases.NAME]"),
            (
                "[log]\nzebra = 1",
                "unknown key `log.zebra` | known in [log]: format, filter, most_alike, slow_checkout, audit",
            ),
            (
                "[rotation]\nsession_swap = \"auto\"",
                "unknown key `rotation.session_swap` | known in [rotation]: at, jitter, renew, drain_timeout, revoked_grace, watch_interval, outage_grace",
            ),
            (
                "[databases.app]\ncredentials = { sauce = 1 }",
                "unknown key `databases.app.credentials.sauce` | did you mean `source`?",
            ),
            (
                "listen = 5",
                "`listen` must be a table, not a whole number | write [listen] and its keys below it",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(errors(text), [expected], "{text}");
        }
    }

    #[test]
    fn secrets_in_the_file_are_refused_and_not_repeated() {
        for text in [
            "[vault.auth]\ntoken = \"hunter2\"",
            "[vault.auth]\nsecret_id = \"hunter2\"",
            "[vault]\ntoken = \"hunter2\"",
            "[databases.app]\npassword = \"hunter2\"",
            "[databases.app]\ncredentials = { admin_url = \"hunter2\" }",
        ] {
            let errors = errors(text);
            assert_eq!(errors.len(), 1, "{text}");
            assert!(errors[0].contains("secrets only by file or environment"), "{errors:?}");
            assert!(!errors[0].contains("hunter2"), "{errors:?}");
        }
    }
}
