//! A union as a layer of another union.
//!
//! It is read-only, and shows what its mount would: merged directories, no whiteouts (they are
//! consumed), extended attributes under the names that its users see. So an attribute that was
//! escaped for the outer union (rule R279) is an overlay attribute there, and an empty file with
//! the escaped attribute `whiteout` is a whiteout of the outer union (rule R284).
//!
//! Nodes are the union's own handles: they keep their identity across rename and copy-up, and an open
//! file follows a copy-up.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::{
    Access, BackendError, Capabilities, Entry, FsIdentity, LayerBackend, LayerFile, LayerNode,
    NodeRef, RawEntry, Result, WhiteoutForm,
};
use crate::errno::Errno;
use crate::meta::{FileType, Metadata, StatFs};
use crate::overlay::core::{Core, Fail, Res};
use crate::overlay::inode::Inode;
use crate::overlay::read::Listed;
use crate::overlay::stack::LayerStack;
use crate::overlay::union::Overlay;
use crate::path::Name;
use crate::xattr_name::{OverlayAttr, XattrName};

/// What a union offers as a layer.
static CAPABILITIES: Capabilities = {
    let mut capabilities = Capabilities::read_only();
    capabilities.holes = true;
    capabilities
};

impl LayerBackend for LayerStack {
    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    fn identity(&self) -> &FsIdentity {
        &self.core.identity
    }

    fn root(&self) -> Result<NodeRef> {
        // A layer is the mounter's.
        let core = self.core.for_caller(None);
        Ok(StackNode::make(&core, core.root()))
    }

    fn statfs(&self) -> Result<StatFs> {
        self.core
            .statfs()
            .map_err(|e| outward(e, self.core.root(), "statfs"))
    }

    fn label(&self) -> String {
        let layers = self.core.lowers.len() + usize::from(self.core.upper.is_some());
        format!("union of {layers}")
    }
}

impl LayerBackend for Overlay {
    fn capabilities(&self) -> &Capabilities {
        (**self).capabilities()
    }

    fn identity(&self) -> &FsIdentity {
        (**self).identity()
    }

    fn root(&self) -> Result<NodeRef> {
        (**self).root()
    }

    fn statfs(&self) -> Result<StatFs> {
        LayerBackend::statfs(&**self)
    }

    fn label(&self) -> String {
        (**self).label()
    }
}

/// Passes a failure on with what is known about it.
fn outward(fail: Fail, inode: &Inode, op: &'static str) -> BackendError {
    let errno = fail.errno;
    if fail.layer.is_none() && fail.detail.is_none() && fail.source.is_none() {
        return BackendError::new(errno);
    }
    BackendError::with_source(errno, fail.into_error(op, inode.path()))
}

/// An object of a union, as a node of a layer.
#[derive(Clone, Debug)]
struct StackNode {
    core: Arc<Core>,
    inode: Arc<Inode>,
}

impl StackNode {
    fn make(core: &Arc<Core>, inode: &Arc<Inode>) -> NodeRef {
        Arc::new(StackNode {
            core: core.clone(),
            inode: inode.clone(),
        })
    }

    /// Runs `f` with the tree's lock held.
    fn with<T>(&self, op: &'static str, f: impl FnOnce(&Core) -> Res<T>) -> Result<T> {
        let answer = {
            let _tree = self.core.read();
            f(&self.core)
        };
        answer.map_err(|e| outward(e, &self.inode, op))
    }

    /// Looks a name up; a whiteout of the outer union by attribute is one if `marks` say so.
    fn entry(&self, core: &Core, name: &Name, marks: bool) -> Res<Option<Entry>> {
        let Some(found) = core.peek(&self.inode, name, 0)? else {
            return Ok(None);
        };
        if marks
            && found.real.is_file()
            && found.real.size == 0
            && shown_xattr(core, &found.inode, &self.attr(OverlayAttr::Whiteout))?.is_some()
        {
            return Ok(Some(Entry::Whiteout(WhiteoutForm::Xattr)));
        }
        let meta = core.shown_metadata(&found.inode, &found.state, found.real)?;
        let node = StackNode::make(&self.core, &found.inode);
        Ok(Some(Entry::Node(node, meta)))
    }

    /// The name by which this union shows an overlay attribute of the outer one.
    fn attr(&self, attr: OverlayAttr) -> XattrName {
        attr.full_name(self.core.namespace)
    }
}

