//! Laws 2, 4 and 6: what the layers hold, and what they must not.

use std::path::{Path, PathBuf};

use layerstack::testing::case::Check;
use layerstack::testing::oracle::{MergeOptions, MergedEntry, MergedTree, merge};
use layerstack::testing::snapshot::{Compare, Entry};
use layerstack::testing::{Case, LayerSpec, NodeKind, SnapshotOptions, TreeSnapshot};
use layerstack::{Errno, Name, Op};

use crate::cases::{in_mixes, now, seen, without_quirks};
use crate::stack::{Mix, Mixed};

/// A stack on which all operations of a case have been run; `after` is called at its check points and
/// at the end.
fn run(
    case: &Case,
    mix: Mix,
    mut after: impl FnMut(&mut Mixed) -> Result<(), String>,
) -> Result<(usize, usize), String> {
    let mut mixed = Mixed::new(mix, case, now());
    let mut succeeded = 0;
    for (i, op) in case.ops.iter().enumerate() {
        if let Some(check) = case.checks.get(&i) {
            after(&mut mixed).map_err(|e| format!("before operation {i}: {e}"))?;
            if *check != Check::Compare {
                mixed.reopen(*check == Check::Rotate);
            }
        }
        succeeded += usize::from(mixed.apply(op).is_ok());
    }
    after(&mut mixed).map_err(|e| format!("at the end: {e}"))?;
    Ok((case.ops.len(), succeeded))
}

fn text(left: &TreeSnapshot, right: &TreeSnapshot, compare: &Compare) -> Result<(), String> {
    left.diff_text(right, compare, 12).map_or(Ok(()), Err)
}

/// As the mixes compare: further names of a copied-up file may not know its inode number until the
/// next open, where the lower's filesystem has no UUID.
fn view() -> Compare {
    let mut compare = seen();
    compare.link_groups = false;
    compare
}

#[test]
fn law_2_opening_again_shows_the_same() {
    in_mixes(
        100,
        |_| {},
        |case, mix| {
            run(case, mix, |mixed| {
                let before = mixed.merged();
                mixed.reopen(false);
                text(&before, &mixed.merged(), &view())
            })
        },
    );
}

/// The layers of a stack as data.
fn specs(mixed: &Mixed) -> (Vec<LayerSpec>, Option<LayerSpec>) {
    let spec = |tree: &TreeSnapshot| LayerSpec::of_snapshot(tree).unwrap();
    let lowers = mixed.lower_trees().iter().map(spec).collect();
    (lowers, mixed.whole_upper().as_ref().map(spec))
}

/// Law 3 is the kernel's tier; this is its shadow where no kernel can be asked: the oracle, given what
/// lies in the layers, shows what the engine shows.
#[test]
fn law_3_the_layers_alone_tell_the_view() {
    in_mixes(
        100,
        |_| {},
        |case, mix| {
            run(case, mix, |mixed| {
                let (lowers, upper) = specs(mixed);
                let options = SnapshotOptions::merged().started(mixed.started);
                let merged = merge(&lowers, upper.as_ref(), &MergeOptions::default());
                text(&merged.snapshot(&options), &mixed.merged(), &view())
            })
        },
    );
}

#[test]
fn law_4_lowers_and_all_else_stay_as_they_are() {
    in_mixes(
        100,
        |_| {},
        |case, mix| {
            let mut mixed = Mixed::new(mix, case, now());
            let outside = mixed.place().join("outside");
            std::fs::create_dir(&outside).unwrap();
            std::fs::write(outside.join("a"), "not a layer").unwrap();
            let options = SnapshotOptions::merged();
            let around = |mixed: &Mixed| {
                TreeSnapshot::of_dir(&outside, &options).map(|tree| (tree, names_in(mixed)))
            };
            let before = (mixed.lower_trees(), around(&mixed).unwrap());
            let mut succeeded = 0;
            for (i, op) in case.ops.iter().enumerate() {
                if case.checks.get(&i) == Some(&Check::Remount) {
                    mixed.reopen(false);
                }
                succeeded += usize::from(mixed.apply(op).is_ok());
            }
            let after = (mixed.lower_trees(), around(&mixed).unwrap());
            for (left, right) in before.0.iter().zip(&after.0) {
                text(left, right, &Compare::unchanged())?;
            }
            text(&before.1.0, &after.1.0, &Compare::unchanged())?;
            assert_eq!(before.1.1, after.1.1, "beside the layers");
            // What is outside was not changed, nor reached.
            Ok((case.ops.len(), succeeded))
        },
    );
}

/// What lies beside the layers.
fn names_in(mixed: &Mixed) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(mixed.place()).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    names.sort();
    names
}

/// Upper whiteouts under which nothing would show.
fn stray(lowers: &[LayerSpec], upper: &LayerSpec) -> Vec<PathBuf> {
    let whiteouts = upper.nodes().iter();
    let whiteouts = whiteouts.filter(|(_, node)| matches!(node.kind, NodeKind::Whiteout(_)));
    let hides_nothing = |path: &Path| {
        let without = upper.clone().without(path);
        let merged: MergedTree = merge(lowers, Some(&without), &MergeOptions::default());
        !matches!(merged.entries().get(path), Some(MergedEntry::Node(_)))
    };
    let paths = whiteouts.map(|(path, _)| path);
    paths.filter(|path| hides_nothing(path)).cloned().collect()
}

/// The upper holds no whiteout that hides nothing.
fn without_stray(case: &mut Case) {
    without_quirks(case);
    while let Some(upper) = &case.upper {
        let found = stray(&case.lowers, upper);
        if found.is_empty() {
            return;
        }
        for path in found {
            case.upper = case.upper.take().map(|upper| upper.without(&path));
        }
    }
}

/// Names that may be there.
fn candidates(view: &TreeSnapshot) -> Vec<Name> {
    let mut names: Vec<Name> = ["a", "b", "c", "d", ".wh.a", "#1"]
        .iter()
        .filter_map(|n| Name::try_from(*n).ok())
        .collect();
    names.extend(
        view.entries()
            .keys()
            .filter_map(|p| Name::try_from(p.file_name()?).ok()),
    );
    names.sort();
    names.dedup();
    names
}

#[test]
fn law_6_lookup_and_listing_agree_and_whiteouts_hide_something() {
    in_mixes(60, without_stray, |case, mix| {
        run(case, mix, |mixed| {
            let view = mixed.merged();
            let names = candidates(&view);
            for (path, entry) in view.entries() {
                let Entry::Node(node) = entry else {
                    return Err(format!("{}: {entry:?}", path.display()));
                };
                for name in names.iter().filter(|_| node.meta.is_dir()) {
                    let path = path.join(name);
                    let stat = Op::Metadata {
                        path: path.clone(),
                        follow: false,
                    };
                    let found = mixed.apply(&stat).map(|_| ());
                    let listed = view.get(&path).map(|_| ()).ok_or(Errno::ENOENT);
                    if found != listed {
                        let path = path.display();
                        return Err(format!("{path}: looked up {found:?}, listed {listed:?}"));
                    }
                }
            }
            let (lowers, upper) = specs(mixed);
            let found = upper.map_or(Vec::new(), |upper| stray(&lowers, &upper));
            match found.first() {
                None => Ok(()),
                Some(path) => Err(format!("a whiteout that hides nothing: {}", path.display())),
            }
        })
    });
}
