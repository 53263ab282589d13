//! A process that is killed at any moment, on a real filesystem: whatever it was doing, the layers show
//! the tree before or after it, to this crate and to the kernel.
//!
//! `KILLS=1000` for a long run, `KILL_SEED=n` to repeat one; `KILL_OPTIONS=n` for one set of options only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may fail by panicking"
)]

#[path = "kill/judge.rs"]
mod judge;
#[path = "kill/log.rs"]
mod log;
#[path = "kill/site.rs"]
mod site;
mod support;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use layerstack::Session;
use layerstack::testing::LayerSpec;
use layerstack::testing::strategy::{self, Profile};
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use support::fs::{Fs, Mounted, require_fs};
use support::namespace::in_mount_namespace;

use crate::judge::Judge;
use crate::log::{Log, Written};
use crate::site::Site;

/// Kills of a short run.
const KILLS: u64 = 60;

/// After so many the layers are made anew; with an index after each, as what is compared with them is made of
/// the layers, and knows of no index that was there before.
const KILLS_PER_SITE: u64 = 12;

/// How long the worker may take to open the layers, and how long at most it then works.
const START_MAX: Duration = Duration::from_secs(60);
const WORK_MICROS_MAX: u64 = 12_000;

/// Tells the worker where to work, with which options, and with which operations.
const WORKER: [&str; 3] = [
    "LAYERSTACK_KILL_DIR",
    "LAYERSTACK_KILL_OPTIONS",
    "LAYERSTACK_KILL_SEED",
];

/// Mount options, in turn.
const OPTIONS: [&[&str]; 4] = [
    &[],
    &["redirect_dir=on"],
    &["index=on"],
    &["index=on", "nfs_export=on", "redirect_dir=on"],
];

/// Numbers from a seed, the same in both processes.
struct Dice(TestRunner);

impl Dice {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Dice(TestRunner::new_with_rng(Config::default(), rng))
    }

    fn pick<T: std::fmt::Debug>(&mut self, from: &BoxedStrategy<T>) -> T {
        from.new_tree(&mut self.0).unwrap().current()
    }
}

fn profile() -> Profile {
    let mut profile = Profile::root();
    // Names of every kind are for other tests; here they should meet.
    (profile.odd_names, profile.acls) = (false, false);
    profile
}

/// Operations that are one step, or that [`judge`] knows the steps of. What works on open files ends
/// with the process.
fn operations() -> BoxedStrategy<layerstack::Op> {
    let all = strategy::op(&profile());
    all.prop_filter("one step", judge::is_judged).boxed()
}

/// Not a test: the process that is killed. Runs only if it is told to.
#[test]
fn worker() {
    let Some(dir) = std::env::var_os(WORKER[0]) else {
        return;
    };
    let seed: u64 = std::env::var(WORKER[2]).unwrap().parse().unwrap();
    let options = std::env::var(WORKER[1]).unwrap();
    let site = Site::at(dir.into(), options.split_whitespace());
    let mut log = Log::create(&site.log());
    let mut session = Session::new(site.open());
    let (mut dice, ops) = (Dice::new(seed), operations());
    log.ready();
    loop {
        let op = dice.pick(&ops);
        log.begin();
        let answer = session.apply(&op);
        log.end(answer.err().map(|e| e.errno()));
    }
}

fn start(site: &Site, seed: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "worker", "--nocapture", "--test-threads=1"])
        .env(WORKER[0], site.path())
        .env(WORKER[1], site.options().join(" "))
        .env(WORKER[2], seed.to_string())
        .stdout(Stdio::null());
    command.spawn().unwrap()
}

/// Lets a worker work for a while and kills it. Answers what it wrote down.
fn work_and_die(site: &Site, seed: u64, micros: u64) -> Written {
    let _ = std::fs::remove_file(site.log());
    let mut worker = start(site, seed);
    let begun = Instant::now();
    while !Written::read(&site.log()).ready {
        assert!(begun.elapsed() < START_MAX, "the worker does not start");
        let ended = worker.try_wait().unwrap();
        assert_eq!(ended, None, "the worker ended by itself");
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(Duration::from_micros(micros));
    worker.kill().unwrap();
    worker.wait().unwrap();
    Written::read(&site.log())
}

fn number(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap())
}

#[test]
fn killed_at_any_moment() {
    if std::env::var_os(WORKER[0]).is_some() || !require_fs(&[Fs::Ext4]) {
        return;
    }
    let kills = number("KILLS").unwrap_or(KILLS);
    let first = number("KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20);
    println!("KILL_SEED={first}");
    in_mount_namespace(|| {
        let mounted = Mounted::new(&[Fs::Ext4]);
        let (mut total, mut torn) = (0, 0);
        let mut seed = first;
        while total < kills {
            let turn = (seed - first) / KILLS_PER_SITE;
            let options = number("KILL_OPTIONS").unwrap_or(turn) as usize % OPTIONS.len();
            let options = OPTIONS[options];
            let per_site = match options.contains(&"index=on") {
                true => 1,
                false => KILLS_PER_SITE,
            };
            let mut dice = Dice::new(seed);
            let layer: BoxedStrategy<LayerSpec> = strategy::layer(&profile());
            let lowers = [dice.pick(&layer), dice.pick(&layer)];
            let site = Site::make(&mounted, &lowers, options);
            for _ in 0..per_site.min(kills - total) {
                let judge = Judge::new(&site);
                let micros = dice.pick(&(0..WORK_MICROS_MAX).boxed());
                let written = work_and_die(&site, seed, micros);
                let found = judge.judge(&site, &written, &mut Dice::new(seed));
                if let Err(e) = found {
                    panic!("KILL_SEED={seed}, {options:?}, {written}: {e}");
                }
                torn += u64::from(written.begun);
                (total, seed) = (total + 1, seed + 1);
            }
        }
        println!("{total} kills, {torn} of them within an operation");
        assert!(
            torn * 3 > total,
            "the worker is hardly ever hit at work: {torn} of {total}"
        );
    });
}