/// The value of an attribute as the union shows it, `None` where it has none or cannot have one.
fn shown_xattr(core: &Core, inode: &Inode, name: &XattrName) -> Res<Option<Vec<u8>>> {
    match core.xattr(inode, name) {
        Ok(value) => Ok(Some(value)),
        Err(e) if matches!(e.errno, Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(None),
        Err(e) => Err(e),
    }
}

impl LayerNode for StackNode {
    fn metadata(&self) -> Result<Metadata> {
        self.with("metadata", |core| core.metadata(&self.inode))
    }

    fn lookup(&self, name: &Name) -> Result<Option<Entry>> {
        self.with("lookup", |core| self.entry(core, name, true))
    }

    fn lookup_plain(&self, name: &Name) -> Result<Option<Entry>> {
        self.with("lookup", |core| self.entry(core, name, false))
    }

    /// Stray whiteouts that a directory of only one layer lists (rule R079) are listed here too, as by
    /// an overlay on an overlay.
    fn list(&self) -> Result<Vec<RawEntry>> {
        self.with("list", |core| {
            let raw = |l: Listed| RawEntry {
                name: l.name,
                file_type: l.file_type,
                ino: l.ino,
            };
            Ok(core.list(&self.inode)?.into_iter().map(raw).collect())
        })
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        self.with("read_link", |core| core.read_link(&self.inode))
    }

    fn xattr(&self, name: &XattrName) -> Result<Option<Vec<u8>>> {
        self.with("get_xattr", |core| shown_xattr(core, &self.inode, name))
    }

    fn xattrs(&self) -> Result<Vec<XattrName>> {
        self.with("list_xattrs", |core| core.xattrs(&self.inode))
    }

    fn overlay_attr(&self, attr: OverlayAttr) -> Result<Option<Vec<u8>>> {
        self.xattr(&self.attr(attr))
    }

    fn open(&self, access: Access) -> Result<Box<dyn LayerFile>> {
        match self.inode.file_type {
            FileType::Directory => return Err(Errno::EISDIR.into()),
            FileType::Symlink => return Err(Errno::ELOOP.into()),
            FileType::Regular => {}
            _ => return Err(Errno::ENXIO.into()),
        }
        if access != Access::Read {
            return Err(Errno::EROFS.into());
        }
        let file = StackFile {
            node: self.clone(),
            open: Mutex::new(None),
        };
        file.current()?;
        Ok(Box::new(file))
    }
}

/// A file of a layer that is open, and the node it was opened from.
type Opened = (NodeRef, Arc<dyn LayerFile>);

/// An open file of a union. Every call goes to the file that holds the data now: a copy-up since the
/// last call makes it open the upper's.
#[derive(Debug)]
struct StackFile {
    node: StackNode,
    open: Mutex<Option<Opened>>,
}

impl StackFile {
    fn current(&self) -> Result<Arc<dyn LayerFile>> {
        let StackNode { core, inode } = &self.node;
        let state = inode.state();
        let (real, _) = core
            .check_data(&state)
            .and_then(|()| core.data_node(&state))
            .map_err(|e| outward(e, inode, "read"))?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some((node, file)) if Arc::ptr_eq(node, &real) => Ok(file.clone()),
            _ => {
                let file: Arc<dyn LayerFile> = Arc::from(real.open(Access::Read)?);
                *open = Some((real, file.clone()));
                Ok(file)
            }
        }
    }
}

impl LayerFile for StackFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.current()?.read_at(buf, offset)
    }

    fn metadata(&self) -> Result<Metadata> {
        self.node.metadata()
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        self.current()?.next_data(offset)
    }

    fn next_to_copy(&self, offset: u64) -> Result<Option<Range<u64>>> {
        self.current()?.next_to_copy(offset)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test may fail by panicking"
    )]
    use super::*;
    use crate::backend::memory::MemLayer;
    use crate::overlay::options::OverlayOptions;
    use crate::overlay::stack::Layers;

    #[test]
    fn an_open_file_follows_a_copy_up() {
        let lower = MemLayer::builder().file("f", "lower").build().unwrap();
        let upper = MemLayer::builder().file("f", "upper!").build().unwrap();
        let f = Name::try_from("f").unwrap();
        let copied = match upper.root().unwrap().lookup(&f).unwrap() {
            Some(Entry::Node(node, _)) => node,
            other => panic!("{other:?}"),
        };
        let empty = Arc::new(MemLayer::new());
        let layers = Layers {
            upper: Some(empty),
            lowers: vec![Arc::new(lower)],
            data: Vec::new(),
        };
        let stack = LayerStack {
            core: Core::new(layers, OverlayOptions::default()).unwrap(),
        };
        let inode = stack.core.lookup_existing(stack.core.root(), &f).unwrap();
        let node = StackNode::make(&stack.core, &inode);
        let file = node.open(Access::Read).unwrap();
        let mut buf = [0; 6];
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 5);
        inode.update(|state| state.upper = Some(copied));
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 6);
        assert_eq!(&buf, b"upper!");
    }
}
