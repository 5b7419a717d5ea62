//! The scripts about COPY, which is where client and server most easily lose each other.

use super::scripts::{Script, run, script};
use crate::wire_client::message::{
    copy_data, copy_done, copy_fail, describe_statement, execute, flush, parse, query, sync,
};

const COPY_IN: &str = "COPY t FROM STDIN";

pub fn scripts() -> Vec<Script> {
    let data = || copy_data(b"100\tone\n101\ttwo\n");
    let bad = || copy_data(b"102\tgood\nnot a number\tbad\n");
    let extended = || run(COPY_IN);
    let count = || query("SELECT count(*) FROM t");
    vec![
        script("copy out", "Hddddd", &[query("COPY t TO STDOUT")]),
        script(
            "copy out between statements",
            "TDCHddd",
            &[query(
                "SELECT 1; COPY (SELECT n FROM t WHERE n < 4 ORDER BY n) TO STDOUT (FORMAT binary); SELECT 2",
            )],
        ),
        script(
            "copy out that fails half way",
            "Hd",
            &[query("COPY (SELECT 10 / (n - 3) FROM t ORDER BY n) TO STDOUT")],
        ),
        script(
            "copy out by Execute",
            "12Hdd",
            &[run("COPY (SELECT n FROM t WHERE n < 3) TO STDOUT"), sync()],
        ),
        script("copy in, sent blindly", "GCZTDCZ", &[query(COPY_IN), data(), copy_done(), count()]),
        script(
            "copy in, in crumbs",
            "GCZTDCZ",
            &[
                query(COPY_IN),
                [copy_data(b"10"), copy_data(b""), copy_data(b"0\tword"), copy_data(b"\n\\.\n")].concat(),
                copy_done(),
                count(),
            ],
        ),
        script(
            "copy in between statements",
            "TDCGCTDCZ",
            &[query(&format!("SELECT 1; {COPY_IN}; SELECT 2")), data(), copy_done()],
        ),
        script(
            "two copies in one query",
            "GCGCZTDCZ",
            &[
                query(&format!("{COPY_IN}; {COPY_IN}")),
                [data(), copy_done(), copy_data(b"200\tx\n"), copy_done()].concat(),
                count(),
            ],
        ),
        script(
            "copy in given up by the client",
            "GEZTDCZ",
            &[query(COPY_IN), data(), copy_fail("changed my mind"), count()],
        ),
        script(
            "copy in with an error in the data",
            "GEZTDCZ",
            &[query(COPY_IN), bad(), data(), data(), copy_done(), count()],
        ),
        script(
            "copy in into nothing",
            "EZTDCZ",
            &[query("COPY nosuch FROM STDIN"), data(), copy_done(), count()],
        ),
        script(
            "copy in into nothing, and behind it what has to wait",
            "EZCZCZ",
            &[[
                query("COPY nosuch FROM STDIN"),
                copy_fail("changed my mind"),
                query("PREPARE kept AS SELECT 1"),
                query("DEALLOCATE kept"),
            ]
            .concat()],
        ),
        script(
            "copy in a transaction",
            "CZGCZTDCZCZTDCZ",
            &[
                query("BEGIN"),
                [query(COPY_IN), data(), copy_done()].concat(),
                count(),
                query("ROLLBACK"),
                count(),
            ],
        ),
        script(
            "copy data of nobody",
            "TDCZTDCZ",
            &[query("SELECT 1"), data(), copy_done(), copy_fail("x"), count()],
        ),
        script("copy in by Execute", "12GCZTDCZ", &[extended(), data(), copy_done(), sync(), count()]),
        script(
            "copy in by Execute with an early Sync",
            "12GCZTDCZ",
            &[extended(), sync(), data(), copy_done(), sync(), count()],
        ),
        script(
            "copy in by Execute with Sync and Flush in the data",
            "12GCZTDCZ",
            &[
                extended(),
                [flush(), copy_data(b"100\tone\n"), sync(), flush(), copy_data(b"101\ttwo\n")].concat(),
                [copy_done(), sync()].concat(),
                count(),
            ],
        ),
        script(
            "copy in by Execute given up",
            "12GEZTDCZ",
            &[extended(), data(), copy_fail("changed my mind"), run("SELECT 'skipped'"), sync(), count()],
        ),
        script(
            "copy in by Execute with an error in the data",
            "12GEZTDCZ",
            &[extended(), bad(), data(), copy_done(), sync(), count()],
        ),
        script(
            "copy in by Execute that never begins",
            "12EZTDCZ",
            &[run("COPY nosuch FROM STDIN"), data(), copy_done(), sync(), count()],
        ),
        script(
            "copy in by Execute within a pipeline",
            "12DC12GC12DCZ",
            &[run("SELECT 1"), extended(), data(), copy_done(), run("SELECT count(*) FROM t"), sync()],
        ),
        script(
            "an end of copy data of nobody within a batch, ahead of a copy by Execute",
            "12C12GCZEZEZ12CZ",
            &[
                [run("SELECT n FROM t WHERE n < 0"), copy_done(), extended(), sync(), copy_done(), sync()]
                    .concat(),
                [describe_statement("nosuch"), copy_fail("x"), sync()].concat(),
                [query("COPY nosuch FROM STDIN"), flush(), copy_fail("changed my mind")].concat(),
                [run("SELECT n FROM t WHERE n < 0"), sync()].concat(),
            ],
        ),
        script(
            "what is passed over with a copy leaves the unnamed statement, in a failed transaction too",
            "12CEZEZtnZCZ",
            &[
                [run("BEGIN"), execute("nosuch", 1), extended(), copy_fail("x"), sync()].concat(),
                [parse("s", "SELECT 1"), sync(), describe_statement(""), sync(), query("ROLLBACK")].concat(),
            ],
        ),
        script(
            "the same in a transaction, and twice",
            "12C12C12GC12CZ",
            &[
                [run("BEGIN"), copy_done(), copy_fail("x"), run("SAVEPOINT s"), copy_done()].concat(),
                [extended(), sync(), sync(), copy_done(), run("COMMIT"), sync()].concat(),
            ],
        ),
        script(
            "an early Sync and an error in the data",
            "12GE",
            &[extended(), sync(), bad(), copy_done(), sync(), count()],
        ),
        script("a query in the middle of a copy", "GE", &[query(COPY_IN), data(), query("SELECT 'lost'")]),
    ]
}
