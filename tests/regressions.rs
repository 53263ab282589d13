//! What the comparison with the kernel found, minimised: one named case each. Every case runs on the
//! kernel's mount, on directories and in memory.
//!
//! One room: a flat list of short cases.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use layerstack::testing::case::xattr;
use layerstack::testing::spec::Piece;
use layerstack::testing::strategy::Profile;
use layerstack::testing::{Case, LayerSpec, NodeKind, NodeSpec};
use layerstack::{
    Credentials, Op, OpenOptions, OverlayAttr, RenameFlags, SetAttr, SetTime, Timestamp,
};
use support::fs::{Fs, require_fs};
use support::namespace::in_mount_namespace;
use support::ours::{DirSystem, MemSystem};
use support::runner::{Campaign, Pair};
use support::system::{KernelSystem, Layout};

fn check(case: &Case) {
    check_on(Fs::Ext4, case);
}

/// The same with directories on another filesystem.
fn check_on(fs: Fs, case: &Case) {
    if !require_fs(&[fs]) {
        return;
    }
    let mut campaign = Campaign::new("regression", Layout::same(fs), Profile::root());
    campaign.rules = campaign.rules.kernel_against_engine();
    campaign.rules.check_lowers = true;
    let directories = Pair {
        left: &KernelSystem::open,
        right: &DirSystem::open,
    };
    in_mount_namespace(|| campaign.run_case(case, directories));
    campaign.layout.lowers = vec![Fs::Tmpfs];
    campaign.rules = campaign.rules.origins_differ();
    campaign.rules.merged.inode_labels = false;
    campaign.rules.right_in_memory = true;
    let memory = Pair {
        left: &KernelSystem::open,
        right: &MemSystem::open,
    };
    in_mount_namespace(|| campaign.run_case(case, memory));
}

fn one_lower(lower: LayerSpec, ops: Vec<Op>) {
    check(&Case::new(vec![lower], Some(LayerSpec::new())).ops(ops));
}

fn rename(from: &str, to: &str, flags: RenameFlags) -> Op {
    Op::Rename {
        from: from.into(),
        to: to.into(),
        flags,
    }
}

/// The target's parent is merged once it is copied up, which is when the rule looks (R148).
#[test]
fn a_directory_moved_into_a_lower_directory_becomes_opaque() {
    let lower = LayerSpec::new().with("/c/c/a", NodeSpec::dir().mode(0o1777));
    let upper = LayerSpec::new().with("/b", NodeSpec::dir().mode(0o600));
    let ops = vec![rename("/b", "/c/c/a", RenameFlags::NONE)];
    check(&Case::new(vec![lower], Some(upper)).ops(ops));
}

/// A file without names gets no new one, and nothing is copied up for it.
#[test]
fn a_removed_file_that_is_open_cannot_be_linked() {
    let lower = LayerSpec::new()
        .with("/a", NodeSpec::file(b"other data"))
        .with("/d", NodeSpec::dir());
    let options = OpenOptions::new().read(true).write(true);
    one_lower(
        lower,
        vec![
            Op::HandleOpen {
                slot: 0,
                path: "/a".into(),
                options,
            },
            Op::RemoveFile { path: "/a".into() },
            Op::HandleLink {
                slot: 0,
                to: "/d/a".into(),
            },
        ],
    );
}

/// R132: ENOENT, since the directory is gone; EEXIST would be the whiteout's answer.
#[test]
fn a_late_copy_up_into_a_removed_directory_is_enoent() {
    let times = SetAttr::times(SetTime::At(Timestamp::new(529_419_462, 0)), SetTime::Now);
    one_lower(
        LayerSpec::new().with("/a/b", NodeSpec::file(b"")),
        vec![
            Op::HandleOpen {
                slot: 0,
                path: "/a/b".into(),
                options: OpenOptions::new().read(true),
            },
            Op::RemoveDirAll { path: "/a".into() },
            Op::HandleSetAttr {
                slot: 0,
                attr: times,
            },
        ],
    );
}

