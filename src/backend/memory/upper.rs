//! The writing half: names, links and attributes.

use std::sync::Arc;

use super::chunks::Chunks;
use super::node::MemNode;
use super::state::{Content, DirEntry, Directory, Inode, State, WORK, new_inode, stamp};
use super::{MemLayer, attr, rename};
use crate::backend::{
    At, AttrKey, NewKind, NewNode, NodeRef, RemoveKind, RenameHow, Result, SyncScope, UpperBackend,
    XattrMode,
};
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, InodeFlags, Metadata, SetAttr, Timestamp};

/// Longest target of a symlink (`PATH_MAX` without its NUL).
const SYMLINK_TARGET_BYTES_MAX: usize = 4095;

/// The inode of a new whiteout. Each is its own: nobody can tell, as whiteouts have no handles.
pub(super) fn whiteout_inode(generation: u64, now: Timestamp) -> Inode {
    let mut meta = Metadata::new(FileType::CharDevice, 0);
    stamp(&mut meta, now);
    new_inode(meta, generation, Content::Special)
}

impl MemLayer {
    /// The inode for `new`; checks what it can.
    fn inode_for(&self, new: &NewNode, now: Timestamp) -> Result<Inode> {
        let mut meta = Metadata::new(new.kind.file_type(), new.mode);
        meta.uid = new.uid.unwrap_or(0);
        meta.gid = new.gid.unwrap_or(0);
        stamp(&mut meta, now);
        let content = match &new.kind {
            NewKind::File => Content::File(Chunks::default()),
            NewKind::Directory => Content::Directory(Directory::default()),
            NewKind::Symlink(target) => Content::Symlink(checked_target(target)?),
            NewKind::Fifo | NewKind::Socket => Content::Special,
            NewKind::CharDevice(DeviceId { major: 0, minor: 0 }) => return Err(Errno::EPERM.into()),
            NewKind::CharDevice(rdev) | NewKind::BlockDevice(rdev) => {
                meta.rdev = *rdev;
                Content::Special
            }
        };
        Ok(new_inode(meta, self.shared.number, content))
    }

    fn ino(&self, node: &NodeRef) -> Result<u64> {
        MemNode::ino_of(node, &self.shared)
    }

    fn node(&self, state: &State, ino: u64) -> Result<NodeRef> {
        Ok(MemNode::make(&self.shared, state.inode(ino)?))
    }

    /// Adds an inode under a name that is free.
    fn insert(&self, state: &mut State, at: At<'_>, inode: Inode, now: Timestamp) -> Result<u64> {
        let dir = self.ino(at.dir)?;
        state.check_free(dir, at.name)?;
        let file_type = inode.meta.file_type;
        let ino = state.add(inode);
        state.put(dir, at.name, DirEntry { ino, file_type }, now)?;
        Ok(ino)
    }
}

fn checked_target(target: &[u8]) -> Result<Arc<[u8]>> {
    if target.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    if target.len() > SYMLINK_TARGET_BYTES_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    if target.contains(&0) {
        return Err(Errno::EINVAL.into());
    }
    Ok(target.into())
}

impl UpperBackend for MemLayer {
    fn work(&self) -> Result<NodeRef> {
        let state = self.shared.read();
        self.node(&state, WORK)
    }

    fn index(&self, create: bool) -> Result<Option<NodeRef>> {
        let now = self.shared.now();
        let found = self.shared.read().index;
        let ino = match found {
            Some(ino) => ino,
            None if !create => return Ok(None),
            None => {
                let mut state = self.shared.write();
                match state.index {
                    Some(ino) => ino,
                    None => {
                        let ino = state.add_top(self.shared.number, 0o700, now);
                        state.index = Some(ino);
                        ino
                    }
                }
            }
        };
        let state = self.shared.read();
        self.node(&state, ino).map(Some)
    }

    fn create(&self, at: At<'_>, new: &NewNode) -> Result<NodeRef> {
        let now = self.shared.now();
        let inode = self.inode_for(new, now)?;
        let mut state = self.shared.write();
        let ino = self.insert(&mut state, at, inode, now)?;
        self.node(&state, ino)
    }

