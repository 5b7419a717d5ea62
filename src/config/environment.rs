//! `LEASEHOLD_…` variables laid over the file: two underscores go one table down.

use std::collections::BTreeMap;

use super::KEYS;
use super::known::{self, Known};
use super::links::is_link;
use super::names;
use super::problem::{Findings, Origin};
use super::tree::{self, Node, Table, Value};

const PREFIX: &str = "LEASEHOLD_";

/// Lays every `LEASEHOLD_…` variable over the tree; unknown ones are errors, unless a neighbour's
/// name may have made them.
pub(super) fn overlay(tree: &mut Table, variables: &BTreeMap<String, String>, findings: &mut Findings) {
    for (variable, raw) in variables {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        if rest == "CONFIG" || rest.starts_with("TEST_") {
            continue;
        }
        let path = path_of(rest, tree);
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let node = tree::parse_variable(variable, raw);
        match known::look_up(&names) {
            Known::Key(_) => insert(tree, &path, node, findings),
            Known::Table if matches!(node.value, Value::Table(_)) => insert(tree, &path, node, findings),
            Known::Table => findings.error(
                &node.origin,
                format!("`{}` is a table", path.join(".")),
                "name one of its keys after two underscores",
            ),
            Known::Nothing if is_link(variable) => {}
            Known::Nothing => {
                findings.error(&node.origin, format!("unknown variable {variable}"), advice(&path));
            }
        }
    }
}

/// The path that a variable's name means; an existing database, or existing credentials, are found whatever its case.
fn path_of(rest: &str, tree: &Table) -> Vec<String> {
    let mut path: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
    if let [first, name, ..] = path.as_mut_slice()
        && (first == "databases" || first == "credentials")
        && let Some(Value::Table(named)) = tree.get(first).map(|node| &node.value)
        && let Some(existing) = named.keys().find(|existing| existing.to_lowercase() == *name)
    {
        name.clone_from(existing);
    }
    path
}

fn insert(tree: &mut Table, path: &[String], node: Node, findings: &mut Findings) {
    let Some((last, tables)) = path.split_last() else { return };
    let mut table = tree;
    for name in tables {
        let origin = node.origin.clone();
        let below = table.entry(name.clone()).or_insert_with(|| Node {
            value: Value::Table(Table::new()),
            origin,
            raw: None,
        });
        match &mut below.value {
            Value::Table(inner) => table = inner,
            other => {
                let what = format!("`{name}` in the file is {}, not a table", other.kind());
                findings.error(&node.origin, what, "make it a table, or set it as a whole");
                return;
            }
        }
    }
    table.insert(last.clone(), node);
}

/// The nearest variable, with the database's name kept.
fn advice(path: &[String]) -> String {
    let given = path.join(".");
    let database = match path {
        [first, name, _, ..] if first == "databases" || first == "credentials" => name.as_str(),
        _ => "NAME",
    };
    let paths = KEYS.iter().flat_map(|key| {
        let inline = key
            .path
            .strip_prefix("credentials.NAME")
            .filter(|_| path.first().is_some_and(|first| first == "databases"));
        [Some(key.path.to_owned()), inline.map(|rest| format!("databases.NAME.credentials{rest}"))]
    });
    let known: Vec<String> = paths.flatten().map(|path| path.replace("NAME", database)).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    match names::nearest(&given, &known).or_else(|| names::nearest(&given.replace('_', "."), &known)) {
        Some(near) => format!("did you mean {}?", variable_of(near)),
        None => {
            "two underscores go one table down, as in LEASEHOLD_DATABASES__APP__POOL_SIZE; the keys are in docs/configuration.md".to_owned()
        }
    }
}

/// The variable that sets the key at `path`.
pub(super) fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_uppercase())
}

/// Where a value set by hand would be looked up in the tree, for tests and tables.
pub(super) fn origins(tree: &Table) -> BTreeMap<String, Origin> {
    let mut found = BTreeMap::new();
    collect(tree, "", &mut found);
    found
}

fn collect(table: &Table, prefix: &str, found: &mut BTreeMap<String, Origin>) {
    for (name, node) in table {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if let Value::Table(inner) = &node.value {
            collect(inner, &path, found);
        }
        found.insert(path, node.origin.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaid(text: &str, variables: &[(&str, &str)]) -> (Table, Vec<String>) {
        let mut findings = Findings::default();
        let mut tree = tree::parse_document(text, &mut findings);
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        overlay(&mut tree, &variables, &mut findings);
        (tree, findings.errors.into_iter().map(|p| format!("{} | {}", p.what, p.advice)).collect())
    }

    #[test]
    fn a_variable_finds_the_database_whatever_its_case() {
        let (tree, errors) = overlaid(
            "[databases.MyApp]\nport = 1",
            &[("LEASEHOLD_DATABASES__MYAPP__PORT", "2"), ("LEASEHOLD_DATABASES__NEW__PORT", "3")],
        );
        assert_eq!(errors, Vec::<String>::new());
        let origins = origins(&tree);
        let from = |name: &str| Origin::Variable(name.to_owned());
        assert_eq!(origins["databases.MyApp.port"], from("LEASEHOLD_DATABASES__MYAPP__PORT"));
        assert_eq!(origins["databases.new.port"], from("LEASEHOLD_DATABASES__NEW__PORT"));
    }

    #[test]
    fn unknown_variables_are_errors_with_the_nearest_name() {
        let cases = [
            ("LEASEHOLD_DATABASES__APP__POOLSIZE", "did you mean LEASEHOLD_DATABASES__APP__POOL_SIZE?"),
            ("LEASEHOLD_LISTEN_TCP", "did you mean LEASEHOLD_LISTEN__TCP?"),
            ("LEASEHOLD_THREAD", "did you mean LEASEHOLD_THREADS?"),
            ("LEASEHOLD_DATABASES__APP__DB_NAME", "did you mean LEASEHOLD_DATABASES__APP__DBNAME?"),
            ("LEASEHOLD_DATABASES__APP__SSL_PORT", "did you mean LEASEHOLD_DATABASES__APP__PORT?"),
        ];
        for (variable, advice) in cases {
            let (_, errors) = overlaid("", &[(variable, "1")]);
            assert_eq!(errors, [format!("unknown variable {variable} | {advice}")]);
        }
        let (_, errors) = overlaid("", &[("LEASEHOLD_LISTEN", "1")]);
        assert_eq!(errors, ["`listen` is a table | name one of its keys after two underscores"]);
    }

    #[test]
    fn our_own_other_variables_and_a_neighbours_are_left_alone() {
        let names = [
            "LEASEHOLD_CONFIG",
            "LEASEHOLD_TEST_VAULT",
            "LEASEHOLD_PORT",
            "LEASEHOLD_METRICS_SERVICE_HOST",
            "PATH",
        ];
        for name in names {
            let (tree, errors) = overlaid("", &[(name, "tcp://10.0.0.1:6432")]);
            assert_eq!((tree.len(), errors), (0, Vec::new()), "{name}");
        }
    }
}
