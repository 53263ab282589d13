//! Law 7: copy-up changes nothing in the view. Law 8: any name works, at any depth.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use layerstack::backend::{AllocateMode, XattrMode};
use layerstack::testing::merged::Agreement;
use layerstack::testing::oracle::MergeOptions;
use layerstack::testing::snapshot::{Compare, TimeCompare};
use layerstack::testing::strategy::any_name;
use layerstack::testing::{Case, LayerSpec, NodeKind, NodeSpec, ReferenceModel, Weakenings};
use layerstack::{FileType, Name, Op, OpenOptions, RenameFlags, SetAttr, XattrName};
use proptest::strategy::{Strategy, ValueTree};

use crate::cases::{MIXES, in_mixes, now, possible, runner, seen, without_quirks};
use crate::stack::{Mixed, NAMESPACE};

/// Everything but what copy-up changes in the kernel too.
fn view() -> Compare {
    let mut compare = seen();
    compare.mtime = TimeCompare::Exact;
    compare
}

/// Unindexed hard links are broken by copy-up; their counts are no part of the view.
fn without_links(case: &mut Case) {
    case.ops.clear();
    case.checks.clear();
    case.upper.get_or_insert_default();
    for layer in &mut case.lowers {
        let mut kept = LayerSpec::new();
        for (path, node) in layer.nodes() {
            if !matches!(node.kind, NodeKind::HardLink(_)) {
                kept.insert(path, node.clone());
            }
        }
        *layer = kept;
    }
    without_quirks(case);
}

#[test]
fn law_7_copying_up_changes_nothing_that_shows() {
    in_mixes(150, without_links, |case, mix| {
        let mut mixed = Mixed::new(mix, case, now());
        let before = mixed.merged();
        let (mut count, mut done) = (0, 0);
        for (path, node) in before
            .entries()
            .keys()
            .filter_map(|p| Some((p, before.node(p)?)))
        {
            let (meta, path) = (&node.meta, path.clone());
            // What copies up and says nothing of the attributes that must stay.
            let name = XattrName::new("trusted.law").unwrap();
            let (set, follow) = (path.clone(), false);
            let ops = match meta.file_type {
                FileType::Regular => vec![Op::Open {
                    path,
                    options: OpenOptions::new().append(true),
                }],
                _ => vec![
                    Op::SetXattr {
                        path: set,
                        follow,
                        name: name.clone(),
                        value: b"1".to_vec(),
                        mode: XattrMode::Create,
                    },
                    Op::RemoveXattr { path, follow, name },
                ],
            };
            for op in ops {
                count += 1;
                done += usize::from(mixed.apply(&op).is_ok());
            }
        }
        let text = before.diff_text(&mixed.merged(), &view(), 12);
        text.map_or(Ok(()), Err)?;
        mixed.reopen(false);
        let text = before.diff_text(&mixed.merged(), &view(), 12);
        text.map_or(Ok((count, done)), |text| {
            Err(format!("opened again: {text}"))
        })
    });
}

