//! Parts for testing layers, stacks and whatever is built on them (feature `testing`).
//!
//! - [`conformance`]: what any backend must do, one test per case and backend.
//! - [`snapshot`]: capture a tree (a directory, a mount point, a backend) and compare two of them.
//! - [`spec`]: layers as plain data, written to any target.
//! - [`case`]: lowers, an upper and operations together, printable as a regression test.
//! - [`strategy`]: generators with shrinking for all of these.
//! - [`minimise()`]: make a failing case small.
//! - [`outcome`]: compare what came of one operation on two systems.
//! - [`merged`]: anything that behaves like a merged file system, as a small trait.
//! - [`mount_point`]: a real directory or mount point as one, by system calls.

pub mod case;
pub mod conformance;
pub mod merged;
mod minimise;
pub mod mount_point;
pub mod outcome;
pub mod snapshot;
pub mod spec;
pub mod strategy;

pub use case::Case;
pub use merged::MergedFs;
pub use minimise::minimise;
pub use mount_point::MountPoint;
pub use snapshot::{Compare, SnapshotOptions, TreeSnapshot};
pub use spec::{LayerSpec, NodeKind, NodeSpec};
