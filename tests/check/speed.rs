//! How much work a check is: calls of the backends, which are what costs, for each name that is listed.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use layerstack::backend::LayerBackend;
use layerstack::backend::memory::MemLayer;
use layerstack::check::{Check, Report};
use layerstack::testing::fault::{FaultLayer, Faults};
use layerstack::{DirLayer, LayerStack, Overlay};

use crate::support::child::scratch;

const LAYERS: usize = 20;
const DIRS: usize = 50;
const FILES: usize = 50;

/// Calls for each name: one that lists, one that looks it up, and what is asked about the object.
const CALLS_PER_NAME_MAX: u64 = 6;

/// Each layer has the same directories, some files of its own, and some that others have too.
fn write(layer: &Path, number: usize) {
    for dir in 0..DIRS {
        let dir = layer.join(format!("usr/{}/{dir}", dir % 7));
        std::fs::create_dir_all(&dir).unwrap();
        for file in 0..FILES {
            let name = match file % 5 {
                0 => format!("shared{file}"),
                _ => format!("own{number}-{file}"),
            };
            std::fs::write(dir.join(name), "x").unwrap();
        }
    }
}

/// Runs a check of these layers, and counts the calls that it makes.
fn count<B: LayerBackend + 'static>(
    lowers: impl IntoIterator<Item = B>,
    upper: Option<B>,
) -> (Report, u64) {
    let faults = Faults::new();
    faults.record(false);
    let wrap = |layer: B| FaultLayer::new(layer, &faults);
    let mut check = Check::from_top(lowers.into_iter().map(wrap));
    if let Some(upper) = upper {
        check = check.upper(wrap(upper));
    }
    let report = check.run();
    assert!(report.findings().is_empty(), "{report}");
    (report, faults.calls())
}

#[test]
fn fifty_thousand_entries_in_twenty_layers_take_few_calls() {
    let space = scratch();
    let layers: Vec<_> = (0..LAYERS)
        .map(|i| space.path().join(format!("l{i}")))
        .collect();
    for (i, layer) in layers.iter().enumerate() {
        write(layer, i);
    }
    let start = Instant::now();
    let (report, calls) = count(
        layers.iter().map(|l| DirLayer::open_lower(l).unwrap()),
        None,
    );
    println!(
        "{} names: {calls} calls, {:?}",
        report.entries(),
        start.elapsed()
    );
    assert!(report.entries() >= (LAYERS * DIRS * FILES) as u64);
    assert!(calls <= report.entries() * CALLS_PER_NAME_MAX, "{calls}");
}

/// One directory with everything, in every layer: each name is looked up where it is, nowhere else.
#[test]
fn a_wide_directory_takes_as_many_calls_as_it_has_names() {
    let of = |layers: usize, names: usize| {
        let layer = |l| {
            let builder =
                (0..names).fold(MemLayer::builder(), |b, n| b.file(format!("d/{l}-{n}"), ""));
            builder.build().unwrap()
        };
        let (report, calls) = count((0..layers).map(layer), None);
        assert_eq!(report.entries(), (layers * (names + 1)) as u64);
        calls
    };
    let (few, many) = (of(2, 1_000), of(20, 1_000));
    println!("{few} calls, with ten times as many layers {many}");
    assert!(many <= few * 11, "{few} -> {many}");
}

/// What was copied up is looked for in all lowers, once.
#[test]
fn copies_take_as_many_calls_as_there_are() {
    let of = |files: usize| {
        let lower = (0..files).fold(MemLayer::builder(), |b, n| {
            b.file(format!("d{}/{n}", n % 9), "x")
        });
        let (lower, upper) = (Arc::new(lower.build().unwrap()), Arc::new(MemLayer::new()));
        let stack = LayerStack::from_top([lower.clone()]).unwrap();
        let overlay = Overlay::new(&stack, upper.clone()).unwrap();
        for n in 0..files {
            overlay.write(format!("d{}/{n}", n % 9), "y").unwrap();
        }
        drop(overlay);
        count([lower], Some(upper)).1
    };
    let (few, many) = (of(300), of(3_000));
    println!("{few} calls, with ten times as many copies {many}");
    assert!(many <= few * 11, "{few} -> {many}");
}
