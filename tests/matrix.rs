//! The running kernel over the matrix of mount options, against itself: what is compared is
//! deterministic under all of them. The environment variables of `tests/kernel.rs` apply.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

use layerstack::testing::strategy::Profile;
use support::fs::{Fs, require_fs};
use support::namespace::in_mount_namespace;
use support::runner::{Campaign, Pair};
use support::system::{KernelSystem, Layout};

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
