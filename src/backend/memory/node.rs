//! Nodes: reading one inode.

use std::any::Any;
use std::sync::Arc;

use super::Shared;
use super::file::MemFile;
use super::handles::Pin;
use super::state::{Content, Inode, State};
use crate::backend::{
    Access, Entry, FileHandle, LayerFile, LayerNode, NodeRef, RawEntry, Result, WhiteoutForm,
};
use crate::errno::Errno;
use crate::meta::{FileType, InodeFlags, Metadata};
use crate::path::Name;
use crate::xattr_name::{OverlayAttr, XattrName};

/// The `fid_type` of this backend's file handles.
pub(super) const HANDLE_KIND: u8 = 1;

/// A handle to one inode of a layer.
#[derive(Debug)]
pub(super) struct MemNode {
    pub(super) pin: Pin,
}

impl MemNode {
    /// Looks a name up; a whiteout by attribute is one if `marks` say so.
    fn find(&self, name: &Name, marks: bool) -> Result<Option<Entry>> {
        self.with(|state, dir| {
            let shared = &self.pin.shared;
            let Some(inode) = named(state, dir, name)? else {
                return Ok(None);
            };
            Ok(Some(
                match inode.whiteout(shared.attr(OverlayAttr::Whiteout)) {
                    Some(form) if marks || form == WhiteoutForm::CharDevice => {
                        Entry::Whiteout(form)
                    }
                    _ => Entry::Node(MemNode::make(shared, inode), shared.metadata(inode)),
                },
            ))
        })
    }

    /// A handle to `inode`; the caller holds the layer's lock.
    pub(super) fn make(shared: &Arc<Shared>, inode: &Inode) -> NodeRef {
        Arc::new(MemNode {
            pin: Pin::new(shared, inode.meta.ino, inode.meta.nlink),
        })
    }

    /// The inode number behind `node`.
    ///
    /// # Errors
    /// `EXDEV`: the node is not of the layer `shared`.
    pub(super) fn ino_of(node: &NodeRef, shared: &Arc<Shared>) -> Result<u64> {
        let node: &dyn Any = &**node;
        match node.downcast_ref::<MemNode>() {
            Some(node) if Arc::ptr_eq(&node.pin.shared, shared) => Ok(node.pin.ino),
            _ => Err(Errno::EXDEV.into()),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&State, &Inode) -> Result<T>) -> Result<T> {
        let state = self.pin.shared.read();
        let inode = state.inode(self.pin.ino)?;
        f(&state, inode)
    }
}

/// The file handle of an inode: its number and the layer that made it. A clone of a layer knows
/// the handles that were given before it was made.
pub(super) fn handle_of(inode: &Inode) -> FileHandle {
    let mut bytes = inode.meta.ino.to_le_bytes().to_vec();
    bytes.extend_from_slice(&inode.generation.to_le_bytes());
    FileHandle {
        kind: HANDLE_KIND,
        bytes,
    }
}

/// Inode number and generation in a file handle; `None` if it is not one of this backend.
pub(super) fn parse_handle(handle: &FileHandle) -> Option<(u64, u64)> {
    let (ino, rest) = handle.bytes.split_first_chunk::<8>()?;
    let generation = <[u8; 8]>::try_from(rest).ok()?;
    (handle.kind == HANDLE_KIND).then(|| (u64::from_le_bytes(*ino), u64::from_le_bytes(generation)))
}

/// What has a name in a directory.
fn named<'a>(state: &'a State, dir: &Inode, name: &Name) -> Result<Option<&'a Inode>> {
    let Content::Directory(dir) = &dir.content else {
        return Err(Errno::ENOTDIR.into());
    };
    let found = dir.entries.get(name);
    found.map(|found| state.inode(found.ino)).transpose()
}

impl LayerNode for MemNode {
    fn flags(&self) -> Result<InodeFlags> {
        self.with(|_, inode| Ok(inode.flags))
    }

    fn metadata(&self) -> Result<Metadata> {
        self.with(|_, inode| Ok(self.pin.shared.metadata(inode)))
    }

    fn lookup(&self, name: &Name) -> Result<Option<Entry>> {
        self.find(name, true)
    }

    fn plain(&self, name: &Name) -> Result<Option<Metadata>> {
        self.with(|state, dir| {
            let shared = &self.pin.shared;
            let Some(inode) = named(state, dir, name)? else {
                return Ok(None);
            };
            let has = |attr| inode.xattrs.contains_key(shared.attr(attr));
            let is_plain = !inode.meta.is_dir()
                && inode.whiteout(shared.attr(OverlayAttr::Whiteout)).is_none()
                && !(inode.meta.is_file() && has(OverlayAttr::Metacopy));
            Ok(is_plain.then(|| shared.metadata(inode)))
        })
    }

    fn lookup_plain(&self, name: &Name) -> Result<Option<Entry>> {
        self.find(name, false)
    }

    fn list(&self) -> Result<Vec<RawEntry>> {
        self.with(|state, _| {
            let dir = state.dir(self.pin.ino)?;
            let entries = dir.entries.iter().map(|(name, entry)| RawEntry {
                name: name.clone(),
                file_type: Some(entry.file_type),
                ino: entry.ino,
            });
            Ok(entries.collect())
        })
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        self.with(|_, inode| match &inode.content {
            Content::Symlink(target) => Ok(target.to_vec()),
            _ => Err(Errno::EINVAL.into()),
        })
    }

    fn xattr(&self, name: &XattrName) -> Result<Option<Vec<u8>>> {
        self.with(|_, inode| Ok(inode.xattrs.get(name).map(|value| value.to_vec())))
    }

    fn xattrs(&self) -> Result<Vec<XattrName>> {
        self.with(|_, inode| Ok(inode.xattrs.keys().cloned().collect()))
    }

    fn overlay_attr(&self, attr: OverlayAttr) -> Result<Option<Vec<u8>>> {
        self.xattr(self.pin.shared.attr(attr))
    }

    fn file_handle(&self) -> Result<Option<FileHandle>> {
        self.with(|_, inode| Ok(Some(handle_of(inode))))
    }

    fn open(&self, access: Access) -> Result<Box<dyn LayerFile>> {
        self.with(|_, inode| match inode.meta.file_type {
            FileType::Regular => Ok(()),
            FileType::Directory => Err(Errno::EISDIR.into()),
            FileType::Symlink => Err(Errno::ELOOP.into()),
            _ => Err(Errno::ENXIO.into()),
        })?;
        Ok(Box::new(MemFile::new(self.pin.again(), access)))
    }
}
