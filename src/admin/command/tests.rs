//! Commands are understood, and what is none is named.

use super::*;

fn name(text: &str, exact: bool) -> Option<Name> {
    Some(Name { text: text.into(), exact })
}

#[test]
fn commands_are_understood_in_any_case_and_with_any_space() {
    use Command as C;
    let cases: &[(&str, &[Command])] = &[
        ("SHOW GENERATIONS", &[C::Show(Show::Generations)]),
        ("show pools;", &[C::Show(Show::Pools)]),
        (" Show\n CLIENTS ; ", &[C::Show(Show::Clients)]),
        ("SHOW SERVERS;SHOW VERSION", &[C::Show(Show::Servers), C::Show(Show::Version)]),
        ("SHOW HELP", &[C::Show(Show::Help)]),
        ("help", &[C::Show(Show::Help)]),
        ("ROTATE", &[C::Rotate(None)]),
        ("rotate App;", &[C::Rotate(name("App", false))]),
        ("ROTATE \"my db\"", &[C::Rotate(name("my db", true))]),
        ("ROTATE 'app'", &[C::Rotate(name("app", true))]),
        ("RETIRE 3", &[C::Retire(3, None)]),
        ("retire 3 app", &[C::Retire(3, name("app", false))]),
        ("PAUSE; resume", &[C::Pause(None), C::Resume(None)]),
        ("PAUSE app", &[C::Pause(name("app", false))]),
        ("RECONNECT \"my db\"", &[C::Reconnect(name("my db", true))]),
        ("DISABLE app", &[C::Disable(name("app", false).unwrap())]),
        ("ENABLE 'app'", &[C::Enable(name("app", true).unwrap())]),
        ("KILL 17", &[C::Kill(17, "KILL")]),
        ("kill_client 17;", &[C::Kill(17, "KILL_CLIENT")]),
        ("SHUTDOWN", &[C::Shutdown]),
        ("reload;", &[C::Reload]),
        ("shutdown wait", &[C::Shutdown]),
        ("SHUTDOWN WAIT_FOR_SERVERS", &[C::Shutdown]),
        ("SHOW server_version", &[C::Parameter("server_version")]),
        ("SHOW \"datestyle\"", &[C::Parameter("DateStyle")]),
        ("SHOW TRANSACTION ISOLATION LEVEL", &[C::Parameter("transaction_isolation")]),
        ("SHOW time zone", &[C::Parameter("TimeZone")]),
        ("SELECT 1", &[C::SelectOne]),
        ("select pg_catalog.version();", &[C::SelectVersion]),
        ("SET extra_float_digits = 3", &[C::Nothing("SET")]),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", &[C::Nothing("SET")]),
        ("RESET ALL", &[C::Nothing("RESET")]),
        ("CLOSE ALL; UNLISTEN *", &[C::Nothing("CLOSE CURSOR ALL"), C::Nothing("UNLISTEN")]),
        ("DISCARD ALL", &[C::Nothing("DISCARD ALL")]),
        ("BEGIN READ ONLY", &[C::Begin]),
        ("START TRANSACTION", &[C::Begin]),
        ("COMMIT; ROLLBACK", &[C::End("COMMIT"), C::End("ROLLBACK")]),
        ("-- only a word\n;", &[]),
    ];
    for (sql, expected) in cases {
        assert_eq!(parse(sql).as_deref(), Ok(*expected), "{sql}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    let cases: &[(&str, &str)] = &[
        ("SHOW", "syntax error at end of input"),
        ("SET", "syntax error at end of input"),
        ("SHOW POOLS now", "syntax error at or near \"now\""),
        ("ROTATE a b", "syntax error at or near \"b\""),
        ("PAUSE a b", "syntax error at or near \"b\""),
        ("DISABLE", "syntax error at end of input"),
        ("KILL", "syntax error at end of input"),
        ("KILL app", "syntax error at or near \"app\""),
        ("KILL 1 2", "syntax error at or near \"2\""),
        ("KILL -1", "syntax error at or near \"-1\""),
        ("RETIRE app", "syntax error at or near \"app\""),
        ("SHUTDOWN WAIT_FOR_CLIENTS", "syntax error at or near \"WAIT_FOR_CLIENTS\""),
        ("SHUTDOWN WAIT now", "syntax error at or near \"now\""),
        ("ROTATE = 1", "syntax error at or near \"=\""),
        ("(SHOW POOLS)", "syntax error at or near \"(\""),
        ("DROP TABLE x", "\"DROP\" is not a command of Leasehold's console"),
        ("select * from t", "\"SELECT\" is not a command of Leasehold's console"),
        ("ROLLBACK TO x", "\"ROLLBACK\" is not a command of Leasehold's console"),
        ("SHOW TABLES", "there is no \"SHOW TABLES\" in Leasehold's console"),
        ("SHOW 'pools", "unterminated quoted string"),
        ("SHOW POOLS; NONSENSE", "\"NONSENSE\" is not a command of Leasehold's console"),
    ];
    for (sql, expected) in cases {
        assert_eq!(parse(sql).unwrap_err().to_string(), *expected, "{sql}");
    }
}

#[test]
fn a_near_miss_is_told_what_was_meant() {
    let nearest = |sql: &str| match parse(sql) {
        Err(ParseError::UnknownShow { nearest, .. }) => nearest,
        other => panic!("{other:?}"),
    };
    assert_eq!(nearest("SHOW POOL"), Some("POOLS"));
    assert_eq!(nearest("show genrations"), Some("GENERATIONS"));
    assert_eq!(nearest("SHOW work_mem"), None);
}

#[test]
fn a_prepared_statement_is_one_statement() {
    assert_eq!(parse_one("SHOW POOLS;"), Ok(Some(Command::Show(Show::Pools))));
    assert_eq!(parse_one("/* */"), Ok(None));
    assert_eq!(parse_one("SHOW POOLS; SHOW POOLS"), Err(ParseError::Several));
}

#[test]
fn a_bare_name_finds_its_database_whatever_the_case() {
    let names = ["App", "app", "Reports"];
    let find = |text: &str, exact| Name { text: text.into(), exact }.find(names.iter().copied());
    assert_eq!(find("app", false), Some("app"));
    assert_eq!(find("App", true), Some("App"));
    assert_eq!(find("REPORTS", false), Some("Reports"));
    assert_eq!(find("REPORTS", true), None);
    assert_eq!(find("other", false), None);
}

#[test]
fn every_parameter_that_is_shown_has_a_value() {
    for sql in ["SHOW transaction_read_only", "SHOW TimeZone", "SHOW server_version"] {
        let parsed = parse(sql);
        let Ok([Command::Parameter(name)]) = parsed.as_deref() else { panic!("{sql}") };
        assert!(parameter(name).is_some(), "{name}");
    }
}
