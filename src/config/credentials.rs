//! `credentials` of a database, and `[credentials.NAME]`, which several databases of one server share.

use std::collections::BTreeMap;
use std::time::Duration;

use super::names::nearest;
use super::problem::Findings;
use super::readable::should_be_readable;
use super::section::Section;
use crate::credentials::{CredentialsSettings, LocalSettings, SourceSettings};
use crate::upstream::UpstreamSettings;

const FORM: &str = "write credentials = { source = \"vault\", path = \"database/creds/ROLE\" }";

/// Whether any database names Vault as its source, even if the rest of it is wrong.
pub(super) fn use_vault(databases: &Section<'_>, named: &Section<'_>) -> bool {
    let mut ignored = Findings::default();
    let mut is_vault =
        |section: &Section<'_>| section.text("source", &mut ignored).is_some_and(|source| source == "vault");
    databases.names().any(|name| {
        let database = databases.below(name);
        match database.name_in("credentials") {
            Some(name) => is_vault(&named.below(name)),
            None => is_vault(&database.below("credentials")),
        }
    })
}

/// The tables `[credentials.NAME]`.
pub(super) struct Named<'t> {
    tables: BTreeMap<&'t str, Table<'t>>,
}

struct Table<'t> {
    section: Section<'t>,
    source: Option<SourceSettings>,
    /// The database that named it first: its path, and where it is.
    first: Option<(String, UpstreamSettings)>,
    is_used: bool,
}

impl<'t> Named<'t> {
    pub(super) fn read(named: &Section<'t>, findings: &mut Findings) -> Self {
        let mut tables = BTreeMap::new();
        for name in named.names() {
            let section = named.below(name);
            if section.is_present() {
                let source = read_source(&section, findings);
                tables.insert(name, Table { section, source, first: None, is_used: false });
            }
        }
        Self { tables }
    }

    /// The credentials of one database, by name or of its own.
    pub(super) fn of(
        &mut self,
        database: &Section<'_>,
        upstream: Option<&UpstreamSettings>,
        findings: &mut Findings,
    ) -> Option<CredentialsSettings> {
        if let Some(name) = database.name_in("credentials") {
            return self.named(name, database, upstream, findings);
        }
        let own = database.below("credentials");
        if own.is_present() {
            return Some(CredentialsSettings { name: None, source: read_source(&own, findings)? });
        }
        if database.has("credentials") {
            let advice = format!("{FORM}, or the name of a [credentials.NAME]");
            database.error("credentials", "is neither a name nor a table", &advice, findings);
        } else {
            database.missing("credentials", FORM, findings);
        }
        None
    }

    fn named(
        &mut self,
        name: &str,
        database: &Section<'_>,
        upstream: Option<&UpstreamSettings>,
        findings: &mut Findings,
    ) -> Option<CredentialsSettings> {
        let known: Vec<&str> = self.tables.keys().copied().collect();
        let Some(table) = self.tables.get_mut(name) else {
            let all = match known.as_slice() {
                [] => format!("add a table [credentials.{name}], or {FORM}"),
                known => format!("known: {}", known.join(", ")),
            };
            let advice =
                nearest(name, &known).map_or(all.clone(), |near| format!("did you mean \"{near}\"? {all}"));
            let what = format!("is {name:?}, and there is no [credentials.{name}]");
            database.error("credentials", &what, &advice, findings);
            return None;
        };
        table.is_used = true;
        if let Some(upstream) = upstream {
            let here = database.path_of("credentials");
            match &table.first {
                Some((first, other)) => agree(database, name, upstream, (first, other), table, findings),
                None => table.first = Some((here, upstream.clone())),
            }
        }
        let source = table.source.clone()?;
        Some(CredentialsSettings { name: Some(name.to_owned()), source })
    }

    pub(super) fn warn_of_unused(&self, findings: &mut Findings) {
        for (name, table) in self.tables.iter().filter(|(_, table)| !table.is_used) {
            let what = format!("[credentials.{name}] is set but no database uses it");
            let advice = format!("remove it, or give a database credentials = \"{name}\"");
            findings.warning(table.section.here(), what, &advice);
        }
    }
}

