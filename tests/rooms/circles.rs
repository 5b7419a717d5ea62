//! Inside a room: plain data down, callers up. No modules import each other in a circle.
//!
//! A module is a file of production code; what is `#[cfg(test)]` does not count, be it an item or a
//! file. It imports another module of its room if a path in it, in a `use` or anywhere else, leads
//! there: from `crate`, `super` or `self`, or from a module that it declares. Such a path is followed
//! through `pub use` to the module that the thing stands in, so a `mod.rs` that only declares and
//! re-exports takes part in nothing. One that has code of its own does, like any file with a folder:
//! its children import it with what they take of that code, it imports them with what it uses of
//! theirs, a name that it re-exports included.
//!
//! What is not seen: a method of another module that is called without a path. An `impl` block for a
//! type of a module below is an import of that module and no more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::reader::{read_tree, tokens};
use super::sources;

/// Rooms whose modules are still tangled. Who unties one takes it off.
const TANGLED: &[&str] = &[];

#[test]
fn the_modules_of_a_room_import_each_other_in_no_circle() {
    let files: Vec<(String, String)> = sources()
        .into_iter()
        .filter(|file| file.room != "lib" && file.room != "main")
        .map(|file| (file.path.to_str().unwrap().replace('\\', "/"), file.text))
        .collect();
    let circles = House::new(&files).circles();
    let mut wrong = Vec::new();
    for (room, circles) in &circles {
        if !TANGLED.contains(&room.as_str()) {
            wrong.extend(circles.iter().cloned());
        }
    }
    for room in TANGLED.iter().filter(|room| !circles.contains_key(**room)) {
        wrong.push(format!("{room} is tangled no more: take it off the list"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_circle_is_seen_whatever_it_is_written_with() {
    // Files with their texts, and the circles among them.
    type Case<'c> = (&'c [(&'c str, &'c str)], &'c [&'c str]);
    let cases: &[Case<'_>] = &[
        (&[("r/mod.rs", "mod a; mod b;"), ("r/a.rs", "use super::b::B;"), ("r/b.rs", "struct B;")], &[]),
        (&[("r/a.rs", "use super::b::B;"), ("r/b.rs", "use crate::r::a;")], &["r/a → r/b → r/a"]),
        (
            &[("r/a.rs", "use super::{c, b::{self}};"), ("r/b.rs", "fn f() { super::a::g() }")],
            &["r/a → r/b → r/a"],
        ),
        (
            &[("r/a.rs", "use super::b;"), ("r/b.rs", "use super::c::C;"), ("r/c.rs", "use super::a::A;")],
            &["r/a → r/b → r/c → r/a"],
        ),
        // Tests do not count, here or there.
        (
            &[
                ("r/a.rs", "use super::b;"),
                ("r/b.rs", "#[cfg(test)] #[allow(x)] mod t { use super::super::a; }"),
            ],
            &[],
        ),
        (
            &[
                ("r/mod.rs", "#[cfg(test)] mod t; mod a;"),
                ("r/a.rs", "use super::t;"),
                ("r/t.rs", "mod u; use super::a;"),
                ("r/t/u.rs", "use crate::r::a;"),
            ],
            &[],
        ),
        // Through a re-export to where the thing stands.
        (
            &[("r/mod.rs", "mod a; pub use b::B;"), ("r/a.rs", "use super::B;"), ("r/b.rs", "use super::a;")],
            &["r/a → r/b → r/a"],
        ),
        (&[("r/mod.rs", "pub use a::A;"), ("r/a.rs", "use super::B;")], &[]),
        // A parent with code of its own.
        (&[("r/mod.rs", "use a::A; struct B;"), ("r/a.rs", "use super::B;")], &["r → r/a → r"]),
        (&[("r.rs", "mod a; fn f() { a::g() }"), ("r/a.rs", "use super::B;")], &["r → r/a → r"]),
        (
            &[("r/mod.rs", "pub(crate) use a::A; fn f() -> A {}"), ("r/a.rs", "use super::B;")],
            &["r → r/a → r"],
        ),
        (&[("r/mod.rs", "mod a; pub use a::a; fn f() {}"), ("r/a.rs", "impl super::B {}")], &[]),
        // Between rooms the arrows decide.
        (&[("r/a.rs", "use crate::s::b;"), ("s/b.rs", "use crate::r::a;")], &[]),
    ];
    for (files, expected) in cases {
        let files: Vec<_> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let found: Vec<String> = House::new(&files).circles().into_values().flatten().collect();
        assert_eq!(found, *expected, "{files:?}");
    }
}

/// A module by the names that lead to it from the crate's root.
type Path = Vec<String>;

/// What one file says.
#[derive(Default)]
struct Module {
    /// Paths as they are written, the names of imported things last.
    paths: Vec<Path>,
    /// What `pub use` makes a name stand for.
    exports: BTreeMap<String, Path>,
}

struct House {
    modules: BTreeMap<Path, Module>,
}

impl House {
    /// From each file's path below `src` and its text.
    fn new(files: &[(String, String)]) -> Self {
        let mut tests: BTreeSet<Path> = BTreeSet::new();
        let mut code: BTreeMap<Path, Vec<String>> = BTreeMap::new();
        for (file, text) in files {
            let path: Path = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            let path = path.strip_suffix(&["mod".to_owned()]).map(<[_]>::to_vec).unwrap_or(path);
            let (production, declared) = without_tests(&tokens(text));
            tests.extend(declared.into_iter().map(|name| join(&path, &[name])));
            code.insert(path, production);
        }
        code.retain(|path, _| (1..=path.len()).all(|length| !tests.contains(&path[..length])));
        let known: BTreeSet<Path> = code.keys().cloned().collect();
        let modules = code.iter().map(|(path, tokens)| (path.clone(), Module::read(path, tokens, &known)));
        Self { modules: modules.collect() }
    }

    /// For each room the shortest circle through each of its modules, told once.
    fn circles(&self) -> BTreeMap<String, Vec<String>> {
        let mut told: BTreeSet<BTreeSet<Path>> = BTreeSet::new();
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for start in self.modules.keys() {
            let Some(circle) = self.way_back(start) else { continue };
            if told.insert(circle.iter().cloned().collect()) {
                let words: Vec<String> = circle.iter().map(|path| path.join("/")).collect();
                found.entry(start[0].clone()).or_default().push(words.join(" → "));
            }
        }
        found
    }

    /// The shortest way from a module back to itself, both ends included.
    fn way_back(&self, start: &Path) -> Option<Vec<Path>> {
        let mut seen = BTreeSet::new();
        let mut open = VecDeque::from([vec![start.clone()]]);
        while let Some(way) = open.pop_front() {
            for next in self.imports(way.last()?) {
                let longer: Vec<Path> = way.iter().chain([&next]).cloned().collect();
                if next == *start {
                    return Some(longer);
                }
                if seen.insert(next) {
                    open.push_back(longer);
                }
            }
        }
        None
    }

    /// The modules of its room that a module imports.
    fn imports(&self, from: &Path) -> BTreeSet<Path> {
        let paths = self.modules.get(from).map(|module| &module.paths).into_iter().flatten();
        paths.filter_map(|path| self.place_of(path)).filter(|to| to != from && to[0] == from[0]).collect()
    }

    /// The module in which that stands what a path from the root leads to.
    fn place_of(&self, path: &[String]) -> Option<Path> {
        let depth = (1..=path.len()).rev().find(|depth| self.modules.contains_key(&path[..*depth]))?;
        let (place, rest) = path.split_at(depth);
        let exported = rest.first().and_then(|name| self.modules[place].exports.get(name));
        match exported {
            Some(target) if target.as_slice() != path => self.place_of(&join(target, &rest[1..])),
            _ => Some(place.to_vec()),
        }
    }
}

impl Module {
    fn read(path: &Path, tokens: &[String], known: &BTreeSet<Path>) -> Self {
        let mut module = Self::default();
        let mut code: BTreeSet<&str> = BTreeSet::new();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let mut found = Vec::new();
            let before = &tokens[..at];
            if token == "use" {
                at = read_tree(tokens, at + 1, &[], &mut found);
                let found = found.iter().filter_map(|written| absolute(path, written, known));
                if before.last().is_some_and(|token| token == "pub" || token == ")") {
                    module.exports.extend(found.filter_map(|target| Some((target.last()?.clone(), target))));
                } else {
                    module.paths.extend(found);
                }
                continue;
            }
            if before.last().is_none_or(|token| token != "mod") {
                code.insert(token);
            }
            let begins = tokens.get(at + 1).is_some_and(|token| token == "::")
                && before.last().is_none_or(|token| token != "::");
            if begins {
                read_tree(tokens, at, &[], &mut found);
                module.paths.extend(found.iter().filter_map(|written| absolute(path, written, known)));
            }
            at += 1;
        }
        let used = module.exports.iter().filter(|(name, _)| code.contains(name.as_str()));
        module.paths.extend(used.map(|(_, target)| target.clone()).collect::<Vec<_>>());
        module
    }
}

/// From the crate's root, what is written in the module `here`; `None`: it leads out of the crate.
fn absolute(here: &Path, written: &[String], known: &BTreeSet<Path>) -> Option<Path> {
    let written = written.strip_suffix(&["self".to_owned()]).unwrap_or(written);
    let climbs = written.iter().take_while(|name| *name == "super").count();
    match written.first()?.as_str() {
        "crate" | "leasehold" => Some(written[1..].to_vec()),
        "self" => Some(join(here, &written[1..])),
        "super" => Some(join(here.get(..here.len().checked_sub(climbs)?)?, &written[climbs..])),
        child => known.contains(&join(here, &[child.to_owned()])).then(|| join(here, written)),
    }
}

fn join(path: &[String], more: &[String]) -> Path {
    path.iter().chain(more).cloned().collect()
}

/// A file's tokens without what is for tests only, and the modules that it declares for tests.
fn without_tests(tokens: &[String]) -> (Vec<String>, Vec<String>) {
    let is_at = |at: usize, words: &[&str]| {
        words
            .iter()
            .enumerate()
            .all(|(offset, word)| tokens.get(at + offset).is_some_and(|token| token == word))
    };
    let (mut kept, mut declared) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if !is_at(at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            kept.push(token.clone());
            at += 1;
            continue;
        }
        at += 7;
        // The item ends with its braces, or with a semicolon outside of all brackets.
        let mut depth = 0_i32;
        while let Some(token) = tokens.get(at) {
            if depth == 0 && token == "mod" && is_at(at + 2, &[";"]) {
                declared.push(tokens[at + 1].clone());
            }
            depth += i32::from(["{", "(", "["].contains(&token.as_str()));
            depth -= i32::from(["}", ")", "]"].contains(&token.as_str()));
            if depth < 0 {
                break;
            }
            at += 1;
            if depth == 0 && (token == "}" || token == ";") {
                break;
            }
        }
    }
    (kept, declared)
}
