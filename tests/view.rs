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
use layerstack::{Errno, LayerStack, display_path};

fn layer(label: &str) -> MemLayerBuilder {
    MemLayer::builder().label(label)
}

/// A stack of these layers, topmost first.
fn stack(layers: impl IntoIterator<Item = MemLayerBuilder>) -> LayerStack {
    LayerStack::from_top(layers.into_iter().map(|l| l.build().unwrap())).unwrap()
}

/// Every path of the tree with its type's letter and, of files, the size. What is listed but not
/// there (rules R072, R079) is left out.
fn tree(stack: &LayerStack) -> Vec<String> {
    stack
        .walk("/")
        .sort(true)
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let meta = match entry.metadata() {
                Err(e) if e.errno() == Errno::ENOENT => return None,
                meta => meta.unwrap(),
            };
            let (letter, path) = (meta.file_type.letter(), display_path(entry.path()));
            Some(match meta.is_file() {
                true => format!("{letter}{path} {}", meta.size),
                false => format!("{letter}{path}"),
            })
        })
        .collect()
}
