//! The wrapped layer: the writing half.

use std::any::Any;
use std::sync::Arc;

use super::layer::{FaultLayer, FaultNode};
use crate::backend::{
    Access, At, AttrKey, LayerBackend, LayerFile, NewNode, NodeRef, RemoveKind, RenameHow, Result,
    SyncScope, UpperBackend, XattrMode,
};
use crate::errno::Errno;
use crate::meta::{InodeFlags, SetAttr};

impl FaultLayer {
    fn up(&self) -> Result<&dyn UpperBackend> {
        Ok(self.core.inner.upper().ok_or(Errno::EROFS)?)
    }

    /// The node of the backend below; a foreign one is `EXDEV`.
    fn own<'a>(&self, node: &'a NodeRef) -> Result<&'a FaultNode> {
        (&**node as &dyn Any)
            .downcast_ref::<FaultNode>()
            .filter(|node| Arc::ptr_eq(&node.core, &self.core))
            .ok_or_else(|| Errno::EXDEV.into())
    }
}

fn key_name(key: &AttrKey<'_>) -> String {
    match key {
        AttrKey::Raw(name) => name.to_string(),
        AttrKey::Overlay(attr) => attr.to_string(),
    }
}

impl UpperBackend for FaultLayer {
    fn work(&self) -> Result<NodeRef> {
        let up = self.up()?;
        let work = self.core.ask("work", String::new, || up.work())?;
        Ok(self.node(work, String::from("(work)")))
    }

    fn index(&self, create: bool) -> Result<Option<NodeRef>> {
        let up = self.up()?;
        let index = match create {
            true => self
                .core
                .change("index", || String::from("to be made"), || up.index(true)),
            false => self.core.ask("index", String::new, || up.index(false)),
        }?;
        Ok(index.map(|node| self.node(node, String::from("(index)"))))
    }

    fn create(&self, at: At<'_>, new: &NewNode) -> Result<NodeRef> {
        let (up, dir) = (self.up()?, self.own(at.dir)?);
        let path = dir.below(at.name);
        let what = || format!("{path}: {} {:04o}", new.kind.file_type(), new.mode);
        let made = self.core.change("create", what, || {
            up.create(At::new(&dir.inner, at.name), new)
        })?;
        Ok(self.node(made, path))
    }

    fn tmpfile(&self, dir: &NodeRef, new: &NewNode) -> Result<NodeRef> {
        let (up, dir) = (self.up()?, self.own(dir)?);
        let what = || format!("{:04o}", new.mode);
        let made = self
            .core
            .change("tmpfile", what, || up.tmpfile(&dir.inner, new))?;
        Ok(self.node(made, String::from("(unnamed)")))
    }

    fn open_unnamed(&self, node: &NodeRef, access: Access) -> Result<Option<Box<dyn LayerFile>>> {
        let (up, node) = (self.up()?, self.own(node)?);
        let what = || format!("for {access:?}");
        let inner = self.core.ask("open_unnamed", what, || {
            up.open_unnamed(&node.inner, access)
        })?;
        Ok(inner.map(|inner| node.file(inner)))
    }

    fn whiteout(&self, at: At<'_>) -> Result<()> {
        let (up, dir) = (self.up()?, self.own(at.dir)?);
        let what = || dir.below(at.name);
        self.core.change("whiteout", what, || {
            up.whiteout(At::new(&dir.inner, at.name))
        })
    }

    fn link(&self, node: &NodeRef, to: At<'_>) -> Result<()> {
        let (up, node, dir) = (self.up()?, self.own(node)?, self.own(to.dir)?);
        let what = || format!("{} as {}", node.shown(), dir.below(to.name));
        self.core.change("link", what, || {
            up.link(&node.inner, At::new(&dir.inner, to.name))
        })
    }

    fn rename(&self, from: At<'_>, to: At<'_>, how: RenameHow) -> Result<()> {
        let (up, old, new) = (self.up()?, self.own(from.dir)?, self.own(to.dir)?);
        let what = || {
            let (from, to) = (old.below(from.name), new.below(to.name));
            format!("{from} to {to} ({how:?})")
        };
        self.core.change("rename", what, || {
            let from = At::new(&old.inner, from.name);
            up.rename(from, At::new(&new.inner, to.name), how)
        })
    }

    fn remove(&self, at: At<'_>, kind: RemoveKind) -> Result<()> {
        let (up, dir) = (self.up()?, self.own(at.dir)?);
        let what = || format!("{} ({kind:?})", dir.below(at.name));
        self.core.change("remove", what, || {
            up.remove(At::new(&dir.inner, at.name), kind)
        })
    }

    fn set_attr(&self, node: &NodeRef, attr: &SetAttr) -> Result<()> {
        let (up, node) = (self.up()?, self.own(node)?);
        let what = || format!("{}: {attr:?}", node.shown());
        self.core
            .change("set_attr", what, || up.set_attr(&node.inner, attr))
    }

    fn truncate(&self, node: &NodeRef, len: u64) -> Result<()> {
        let (up, node) = (self.up()?, self.own(node)?);
        let what = || format!("{} to {len}", node.shown());
        self.core
            .change("truncate", what, || up.truncate(&node.inner, len))
    }

    fn set_xattr(
        &self,
        node: &NodeRef,
        key: AttrKey<'_>,
        value: Option<&[u8]>,
        mode: XattrMode,
    ) -> Result<()> {
        let (up, node) = (self.up()?, self.own(node)?);
        let what = || {
            let verb = if value.is_some() { "set" } else { "remove" };
            format!("{verb} {} of {}", key_name(&key), node.shown())
        };
        self.core.change("set_xattr", what, || {
            up.set_xattr(&node.inner, key, value, mode)
        })
    }

    fn set_flags(&self, node: &NodeRef, flags: InodeFlags) -> Result<()> {
        let (up, node) = (self.up()?, self.own(node)?);
        let what = || format!("{}: {flags:?}", node.shown());
        self.core
            .change("set_flags", what, || up.set_flags(&node.inner, flags))
    }

    fn reserved(&self) -> Result<Vec<u64>> {
        let up = self.up()?;
        self.core.ask("reserved", String::new, || up.reserved())
    }

    fn sync(&self, scope: SyncScope<'_>) -> Result<()> {
        let up = self.up()?;
        match scope {
            SyncScope::All => {
                let what = || String::from("everything");
                self.core.change("sync", what, || up.sync(SyncScope::All))
            }
            SyncScope::Node(node) => {
                let node = self.own(node)?;
                let what = || node.shown();
                self.core
                    .change("sync", what, || up.sync(SyncScope::Node(&node.inner)))
            }
        }
    }
}
