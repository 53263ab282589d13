//! Generated operations, by system calls on the kernel's mount and on ours.

use std::rc::Rc;

use layerstack::testing::strategy::Profile;

use crate::support::fs::Fs;
use crate::support::namespace::in_mount_namespace;
use crate::support::runner::{Campaign, Pair};
use crate::support::system::{Dirs, HandOver, KernelSystem, Layout, Stack};
use crate::system::{FuseSystem, require_fuse};

const MOUNTS: Pair<'static> = Pair {
    left: &KernelSystem::open,
    right: &FuseSystem::open,
};

fn campaign(name: &'static str, layout: Layout, profile: Profile) -> Campaign {
    let mut campaign = Campaign::new(name, layout, profile);
    campaign.rules = campaign.rules.kernel_against_engine();
    campaign.rules.check_lowers = true;
    campaign.rules.right_is_fuse = true;
    campaign
}

fn judge(name: &'static str, layout: Layout) {
    judge_as(name, layout, Profile::root());
}

fn judge_as(name: &'static str, layout: Layout, profile: Profile) {
    if require_fuse(&layout.kinds()) {
        in_mount_namespace(|| campaign(name, layout, profile).run(MOUNTS));
    }
}

fn xfs_over_ext4() -> Layout {
    Layout {
        upper: Fs::Xfs,
        lowers: vec![Fs::Ext4, Fs::Xfs],
        options: Vec::new(),
    }
}

#[test]
fn mounts_equal_the_kernel_on_ext4() {
    judge("fuse ext4", Layout::same(Fs::Ext4));
}

#[test]
fn mounts_equal_the_kernel_on_tmpfs() {
    judge("fuse tmpfs", Layout::same(Fs::Tmpfs));
}

#[test]
fn mounts_equal_the_kernel_on_xfs_over_ext4() {
    judge("fuse xfs over ext4", xfs_over_ext4());
}

#[test]
fn mounts_equal_the_kernel_with_redirects() {
    let layout = Layout::same(Fs::Ext4).options(&["redirect_dir=on"]);
    judge("fuse redirects", layout);
}

#[test]
fn mounts_equal_the_kernel_with_metacopy() {
    let layout = Layout::same(Fs::Ext4).options(&["metacopy=on"]);
    judge("fuse metacopy", layout);
}

#[test]
fn mounts_equal_the_kernel_with_an_index() {
    let layout = Layout::same(Fs::Ext4).options(&["index=on"]);
    judge("fuse index", layout);
}

#[test]
fn mounts_equal_the_kernel_with_nfs_export() {
    let layout = Layout::same(Fs::Ext4).options(&["nfs_export=on"]);
    judge("fuse nfs_export", layout);
}

#[test]
fn mounts_equal_the_kernel_with_xino() {
    judge("fuse xino", xfs_over_ext4().options(&["xino=on"]));
}

#[test]
fn mounts_equal_the_kernel_with_user_attributes() {
    let layout = Layout::same(Fs::Ext4);
    if require_fuse(&layout.kinds()) {
        let mut campaign = campaign("fuse userxattr", layout, Profile::user());
        // A symlink has no attributes in `user.`, so the kernel does not know the origin of one.
        campaign.rules.left_without_handles = true;
        in_mount_namespace(|| campaign.run(MOUNTS));
    }
}

/// Every mix of options, `volatile` among them.
#[test]
fn mounts_equal_the_kernel_under_all_options() {
    let layout = Layout::same(Fs::Ext4);
    if require_fuse(&layout.kinds()) {
        let mut campaign = campaign("fuse matrix", layout, Profile::root());
        campaign.matrix = true;
        in_mount_namespace(|| campaign.run(MOUNTS));
    }
}

/// Callers of mixed users, groups and capabilities, one after the other on one tree; inode flags.
#[test]
fn mounts_equal_the_kernel_for_callers() {
    let profile = Profile::root().callers(true);
    judge_as("fuse callers", Layout::same(Fs::Ext4), profile);
}

/// Kernel, mount, kernel, ... on the same directories, against the kernel alone.
#[test]
fn mounts_are_handed_over() {
    let turns = |dirs: &Dirs, stack: &Rc<Stack>| {
        HandOver::open(dirs, stack, vec![KernelSystem::open, FuseSystem::open])
    };
    let layout = Layout::same(Fs::Ext4).options(&["redirect_dir=on", "metacopy=on"]);
    if require_fuse(&layout.kinds()) {
        let mut campaign = campaign("fuse handed over", layout, Profile::root());
        // Every other turn is the kernel's, whose listed numbers may be stale.
        campaign.rules.merged.listed_inodes = false;
        let pair = Pair {
            left: &KernelSystem::open,
            right: &turns,
        };
        in_mount_namespace(|| campaign.run(pair));
    }
}