/// R132, beside it: the name is taken by the whiteout.
#[test]
fn a_late_copy_up_over_a_whiteout_is_eexist() {
    one_lower(
        LayerSpec::new().with("/a/b", NodeSpec::file(b"")),
        vec![
            Op::HandleOpen {
                slot: 0,
                path: "/a/b".into(),
                options: OpenOptions::new().read(true),
            },
            Op::RemoveFile {
                path: "/a/b".into(),
            },
            Op::HandleSetAttr {
                slot: 0,
                attr: SetAttr::mode(0o600),
            },
        ],
    );
}

/// The old name is looked up first (R036).
#[test]
fn a_missing_source_comes_before_a_target_name_that_is_too_long() {
    let long = format!("/{}", "x".repeat(256));
    one_lower(
        LayerSpec::new().with("/a", NodeSpec::dir()),
        vec![
            rename("/missing", &long, RenameFlags::EXCHANGE),
            rename("/a", &long, RenameFlags::NONE),
            Op::RemoveFile {
                path: long.clone().into(),
            },
            Op::Metadata {
                path: format!("/missing{long}").into(),
                follow: true,
            },
        ],
    );
}

/// A slash behind the target asks for a directory, which opening cannot create.
#[test]
fn creating_through_a_symlink_with_a_slash_is_eisdir_before_the_loop_is_seen() {
    let lower = LayerSpec::new().with("/d", NodeSpec::symlink(b"d/"));
    let options = OpenOptions::new().write(true).create(true);
    let write = |path: &str| Op::Write {
        path: path.into(),
        options: options.clone(),
        offset: 0,
        data: vec![],
    };
    let new = OpenOptions::new().write(true).create_new(true);
    one_lower(
        lower,
        vec![
            write("/d"),
            write("/new/"),
            Op::Open {
                path: "/".into(),
                options: new,
            },
        ],
    );
}

/// R200: the modification time changes with the filesystem's own truncate.
#[test]
fn truncating_to_the_same_size_is_a_change() {
    let capability =
        b"\x01\x00\x00\x02\x00 \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let lower = LayerSpec::new().with(
        "/a",
        NodeSpec::file(b"")
            .mode(0o700)
            .xattr(b"security.capability", capability),
    );
    one_lower(
        lower,
        vec![
            rename("/a", "/b", RenameFlags::NONE),
            Op::SetLen {
                path: "/b".into(),
                len: 0,
            },
        ],
    );
}

/// Names of attributes are judged before and after the copy-up, by their namespace.
#[test]
fn attributes_of_unknown_namespaces() {
    let name = |n: &str| xattr(n).unwrap();
    let path = || std::path::PathBuf::from("/b");
    let mut ops = Vec::new();
    for n in [
        "nonsense.x",
        "user.",
        "trusted.",
        "system.x",
        "trusted.overlay.",
        "user.x",
    ] {
        ops.push(Op::GetXattr {
            path: path(),
            follow: false,
            name: name(n),
        });
        ops.push(Op::RemoveXattr {
            path: path(),
            follow: true,
            name: name(n),
        });
    }
    one_lower(LayerSpec::new().with("/b", NodeSpec::dir()), ops);
}

#[test]
fn directories_are_not_made_over_dangling_symlinks() {
    let lower = LayerSpec::new()
        .with("/c", NodeSpec::symlink(b"b/c"))
        .with("/fifo", NodeSpec::new(NodeKind::Fifo))
        .with("/l", NodeSpec::symlink(b"/fifo/x"))
        .with("/loop", NodeSpec::symlink(b"loop"));
    let all = |path: &str| Op::CreateDirAll {
        path: path.into(),
        mode: 0o755,
    };
    let ops = [
        "/c", "/c/d", "/l", "/loop", "/loop/x", "/fifo", "/fifo/x", "/n/m/.", "/n/../o",
    ];
    one_lower(lower, ops.map(all).to_vec());
}

/// The new name of a file that lost another is looked up afresh, so that both show one inode.
#[test]
fn linking_an_open_file_that_lost_one_of_its_names() {
    let lower = LayerSpec::new()
        .with("/b", NodeSpec::dir())
        .with("/c", NodeSpec::file(b"other data"));
    one_lower(
        lower,
        vec![
            Op::HandleOpen {
                slot: 2,
                path: "/c".into(),
                options: OpenOptions::new().read(true),
            },
            Op::HardLink {
                from: "/c".into(),
                to: "/a".into(),
            },
            Op::RemoveFile { path: "/c".into() },
            Op::HandleLink {
                slot: 2,
                to: "/b/a".into(),
            },
        ],
    );
}

