//! The writing half of a directory layer: checks whose node it is, and hands on.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::DirLayer;
use super::attr;
use super::create;
use super::flags;
use super::relocate::{self, Spot};
use super::resolve::statx_fd;
use super::set;
use super::stat;
use super::tree::{DirNode, Origin, Tree, Writable, own};
use super::workdir;
use crate::acl;
use crate::backend::{
    Access, At, AttrKey, LayerFile, NewNode, NodeRef, RemoveKind, RenameHow, Result, SyncScope,
    UpperBackend, XattrMode,
};
use crate::errno::Errno;

use crate::meta::{FileType, InodeFlags, SetAttr};

impl DirLayer {
    pub(super) fn writable(&self) -> Result<(&Arc<Tree>, &Writable)> {
        match &self.tree.writable {
            Some(w) => Ok((&self.tree, w)),
            None => Err(Errno::EROFS.into()),
        }
    }

    fn spot<'a>(&self, at: At<'a>) -> Result<Spot<'a>> {
        let dir = own(&self.tree, at.dir)?;
        if !dir.file_type.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(Spot { dir, name: at.name })
    }
}

impl UpperBackend for DirLayer {
    fn work(&self) -> Result<NodeRef> {
        let (tree, w) = self.writable()?;
        let fd = w.work.clone();
        let node = DirNode::pinned(tree, fd, w.work_key, FileType::Directory, Origin::Tree);
        Ok(node)
    }

    fn index(&self, create: bool) -> Result<Option<NodeRef>> {
        let (tree, w) = self.writable()?;
        let Some((fd, key)) = workdir::index(tree, w, create)? else {
            return Ok(None);
        };
        let node = DirNode::pinned(tree, fd, key, FileType::Directory, Origin::Tree);
        Ok(Some(node))
    }

    fn create(&self, at: At<'_>, new: &NewNode) -> Result<NodeRef> {
        let (tree, w) = self.writable()?;
        let spot = self.spot(at)?;
        Ok(create::create(tree, w, spot.dir, spot.name, new)?)
    }

    fn tmpfile(&self, dir: &NodeRef, new: &NewNode) -> Result<NodeRef> {
        let (tree, w) = self.writable()?;
        if !own(tree, dir)?.file_type.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(create::tmpfile(tree, w, new)?)
    }

    fn open_unnamed(&self, node: &NodeRef, access: Access) -> Result<Option<Box<dyn LayerFile>>> {
        let (tree, _) = self.writable()?;
        let opened = own(tree, node)?.open_unnamed(access)?;
        Ok(opened.map(|file| Box::new(file) as Box<dyn LayerFile>))
    }

    fn whiteout(&self, at: At<'_>) -> Result<()> {
        let (tree, w) = self.writable()?;
        let spot = self.spot(at)?;
        create::whiteout(tree, w, spot.dir, spot.name)
    }

    fn link(&self, node: &NodeRef, to: At<'_>) -> Result<()> {
        let (tree, _) = self.writable()?;
        relocate::link(own(tree, node)?, self.spot(to)?)
    }

    fn rename(&self, from: At<'_>, to: At<'_>, how: RenameHow) -> Result<()> {
        let (tree, w) = self.writable()?;
        relocate::rename(tree, w, self.spot(from)?, self.spot(to)?, how)
    }

    fn remove(&self, at: At<'_>, kind: RemoveKind) -> Result<()> {
        self.writable()?;
        relocate::remove(self.spot(at)?, kind)
    }

    fn set_attr(&self, node: &NodeRef, attr: &SetAttr) -> Result<()> {
        let (tree, _) = self.writable()?;
        set::set_attr(tree, own(tree, node)?, attr)
    }

    fn set_flags(&self, node: &NodeRef, flags: InodeFlags) -> Result<()> {
        let (tree, _) = self.writable()?;
        flags::set(own(tree, node)?, flags)
    }

    fn reserved(&self) -> Result<Vec<u64>> {
        let (_, w) = self.writable()?;
        let base = stat::key(&statx_fd(w.workdir.as_fd())?);
        Ok(vec![base.ino, w.work_key.ino])
    }

    fn truncate(&self, node: &NodeRef, len: u64) -> Result<()> {
        let (tree, _) = self.writable()?;
        set::truncate(own(tree, node)?, len)
    }

    fn set_xattr(
        &self,
        node: &NodeRef,
        key: AttrKey<'_>,
        value: Option<&[u8]>,
        mode: XattrMode,
    ) -> Result<()> {
        let (tree, _) = self.writable()?;
        let node = own(tree, node)?;
        let full;
        let name = match key {
            AttrKey::Raw(name) => name,
            AttrKey::Overlay(attr) => {
                full = attr.full_name(tree.identity.namespace);
                &full
            }
        };
        if name.as_bytes() == acl::ACCESS {
            node.permissions_change();
        }
        node.with_place(|place| attr::set(place, name, value, mode))
    }

    fn sync(&self, scope: SyncScope<'_>) -> Result<()> {
        let (tree, _) = self.writable()?;
        match scope {
            SyncScope::Node(node) => set::sync_node(tree, own(tree, node)?),
            SyncScope::All => set::sync_all(tree),
        }
    }
}
