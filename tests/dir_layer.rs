//! `DirLayer` on real directories: containment, descriptors, identity of nodes, the rules for work
//! directories, exact creation.
//!
//! Cases that need root say so and are skipped for others; cases that need an ordinary user run
//! themselves again as one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    reason = "tests"
)]

#[path = "dir_layer/common.rs"]
mod common;
#[path = "dir_layer/containment.rs"]
mod containment;
#[path = "dir_layer/creation.rs"]
mod creation;
#[path = "dir_layer/descriptors.rs"]
mod descriptors;
#[path = "dir_layer/files.rs"]
mod files;
#[path = "dir_layer/identity.rs"]
mod identity;
#[path = "dir_layer/kernel.rs"]
mod kernel;
#[path = "dir_layer/opening.rs"]
mod opening;
#[path = "dir_layer/user.rs"]
mod user;
