//! A table for each rule: what is written, and what is said about it.

use std::time::Duration;

use super::{Host, Loaded, Origin, Problems, explain, parse};
use crate::admin::ShownSettings;
use crate::credentials::{SourceSettings, VaultAuth};
use crate::net::SslMode;
use crate::pool::PoolMode;

const LOCAL: &str = r#"
[databases.app]
host = "/run/postgresql"
[databases.app.credentials]
source = "local"
admin_url_file = "/dev/null"
creation_statements = "CREATE ROLE {{name}} PASSWORD '{{password}}'"
"#;

const VAULT: &str = r#"
[databases.app]
host = "db"
credentials = { source = "vault", path = "database/creds/app" }
"#;

fn parsed(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    parse("f.toml", text, variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
}

fn errors(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    match parsed(text, variables) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.list.into_iter().map(|p| format!("{} | {}", p.what, p.advice)).collect(),
    }
}

#[test]
fn defaults_are_those_of_the_manual() {
    let settings = parsed(LOCAL, &[]).unwrap().settings;
    assert_eq!(settings.listen.tcp, Some("127.0.0.1:6432".parse().unwrap()));
    assert_eq!((settings.listen.unix_dir, settings.listen.unix_port), (None, 6432));
    assert_eq!((settings.listen.unix_mode, settings.listen.max_clients), (0o600, 10_000));
    assert_eq!(settings.listen.startup_timeout, Duration::from_secs(10));
    assert!(settings.vault.is_none());
    assert!((1..=4).contains(&settings.threads));
    assert_eq!(settings.shutdown_timeout, Duration::from_secs(25));
    let (pool, source) = &settings.databases[0];
    assert_eq!((pool.size, pool.max_server_connections, pool.mode), (20, 40, PoolMode::Transaction));
    assert_eq!(pool.checkout_timeout, Duration::from_secs(30));
    assert_eq!((pool.min_size, pool.reserve_size, pool.reserve_timeout.as_secs()), (0, 0, 5));
    assert_eq!((pool.server_lifetime.as_secs(), pool.server_idle_timeout.as_secs()), (3600, 600));
    let upstream = &pool.upstream;
    let port = upstream.hosts[0].port;
    assert_eq!((port, upstream.dbname.as_str(), upstream.sslmode), (5432, "app", SslMode::Disable));
    assert_eq!(upstream.connect_timeout, Duration::from_secs(10));
    assert_eq!((upstream.tcp_keepalive.as_secs(), upstream.tcp_user_timeout.as_secs()), (60, 30));
    let SourceSettings::Local(local) = &source.source else { panic!() };
    assert_eq!((local.default_ttl.as_secs(), local.max_ttl.as_secs()), (3600, 86_400));
    assert_eq!(local.creation_statements.len(), 1);
}

