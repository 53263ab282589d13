//! The merged tree, and what it shows of each node.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::layer::Raw;
use super::lookup::Found;
use super::{Place, Stack};
use crate::errno::Errno;
use crate::meta::{FileType, Metadata};
use crate::testing::snapshot::{Content, Entry, NodeSnapshot, SnapshotOptions, TreeSnapshot};
use crate::testing::spec::{NodeKind, NodeSpec, Piece};
use crate::xattr_name::{XattrName, XattrNamespace};

/// A merged tree by path; `/` is the root.
#[derive(Clone, Debug, Default)]
pub struct MergedTree {
    entries: BTreeMap<PathBuf, MergedEntry>,
}

/// What a name of the merged tree stands for.
#[derive(Clone, Debug)]
pub enum MergedEntry {
    /// A node.
    Node(Box<MergedNode>),
    /// The name is listed, and looking it up fails.
    Failed(Errno),
}

/// One node of the merged tree.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MergedNode {
    /// Type and attributes, extended ones by the names that the union shows; no overlay attributes.
    /// Never a whiteout or a hard link.
    pub node: NodeSpec,
    /// Content of a regular file, or why it cannot be read.
    pub data: Result<Vec<Piece>, Errno>,
    /// Which inode it is: number of the layer, topmost first, and its first path there.
    pub inode: (usize, PathBuf),
    /// Names of that inode in its layer; not kept for directories.
    pub nlink: u64,
    /// Something of it lies in a lower layer.
    pub lower: bool,
    /// The type that the directory's listing tells; `None` for the root.
    pub listed_type: Option<FileType>,
}

impl MergedTree {
    /// All entries by path.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<PathBuf, MergedEntry> {
        &self.entries
    }

    pub(super) fn insert(&mut self, path: PathBuf, entry: MergedEntry) {
        self.entries.insert(path, entry);
    }

    /// The tree as a capture of the union would have it. Inode numbers tell which names are one inode,
    /// and nothing else.
    #[must_use]
    pub fn snapshot(&self, options: &SnapshotOptions) -> TreeSnapshot {
        let mut inodes = BTreeMap::new();
        let mut tree = TreeSnapshot::new(options);
        for (path, entry) in &self.entries {
            let entry = match entry {
                MergedEntry::Failed(errno) => Entry::Failed(*errno),
                MergedEntry::Node(node) => {
                    let next = inodes.len() as u64 + 1;
                    let ino = *inodes.entry(node.inode.clone()).or_insert(next);
                    Entry::Node(Box::new(node.snapshot(ino, options)))
                }
            };
            tree.insert(path.clone(), entry);
        }
        tree
    }
}

impl MergedNode {
    fn snapshot(&self, ino: u64, options: &SnapshotOptions) -> NodeSnapshot {
        let spec = &self.node;
        let file_type = spec.file_type().unwrap_or(FileType::Regular);
        let mode = if file_type.is_symlink() {
            0o777
        } else {
            spec.mode
        };
        let mut meta = Metadata::new(file_type, mode);
        (meta.uid, meta.gid) = (spec.uid, spec.gid);
        (meta.mtime, meta.atime) = (spec.mtime, spec.mtime);
        (meta.nlink, meta.ino) = (self.nlink, ino);
        let mut node = NodeSnapshot::new(meta);
        node.listed_type = self.listed_type;
        node.listed_ino = self.listed_type.map(|_| ino);
        node.xattrs = spec.xattrs.clone();
        match &spec.kind {
            NodeKind::File(pieces) => {
                node.meta.size = pieces.iter().map(Piece::len).sum();
                match &self.data {
                    _ if !options.content => {}
                    Ok(data) => {
                        let bytes = bytes_of(data);
                        node.content = Some(Content::of_bytes(&bytes, options.inline_bytes_max));
                    }
                    Err(errno) => {
                        node.errors.insert("content", *errno);
                    }
                }
            }
            NodeKind::Symlink(target) => {
                node.meta.size = target.len() as u64;
                node.target = Some(target.clone());
            }
            NodeKind::CharDevice(device) | NodeKind::BlockDevice(device) => {
                node.meta.rdev = *device;
            }
            _ => {}
        }
        node
    }
}

fn bytes_of(pieces: &[Piece]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => out.extend_from_slice(bytes),
            Piece::Fill(byte, len) => out.resize(out.len() + *len as usize, *byte),
            Piece::Hole(len) => out.resize(out.len() + *len as usize, 0),
        }
    }
    out
}

/// What the union shows of something found: the topmost place gives everything but data.
pub(super) fn node(
    stack: &Stack,
    found: &Found,
    listed_type: Option<FileType>,
) -> Option<MergedNode> {
    let top = found.places.first()?;
    let spec = stack.raw(top).node()?;
    let data = match &found.data_only {
        Some(path) => in_data_layers(stack, path),
        None => found
            .places
            .last()
            .map_or(Err(Errno::EIO), |last| pieces(stack.raw(last))),
    };
    let lower = |place: &Place| !stack.is_upper(place.0);
    let layer = &stack.layers[top.0];
    Some(MergedNode {
        node: NodeSpec {
            xattrs: shown_xattrs(spec, stack.namespace),
            overlay: BTreeMap::new(),
            ..spec.clone()
        },
        data,
        inode: (top.0, layer.first_name(&top.1).to_path_buf()),
        nlink: layer.link_count(&top.1),
        lower: match found.is_dir {
            true => found.places.iter().any(lower),
            false => lower(top),
        },
        listed_type,
    })
}

fn pieces(raw: Raw<'_>) -> Result<Vec<Piece>, Errno> {
    match raw.node().map(|node| &node.kind) {
        Some(NodeKind::File(pieces)) => Ok(pieces.clone()),
        _ => Ok(Vec::new()),
    }
}

/// The first data-only layer in which the path leads to a regular file, by no symlink and not above
/// the root, gives the data; its marks mean nothing there (rules R185, R186).
fn in_data_layers(stack: &Stack, path: &Path) -> Result<Vec<Piece>, Errno> {
    'layers: for layer in &stack.data {
        let mut at = PathBuf::from("/");
        for component in path.components() {
            match component {
                Component::RootDir => at = PathBuf::from("/"),
                Component::CurDir => {}
                Component::ParentDir if !at.pop() => continue 'layers,
                Component::ParentDir => {}
                Component::Normal(name) if layer.is_plain_dir(&at) => at.push(name),
                _ => continue 'layers,
            }
        }
        if let Some(pieces) = layer.plain_file(&at) {
            return Ok(pieces);
        }
    }
    Err(Errno::ENOENT)
}

/// Extended attributes by the names that a union shows: its own are hidden, escaped ones lose one
/// `overlay.` (rules R277 to R279).
fn shown_xattrs(spec: &NodeSpec, namespace: XattrNamespace) -> BTreeMap<XattrName, Vec<u8>> {
    let prefix = namespace.prefix().as_bytes();
    let mut shown = BTreeMap::new();
    for (name, value) in &spec.xattrs {
        let name = match name.as_bytes().strip_prefix(prefix) {
            None => name.clone(),
            Some(rest) => match rest.strip_prefix(b"overlay.") {
                None => continue,
                Some(rest) => match XattrName::new([prefix, rest].concat()) {
                    Ok(name) => name,
                    Err(_) => continue,
                },
            },
        };
        shown.insert(name, value.clone());
    }
    shown
}
