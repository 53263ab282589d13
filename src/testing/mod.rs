//! Parts for testing layers, stacks and whatever is built on them (feature `testing`).
//!
//! - [`conformance`]: what any backend must do, one test per case and backend.
//! - [`snapshot`]: capture a tree (a directory, a mount point, a backend) and compare two of them.
//! - [`spec`]: layers as plain data, written to any target.
//! - [`case`]: lowers, an upper and operations together, printable as a regression test.
//! - [`strategy`]: generators with shrinking for all of these.
//! - [`fault`]: backends that fail on purpose.
//! - [`minimise()`]: make a failing case small.
//! - [`outcome`]: compare what came of one operation on two systems.
//! - [`merged`]: anything that behaves like a merged file system, as a small trait.
//! - [`model`]: a plain file system in memory that knows nothing of layers.
//! - [`oracle`]: what a stack of layers merges to, found out in the slow and plain way.
//! - [`mount_point`]: a real directory or mount point as one, by system calls.
//!
//! # Testing a backend of one's own
//!
//! A crate depends on this one with `features = ["testing"]` under `[dev-dependencies]`. What is only read needs one
//! function, from a tree to a layer that holds it (below it is `MemLayer` that is filled; an archive would be written
//! and opened). It gives the conformance suite, one test per case, and a union on the layer is compared with the
//! reference model under random operations:
//!
//! ```
//! use layerstack::XattrNamespace;
//! use layerstack::backend::memory::MemLayer;
//! use layerstack::testing::LayerSpec;
//! use layerstack::testing::conformance::Subject;
//! use layerstack::testing::merged::{Declared, ModelTest, union_over};
//!
//! /// A layer that holds `tree`: [`LayerSpec::effective`] lists its nodes.
//! fn layer(tree: &LayerSpec) -> MemLayer {
//!     let layer = MemLayer::new();
//!     tree.write_to_upper(&layer).unwrap();
//!     layer
//! }
//!
//! layerstack::reader_conformance!(reading, |tree: &LayerSpec| Subject::new(layer(tree)));
//!
//! // #[test]
//! fn a_union_on_it_is_the_model() {
//!     let test = ModelTest::new().declared(Declared::union(XattrNamespace::Trusted));
//!     # let test = test.cases(20);
//!     let run = test.run(&|tree: &LayerSpec| union_over(layer(tree), tree).unwrap());
//!     assert!(run.succeeded > 0);
//! }
//! # fn main() { a_union_on_it_is_the_model(); }
//! ```
//!
//! What the layer lacks it declares in its [`Capabilities`](crate::backend::Capabilities); the suite leaves that out and
//! prints it. What cannot hold whiteouts or any owner, say, is no worse a layer. A backend that can be written to
//! is tested by [`backend_conformance!`](crate::backend_conformance), with a function that makes an empty one;
//! [`Agreement::layered`](merged::Agreement::layered) closes, opens again and rotates between operations. The contract
//! is in [`backend`](crate::backend).

pub mod case;
pub mod conformance;
pub mod fault;
pub mod merged;
mod minimise;
pub mod model;
pub mod mount_point;
pub mod oracle;
pub mod outcome;
pub mod snapshot;
pub mod spec;
pub mod strategy;

pub use case::Case;
pub use fault::{Fault, FaultLayer, Faults};
pub use merged::MergedFs;
pub use minimise::minimise;
pub use model::{ReferenceModel, Weakenings};
pub use mount_point::MountPoint;
pub use snapshot::{Compare, SnapshotOptions, TreeSnapshot};
pub use spec::{LayerSpec, NodeKind, NodeSpec, Piece};
