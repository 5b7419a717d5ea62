//! SHOW LISTS, CONFIG and MEM: the process as a whole.

use std::collections::BTreeSet;

use crate::admin::settings::{ShownSetting, ShownSettings};
use crate::admin::table::{Column, Kind, Value, column};
use crate::credentials::GenerationState;
use crate::snapshot::Snapshot;

pub(super) const LISTS: &[Column] =
    &[column("list", Kind::Text, "What is counted."), column("items", Kind::Int8, "How many there are.")];

pub(super) const CONFIG: &[Column] = &[
    column("key", Kind::Text, "The key's full path, as in [configuration.md](configuration.md)."),
    column("value", Kind::Text, "The value in force; of a secret only where it comes from."),
    column("default", Kind::Text, "The same where nobody set the key; NULL where somebody did."),
    column("changeable", Kind::Text, "`yes`: RELOAD and SIGHUP change it; `no`: it is read at the start."),
];

pub(super) const MEM: &[Column] = &[
    column("name", Kind::Text, "`resident`: memory that the process has now; `peak`: the most it had."),
    column("size", Kind::Int8, "Bytes of one unit, in which the system counts."),
    column("used", Kind::Int8, "Units in use."),
    column("free", Kind::Int8, "Always 0: nothing is set aside for later."),
    column("memtotal", Kind::Int8, "Bytes in use."),
];

pub(super) fn lists(view: &Snapshot) -> Vec<Vec<Value>> {
    let generations = view.databases.iter().flat_map(|pool| &pool.keeper.generations);
    let alive = generations.filter(|generation| {
        !matches!(
            generation.state,
            GenerationState::Issuing | GenerationState::Revoked | GenerationState::Dead
        )
    });
    // Databases that share their credentials have the same users.
    let users: BTreeSet<&str> = alive.map(|generation| generation.user.as_str()).collect();
    let servers: usize = (0..view.databases.len()).map(|index| view.servers(index).count()).sum();
    let (clients, databases) = (view.clients.len(), view.databases.len());
    let rows = [
        ("databases", databases),
        ("users", users.len()),
        ("peers", 0),
        ("pools", databases),
        ("peer_pools", 0),
        ("free_clients", 0),
        ("used_clients", view.everybody.max(clients)),
        ("login_clients", view.everybody.saturating_sub(clients)),
        ("free_servers", 0),
        ("used_servers", servers),
        ("dns_names", 0),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", 0),
    ];
    rows.into_iter().map(|(list, items)| vec![Value::text(list), Value::count(items)]).collect()
}

/// Our keys, and the two of PgBouncer's that pgbouncer_exporter reads.
pub(super) fn config(shown: &ShownSettings) -> Vec<Vec<Value>> {
    let row = |key: &str, value: &str, is_default: bool, is_changeable: bool| {
        let changeable = if is_changeable { "yes" } else { "no" };
        let default = is_default.then(|| value.to_owned());
        vec![Value::text(key), Value::text(value), Value::Text(default), Value::text(changeable)]
    };
    let own =
        |setting: &ShownSetting| row(&setting.key, &setting.value, setting.is_default, setting.is_changeable);
    let mut rows: Vec<Vec<Value>> = shown.rows().iter().map(own).collect();
    if let Some(most) = shown.find("listen.max_clients") {
        rows.push(row("max_client_conn", &most.value, most.is_default, most.is_changeable));
    }
    rows.push(row("max_user_connections", "0", true, false));
    rows
}

/// From `status` of proc(5): `VmRSS:     1234 kB`.
pub(super) fn mem(status: &str) -> Vec<Vec<Value>> {
    const UNIT: u64 = 1024;
    let row = |(name, key): (&str, &str)| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let used: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(vec![
            Value::text(name),
            Value::count(UNIT),
            Value::count(used),
            Value::count(0),
            Value::count(used.saturating_mul(UNIT)),
        ])
    };
    [("resident", "VmRSS"), ("peak", "VmHWM")].into_iter().filter_map(row).collect()
}
