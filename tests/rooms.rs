//! Keeps the arrows between the rooms (src/lib.rs) true, and the few rules of
//! the house that a compiler does not check.
//!
//! A room is a file or folder directly under `src/`. A use counts when it names
//! `crate::ROOM`, `leasehold::ROOM`, or climbs to it by `super`; comments, strings and
//! documentation do not.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)] // panicking is how a test fails, helpers included

#[path = "rooms/circles.rs"]
mod circles;
#[path = "rooms/reader.rs"]
mod reader;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use reader::{read_tree, tokens};

/// The rooms directly below each room. Where nothing else is said, a room may also
/// name what lies below those: the errors and types that reach it through them.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["config", "app", "demo", "operator"]),
    // It knows a proxy by what /status says of it, whatever its version.
    ("operator", &[]),
    ("demo", &["config", "app"]),
    ("config", &["app", "session", "admin", "http", "cancel", "pool", "credentials", "upstream", "net"]),
    (
        "app",
        &["session", "admin", "http", "snapshot", "cancel", "pool", "credentials", "upstream", "net", "wire"],
    ),
    ("session", &["pool", "cancel", "wire", "net"]),
    ("admin", &["snapshot", "session", "pool", "cancel", "credentials", "wire", "net"]),
    ("http", &["snapshot", "session", "pool", "credentials"]),
    ("snapshot", &["session", "pool", "credentials"]),
    ("cancel", &["pool", "upstream", "net", "wire"]),
    ("pool", &["credentials", "upstream"]),
    ("upstream", &["scram", "net", "wire"]),
    ("net", &["wire"]),
    ("credentials", &["net"]),
    ("scram", &[]),
    ("wire", &[]),
];

/// Every room may use these, and they use nothing.
const LEAVES: &[&str] = &["secret", "clock", "histogram"];

/// These name their neighbours and nothing behind them.
const NO_FURTHER: &[&str] = &["main", "demo", "config", "http", "credentials"];

/// What the arrows would allow and the design does not: the console reads
/// snapshots and never holds a connection, and nor does who gathers them.
const NEVER: &[(&str, &str)] =
    &[("admin", "upstream"), ("admin", "scram"), ("snapshot", "upstream"), ("snapshot", "scram")];

/// Rooms that may name only some things of another, with what those are.
const ONLY: &[Narrow] = &[
    Narrow { from: "config", to: None, what: "settings", allows: is_setting },
    Narrow {
        from: "admin",
        to: Some("session"),
        what: "the clients' list and the console's clients",
        allows: is_client,
    },
    Narrow { from: "snapshot", to: Some("session"), what: "the clients' list", allows: is_row },
    Narrow { from: "http", to: Some("session"), what: "the clients' list", allows: is_row },
    Narrow { from: "credentials", to: Some("net"), what: "TLS and its roots", allows: is_tls },
];

struct Narrow {
    from: &'static str,
    /// The room looked into; `None`: any but the leaves.
    to: Option<&'static str>,
    what: &'static str,
    allows: fn(&[String]) -> bool,
}

fn is_setting(path: &[String]) -> bool {
    const ENUMS: &[&str] = &[
        "PoolMode",
        "PinPolicy",
        "SslMode",
        "SslRoots",
        "SessionAttrs",
        "VaultAuth",
        "LogFormat",
        "RenewPolicy",
        "AwsKeySource",
    ];
    const ENVIRONMENT: &[&str] =
        &["VaultEnvironment", "CloudEnvironment", "VaultEnvError", "from_environment"];
    path.iter().skip(1).map(String::as_str).any(|name| {
        let known = ENUMS.contains(&name) || ENVIRONMENT.contains(&name);
        name.ends_with("Settings") || known || name.starts_with("env")
    })
}

fn is_client(path: &[String]) -> bool {
    path.iter().skip(1).any(|name| {
        ["ClientPort", "ClientCounts", "ClientRow", "ClientState", "ConsoleClient"].contains(&name.as_str())
    })
}

fn is_row(path: &[String]) -> bool {
    is_client(path) && !path.iter().any(|name| name == "ConsoleClient")
}

fn is_tls(path: &[String]) -> bool {
    path.iter().skip(1).any(|name| {
        let name = name.to_lowercase();
        ["ssl", "tls", "root", "cert"].iter().any(|word| name.contains(word))
    })
}

