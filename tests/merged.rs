//! The conformance suite for merged file systems, on everything that is one: the model, unions of
//! four mixes, a real directory, a mount of the kernel's overlayfs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    dead_code,
    reason = "a test may fail by panicking; parts are shared with other tests"
)]

#[path = "merged/kernel.rs"]
mod kernel;
#[path = "mixes/stack.rs"]
mod stack;
mod support;
#[path = "merged/unions.rs"]
mod unions;

use layerstack::testing::merged::cases::{Declared, Factory};
use layerstack::testing::{LayerSpec, MergedFs, ReferenceModel, Weakenings};
use layerstack::{XattrNamespace, merged_conformance};

use kernel::{Kernel, PlainDirectory};
use stack::Kind;
use unions::Union;

merged_conformance!(model, |tree: &LayerSpec| ReferenceModel::from_spec(tree)
    .unwrap());

/// The model of a union whose lowers hold the tree.
struct WeakModel(Weakenings);

impl Factory for WeakModel {
    fn make(&self, tree: &LayerSpec) -> Box<dyn MergedFs> {
        Box::new(ReferenceModel::given(tree).unwrap().weakenings(self.0))
    }

    fn declared(&self) -> Declared {
        Declared::weaker(self.0)
    }
}

const NAMESPACE: XattrNamespace = XattrNamespace::Trusted;

merged_conformance!(
    model_of_a_union,
    WeakModel(Weakenings::posix_profile(NAMESPACE))
);
merged_conformance!(
    model_by_default,
    WeakModel(Weakenings::default_options(NAMESPACE))
);

merged_conformance!(memory, Union::new(Kind::Memory, Kind::Memory));
merged_conformance!(
    memory_over_directories,
    Union::new(Kind::Directory, Kind::Memory)
);
merged_conformance!(
    directories_over_memory,
    Union::new(Kind::Memory, Kind::Directory)
);
merged_conformance!(directories, Union::new(Kind::Directory, Kind::Directory));
merged_conformance!(
    with_redirects,
    Union::new(Kind::Memory, Kind::Memory).redirects()
);

merged_conformance!(plain_directory, PlainDirectory);
merged_conformance!(kernel_overlay, Kernel::by_default());
merged_conformance!(kernel_overlay_posix, Kernel::posix_profile());
