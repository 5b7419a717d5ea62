//! The table of scripts. Each is sent without waiting for answers.

use crate::wire_client::message::{
    bind, bind_as, close_portal, close_statement, describe_portal, describe_statement, execute, flush,
    function_call, parse, query, sync,
};

pub struct Script {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// How the kinds of the server's answers begin: what the script is there for did happen.
    pub expected: &'static str,
}

pub fn script(name: &'static str, expected: &'static str, parts: &[Vec<u8>]) -> Script {
    Script { name, bytes: parts.concat(), expected }
}

const INSERT: &str = "INSERT INTO t VALUES (100, 'new')";

/// Parse, Bind and Execute of an unnamed statement.
pub fn run(sql: &str) -> Vec<u8> {
    [parse("", sql), bind("", "", &[]), execute("", 0)].concat()
}

pub fn scripts() -> Vec<Script> {
    let mut all = simple();
    all.extend(extended());
    all.extend(super::copies::scripts());
    all.extend(stateful());
    all.extend(super::corners::scripts());
    all
}

fn simple() -> Vec<Script> {
    let large = "SELECT repeat('x', 300000), n FROM generate_series(1, 3) n";
    let many = "SELECT n, 'some text' FROM generate_series(1, 20000) n";
    vec![
        script("a query", "TDCZ", &[query("SELECT 1, NULL, 'x'::text")]),
        script("empty queries", "IZIZIZ", &[query(""), query(";"), query("  -- nothing")]),
        script("several statements", "TDCTDCTDCZ", &[query("SELECT 1; SELECT 2; SELECT 3")]),
        script("an error between statements", "TDCEZ", &[query("SELECT 1; SELECT 1/0; SELECT 3")]),
        script("a syntax error", "EZ", &[query("SELEKT 1")]),
        script(
            "nothing of a failed batch stays",
            "CEZTDCZ",
            &[query(&format!("{INSERT}; {INSERT}")), query("SELECT count(*) FROM t")],
        ),
        script(
            "a transaction in one batch",
            "CCCTDCZ",
            &[query(&format!("BEGIN; {INSERT}; COMMIT; SELECT count(*) FROM t"))],
        ),
        script(
            "a transaction over queries",
            "CZCZTDCZCZ",
            &[
                query("BEGIN"),
                query(INSERT),
                query("SELECT count(*) FROM t"),
                query("ROLLBACK"),
                query("SELECT count(*) FROM t"),
            ],
        ),
        script(
            "a failed transaction",
            "CZEZEZCZ",
            &[query("BEGIN"), query("SELECT 1/0"), query("SELECT 1"), query("COMMIT")],
        ),
        script(
            "savepoints",
            "CZCZEZCZCZCZ",
            &[
                query("BEGIN"),
                query("SAVEPOINT a"),
                query("SELECT * FROM nosuch"),
                query("ROLLBACK TO a"),
                query(INSERT),
                query("COMMIT AND CHAIN"),
                query("COMMIT"),
            ],
        ),
        script(
            "notices and warnings",
            "NNCZNCZ",
            &[
                query(
                    "DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two' USING DETAIL = 'd', HINT = 'h'; END $$",
                ),
                query("COMMIT"),
            ],
        ),
        script(
            "errors with every field",
            "EZEZ",
            &[
                query(
                    "DO $$ BEGIN RAISE 'own' USING ERRCODE = 'ZZ123', DETAIL = 'd', HINT = 'h', TABLE = 't'; END $$",
                ),
                query("INSERT INTO t VALUES (1, 'there already')"),
            ],
        ),
        script("rows that are large and many", "TDDDCZTDDD", &[query(large), query(many)]),
        script(
            "a cursor",
            "CZCZTDDCZCZ",
            &[
                query("BEGIN"),
                query("DECLARE c CURSOR FOR SELECT n FROM t ORDER BY n"),
                query("FETCH 2 FROM c"),
                query("MOVE 3 FROM c"),
                query("FETCH ALL FROM c"),
                query("COMMIT"),
            ],
        ),
        script(
            "settings of one transaction",
            "CCTDC",
            &[query("BEGIN; SET LOCAL work_mem = '5MB'; SHOW work_mem; COMMIT"), query("SHOW work_mem")],
        ),
        script(
            "function calls",
            "VZVZEZTDCZ",
            &[
                // int4abs(int4)
                function_call(1251, &["-7"]),
                function_call(1251, &["0"]),
                function_call(1, &[]),
                query("SELECT 1"),
            ],
        ),
    ]
}

