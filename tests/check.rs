//! The checker: a fixture for each kind of finding, made by hand or by the kernel, found, repaired,
//! found no more, with the same view before and after, and mounted by the kernel without a warning.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod support;

#[path = "check/attributes.rs"]
mod attributes;
#[path = "check/export.rs"]
mod export;
#[path = "check/hints.rs"]
mod hints;
#[path = "check/hostile.rs"]
mod hostile;
#[path = "check/index.rs"]
mod index;
#[path = "check/kmsg.rs"]
mod kmsg;
#[path = "check/limits.rs"]
mod limits;
#[path = "check/random.rs"]
mod random;
#[path = "check/redirects.rs"]
mod redirects;
#[path = "check/scene.rs"]
mod scene;
#[path = "check/seals.rs"]
mod seals;
#[path = "check/speed.rs"]
mod speed;
#[path = "check/whiteouts.rs"]
mod whiteouts;
#[path = "check/work.rs"]
mod work;