    fn tmpfile(&self, dir: &NodeRef, new: &NewNode) -> Result<NodeRef> {
        if new.kind != NewKind::File {
            return Err(Errno::EINVAL.into());
        }
        let dir = self.ino(dir)?;
        let mut inode = self.inode_for(new, self.shared.now())?;
        inode.meta.nlink = 0;
        inode.tmpfile = true;
        let mut state = self.shared.write();
        state.dir(dir)?;
        state.check_live(dir)?;
        let ino = state.add(inode);
        self.node(&state, ino)
    }

    fn whiteout(&self, at: At<'_>) -> Result<()> {
        let now = self.shared.now();
        let inode = whiteout_inode(self.shared.number, now);
        let mut state = self.shared.write();
        self.insert(&mut state, at, inode, now).map(|_| ())
    }

    fn link(&self, node: &NodeRef, to: At<'_>) -> Result<()> {
        let (ino, dir) = (self.ino(node)?, self.ino(to.dir)?);
        let now = self.shared.now();
        let mut state = self.shared.write();
        state.check_free(dir, to.name)?;
        let inode = state.inode(ino)?;
        let file_type = inode.meta.file_type;
        if file_type.is_dir() {
            return Err(Errno::EPERM.into());
        }
        if inode.meta.nlink == 0 && !inode.tmpfile {
            return Err(Errno::ENOENT.into());
        }
        state.add_link(ino, &self.shared.handles, now)?;
        state.put(dir, to.name, DirEntry { ino, file_type }, now)
    }

    fn rename(&self, from: At<'_>, to: At<'_>, how: RenameHow) -> Result<()> {
        let places = (
            (self.ino(from.dir)?, from.name),
            (self.ino(to.dir)?, to.name),
        );
        let now = self.shared.now();
        let mut state = self.shared.write();
        let handles = &self.shared.handles;
        rename::rename(&mut state, handles, places, how, self.shared.number, now)
    }

    fn remove(&self, at: At<'_>, kind: RemoveKind) -> Result<()> {
        let dir = self.ino(at.dir)?;
        let now = self.shared.now();
        let mut state = self.shared.write();
        let entry = state.entry(dir, at.name)?.ok_or(Errno::ENOENT)?;
        match (kind, entry.file_type.is_dir()) {
            (RemoveKind::NonDirectory, true) => return Err(Errno::EISDIR.into()),
            (RemoveKind::Directory, false) => return Err(Errno::ENOTDIR.into()),
            _ => state.check_empty(entry)?,
        }
        state.take(dir, at.name, now)?;
        state.drop_link(entry.ino, &self.shared.handles, now)
    }

    fn set_attr(&self, node: &NodeRef, set: &SetAttr) -> Result<()> {
        let ino = self.ino(node)?;
        let now = self.shared.now();
        let mut state = self.shared.write();
        attr::set_attr(state.inode_mut(ino)?, set, now)
    }

    fn set_flags(&self, node: &NodeRef, flags: InodeFlags) -> Result<()> {
        let ino = self.ino(node)?;
        let now = self.shared.now();
        let mut state = self.shared.write();
        let inode = state.inode_mut(ino)?;
        if !inode.meta.is_file() && !inode.meta.is_dir() {
            return Err(Errno::EOPNOTSUPP.into());
        }
        inode.flags = InodeFlags {
            append: false,
            immutable: false,
            ..flags
        };
        inode.meta.ctime = now;
        Ok(())
    }

    fn set_xattr(
        &self,
        node: &NodeRef,
        key: AttrKey<'_>,
        value: Option<&[u8]>,
        mode: XattrMode,
    ) -> Result<()> {
        let ino = self.ino(node)?;
        let name = match key {
            AttrKey::Raw(name) => name,
            AttrKey::Overlay(attr) => self.shared.attr(attr),
        };
        let now = self.shared.now();
        let mut state = self.shared.write();
        attr::set_xattr(state.inode_mut(ino)?, name, value, mode, now)
    }

    fn sync(&self, scope: SyncScope<'_>) -> Result<()> {
        match scope {
            SyncScope::Node(node) => self.ino(node).map(|_| ()),
            SyncScope::All => Ok(()),
        }
    }
}
