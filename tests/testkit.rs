//! The parts for testing, tested: one layer, written and captured in every way, is one tree.
//!
//! Needs root (owners, devices, `trusted.` attributes) and skips without it, as the kernel tests do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use layerstack::backend::LayerBackend;
use layerstack::backend::dir::DirLayer;
use layerstack::backend::memory::MemLayer;
use layerstack::testing::strategy::{Profile, layer};
use layerstack::testing::{Compare, LayerSpec, NodeSpec, SnapshotOptions, TreeSnapshot};
use layerstack::{OverlayAttr, XattrNamespace};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use support::fs::{Fs, Mounted, Workspace};
use support::namespace::{in_mount_namespace, require_kernel};

const NAMESPACE: XattrNamespace = XattrNamespace::Trusted;
const LAYER: SnapshotOptions = SnapshotOptions::layer(NAMESPACE);

/// All that layers written from one specification have in common, wherever they lie.
fn everything() -> Compare {
    let mut compare = Compare::unchanged();
    compare.inode_numbers = false;
    compare.atime = true;
    compare
}

fn written(mounted: &Mounted, fs: Fs, spec: &LayerSpec) -> (Workspace, TreeSnapshot) {
    let space = Workspace::new(mounted, fs);
    spec.write_to_dir(space.path(), NAMESPACE).unwrap();
    let tree = TreeSnapshot::of_dir(space.path(), &LAYER).unwrap();
    (space, tree)
}

#[test]
fn a_layer_is_the_same_wherever_it_is_written() {
    if !require_kernel() {
        return;
    }
    in_mount_namespace(|| {
        let mounted = Mounted::new(&[Fs::Ext4, Fs::Tmpfs]);
        let mut runner = TestRunner::deterministic();
        let strategy = layer(&Profile::root().redirects(true));
        for _ in 0..300 {
            let spec = strategy.new_tree(&mut runner).unwrap().current();
            let (space, ext4) = written(&mounted, Fs::Ext4, &spec);
            let same = |what: &str, other: &TreeSnapshot| {
                if let Some(text) = ext4.diff_text(other, &everything(), 20) {
                    panic!("ext4 and {what} differ:\n{text}\n{spec:?}");
                }
            };
            same("tmpfs", &written(&mounted, Fs::Tmpfs, &spec).1);
            let memory = MemLayer::new();
            spec.write_to_upper(memory.upper().unwrap()).unwrap();
            same(
                "memory",
                &TreeSnapshot::of_backend(&memory, &LAYER).unwrap(),
            );
            let real = DirLayer::open_lower(space.path()).unwrap();
            same(
                "directory",
                &TreeSnapshot::of_backend(&real, &LAYER).unwrap(),
            );
            let dirs = Workspace::new(&mounted, Fs::Tmpfs);
            let real = DirLayer::open_upper(dirs.dir("u"), dirs.dir("w")).unwrap();
            spec.write_to_upper(real.upper().unwrap()).unwrap();
            same(
                "directory written",
                &TreeSnapshot::of_backend(&real, &LAYER).unwrap(),
            );
            let read = MemLayer::from_dir(space.path()).unwrap();
            same(
                "memory from ext4",
                &TreeSnapshot::of_backend(&read, &LAYER).unwrap(),
            );
        }
    });
}

#[test]
fn differences_are_told_one_by_one() {
    if !require_kernel() {
        return;
    }
    let left = LayerSpec::new()
        .with(
            "/d/f",
            NodeSpec::file("one").mode(0o644).xattr("user.a", "1"),
        )
        .with("/d/g", NodeSpec::link_to("/d/f"))
        .with("/gone", NodeSpec::whiteout())
        .with("/l", NodeSpec::symlink("x\n"))
        .with("/o", NodeSpec::dir().opaque("y"));
    let right = LayerSpec::new()
        .with(
            "/d/f",
            NodeSpec::file("two").mode(0o600).owner(1, 2).mtime(5, 6),
        )
        .with(
            "/d/g",
            NodeSpec::file("two").mode(0o600).owner(1, 2).mtime(5, 6),
        )
        .with("/gone", NodeSpec::xattr_whiteout())
        .with("/l", NodeSpec::symlink("y"))
        .with("/n\n", NodeSpec::dir())
        .with("/o", NodeSpec::dir().overlay(OverlayAttr::Impure, "y"));
    let lines: Vec<String> = in_mount_namespace(|| {
        let mounted = Mounted::new(&[Fs::Tmpfs]);
        let tree = |spec| written(&mounted, Fs::Tmpfs, spec).1;
        let found = tree(&left).diff(&tree(&right), &Compare::upper());
        found.iter().map(ToString::to_string).collect()
    });
    let expected = [
        "/d/f: mode 0644 != 0600",
        "/d/f: owner 0:0 != 1:2",
        "/d/f: nlink 2 != 1",
        "/d/f: mtime 1000000000.123456789 != 5.000000006",
        "/d/f: content 3 bytes \"one\" != 3 bytes \"two\"",
        "/d/f: xattr user.a \"1\" != absent",
        "/d/g: mode 0644 != 0600",
        "/d/g: owner 0:0 != 1:2",
        "/d/g: nlink 2 != 1",
        "/d/g: mtime 1000000000.123456789 != 5.000000006",
        "/d/g: content 3 bytes \"one\" != 3 bytes \"two\"",
        "/d/g: xattr user.a \"1\" != absent",
        "/d/g: same inode as /d/f != /d/g",
        "/gone: is whiteout (CharDevice) != whiteout (Xattr)",
        "/l: size 2 != 1",
        "/l: target x\\n != y",
        "/n\\n: is absent != directory",
        "/o: overlay.opaque \"y\" != absent",
        "/o: overlay.impure absent != \"y\"",
    ];
    assert_eq!(lines, expected);
}

/// Depth is no limit, and nothing is opened that must not be: a fifo would block.
#[test]
fn deep_and_special_trees_are_captured() {
    if !require_kernel() {
        return;
    }
    in_mount_namespace(|| {
        let mounted = Mounted::new(&[Fs::Tmpfs]);
        let name = "n".repeat(255);
        let depth = 100;
        let mut path = std::path::PathBuf::from("/");
        for _ in 0..depth {
            path.push(&name);
        }
        path.push("fifo");
        let fifo = NodeSpec::new(layerstack::testing::NodeKind::Fifo);
        let spec = LayerSpec::new().with(&path, fifo);
        // Two levels of ownership: the workspace cannot remove such depth by path, the mount can.
        let (space, tree) = written(&mounted, Fs::Tmpfs, &spec);
        std::mem::forget(space);
        assert_eq!(tree.entries().len(), depth + 2);
        assert!(
            tree.node(&path)
                .is_some_and(|n| n.meta.file_type == layerstack::FileType::Fifo)
        );
    });
}