fn extended() -> Vec<Script> {
    let select = "SELECT n, word FROM t WHERE n <= $1 ORDER BY n";
    vec![
        script(
            "extended, all of it",
            "1tT2TDDCZ",
            &[
                parse("", select),
                describe_statement(""),
                bind("", "", &[Some("2")]),
                describe_portal(""),
                execute("", 0),
                sync(),
            ],
        ),
        script(
            "binary results and null parameters",
            "12DDCZ",
            &[
                parse("", "SELECT n, word FROM t WHERE n <= $1 AND $2::text IS NULL ORDER BY n"),
                bind_as("", "", &[Some("2"), None], Some(1)),
                execute("", 0),
                sync(),
            ],
        ),
        script(
            "what returns nothing",
            "1tn2nCZ",
            &[
                parse("", INSERT),
                describe_statement(""),
                bind("", "", &[]),
                describe_portal(""),
                execute("", 0),
                sync(),
            ],
        ),
        script(
            "an empty statement",
            "1tn2nIZ",
            &[
                parse("", ""),
                describe_statement(""),
                bind("", "", &[]),
                describe_portal(""),
                execute("", 0),
                sync(),
            ],
        ),
        script("Sync alone", "ZZZ", &[sync(), sync(), sync()]),
        script(
            "Flush",
            "12DCZ",
            &[
                parse("", "SELECT 1"),
                flush(),
                bind("", "", &[]),
                flush(),
                execute("", 0),
                flush(),
                flush(),
                sync(),
                flush(),
            ],
        ),
        script(
            "a pipeline in one transaction",
            "12C12C12DCZ",
            &[
                run("UPDATE t SET word = 'a' WHERE n = 1"),
                run("UPDATE t SET word = 'b' WHERE n = 2"),
                run("SELECT count(*) FROM t WHERE word IN ('a', 'b')"),
                sync(),
            ],
        ),
        script(
            "an error in a pipeline skips up to Sync",
            "12C1EZ12DCZ",
            &[
                run(INSERT),
                run("SELECT 1/0 FROM t"),
                run("SELECT 'skipped'"),
                describe_statement("skipped"),
                close_portal("skipped"),
                sync(),
                run("SELECT count(*) FROM t"),
                sync(),
            ],
        ),
        script(
            "pipelined transactions",
            "12DCZ12DCZE",
            &[
                run("SELECT 1"),
                sync(),
                run("SELECT 2"),
                sync(),
                run("SELEKT 3"),
                sync(),
                run("SELECT 4"),
                sync(),
            ],
        ),
        script(
            "errors at each step",
            "EZ1EZ1EZEZEZEZ33Z",
            &[
                [parse("", "SELECT * FROM nosuch"), bind("", "", &[]), sync()].concat(),
                [parse("", select), bind("", "", &[]), execute("", 0), sync()].concat(),
                [parse("", select), bind("", "", &[Some("not a number")]), execute("", 0), sync()].concat(),
                [describe_statement("nosuch"), sync()].concat(),
                [describe_portal("nosuch"), sync()].concat(),
                [execute("nosuch", 0), sync()].concat(),
                [close_statement("nosuch"), close_portal("nosuch"), sync()].concat(),
            ],
        ),
        script(
            "portals with a row limit",
            "12DDDsDDDsDDDDDDDDDDDDDDCZ",
            &[
                parse("", "SELECT n FROM t ORDER BY n"),
                bind("", "", &[]),
                execute("", 3),
                execute("", 3),
                execute("", 0),
                sync(),
            ],
        ),
        script(
            "portals over several Syncs in a transaction",
            "CZ12DDsZDDsZ3ZEZ",
            &[
                query("BEGIN"),
                [parse("", "SELECT n FROM t ORDER BY n"), bind("p", "", &[]), execute("p", 2), sync()]
                    .concat(),
                [execute("p", 2), sync()].concat(),
                [close_portal("p"), sync()].concat(),
                [execute("p", 2), sync()].concat(),
                query("ROLLBACK"),
            ],
        ),
        script(
            "a portal ends with its transaction",
            "12DDsZEZ",
            &[
                [parse("", "SELECT n FROM t"), bind("p", "", &[]), execute("p", 2), sync()].concat(),
                [execute("p", 2), sync()].concat(),
            ],
        ),
        script("a query behind messages without Sync", "12DCTDCZ", &[run("SELECT 1"), query("SELECT 2")]),
        script(
            "a query behind an error without Sync",
            "EZTDCZ",
            &[
                run("SELEKT 1"),
                query("SELECT 'skipped'"),
                query("SELECT 'skipped too'"),
                sync(),
                query("SELECT 'heard'"),
            ],
        ),
        script(
            "a call behind an error without Sync",
            "EZTDCZ",
            &[run("SELEKT 1"), function_call(1251, &["-7"]), sync(), query("SELECT 'heard'")],
        ),
        script(
            "a transaction by extended protocol",
            "12CZ12CZ12CZ12DCZ",
            &[
                [run("BEGIN"), sync(), run(INSERT), sync(), run("ROLLBACK"), sync()].concat(),
                [run("SELECT count(*) FROM t"), sync()].concat(),
            ],
        ),
        script("several statements in one Parse", "EZ", &[run("SELECT 1; SELECT 2"), sync()]),
    ]
}

