//! The scan of message headers: the relay's inner loop, over a 16 KiB buffer
//! as the server fills it for a result of many small rows, and for one large row.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use leasehold::wire::HeaderScan;

const BUFFER: usize = 16 * 1024;

/// A buffer full of `DataRow` messages with bodies of this size.
fn rows(body: usize) -> Vec<u8> {
    let length = u32::try_from(body + 4).unwrap_or(u32::MAX);
    let mut message = vec![b'D'];
    message.extend(length.to_be_bytes());
    message.resize(message.len() + body, 0);
    message.into_iter().cycle().take(BUFFER).collect()
}

fn scan(buffer: &[u8]) -> u32 {
    let mut scan = HeaderScan::default();
    let mut input = buffer;
    let mut found = 0;
    while let Ok(Some(header)) = scan.next(&mut input) {
        found += u32::from(header.kind == b'D');
    }
    found
}

fn header_scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header_scan");
    group.throughput(Throughput::Bytes(BUFFER as u64));
    for (name, body) in [("rows of 16 bytes", 16), ("rows of 256 bytes", 256), ("one row", 1 << 20)] {
        let buffer = rows(body);
        group.bench_function(name, |bencher| bencher.iter(|| scan(black_box(&buffer))));
    }
    group.finish();
}

criterion_group!(benches, header_scan);
criterion_main!(benches);
