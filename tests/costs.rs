//! What operations are predicted to cost, and what they cost.
//!
//! `COSTS_CASES=n` runs so many generated cases.

#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::path::Path;
use std::sync::Arc;

use layerstack::backend::LayerBackend;
use layerstack::backend::memory::MemLayer;
use layerstack::testing::spec::Piece;
use layerstack::testing::strategy::{self, Profile};
use layerstack::testing::{Case, LayerSpec, NodeSpec};
use layerstack::{
    Cost, DirLayerOptions, LayerId, LayerStack, LimitWarning, Op, OpenOptions, Overlay,
    OverlayOptions, Reflink, SetAttr, XattrNamespace,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

const NAMESPACE: XattrNamespace = XattrNamespace::User;

fn in_memory(spec: &LayerSpec) -> Arc<dyn LayerBackend> {
    let layer = MemLayer::with_namespace(NAMESPACE);
    spec.write_to_upper(&layer).unwrap();
    Arc::new(layer)
}

/// The case's layers in memory, or below `dir`; `None` if it has no upper.
fn open(case: &Case, dir: Option<&Path>, options: OverlayOptions) -> Option<Overlay> {
    let upper = case.upper.as_ref()?;
    let made = |name: &str, spec: &LayerSpec, dir: &Path| {
        let path = dir.join(name);
        std::fs::create_dir(&path).unwrap();
        spec.write_to_dir(&path, NAMESPACE).unwrap();
        path
    };
    let layers = DirLayerOptions::new().namespace(NAMESPACE);
    let lower = |(i, spec): (usize, &LayerSpec)| match dir {
        None => in_memory(spec),
        Some(dir) => {
            let path = made(&format!("l{i}"), spec, dir);
            Arc::new(layers.open_lower(path).unwrap()) as Arc<dyn LayerBackend>
        }
    };
    let stack = LayerStack::from_top(case.lowers.iter().enumerate().map(lower)).unwrap();
    let upper = match dir {
        None => in_memory(upper),
        Some(dir) => {
            let (upper, work) = (made("u", upper, dir), dir.join("w"));
            std::fs::create_dir(&work).unwrap();
            Arc::new(layers.open_upper(upper, work).unwrap())
        }
    };
    Some(Overlay::with_options(&stack, upper, options).unwrap())
}

/// Whatever can be planned costs what was predicted. Answers how many operations were compared.
fn predicted_is_spent(on_disk: bool, options: &OverlayOptions) -> u64 {
    let cases = std::env::var("COSTS_CASES").ok();
    let cases: u64 = cases.map_or(60, |n| n.parse().unwrap());
    let mut runner = TestRunner::deterministic();
    let strategy = strategy::case(&Profile::user());
    let mut compared = 0;
    for _ in 0..cases {
        let case = strategy.new_tree(&mut runner).unwrap().current();
        let dir = tempfile::tempdir().unwrap();
        let Some(overlay) = open(&case, on_disk.then_some(dir.path()), options.clone()) else {
            continue;
        };
        for op in &case.ops {
            let planned = overlay.plan(op);
            let before = overlay.spent();
            if overlay.apply(op).is_err() {
                continue;
            }
            let Ok(plan) = planned else { continue };
            let spent = overlay.spent().since(&before);
            assert_eq!(spent, plan.cost(), "{op:?}\n{plan}\n{case:?}");
            compared += u64::from(spent != Cost::default());
        }
    }
    println!("{compared} operations with a cost");
    compared
}

#[test]
fn predicted_is_spent_in_memory() {
    assert!(predicted_is_spent(false, &OverlayOptions::new()) > 50);
}

#[test]
fn predicted_is_spent_on_directories() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: not root, who alone may make files of any owner");
        return;
    }
    assert!(predicted_is_spent(true, &OverlayOptions::new()) > 50);
}

fn tree() -> Overlay {
    let lower = LayerSpec::new()
        .with("/d/a", NodeSpec::file("12345"))
        .with("/d/e/b", NodeSpec::file("123"))
        .with(
            "/d/e/holes",
            NodeSpec::pieces(vec![Piece::Hole(1 << 20), Piece::Fill(1, 4096)]),
        );
    let case = Case::new(vec![lower], Some(LayerSpec::new()));
    open(&case, None, OverlayOptions::new()).unwrap()
}

/// What `chmod -R` costs: directories on the way are copied up once.
#[test]
fn costs_of_several_operations_add_up() {
    let overlay = tree();
    let ops: Vec<Op> = ["/d", "/d/a", "/d/e", "/d/e/b", "/d/e/holes"]
        .map(|path| Op::SetAttr {
            path: path.into(),
            follow: false,
            attr: SetAttr::mode(0o700),
        })
        .into();
    let predicted = overlay.plan_all(&ops).unwrap().cost();
    assert_eq!((predicted.dirs_created, predicted.files_created), (2, 3));
    assert_eq!(predicted.data_bytes, 5 + 3 + 4096, "holes do not count");
    let singly: u64 = ops
        .iter()
        .map(|op| overlay.plan(op).unwrap().cost().dirs_created)
        .sum();
    assert!(singly > 2, "planned one by one, each brings its parents");
    for op in &ops {
        overlay.apply(op).unwrap();
    }
    assert_eq!(overlay.spent(), predicted);
}

