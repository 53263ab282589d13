//! Makes a failing case small.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::op::Op;
use crate::testing::case::Case;
use crate::testing::spec::{LayerSpec, NodeKind, NodeSpec};

/// A case that still `fails` and from which nothing can be left out: no operation, check, node,
/// layer, option or attribute. `fails` is asked once per attempt; answering `false` (for instance
/// when time is up) keeps what was found until then.
///
/// Unlike the shrinking of generators it works on any case, wherever it comes from.
///
/// ```
/// use layerstack::testing::{Case, minimise};
/// use layerstack::Op;
/// let ops = vec![Op::StatFs, Op::Sync, Op::StatFs];
/// let case = Case::default().ops(ops);
/// let small = minimise(case, &mut |case| case.ops.contains(&Op::Sync));
/// assert_eq!(small.ops, [Op::Sync]);
/// ```
pub fn minimise(case: Case, fails: &mut dyn FnMut(&Case) -> bool) -> Case {
    let mut best = case;
    loop {
        let before = best.clone();
        drop_ops(&mut best, fails);
        drop_checks(&mut best, fails);
        drop_layers(&mut best, fails);
        drop_nodes(&mut best, fails);
        plain_names(&mut best, fails);
        if best == before {
            return best;
        }
    }
}

/// Takes `smaller` if it still fails.
fn attempt(best: &mut Case, smaller: Case, fails: &mut dyn FnMut(&Case) -> bool) -> bool {
    let good = smaller != *best && fails(&smaller);
    if good {
        *best = smaller;
    }
    good
}

/// Leaves out runs of operations, long ones first.
fn drop_ops(best: &mut Case, fails: &mut dyn FnMut(&Case) -> bool) {
    let mut run = best.ops.len().next_power_of_two();
    while run > 0 {
        // From the end: later operations depend on earlier ones.
        let mut end = best.ops.len();
        while end > 0 {
            let start = end.saturating_sub(run);
            let mut smaller = best.clone();
            smaller.ops.drain(start..end);
            let removed = end - start;
            smaller.checks = smaller
                .checks
                .iter()
                .filter(|(at, _)| !(start..end).contains(*at) || **at == start)
                .map(|(at, check)| (if *at >= end { *at - removed } else { *at }, *check))
                .collect();
            attempt(best, smaller, fails);
            end = start.min(best.ops.len());
        }
        run /= 2;
    }
}

fn drop_checks(best: &mut Case, fails: &mut dyn FnMut(&Case) -> bool) {
    let all: Vec<usize> = best.checks.keys().copied().collect();
    for at in all {
        let mut smaller = best.clone();
        smaller.checks.remove(&at);
        attempt(best, smaller, fails);
    }
    for at in (0..best.options.len()).rev() {
        let mut smaller = best.clone();
        smaller.options.remove(at);
        attempt(best, smaller, fails);
    }
}

fn drop_layers(best: &mut Case, fails: &mut dyn FnMut(&Case) -> bool) {
    for at in (0..best.lowers.len()).rev() {
        if best.lowers.len() > 1 {
            let mut smaller = best.clone();
            smaller.lowers.remove(at);
            attempt(best, smaller, fails);
        }
    }
    for at in (0..best.data.len()).rev() {
        let mut smaller = best.clone();
        smaller.data.remove(at);
        attempt(best, smaller, fails);
    }
}

fn drop_nodes(best: &mut Case, fails: &mut dyn FnMut(&Case) -> bool) {
    let count = best.lowers.len();
    // Lowers, the upper, data-only layers.
    for index in 0..=count + best.data.len() {
        let data = index.wrapping_sub(count + 1);
        let of = |case: &Case| match index.cmp(&count) {
            Ordering::Less => case.lowers.get(index).cloned(),
            Ordering::Equal => case.upper.clone(),
            Ordering::Greater => case.data.get(data).cloned(),
        };
        let with = |best: &Case, layer: LayerSpec| {
            let mut case = best.clone();
            if index == count {
                case.upper = Some(layer);
            } else if let Some(lower) = case.lowers.get_mut(index) {
                *lower = layer;
            } else if let Some(spec) = case.data.get_mut(data) {
                *spec = layer;
            }
            case
        };
        let paths: Vec<PathBuf> = of(best)
            .map(|l| l.nodes().keys().rev().cloned().collect())
            .unwrap_or_default();
        for path in &paths {
            let Some(layer) = of(best) else { continue };
            let Some(node) = layer.nodes().get(path).cloned() else {
                continue;
            };
            if attempt(best, with(best, layer.without(path)), fails) {
                continue;
            }
            for simpler in simpler(&node) {
                if let Some(layer) = of(best) {
                    attempt(best, with(best, layer.with(path, simpler)), fails);
                }
            }
        }
    }
}

