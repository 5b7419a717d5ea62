//! The scan by tables, and by texts that nobody wrote.

use proptest::prelude::*;

use super::*;

fn settings(text: &str) -> (Vec<String>, bool, bool) {
    let meaning = meaning(text.as_bytes());
    (meaning.settings, meaning.any_setting, meaning.resets)
}

#[test]
fn what_most_clients_send_is_plain() {
    for text in [
        "",
        "SELECT 1",
        "select abalance from pgbench_accounts where aid = 5;",
        "/* route */ SELECT 1 ; ",
        "BEGIN",
        "COMMIT;",
        "INSERT INTO t VALUES ('SET x = 1')",
        "UPDATE set_configuration SET a = 1",
        "SELECT template FROM templates",
        "ROLLBACK TO SAVEPOINT a",
    ] {
        assert!(meaning(text.as_bytes()).is_plain(), "{text}");
    }
}

#[test]
fn settings_are_found_in_every_spelling() {
    for (text, names, any, resets) in [
        ("SET TimeZone = 'UTC'", vec!["timezone"], false, false),
        ("set session timezone to default", vec!["timezone"], false, true),
        ("SET TIME ZONE 'UTC'", vec!["timezone"], false, false),
        ("SET TIME ZONE LOCAL", vec!["timezone"], false, true),
        ("SET SESSION TIME ZONE INTERVAL '1' HOUR TO MINUTE", vec!["timezone"], false, false),
        ("SET NAMES 'latin1'", vec!["client_encoding"], false, false),
        ("SET SCHEMA 'x'", vec!["search_path"], false, false),
        ("SET ROLE x", vec!["role"], false, false),
        ("SET role = x", vec!["role"], false, false),
        ("SET SESSION AUTHORIZATION x", vec!["session_authorization", "role"], false, false),
        ("SET app.tenant = 7", vec!["app.tenant"], false, false),
        ("SET \"App\".\"Tenant\" TO 7", vec!["app.tenant"], false, false),
        ("SET /* x */ a = 1; SET -- y\n b = 2; SELECT 3", vec!["a", "b"], false, false),
        ("SELECT 1; SET a = 1", vec!["a"], false, false),
        ("BEGIN; SET a = ';'; COMMIT", vec!["a"], false, false),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            vec![
                "default_transaction_isolation",
                "default_transaction_read_only",
                "default_transaction_deferrable",
            ],
            false,
            false,
        ),
        ("SELECT set_config('app.Tenant', $1, false)", vec!["app.tenant"], false, false),
        ("SELECT pg_catalog.set_config('a', f(x, 'true'), false)", vec!["a"], false, false),
        ("WITH x AS (SELECT Set_Config('a', 'b', $1)) SELECT", vec!["a"], false, false),
        ("SELECT \"set_config\"('a', 'b', false)", vec!["a"], false, false),
        ("SELECT set_config($1, $2, false)", vec![], true, false),
        ("RESET ALL", vec![], true, true),
        ("RESET app.tenant", vec!["app.tenant"], true, true),
        ("RESET SESSION AUTHORIZATION", vec!["session_authorization", "role"], false, true),
        ("DISCARD ALL", vec![], true, true),
        ("DO $$ BEGIN PERFORM 1; END $$", vec![], true, false),
        ("CALL p()", vec![], true, false),
        // Whether the string ends before the SET is for the server to know.
        (r"SELECT '\'; SET a = 1; --'", vec![], true, true),
        (r#"SELECT U&"set\005fconfig"('a', 'b', false)"#, vec![], true, true),
        ("SET", vec![], true, false),
    ] {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        assert_eq!(settings(text), (names, any, resets), "{text}");
    }
}

