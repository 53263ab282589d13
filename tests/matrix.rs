//! The running kernel as judge over the matrix of mount options.
//!
//! As `tests/kernel.rs`, with random options for each case: those that the kernel refuses together must
//! be refused here, under all others outcomes, merged trees and upper layers are compared. The same
//! environment variables apply.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use std::rc::Rc;

use layerstack::testing::strategy::Profile;
use support::fs::{Fs, require_fs};
use support::namespace::{as_user, in_mount_namespace, require_kernel};
use support::ours::{DirSystem, MemSystem};
use support::runner::{Campaign, Pair};
use support::system::{Dirs, HandOver, KernelSystem, Layout, Stack};

/// The kernel and the engine on real directories.
const DIRS: Pair<'static> = Pair {
    left: &KernelSystem::open,
    right: &DirSystem::open,
};

fn campaign(name: &'static str, layout: Layout, profile: Profile) -> Campaign {
    let mut campaign = Campaign::new(name, layout, profile);
    campaign.matrix = true;
    campaign.rules = campaign.rules.kernel_against_engine();
    campaign.rules.check_lowers = true;
    campaign
}

fn judge(name: &'static str, layout: Layout, profile: Profile) {
    if require_fs(&layout.kinds()) {
        in_mount_namespace(|| campaign(name, layout, profile).run(DIRS));
    }
}

#[test]
fn kernel_equals_itself_under_all_options() {
    let layout = Layout::same(Fs::Ext4);
    if require_fs(&layout.kinds()) {
        let twice = Pair {
            left: &KernelSystem::open,
            right: &KernelSystem::open,
        };
        let mut campaign = Campaign::new("matrix kernel", layout, Profile::root().redirects(true));
        campaign.matrix = true;
        in_mount_namespace(|| campaign.run(twice));
    }
}

#[test]
fn directories_equal_the_kernel_under_all_options() {
    judge("matrix ext4", Layout::same(Fs::Ext4), Profile::root());
}

#[test]
fn directories_with_redirects_equal_the_kernel_under_all_options() {
    let profile = Profile::root().redirects(true);
    judge("matrix ext4 redirects", Layout::same(Fs::Ext4), profile);
}

#[test]
fn directories_on_tmpfs_equal_the_kernel_under_all_options() {
    let profile = Profile::root().redirects(true);
    judge("matrix tmpfs", Layout::same(Fs::Tmpfs), profile);
}

#[test]
fn directories_on_several_filesystems_equal_the_kernel_under_all_options() {
    let layout = Layout {
        lowers: vec![Fs::Ext4, Fs::Xfs],
        ..Layout::same(Fs::Xfs)
    };
    let profile = Profile::root().redirects(true);
    judge("matrix xfs over ext4", layout, profile);
}

/// Kernel, engine, kernel, ... on the same directories, against the kernel alone.
#[test]
fn directories_are_handed_over_under_all_options() {
    let turns = |dirs: &Dirs, stack: &Rc<Stack>| {
        HandOver::open(dirs, stack, vec![KernelSystem::open, DirSystem::open])
    };
    if require_kernel() {
        let profile = Profile::root().redirects(true);
        let mut campaign = campaign("matrix handed over", Layout::same(Fs::Ext4), profile);
        // Every other turn is the kernel's, whose listed numbers may be stale.
        campaign.rules.merged.listed_inodes = false;
        let pair = Pair {
            left: &KernelSystem::open,
            right: &turns,
        };
        in_mount_namespace(|| campaign.run(pair));
    }
}

#[test]
fn directories_of_ordinary_users_equal_the_kernel_under_all_options() {
    let name = "directories_of_ordinary_users_equal_the_kernel_under_all_options";
    if require_kernel() {
        as_user(name, || {
            let layout = Layout::same(Fs::Tmpfs);
            let mut campaign = campaign("matrix userxattr", layout, Profile::user());
            campaign.rules.left_without_handles = true;
            in_mount_namespace(|| campaign.run(DIRS));
        });
    }
}

#[test]
fn memory_equals_the_kernel_under_all_options() {
    if require_kernel() {
        // Each layer in memory is a filesystem of its own.
        let layout = Layout {
            lowers: vec![Fs::Tmpfs, Fs::Xfs, Fs::Btrfs],
            ..Layout::same(Fs::Ext4)
        };
        let mut campaign = campaign("matrix memory", layout, Profile::root().redirects(true));
        campaign.rules = campaign.rules.origins_differ();
        campaign.rules.merged.inode_labels = false;
        campaign.rules.right_in_memory = true;
        campaign.distinct_lowers = true;
        let pair = Pair {
            left: &KernelSystem::open,
            right: &MemSystem::open,
        };
        in_mount_namespace(|| campaign.run(pair));
    }
}
