//! The laws of the design, each as a property: generated layers and operations, closed and opened
//! again and rotated in between, in memory and in directories, against the reference model and the
//! plain oracle.
//!
//! `LAWS_CASES=n` runs so many cases of each, `LAWS_SEED=n` starts with another one. A failure is made
//! small and printed as Rust source.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    dead_code,
    reason = "a test may fail by panicking; parts are shared with other tests"
)]

#[path = "laws/cases.rs"]
mod cases;
#[path = "laws/copy_up.rs"]
mod copy_up;
#[path = "laws/layers.rs"]
mod layers;
#[path = "laws/model.rs"]
mod model;
#[path = "laws/oracle.rs"]
mod oracle;
#[path = "mixes/stack.rs"]
mod stack;
mod support;
