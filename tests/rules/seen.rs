//! What one system shows of a stack.

use std::path::{Path, PathBuf};

use layerstack::backend::WhiteoutForm;
use layerstack::testing::TreeSnapshot;
use layerstack::testing::snapshot::{Content, Entry, NodeSnapshot};
use layerstack::{OverlayAttr, display_path};

use crate::support::index::IndexEntry;

/// What one system shows.
pub(crate) struct Seen {
    /// `memory`, `kernel` or `directories`.
    pub(crate) system: &'static str,
    pub(crate) upper: TreeSnapshot,
    pub(crate) index: Vec<IndexEntry>,
    pub(crate) merged: TreeSnapshot,
}

/// One line per entry but the root: type letter (`w`: whiteout, `W`: whiteout by attribute, `!`:
/// listed, but not found) and path, in path order.
pub(crate) fn lines_of(tree: &TreeSnapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, entry) in tree.entries() {
        if path == Path::new("/") {
            continue;
        }
        let letter = match entry {
            Entry::Node(node) => node.meta.file_type.letter(),
            Entry::Whiteout(WhiteoutForm::CharDevice) => 'w',
            Entry::Whiteout(WhiteoutForm::Xattr) => 'W',
            Entry::Failed(_) => '!',
        };
        lines.push(format!("{letter} {}", display_path(path)));
    }
    lines
}

impl Seen {
    /// The node in the upper layer.
    pub(crate) fn up(&self, path: &str) -> &NodeSnapshot {
        let node = self.upper.node(path);
        node.unwrap_or_else(|| panic!("no {path} in upper: {:?}", lines_of(&self.upper)))
    }

    /// The node in the merged tree.
    pub(crate) fn node(&self, path: &str) -> &NodeSnapshot {
        let node = self.merged.node(path);
        node.unwrap_or_else(|| panic!("no {path}: {:?}", lines_of(&self.merged)))
    }

    /// An overlay attribute in the upper layer.
    pub(crate) fn attr(&self, path: &str, attr: OverlayAttr) -> Option<&[u8]> {
        self.up(path).overlay.get(&attr).map(Vec::as_slice)
    }

    /// Paths in the upper layer that have an overlay attribute, the root too.
    pub(crate) fn having(&self, attr: OverlayAttr) -> Vec<PathBuf> {
        let with = |(path, entry): (&PathBuf, &Entry)| match entry {
            Entry::Node(node) if node.overlay.contains_key(&attr) => Some(path.clone()),
            _ => None,
        };
        self.upper.entries().iter().filter_map(with).collect()
    }

    /// All bytes of a file in the upper layer.
    pub(crate) fn content(&self, path: &str) -> &[u8] {
        bytes(self.up(path))
    }

    /// True where opening or remounting is the crate's.
    pub(crate) fn is_kernel(&self) -> bool {
        self.system == "kernel"
    }
}

/// The bytes of a small file.
pub(crate) fn bytes(node: &NodeSnapshot) -> &[u8] {
    let content: &Content = node.content.as_ref().expect("content");
    content.bytes.as_deref().expect("few bytes")
}
