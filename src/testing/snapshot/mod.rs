//! Capture trees and compare them, as `mtree` does.
//!
//! A [`TreeSnapshot`] holds one [`Entry`] per path, in the order of the paths' bytes. It is taken
//! from a real directory or mount point ([`TreeSnapshot::of_dir`]) or from anything that implements
//! [`LayerBackend`](crate::backend::LayerBackend) ([`TreeSnapshot::of_backend`]), and [`TreeSnapshot::diff`] tells in
//! what two of them differ, as far as [`Compare`] asks.
//!
//! # Two ways to look
//!
//! - **merged** ([`SnapshotOptions::merged`]): what a user of the tree sees. All extended
//!   attributes are plain attributes; there are no whiteouts.
//! - **layer** ([`SnapshotOptions::layer`]): what a layer stores. Whiteouts of both forms are
//!   entries of their own, overlay attributes of the given namespace are told apart from others.
//!
//! # Freedoms
//!
//! What [`Compare::upper`] does not ask for when two upper layers are compared, and why:
//!
//! 1. A whiteout is compared by its presence and form, not by inode, link count, mode, owner or
//!    times: the kernel shares one inode between whiteouts of `unlink` and `rmdir` (rules R075, R076).
//! 2. `overlay.uuid` is random (rule R037): ignored.
//! 3. `overlay.origin` names an inode of a lower layer. Equal bytes are asked for, as two stacks
//!    under comparison share their lowers; [`OriginCompare::Presence`] is for those that do not.
//! 4. Times at or after the start of the run are all "now": their class is compared, not their
//!    value. `ctime`, birth time and `atime` are not compared.
//! 5. Sizes of directories, allocated blocks and inode numbers depend on the filesystem: not
//!    compared. Which names share an inode is compared.
//! 6. Holes: not compared unless asked for, since copy-up in the kernel copies in chunks of
//!    1 MiB (rule R229) and filesystems differ in what they call a hole.
//!
//! `impure`, `opaque`, `redirect`, `nlink`, `metacopy`, `protattr`, `upper` and all other
//! attributes are compared as raw bytes.

mod backend;
pub(in crate::testing) mod content;
mod diff;
mod real;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::backend::WhiteoutForm;
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, Metadata, Timestamp};
use crate::xattr_name::{OverlayAttr, XattrName, XattrNamespace};

pub(in crate::testing) use diff::is_now;
pub use diff::{Compare, Difference, OriginCompare, TimeCompare};
pub use real::stat_at;

/// How a tree is captured.
#[derive(Clone, Debug)]
pub struct SnapshotOptions {
    /// `Some`: look at a layer that keeps its overlay attributes there; `None`: at a merged tree.
    pub namespace: Option<XattrNamespace>,
    /// Read the content of files.
    pub content: bool,
    /// Keep the content of files up to this many bytes, so that a difference can show it; longer
    /// content is kept as a hash.
    pub inline_bytes_max: u64,
    /// When the run under test started. Times at or after it are "now" to
    /// [`TimeCompare::SinceStart`].
    pub started: Option<Timestamp>,
}

impl SnapshotOptions {
    /// A tree as its users see it.
    #[must_use]
    pub const fn merged() -> Self {
        SnapshotOptions {
            namespace: None,
            content: true,
            inline_bytes_max: 256,
            started: None,
        }
    }

    /// A layer, with whiteouts and with overlay attributes in `namespace`.
    #[must_use]
    pub const fn layer(namespace: XattrNamespace) -> Self {
        let mut options = SnapshotOptions::merged();
        options.namespace = Some(namespace);
        options
    }

    /// Sets [`started`](Self::started).
    #[must_use]
    pub const fn started(mut self, at: Timestamp) -> Self {
        self.started = Some(at);
        self
    }

    /// Sets [`content`](Self::content).
    #[must_use]
    pub const fn content(mut self, on: bool) -> Self {
        self.content = on;
        self
    }
}

/// What one path of a tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A node.
    Node(Box<NodeSnapshot>),
    /// A whiteout (only when looking at a layer).
    Whiteout(WhiteoutForm),
    /// The name is listed, but looking it up fails (rules R079, R109).
    Failed(Errno),
}

/// Everything about one node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeSnapshot {
    /// Its attributes.
    pub meta: Metadata,
    /// Target of a symlink.
    pub target: Option<Vec<u8>>,
    /// Extended attributes; without those in [`overlay`](Self::overlay).
    pub xattrs: BTreeMap<XattrName, Vec<u8>>,
    /// Overlay attributes (only when looking at a layer).
    pub overlay: BTreeMap<OverlayAttr, Vec<u8>>,
    /// Content of a regular file, if it was asked for.
    pub content: Option<Content>,
    /// The type that the parent's listing gives; `None` if it gives none.
    pub listed_type: Option<FileType>,
    /// The inode number that the parent's listing gives; `None` for the root.
    pub listed_ino: Option<u64>,
    /// Why content, attributes or entries could not be read, by what was tried.
    pub errors: BTreeMap<&'static str, Errno>,
    /// A name for the inode, given by [`TreeSnapshot::label_inodes`].
    pub inode_label: Option<String>,
}