#[test]
fn what_ends_with_its_transaction_is_no_change() {
    for text in [
        "SET LOCAL TimeZone = 'UTC'",
        "SET TRANSACTION READ ONLY",
        "SET CONSTRAINTS ALL DEFERRED",
        "SELECT set_config('a', 'b', true)",
        "SELECT set_config('a', f('b', 1), TRUE)",
        "SELECT 1; SELECT 2",
        "PREPARE TRANSACTION 'x'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = a AS $$ SELECT 1; SELECT 2 $$",
    ] {
        assert!(meaning(text.as_bytes()).is_plain(), "{text}: {:?}", meaning(text.as_bytes()));
    }
}

#[test]
fn statements_named_in_sql_are_found_where_they_stand() {
    for (text, verb, name, place) in [
        ("DEALLOCATE s", Verb::Deallocate, "s", "s"),
        ("deallocate prepare \"S\"\"x\"", Verb::Deallocate, "S\"x", "\"S\"\"x\""),
        ("EXECUTE Named (1, 2)", Verb::Execute, "named", "Named"),
        ("BEGIN; EXECUTE p; COMMIT", Verb::Execute, "p", "p"),
        ("DEALLOCATE prepare", Verb::Deallocate, "prepare", "prepare"),
    ] {
        let meaning = meaning(text.as_bytes());
        let [found] = &meaning.names[..] else { panic!("{text}: {meaning:?}") };
        assert_eq!((found.verb, &found.name[..]), (verb, name.as_bytes()), "{text}");
        assert_eq!(&text[found.at.clone()], place, "{text}");
    }
    for text in ["DEALLOCATE ALL", "DEALLOCATE PREPARE ALL", "DISCARD ALL"] {
        assert!(meaning(text.as_bytes()).forgets, "{text}");
    }
}

#[test]
fn what_ties_a_session_to_its_upstream_is_found() {
    for (text, tie) in [
        ("PREPARE p AS SELECT 1", Ties::PREPARED),
        ("LISTEN news", Ties::LISTEN),
        ("CREATE TEMP TABLE t (n int)", Ties::TEMPORARY),
        ("create local temporary view v as select 1", Ties::TEMPORARY),
        ("SELECT 1 AS n INTO TEMP t", Ties::TEMPORARY),
        ("SELECT pg_advisory_lock(1)", Ties::ADVISORY),
        ("SELECT pg_try_advisory_lock_shared(1)", Ties::ADVISORY),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", Ties::HELD),
        ("LOAD 'x'", Ties::LOADED),
        ("BEGIN; CREATE TEMP TABLE t (n int)", Ties::TEMPORARY),
    ] {
        assert_eq!(meaning(text.as_bytes()).ties, tie, "{text}");
    }
    for text in [
        "DECLARE c CURSOR FOR SELECT 1",
        "DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1",
        "SELECT pg_advisory_xact_lock(1)",
    ] {
        assert!(meaning(text.as_bytes()).ties.is_empty(), "{text}");
    }
}

#[test]
fn what_may_untie_it_is_found() {
    for text in [
        "UNLISTEN *",
        "DROP TABLE t",
        "CLOSE ALL",
        "DEALLOCATE p",
        "DISCARD TEMP",
        "SELECT pg_advisory_unlock_all()",
        "SELECT 1; DROP TABLE t",
    ] {
        assert!(meaning(text.as_bytes()).unties, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_can_panic_it(text in "(SET|RESET|EXECUTE|set_config|DISCARD|ALL|[-/*$'\"\\\\a;E&(,)=. \n]){0,30}") {
        meaning(text.as_bytes());
    }

    /// Whatever stands around it in comments and spaces.
    #[test]
    fn a_set_is_found_behind_anything(before in prop::sample::select(vec![
        "", "SELECT 1;", "/* ; */ ;;", "-- x\n", "SELECT ';' ;", "SELECT $a$ ; $a$ ; ", "SELECT \";\";",
    ]), gap in "[ \n\t]{1,3}") {
        let text = format!("{before}SET{gap}app.x{gap}= 1");
        prop_assert!(meaning(text.as_bytes()).settings.contains(&"app.x".to_owned()), "{}", text);
    }
}
