//! The same operations over memory and directories, as lower and as upper, in all four mixes and
//! nested: the same outcomes and the same merged tree.
//!
//! `MIXES_CASES=n` runs so many generated cases, `MIXES_SEED=n` starts with another one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may fail by panicking"
)]

#[path = "mixes/stack.rs"]
mod stack;
mod support;

use std::path::Path;
use std::time::SystemTime;

use layerstack::backend::memory::MemLayer;
use layerstack::backend::{AllocateMode, WhiteoutForm};
use layerstack::testing::case::Check;
use layerstack::testing::snapshot::OriginCompare;
use layerstack::testing::spec::Piece;
use layerstack::testing::strategy::{self, Profile};
use layerstack::testing::{
    Case, Compare, LayerSpec, NodeKind, NodeSpec, SnapshotOptions, TreeSnapshot, minimise, outcome,
};
use layerstack::{Errno, LayerStack, Op, OpenOptions, Overlay, RenameFlags, Timestamp, XattrName};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use stack::{Kind, Mix, Mixed, NAMESPACE, mix};
use support::child::is_root;

/// A run of generated cases ends after so many failures.
const FAILURES_MAX: usize = 4;

/// The first is what the others are compared with.
const MIXES: [Mix; 4] = [
    mix(Kind::Memory, Kind::Memory, false),
    mix(Kind::Memory, Kind::Directory, false),
    mix(Kind::Directory, Kind::Memory, false),
    mix(Kind::Directory, Kind::Directory, false),
];

const NESTED: [Mix; 3] = [
    MIXES[0],
    mix(Kind::Memory, Kind::Directory, true),
    mix(Kind::Directory, Kind::Memory, true),
];

fn now() -> Timestamp {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Timestamp::new(now.as_secs().try_into().unwrap(), now.subsec_nanos())
}

/// What two mixes may differ in: origins name inodes of their own lowers.
fn compare_upper() -> Compare {
    let mut compare = Compare::upper();
    compare.origin = OriginCompare::Ignore;
    compare
}

fn compare_merged() -> Compare {
    let mut compare = Compare::merged();
    compare.inode_labels = false;
    // Listings tell an inode number of the layer's where layers lie on several filesystems.
    compare.listed_inodes = false;
    // A name that was copied up keeps the inode number it had, further names of the file may not
    // know it until the next open, where the lower's filesystem has no UUID.
    compare.link_groups = false;
    compare
}

/// A union of layers on several filesystems has several devices, which the union above it does not
/// tell apart, as in the kernel.
fn compare_reopened(all: &[Mixed]) -> Compare {
    let mut compare = compare_merged();
    compare.link_groups = all.iter().all(|m| !m.mix.nested);
    compare
}

/// Runs a case on each mix; tells the first difference from the first of them. Answers how many
/// operations succeeded.
fn run(case: &Case, mixes: &[Mix]) -> Result<usize, String> {
    let started = now();
    let mut all: Vec<_> = mixes
        .iter()
        .map(|m| Mixed::new(*m, case, started))
        .collect();
    let mut succeeded = 0;
    for (i, op) in case.ops.iter().enumerate() {
        if let Some(check) = case.checks.get(&i) {
            compare(&all, &compare_merged()).map_err(|e| format!("before operation {i}: {e}"))?;
            if *check != Check::Compare {
                all.iter_mut()
                    .for_each(|m| m.reopen(*check == Check::Rotate));
                compare(&all, &compare_reopened(&all))
                    .map_err(|e| format!("after {check:?} at {i}: {e}"))?;
            }
        }
        // Whether that changes the time of the file is the filesystem's own choice.
        if let Op::SetLen { path, len } = op
            && all[0].size(path) == Some(*len)
        {
            continue;
        }
        let expected = all[0].apply(op);
        succeeded += usize::from(expected.is_ok());
        for mixed in &mut all[1..] {
            let got = mixed.apply(op);
            let rules = compare_merged();
            if let Some(what) = outcome::differ(&expected, &got, &rules, Some(started)) {
                let mix = mixed.mix;
                return Err(format!("operation {i}, {}, {mix:?}: {what}", op.name()));
            }
        }
    }
    compare(&all, &compare_merged()).map_err(|e| format!("at the end: {e}"))?;
    all.iter_mut().for_each(|m| m.reopen(false));
    compare(&all, &compare_reopened(&all)).map_err(|e| format!("reopened: {e}"))?;
    Ok(succeeded)
}

fn compare(all: &[Mixed], rules: &Compare) -> Result<(), String> {
    let (merged, upper) = (all[0].merged(), all[0].upper_tree());
    for mixed in &all[1..] {
        let mut found = merged.diff(&mixed.merged(), rules);
        found.extend(upper.diff(&mixed.upper_tree(), &compare_upper()));
        // A hint for listings, set where an origin was found.
        found.retain(|d| d.what != "overlay.impure");
        if !found.is_empty() {
            let lines: Vec<_> = found.iter().take(12).map(|d| d.to_string()).collect();
            return Err(format!("{:?}:\n{}", mixed.mix, lines.join("\n")));
        }
    }
    Ok(())
}

