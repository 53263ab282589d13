//! Unions mounted through `/dev/fuse`: the same semantics under system calls and real programs.
//!
//! Needs root (each test has a mount namespace of its own) and `/dev/fuse`; skipped with the reason
//! otherwise. `REQUIRE_KERNEL=1` turns skipping into failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test may fail by panicking"
)]

mod support;

#[path = "fuse/differential.rs"]
mod differential;
#[path = "fuse/system.rs"]
mod system;
#[path = "fuse/unmounting.rs"]
mod unmounting;
