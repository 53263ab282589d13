#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

use std::collections::BTreeMap;

use super::*;
use crate::backend::LayerBackend;
use crate::backend::memory::{ManualClock, MemLayer, MemLayerBuilder};
use crate::meta::{Metadata, Timestamp};
use crate::overlay::options::OverlayOptions;
use crate::xattr_name::OverlayAttr;

fn layer() -> MemLayerBuilder {
    let clock = ManualClock::new(Timestamp::new(1_000, 0));
    MemLayer::builder().clock(Arc::new(clock))
}

fn overlay(upper: MemLayerBuilder, lowers: Vec<MemLayerBuilder>) -> LayerStack {
    let lowers = lowers
        .into_iter()
        .map(|l| Arc::new(l.build().unwrap()) as Arc<dyn LayerBackend>)
        .collect();
    let upper = Arc::new(upper.build().unwrap());
    let layers = Layers {
        upper: Some(upper),
        lowers,
        data: Vec::new(),
    };
    LayerStack {
        core: Core::new(layers, OverlayOptions::default()).unwrap(),
    }
}

fn lines(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|c| format!("{:?} {}", c.kind, c.path.display()))
        .collect()
}

/// Everything visible: attributes, and content or target.
fn snapshot(stack: &LayerStack) -> BTreeMap<Vec<u8>, (Metadata, Vec<u8>)> {
    let mut out = BTreeMap::new();
    for entry in stack.walk("/") {
        let entry = entry.unwrap();
        let Ok(meta) = entry.metadata() else { continue };
        let core = &stack.core;
        let inode = core.walk_path(core.root(), entry.path(), false).unwrap();
        let content = match meta.file_type {
            FileType::Regular => {
                let (node, _) = core.data_node(&inode.state()).unwrap();
                let file = node.open(Access::Read).unwrap();
                let mut buf = vec![0; 100];
                let n = file.read_at(&mut buf, 0).unwrap();
                buf.truncate(n);
                buf
            }
            FileType::Symlink => core.read_link(&inode).unwrap(),
            _ => Vec::new(),
        };
        out.insert(bytes(entry.path()).to_vec(), (meta, content));
    }
    out
}

/// The same answer, by comparing two whole trees.
fn two_trees(stack: &LayerStack) -> Vec<String> {
    let below = snapshot(&LayerStack::from_top(stack.layers()).unwrap());
    let shown = snapshot(stack);
    let paths: BTreeSet<&Vec<u8>> = below.keys().chain(shown.keys()).collect();
    let mut out = Vec::new();
    for path in paths {
        let kind = match (below.get(path), shown.get(path)) {
            (Some(_), None) => ChangeKind::Removed,
            (None, _) => ChangeKind::Added,
            (Some((a, x)), Some((b, y))) => {
                if a.file_type != b.file_type {
                    ChangeKind::TypeChanged
                } else if x != y || (!a.is_dir() && a.size != b.size) {
                    ChangeKind::Modified
                } else if (a.mode, a.uid, a.gid) != (b.mode, b.uid, b.gid)
                    || (!a.is_dir() && a.mtime != b.mtime)
                {
                    ChangeKind::Metadata
                } else {
                    continue;
                }
            }
        };
        out.push(format!("{kind:?} {}", String::from_utf8_lossy(path)));
    }
    out
}

#[test]
fn kinds_and_order() {
    let base = layer()
        .file("same", "x")
        .file("edited", "old")
        .file("chmod", "x")
        .file("gone/deep/f", "x")
        .file("opaque/kept", "x")
        .file("opaque/lost", "x")
        .file("dir-to-file/below", "x")
        .file("file-to-dir", "x")
        .file("xattr", "x")
        .symlink("link", "aaa")
        .file("a/unchanged", "x")
        .file("a.b", "x");
    let upper = layer()
        .file("same", "x")
        .file("edited", "new")
        .file("chmod", "x")
        .mode("chmod", 0o600)
        .whiteout("gone")
        .opaque("opaque")
        .file("opaque/kept", "x")
        .file("opaque/added", "x")
        .file("dir-to-file", "x")
        .file("file-to-dir/new", "x")
        .file("xattr", "x")
        .xattr("xattr", "user.a", "1")
        .symlink("link", "bbb")
        .file("a/new", "x")
        .file("a.b", "y")
        .whiteout("never-was");
    let stack = overlay(upper, vec![base]);
    let changes = stack.changes().unwrap();
    let expected = [
        "Modified /a.b",
        "Added /a/new",
        "Metadata /chmod",
        "TypeChanged /dir-to-file",
        "Removed /dir-to-file/below",
        "Modified /edited",
        "TypeChanged /file-to-dir",
        "Added /file-to-dir/new",
        "Removed /gone",
        "Removed /gone/deep",
        "Removed /gone/deep/f",
        "Modified /link",
        "Added /opaque/added",
        "Removed /opaque/lost",
        "Metadata /xattr",
    ];
    assert_eq!(lines(&changes), expected);
    let gone = changes.iter().find(|c| c.path.ends_with("gone")).unwrap();
    assert_eq!(
        (gone.before, gone.after, gone.file_type()),
        (Some(FileType::Directory), None, FileType::Directory)
    );
}

