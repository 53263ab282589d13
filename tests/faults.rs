//! What becomes of an operation when a call of a backend fails, is torn, or is the last one before a
//! crash: a catalogue of situations, each with every fault at every call.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may fail by panicking"
)]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/child.rs"]
mod child;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/layer.rs"]
mod layer;
#[path = "faults/opening.rs"]
mod opening;
#[path = "rules/ops.rs"]
#[allow(dead_code, reason = "shared with the tests of the rules")]
mod ops;
#[path = "faults/run.rs"]
mod run;
#[path = "faults/situation.rs"]
mod situation;
#[path = "faults/situations/mod.rs"]
mod situations;
#[path = "faults/trial.rs"]
mod trial;
