//! The short and the long form of a test: `make test` runs the first, `make test-long`
//! (`LEASEHOLD_TEST_LONG` set) the second. docs/testing.md has the table.

use std::time::Duration;

/// Whether it is the second.
pub fn is_long() -> bool {
    std::env::var_os("LEASEHOLD_TEST_LONG").is_some_and(|set| !set.is_empty())
}

/// One thing or the other.
pub fn short_or_long<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// Draws cases: the same ones at every run of the short form, so that it says the same thing
/// twice; others each time in the long form.
pub fn drawn(config: proptest::test_runner::Config) -> proptest::test_runner::TestRunner {
    use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
    let same = || TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    if is_long() { TestRunner::new(config.clone()) } else { same() }
}

/// A bound that a promise names. It is measured in the long form; the short form has room for a
/// machine that is four times slower.
pub fn bound(promised: Duration) -> Duration {
    short_or_long(promised * 4, promised)
}