/// Content of a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Content {
    /// Bytes that reading gives (a metacopy file's size may differ, rule R176).
    pub len: u64,
    /// Hash of the bytes; equal for equal content, however its holes lie.
    pub hash: u128,
    /// The bytes, if there are few.
    pub bytes: Option<Vec<u8>>,
    /// Where data are; the rest is holes. In steps of 4096 bytes, merged and ascending.
    pub data: Vec<Range<u64>>,
}

impl Content {
    /// Content that is known as a whole. Up to `inline_max` bytes are kept, as
    /// [`SnapshotOptions::inline_bytes_max`] says; blocks of zeros count as holes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8], inline_max: u64) -> Self {
        content::of_bytes(bytes, inline_max)
    }
}

/// A captured tree.
#[derive(Clone, Debug, Default)]
pub struct TreeSnapshot {
    entries: BTreeMap<PathBuf, Entry>,
    started: Option<Timestamp>,
}

impl TreeSnapshot {
    /// All entries by path; `/` is the root.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<PathBuf, Entry> {
        &self.entries
    }

    /// The entry at `path`; absolute within the tree.
    #[must_use]
    pub fn get(&self, path: impl AsRef<Path>) -> Option<&Entry> {
        self.entries.get(path.as_ref())
    }

    /// The node at `path`, if there is one.
    #[must_use]
    pub fn node(&self, path: impl AsRef<Path>) -> Option<&NodeSnapshot> {
        match self.get(path) {
            Some(Entry::Node(node)) => Some(node),
            _ => None,
        }
    }

    /// Paths that are names of one inode, by device and inode number; only where there are two or
    /// more.
    #[must_use]
    pub fn link_groups(&self) -> BTreeMap<(DeviceId, u64), Vec<&Path>> {
        let mut groups: BTreeMap<_, Vec<&Path>> = BTreeMap::new();
        for (path, entry) in &self.entries {
            if let Entry::Node(node) = entry {
                groups
                    .entry((node.meta.dev, node.meta.ino))
                    .or_default()
                    .push(path);
            }
        }
        groups.retain(|_, paths| paths.len() > 1);
        groups
    }

    /// Names the inodes of this tree after the layers they come from, so that inode numbers can be
    /// compared between two stacks: `lower[0]:/a` for an inode number that the first of `layers`
    /// has at `/a` first, `new` for all others. Only useful where all layers are on one filesystem.
    pub fn label_inodes(&mut self, layers: &[(&str, &TreeSnapshot)]) {
        let mut known: BTreeMap<u64, String> = BTreeMap::new();
        for (label, layer) in layers {
            for (path, entry) in &layer.entries {
                if let Entry::Node(node) = entry {
                    known
                        .entry(node.meta.ino)
                        .or_insert_with(|| format!("{label}:{}", crate::display_path(path)));
                }
            }
        }
        for entry in self.entries.values_mut() {
            if let Entry::Node(node) = entry {
                let label = known.get(&node.meta.ino).cloned();
                node.inode_label = Some(label.unwrap_or_else(|| String::from("new")));
            }
        }
    }

    /// A tree without entries, to be filled by [`TreeSnapshot::insert`]: for what is neither a real
    /// directory nor a backend.
    #[must_use]
    pub fn new(options: &SnapshotOptions) -> Self {
        TreeSnapshot {
            entries: BTreeMap::new(),
            started: options.started,
        }
    }

    /// Puts `entry` at `path`, absolute within the tree; `/` is the root.
    pub fn insert(&mut self, path: impl Into<PathBuf>, entry: Entry) {
        self.entries.insert(path.into(), entry);
    }
}

impl NodeSnapshot {
    /// A node with these attributes and nothing else.
    #[must_use]
    pub fn new(meta: Metadata) -> Self {
        NodeSnapshot {
            meta,
            target: None,
            xattrs: BTreeMap::new(),
            overlay: BTreeMap::new(),
            content: None,
            listed_type: None,
            listed_ino: None,
            errors: BTreeMap::new(),
            inode_label: None,
        }
    }

    /// Keeps a value, or why it is missing.
    fn keep<T>(&mut self, what: &'static str, got: Result<T, Errno>) -> Option<T> {
        match got {
            Ok(value) => Some(value),
            Err(errno) => {
                self.errors.insert(what, errno);
                None
            }
        }
    }
}

/// The overlay attribute that `name` is in `namespace`, if it is one of those that overlayfs knows.
fn overlay_attr(name: &[u8], namespace: XattrNamespace) -> Option<OverlayAttr> {
    let suffix = name.strip_prefix(namespace.prefix().as_bytes())?;
    OverlayAttr::ALL
        .into_iter()
        .find(|attr| attr.suffix().as_bytes() == suffix)
}
