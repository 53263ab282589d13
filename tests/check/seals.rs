//! Seals: a lower that was modified under its upper is noticed.

use std::fs;

use layerstack::DirLayer;
use layerstack::backend::memory::{ManualClock, MemLayer};
use layerstack::check::{Check, FindingKind, Seal, SealDepth};
use layerstack::testing::{LayerSpec, NodeSpec};
use layerstack::{LayerStack, Overlay, OverlayAttr, Timestamp};

use crate::scene::on_disk;

fn layer(change: impl FnOnce(LayerSpec) -> LayerSpec) -> MemLayer {
    let spec = LayerSpec::new()
        .with("/d/f", NodeSpec::file("data").xattr("user.a", "1"))
        .with("/d/l", NodeSpec::symlink("f"))
        .with("/gone", NodeSpec::whiteout());
    let layer = MemLayer::new();
    change(spec).write_to_upper(&layer).unwrap();
    layer
}

#[test]
fn a_seal_depends_on_everything_that_an_edit_changes() {
    let seal = |depth, change: fn(LayerSpec) -> LayerSpec| Seal::of(&layer(change), depth).unwrap();
    let same = seal(SealDepth::Metadata, |l| l);
    assert_eq!(seal(SealDepth::Metadata, |l| l), same);
    assert_eq!(same.entries(), 4);
    let edits: [fn(LayerSpec) -> LayerSpec; 9] = [
        |l| l.with("/new", NodeSpec::file("")),
        |l| l.without("/gone"),
        |l| l.with("/gone", NodeSpec::xattr_whiteout()),
        |l| l.with("/d/f", NodeSpec::file("data").xattr("user.a", "2")),
        |l| l.with("/d/f", NodeSpec::file("longer").xattr("user.a", "1")),
        |l| l.with("/d/l", NodeSpec::symlink("g")),
        |l| l.with("/d", NodeSpec::dir().mode(0o700)),
        |l| l.with("/d", NodeSpec::dir().overlay(OverlayAttr::Opaque, "y")),
        |l| l.with("/d", NodeSpec::dir().mtime(1, 2)),
    ];
    for (i, edit) in edits.into_iter().enumerate() {
        assert_ne!(seal(SealDepth::Metadata, edit), same, "edit {i}");
    }
    // Content alone shows only to a seal of content.
    let other: fn(LayerSpec) -> LayerSpec =
        |l| l.with("/d/f", NodeSpec::file("atad").xattr("user.a", "1"));
    assert_eq!(seal(SealDepth::Metadata, other), same);
    let content = seal(SealDepth::Content, |l| l);
    assert_ne!(seal(SealDepth::Content, other), content);
    assert_ne!(content, same);
}

/// What ends a directory counts: two trees with the same names in the same order differ.
#[test]
fn a_seal_depends_on_where_names_are() {
    let of = |paths: [&str; 2]| {
        let layer =
            MemLayer::builder().clock(std::sync::Arc::new(ManualClock::new(Timestamp::new(1, 2))));
        let layer = paths.iter().fold(layer, |l, p| l.dir(*p, 0o755));
        Seal::of(&layer.build().unwrap(), SealDepth::Metadata).unwrap()
    };
    assert_ne!(of(["a/b", "a/b/c"]), of(["a/b", "a/c"]));
}

#[test]
fn seals_are_texts() {
    let seal = Seal::of(&layer(|l| l), SealDepth::Content).unwrap();
    let text = seal.to_string();
    assert!(text.starts_with("layerstack1:content:4:"), "{text}");
    assert_eq!(text.parse(), Ok(seal));
    assert_eq!(format!("{text}\n").parse(), Ok(seal));
    for bad in [
        "",
        "layerstack1",
        "layerstack2:content:4:00",
        &text[1..],
        &text[..40],
    ] {
        assert!(bad.parse::<Seal>().is_err(), "{bad}");
    }
}

/// At default options the kernel and the engine do not notice; the seal does.
#[test]
fn an_edited_lower_is_noticed_at_default_options() {
    let lower = LayerSpec::new().with("/d/f", NodeSpec::file("data"));
    on_disk(&[], &[lower], &LayerSpec::new(), |disk| {
        let open = || DirLayer::open_lower(&disk.lowers[0]).unwrap();
        let seal = Seal::of(&open(), SealDepth::Metadata).unwrap();
        // Using the stack does not break it.
        disk.kernel(|at| fs::write(at.join("d/f"), "changed").unwrap());
        let sealed = || disk.looker().seals([Some(seal)]).run();
        assert!(sealed().findings().is_empty());
        fs::write(disk.lowers[0].join("d/added"), "").unwrap();
        assert!(disk.looker().run().findings().is_empty());
        let report = sealed();
        assert!(report.has(FindingKind::SealBroken), "{report}");
        assert!(report.findings()[0].kind.is_lower_modified());
        assert_eq!(report.findings().len(), 1);
    });
}

/// A copy with all times and attributes keeps the seal, wherever it lies.
#[test]
fn a_faithful_copy_keeps_its_seal() {
    let original = layer(|l| l);
    let copy = std::sync::Arc::new(original.clone());
    let of = |layer: &MemLayer| Seal::of(layer, SealDepth::Content).unwrap();
    assert_eq!(of(&original), of(&copy));
    let stack = LayerStack::from_top([layer(|l| l)]).unwrap();
    let overlay = Overlay::new(&stack, copy.clone()).unwrap();
    overlay.write("/new", "").unwrap();
    drop(overlay);
    assert_ne!(of(&original), of(&copy));
    let report = Check::from_top([copy]).seals([Some(of(&original))]).run();
    assert!(report.has(FindingKind::SealBroken));
}
