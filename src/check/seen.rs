//! What is only known once the whole tree has been seen: who shares an origin, who is redirected
//! where, which lower names of an indexed file show.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::context::ObjectKey;
use crate::backend::NodeRef;
use crate::error::LayerId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) directories: u64,
    pub(super) entries: u64,
    /// Upper files by the lower file that they record as origin, where the kernel takes both for one
    /// inode.
    pub(super) origins: HashMap<ObjectKey, OriginUser>,
    /// Directories by the lower directory that they are redirected to.
    pub(super) redirects: HashMap<ObjectKey, RedirectUser>,
    /// The paths of all redirected directories.
    pub(super) redirected: HashSet<PathBuf>,
    /// The paths of directories that a mount refuses to look up.
    pub(super) refused: HashSet<PathBuf>,
    /// Lower objects that the index has entries for.
    pub(super) indexed: HashMap<ObjectKey, IndexedLower>,
    /// Inode numbers of index entries that lost their names.
    pub(super) lost_entries: HashSet<u64>,
    /// Inode numbers of indexed files that lost the origin which their entries still tell.
    pub(super) without_origin: HashSet<u64>,
    /// Upper inode numbers by the origin that an index entry stands for.
    pub(super) index_inodes: HashMap<Vec<u8>, u64>,
}

/// An upper file with an origin.
#[derive(Debug)]
pub(super) struct OriginUser {
    /// Its inode number in the upper.
    pub(super) ino: u64,
    pub(super) path: PathBuf,
    pub(super) node: NodeRef,
    /// Of a metadata-only copy, the lower file that holds its data.
    pub(super) data: Option<(LayerId, NodeRef)>,
    /// The index has an entry for it, which is the same file and says what its origin is.
    pub(super) indexed: bool,
}

/// A redirected directory.
#[derive(Debug)]
pub(super) struct RedirectUser {
    pub(super) path: PathBuf,
    /// The upper directory that bears the redirect; `None` if a lower one does.
    pub(super) upper: Option<NodeRef>,
}

/// A lower object with an index entry.
#[derive(Debug, Default)]
pub(super) struct IndexedLower {
    /// Names in the merged tree that show the lower object itself.
    pub(super) visible: u64,
    /// Inode numbers of the upper objects in the tree that a lookup takes for its copies: files that
    /// record it, directories that merge with it.
    pub(super) copies: HashSet<u64>,
}
