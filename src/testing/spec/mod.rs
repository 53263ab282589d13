//! Layers as plain data.
//!
//! A [`LayerSpec`] tells what one layer holds, and can be written to a real directory
//! ([`LayerSpec::write_to_dir`]) or through the backend trait ([`LayerSpec::write_to_upper`]) with the same
//! result. Every list of nodes is a valid layer, so that shrinking may remove any of them: missing
//! parents are directories with default attributes, nodes below something that is not a directory
//! are left out, and so are hard links to nothing.
//!
//! ```
//! use layerstack::testing::spec::{LayerSpec, NodeSpec};
//! let layer = LayerSpec::new()
//!     .with("/dir", NodeSpec::dir().opaque(b"y").mode(0o700))
//!     .with("/dir/file", NodeSpec::file(b"data").owner(1, 2).xattr("user.a", b"1"))
//!     .with("/dir/gone", NodeSpec::whiteout());
//! assert_eq!(layer.effective().len(), 4, "the root too");
//! ```

mod of_snapshot;
mod to_dir;
mod to_rust;
mod to_upper;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

pub(in crate::testing) use to_rust::{bytes as rust_bytes, path as rust_path};

use crate::backend::WhiteoutForm;
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, Timestamp};
use crate::path::Name;
use crate::xattr_name::{OverlayAttr, XattrName};

/// Modification and access time of a node that is not told another.
pub const DEFAULT_TIME: Timestamp = Timestamp::new(1_000_000_000, 123_456_789);

/// One layer.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct LayerSpec {
    nodes: BTreeMap<PathBuf, NodeSpec>,
}

/// One node of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Type, and what belongs to it.
    pub kind: NodeKind,
    /// Permission bits (`0o7777`); ignored for symlinks, whiteouts and hard links.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time; the access time is the same.
    pub mtime: Timestamp,
    /// Extended attributes as they are stored.
    pub xattrs: BTreeMap<XattrName, Vec<u8>>,
    /// Overlay attributes, stored in the layer's namespace.
    pub overlay: BTreeMap<OverlayAttr, Vec<u8>>,
}

/// Type of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file, piece by piece.
    File(Vec<Piece>),
    /// A directory.
    Directory,
    /// A symlink.
    Symlink(Vec<u8>),
    /// A fifo.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice(DeviceId),
    /// A block device.
    BlockDevice(DeviceId),
    /// A whiteout.
    Whiteout(WhiteoutForm),
    /// Another name of the node at this path of the same layer, which must not be a directory, a
    /// whiteout or a hard link itself. All other fields are ignored.
    HardLink(PathBuf),
}

/// One piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// One byte, many times.
    Fill(u8, u32),
    /// A hole of so many bytes.
    Hole(u32),
}

impl Piece {
    /// How long it is, in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Fill(_, len) | Piece::Hole(len) => u64::from(*len),
        }
    }

    /// True if it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl NodeSpec {
    /// A node of `kind` with default attributes: `0755` for directories, else `0644`.
    #[must_use]
    pub fn new(kind: NodeKind) -> Self {
        let mode = match kind {
            NodeKind::Directory => 0o755,
            _ => 0o644,
        };
        NodeSpec {
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: DEFAULT_TIME,
            xattrs: BTreeMap::new(),
            overlay: BTreeMap::new(),
        }
    }

    /// A regular file with these bytes.
    #[must_use]
    pub fn file(bytes: impl AsRef<[u8]>) -> Self {
        match bytes.as_ref() {
            b"" => NodeSpec::pieces(Vec::new()),
            bytes => NodeSpec::pieces(vec![Piece::Bytes(bytes.to_vec())]),
        }
    }

    /// A regular file of these pieces.
    #[must_use]
    pub fn pieces(pieces: Vec<Piece>) -> Self {
        NodeSpec::new(NodeKind::File(pieces))
    }

    /// An empty directory.
    #[must_use]
    pub fn dir() -> Self {
        NodeSpec::new(NodeKind::Directory)
    }

    /// A symlink.
    #[must_use]
    pub fn symlink(target: impl AsRef<[u8]>) -> Self {
        NodeSpec::new(NodeKind::Symlink(target.as_ref().to_vec()))
    }

    /// A whiteout, as overlayfs makes them.
    #[must_use]
    pub fn whiteout() -> Self {
        NodeSpec::new(NodeKind::Whiteout(WhiteoutForm::CharDevice))
    }

    /// A whiteout in the form of a file with an attribute.
    #[must_use]
    pub fn xattr_whiteout() -> Self {
        NodeSpec::new(NodeKind::Whiteout(WhiteoutForm::Xattr))
    }

    /// Another name of `path`.
    #[must_use]
    pub fn link_to(path: impl Into<PathBuf>) -> Self {
        NodeSpec::new(NodeKind::HardLink(path.into()))
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode & 0o7777;
        self
    }

    /// Sets owner and group.
    #[must_use]
    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// Sets modification and access time.
    #[must_use]
    pub fn mtime(mut self, secs: i64, nanos: u32) -> Self {
        self.mtime = Timestamp::new(secs, nanos);
        self
    }

    /// Sets an extended attribute; a name that cannot be one is ignored.
    #[must_use]
    pub fn xattr(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        if let Ok(name) = XattrName::new(name) {
            self.xattrs.insert(name, value.as_ref().to_vec());
        }
        self
    }

    /// Sets an overlay attribute.
    #[must_use]
    pub fn overlay(mut self, attr: OverlayAttr, value: impl AsRef<[u8]>) -> Self {
        self.overlay.insert(attr, value.as_ref().to_vec());
        self
    }

    /// Sets the overlay attribute `opaque`.
    #[must_use]
    pub fn opaque(self, value: impl AsRef<[u8]>) -> Self {
        self.overlay(OverlayAttr::Opaque, value)
    }

    /// The type of the node when written; `None` for whiteouts and hard links.
    #[must_use]
    pub fn file_type(&self) -> Option<FileType> {
        Some(match self.kind {
            NodeKind::File(_) => FileType::Regular,
            NodeKind::Directory => FileType::Directory,
            NodeKind::Symlink(_) => FileType::Symlink,
            NodeKind::Fifo => FileType::Fifo,
            NodeKind::Socket => FileType::Socket,
            NodeKind::CharDevice(_) => FileType::CharDevice,
            NodeKind::BlockDevice(_) => FileType::BlockDevice,
            NodeKind::Whiteout(_) | NodeKind::HardLink(_) => return None,
        })
    }
}

