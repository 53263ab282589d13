//! Small histories of several threads: some order of the operations, in which none comes before one that
//! had ended when it began, gives the same answers and the same tree on the reference model.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::SystemTime;

use layerstack::testing::merged::{Agreement, MemUnion};
use layerstack::testing::oracle::{MergeOptions, without_quirks};
use layerstack::testing::outcome;
use layerstack::testing::strategy::{self, Profile};
use layerstack::testing::{Case, Compare, LayerSpec, MergedFs, ReferenceModel, Weakenings};
use layerstack::{Errno, Op, Outcome, OverlayOptions, Session, Timestamp, XattrNamespace};
use proptest::collection::vec;
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::stage::wait;

const THREADS: usize = 3;
const OPS: usize = 4;
const HISTORIES: u64 = 400;

/// One operation as it went.
#[derive(Debug)]
struct Done {
    op: Op,
    answer: Result<Outcome, Errno>,
    /// When it began and had ended, by a clock that all share.
    began: u64,
    ended: u64,
}

/// Operations that are one step to everybody, without open files.
fn is_one_step(op: &Op) -> bool {
    matches!(
        op,
        Op::Metadata { .. }
            | Op::ReadLink { .. }
            | Op::ReadDir { .. }
            | Op::GetXattr { .. }
            | Op::ListXattrs { .. }
            | Op::CreateDir { .. }
            | Op::Symlink { .. }
            | Op::HardLink { .. }
            | Op::MakeNode { .. }
            | Op::RemoveFile { .. }
            | Op::RemoveDir { .. }
            | Op::Rename { .. }
            | Op::SetXattr { .. }
            | Op::RemoveXattr { .. }
    )
}

/// As [`Agreement`] does, removing an access list that is not there may be nothing or `ENODATA`.
fn differs(model: &Result<Outcome, Errno>, done: &Done, started: Timestamp) -> bool {
    outcome::differ(model, &done.answer, &compare(), Some(started)).is_some()
}

fn compare() -> Compare {
    let mut compare = Compare::merged();
    (
        compare.inode_labels,
        compare.listed_inodes,
        compare.link_groups,
    ) = (false, false, false);
    compare
}

/// Whether the rest of each thread's history can follow on this model.
fn can_follow(
    model: &ReferenceModel,
    rest: &[&[Done]],
    started: Timestamp,
    at_end: &mut dyn FnMut(ReferenceModel) -> bool,
) -> bool {
    if rest.iter().all(|ops| ops.is_empty()) {
        return at_end(model.clone());
    }
    // What is next had begun before anything that is left had ended.
    let first_end = rest
        .iter()
        .filter_map(|ops| ops.first())
        .map(|d| d.ended)
        .min();
    (0..rest.len()).any(|thread| {
        let Some((next, after)) = rest[thread].split_first() else {
            return false;
        };
        if Some(next.began) > first_end {
            return false;
        }
        let mut model = model.clone();
        let answer = MergedFs::apply(&mut model, &next.op);
        if differs(&answer, next, started) {
            return false;
        }
        let mut rest = rest.to_vec();
        rest[thread] = after;
        can_follow(&model, &rest, started, at_end)
    })
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(Config::default(), rng)
}

#[test]
fn histories_have_an_order() {
    let mut profile = Profile::root();
    (profile.odd_names, profile.acls, profile.nodes_max) = (false, false, 8);
    let ops: BoxedStrategy<Vec<Vec<Op>>> = {
        let op = strategy::op(&profile).prop_filter("one step", is_one_step);
        vec(vec(op, OPS), THREADS).boxed()
    };
    let (mut overlapping, mut succeeded) = (0, 0);
    for seed in 0..HISTORIES {
        let mut runner = runner(seed);
        let lower = strategy::layer(&profile)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let mut case = Case::new(vec![lower], Some(LayerSpec::new()));
        without_quirks(&mut case);
        let mut ops = ops.new_tree(&mut runner).unwrap().current();
        for ops in &mut ops {
            let hints = vec(proptest::num::u32::ANY, OPS).new_tree(&mut runner);
            let hints = hints.unwrap().current();
            strategy::guide(&case.lowers, case.upper.as_ref(), ops, &hints);
        }
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let started = Timestamp::new(now.as_secs().try_into().unwrap(), now.subsec_nanos());
        let weak = Weakenings::default_options(XattrNamespace::Trusted);
        let how = MergeOptions::default();
        let model = ReferenceModel::of_stack(&case.lowers, case.upper.as_ref(), &how, weak);
        let model = model.unwrap().clock(started);
        let mut union = MemUnion::new(&case, OverlayOptions::new()).unwrap();

        let (clock, barrier) = (Arc::new(AtomicU64::new(0)), Arc::new(Barrier::new(THREADS)));
        let (sender, came) = channel();
        for (thread, ops) in ops.into_iter().enumerate() {
            let overlay = union.session().overlay().clone();
            let (clock, barrier, sender) = (clock.clone(), barrier.clone(), sender.clone());
            std::thread::spawn(move || {
                let mut session = Session::new(overlay);
                let tick = || clock.fetch_add(1, Ordering::SeqCst);
                let done = ops.into_iter().map(|op| {
                    // So that they meet.
                    barrier.wait();
                    let began = tick();
                    let answer = MergedFs::apply(&mut session, &op);
                    let ended = tick();
                    Done {
                        op,
                        answer,
                        began,
                        ended,
                    }
                });
                sender.send((thread, done.collect::<Vec<_>>())).unwrap();
            });
        }
        let mut histories: Vec<_> = (0..THREADS).map(|_| wait("a thread", &came)).collect();
        histories.sort_by_key(|(thread, _)| *thread);
        let rest: Vec<&[Done]> = histories.iter().map(|(_, done)| &done[..]).collect();
        let all = || rest.iter().flat_map(|done| done.iter());
        overlapping += all()
            .filter(|a| all().any(|b| a.began < b.began && b.began < a.ended))
            .count();
        succeeded += all().filter(|d| d.answer.is_ok()).count();
        let mut agreement = Agreement::since(started);
        agreement.compare = compare();
        let ordered = can_follow(&model, &rest, started, &mut |mut model| {
            agreement.trees(&mut model, &mut union).is_ok()
        });
        assert!(
            ordered,
            "history {seed} has no order:\n{case:?}\n{histories:#?}"
        );
    }
    let all = HISTORIES as usize * THREADS * OPS;
    println!(
        "{HISTORIES} histories, {all} operations, {succeeded} succeeded, {overlapping} met another"
    );
    assert!(succeeded * 5 > all, "{succeeded} of {all}");
}
