//! Threads that do whatever they like.

use std::sync::mpsc::channel;

use layerstack::Session;
use layerstack::testing::LayerSpec;
use layerstack::testing::strategy::{self, Profile};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::stage::{Stage, wait};
use crate::support::child::is_root;

const THREADS: usize = 6;
const ROUNDS: u64 = 12;
const OPS: usize = 200;

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(Config::default(), rng)
}

/// No deadlock, no panic; nothing left over; the lower as it was; opened again it shows the same.
fn storm(memory: bool) {
    let mut profile = Profile::root();
    (profile.ops_max, profile.acls) = (OPS, false);
    let mut succeeded = 0;
    for round in 0..ROUNDS {
        let mut runner = runner(round);
        let spec = match memory {
            true => strategy::layer(&profile)
                .new_tree(&mut runner)
                .unwrap()
                .current(),
            // Written without privileges: plain files only.
            false => plain(),
        };
        let stage = Stage::new(memory, &spec, None);
        let (done, came) = channel();
        for _ in 0..THREADS {
            let ops = proptest::collection::vec(strategy::op(&profile), OPS);
            let ops = ops.new_tree(&mut runner).unwrap().current();
            let (overlay, done) = (stage.overlay.clone(), done.clone());
            std::thread::spawn(move || {
                let mut session = Session::new(overlay);
                let ok = ops.iter().filter(|op| session.apply(op).is_ok()).count();
                drop(session);
                done.send(ok).unwrap();
            });
        }
        drop(done);
        for _ in 0..THREADS {
            succeeded += wait("a thread", &came);
        }
        stage.finish();
    }
    let all = THREADS * OPS * ROUNDS as usize;
    assert!(succeeded * 8 > all, "{succeeded} of {all}");
}

fn plain() -> LayerSpec {
    use layerstack::testing::NodeSpec;
    let mut spec = LayerSpec::new();
    for dir in ["/a", "/b", "/b/a", "/c"] {
        for name in ["a", "b", "d"] {
            spec.insert(format!("{dir}/{name}"), NodeSpec::file(b"data"));
        }
    }
    spec.without("/b/a/a").with("/d", NodeSpec::file(b"data"))
}

#[test]
fn a_storm_in_memory() {
    storm(true);
}

#[test]
fn a_storm_on_directories() {
    if is_root() {
        storm(false);
    } else {
        eprintln!("skipped: not root, who alone may do all that the operations ask for");
    }
}
