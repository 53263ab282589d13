//! Generated cases, the mixes that they run on, and what is left out of them.

use std::time::{Duration, Instant, SystemTime};

use layerstack::testing::merged::Layered;
pub use layerstack::testing::oracle::without_quirks;
use layerstack::testing::snapshot::Compare;
use layerstack::testing::strategy::{self, Profile};
use layerstack::testing::{Case, MergedFs, SnapshotOptions, TreeSnapshot, minimise};
use layerstack::{Errno, Op, Outcome, Timestamp};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::stack::{Kind, Mix, Mixed, mix};
use crate::support::child::is_root;

/// Memory over memory, memory over directories, and so on.
pub const MIXES: [Mix; 4] = [
    mix(Kind::Memory, Kind::Memory, false),
    mix(Kind::Memory, Kind::Directory, false),
    mix(Kind::Directory, Kind::Memory, false),
    mix(Kind::Directory, Kind::Directory, false),
];

/// How long a failing case is made smaller.
const MINIMISE: Duration = Duration::from_secs(20);

pub fn now() -> Timestamp {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Timestamp::new(now.as_secs().try_into().unwrap(), now.subsec_nanos())
}

/// Directories need root, who alone may make all that the cases hold; says so if it is missing.
pub fn possible(mix: Mix) -> bool {
    let memory = (mix.lower, mix.upper) == (Kind::Memory, Kind::Memory);
    if !memory && !is_root() {
        eprintln!("skipped: {mix:?} needs root");
    }
    memory || is_root()
}

fn number_from_env(key: &str, default: u64) -> u64 {
    let value = std::env::var(key).ok().and_then(|v| v.parse().ok());
    value.unwrap_or(default)
}

/// A generator that always gives the same for one seed.
pub fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(Config::default(), rng)
}

/// Runs `check` on generated cases with consecutive seeds; `adapt` changes each. `check` answers how
/// many operations were applied and succeeded. Panics with a small case.
pub fn for_cases(
    count: u64,
    profile: &Profile,
    adapt: impl Fn(&mut Case),
    check: impl Fn(&Case) -> Result<(usize, usize), String>,
) {
    let first = number_from_env("LAWS_SEED", 1);
    let count = number_from_env("LAWS_CASES", count);
    let strategy = strategy::case(profile);
    let (mut ops, mut succeeded) = (0, 0);
    for seed in first..first + count {
        let mut case = strategy.new_tree(&mut runner(seed)).unwrap().current();
        adapt(&mut case);
        match check(&case) {
            Ok((all, good)) => (ops, succeeded) = (ops + all, succeeded + good),
            Err(first) => {
                let end = Instant::now() + MINIMISE;
                let case = minimise(case, &mut |case| {
                    let mut adapted = case.clone();
                    adapt(&mut adapted);
                    adapted == *case && Instant::now() < end && check(case).is_err()
                });
                let what = check(&case).err().unwrap_or(first);
                panic!("seed {seed}: {what}\n\n{case:?}\n");
            }
        }
    }
    println!("{count} cases, {ops} operations, {succeeded} of them succeeded");
    assert!(
        succeeded * 4 >= ops,
        "most operations fail: {succeeded} of {ops}"
    );
}

/// As [`for_cases`], once for each mix that is possible here.
pub fn in_mixes(
    count: u64,
    adapt: impl Fn(&mut Case),
    check: impl Fn(&Case, Mix) -> Result<(usize, usize), String>,
) {
    for mix in MIXES.into_iter().filter(|mix| possible(*mix)) {
        for_cases(count, &Profile::root(), &adapt, |case| {
            check(case, mix).map_err(|e| format!("{mix:?}: {e}"))
        });
    }
}

impl MergedFs for Mixed {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        Mixed::apply(self, op)
    }

    fn snapshot(&mut self, options: &SnapshotOptions) -> Result<TreeSnapshot, Errno> {
        self.session.as_mut().unwrap().snapshot(options)
    }
}

impl Layered for Mixed {
    fn reopen(&mut self, rotate: bool) -> Result<(), Errno> {
        Mixed::reopen(self, rotate);
        Ok(())
    }
}

/// What of two merged trees is compared that do not share their layers.
pub fn seen() -> Compare {
    let mut compare = Compare::merged();
    compare.inode_labels = false;
    // Listings tell an inode number of the layer's where layers lie on several filesystems.
    compare.listed_inodes = false;
    compare
}