/// What one transaction leaves for the next.
fn stateful() -> Vec<Script> {
    vec![
        script(
            "named statements",
            "1Z2DCZ2DCZ3ZEZ",
            &[
                [parse("s", "SELECT $1::int + 1"), sync()].concat(),
                [bind("", "s", &[Some("1")]), execute("", 0), sync()].concat(),
                [bind("", "s", &[Some("2")]), execute("", 0), sync()].concat(),
                [close_statement("s"), sync()].concat(),
                [bind("", "s", &[Some("3")]), sync()].concat(),
            ],
        ),
        script(
            "the same name twice",
            "1ZEZ",
            &[[parse("s", "SELECT 1"), sync()].concat(), [parse("s", "SELECT 2"), sync()].concat()],
        ),
        script(
            "settings that are reported",
            "CSZ",
            &[
                query("SET TimeZone = 'Asia/Tokyo'"),
                query("SET application_name = 'changed'"),
                query("SHOW TimeZone"),
                query("RESET TimeZone"),
                query("SET DateStyle = 'German'; SELECT now() < '01.01.2100'"),
            ],
        ),
        script(
            "prepared by SQL",
            "CZTDCZCZEZ",
            &[
                query("PREPARE p AS SELECT count(*) FROM t WHERE n < $1"),
                query("EXECUTE p (5)"),
                query("DEALLOCATE p"),
                query("EXECUTE p (5)"),
            ],
        ),
        script(
            "notifications to oneself",
            "CZCAZ",
            &[
                query("LISTEN news"),
                query("NOTIFY news, 'hello'"),
                query("BEGIN; NOTIFY news, 'one'; NOTIFY news, 'two'; COMMIT"),
                query("UNLISTEN *"),
                query("NOTIFY news, 'unheard'"),
            ],
        ),
        script(
            "temporary tables and held cursors",
            "CZCZTDDCZ",
            &[
                query("CREATE TEMP TABLE mine AS SELECT 1 AS n UNION ALL SELECT 2"),
                query("DECLARE held CURSOR WITH HOLD FOR SELECT n + 0 FROM mine"),
                query("FETCH ALL FROM held"),
                query("DISCARD ALL"),
                query("SELECT * FROM mine"),
            ],
        ),
        script(
            "everything is discarded",
            "1ZCSZ",
            &[
                [parse("s", "SELECT 1"), sync()].concat(),
                query("SET TimeZone = 'Asia/Tokyo'"),
                query("DISCARD ALL"),
                [bind("", "s", &[]), sync()].concat(),
                query("SELECT currval('nosuch')"),
            ],
        ),
        script(
            "roles",
            "CZTDCZ",
            &[
                query("SET ROLE none"),
                query("SELECT current_user = session_user"),
                query("RESET ROLE"),
                query("SELECT current_user"),
            ],
        ),
    ]
}