/// Those that share a user must be where it is one and the same.
fn agree(
    database: &Section<'_>,
    name: &str,
    upstream: &UpstreamSettings,
    (first, other): (&str, &UpstreamSettings),
    table: &Table<'_>,
    findings: &mut Findings,
) {
    // In another order they are the same; a pool of standbys need not name the primary.
    if !upstream.hosts.iter().any(|host| other.hosts.contains(host)) {
        let what = format!(
            "shares {name:?} with `{first}`, whose server is {}, not {}",
            other.place(),
            upstream.place()
        );
        let advice = "users are of one server: write a [credentials.NAME] for each, or correct host and port";
        database.error("credentials", &what, advice, findings);
    }
    if matches!(table.source, Some(SourceSettings::Local(_))) && upstream.role != other.role {
        let what = format!("shares {name:?} with `{first}`, whose `role` is another");
        let advice = "source \"local\" makes users for one role: write a [credentials.NAME] for each";
        database.error("credentials", &what, advice, findings);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Vault,
    Local,
}

const LOCAL_KEYS: [&str; 6] = [
    "admin_url_file",
    "creation_statements",
    "renew_statements",
    "revocation_statements",
    "default_ttl",
    "max_ttl",
];

fn read_source(section: &Section<'_>, findings: &mut Findings) -> Option<SourceSettings> {
    if !section.has("source") {
        section.missing("source", FORM, findings);
        return None;
    }
    let source = section.choice("source", &[("vault", Source::Vault), ("local", Source::Local)], findings)?;
    let (foreign, other): (&[&str], _) = match source {
        Source::Vault => (&LOCAL_KEYS, "local"),
        Source::Local => (&["path"], "vault"),
    };
    for key in foreign.iter().filter(|key| section.has(key)) {
        section.error(
            key,
            &format!("belongs to source \"{other}\""),
            "remove it, or change `source`",
            findings,
        );
    }
    match source {
        Source::Vault => read_path(section, findings).map(|path| SourceSettings::Vault { path }),
        Source::Local => read_local(section, findings),
    }
}

fn read_path(section: &Section<'_>, findings: &mut Findings) -> Option<String> {
    if !section.has("path") {
        section.missing("path", "name the dynamic role, for example \"database/creds/app\"", findings);
        return None;
    }
    let text = section.filled("path", findings)?;
    let path = text.trim().trim_matches('/');
    let names: Vec<&str> = path.split('/').collect();
    let clean = !names.iter().any(|name| name.is_empty() || *name == "." || *name == "..")
        && !path.contains(|c: char| c.is_whitespace() || "?#%\\".contains(c));
    let advice = match names.as_slice() {
        ["v1", ..] => "leave out the leading v1/",
        [.., "static-creds", _] => "static roles are not supported: name a dynamic role, MOUNT/creds/ROLE",
        [_, .., "creds", _] if clean => return Some(path.to_owned()),
        _ => "it must look like MOUNT/creds/ROLE, for example \"database/creds/app\"",
    };
    section.error("path", &format!("is {text:?}, which is no dynamic role"), advice, findings);
    None
}

fn read_local(section: &Section<'_>, findings: &mut Findings) -> Option<SourceSettings> {
    let admin_url_file = section.file("admin_url_file", findings);
    match &admin_url_file {
        Some(file) => should_be_readable(section, "admin_url_file", file, findings),
        None if section.has("admin_url_file") => {}
        None => section.missing(
            "admin_url_file",
            "name a file with a URL such as postgresql://issuer:…@host/db, of a role with CREATEROLE",
            findings,
        ),
    }
    let creation = section.texts("creation_statements", findings);
    match &creation {
        Some(statements) => {
            for part in ["{{name}}", "{{password}}"] {
                if !statements.iter().any(|statement| statement.contains(part)) {
                    let what = format!("nowhere says {part}");
                    section.error("creation_statements", &what, CREATION, findings);
                }
            }
        }
        None if section.has("creation_statements") => {}
        None => section.missing("creation_statements", CREATION, findings),
    }
    let default_ttl = section.some_time("default_ttl", findings).unwrap_or(Duration::from_secs(3600));
    let max_ttl = section.some_time("max_ttl", findings).unwrap_or(Duration::from_secs(24 * 3600));
    if default_ttl > max_ttl {
        let what = format!(
            "is {}, longer than max_ttl ({})",
            humantime::format_duration(default_ttl),
            humantime::format_duration(max_ttl)
        );
        section.error("default_ttl", &what, "make it at most max_ttl", findings);
    }
    Some(SourceSettings::Local(LocalSettings {
        admin_url_file: admin_url_file?,
        creation_statements: creation?,
        renew_statements: section.texts("renew_statements", findings).unwrap_or_default(),
        revocation_statements: section.texts("revocation_statements", findings).unwrap_or_default(),
        default_ttl,
        max_ttl,
    }))
}

const CREATION: &str = "for example: CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' \
                        VALID UNTIL '{{expiration}}' IN ROLE app";

#[cfg(test)]
mod tests {
    use crate::config::{Loaded, Problems, parse};
    use crate::credentials::SourceSettings;

    const SHARED: &str = "\
[databases.app]\nhost = \"db\"\ncredentials = \"shop\"\n\
[databases.reports]\nhost = \"db\"\ncredentials = \"shop\"\n\
[credentials.shop]\nsource = \"vault\"\npath = \"database/creds/app\"\n";

    const LOCAL: &str = "source = \"local\"\nadmin_url_file = \"/dev/null\"\n\
                         creation_statements = \"{{name}} {{password}}\"\n";

    fn parsed(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
        let vault = [("VAULT_ADDR", "https://v"), ("VAULT_TOKEN", "t")];
        let variables = vault.iter().chain(variables).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        parse("f.toml", text, variables)
    }

    #[test]
    fn databases_that_name_the_same_share_it() {
        let loaded = parsed(SHARED, &[]).unwrap();
        assert!(loaded.settings.vault.is_some() && loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        for (pool, credentials) in &loaded.settings.databases {
            assert_eq!(credentials.name.as_deref(), Some("shop"), "{}", pool.name);
            assert_eq!(credentials.source, SourceSettings::Vault { path: "database/creds/app".into() });
        }
        // By environment as well: of another name, of the table, of a key of it, of its own.
        let own = ("LEASEHOLD_DATABASES__APP__CREDENTIALS", "{ source = 'vault', path = 'x/creds/own' }");
        let named = [
            ("LEASEHOLD_CREDENTIALS__SHOP__PATH", "x/creds/y"),
            ("LEASEHOLD_CREDENTIALS__OTHER__SOURCE", "vault"),
            ("LEASEHOLD_CREDENTIALS__OTHER__PATH", "x/creds/z"),
            ("LEASEHOLD_DATABASES__REPORTS__CREDENTIALS", "other"),
            own,
        ];
        let loaded = parsed(SHARED, &named).unwrap();
        let found: Vec<_> = loaded.settings.databases.iter().map(|(_, credentials)| credentials).collect();
        let path = |path: &str| SourceSettings::Vault { path: path.into() };
        assert_eq!((found[0].name.as_deref(), &found[0].source), (None, &path("x/creds/own")));
        assert_eq!((found[1].name.as_deref(), &found[1].source), (Some("other"), &path("x/creds/z")));
        let unused = "[credentials.shop] is set but no database uses it";
        assert!(loaded.warnings.iter().any(|warning| warning.what == unused), "{:?}", loaded.warnings);
    }

    #[test]
    fn what_cannot_be_shared_is_told() {
        let local = |role: &str| {
            let first = SHARED.split("[credentials").next().unwrap();
            let first = first.replacen("host", &format!("role = \"{role}\"\nhost"), 1);
            format!("{first}[credentials.shop]\n{LOCAL}")
        };
        assert!(parsed(&local("a").replace("role = \"a\"\n", ""), &[]).is_ok());
        for (text, error) in [
            (
                SHARED.replacen("\"shop\"", "\"shp\"", 1),
                "`databases.app.credentials` is \"shp\", and there is no [credentials.shp] | did you mean \"shop\"? known: shop",
            ),
            (
                SHARED.replacen("\"shop\"", "5", 1),
                "`databases.app.credentials` is neither a name nor a table | write credentials = { source = \"vault\", path = \"database/creds/ROLE\" }, or the name of a [credentials.NAME]",
            ),
            (
                SHARED.replacen("\"db\"", "\"db2\"", 1),
                "`databases.reports.credentials` shares \"shop\" with `databases.app.credentials`, whose server is db2:5432, not db:5432 | users are of one server: write a [credentials.NAME] for each, or correct host and port",
            ),
            (
                local("a"),
                "`databases.reports.credentials` shares \"shop\" with `databases.app.credentials`, whose `role` is another | source \"local\" makes users for one role: write a [credentials.NAME] for each",
            ),
            (
                SHARED.replace("source = \"vault\"\n", ""),
                "`credentials.shop.source` is missing | write credentials = { source = \"vault\", path = \"database/creds/ROLE\" }",
            ),
            (SHARED.replace("path", "pth"), "unknown key `credentials.shop.pth` | did you mean `path`?"),
        ] {
            let problems = parsed(&text, &[]).unwrap_err();
            let said: Vec<String> =
                problems.list.iter().map(|p| format!("{} | {}", p.what, p.advice)).collect();
            assert!(said.iter().any(|said| said == error), "{text}\n{said:#?}");
        }
    }
}
