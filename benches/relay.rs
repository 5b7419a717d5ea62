//! The relay's own work for a transaction, without sockets, on streams in memory: a whole one of the simple
//! protocol and a prepared one, and three of its parts. The streams' share is in it: two copies and
//! allocations for each message.

#![allow(clippy::unwrap_used)] // panicking is how a benchmark fails

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use leasehold::session::bench::Bench;

/// A message of the protocol.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

/// What a server says to a query with one row of one column.
fn row() -> Vec<u8> {
    let mut row = vec![0, 1, 0, 0, 0, 4];
    row.extend(b"1234");
    message(b'D', &row)
}

fn description() -> Vec<u8> {
    let mut column = vec![0, 1];
    column.extend(b"abalance\0");
    column.extend([0; 18]);
    message(b'T', &column)
}

fn complete() -> Vec<u8> {
    message(b'C', b"SELECT 1\0")
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

/// The body of a Bind to a statement, with one parameter.
fn bind() -> Vec<u8> {
    let mut body = b"\0P_0\0".to_vec();
    body.extend([0, 0, 0, 1, 0, 0, 0, 5]);
    body.extend(b"12345");
    body.extend([0, 1, 0, 0]);
    body
}

/// A client that has prepared a statement, as pgbench does.
fn prepared() -> Bench {
    let mut bench = Bench::new().unwrap();
    let parse = message(b'P', b"P_0\0SELECT abalance FROM pgbench_accounts WHERE aid = $1\0\0\0");
    let request = [parse, message(b'S', b"")].concat();
    let answer = [message(b'1', b""), ready()].concat();
    let (sent, got) = bench.transaction(&request, &answer).unwrap();
    assert!(sent > 0 && got == answer.len());
    bench
}

fn transaction(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("transaction");
    let query = message(b'Q', b"SELECT abalance FROM pgbench_accounts WHERE aid = 12345\0");
    let answer = [description(), row(), complete(), ready()].concat();
    let mut bench = Bench::new().unwrap();
    group.bench_function("simple", |bencher| {
        bencher.iter(|| {
            let moved = bench.transaction(black_box(&query), &answer);
            assert_eq!(moved, Some((query.len(), answer.len())));
        });
    });
    let execute = message(b'E', &[0; 5]);
    let describe = message(b'D', b"P\0");
    let request = [message(b'B', &bind()), describe, execute, message(b'S', b"")].concat();
    let answer = [message(b'2', b""), description(), row(), complete(), ready()].concat();
    let mut bench = prepared();
    let first = bench.transaction(&request, &answer).unwrap();
    assert!(first.0 > 0 && first.1 == answer.len());
    group.bench_function("prepared", |bencher| {
        bencher.iter(|| assert_eq!(bench.transaction(black_box(&request), &answer), Some(first)));
    });
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let bench = Bench::new().unwrap();
    criterion.bench_function("checkout and give back", |bencher| {
        bencher.iter(|| assert!(bench.checkout_and_give_back()));
    });
    let mut bench = prepared();
    criterion.bench_function("align, nothing to do", |bencher| {
        bencher.iter(|| assert_eq!(bench.align(), 0));
    });
    let body = bind();
    // The first time, the statement itself goes ahead.
    let (first, ahead) = (bench.bind(&body).unwrap(), bench.bind(&body).unwrap());
    assert!(ahead > 0 && ahead < first);
    criterion.bench_function("align and look up a prepared statement", |bencher| {
        bencher.iter(|| assert_eq!(bench.bind(black_box(&body)), Some(ahead)));
    });
}

criterion_group!(benches, transaction, parts);
criterion_main!(benches);
