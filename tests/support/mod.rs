//! Shared by the tests that need the running kernel: namespaces, filesystems from loop files,
//! overlay mounts, operations by system calls.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    unreachable_pub,
    missing_docs,
    reason = "test code may fail by panicking"
)]

pub mod checker;
pub mod child;
pub mod freedoms;
pub mod fs;
pub mod index;
pub mod matrix;
pub mod mount;
pub mod namespace;
pub mod options;
pub mod ours;
pub mod runner;
pub mod system;
