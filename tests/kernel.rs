//! The running kernel as judge.
//!
//! Each test runs generated cases on two systems and compares every outcome, and at check points the
//! merged trees and the upper layers. `KERNEL_SECONDS=n` runs each for so long, `KERNEL_SEED=n`
//! repeats a run, `REQUIRE_KERNEL=1` turns skipping into failure, `KERNEL_LOG=1` shows why mounts
//! are refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use layerstack::check::Report;
use layerstack::testing::case::{Check, xattr};
use layerstack::testing::spec::Piece;
use layerstack::testing::strategy::Profile;
use layerstack::testing::{Case, LayerSpec, NodeSpec, TreeSnapshot};
use layerstack::{Errno, Op, Outcome, RenameFlags};
use support::fs::{Fs, require_fs};
use support::namespace::{as_user, in_mount_namespace, require_kernel};
use support::ours::{DirSystem, MemSystem};
use support::runner::{Campaign, Pair};
use support::system::{Dirs, HandOver, KernelSystem, Layout, Stack, System};

/// The kernel against itself: what is compared is deterministic.
const TWICE: Pair<'static> = Pair {
    left: &KernelSystem::open,
    right: &KernelSystem::open,
};

/// The kernel and the engine on real directories.
const DIRS: Pair<'static> = Pair {
    left: &KernelSystem::open,
    right: &DirSystem::open,
};

/// The kernel and the engine in memory.
const MEMORY: Pair<'static> = Pair {
    left: &KernelSystem::open,
    right: &MemSystem::open,
};

/// The kernel against the engine on directories.
fn judge(name: &'static str, layout: Layout) {
    if require_fs(&layout.kinds()) {
        in_mount_namespace(|| engine(name, layout, Profile::root()).run(DIRS));
    }
}

fn engine(name: &'static str, layout: Layout, profile: Profile) -> Campaign {
    let mut campaign = Campaign::new(name, layout, profile);
    campaign.rules = campaign.rules.kernel_against_engine();
    campaign.rules.check_lowers = true;
    campaign
}

fn mixed(upper: Fs, lowers: &[Fs]) -> Layout {
    Layout {
        upper,
        lowers: lowers.to_vec(),
        options: Vec::new(),
    }
}

#[test]
fn directories_equal_the_kernel_on_ext4() {
    judge("dir ext4", Layout::same(Fs::Ext4));
}

#[test]
fn directories_equal_the_kernel_on_tmpfs() {
    judge("dir tmpfs", Layout::same(Fs::Tmpfs));
}

#[test]
fn directories_equal_the_kernel_on_btrfs() {
    judge("dir btrfs", Layout::same(Fs::Btrfs));
}

#[test]
fn directories_equal_the_kernel_on_xfs_over_ext4() {
    judge("dir xfs over ext4", mixed(Fs::Xfs, &[Fs::Ext4, Fs::Xfs]));
}

#[test]
fn directories_equal_the_kernel_on_ext4_over_tmpfs_and_btrfs() {
    judge(
        "dir ext4 over tmpfs, btrfs",
        mixed(Fs::Ext4, &[Fs::Tmpfs, Fs::Btrfs]),
    );
}

#[test]
fn directories_equal_the_kernel_with_an_index() {
    judge("dir index", Layout::same(Fs::Ext4).options(&["index=on"]));
}

#[test]
fn directories_equal_the_kernel_with_an_index_on_xfs_over_ext4() {
    let layout = mixed(Fs::Xfs, &[Fs::Ext4, Fs::Xfs]);
    judge("dir index xfs over ext4", layout.options(&["index=on"]));
}

#[test]
fn directories_equal_the_kernel_with_nfs_export() {
    let layout = Layout::same(Fs::Ext4).options(&["nfs_export=on"]);
    judge("dir nfs_export", layout);
}

#[test]
fn directories_equal_the_kernel_with_redirects() {
    let layout = Layout::same(Fs::Ext4).options(&["redirect_dir=on"]);
    judge("dir redirects", layout);
}

#[test]
fn directories_equal_the_kernel_with_redirects_on_several_filesystems() {
    let layout = mixed(Fs::Xfs, &[Fs::Ext4, Fs::Xfs]).options(&["redirect_dir=on"]);
    judge("dir redirects xfs over ext4", layout);
}

#[test]
fn directories_equal_the_kernel_with_metacopy() {
    judge(
        "dir metacopy",
        Layout::same(Fs::Ext4).options(&["metacopy=on"]),
    );
}

#[test]
fn directories_equal_the_kernel_with_metacopy_on_several_filesystems() {
    let layout = mixed(Fs::Btrfs, &[Fs::Xfs, Fs::Btrfs]).options(&["metacopy=on"]);
    judge("dir metacopy btrfs over xfs", layout);
}

/// Kernel, engine, kernel, ... on the same directories, against the kernel alone.
#[test]
fn directories_equal_the_kernel_for_ordinary_users() {
    if require_kernel() {
        as_user("directories_equal_the_kernel_for_ordinary_users", || {
            let mut campaign = engine("dir userxattr", Layout::same(Fs::Tmpfs), Profile::user());
            campaign.rules.left_without_handles = true;
            in_mount_namespace(|| campaign.run(DIRS));
        });
    }
}