#[test]
fn what_cannot_be_counted_is_bounded() {
    let overlay = tree();
    let write = Op::Open {
        path: "/d/e/b".into(),
        options: OpenOptions::new().write(true),
    };
    let plan = overlay.plan(&write).unwrap();
    // One directory of the lower is asked for each of three names, and the upper's root for the first.
    assert_eq!(plan.estimate.layers_probed.max, 4);
    assert_ne!(plan.estimate.reflink, Reflink::NoData);
    overlay.apply(&write).unwrap();
    let plan = overlay.plan(&write).unwrap();
    assert!(plan.is_empty());
    assert_eq!(plan.estimate.reflink, Reflink::NoData);
    assert_eq!(plan.estimate.allocated_bytes.max, 0);
}

/// The bounds hold on the filesystem that this runs on.
#[test]
fn allocated_blocks_lie_within_the_bounds() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: not root, who alone may make files of any owner");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lower = LayerSpec::new().with(
        "/f",
        NodeSpec::pieces(vec![
            Piece::Fill(1, 5000),
            Piece::Hole(1 << 20),
            Piece::Fill(2, 70_000),
        ]),
    );
    let case = Case::new(vec![lower], Some(LayerSpec::new()));
    let overlay = open(&case, Some(dir.path()), OverlayOptions::new()).unwrap();
    let write = Op::Open {
        path: "/f".into(),
        options: OpenOptions::new().write(true),
    };
    let plan = overlay.plan(&write).unwrap();
    overlay.apply(&write).unwrap();
    overlay.sync().unwrap();
    let taken = overlay.metadata("/f").unwrap().blocks * 512;
    let bounds = plan.estimate.allocated_bytes;
    if plan.estimate.reflink == Reflink::No {
        assert!(
            (bounds.min..=bounds.max).contains(&taken),
            "{taken} in {bounds:?}"
        );
    }
    assert!(bounds.max < 1 << 20, "the hole does not count");
}

#[test]
fn statistics_count_what_is_hidden_once() {
    let base = LayerSpec::new()
        .with("/over", NodeSpec::file("1234"))
        .with("/gone", NodeSpec::file("12345678"))
        .with("/alias", NodeSpec::link_to("/gone"))
        .with("/dir/deep/f", NodeSpec::file("12"))
        .with("/keep", NodeSpec::file("1"));
    let top = LayerSpec::new()
        .with("/over", NodeSpec::file("new"))
        .with("/gone", NodeSpec::whiteout())
        .with("/alias", NodeSpec::whiteout())
        .with("/dir", NodeSpec::dir().opaque("y"));
    let stack = LayerStack::from_top([top, base].iter().map(in_memory)).unwrap();
    let stats = stack.stats(10).unwrap();
    let layer = |i: usize| stats.layers.iter().find(|l| l.0 == LayerId::Lower(i));
    let (_, top) = layer(0).unwrap();
    assert_eq!((top.whiteouts, top.bytes, top.hidden), (2, 3, 0));
    let (_, base) = layer(1).unwrap();
    assert_eq!((base.entries, base.files, base.directories), (7, 4, 3));
    assert_eq!(base.bytes, 4 + 8 + 2 + 1, "a hard link counts once");
    assert_eq!(base.hidden_bytes, 4 + 8 + 2);
    // The directory below the opaque one, what is in it, and the two files.
    assert_eq!((base.hidden, base.depth, base.inodes()), (5, 3, 7));
    let paths: Vec<_> = stats
        .largest
        .iter()
        .map(|f| f.path.to_str().unwrap())
        .collect();
    assert_eq!(paths, ["/over", "/keep"]);
    assert_eq!(stats.warnings, []);
    assert_eq!(stats.total().bytes, 3 + 15);
}

#[test]
fn statistics_warn_of_limits() {
    let many = |n: usize| {
        let layers = (0..n).map(|_| MemLayer::with_namespace(NAMESPACE));
        LayerStack::from_top(layers).unwrap().stats(0).unwrap()
    };
    assert_eq!(many(128).warnings, []);
    let docker = LimitWarning::DockerLayers { layers: 129 };
    assert_eq!(many(129).warnings, [docker]);
    let kernel = LimitWarning::KernelLayers { layers: 450 };
    assert_eq!(many(450).warnings, [kernel]);
}

/// The largest first writes come first, and files in the upper cost nothing any more.
#[test]
fn statistics_tell_the_largest_first_writes() {
    let overlay = tree();
    let stats = overlay.stats(2).unwrap();
    let sizes: Vec<u64> = stats.largest.iter().map(|f| f.data_bytes).collect();
    assert_eq!(sizes, [4096, 5]);
    overlay.write("/d/a", b"other").unwrap();
    let stats = overlay.stats(2).unwrap();
    assert_eq!(stats.largest[1].data_bytes, 3);
    let (upper, lower) = (&stats.layers[0], &stats.layers[1]);
    assert_eq!(upper.0, LayerId::Upper);
    assert_eq!((upper.1.files, lower.1.hidden), (1, 1));
}