#[test]
fn without_upper_or_changes_nothing() {
    let stack = LayerStack::from_top([layer().file("f", "").build().unwrap()]).unwrap();
    assert_eq!(stack.changes().unwrap(), []);
    let stack = overlay(layer(), vec![layer().file("f", "")]);
    assert_eq!(stack.changes().unwrap(), []);
    let stack = overlay(layer().mode("/", 0o700), vec![layer()]);
    assert_eq!(lines(&stack.changes().unwrap()), ["Metadata /"]);
}

/// What one layer may hold at `a` and below.
const FORMS: usize = 9;

fn form(layer: MemLayerBuilder, which: usize) -> MemLayerBuilder {
    match which {
        0 => layer,
        1 => layer.file("a", "1"),
        2 => layer.file("a", "2"),
        3 => layer.symlink("a", "x"),
        4 => layer.whiteout("a"),
        5 => layer.file("a/x", "1").file("a/y/z", "1"),
        6 => layer.dir("a", 0o700).whiteout("a/x").file("a/y/q", "1"),
        7 => layer.opaque("a").file("a/x", "1").file("a/w", ""),
        _ => layer.file("a/x/k", "1").whiteout("a/y"),
    }
}

#[test]
fn every_small_stack_agrees_with_comparing_two_trees() {
    for case in 0..FORMS.pow(3) {
        let (u, l0, l1) = (case % FORMS, case / FORMS % FORMS, case / FORMS / FORMS);
        let stack = overlay(form(layer(), u), vec![form(layer(), l0), form(layer(), l1)]);
        let got = lines(&stack.changes().unwrap());
        assert_eq!(got, two_trees(&stack), "forms {u} over {l0} over {l1}");
    }
}

#[test]
fn r156_redirected_directories_are_compared_as_they_show() {
    for target in ["/old", "old", "/keep/sub"] {
        let base = layer()
            .file("old/f", "1")
            .file("old/sub/g", "1")
            .file("new/f", "2")
            .file("new/sub/g", "1")
            .file("keep/sub/sub/h", "1");
        // Nothing is shown under two names (rule R169).
        let upper = layer()
            .whiteout("old")
            .whiteout("keep/sub")
            .overlay_attr("new", OverlayAttr::Redirect, target)
            .file("new/mine", "1");
        let stack = overlay(upper, vec![base]);
        let got = lines(&stack.changes().unwrap());
        assert_eq!(got, two_trees(&stack), "{target}");
        assert!(got.contains(&String::from("Added /new/mine")), "{got:?}");
    }
}

#[test]
fn content_is_compared_to_the_end_and_across_holes() {
    let size = 40 * COMPARE_BYTES as u64;
    let sparse = |tail: &str| {
        layer()
            .file("big", "head")
            .write("big", size, tail)
            .file("dense", vec![7; COMPARE_BYTES + 1])
    };
    let stack = overlay(sparse("tail"), vec![sparse("tail")]);
    assert_eq!(stack.changes().unwrap(), []);
    let stack = overlay(sparse("tail"), vec![sparse("tall")]);
    assert_eq!(lines(&stack.changes().unwrap()), ["Modified /big"]);
    // A hole and zeros are the same content.
    let zeros = layer().file("f", vec![0; 3 * COMPARE_BYTES]);
    let hole = layer().file("f", "").hole("f", 0..3 * COMPARE_BYTES as u64);
    let stack = overlay(zeros, vec![hole]);
    assert_eq!(stack.changes().unwrap(), []);
}

#[test]
fn deep_removals_need_no_stack() {
    let path = "/d".repeat(3000);
    let stack = overlay(layer().whiteout("d"), vec![layer().dir(path, 0o755)]);
    assert_eq!(stack.changes().unwrap().len(), 3000);
}

/// A hard link that the index has is changed under all its names, also under those that the upper does
/// not have.
#[test]
fn r263_names_that_only_the_index_knows_are_changed_too() {
    let low = || {
        let clock = ManualClock::new(Timestamp::new(1_000, 0));
        let builder = MemLayer::builder().clock(Arc::new(clock)).file("a", "1");
        let builder = builder.file("d/e/keep", "1").dir("d/e/f", 0o755);
        builder.hard_link("a", "d/e/b").build().unwrap()
    };
    let stack = LayerStack::from_top([low()]).unwrap();
    let options = OverlayOptions::new().index(true);
    let union = crate::Overlay::with_options(&stack, MemLayer::new(), options).unwrap();
    assert_eq!(union.changes().unwrap(), []);
    union.write("/a", "changed").unwrap();
    let changed = union.changes().unwrap();
    assert_eq!(lines(&changed), ["Modified /a", "Modified /d/e/b"]);
}
