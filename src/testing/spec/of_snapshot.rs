//! A captured layer as a specification again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{LayerSpec, NodeKind, NodeSpec};
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType};
use crate::testing::snapshot::{Entry, NodeSnapshot, TreeSnapshot};

impl LayerSpec {
    /// The layer that was captured with [`SnapshotOptions::layer`](crate::testing::SnapshotOptions::layer),
    /// so that it can be merged by the [oracle](crate::testing::oracle) or written elsewhere. Holes are lost.
    ///
    /// # Errors
    /// `EINVAL`: something could not be read, or content was not kept
    /// ([`inline_bytes_max`](crate::testing::SnapshotOptions::inline_bytes_max)).
    pub fn of_snapshot(tree: &TreeSnapshot) -> Result<Self, Errno> {
        let mut layer = LayerSpec::new();
        let mut names: BTreeMap<(DeviceId, u64), PathBuf> = BTreeMap::new();
        for (path, entry) in tree.entries() {
            let node = match entry {
                Entry::Whiteout(form) => NodeSpec::new(NodeKind::Whiteout(*form)),
                Entry::Failed(_) => return Err(Errno::EINVAL),
                Entry::Node(node) => {
                    let inode = (node.meta.dev, node.meta.ino);
                    match names.get(&inode) {
                        Some(first) if !node.meta.is_dir() => NodeSpec::link_to(first),
                        _ => {
                            names.insert(inode, path.clone());
                            spec(node)?
                        }
                    }
                }
            };
            layer.insert(path, node);
        }
        Ok(layer)
    }
}

fn spec(node: &NodeSnapshot) -> Result<NodeSpec, Errno> {
    let meta = &node.meta;
    if !node.errors.is_empty() {
        return Err(Errno::EINVAL);
    }
    let spec = match meta.file_type {
        FileType::Directory => NodeSpec::dir(),
        FileType::Regular => {
            let content = node.content.as_ref().and_then(|c| c.bytes.as_ref());
            NodeSpec::file(content.ok_or(Errno::EINVAL)?)
        }
        FileType::Symlink => NodeSpec::symlink(node.target.as_ref().ok_or(Errno::EINVAL)?),
        FileType::Fifo => NodeSpec::new(NodeKind::Fifo),
        FileType::Socket => NodeSpec::new(NodeKind::Socket),
        FileType::CharDevice => NodeSpec::new(NodeKind::CharDevice(meta.rdev)),
        FileType::BlockDevice => NodeSpec::new(NodeKind::BlockDevice(meta.rdev)),
    };
    let mut spec = spec
        .mode(meta.mode)
        .owner(meta.uid, meta.gid)
        .mtime(meta.mtime.secs, meta.mtime.nanos);
    spec.xattrs = node.xattrs.clone();
    spec.overlay = node.overlay.clone();
    Ok(spec)
}