#[test]
fn copying_a_file_onto_itself_keeps_it() {
    one_lower(
        LayerSpec::new()
            .with("/b/d", NodeSpec::file(b"1"))
            .with("/a", NodeSpec::dir()),
        vec![
            Op::HardLink {
                from: "/b/d".into(),
                to: "/a/b".into(),
            },
            Op::Copy {
                from: "/a/b".into(),
                to: "/b/d".into(),
            },
            Op::Copy {
                from: "/b/d".into(),
                to: "/b/d".into(),
            },
        ],
    );
}

/// The entries that a removal meets may include the symlink that the path went through.
#[test]
fn removing_a_tree_reached_through_a_symlink_inside_it() {
    let lower = LayerSpec::new()
        .with("/a", NodeSpec::dir())
        .with("/a/a", NodeSpec::symlink(b".."));
    one_lower(
        lower,
        vec![Op::RemoveDirAll {
            path: "/a/a/a".into(),
        }],
    );
}

/// R079: stray whiteouts are listed, are not there, and do not keep a directory from being removed.
#[test]
fn removing_a_lower_directory_of_stray_whiteouts() {
    let lower = LayerSpec::new().with("/c/b/b", NodeSpec::whiteout());
    one_lower(
        lower,
        vec![
            Op::ReadDir {
                path: "/c/b".into(),
            },
            Op::Metadata {
                path: "/c/b/b".into(),
                follow: true,
            },
            Op::RemoveDirAll {
                path: "/c/b".into(),
            },
        ],
    );
}

/// R229: extents with holes between them, of which the last one runs into the end of the file.
#[test]
fn holes_between_extents_are_kept_and_content_is_the_same() {
    let pieces = vec![
        Piece::Bytes(b"2".to_vec()),
        Piece::Hole(8192),
        Piece::Fill(122, 8192),
        Piece::Hole(9),
    ];
    let options = OpenOptions::new().write(true);
    one_lower(
        LayerSpec::new().with("/a/b", NodeSpec::pieces(pieces)),
        vec![Op::Write {
            path: "/a/b".into(),
            options,
            offset: 0,
            data: vec![119; 4096],
        }],
    );
}

/// A mode on a symlink is refused before the missing upper is seen.
#[test]
fn the_mode_of_a_symlink_in_a_union_without_upper() {
    let lower = LayerSpec::new().with("/a", NodeSpec::symlink(b"/"));
    let attr = SetAttr::mode(0o644);
    let ops = vec![Op::SetAttr {
        path: "/a".into(),
        follow: false,
        attr,
    }];
    check(&Case::new(vec![lower, LayerSpec::new()], None).ops(ops));
}

/// A lower hard link that lost its name in the union has no other there.
#[test]
fn a_removed_lower_hard_link_that_is_open_cannot_be_linked() {
    let lower = LayerSpec::new()
        .with("/a", NodeSpec::file(b""))
        .with("/c", NodeSpec::link_to("/a"));
    one_lower(
        lower,
        vec![
            Op::HandleOpen {
                slot: 0,
                path: "/c".into(),
                options: OpenOptions::new().read(true),
            },
            Op::RemoveFile { path: "/c".into() },
            Op::HandleLink {
                slot: 0,
                to: "/b".into(),
            },
        ],
    );
}

/// A name that is met for the first time is of an object in use, whose link count is known.
#[test]
fn a_new_name_of_an_indexed_file_shows_the_count_in_use() {
    let case = Case::new(
        vec![LayerSpec::new().with("/c", NodeSpec::symlink(b"none"))],
        Some(LayerSpec::new()),
    );
    let case = case.options(&["nfs_export=on"]).ops(vec![
        Op::CreateDirAll {
            path: "/e".into(),
            mode: 0o755,
        },
        Op::HardLink {
            from: "/c".into(),
            to: "/e/a".into(),
        },
    ]);
    check(&case);
}

