//! What the fuzz targets check, each a function of bytes that panics where something is wrong. The tests
//! of the crate run the same functions (`tests/fuzzed.rs`), on the inputs that once failed and on some
//! made of random bytes.

pub mod input;
pub mod mount_options;
pub mod ops_directory;
pub mod ops_memory;
pub mod ops_model;
pub mod paths;
pub mod stack;
