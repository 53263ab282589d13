//! Layers that somebody made to do harm: no panic, no loop, no more memory than is due.

use std::sync::Arc;
use std::time::Instant;

use layerstack::backend::memory::MemLayer;
use layerstack::backend::{At, AttrKey, LayerBackend, NewKind, NewNode, UpperBackend, XattrMode};
use layerstack::check::{Check, Consent, FindingKind};
use layerstack::testing::fault::{Fault, FaultLayer, Faults};
use layerstack::testing::strategy::{self, Profile};
use layerstack::testing::{LayerSpec, NodeSpec};
use layerstack::{Errno, Name, OverlayAttr};
use proptest::prelude::*;

use crate::scene::{Memory, left, lines};

/// Any bytes as overlay attributes, on anything.
fn hostile_layer() -> impl Strategy<Value = LayerSpec> {
    let mut profile = Profile::root().redirects(true);
    profile.acls = false;
    let value = prop_oneof![
        3 => proptest::sample::select(vec![
            "y", "x", "", "/", "a", "/a", "/a/b", "..", "/a/..", "U+1", "L-1", "ab",
        ]).prop_map(|s: &str| s.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let mark = (
        strategy::layer_path(&profile),
        proptest::sample::select(OverlayAttr::ALL.to_vec()),
        value,
        any::<bool>(),
    );
    let marks = proptest::collection::vec(mark, 0..8);
    (strategy::layer(&profile), marks).prop_map(|(mut layer, marks)| {
        for (path, attr, value, dir) in marks {
            let node = match layer.nodes().get(std::path::Path::new(&path)) {
                Some(node) => node.clone(),
                None if dir => NodeSpec::dir(),
                None => NodeSpec::file("x"),
            };
            layer.insert(&path, node.overlay(attr, value));
        }
        layer
    })
}

fn index_entries() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>, bool)>> {
    let hex = proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
        let mut name = b"00fb1d00".to_vec();
        name.extend(bytes.iter().flat_map(|b| format!("{b:02x}").into_bytes()));
        name
    });
    let name = prop_oneof![hex, proptest::collection::vec(any::<u8>(), 1..80),];
    let value = proptest::collection::vec(any::<u8>(), 0..40);
    proptest::collection::vec((name, value, any::<bool>()), 0..4)
}

/// Whatever cannot be read is told, whichever call fails.
#[test]
fn what_cannot_be_read_is_told() {
    let lower = LayerSpec::new()
        .with("/d/f", NodeSpec::file("lower"))
        .with("/d/sub/x", NodeSpec::file("below"));
    let upper = LayerSpec::new()
        .with("/d/sub", NodeSpec::dir())
        .with("/new", NodeSpec::file("x"));
    let memory = Memory::new(&[], &[lower], &upper);
    let run = |fault| {
        let faults = Faults::new();
        let wrap = |layer: &Arc<MemLayer>| FaultLayer::new(layer.clone(), &faults);
        let check = Check::from_top(memory.lowers.iter().map(wrap)).upper(wrap(&memory.upper));
        faults.reset();
        if let Some((number, fault)) = fault {
            faults.arm(number, fault);
        }
        (check.run(), faults)
    };
    let (_, counted) = run(None);
    let calls = counted.calls();
    assert!(calls > 50, "{calls}");
    let mut quiet = Vec::new();
    for n in 0..calls {
        let (report, faults) = run(Some((n, Fault::Fail(Errno::EIO))));
        let told = [FindingKind::Unreadable, FindingKind::StackInvalid];
        // How much room there is says nothing of the layers.
        let call = faults.fired().unwrap();
        if call.method != "statfs" && !told.into_iter().any(|kind| report.has(kind)) {
            quiet.push(format!("{call}\n{report}"));
        }
    }
    assert_eq!(quiet, [] as [&str; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(300)
    })]

    #[test]
    fn no_layers_make_it_panic_or_go_on_for_ever(
        lowers in proptest::collection::vec(hostile_layer(), 1..4),
        upper in hostile_layer(),
        index in index_entries(),
        features in any::<bool>(),
    ) {
        let options: &[&str] = match features {
            true => &["metacopy=on", "redirect_dir=on", "index=on"],
            false => &[],
        };
        let memory = Memory::new(options, &lowers, &upper);
        let dir = memory.upper.index(true).unwrap().unwrap();
        for (name, value, is_dir) in index {
            let Ok(name) = Name::new(name) else { continue };
            let kind = if is_dir { NewKind::Directory } else { NewKind::File };
            let new = NewNode { kind, mode: 0o600, uid: None, gid: None };
            if let Ok(node) = memory.upper.create(At::new(&dir, &name), &new) {
                let key = AttrKey::Overlay(OverlayAttr::Origin);
                memory.upper.set_xattr(&node, key, Some(&value), XattrMode::Set).unwrap();
            }
        }
        let mut rounds = 0;
        loop {
            let report = memory.checker().run();
            let _ = (report.to_string(), format!("{report:?}"));
            if left(&report).is_empty() {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 8, "repairs do not end: {report}");
            report.repair(Consent::Choose).apply().unwrap();
        }
    }
}

#[test]
fn a_very_deep_tree_is_checked_in_little_time() {
    let layer = || {
        let layer = MemLayer::new();
        let mut dir = layer.root().unwrap();
        let name = Name::new("d").unwrap();
        for _ in 0..20_000 {
            let new = NewNode {
                kind: NewKind::Directory,
                mode: 0o755,
                uid: None,
                gid: None,
            };
            dir = layer.create(At::new(&dir, &name), &new).unwrap();
        }
        layer
    };
    let start = Instant::now();
    let report = Check::from_top([layer(), layer()]).run();
    assert_eq!(report.directories(), 20_001);
    let kinds: Vec<_> = report.findings().iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [FindingKind::PathLong]);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

/// Findings at long paths are counted once there are too many to keep.
#[test]
fn findings_without_end_are_counted() {
    let layer = MemLayer::new();
    let mut dir = layer.root().unwrap();
    let (name, gone) = (
        Name::new("x".repeat(255)).unwrap(),
        Name::new("gone").unwrap(),
    );
    for _ in 0..1_000 {
        let new = NewNode {
            kind: NewKind::Directory,
            mode: 0o755,
            uid: None,
            gid: None,
        };
        layer.whiteout(At::new(&dir, &gone)).unwrap();
        dir = layer.create(At::new(&dir, &name), &new).unwrap();
    }
    let report = Check::from_top([layer]).run();
    assert!(report.omitted() > 0, "128 MB of paths");
    assert!(report.findings().len() > 100);
    assert_eq!(report.findings().len() as u64 + report.omitted(), 1_001);
    assert!(!report.is_sound());
}

#[test]
fn redirects_in_circles_end_with_the_layers() {
    let layer = LayerSpec::new()
        .with("/a", NodeSpec::dir().overlay(OverlayAttr::Redirect, "/b"))
        .with("/b", NodeSpec::dir().overlay(OverlayAttr::Redirect, "/a"));
    let layers: Vec<LayerSpec> = (0..50).map(|_| layer.clone()).collect();
    let report = Memory::new(&[], &layers, &layer).checker().run();
    assert!(lines(&report).contains(&String::from("redirect-dangling lower[49]:/a")));
}
