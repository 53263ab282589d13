//! Real input: a Debian tree, and what the kernel's overlay makes of it when packages are installed
//! and removed, a repository is checked out, a program is compiled.
//!
//! What is downloaded is kept in the target directory. Without a kernel to ask or a mirror to
//! download from the tests are skipped, unless `REQUIRE_KERNEL=1`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may fail by panicking"
)]

#[path = "real_trees/comparing.rs"]
mod comparing;
#[path = "real_trees/packages.rs"]
mod packages;
#[allow(dead_code, reason = "shared with another test")]
#[path = "real_trees/site.rs"]
mod site;
mod support;
#[path = "real_trees/working.rs"]
mod working;
