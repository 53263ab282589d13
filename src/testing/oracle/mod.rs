//! What a stack of layers merges to, found out in the slow and plain way.
//!
//! [`merge`] is a pure function from layers as data to the tree that a union of them shows: no cache,
//! no lock, no backend, every name looked up from the root of every layer again. It is written from
//! the documentation of overlayfs and from trying (the rule ids are those of `docs/semantics.md`), shares no
//! code with the rest of the crate but the vocabulary, and is compared with the crate and with the kernel.
//!
//! Layers count as lying on several filesystems: the one thing that depends on it are names that
//! cannot be looked up in a directory marked impure (rule R110).
//!
//! ```
//! use layerstack::testing::oracle::{MergeOptions, merge};
//! use layerstack::testing::{LayerSpec, NodeSpec};
//! let top = LayerSpec::new().with("/d", NodeSpec::dir().opaque("y")).with("/x", NodeSpec::whiteout());
//! let base = LayerSpec::new().with("/d/below", NodeSpec::file("1")).with("/x/y", NodeSpec::dir());
//! let tree = merge(&[top, base], None, &MergeOptions::default());
//! let paths: Vec<_> = tree.entries().keys().collect();
//! assert_eq!(paths, [std::path::Path::new("/"), std::path::Path::new("/d")]);
//! ```
#![allow(
    clippy::indexing_slicing,
    reason = "places only name layers and nodes that are there"
)]

mod layer;
mod lookup;
mod quirks;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::meta::FileType;
use crate::path::{Name, join};
use crate::testing::spec::LayerSpec;
use crate::xattr_name::{OverlayAttr, XattrNamespace};

use layer::{Layer, Raw};
use lookup::Found;
pub use quirks::without_quirks;
pub use tree::{MergedEntry, MergedNode, MergedTree};

/// How the layers are merged; the defaults are those of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergeOptions {
    /// Where the layers keep overlay attributes.
    pub namespace: XattrNamespace,
    /// `redirect_dir` other than `nofollow`. With [`XattrNamespace::User`] redirects are never followed.
    pub follow_redirects: bool,
    /// `metacopy=on`.
    pub metacopy: bool,
    /// Layers that only give data, topmost first.
    pub data_only: Vec<LayerSpec>,
}

impl Default for MergeOptions {
    fn default() -> Self {
        MergeOptions {
            namespace: XattrNamespace::Trusted,
            follow_redirects: true,
            metacopy: false,
            data_only: Vec::new(),
        }
    }
}

/// A node of a layer: number of the layer, topmost first, and path in it.
type Place = (usize, PathBuf);

/// The layers of a union.
struct Stack {
    layers: Vec<Layer>,
    data: Vec<Layer>,
    /// The first of `layers` is an upper.
    has_upper: bool,
    follow: bool,
    metacopy: bool,
    namespace: XattrNamespace,
}

impl Stack {
    fn raw(&self, place: &Place) -> Raw<'_> {
        self.layers[place.0].raw(&place.1)
    }

    fn is_upper(&self, layer: usize) -> bool {
        self.has_upper && layer == 0
    }

    /// What an overlay attribute of a node is, if it is set.
    fn overlay(&self, place: &Place, attr: OverlayAttr) -> Option<&[u8]> {
        self.raw(place)
            .node()?
            .overlay
            .get(&attr)
            .map(Vec::as_slice)
    }
}

/// The tree that a union of `lowers` (topmost first) below `upper` shows.
#[must_use]
pub fn merge(
    lowers: &[LayerSpec],
    upper: Option<&LayerSpec>,
    options: &MergeOptions,
) -> MergedTree {
    let stack = Stack {
        layers: upper.into_iter().chain(lowers).map(Layer::new).collect(),
        data: options.data_only.iter().map(Layer::new).collect(),
        has_upper: upper.is_some(),
        follow: options.follow_redirects && options.namespace == XattrNamespace::Trusted,
        metacopy: options.metacopy,
        namespace: options.namespace,
    };
    let root: Vec<Place> = (0..stack.layers.len())
        .map(|i| (i, PathBuf::from("/")))
        .collect();
    let mut tree = MergedTree::default();
    let mut todo = Vec::new();
    if let Some(node) = tree::node(&stack, &Found::dir(root.clone()), None) {
        tree.insert(PathBuf::from("/"), MergedEntry::Node(Box::new(node)));
        todo.push((PathBuf::from("/"), root));
    }
    while let Some((path, places)) = todo.pop() {
        for (name, listed) in list(&stack, &places, path == Path::new("/")) {
            let path = join(&path, &name);
            let entry = match lookup::lookup(&stack, &places, &name) {
                Ok(Some(found)) => {
                    if found.is_dir {
                        todo.push((path.clone(), found.places.clone()));
                    }
                    tree::node(&stack, &found, Some(listed)).map(|n| MergedEntry::Node(Box::new(n)))
                }
                Ok(None) => Some(MergedEntry::Failed(crate::errno::Errno::ENOENT)),
                Err(errno) => Some(MergedEntry::Failed(errno)),
            };
            if let Some(entry) = entry {
                tree.insert(path, entry);
            }
        }
    }
    tree
}

/// The names that a directory shows, with the types that it tells (rules R072, R079, R080, R095 to
/// R099).
fn list(stack: &Stack, places: &[Place], is_root: bool) -> BTreeMap<Name, FileType> {
    let Some(top) = places.first() else {
        return BTreeMap::new();
    };
    let marked = stack.overlay(top, OverlayAttr::Origin).is_some();
    if places.len() == 1 && !is_root && !marked {
        return stack.layers[top.0].children(&top.1).into_iter().collect();
    }
    // Whiteouts in the form of a file are known where a lower that is not the bottom marks it.
    let in_marked = |place: &Place| {
        !stack.is_upper(place.0)
            && place.0 + 1 < stack.layers.len()
            && stack.overlay(place, OverlayAttr::Opaque) == Some(b"x")
    };
    let dir_is_marked = places.iter().any(in_marked);
    let mut shown = BTreeMap::new();
    let mut hidden = BTreeSet::new();
    for place in places {
        let marked = dir_is_marked && stack.layer_is_marked(place.0);
        for (name, file_type) in stack.layers[place.0].children(&place.1) {
            if shown.contains_key(&name) || hidden.contains(&name) {
                continue;
            }
            let is_whiteout = match stack.layers[place.0].raw(&join(&place.1, &name)) {
                Raw::Whiteout(crate::backend::WhiteoutForm::CharDevice) => true,
                Raw::Whiteout(crate::backend::WhiteoutForm::Xattr) => marked,
                _ => false,
            };
            match is_whiteout {
                true => drop(hidden.insert(name)),
                false => drop(shown.insert(name, file_type)),
            }
        }
    }
    shown
}

impl Stack {
    /// Some directory of a lower that is not the bottom is marked as holding whiteouts in the form
    /// of files (rule R073).
    fn layer_is_marked(&self, layer: usize) -> bool {
        !self.is_upper(layer)
            && layer + 1 < self.layers.len()
            && self.layers[layer].has_marked_directory()
    }
}
