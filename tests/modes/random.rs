//! Scripts that nobody wrote.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestError};

use super::differential::{Bench, difference};
use super::together::without_source;
use crate::or_skip;
use crate::support::{drawn, short_or_long};
use crate::wire_client::message::{
    bind, close_portal, close_statement, copy_data, copy_done, copy_fail, describe_portal,
    describe_statement, execute, flush, function_call, parse, query, sync,
};
use crate::wire_client::{Message, Pieces};

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
    // Not a SELECT: whether a table is there is found when this is executed, not when it is parsed. A text
    // that an upstream has prepared is not parsed again (docs/behaviour.md).
    "COPY mine TO STDOUT",
    "DISCARD ALL",
];

/// A piece of a script that leaves no COPY unfinished.
type Unit = Vec<u8>;

fn statement() -> impl Strategy<Value = &'static str> + Clone {
    select([STATEMENTS, KEPT].concat())
}

fn simple() -> impl Strategy<Value = Unit> {
    prop::collection::vec(statement(), 1..4).prop_map(|statements| query(&statements.join("; ")))
}

/// One statement by extended protocol, with more or less around it, and mostly a Sync behind it.
fn extended() -> impl Strategy<Value = Unit> {
    let extras = (any::<bool>(), any::<bool>(), any::<bool>(), 0_u32..4, prop::bool::weighted(0.6));
    (statement(), extras, prop::option::weighted(0.2, select(vec!["p", "q"]))).prop_map(
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

/// Statements with and without a name, prepared, used and forgotten in any order.
fn named() -> impl Strategy<Value = Unit> {
    let name = || select(vec!["s", "r", ""]);
    let unit = prop_oneof![
        4 => (name(), statement()).prop_map(|(name, sql)| parse(name, sql)),
        6 => (name(), 0_u32..3).prop_map(|(name, limit)| [bind("", name, &[]), execute("", limit)].concat()),
        2 => name().prop_map(describe_statement),
        1 => name().prop_map(close_statement),
        4 => Just(sync()),
        1 => Just(flush()),
        1 => (select(vec!["DEALLOCATE s", "DEALLOCATE r", "DEALLOCATE ALL", "EXECUTE s", "DISCARD ALL"]), any::<bool>())
            .prop_map(|(sql, simple)| {
                if simple {
                    query(sql)
                } else {
                    [parse("", sql), bind("", "", &[]), execute("", 0), sync()].concat()
                }
            }),
    ];
    prop::collection::vec(unit, 1..8).prop_map(|units| units.concat())
}

fn script() -> impl Strategy<Value = Vec<u8>> {
    let unit = prop_oneof![
        4 => simple(),
        6 => extended(),
        6 => named(),
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

/// A script for people: each message's type and what of its body can be read.
pub fn spelt(mut script: &[u8]) -> String {
    let mut out = Vec::new();
    while let Some((&[kind, a, b, c, d], rest)) = script.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize - 4;
        let (body, rest) = rest.split_at(length.min(rest.len()));
        out.push(format!("{} {}", char::from(kind), body.escape_ascii()));
        script = rest;
    }
    out.join("\n")
}

fn play(mode: &'static str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bench = or_skip!(runtime.block_on(Bench::start(mode)));
    let cases = short_or_long(60, 1000);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let outcome = drawn(config).run(&(script(), pieces()), |(script, pieces)| {
        let (direct, through) = runtime
            .block_on(async { (bench.directly(&script).await, bench.through(&script, &pieces).await) });
        let essence = |answers: Vec<Message>| answers.into_iter().map(without_source).collect::<Vec<_>>();
        let (direct, through) = (essence(direct), essence(through));
        match difference(&direct, &through) {
            None => Ok(()),
            Some(difference) => Err(TestCaseError::fail(format!("{}\n{difference}", spelt(&script)))),
        }
    });
    if let Err(error) = outcome {
        let error = match error {
            TestError::Fail(reason, (_, pieces)) => format!("{reason}\n{pieces:?}"),
            other => other.to_string(),
        };
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
