//! What stands at a path of the tree: a key, a table, or nothing.

use super::keys::{KEYS, Key, LIVE};

/// Whether this path is one of [`LIVE`].
pub(super) fn is_live(path: &str) -> bool {
    let names: Vec<&str> = path.split('.').collect();
    matches!(look_up(&names), Known::Key(key) if LIVE.contains(&key.path))
}

/// What stands at a path of the tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// A key that takes a value.
    Key(&'static Key),
    /// A table with keys below it.
    Table,
    /// Neither.
    Nothing,
}

/// A database's own credentials have the keys of those that have a name.
fn plain<'p>(path: &[&'p str]) -> Vec<&'p str> {
    match path {
        ["databases", name, "credentials", key, rest @ ..] => [&["credentials", name, key], rest].concat(),
        path => path.to_vec(),
    }
}

/// Looks a path up; any name stands for `NAME`. A key may be a table as well.
pub(super) fn look_up(path: &[&str]) -> Known {
    let path = &plain(path)[..];
    let mut table = path.is_empty();
    for key in KEYS {
        match matches(key, path) {
            Some(0) => return Known::Key(key),
            Some(_) => table = true,
            None => {}
        }
    }
    if table { Known::Table } else { Known::Nothing }
}

/// The names that may stand directly below a table, without repeats; secrets are not among them.
pub(super) fn children(path: &[&str]) -> Vec<&'static str> {
    let path = match path {
        ["databases", name, "credentials"] => &["credentials", name],
        path => path,
    };
    let mut names = Vec::new();
    for key in KEYS.iter().filter(|key| !key.secret && matches(key, path).is_some_and(|more| more > 0)) {
        if let Some(name) = key.path.split('.').nth(path.len())
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

/// The tables that have a key of this name.
pub(super) fn homes(name: &str) -> Vec<&'static str> {
    KEYS.iter()
        .filter_map(|key| key.path.rsplit_once('.'))
        .filter(|(_, last)| *last == name)
        .map(|(table, _)| table)
        .collect()
}

/// How many names of `key` are left after `path`, if it starts with it.
fn matches(key: &Key, path: &[&str]) -> Option<usize> {
    let mut names = key.path.split('.');
    for given in path {
        let name = names.next()?;
        if name != *given && name != "NAME" {
            return None;
        }
    }
    Some(names.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_keys_tables_or_nothing() {
        assert!(matches!(look_up(&["threads"]), Known::Key(_)));
        assert!(matches!(look_up(&["databases", "shop", "pool_size"]), Known::Key(_)));
        assert_eq!(look_up(&[]), Known::Table);
        assert!(matches!(look_up(&["databases", "shop", "credentials"]), Known::Key(_)));
        assert!(matches!(look_up(&["databases", "shop", "credentials", "path"]), Known::Key(_)));
        assert_eq!(look_up(&["databases", "shop", "credentials", "paths"]), Known::Nothing);
        assert_eq!(look_up(&["credentials", "shop"]), Known::Table);
        assert_eq!(children(&["databases", "shop", "credentials"]), children(&["credentials", "shop"]));
        assert_eq!(look_up(&["databases", "shop", "poolsize"]), Known::Nothing);
        assert_eq!(look_up(&["listen", "tcp", "port"]), Known::Nothing);
    }

    #[test]
    fn a_tables_children_are_listed_once_and_without_secrets() {
        assert_eq!(
            children(&["vault", "auth"]),
            [
                "method",
                "token_file",
                "mount",
                "role_id",
                "secret_id_file",
                "secret_id_wrapped",
                "role",
                "jwt_file",
                "username",
                "password_file",
                "region",
                "server_id",
                "resource",
                "client_id",
                "name"
            ]
        );
        assert!(children(&[]).contains(&"databases"));
        assert_eq!(homes("pool_size"), ["databases.NAME"]);
    }
}
