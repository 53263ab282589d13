//! Bad input: each is a typed error that names operation, path and layer, and nothing is changed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may fail by panicking"
)]

#[path = "bad_input/contents.rs"]
mod contents;
#[path = "bad_input/layers.rs"]
mod layers;
#[path = "bad_input/paths.rs"]
mod paths;
#[path = "bad_input/place.rs"]
mod place;
mod support;
#[path = "bad_input/using.rs"]
mod using;
