//! Names of users as PostgreSQL keeps them.
//!
//! `CREATE ROLE` cuts a longer name with a NOTICE that Vault does not read, so that Vault goes on calling
//! the user by a name that no catalog, view or log has. And the servers up to 17 cut the name in a startup
//! packet wherever its 63 bytes end, also within a character, which finds no role at all.

/// `NAMEDATALEN` less the byte that ends a name (PostgreSQL manual, "Lexical Structure").
const LONGEST: usize = 63;

/// What is left of `name` in `pg_roles.rolname`: 63 bytes, or less where a character lies across that
/// border (`truncate_identifier` with `pg_mbcliplen`, of a server that keeps its names as UTF-8).
pub(super) fn kept(name: &str) -> &str {
    let border = (0..=LONGEST.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
    border.and_then(|border| name.get(..border)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_at_the_border_of_a_character() {
        let rows = [
            (String::new(), 0),
            ("a b'\"C\\".to_owned(), 7),
            ("x".repeat(63), 63),
            ("x".repeat(64), 63),
            ("é".repeat(31), 62),
            ("é".repeat(32), 62),
            (format!("x{}", "é".repeat(31)), 63),
            (format!("x{}", "é".repeat(32)), 63),
            ("€".repeat(22), 63),
            (format!("x{}", "€".repeat(22)), 61),
            (format!("xyz{}", "𐍈".repeat(16)), 63),
            (format!("xy{}", "𐍈".repeat(16)), 62),
            (format!("x{}", "𐍈".repeat(16)), 61),
            ("𐍈".repeat(16), 60),
        ];
        for (name, length) in rows {
            assert_eq!(kept(&name), &name[..length], "{name}");
        }
    }
}