/// A removed name is forgotten at once, as by the kernel, and with it the object if nobody has it
/// open: its other names are then looked up afresh, and a lower with one name counts its entry (R258).
#[test]
fn a_removed_name_of_an_indexed_file_is_forgotten() {
    let lower = LayerSpec::new()
        .with("/a", NodeSpec::dir())
        .with("/d/a", NodeSpec::file(b"other data"));
    let case = Case::new(vec![lower], Some(LayerSpec::new()));
    let options = OpenOptions::new().read(true);
    let case = case.options(&["nfs_export=on"]).ops(vec![
        Op::HardLink {
            from: "/d/a".into(),
            to: "/a/b".into(),
        },
        Op::RemoveFile {
            path: "/d/a".into(),
        },
        Op::HandleOpen {
            slot: 1,
            path: "/a/b".into(),
            options,
        },
        Op::RemoveFile {
            path: "/a/b".into(),
        },
        Op::HandleLink {
            slot: 1,
            to: "/b".into(),
        },
    ]);
    check(&case);
}

/// R160: the redirect of the last component follows those on the way to it.
#[test]
fn a_redirect_behind_a_redirect_in_one_layer() {
    let to = |redirect: &[u8]| NodeSpec::dir().overlay(OverlayAttr::Redirect, redirect);
    let lowers = vec![
        LayerSpec::new()
            .with("/a", to(b"d"))
            .with("/a/a", to(b"b"))
            .with("/b", NodeSpec::file(b"")),
        LayerSpec::new().with("/d/b/below", NodeSpec::file(b"")),
    ];
    let upper = LayerSpec::new()
        .with("/a/a", NodeSpec::whiteout())
        .with("/b", to(b"/a/a"));
    let ops = vec![Op::ReadDir { path: "/b".into() }];
    check(&Case::new(lowers, Some(upper)).ops(ops));
}

/// `.` behind a directory is reached by who may search it, also as a component of `mkdir -p`.
#[test]
fn a_dot_in_a_directory_that_may_not_be_searched() {
    let upper = LayerSpec::new().with("/open", NodeSpec::dir().mode(0o777));
    let path = "/open/c/.".into();
    let make = Op::CreateDirAll { path, mode: 0o644 };
    let ops = vec![make.run_as(&Credentials::user(1, 1000))];
    check(&Case::new(vec![LayerSpec::new()], Some(upper)).ops(ops));
}

/// R065, R110: once a merged directory without origin was looked up, its parent's listing drops names that
/// cannot be looked up.
#[test]
fn a_listing_drops_names_once_the_kernel_has_marked_the_directory() {
    let lowers = vec![
        LayerSpec::new().with(
            "/b/a",
            NodeSpec::dir().overlay(OverlayAttr::Redirect, b"a/b"),
        ),
        LayerSpec::new().with("/b/b", NodeSpec::dir()),
    ];
    let upper = LayerSpec::new()
        .with("/b/a", NodeSpec::dir())
        .with("/b/b", NodeSpec::dir())
        .with("/b/c", NodeSpec::xattr_whiteout());
    let ops = vec![
        Op::ReadDir { path: "/b".into() },
        Op::RemoveDirAll { path: "/b".into() },
    ];
    check(&Case::new(lowers, Some(upper)).ops(ops));
}

/// R200: a filesystem that leaves the times of a file of the same size alone shows that the kernel copies a
/// metacopy up first, to remove the capability, and then touches it by bringing the data.
#[test]
fn truncating_a_capable_file_to_its_size_with_metacopy() {
    let capability = b"\x01\0\0\x02\0 \0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let file = NodeSpec::file(b"1").xattr(b"security.capability", capability);
    let lower = LayerSpec::new().with("/d/f", file);
    for len in [0, 1, 2] {
        let path = "/d/f".into();
        let case = Case::new(vec![lower.clone()], Some(LayerSpec::new()));
        let case = case.options(&["metacopy=on"]);
        check_on(Fs::Xfs, &case.ops(vec![Op::SetLen { path, len }]));
    }
}
