//! Generated operations, by system calls on the kernel's mount and on ours.

use layerstack::testing::strategy::Profile;

use crate::support::fs::Fs;
use crate::support::namespace::in_mount_namespace;
use crate::support::runner::{Campaign, Pair};
use crate::support::system::{KernelSystem, Layout};
use crate::system::{FuseSystem, require_fuse};

const MOUNTS: Pair<'static> = Pair {
    left: &KernelSystem::open,
    right: &FuseSystem::open,
};

fn judge(name: &'static str, layout: Layout) {
    if require_fuse(&layout.kinds()) {
        let mut campaign = Campaign::new(name, layout, Profile::root());
        campaign.rules = campaign.rules.kernel_against_engine();
        campaign.rules.check_lowers = true;
        campaign.rules.right_is_fuse = true;
        in_mount_namespace(|| campaign.run(MOUNTS));
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
    let layout = Layout {
        upper: Fs::Xfs,
        lowers: vec![Fs::Ext4, Fs::Xfs],
        options: Vec::new(),
    };
    judge("fuse xfs over ext4", layout);
}