#[test]
fn every_rule_is_told_with_the_key_and_what_to_do() {
    let cases: &[(&str, &str)] = &[
        ("threads = 0", "`threads` is 0, which is too small | the least is 1"),
        ("thread_busy = 101", "`thread_busy` is 101, which is too large | the most is 100"),
        ("threads = \"two\"", "`threads` must be a whole number, not a string | write it without quotes"),
        (
            "shutdown_timeout = 5",
            "`shutdown_timeout` is a bare number | write a string with a unit, such as \"5s\"",
        ),
        ("shutdown_timeout = \"5 parsecs\"", "`shutdown_timeout` is \"5 parsecs\", which is no duration"),
        ("[listen]\ntcp = \"0.0.0.0:6432\"", "`listen.tcp` is 0.0.0.0:6432, which other hosts can reach"),
        ("[listen]\ntcp = \"db:1\"", "`listen.tcp` is \"db:1\", which is no address"),
        ("[listen]\ntcp = \"\"", "`listen.tcp` is off and there is no `unix_dir`"),
        ("[listen]\nunix_dir = \"run\"", "`listen.unix_dir` is not an absolute path"),
        ("[listen]\nunix_mode = \"0600\"", "`listen.unix_mode` has nothing to apply to"),
        (
            "[listen]\nunix_dir = \"/run\"\nunix_mode = \"rw\"",
            "`listen.unix_mode` is \"rw\", which are no permission bits",
        ),
        (
            "[listen]\nunix_dir = \"/run\"\nunix_mode = 600",
            "`listen.unix_mode` must be a string, not a whole number",
        ),
        ("[listen]\nmax_clients = 0", "`listen.max_clients` is 0, which is too small"),
        ("[listen]\nstartup_timeout = \"0s\"", "`listen.startup_timeout` is zero"),
        ("[rotation]\nat = 1.0", "`rotation.at` is 1 |"),
        ("[rotation]\nat = nan", "`rotation.at` is NaN |"),
        ("[rotation]\njitter = -0.1", "`rotation.jitter` is -0.1 |"),
        ("[rotation]\nat = 0.9\njitter = 0.2", "`rotation.jitter` spreads the rotation over 0.80 to 1.00"),
        ("[rotation]\nat = 0.1\njitter = 0.3", "`rotation.jitter` spreads the rotation over -0.05 to 0.25"),
        (
            "[rotation]\nrenew = \"until-max\"",
            "`rotation.renew` is \"until-max\", which is not known | did you mean \"until_max\"?",
        ),
        ("[rotation]\nwatch_interval = \"0s\"", "`rotation.watch_interval` is zero"),
        ("[rotation]\nsession_swap = \"auto\"", "unknown key `rotation.session_swap`"),
        ("[log]\nformat = \"jsn\"", "`log.format` is \"jsn\", which is not known | did you mean \"json\"?"),
        ("[log]\nfilter = \"a=b=c\"", "`log.filter` is \"a=b=c\", which is no filter"),
    ];
    for (text, expected) in cases {
        let found = errors(&format!("{text}\n{LOCAL}"), &[]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(expected), "{text}: {found:?}");
    }
}

#[test]
fn every_rule_of_a_database_is_told() {
    let cases: &[(&str, &str)] = &[
        ("port = 0", "`databases.app.port` is 0, which is too small"),
        ("port = 70000", "`databases.app.port` is 70000, which is too large | the most is 65535"),
        ("pool_mode = \"statement\"", "`databases.app.pool_mode` is \"statement\", which is not known"),
        ("pool_size = 0", "`databases.app.pool_size` is 0, which is too small"),
        (
            "pool_size = 5\nmax_server_connections = 4",
            "`databases.app.max_server_connections` is 4, less than pool_size (5)",
        ),
        (
            "pool_size = 5\nreserve_pool_size = 2\nmax_server_connections = 6",
            "`databases.app.max_server_connections` is 6, less than pool_size and reserve_pool_size together (7)",
        ),
        ("pool_size = 5\nmin_pool_size = 6", "`databases.app.min_pool_size` is 6, more than pool_size (5)"),
        ("min_pool_size = -1", "`databases.app.min_pool_size` is -1, which is too small"),
        ("server_lifetime = 3600", "`databases.app.server_lifetime` is a bare number"),
        ("checkout_timeout = \"0s\"", "`databases.app.checkout_timeout` is zero"),
        (
            "sslmode = \"verify_full\"",
            "`databases.app.sslmode` is \"verify_full\", which is not known | did you mean \"verify-full\"?",
        ),
        ("sslmode = \"verify-ca\"", "`databases.app.sslmode` is verify-ca with the system's CAs"),
        (
            "sslrootcert = \"/dev/null\"",
            "`databases.app.sslrootcert` is set but sslmode does not verify anything",
        ),
        (
            "sslmode = \"require\"\nsslrootcert = \"system\"",
            "`databases.app.sslrootcert` is set but sslmode does not verify anything",
        ),
        (
            "sslmode = \"prefer\"\nsslrootcert = \"/dev/null\"",
            "`databases.app.sslrootcert` is set but sslmode does not verify anything",
        ),
        (
            "sslmode = \"require\"\nsslrootcert = \"/none.pem\"",
            "`databases.app.sslrootcert` names /none.pem, which cannot be read",
        ),
        (
            "sslmode = \"verify-full\"\nsslrootcert = \"/none.pem\"",
            "`databases.app.sslrootcert` names /none.pem, which cannot be read",
        ),
        ("role = \"\"", "`databases.app.role` is empty"),
        ("dbname = 5", "`databases.app.dbname` must be a string, not a whole number"),
        ("tcp_keepalive = \"20y\"", "`databases.app.tcp_keepalive` is \"20y\", which is too long"),
    ];
    let variables = [("VAULT_ADDR", "https://v"), ("VAULT_TOKEN", "t")];
    for (text, expected) in cases {
        let found = errors(&format!("{VAULT}{text}"), &variables);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(expected), "{text}: {found:?}");
    }
}