/// Nodes with less in them; each is tried on its own, the plainest first.
fn simpler(node: &NodeSpec) -> Vec<NodeSpec> {
    let mut all = vec![NodeSpec::new(node.kind.clone())];
    if matches!(node.kind, NodeKind::File(_)) {
        all.push(NodeSpec::file("1"));
        let mut short = node.clone();
        short.kind = NodeSpec::file("1").kind;
        all.push(short);
    }
    let default = NodeSpec::new(node.kind.clone());
    let mut change = |f: &dyn Fn(&mut NodeSpec)| {
        let mut smaller = node.clone();
        f(&mut smaller);
        all.push(smaller);
    };
    change(&|n| n.mode = default.mode);
    change(&|n| (n.uid, n.gid) = (0, 0));
    change(&|n| n.mtime = default.mtime);
    change(&|n| n.xattrs.clear());
    change(&|n| n.overlay.clear());
    all
}

/// Gives nodes with odd names plain ones, everywhere in the case.
fn plain_names(best: &mut Case, fails: &mut dyn FnMut(&Case) -> bool) {
    const PLAIN: [&str; 4] = ["e", "f", "g", "h"];
    let mut names = BTreeSet::new();
    rename_all(best, &mut |path| {
        names.extend(path.iter().filter(|n| n.len() > 1).map(OsStr::to_os_string));
        path.to_path_buf()
    });
    let odd = |name: &OsString| name != "/" && name != ".." && !PLAIN.iter().any(|p| name == p);
    for (odd, plain) in names.iter().filter(|n| odd(n)).zip(PLAIN) {
        let smaller = rename_all(best, &mut |path| {
            // Only whole paths without odd spelling: others are the point of their case.
            let new: PathBuf = path
                .iter()
                .map(|n| if n == odd { OsStr::new(plain) } else { n })
                .collect();
            let same = path.components().as_path().as_os_str() == path.as_os_str();
            if same { new } else { path.to_path_buf() }
        });
        attempt(best, smaller, fails);
    }
}

/// The case with every path that layers and operations name put through `f`.
fn rename_all(case: &Case, f: &mut dyn FnMut(&Path) -> PathBuf) -> Case {
    let mut new = case.clone();
    let mut layer = |old: &LayerSpec| {
        let mut new = LayerSpec::new();
        for (path, node) in old.nodes() {
            let mut node = node.clone();
            if let NodeKind::HardLink(to) = &node.kind {
                node.kind = NodeKind::HardLink(f(to));
            }
            new.insert(f(path), node);
        }
        new
    };
    new.lowers = case.lowers.iter().map(&mut layer).collect();
    new.data = case.data.iter().map(&mut layer).collect();
    new.upper = case.upper.as_ref().map(layer);
    for op in &mut new.ops {
        for path in op_paths(op) {
            *path = f(path);
        }
    }
    new
}

/// The paths of an operation.
fn op_paths(op: &mut Op) -> Vec<&mut PathBuf> {
    match op {
        Op::Metadata { path, .. }
        | Op::Access { path, .. }
        | Op::ReadLink { path }
        | Op::ReadDir { path }
        | Op::Read { path, .. }
        | Op::GetXattr { path, .. }
        | Op::ListXattrs { path, .. }
        | Op::Open { path, .. }
        | Op::Write { path, .. }
        | Op::CreateDir { path, .. }
        | Op::CreateDirAll { path, .. }
        | Op::Symlink { path, .. }
        | Op::MakeNode { path, .. }
        | Op::RemoveFile { path }
        | Op::RemoveDir { path }
        | Op::RemoveDirAll { path }
        | Op::SetLen { path, .. }
        | Op::SetAttr { path, .. }
        | Op::SetXattr { path, .. }
        | Op::RemoveXattr { path, .. }
        | Op::Allocate { path, .. }
        | Op::GetFlags { path }
        | Op::SetFlags { path, .. }
        | Op::HandleOpen { path, .. }
        | Op::HandleLink { to: path, .. } => vec![path],
        Op::HardLink { from, to } | Op::Rename { from, to, .. } | Op::Copy { from, to } => {
            vec![from, to]
        }
        Op::As { op, .. } => op_paths(op),
        _ => Vec::new(),
    }
}
