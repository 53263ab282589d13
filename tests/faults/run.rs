//! Every situation, every call, every fault.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use layerstack::Errno;
use layerstack::testing::Compare;
use layerstack::testing::fault::{Call, Fault};

use crate::child::is_root;
use crate::disk::{Directories, Ground, Memory};
use crate::situation::Situation;
use crate::situations;
use crate::trial::{Reference, run};

/// Failures that are told before the rest is left out.
const FAILURES_MAX: usize = 12;

/// Every fault that makes sense at `call`.
fn faults(call: &Call) -> Vec<Fault> {
    use Errno as E;
    let mut all: Vec<Fault> = [E::EIO, E::ENOSPC, E::EDQUOT, E::EACCES]
        .map(Fault::Fail)
        .into();
    all.extend([Fault::Done(E::EIO), Fault::Crash]);
    match call.method {
        "file.write_at" | "file.clone_range" => all.extend([
            Fault::Torn(E::ENOSPC),
            Fault::Torn(E::EIO),
            Fault::CrashTorn,
            Fault::Short,
        ]),
        "file.read_at" => all.push(Fault::Short),
        _ => {}
    }
    all
}

/// The faults that a real disk sees too: those that change what lies on it.
fn faults_on_disk(call: &Call) -> Vec<Fault> {
    let mut faults = faults(call);
    if !all_on_disk() {
        faults.retain(|f| {
            matches!(
                f,
                Fault::Fail(Errno::EIO) | Fault::Crash | Fault::CrashTorn | Fault::Torn(Errno::EIO)
            ) && call.changes
        });
    }
    faults
}

fn all_on_disk() -> bool {
    std::env::var_os("FAULT_ALL").is_some_and(|v| v == "1")
}

type Pick = fn(&Call) -> Vec<Fault>;

#[derive(Default)]
struct Tally {
    runs: usize,
    by_fault: BTreeMap<String, usize>,
    failures: Vec<String>,
    most: (usize, &'static str),
}

/// All faults in one situation.
fn exhaust(
    ground: &dyn Ground,
    situation: &Situation,
    (warm, pick): (&[bool], Pick),
    tally: &Mutex<Tally>,
) {
    let make = ground.prepare(situation);
    let lowers = make().lowers();
    for &warm in warm {
        let reference = Reference::new(&*make, situation, warm);
        reference.check(situation);
        for (n, call) in reference.calls.iter().enumerate() {
            for fault in pick(call) {
                let done = run(&*make, situation, &reference, (warm, n as u64, fault));
                let mut tally = tally.lock().unwrap();
                tally.runs += 1;
                let kind = match fault {
                    Fault::Fail(errno) => format!("{errno:?}"),
                    other => format!("{other:?}"),
                };
                *tally.by_fault.entry(kind).or_default() += 1;
                let at = format!("{} (warm: {warm}), {fault:?} at call {n}", situation.name);
                match done {
                    Ok(true) => {}
                    // Not every run asks in the same order: a table with random seeds.
                    Ok(false) => tally.failures.push(format!("{at}: no such call")),
                    Err(e) => tally.failures.push(format!("{at}: {e}")),
                }
            }
        }
        let mut tally = tally.lock().unwrap();
        tally.most = tally.most.max((reference.calls.len(), situation.name));
    }
    let after = make().lowers();
    for (before, after) in lowers.iter().zip(&after) {
        let changed = before.diff_text(after, &Compare::unchanged(), 9);
        assert_eq!(changed, None, "{}: a lower was changed", situation.name);
    }
}

fn exhaust_all(ground: &dyn Ground, warm: &[bool], pick: Pick) -> usize {
    let only = std::env::var("FAULT_ONLY").unwrap_or_default();
    let mut all = situations::all();
    assert!(
        all.len() >= situations::AT_LEAST,
        "{} situations",
        all.len()
    );
    all.retain(|s| s.name.contains(&only));
    let tally = Mutex::new(Tally::default());
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(situation) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    exhaust(ground, situation, (warm, pick), &tally);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    println!(
        "{} situations, {} fault points: {:?}; most calls: {:?}",
        all.len(),
        tally.runs,
        tally.by_fault,
        tally.most
    );
    if !tally.failures.is_empty() {
        let shown: Vec<_> = tally.failures.iter().take(FAILURES_MAX).cloned().collect();
        panic!(
            "{} failures\n\n{}",
            tally.failures.len(),
            shown.join("\n\n")
        );
    }
    match only.is_empty() {
        true => tally.runs,
        false => usize::MAX,
    }
}

#[test]
fn every_fault_at_every_call_in_memory() {
    let runs = exhaust_all(&Memory, &[false, true], faults);
    assert!(runs >= situations::FAULTS_AT_LEAST, "{runs}");
}

#[test]
fn every_fault_that_changes_directories() {
    if !is_root() {
        eprintln!("skipped: not root, who alone can make the layers of the situations");
        return;
    }
    let warm: &[bool] = match all_on_disk() {
        true => &[false, true],
        false => &[false],
    };
    let runs = exhaust_all(&Directories, warm, faults_on_disk);
    assert!(runs >= situations::FAULTS_ON_DISK_AT_LEAST, "{runs}");
}