fn path_of(names: &[Name]) -> PathBuf {
    let mut bytes = Vec::new();
    for name in names {
        bytes.push(b'/');
        bytes.extend_from_slice(name.as_bytes());
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Every kind of operation on names in a directory.
fn tour(dir: &Path, names: &[Name]) -> Vec<Op> {
    let at = |i: usize| dir.join(&names[i % names.len()]);
    let (path, to) = (at(0), at(1));
    let user = XattrName::new("user.a").unwrap();
    let writing = OpenOptions::new().write(true).create(true);
    let flags = RenameFlags::NONE;
    vec![
        Op::ReadDir { path: dir.into() },
        Op::Write {
            path: path.clone(),
            options: writing.clone(),
            offset: 3,
            data: b"data".to_vec(),
        },
        Op::Metadata {
            path: path.clone(),
            follow: false,
        },
        Op::SetXattr {
            path: path.clone(),
            follow: true,
            name: user.clone(),
            value: b"1".to_vec(),
            mode: XattrMode::Set,
        },
        Op::HandleOpen {
            slot: 0,
            path: path.clone(),
            options: OpenOptions::new().read(true),
        },
        Op::HardLink {
            from: path.clone(),
            to: to.clone(),
        },
        Op::Rename {
            from: path.clone(),
            to: at(2),
            flags,
        },
        Op::Symlink {
            target: names[3 % names.len()].as_bytes().to_vec(),
            path: at(3),
        },
        Op::ReadLink { path: at(3) },
        Op::CreateDir {
            path: at(4),
            mode: 0o755,
        },
        Op::Rename {
            from: at(4),
            to: at(5),
            flags,
        },
        Op::Rename {
            from: at(5),
            to: at(2),
            flags: RenameFlags::EXCHANGE,
        },
        Op::GetXattr {
            path: at(5),
            follow: false,
            name: user.clone(),
        },
        Op::ListXattrs {
            path: to.clone(),
            follow: false,
        },
        Op::SetLen {
            path: to.clone(),
            len: 5,
        },
        Op::Allocate {
            path: to.clone(),
            mode: AllocateMode::PunchHole,
            offset: 0,
            len: 2,
        },
        Op::SetAttr {
            path: to.clone(),
            follow: true,
            attr: SetAttr::mode(0o600),
        },
        Op::Copy {
            from: to.clone(),
            to: at(6),
        },
        Op::MakeNode {
            path: at(7),
            file_type: FileType::Fifo,
            mode: 0o600,
            rdev: Default::default(),
        },
        Op::HandleRead {
            slot: 0,
            offset: 0,
            len: 9,
        },
        Op::RemoveFile { path: to.clone() },
        Op::RemoveXattr {
            path: at(5),
            follow: true,
            name: user,
        },
        Op::Write {
            path: to,
            options: writing,
            offset: 0,
            data: b"again".to_vec(),
        },
        Op::ReadDir { path: dir.into() },
        Op::RemoveDirAll { path: at(2) },
        Op::RemoveDir { path: dir.into() },
        Op::ReadDir { path: dir.into() },
    ]
}

/// The tour in a directory of a lower, and in one made anew below it; compared with the model.
fn check(mix: crate::stack::Mix, dirs: &[Name], names: &[Name]) {
    let dir = path_of(dirs);
    let lower = LayerSpec::new()
        .with(dir.join(&names[1]), NodeSpec::file("lower"))
        .with(dir.join(&names[3]), NodeSpec::dir());
    let case = Case::new(vec![lower, LayerSpec::new()], Some(LayerSpec::new()));
    let new = dir.join(&names[0]);
    let mut ops = tour(&dir, names);
    ops.push(Op::RemoveDirAll { path: new.clone() });
    ops.push(Op::RemoveFile { path: new.clone() });
    ops.push(Op::CreateDirAll {
        path: new.join(&names[2]),
        mode: 0o750,
    });
    ops.extend(tour(&new.join(&names[2]), names));
    let started = now();
    let weak = Weakenings::default_options(NAMESPACE);
    let upper = case.upper.as_ref();
    let model = ReferenceModel::of_stack(&case.lowers, upper, &MergeOptions::default(), weak);
    let mut agreement = Agreement::since(started);
    agreement.compare = seen();
    agreement.compare.link_groups = false;
    let mut mixed = Mixed::new(mix, &case, started);
    let agreed = agreement.run(&ops, &mut model.unwrap().clock(started), &mut mixed);
    let agreed = agreed.unwrap_or_else(|e| panic!("{mix:?}, {dirs:?}, {names:?}: {e}"));
    assert!(agreed.succeeded * 2 > agreed.ops, "{agreed:?}");
    let before = mixed.merged();
    mixed.reopen(true);
    let text = before.diff_text(&mixed.merged(), &seen(), 9);
    let moved = "/: mtime ";
    assert!(
        text.iter()
            .flat_map(|t| t.lines())
            .all(|line| line.starts_with(moved)),
        "{text:?}"
    );
}

/// Eight different names.
fn eight(seed: u64) -> Vec<Name> {
    let mut runner = runner(seed);
    let strategy = any_name();
    let mut names: Vec<Name> = Vec::new();
    while names.len() < 8 {
        let name = strategy.new_tree(&mut runner).unwrap().current();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[test]
fn law_8_any_name_works_at_any_depth() {
    for mix in MIXES.into_iter().filter(|mix| possible(*mix)) {
        for seed in 1..40 {
            let names = eight(seed);
            let depth = 1 + usize::try_from(seed).unwrap() % 12;
            let dirs: Vec<Name> = names.iter().cycle().take(depth).cloned().collect();
            check(mix, &dirs, &names);
        }
        // Longer than any path that the kernel takes, and deeper than any stack of calls.
        let long = Name::new([b'n'; 255]).unwrap();
        check(mix, &vec![long; 40], &eight(1000));
        let short = Name::new(b"d").unwrap();
        check(mix, &vec![short; 1000], &eight(1001));
    }
}
