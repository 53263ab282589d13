//! Real programs on a mount of feature `fuse`: packages, repositories, builds, archives, databases.
//!
//! Each test serves real directories from a process of its own, lets programs work on the mount, and
//! unmounts; then the kernel's overlay, mounted on the same directories, must show the same tree and
//! say nothing in its log.
//!
//! Needs root and `/dev/fuse`; a test without what it needs says so and is skipped, unless
//! `REQUIRE_KERNEL=1`. `PROGRAMS_LONG=n` makes the work `n` times longer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may fail by panicking"
)]

#[path = "programs/data.rs"]
mod data;
#[path = "programs/debian.rs"]
mod debian;
#[path = "programs/developers.rs"]
mod developers;
#[path = "programs/helper.rs"]
mod helper;
#[path = "programs/killed.rs"]
mod killed;
#[path = "programs/many.rs"]
mod many;
#[path = "programs/pairs.rs"]
mod pairs;
#[path = "programs/served.rs"]
mod served;
#[allow(dead_code, reason = "shared with another test")]
#[path = "real_trees/site.rs"]
mod site;
mod support;
#[path = "programs/users.rs"]
mod users;