impl LayerSpec {
    /// A layer with nothing but a root directory.
    #[must_use]
    pub fn new() -> Self {
        LayerSpec::default()
    }

    /// The same layer with `node` at `path` (replacing what was there).
    #[must_use]
    pub fn with(mut self, path: impl AsRef<Path>, node: NodeSpec) -> Self {
        self.insert(path, node);
        self
    }

    /// Puts `node` at `path` (replacing what was there). `/` is the root, which stays a directory
    /// whatever `node` says.
    pub fn insert(&mut self, path: impl AsRef<Path>, node: NodeSpec) {
        let path = Path::new("/").join(path);
        self.nodes.insert(path, node);
    }

    /// The same layer without what was given for `path` and below it.
    #[must_use]
    pub fn without(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        self.nodes.retain(|p, _| !p.starts_with(path));
        self
    }

    /// The nodes as they were given.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<PathBuf, NodeSpec> {
        &self.nodes
    }

    /// The nodes as they will be written, parents before children: root and missing parents
    /// included, impossible nodes left out, symlinks with the mode `0o777` that they show.
    #[must_use]
    pub fn effective(&self) -> BTreeMap<PathBuf, NodeSpec> {
        let root = match self.nodes.get(Path::new("/")) {
            Some(node) if node.kind == NodeKind::Directory => node.clone(),
            _ => NodeSpec::dir(),
        };
        let mut all = BTreeMap::from([(PathBuf::from("/"), root)]);
        for (path, node) in &self.nodes {
            let valid = |c| matches!(c, Component::RootDir | Component::Normal(_));
            if path == Path::new("/") || !path.components().all(valid) {
                continue;
            }
            if make_parents(&mut all, path) {
                let mut node = node.clone();
                if matches!(node.kind, NodeKind::Symlink(_)) {
                    node.mode = 0o777;
                }
                all.insert(path.clone(), node);
            }
        }
        let linkable = |path: &PathBuf| {
            let kind = all.get(path).map(|node| &node.kind);
            kind.is_some_and(|kind| {
                !matches!(
                    kind,
                    NodeKind::Directory | NodeKind::Whiteout(_) | NodeKind::HardLink(_)
                )
            })
        };
        let dead: Vec<PathBuf> = all
            .iter()
            .filter(|(_, node)| matches!(&node.kind, NodeKind::HardLink(to) if !linkable(to)))
            .map(|(path, _)| path.clone())
            .collect();
        for path in dead {
            all.remove(&path);
        }
        all
    }
}

/// Adds the missing parents of `path`; false if one of them is not a directory.
fn make_parents(all: &mut BTreeMap<PathBuf, NodeSpec>, path: &Path) -> bool {
    let mut missing = Vec::new();
    for parent in path.ancestors().skip(1) {
        match all.get(parent) {
            Some(node) if node.kind == NodeKind::Directory => break,
            Some(_) => return false,
            None => missing.push(parent.to_path_buf()),
        }
    }
    for parent in missing {
        all.insert(parent, NodeSpec::dir());
    }
    true
}

/// Parent and name of a path that is not the root.
fn split(path: &Path) -> Result<(&Path, Name), Errno> {
    let parent = path.parent().ok_or(Errno::EINVAL)?;
    let name = path.file_name().ok_or(Errno::EINVAL)?;
    Ok((parent, Name::try_from(name)?))
}