fn number_from_env(key: &str, default: u64) -> u64 {
    let value = std::env::var(key).ok().and_then(|v| v.parse().ok());
    value.unwrap_or(default)
}

/// Generated cases with consecutive seeds. `adapt` changes each.
fn generated(mixes: &[Mix], cases: u64, adapt: impl Fn(&mut Case)) {
    if !is_root() {
        eprintln!("skipped: not root, who alone may make all that the cases hold");
        return;
    }
    let (first, cases) = (
        number_from_env("MIXES_SEED", 1),
        number_from_env("MIXES_CASES", cases),
    );
    let strategy = strategy::case(&Profile::root());
    let (mut ops, mut succeeded) = (0, 0);
    let mut failures = Vec::new();
    for seed in first..first + cases {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let mut case = strategy.new_tree(&mut runner).unwrap().current();
        adapt(&mut case);
        // Not every filesystem can zero a range, that in memory for one.
        for op in &mut case.ops {
            if let Op::Allocate { mode, .. } | Op::HandleAllocate { mode, .. } = op
                && matches!(
                    mode,
                    AllocateMode::ZeroRange | AllocateMode::ZeroRangeKeepSize
                )
            {
                *mode = AllocateMode::PunchHole;
            }
        }
        // Where all layers are on one filesystem, a listing may look at each name, and then leaves out
        // such whiteouts, which it lists elsewhere (rule R079).
        if let Some(upper) = &mut case.upper {
            *upper = filtered(upper, |_, node| {
                node.kind != NodeKind::Whiteout(WhiteoutForm::Xattr)
            });
        }
        match run(&case, mixes) {
            Ok(count) => (ops, succeeded) = (ops + case.ops.len(), succeeded + count),
            Err(_) => {
                let case = minimise(case, &mut |case| run(case, mixes).is_err());
                let what = run(&case, mixes).unwrap_err();
                failures.push(format!("seed {seed}: {what}\n\n{case:?}\n"));
                if failures.len() == FAILURES_MAX {
                    break;
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("{cases} cases, {ops} operations, {succeeded} of them succeeded");
    assert!(
        succeeded * 3 > ops,
        "most operations fail: {succeeded} of {ops}"
    );
}

/// The nodes of a layer that `keep` keeps.
fn filtered(layer: &LayerSpec, keep: impl Fn(&Path, &NodeSpec) -> bool) -> LayerSpec {
    let mut kept = LayerSpec::new();
    for (path, node) in layer.nodes() {
        if keep(path, node) {
            kept.insert(path, node.clone());
        }
    }
    kept
}

#[test]
fn four_mixes_agree() {
    generated(&MIXES, 300, |_| {});
}

#[test]
fn nested_stacks_show_what_flat_ones_show() {
    // One more union in between takes one level of escaping off the names of overlay attributes, and
    // lists the whiteouts of a directory of one layer only (rule R079).
    generated(&NESTED, 200, |case| {
        let merged = case.lowers.len() > 1;
        let escaped = format!("{}overlay.", NAMESPACE.prefix());
        for layer in &mut case.lowers {
            *layer = filtered(layer, |path, node| {
                let top = path.parent() == Some(Path::new("/"));
                let stray = matches!(node.kind, NodeKind::Whiteout(_)) && !(top && merged);
                let is_escaped = |name: &XattrName| name.as_bytes().starts_with(escaped.as_bytes());
                !stray && !node.xattrs.keys().any(is_escaped)
            });
        }
        case.checks.retain(|_, check| *check != Check::Rotate);
    });
}

/// Layers and operations that reach most rules, written by hand.
fn script() -> Case {
    let write = OpenOptions::new().write(true);
    let put = |path: &str, options: &OpenOptions, data: &[u8]| Op::Write {
        path: path.into(),
        options: options.clone(),
        offset: 0,
        data: data.to_vec(),
    };
    let rename = |from: &str, to: &str, flags| Op::Rename {
        from: from.into(),
        to: to.into(),
        flags,
    };
    let remove = |path: &str| Op::RemoveFile { path: path.into() };
    let mkdir = |path: &str| Op::CreateDir {
        path: path.into(),
        mode: 0o755,
    };
    let top = LayerSpec::new()
        .with("/d/top", NodeSpec::file(b"top").mode(0o4755))
        .with("/d/gone", NodeSpec::whiteout())
        .with("/o", NodeSpec::dir().opaque(b"y"))
        .with("/o/new", NodeSpec::symlink(b"../d/base"))
        .with("/type", NodeSpec::dir());
    let base = LayerSpec::new()
        .with("/d/base", NodeSpec::file(b"base").xattr(b"user.a", b"1"))
        .with("/d/gone", NodeSpec::file(b"never seen"))
        .with("/d/e/f", NodeSpec::file(b"deep").owner(7, 8))
        .with("/o/old", NodeSpec::file(b"never seen"))
        .with("/type", NodeSpec::file(b"was a file"))
        .with("/link", NodeSpec::link_to("/d/base"))
        .with("/sparse", {
            NodeSpec::pieces(vec![Piece::Hole(1 << 20), Piece::Fill(9, 4096)])
        });
    Case::new(vec![top, base], Some(LayerSpec::new())).ops(vec![
        put("/d/e/f", &OpenOptions::new().append(true), b"er"),
        put("/o/new", &write, b"BA"),
        put("/link", &write.clone().truncate(true), b"alone"),
        remove("/d/top"),
        put("/d/top", &write.clone().create_new(true), b"again"),
        Op::RemoveDirAll {
            path: "/d/e".into(),
        },
        mkdir("/d/e"),
        mkdir("/d/gone"),
        rename("/d/base", "/type/base", RenameFlags::NO_REPLACE),
        rename("/d", "/moved", RenameFlags::NONE),
        rename("/sparse", "/o/new", RenameFlags::EXCHANGE),
        Op::SetLen {
            path: "/o/new".into(),
            len: 1 << 21,
        },
        Op::Copy {
            from: "/o/new".into(),
            to: "/copy".into(),
        },
        Op::HardLink {
            from: "/link".into(),
            to: "/d/e/second".into(),
        },
    ])
}

fn scripted(mixes: &[Mix]) {
    if !is_root() {
        eprintln!("skipped: not root, who alone may make whiteouts and owners");
        return;
    }
    let case = script();
    if let Err(text) = run(&case, mixes) {
        panic!("{text}");
    }
    let mut mixed = Mixed::new(mixes[1], &case, now());
    let failed: Vec<_> = case
        .ops
        .iter()
        .filter_map(|op| mixed.apply(op).err().map(|e| (op.name(), e)))
        .collect();
    assert_eq!(failed, [("rename", Errno::EXDEV)]);
    let overlay = mixed.session.as_ref().unwrap().overlay();
    let paths: Vec<_> = overlay
        .walk("/")
        .sort(true)
        .map(|e| e.unwrap().path().to_str().unwrap().to_owned())
        .collect();
    let expected = [
        "/",
        "/copy",
        "/d",
        "/d/e",
        "/d/e/second",
        "/d/gone",
        "/d/top",
        "/link",
        "/o",
        "/o/new",
        "/sparse",
        "/type",
        "/type/base",
    ];
    assert_eq!(paths, expected);
    assert_eq!(overlay.read("/type/base").unwrap(), b"BAse");
    assert_eq!(overlay.read("/d/e/second").unwrap(), b"alone");
    assert_eq!(overlay.read("/d/top").unwrap(), b"again");
    assert_eq!(overlay.metadata("/copy").unwrap().size, 1 << 21);
    let sparse = overlay.read_link("/sparse").unwrap();
    assert_eq!(sparse.to_str().unwrap(), "../d/base");
}

#[test]
fn a_script_in_four_mixes() {
    scripted(&MIXES);
}

#[test]
fn a_script_on_nested_stacks() {
    scripted(&NESTED);
}

/// A writable union as a lower of another one shows what is written to it (no upper of the outer
/// one hides it), and is not written to itself.
#[test]
fn an_overlay_as_a_lower() {
    let base = MemLayer::builder()
        .file("a", "a")
        .file("b", "b")
        .build()
        .unwrap();
    let inner_upper = MemLayer::new();
    let lowers = LayerStack::from_top([base]).unwrap();
    let inner = Overlay::new(&lowers, inner_upper.clone()).unwrap();
    inner.remove_file("/a").unwrap();
    inner.write("/c", "c").unwrap();
    let lowers = LayerStack::from_top([LayerStack::clone(&inner)]).unwrap();
    let outer = Overlay::new(&lowers, MemLayer::new()).unwrap();
    let before = TreeSnapshot::of_backend(&*inner, &SnapshotOptions::merged()).unwrap();
    assert!(!outer.exists("/a").unwrap());
    outer.write("/b", "outer").unwrap();
    outer.remove_file("/c").unwrap();
    outer.write("/a", "new").unwrap();
    let after = TreeSnapshot::of_backend(&*inner, &SnapshotOptions::merged()).unwrap();
    assert_eq!(before.diff_text(&after, &Compare::unchanged(), 9), None);
    assert_eq!(inner.read("/b").unwrap(), b"b");
    assert_eq!(outer.read("/a").unwrap(), b"new");
    let names: Vec<_> = outer.read_dir_sorted("/").unwrap();
    assert_eq!(names.len(), 2);
}