/// The kernel against the engine in memory.
fn judge_memory(name: &'static str, options: &[&str]) {
    if require_kernel() {
        memory_campaign(name, options, Profile::root());
    }
}

fn memory_campaign(name: &'static str, options: &[&str], profile: Profile) {
    // Each layer in memory is a filesystem of its own.
    let layout = mixed(Fs::Ext4, &[Fs::Tmpfs]).options(options);
    let mut campaign = engine(name, layout, profile);
    campaign.rules = campaign.rules.origins_differ();
    campaign.rules.merged.inode_labels = false;
    campaign.rules.right_in_memory = true;
    in_mount_namespace(|| campaign.run(MEMORY));
}

#[test]
fn memory_equals_the_kernel() {
    judge_memory("memory", &[]);
}

#[test]
fn memory_equals_the_kernel_with_redirects() {
    judge_memory("memory redirects", &["redirect_dir=on"]);
}

#[test]
fn memory_equals_the_kernel_with_metacopy() {
    judge_memory("memory metacopy", &["metacopy=on"]);
}

/// The kernel against the engine on layers in which the checker finds nothing: what it finds later was
/// made by one of them, and there must be nothing.
fn tidy(name: &'static str, layout: Layout) {
    if require_fs(&layout.kinds()) {
        let mut campaign = engine(name, layout, Profile::root());
        campaign.tidy = true;
        in_mount_namespace(|| campaign.run(DIRS));
    }
}

#[test]
fn the_checker_is_silent_about_what_is_made() {
    tidy("tidy", Layout::same(Fs::Ext4));
}

#[test]
fn the_checker_is_silent_about_what_is_made_on_several_filesystems() {
    let layout = mixed(Fs::Xfs, &[Fs::Ext4, Fs::Btrfs, Fs::Tmpfs, Fs::Xfs]);
    let options = ["redirect_dir=on", "metacopy=on", "xino=on"];
    tidy("tidy xfs over others", layout.options(&options));
}

#[test]
fn the_checker_is_silent_about_what_an_index_makes() {
    let options = ["index=on", "redirect_dir=on", "metacopy=on"];
    tidy("tidy index", Layout::same(Fs::Ext4).options(&options));
}

#[test]
fn the_checker_is_silent_about_what_nfs_export_makes() {
    let layout = Layout::same(Fs::Ext4);
    tidy("tidy nfs_export", layout.options(&["nfs_export=on"]));
}

#[test]
fn the_checker_is_silent_about_what_ordinary_users_make() {
    if require_kernel() {
        as_user(
            "the_checker_is_silent_about_what_ordinary_users_make",
            || {
                let mut campaign = engine("tidy user", Layout::same(Fs::Tmpfs), Profile::user());
                campaign.rules.left_without_handles = true;
                campaign.tidy = true;
                in_mount_namespace(|| campaign.run(DIRS));
            },
        );
    }
}

/// The kernel twice, with options drawn for each case.
#[test]
fn the_checker_is_silent_about_what_all_options_make() {
    let profile = Profile::root().redirects(true);
    let mut campaign = Campaign::new("tidy options", Layout::same(Fs::Ext4), profile);
    campaign.matrix = true;
    campaign.tidy = true;
    run(campaign);
}

/// Callers of mixed users, groups and capabilities, one after the other on one tree.
#[test]
fn directories_equal_the_kernel_for_callers() {
    if require_kernel() {
        let profile = Profile::root().callers(true);
        let campaign = engine("dir callers", Layout::same(Fs::Ext4), profile);
        in_mount_namespace(|| campaign.run(DIRS));
    }
}

#[test]
fn memory_equals_the_kernel_for_callers() {
    if require_kernel() {
        let profile = Profile::root().callers(true);
        memory_campaign("memory callers", &[], profile);
    }
}

#[test]
fn kernel_equals_itself_for_callers() {
    let profile = Profile::root().callers(true);
    run(Campaign::new("callers", Layout::same(Fs::Ext4), profile));
}

fn run(campaign: Campaign) {
    if require_fs(&campaign.layout.kinds()) {
        in_mount_namespace(|| campaign.run(TWICE));
    }
}

#[test]
fn kernel_equals_itself_on_tmpfs() {
    run(Campaign::new(
        "tmpfs",
        Layout::same(Fs::Tmpfs),
        Profile::root(),
    ));
}

#[test]
fn kernel_equals_itself_on_ext4() {
    run(Campaign::new(
        "ext4",
        Layout::same(Fs::Ext4),
        Profile::root(),
    ));
}

#[test]
fn kernel_equals_itself_on_xfs_over_ext4() {
    let layout = mixed(Fs::Xfs, &[Fs::Ext4, Fs::Xfs]);
    run(Campaign::new("xfs over ext4", layout, Profile::root()));
}