const LONGEST: usize = 500;

#[test]
fn every_arrow_between_rooms_points_down() {
    let mut wrong = Vec::new();
    for file in sources() {
        for path in uses(&file.text, file.depth()) {
            if let Some(reason) = refusal(&file.room, &path) {
                wrong.push(format!("{}: {} ({reason})", file.path.display(), path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the table in this test does not have:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_is_in_the_table() {
    let known: BTreeSet<&str> = rooms().collect();
    let unknown: Vec<String> = sources()
        .into_iter()
        .filter(|file| file.room != "lib" && !known.contains(file.room.as_str()))
        .map(|file| file.room)
        .collect();
    assert!(unknown.is_empty(), "rooms without a place in the house: {unknown:?}");
}

#[test]
fn no_source_reaches_for_a_static_or_unsafe_code() {
    let mut wrong = Vec::new();
    for file in sources() {
        for token in tokens(&file.text) {
            if ["unsafe", "static", "thread_local", "lazy_static"].contains(&token.as_str()) {
                wrong.push(format!("{}: {token}", file.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_source_says_what_it_is_and_stays_short() {
    let mut wrong = Vec::new();
    for file in sources() {
        let lines = file.text.lines().count();
        if !file.text.starts_with("//!") {
            wrong.push(format!("{}: does not begin with //!", file.path.display()));
        }
        if lines > LONGEST {
            wrong.push(format!("{}: {lines} lines, more than {LONGEST}", file.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_itself_has_no_circle() {
    for room in rooms() {
        let below = below(room);
        assert!(!below.contains(room), "{room} is below itself");
    }
}

#[test]
fn the_reader_sees_uses_and_not_comments_or_strings() {
    let cases: &[(&str, usize, &[&str])] = &[
        ("use crate::pool::Pool;", 1, &["pool::Pool"]),
        ("use crate::{clock, net::{SslMode, tls::*}};", 1, &["clock", "net::SslMode", "net::tls::*"]),
        ("fn f() { crate::wire::parse::<u8>(b) }", 2, &["wire::parse"]),
        ("use crate::pool::{self, Pool as P};", 1, &["pool::self", "pool::Pool"]),
        ("// crate::pool\n/* crate::net /* crate::wire */ */ //! crate::app", 1, &[]),
        (r##"const A: &str = "crate::pool \" crate::net"; const B: &str = r#"crate::wire"#;"##, 1, &[]),
        ("fn f<'a>(x: &'a str, c: char) -> bool { c == '\"' && crate::net::ok(x) }", 1, &["net::ok"]),
        ("use super::pool::Pool;", 1, &["pool::Pool"]),
        ("use super::pool::Pool;", 2, &[]),
        ("use super::super::{pool::Pool, other};", 2, &["pool::Pool"]),
        ("let s: &'static str = b\"crate::pool\"; let c = b'x';", 1, &[]),
    ];
    for (text, depth, expected) in cases {
        let found: Vec<String> = uses(text, *depth).iter().map(|path| path.join("::")).collect();
        assert_eq!(found, *expected, "{text}");
    }
    assert!(!tokens("fn f(x: &'static str) {}").contains(&"static".to_owned()));
    assert!(tokens("static X: u8 = 0;").contains(&"static".to_owned()));
}

#[test]
fn the_table_allows_what_the_design_says_and_no_more() {
    let cases: &[(&str, &str, bool)] = &[
        ("session", "pool::Pool", true),
        ("session", "upstream::Upstream", true),
        ("session", "admin::Console", false),
        ("pool", "session::Session", false),
        ("pool", "clock::Moment", true),
        ("wire", "net::Socket", false),
        ("wire", "secret::Secret", true),
        ("admin", "pool::Snapshot", true),
        ("admin", "session::ClientRow", true),
        ("admin", "session::Shard", false),
        ("admin", "upstream::Upstream", false),
        ("admin", "snapshot::Snapshot", true),
        ("snapshot", "session::ClientRow", true),
        ("snapshot", "session::ConsoleClient", false),
        ("snapshot", "upstream::Upstream", false),
        ("snapshot", "admin::Console", false),
        ("pool", "snapshot::Snapshot", false),
        ("http", "snapshot::Snapshot", true),
        ("http", "session::ClientState", true),
        ("http", "session::ConsoleClient", false),
        ("http", "upstream::Upstream", false),
        ("http", "net::Stream", false),
        ("http", "admin::Console", false),
        ("config", "http::HttpSettings", true),
        ("config", "pool::PoolSettings", true),
        ("config", "pool::Pool", false),
        ("config", "net", false),
        ("config", "secret::Secret", true),
        ("config", "credentials::vault::env::address", true),
        ("credentials", "net::SslRoots", true),
        ("credentials", "net::Socket", false),
        ("credentials", "wire::Message", false),
        ("credentials", "pool::Pool", false),
        ("app", "credentials::Keeper", true),
        ("app", "scram::Client", true),
        ("app", "demo::run", false),
        ("app", "config::File", false),
        ("main", "app::App", true),
        ("main", "pool::Pool", false),
        ("demo", "app::App", true),
        ("clock", "secret::Secret", false),
    ];
    for (room, path, allowed) in cases {
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        let refusal = refusal(room, &path);
        assert_eq!(refusal.is_none(), *allowed, "{room} → {}: {refusal:?}", path.join("::"));
    }
}

/// Why `room` may not name `path`, if it may not.
fn refusal(room: &str, path: &[String]) -> Option<String> {
    let to = path.first()?.as_str();
    // Not a room: an item of the crate's root, or a macro. Inside one's own room all is free.
    if to == room || room == "lib" || !rooms().any(|known| known == to) {
        return None;
    }
    if LEAVES.contains(&to) && !LEAVES.contains(&room) {
        return None;
    }
    if !below(room).contains(to) || NEVER.contains(&(room, to)) {
        return Some(format!("{room} must not know {to}"));
    }
    ONLY.iter()
        .find(|narrow| narrow.from == room && narrow.to.is_none_or(|only| only == to))
        .filter(|narrow| !(narrow.allows)(path))
        .map(|narrow| format!("{room} may name only {} of {to}", narrow.what))
}

fn rooms() -> impl Iterator<Item = &'static str> {
    ARROWS.iter().map(|(room, _)| *room).chain(LEAVES.iter().copied())
}

/// The rooms that `room` may name.
fn below(room: &str) -> BTreeSet<&'static str> {
    let direct = |room: &str| {
        ARROWS.iter().find(|(from, _)| *from == room).map_or(&[][..], |(_, to)| *to).iter().copied()
    };
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = direct(room).collect();
    while let Some(next) = open.pop() {
        if found.insert(next) && !NO_FURTHER.contains(&room) && !NO_FURTHER.contains(&next) {
            open.extend(direct(next));
        }
    }
    found
}

struct Source {
    path: PathBuf,
    room: String,
    text: String,
}

impl Source {
    /// How many modules deep the file is: 1 for `src/pool.rs` and `src/pool/mod.rs`.
    fn depth(&self) -> usize {
        let parts = self.path.components().count();
        if self.path.ends_with("mod.rs") { parts - 1 } else { parts }
    }
}

/// Every Rust file under `src/`, by its path below it.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().to_path_buf();
                let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
                let room = first.trim_end_matches(".rs").to_owned();
                found.push(Source { path, room, text });
            }
        }
    }
    assert!(found.len() > 3, "src/ was not found");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Every path below the crate's root that the text names, without `crate::`.
fn uses(text: &str, depth: usize) -> Vec<Vec<String>> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut next = at;
        if tokens[at] == "super" {
            let mut climbed = 0;
            while tokens.get(next).is_some_and(|token| token == "super") {
                climbed += 1;
                next += 2;
            }
            if climbed >= depth {
                let mut paths = Vec::new();
                read_tree(&tokens, next, &[], &mut paths);
                // In a nested `mod tests` one `super` more stays inside the file: rooms only.
                paths.retain(|path| path.first().is_some_and(|name| rooms().any(|room| room == name)));
                found.extend(paths);
            }
            at = next.max(at + 1);
        } else {
            let root = tokens[at] == "crate" || tokens[at] == "leasehold";
            if root && tokens.get(at + 1).is_some_and(|token| token == "::") {
                read_tree(&tokens, at + 2, &[], &mut found);
            }
            at += 1;
        }
    }
    found
}
