//! Scripts that nobody wrote.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::differential::{Bench, difference};
use crate::or_skip;
use crate::support::short_or_long;
use crate::wire_client::Pieces;
use crate::wire_client::message::{
    bind, close_portal, copy_data, copy_done, copy_fail, describe_portal, describe_statement, execute, flush,
    function_call, parse, query, sync,
};

/// Statements without parameters; what they leave ends with their transaction.
const STATEMENTS: &[&str] = &[
    "SELECT 1",
    "SELECT n, word FROM t ORDER BY n",
    "SELECT repeat('x', 20000)",
    "",
    "SELECT 1/0",
    "SELEKT",
    "SELECT 10 / (n - 3) FROM t ORDER BY n",
    "INSERT INTO t SELECT 1 + max(n), 'more' FROM t",
    "INSERT INTO t VALUES (1, 'there already')",
    "UPDATE t SET word = word || '!' WHERE n < 3",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "DO $$ BEGIN RAISE NOTICE 'heard'; END $$",
    "COPY (SELECT n FROM t ORDER BY n) TO STDOUT",
];

/// Statements whose effect the next transaction sees.
const KEPT: &[&str] = &[
    "SET TimeZone = 'Asia/Tokyo'",
    "RESET TimeZone",
    "SHOW TimeZone",
    "PREPARE kept AS SELECT count(*) FROM t",
    "EXECUTE kept",
    "LISTEN news",
    "NOTIFY news, 'hello'",
    "CREATE TEMP TABLE mine (n int)",
    "SELECT count(*) FROM mine",
    "DISCARD ALL",
];

/// A piece of a script that leaves no COPY unfinished.
type Unit = Vec<u8>;

fn statement(kept: bool) -> impl Strategy<Value = &'static str> + Clone {
    let all: Vec<&str> =
        STATEMENTS.iter().chain(kept.then_some(KEPT).into_iter().flatten()).copied().collect();
    select(all)
}

fn simple(kept: bool) -> impl Strategy<Value = Unit> {
    prop::collection::vec(statement(kept), 1..4).prop_map(|statements| query(&statements.join("; ")))
}

/// One statement by extended protocol, with more or less around it, and mostly a Sync behind it.
fn extended(kept: bool) -> impl Strategy<Value = Unit> {
    let extras = (any::<bool>(), any::<bool>(), any::<bool>(), 0_u32..4, prop::bool::weighted(0.6));
    (statement(kept), extras, prop::option::weighted(0.2, select(vec!["p", "q"]))).prop_map(
        |(sql, (described, flushed, again, limit, synced), portal)| {
            let portal = portal.unwrap_or("");
            let mut out = parse("", sql);
            if described {
                out.extend(describe_statement(""));
            }
            out.extend(bind(portal, "", &[]));
            if described {
                out.extend(describe_portal(portal));
            }
            out.extend(execute(portal, limit));
            if flushed {
                out.extend(flush());
            }
            if again {
                out.extend([execute(portal, limit), close_portal(portal)].concat());
            }
            if synced {
                out.extend(sync());
            }
            out
        },
    )
}

/// Whole, behind a Sync: an error before it would make the server skip the Query and take the data.
fn copy(target: &'static str) -> impl Strategy<Value = Unit> {
    let line = select(vec!["5000\tx\n", "5001\ty\n", "bad\tx\n", "50", "\\.\n", ""]);
    let lines = prop::collection::vec(line, 0..5);
    (lines, any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.7)).prop_map(
        move |(lines, extended, early, flushed, done)| {
            let sql = format!("COPY {target} FROM STDIN");
            let mut out = if extended {
                [parse("", &sql), bind("", "", &[]), execute("", 0)].concat()
            } else {
                [sync(), query(&sql)].concat()
            };
            if extended && early {
                out.extend(sync());
            }
            for line in lines {
                out.extend(copy_data(line.as_bytes()));
                if flushed {
                    out.extend(flush());
                }
            }
            out.extend(if done { copy_done() } else { copy_fail("changed my mind") });
            if extended {
                out.extend(sync());
            }
            out
        },
    )
}

fn script(kept: bool) -> impl Strategy<Value = Vec<u8>> {
    let unit = prop_oneof![
        4 => simple(kept),
        6 => extended(kept),
        2 => copy("t"),
        1 => copy("nosuch"),
        1 => select(vec![sync(), flush(), copy_data(b"1\tx\n"), copy_done(), copy_fail("x")]),
        1 => select(vec![function_call(1251, &["-7"]), function_call(1, &[])]),
        1 => select(vec![describe_portal("nosuch"), close_portal("p"), execute("p", 1)]),
    ];
    prop::collection::vec(unit, 1..12).prop_map(|units| units.concat())
}

fn pieces() -> impl Strategy<Value = Pieces> {
    prop_oneof![Just(Pieces::Whole), prop::collection::vec(1_usize..40, 1..6).prop_map(Pieces::Of)]
}

fn play(mode: &'static str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bench = or_skip!(runtime.block_on(Bench::start(mode)));
    let cases = short_or_long(60, 2000);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(script(mode == "session"), pieces()), |(script, pieces)| {
        let (direct, through) = runtime
            .block_on(async { (bench.directly(&script).await, bench.through(&script, &pieces).await) });
        match difference(&direct, &through) {
            None => Ok(()),
            Some(difference) => {
                let script = String::from_utf8_lossy(&script).into_owned();
                Err(TestCaseError::fail(format!("{script:?}: {difference}")))
            }
        }
    });
    if let Err(error) = outcome {
        panic!("{mode}: {error}\n{}", bench.stand.proxy.log_text());
    }
    let _guard = runtime.enter();
    drop(bench);
}

#[test]
fn any_script_in_any_pieces_is_answered_in_transaction_mode_as_by_the_server_itself() {
    play("transaction");
}

#[test]
fn any_script_in_any_pieces_is_answered_in_session_mode_as_by_the_server_itself() {
    play("session");
}