/// How two systems take turns on one set of directories.
#[test]
fn kernel_equals_itself_handed_over() {
    let turns = |dirs: &Dirs, stack: &Rc<Stack>| {
        HandOver::open(dirs, stack, vec![KernelSystem::open, KernelSystem::open])
    };
    if require_kernel() {
        let campaign = Campaign::new("handed over", Layout::same(Fs::Ext4), Profile::root());
        let pair = Pair {
            left: &KernelSystem::open,
            right: &turns,
        };
        in_mount_namespace(|| campaign.run(pair));
    }
}

#[test]
fn kernel_equals_itself_on_btrfs() {
    run(Campaign::new(
        "btrfs",
        Layout::same(Fs::Btrfs),
        Profile::root(),
    ));
}

#[test]
fn kernel_equals_itself_with_all_features() {
    let profile = Profile::root().redirects(true);
    let layout = Layout::same(Fs::Ext4).options(&["index=on", "metacopy=on"]);
    run(Campaign::new("features", layout, profile));
}

#[test]
fn kernel_equals_itself_for_ordinary_users() {
    if require_kernel() {
        as_user("kernel_equals_itself_for_ordinary_users", || {
            let layout = Layout::same(Fs::Tmpfs);
            let campaign = Campaign::new("userxattr", layout, Profile::user());
            in_mount_namespace(|| campaign.run(TWICE));
        });
    }
}

/// A mount that stays where others are closed and opened again; only its files are closed.
struct Stays(Box<dyn System>);

impl System for Stays {
    fn index(&mut self) -> Vec<support::index::IndexEntry> {
        self.0.index()
    }

    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        self.0.apply(op)
    }
    fn merged(&mut self) -> TreeSnapshot {
        self.0.merged()
    }
    fn upper(&mut self) -> TreeSnapshot {
        self.0.upper()
    }
    fn remount(&mut self) -> Result<(), Errno> {
        for slot in 0..=u8::MAX {
            let _ = self.0.apply(&Op::HandleClose { slot });
        }
        Ok(())
    }
    fn rotate(&mut self) -> Result<(), Errno> {
        self.0.rotate()
    }
    fn check(self: Box<Self>) -> Report {
        self.0.check()
    }
}

/// What the kernel keeps in memory does not show.
#[test]
fn remounting_changes_nothing() {
    let stays = |dirs: &Dirs, stack: &Rc<Stack>| -> Result<Box<dyn System>, Errno> {
        Ok(Box::new(Stays(KernelSystem::open(dirs, stack)?)))
    };
    if require_kernel() {
        let campaign = Campaign::new("remount", Layout::same(Fs::Ext4), Profile::root());
        let pair = Pair {
            left: &KernelSystem::open,
            right: &stays,
        };
        in_mount_namespace(|| campaign.run(pair));
    }
}

/// Runs one case: what a failure prints is pasted here, or into a test of its own.
fn check(layout: Layout, case: &Case) {
    if require_kernel() {
        let mut campaign = Campaign::new("case", layout, Profile::root());
        campaign.rules.check_lowers = true;
        in_mount_namespace(|| campaign.run_case(case, TWICE));
    }
}

/// A case as failures print them.
#[test]
fn a_printed_case_runs() {
    let case = Case::new(
        vec![
            LayerSpec::new().with(
                "/a/f",
                NodeSpec::file(b"lower").mode(0o4755).xattr(b"user.a", b"1"),
            ),
            LayerSpec::new()
                .with(OsStr::from_bytes(b"/a/\xff"), NodeSpec::symlink(b"f"))
                .with("/a/g", NodeSpec::link_to("/a/h"))
                .with(
                    "/a/h",
                    NodeSpec::pieces(vec![Piece::Hole(4096), Piece::Fill(120, 5)]),
                ),
        ],
        Some(LayerSpec::new().with("/a/h", NodeSpec::whiteout())),
    )
    .options(&["index=on"])
    .ops(vec![
        Op::Rename {
            from: "/a/f".into(),
            to: OsStr::from_bytes(b"/a/\xff").into(),
            flags: RenameFlags::EXCHANGE,
        },
        Op::RemoveXattr {
            path: "/a/f".into(),
            follow: true,
            name: xattr(b"user.a").unwrap(),
        },
    ])
    .check(1, Check::Rotate);
    check(Layout::same(Fs::Ext4), &case);
}

/// The runner itself: a wrong system is found, and the case made small.
#[test]
fn differences_are_found() {
    if !require_kernel() {
        return;
    }
    for option in ["redirect_dir=on", "metacopy=on", "index=on"] {
        let wrong =
            |dirs: &Dirs, stack: &Rc<Stack>| KernelSystem::open_with(dirs, stack, &[option]);
        let campaign = Campaign::new("wrong", Layout::same(Fs::Ext4), Profile::root());
        let found = std::panic::catch_unwind(|| {
            in_mount_namespace(|| {
                campaign.run(Pair {
                    left: &KernelSystem::open,
                    right: &wrong,
                })
            });
        });
        let text = *found.expect_err(option).downcast::<String>().unwrap();
        assert!(text.contains("Case::new"), "{text}");
        assert!(text.matches("Op::").count() <= 4, "not small: {text}");
    }
}
