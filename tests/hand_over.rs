//! One upper in turns: the kernel, the engine, the kernel, ... on the same directories, against the kernel
//! alone. What the engine wrote is taken over without a complaint in the kernel's log, which is why this is a
//! program of its own with one test: the log is the whole machine's. (What others provoke does not come again when
//! the same is done again.)
//!
//! The environment variables of `tests/kernel.rs` apply.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod support;

#[path = "check/kmsg.rs"]
#[allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]
mod kmsg;

use std::rc::Rc;
use std::time::Duration;

use layerstack::testing::strategy::Profile;
use support::fs::{Fs, require_fs};
use support::namespace::in_mount_namespace;
use support::ours::DirSystem;
use support::runner::{Campaign, Pair, rand_seed};
use support::system::{Dirs, HandOver, KernelSystem, Layout, Stack};

const OPTIONS: [&[&str]; 8] = [
    &[],
    &["redirect_dir=on"],
    &["metacopy=on"],
    &["index=on"],
    &["nfs_export=on"],
    &["xino=on"],
    &["index=on", "metacopy=on", "xino=on"],
    &["redirect_dir=on", "index=on", "uuid=on"],
];

#[test]
fn uppers_are_handed_over_without_a_complaint() {
    let layout = Layout {
        lowers: vec![Fs::Ext4, Fs::Xfs],
        ..Layout::same(Fs::Ext4)
    };
    if !require_fs(&layout.kinds()) {
        return;
    }
    for options in OPTIONS {
        for layout in [Layout::same(Fs::Ext4), layout.clone()] {
            let seed = rand_seed();
            println!("{options:?}: seed {seed}");
            kmsg::quiet(|| hand_over(layout.clone().options(options), seed));
        }
    }
}

fn hand_over(layout: Layout, seed: u64) {
    let turns = |dirs: &Dirs, stack: &Rc<Stack>| {
        HandOver::open(dirs, stack, vec![KernelSystem::open, DirSystem::open])
    };
    let mut campaign = Campaign::new("handed over", layout, Profile::root());
    // The same each time, so that a complaint comes again.
    campaign.seed = Some(seed);
    campaign.cases = campaign.time.as_secs() * 5;
    campaign.time = Duration::MAX;
    campaign.rules = campaign.rules.kernel_against_engine();
    campaign.rules.check_lowers = true;
    // Every other turn is the kernel's, whose listed numbers may be stale.
    campaign.rules.merged.listed_inodes = false;
    let pair = Pair {
        left: &KernelSystem::open,
        right: &turns,
    };
    in_mount_namespace(|| campaign.run(pair));
}