#[test]
fn hosts_sources_and_names_are_checked() {
    let vault = |path: &str| {
        format!("[databases.app]\nhost = \"db\"\ncredentials = {{ source = \"vault\", path = \"{path}\" }}")
    };
    let local = |rest: &str| {
        format!(
            "[databases.app]\nhost = \"db\"\n[databases.app.credentials]\nsource = \"local\"\nadmin_url_file = \"/dev/null\"\n{rest}"
        )
    };
    let create = "creation_statements = ['{{name}} {{password}}']\n";
    let host = |host: &str| VAULT.replace("\"db\"", &format!("{host:?}"));
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "there is no database"),
        (VAULT.replace(".app]", ".leasehold]"), "`databases.leasehold` is the console's own name"),
        (VAULT.replace(".app]", ".\"\"]"), "`databases.` is no name"),
        ("databases.app = 5".into(), "`databases.app` must be a table"),
        (host("db:5432"), "`databases.app.host` is no host name"),
        (host("postgres://u:hunter2@db/x"), "`databases.app.host` is no host name"),
        (host("db1,db2"), "`databases.app.host` is no host name"),
        (VAULT.replace("host = \"db\"", ""), "`databases.app.host` is missing"),
        ("[databases.app]\nhost = \"db\"".into(), "`databases.app.credentials` is missing"),
        (
            "[databases.app]\nhost = \"db\"\ncredentials = {}".into(),
            "`databases.app.credentials.source` is missing",
        ),
        (
            VAULT.replace("\"vault\"", "\"valt\""),
            "`databases.app.credentials.source` is \"valt\", which is not known | did you mean \"vault\"?",
        ),
        (
            vault("app"),
            "`databases.app.credentials.path` is \"app\", which is no dynamic role | it must look like MOUNT/creds/ROLE",
        ),
        (vault("creds/app"), "`databases.app.credentials.path` is"),
        (vault("database/creds/a b"), "`databases.app.credentials.path` is"),
        (vault("database/../creds/app"), "`databases.app.credentials.path` is"),
        (
            vault("v1/database/creds/app"),
            "`databases.app.credentials.path` is \"v1/database/creds/app\", which is no dynamic role | leave out",
        ),
        (
            vault("database/static-creds/app"),
            "`databases.app.credentials.path` is \"database/static-creds/app\", which is no dynamic role | static roles",
        ),
        (
            vault("database/creds/app\", max_ttl = \"1h"),
            "`databases.app.credentials.max_ttl` belongs to source \"local\"",
        ),
        (local(create) + "path = 'x'", "`databases.app.credentials.path` belongs to source \"vault\""),
        (local(""), "`databases.app.credentials.creation_statements` is missing"),
        (
            local("creation_statements = [5]"),
            "`databases.app.credentials.creation_statements` must hold strings only",
        ),
        (
            local("creation_statements = ['{{name}}']"),
            "`databases.app.credentials.creation_statements` nowhere says {{password}}",
        ),
        (
            local(create) + "default_ttl = '2h'\nmax_ttl = '1h'",
            "`databases.app.credentials.default_ttl` is 2h, longer than max_ttl (1h)",
        ),
        (
            local(create).replace("admin_url_file = \"/dev/null\"", ""),
            "`databases.app.credentials.admin_url_file` is missing",
        ),
        (
            LOCAL.replace("[databases.app]", "[databases.app]\nsslmode = \"verify-full\""),
            "`databases.app.sslmode` asks for TLS, which a Unix socket does not have",
        ),
    ];
    let variables = [("VAULT_ADDR", "https://v"), ("VAULT_TOKEN", "t")];
    for (text, expected) in cases {
        let found = errors(&text, &variables);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(expected), "{text}: {found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn every_rule_of_vault_is_told() {
    let cases: &[(&str, &str)] = &[
        ("", "there is no way to log in at Vault | set `vault.auth.token_file`"),
        ("[vault.auth]\nmethod = \"kerberos\"", "`vault.auth.method` is \"kerberos\", which is not known"),
        ("[vault.auth]\nmethod = \"approle\"", "`vault.auth.role_id` is missing"),
        ("[vault.auth]\nrole_id = \"r\"", "`vault.auth.role_id` is set but `method` is not"),
        (
            "[vault.auth]\nmethod = \"approle\"\nrole_id = \"r\"\nmount = \"auth/x\"",
            "`vault.auth.mount` begins with auth/",
        ),
        (
            "[vault.auth]\nmethod = \"approle\"\nrole_id = \"r\"\ntoken_file = \"/dev/null\"",
            "`vault.auth.token_file` belongs to method \"token\" or \"token_file\"",
        ),
        (
            "[vault.auth]\nmethod = \"approle\"\nrole_id = \"r\"\nsecret_id_wrapped = true",
            "`vault.auth.secret_id_file` is missing | name the file with the wrapping token",
        ),
        (
            "[vault.auth]\nmethod = \"approle\"\nrole_id = \"r\"\nsecret_id_wrapped = \"yes\"",
            "`vault.auth.secret_id_wrapped` must be true or false, not a string",
        ),
        ("[vault.auth]\nmethod = \"kubernetes\"", "`vault.auth.role` is missing | name the role"),
        ("[vault.auth]\nmethod = \"jwt\"\nrole = \"r\"", "`vault.auth.jwt_file` is missing | name the file"),
        (
            "[vault.auth]\nmethod = \"userpass\"\nusername = \"u\"",
            "`vault.auth.password_file` is missing | name the file",
        ),
        (
            "[vault.auth]\nmethod = \"userpass\"\nusername = \"u\"\npassword = \"hunter2\"\npassword_file = \"/p\"",
            "`vault.auth.password`: secrets only by file or environment | use `password_file`",
        ),
        ("[vault.auth]\nmethod = \"cert\"", "`vault.auth.method` is \"cert\", and there is no client cert"),
        ("[vault.auth]\nmethod = \"kubernets\"", "`vault.auth.method` is \"kubernets\", which is not known"),
        (
            "[vault.auth]\nmethod = \"cert\"\nrole = \"r\"\n[vault]\nclient_cert = \"/dev/null\"\nclient_key = \"/dev/null\"",
            "`vault.auth.role` belongs to method \"kubernetes\" or \"jwt\"",
        ),
        ("[vault.auth]\nrole = \"r\"", "`vault.auth.role` is set but `method` is not | set method = \"kube"),
        (
            "[vault.auth]\njwtfile = \"r\"\ntoken_file = \"/t\"",
            "unknown key `vault.auth.jwtfile` | did you mean `jwt_file`",
        ),
        ("[vault.auth]\nmethod = \"token_file\"", "`vault.auth.token_file` is missing | name the file"),
        (
            "[vault.auth]\ntoken_file = \"/dev/null\"",
            "`vault.auth.token_file` names /dev/null, which does not hold one token",
        ),
        (
            "[vault.auth]\ntoken = \"hunter2\"\ntoken_file = \"/etc/hostname\"",
            "`vault.auth.token`: secrets only by file or environment",
        ),
        (
            "[vault]\naddress = \"vault:8200\"\n[vault.auth]\nmethod = \"approle\"\nrole_id = \"r\"",
            "`vault.address` is not an http or https URL",
        ),
        (
            "[vault]\naddress = \"https://u:hunter2@v\"\n[vault.auth]\nmethod = \"approle\"\nrole_id = \"r\"",
            "`vault.address` holds a user or password",
        ),
        (
            "[vault]\nca_file = \"/none\"\n[vault.auth]\nmethod = \"approle\"\nrole_id = \"r\"",
            "`vault.ca_file` names /none, which cannot be read",
        ),
        (
            "[vault]\nclient_cert = \"/dev/null\"\n[vault.auth]\nmethod = \"approle\"\nrole_id = \"r\"",
            "`vault.client_key` is missing",
        ),
    ];
    for (text, expected) in cases {
        let found = errors(&format!("{text}\n{VAULT}"), &[("VAULT_ADDR", "https://v:8200")]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(expected), "{text}: {found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
    let found = errors(VAULT, &[("VAULT_TOKEN", "t")]);
    assert!(
        found[0].starts_with("`vault.address` is missing | set it, or the variable VAULT_ADDR"),
        "{found:?}"
    );
    let found =
        errors(VAULT, &[("VAULT_ADDR", "https://v"), ("VAULT_TOKEN", "t"), ("VAULT_SKIP_VERIFY", "maybe")]);
    assert!(found[0].starts_with("VAULT_SKIP_VERIFY=\"maybe\" is neither true nor false"), "{found:?}");
    // Without a Vault source Vault's variables are nobody's business.
    assert_eq!(errors(LOCAL, &[("VAULT_SKIP_VERIFY", "maybe")]), Vec::<String>::new());
}

#[test]
fn the_file_wins_over_vaults_variables_and_our_own_variables_over_the_file() {
    let text = format!("[vault]\naddress = \"https://file:8200/\"\nnamespace = \"one\"\n{VAULT}");
    let mut variables = vec![
        ("VAULT_ADDR", "https://environment:8200"),
        ("VAULT_NAMESPACE", "two"),
        ("VAULT_TOKEN", "t-1\n"),
        ("VAULT_CLIENT_TIMEOUT", "3"),
        ("VAULT_CACERT_BYTES", "PEM"),
    ];
    let vault = parsed(&text, &variables).unwrap().settings.vault.unwrap();
    assert_eq!((vault.address.as_str(), vault.namespace.as_str()), ("https://file:8200", "one"));
    assert_eq!(vault.timeout, Duration::from_secs(3));
    assert_eq!(vault.ca_bytes.as_deref(), Some("PEM"));
    let VaultAuth::Token { token } = &vault.auth else { panic!() };
    assert_eq!(token.expose(), "t-1");

    variables.push(("LEASEHOLD_VAULT__ADDRESS", "https://ours"));
    variables.push(("LEASEHOLD_VAULT__CA_FILE", "/dev/null"));
    variables.push(("LEASEHOLD_VAULT__AUTH__METHOD", "approle"));
    variables.push(("LEASEHOLD_VAULT__AUTH__ROLE_ID", "12345"));
    variables.push(("LEASEHOLD_VAULT__AUTH__SECRET_ID", "0x10"));
    let vault = parsed(&text, &variables).unwrap().settings.vault.unwrap();
    assert_eq!(vault.address, "https://ours");
    assert_eq!((vault.ca_file.is_some(), vault.ca_bytes), (true, None));
    let VaultAuth::AppRole { mount, role_id, secret_id, .. } = &vault.auth else { panic!() };
    assert_eq!((mount.as_str(), role_id.as_str()), ("approle", "12345"));
    assert_eq!(secret_id.as_ref().map(|secret| secret.expose()), Some("0x10"));
}

#[test]
fn a_token_comes_from_a_file_a_variable_or_vault_login_in_this_order() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hvs.abc\n").unwrap();
    let text = format!("[vault.auth]\ntoken_file = {:?}\n{VAULT}", file.path());
    let loaded = parsed(&text, &[("VAULT_ADDR", "https://v"), ("VAULT_TOKEN", "other")]).unwrap();
    let VaultAuth::TokenFile { file: taken } = loaded.settings.vault.unwrap().auth else { panic!() };
    assert_eq!(taken, file.path());

    let home = tempfile::tempdir().unwrap();
    let left = home.path().join(".vault-token");
    let home = ("HOME", home.path().to_str().unwrap());
    let found = errors(VAULT, &[("VAULT_ADDR", "https://v"), home]);
    assert!(found[0].contains("or run `vault login`"), "{found:?}");
    std::fs::write(&left, "hvs.abc").unwrap();
    let auth = |variables: &[(&str, &str)]| parsed(VAULT, variables).unwrap().settings.vault.unwrap().auth;
    let VaultAuth::TokenFile { file: taken } = auth(&[("VAULT_ADDR", "https://v"), home]) else { panic!() };
    assert_eq!(taken, left);
    let given = auth(&[("VAULT_ADDR", "https://v"), home, ("VAULT_TOKEN", "t")]);
    assert!(matches!(given, VaultAuth::Token { .. }));

    // An Agent that comes up after us writes it later.
    let text = format!("[vault.auth]\nmethod = \"token_file\"\ntoken_file = \"/none/yet\"\n{VAULT}");
    let loaded = parsed(&text, &[("VAULT_ADDR", "https://v")]).unwrap();
    assert!(loaded.warnings_text().contains("/none/yet cannot be read now"));
}

#[test]
fn a_configuration_can_come_from_the_environment_alone() {
    let variables = [
        ("LEASEHOLD_LISTEN__TCP", ""),
        ("LEASEHOLD_LISTEN__UNIX_DIR", "/run/leasehold"),
        ("LEASEHOLD_LISTEN__UNIX_MODE", "0660"),
        ("LEASEHOLD_SHUTDOWN_TIMEOUT", "0s"),
        ("LEASEHOLD_ROTATION__AT", "0.5"),
        ("LEASEHOLD_DATABASES__SHOP__HOST", "10.0.0.1"),
        ("LEASEHOLD_DATABASES__SHOP__DBNAME", "1234"),
        ("LEASEHOLD_DATABASES__SHOP__CREDENTIALS__SOURCE", "local"),
        ("LEASEHOLD_DATABASES__SHOP__CREDENTIALS__ADMIN_URL_FILE", "/dev/null"),
        ("LEASEHOLD_DATABASES__SHOP__CREDENTIALS__CREATION_STATEMENTS", "['{{name}} {{password}}', 'b']"),
    ];
    let settings = parsed("", &variables).unwrap().settings;
    assert_eq!((settings.listen.tcp, settings.listen.unix_mode), (None, 0o660));
    assert_eq!(settings.shutdown_timeout, Duration::ZERO);
    assert!((settings.rotation.at - 0.5).abs() < f64::EPSILON);
    let (pool, source) = &settings.databases[0];
    assert_eq!((pool.name.as_str(), pool.upstream.dbname.as_str()), ("shop", "1234"));
    let SourceSettings::Local(local) = &source.source else { panic!() };
    assert_eq!(local.creation_statements, ["{{name}} {{password}}", "b"]);
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_file() {
    let text = "threads = 0\n[listen]\ntcp = \"0.0.0.0\"\n[databases.app]\nhots = \"db\"\n";
    let problems = parsed(text, &[("LEASEHOLD_TREADS", "1")]).unwrap_err();
    let origins: Vec<Origin> = problems.list.iter().map(|p| p.origin.clone()).collect();
    let variable = Origin::Variable("LEASEHOLD_TREADS".into());
    let line = Origin::Line;
    assert_eq!(origins, [line(1), line(3), line(4), line(4), line(5), variable], "{problems}");
    assert!(
        problems.to_string().contains("f.toml:5: unknown key `databases.app.hots`\n    did you mean `host`?")
    );
}

#[test]
fn warnings_do_not_refuse() {
    let loaded = parsed(
        VAULT,
        &[("VAULT_ADDR", "http://vault:8200"), ("VAULT_TOKEN", "t"), ("VAULT_SKIP_VERIFY", "1")],
    );
    assert_eq!(loaded.unwrap().warnings.len(), 2);
    let text = LOCAL.replace("/dev/null", "/none/at/all");
    assert!(parsed(&text, &[]).unwrap().warnings_text().contains("/none/at/all cannot be read now"));
}

struct SmallHost;

impl Host for SmallHost {
    fn resolve(&self, name: &str) -> Result<Vec<std::net::IpAddr>, String> {
        if name == "db" { Ok(vec!["10.0.0.7".parse().unwrap()]) } else { Err("no such name".into()) }
    }

    fn cores(&self) -> usize {
        1
    }

    fn open_files(&self) -> Option<u64> {
        Some(1024)
    }

    fn has_directory(&self, _: &std::path::Path) -> bool {
        false
    }
}

#[test]
fn what_a_configuration_means_is_said_in_sentences() {
    let loaded = parsed(&format!("threads = 2\n{LOCAL}"), &[]).unwrap();
    let text = explain(&loaded, &SmallHost);
    for sentence in [
        "threads = 2   (f.toml:1)\n    Up to 2 data threads share all clients; this host has 1 cores; more threads than cores only cost.",
        "Users live 1h, replaced after about 42m (39m to 45m).",
        "The server's Unix socket is /run/postgresql/.s.PGSQL.5432.",
        "That can take 10104 open files, and this host allows 1024",
        "PostgreSQL sees at most 40 connections; 20 of them are room for old users that still drain.",
    ] {
        assert!(text.contains(sentence), "{sentence}\n---\n{text}");
    }
    let variables = [("VAULT_ADDR", "https://v"), ("VAULT_TOKEN", "hunter2")];
    let loaded = parsed(VAULT, &variables).unwrap();
    // The console shows the same keys and values, and nothing of a secret either.
    let mut expected = ShownSettings::default();
    expected.add("threads", loaded.settings.threads.to_string(), true, false);
    expected.add("thread_busy", "70".into(), true, false);
    expected.add("shutdown_timeout", "25s".into(), true, false);
    let (shown, expected) = (format!("{:?}", loaded.settings.shown), format!("{expected:?}"));
    assert!(shown.starts_with(expected.trim_end_matches("] }")), "{shown}");
    assert!(shown.contains("vault.auth.method") && !shown.contains("hunter2"), "{shown}");
    let text = explain(&loaded, &SmallHost);
    assert!(text.contains("Resolves to 10.0.0.7 now"), "{text}");
    assert!(text.contains("The token comes from the environment"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    for (keys, sentence) in [
        ("sslmode = \"require\"", "TLS always, but nobody checks who answers."),
        (
            "sslmode = \"require\"\nsslrootcert = \"/dev/null\"",
            "TLS always; as there is a root file, the certificate must be signed by a trusted CA.",
        ),
    ] {
        let text = explain(&parsed(&format!("{VAULT}{keys}"), &variables).unwrap(), &SmallHost);
        assert!(text.contains(sentence), "{sentence}\n---\n{text}");
    }
}
