//! A stack as large as a distribution's: 50,000 entries in 20 layers.

use std::path::Path;
use std::time::{Duration, Instant};

use layerstack::DirLayer;
use layerstack::check::{Check, FindingKind};

use crate::support::child::scratch;

const LAYERS: usize = 20;
const DIRS: usize = 50;
const FILES: usize = 50;

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

#[test]
fn fifty_thousand_entries_in_twenty_layers_take_seconds() {
    let space = scratch();
    let layers: Vec<_> = (0..LAYERS)
        .map(|i| space.path().join(format!("l{i}")))
        .collect();
    for (i, layer) in layers.iter().enumerate() {
        write(layer, i);
    }
    let open = layers.iter().map(|l| DirLayer::open_lower(l).unwrap());
    let check = Check::from_top(open);
    let start = Instant::now();
    let report = check.run();
    let took = start.elapsed();
    println!("{} names in {took:?}", report.entries());
    assert!(report.entries() >= (LAYERS * DIRS * FILES) as u64);
    assert!(report.findings().is_empty(), "{report}");
    // A tenth of that is usual, also without optimisation.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// One directory with everything, in every layer: each name is looked up where it is, nowhere else.
#[test]
fn a_wide_directory_takes_as_long_as_it_has_names() {
    use layerstack::backend::memory::MemLayer;
    let time = |layers: usize, names: usize| {
        let layer = |l| {
            let builder =
                (0..names).fold(MemLayer::builder(), |b, n| b.file(format!("d/{l}-{n}"), ""));
            builder.build().unwrap()
        };
        let check = Check::from_top((0..layers).map(layer));
        let start = Instant::now();
        let report = check.run();
        assert!(!report.has(FindingKind::Unreadable));
        assert_eq!(report.entries(), (layers * (names + 1)) as u64);
        start.elapsed()
    };
    let few = (0..3).map(|_| time(2, 4_000)).min().unwrap();
    let many = (0..3).map(|_| time(20, 4_000)).min().unwrap();
    // Ten times the layers, ten times the names: not a hundred times the time.
    assert!(many < few * 40, "{few:?} -> {many:?}");
}
