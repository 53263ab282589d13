//! Many threads on one union. Nothing depends on time: threads meet at channels, and the one deadline
//! only turns a deadlock into a failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may fail by panicking"
)]

#[path = "concurrency/copying.rs"]
mod copying;
#[path = "concurrency/histories.rs"]
mod histories;
#[path = "concurrency/names.rs"]
mod names;
#[path = "concurrency/random.rs"]
mod random;
#[path = "concurrency/stage.rs"]
mod stage;
mod support;
