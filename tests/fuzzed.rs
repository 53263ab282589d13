//! What the fuzz targets check, without a fuzzer: the inputs on which they once failed, kept in
//! `tests/fuzzed/TARGET/`, and some of random bytes.
//!
//! `FUZZED_INPUTS=n` tries so many random inputs, `FUZZED_SEED=n` others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may fail by panicking"
)]

#[path = "../fuzz/src/lib.rs"]
mod checks;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/child.rs"]
mod child;

use std::path::Path;

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Longest random input, in bytes.
const BYTES_MAX: usize = 400;

fn number_from_env(key: &str, default: u64) -> u64 {
    let value = std::env::var(key).ok().and_then(|v| v.parse().ok());
    value.unwrap_or(default)
}

/// Says at a panic which input it was.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input: {}", self.0);
        }
    }
}

/// Runs a check on what is kept for it and on `random` inputs.
fn run(target: &str, random: u64, check: fn(&[u8])) {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzzed")
        .join(target);
    if kept.is_dir() {
        for entry in kept.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let _named = Named(path.display().to_string());
            check(&std::fs::read(path).unwrap());
        }
    }
    let first = number_from_env("FUZZED_SEED", 1);
    for seed in first..first + number_from_env("FUZZED_INPUTS", random) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let input = vec(proptest::num::u8::ANY, 0..BYTES_MAX).new_tree(&mut runner);
        let input = input.unwrap().current();
        let _named = Named(format!("FUZZED_SEED={seed}"));
        check(&input);
    }
}

#[test]
fn operations_in_memory() {
    run("ops_memory", 300, checks::ops_memory::check);
}

#[test]
fn operations_and_the_model() {
    run("ops_model", 200, checks::ops_model::check);
}

#[test]
fn operations_in_directories() {
    if !child::is_root() {
        eprintln!("skipped: not root, who alone may make all that the layers hold");
        return;
    }
    run("ops_directory", 60, checks::ops_directory::check);
}

#[test]
fn layers_with_any_attributes() {
    run("stack", 300, checks::stack::check);
}

#[test]
fn mount_options() {
    run("mount_options", 500, checks::mount_options::check);
}

#[test]
fn paths() {
    run("paths", 500, checks::paths::check);
}
