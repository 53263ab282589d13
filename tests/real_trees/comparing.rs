//! Comparisons that share nothing with the crate's own: entry by entry, tree against tree.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use layerstack::testing::snapshot::{Entry, NodeSnapshot};
use layerstack::testing::{Compare, TreeSnapshot};
use layerstack::{ChangeKind, Overlay};

use crate::site::Site;

/// All that the crate shows of the stack is what the kernel shows.
pub fn check(site: &Site, kernel: &TreeSnapshot, overlay: &Overlay) {
    let shown = site.shown(overlay);
    let compare = Compare::merged();
    if let Some(text) = kernel.diff_text(&shown, &compare, 20) {
        panic!("kernel != layerstack:\n{text}");
    }
    check_walk(kernel, overlay);
    check_changes(&site.lowers_alone(), kernel, overlay);
}

/// The walk yields every entry of the kernel's tree, with its attributes.
fn check_walk(kernel: &TreeSnapshot, overlay: &Overlay) {
    let mut walked = Vec::new();
    for entry in overlay.walk("/").sort(true) {
        let entry = entry.unwrap();
        let node = kernel
            .node(entry.path())
            .unwrap_or_else(|| panic!("{}: the kernel has none", entry.path().display()));
        let (want, got) = (&node.meta, entry.metadata().unwrap());
        let whole = |m: &layerstack::Metadata| {
            let file = !m.is_dir();
            (
                (m.file_type, m.mode, m.uid, m.gid, m.rdev, m.mtime),
                file.then_some((m.size, m.nlink)),
            )
        };
        assert_eq!(whole(want), whole(&got), "{}", entry.path().display());
        assert_eq!(entry.file_type(), want.file_type);
        walked.push(entry.into_path());
    }
    assert_eq!(walked.len(), kernel.entries().len());
    walked.sort();
    assert!(walked.iter().eq(kernel.entries().keys()));
}

/// `changes()` tells what comparing two whole trees tells.
fn check_changes(lowers: &TreeSnapshot, merged: &TreeSnapshot, overlay: &Overlay) {
    let changes = overlay.changes().unwrap();
    let got: Vec<_> = changes.into_iter().map(|c| (c.path, c.kind)).collect();
    let want = compare_trees(lowers, merged);
    for (a, b) in want.iter().zip(&got) {
        assert_eq!(a, b, "two trees, changes()");
    }
    assert_eq!(want.len(), got.len());
    println!("{} entries, {} changes", merged.entries().len(), got.len());
}

fn compare_trees(before: &TreeSnapshot, after: &TreeSnapshot) -> Vec<(PathBuf, ChangeKind)> {
    let mut out = Vec::new();
    for (path, entry) in before.entries() {
        match after.get(path) {
            None => out.push((path.clone(), ChangeKind::Removed)),
            Some(now) => out.extend(judge(node(entry), node(now)).map(|k| (path.clone(), k))),
        }
    }
    let new = after.entries().keys();
    let new = new.filter(|path| before.get(path).is_none());
    out.extend(new.map(|path| (path.clone(), ChangeKind::Added)));
    out.sort_by(|a, b| a.0.as_os_str().as_bytes().cmp(b.0.as_os_str().as_bytes()));
    out
}

fn node(entry: &Entry) -> &NodeSnapshot {
    match entry {
        Entry::Node(node) => node,
        other => panic!("{other:?}"),
    }
}

fn judge(a: &NodeSnapshot, b: &NodeSnapshot) -> Option<ChangeKind> {
    let (m, n) = (&a.meta, &b.meta);
    let dir = n.is_dir();
    let data = |node: &NodeSnapshot| node.content.as_ref().map(|c| (c.len, c.hash));
    if m.file_type != n.file_type {
        return Some(ChangeKind::TypeChanged);
    }
    if m.rdev != n.rdev || a.target != b.target || data(a) != data(b) {
        return Some(ChangeKind::Modified);
    }
    let attributes = (m.mode, m.uid, m.gid) == (n.mode, n.uid, n.gid);
    if !attributes || (!dir && m.mtime != n.mtime) || a.xattrs != b.xattrs {
        return Some(ChangeKind::Metadata);
    }
    None
}
