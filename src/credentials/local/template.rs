//! Vault's statement templates, filled in.
//!
//! <https://developer.hashicorp.com/vault/api-docs/secret/databases/postgresql#statements>
//! Nothing is quoted here, as in Vault: the values are of characters that need
//! no quoting in `"…"` or `'…'`, and who makes them keeps it so.

/// What the placeholders stand for.
pub(super) struct Values<'a> {
    /// `{{name}}` and `{{username}}`.
    pub(super) name: &'a str,
    /// `{{password}}`; statements that run later have none.
    pub(super) password: Option<&'a str>,
    /// `{{expiration}}`, as `2006-01-02 15:04:05-0700`.
    pub(super) expiration: Option<&'a str>,
    /// `{{role}}`: the pool's startup role.
    pub(super) role: Option<&'a str>,
}

/// Fills one statement in; the error names what cannot be filled.
pub(super) fn fill(statement: &str, values: &Values<'_>) -> Result<String, String> {
    let mut filled = String::with_capacity(statement.len().saturating_add(160));
    let mut rest = statement;
    while let Some((before, behind)) = rest.split_once("{{") {
        filled.push_str(before);
        let (placeholder, tail) =
            behind.split_once("}}").ok_or_else(|| "\"{{\" without \"}}\"".to_owned())?;
        let value = match placeholder.trim() {
            "name" | "username" => Some(values.name),
            "password" => values.password,
            "expiration" => values.expiration,
            "role" => values.role,
            other => {
                return Err(format!(
                    "{{{{{other}}}}} is not known; known are {{{{name}}}}, {{{{username}}}}, {{{{password}}}}, \
                     {{{{expiration}}}}, {{{{role}}}}"
                ));
            }
        };
        let value = value.ok_or_else(|| match placeholder.trim() {
            "role" => "{{role}} is used, but the database has no role set".to_owned(),
            known => format!("{{{{{known}}}}} has no value in these statements"),
        })?;
        filled.push_str(value);
        rest = tail;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_of_vault_is_filled_and_no_other() {
        let all = Values { name: "n", password: Some("p"), expiration: Some("e"), role: Some("r") };
        let cases = [
            ("CREATE ROLE \"{{name}}\" PASSWORD '{{password}}'", Ok("CREATE ROLE \"n\" PASSWORD 'p'")),
            ("{{username}}{{ expiration }}{{role}}{{name}}", Ok("nern")),
            ("no placeholder { } }}", Ok("no placeholder { } }}")),
            ("", Ok("")),
            ("{{name", Err("without")),
            ("{{nam}}", Err("{{nam}} is not known")),
        ];
        for (statement, expected) in cases {
            match (fill(statement, &all), expected) {
                (Ok(filled), Ok(expected)) => assert_eq!(filled, expected),
                (Err(error), Err(words)) => assert!(error.contains(words), "{error}"),
                (other, _) => panic!("{statement}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_placeholder_without_a_value_is_an_error() {
        let bare = Values { name: "n", password: None, expiration: None, role: None };
        assert!(fill("{{role}}", &bare).unwrap_err().contains("no role set"));
        assert!(fill("{{password}}", &bare).unwrap_err().contains("no value"));
    }
}
