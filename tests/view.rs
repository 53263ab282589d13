//! Looking at stacks from outside: walks, explanations, nesting, copies of layers.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

#[path = "view/copying.rs"]
mod copying;
#[path = "view/explaining.rs"]
mod explaining;
#[path = "view/nesting.rs"]
mod nesting;
#[path = "view/walking.rs"]
mod walking;

use layerstack::backend::memory::{MemLayer, MemLayerBuilder};
use layerstack::{LayerStack, display_path};

fn layer(label: &str) -> MemLayerBuilder {
    MemLayer::builder().label(label)
}

/// A stack of these layers, topmost first.
fn stack(layers: impl IntoIterator<Item = MemLayerBuilder>) -> LayerStack {
    LayerStack::from_top(layers.into_iter().map(|l| l.build().unwrap())).unwrap()
}

/// Every path of the tree with its type's letter, layer and, of files, content size.
fn tree(stack: &LayerStack) -> Vec<String> {
    stack
        .walk("/")
        .sort(true)
        .map(|entry| {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let path = display_path(entry.path());
            match meta.is_file() {
                true => format!("{}{path} {}", meta.file_type.letter(), meta.size),
                false => format!("{}{path}", meta.file_type.letter()),
            }
        })
        .collect()
}
