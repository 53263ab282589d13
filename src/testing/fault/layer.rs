//! The wrapped layer, its nodes and its open files: the reading half.

use std::any::Any;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::calls::{Asked, Extent, Faults, Halves};
use crate::backend::{
    Access, AllocateMode, Capabilities, Cloned, Entry, FileHandle, FsIdentity, LayerBackend,
    LayerFile, LayerNode, NodeRef, RawEntry, Result, UpperBackend,
};
use crate::errno::Errno;
use crate::meta::{InodeFlags, Metadata, StatFs};
use crate::path::Name;
use crate::xattr_name::{OverlayAttr, XattrName};

/// A backend whose calls can be made to fail; see the [module](super).
///
/// Without an armed fault it is what it wraps: same answers, same capabilities, same identity. Nodes
/// of the backend below are foreign to it (`EXDEV`), as those of any other layer. A copy between two
/// files is one call of the layer that is written to.
///
/// The one thing it does not see is what is done through a descriptor that
/// [`LayerFile::as_fd`] gave.
#[derive(Clone, Debug)]
pub struct FaultLayer {
    pub(super) core: Arc<Core>,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) inner: Arc<dyn LayerBackend>,
    faults: Faults,
    name: Arc<str>,
}

impl Core {
    /// One call that does not change the layer.
    pub(super) fn ask<T>(
        &self,
        method: &'static str,
        what: impl FnOnce() -> String,
        run: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let asked = self.asked(method, false, Halves::Never);
        self.faults.call(&asked, what, |_| run())
    }

    /// One call that changes the layer.
    pub(super) fn change<T>(
        &self,
        method: &'static str,
        what: impl FnOnce() -> String,
        run: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let asked = self.asked(method, true, Halves::Never);
        self.faults.call(&asked, what, |_| run())
    }

    /// One call that moves data, of which half may be done.
    fn transfer<T>(
        &self,
        method: &'static str,
        halves: Halves,
        what: impl FnOnce() -> String,
        run: impl FnOnce(Extent) -> Result<T>,
    ) -> Result<T> {
        let asked = self.asked(method, halves == Halves::Writes, halves);
        self.faults.call(&asked, what, run)
    }

    fn asked(&self, method: &'static str, changes: bool, halves: Halves) -> Asked<'_> {
        Asked {
            layer: &self.name,
            method,
            changes,
            halves,
        }
    }
}

impl FaultLayer {
    /// Wraps `inner`, which has the name that it gives itself in the record.
    pub fn new(inner: impl LayerBackend + 'static, faults: &Faults) -> Self {
        let name = inner.label();
        FaultLayer::named(name, inner, faults)
    }

    /// As [`FaultLayer::new`], with a name of its own.
    pub fn named(
        name: impl Into<Arc<str>>,
        inner: impl LayerBackend + 'static,
        faults: &Faults,
    ) -> Self {
        let core = Core {
            inner: Arc::new(inner),
            faults: faults.clone(),
            name: name.into(),
        };
        FaultLayer {
            core: Arc::new(core),
        }
    }

    /// What decides about its calls.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.core.faults
    }

    pub(super) fn node(&self, inner: NodeRef, path: String) -> NodeRef {
        Arc::new(FaultNode {
            core: self.core.clone(),
            inner,
            path,
        })
    }
}

impl LayerBackend for FaultLayer {
    fn capabilities(&self) -> &Capabilities {
        self.core.inner.capabilities()
    }

    fn identity(&self) -> &FsIdentity {
        self.core.inner.identity()
    }

    fn root(&self) -> Result<NodeRef> {
        let root = self
            .core
            .ask("root", String::new, || self.core.inner.root())?;
        Ok(self.node(root, String::new()))
    }

    fn statfs(&self) -> Result<StatFs> {
        self.core
            .ask("statfs", String::new, || self.core.inner.statfs())
    }

    fn by_handle(&self, handle: &FileHandle) -> Result<Option<NodeRef>> {
        let what = || format!("{handle:?}");
        let found = self
            .core
            .ask("by_handle", what, || self.core.inner.by_handle(handle))?;
        Ok(found.map(|node| self.node(node, format!("({handle:?})"))))
    }

    fn ancestors(&self) -> Result<Vec<u64>> {
        self.core
            .ask("ancestors", String::new, || self.core.inner.ancestors())
    }

    fn upper(&self) -> Option<&dyn UpperBackend> {
        self.core.inner.upper()?;
        Some(self)
    }

    fn label(&self) -> String {
        self.core.inner.label()
    }
}

/// A wrapped node.
#[derive(Debug)]
pub(super) struct FaultNode {
    pub(super) core: Arc<Core>,
    pub(super) inner: NodeRef,
    /// Where it was found, for the record.
    pub(super) path: String,
}

impl FaultNode {
    pub(super) fn shown(&self) -> String {
        match self.path.as_str() {
            "" => String::from("/"),
            path => String::from(path),
        }
    }

    pub(super) fn below(&self, name: &Name) -> String {
        format!("{}/{name}", self.path)
    }

    fn ask<T>(&self, method: &'static str, run: impl FnOnce() -> Result<T>) -> Result<T> {
        self.core.ask(method, || self.shown(), run)
    }

    fn find(
        &self,
        name: &Name,
        run: impl FnOnce() -> Result<Option<Entry>>,
    ) -> Result<Option<Entry>> {
        let what = || self.below(name);
        let found = self.core.ask("lookup", what, run)?;
        Ok(found.map(|entry| match entry {
            Entry::Node(inner, meta) => {
                let node = FaultNode {
                    core: self.core.clone(),
                    inner,
                    path: self.below(name),
                };
                Entry::Node(Arc::new(node), meta)
            }
            Entry::Whiteout(form) => Entry::Whiteout(form),
        }))
    }
}

impl LayerNode for FaultNode {
    fn metadata(&self) -> Result<Metadata> {
        self.ask("metadata", || self.inner.metadata())
    }

    fn lookup(&self, name: &Name) -> Result<Option<Entry>> {
        self.find(name, || self.inner.lookup(name))
    }

    fn lookup_plain(&self, name: &Name) -> Result<Option<Entry>> {
        self.find(name, || self.inner.lookup_plain(name))
    }

    fn plain(&self, name: &Name) -> Result<Option<Metadata>> {
        self.ask("lookup", || self.inner.plain(name))
    }

    fn list(&self) -> Result<Vec<RawEntry>> {
        self.ask("list", || self.inner.list())
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        self.ask("read_link", || self.inner.read_link())
    }

    fn xattr(&self, name: &XattrName) -> Result<Option<Vec<u8>>> {
        let what = || format!("{name} of {}", self.shown());
        self.core.ask("xattr", what, || self.inner.xattr(name))
    }

    fn xattrs(&self) -> Result<Vec<XattrName>> {
        self.ask("xattrs", || self.inner.xattrs())
    }

    fn overlay_attr(&self, attr: OverlayAttr) -> Result<Option<Vec<u8>>> {
        let what = || format!("{attr} of {}", self.shown());
        self.core
            .ask("overlay_attr", what, || self.inner.overlay_attr(attr))
    }

    fn file_handle(&self) -> Result<Option<FileHandle>> {
        self.ask("file_handle", || self.inner.file_handle())
    }

    fn flags(&self) -> Result<InodeFlags> {
        self.ask("flags", || self.inner.flags())
    }

    fn open(&self, access: Access) -> Result<Box<dyn LayerFile>> {
        let what = || format!("{} for {access:?}", self.shown());
        let inner = self.core.ask("open", what, || self.inner.open(access))?;
        Ok(self.file(inner))
    }
}

impl FaultNode {
    /// Wraps what was opened of this node.
    pub(super) fn file(&self, inner: Box<dyn LayerFile>) -> Box<dyn LayerFile> {
        Box::new(FaultFile {
            core: self.core.clone(),
            inner,
            path: self.shown(),
        })
    }
}

/// A wrapped open file.
#[derive(Debug)]
struct FaultFile {
    core: Arc<Core>,
    inner: Box<dyn LayerFile>,
    path: String,
}

impl FaultFile {
    fn what(&self, offset: u64, len: u64) -> impl FnOnce() -> String {
        move || format!("{} at {offset}, {len} bytes", self.path)
    }
}

fn short(buf_len: usize, extent: Extent) -> usize {
    usize::try_from(extent.of(buf_len as u64)).unwrap_or(buf_len)
}

impl LayerFile for FaultFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let what = self.what(offset, buf.len() as u64);
        self.core
            .transfer("file.read_at", Halves::Reads, what, |extent| {
                let len = short(buf.len(), extent);
                self.inner
                    .read_at(buf.get_mut(..len).unwrap_or_default(), offset)
            })
    }

    fn metadata(&self) -> Result<Metadata> {
        let what = || self.path.clone();
        self.core
            .ask("file.metadata", what, || self.inner.metadata())
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let what = || format!("{} from {offset}", self.path);
        self.core
            .ask("file.next_data", what, || self.inner.next_data(offset))
    }

    fn next_to_copy(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let what = || format!("{} from {offset}", self.path);
        let inner = || self.inner.next_to_copy(offset);
        self.core.ask("file.next_to_copy", what, inner)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<usize> {
        let what = self.what(offset, buf.len() as u64);
        self.core
            .transfer("file.write_at", Halves::Writes, what, |extent| {
                let len = short(buf.len(), extent);
                self.inner
                    .write_at(buf.get(..len).unwrap_or_default(), offset)
            })
    }

    fn clone_range(
        &self,
        src: &dyn LayerFile,
        src_offset: u64,
        dst_offset: u64,
        len: u64,
    ) -> Result<Cloned> {
        let mut source = src;
        let mut from = String::from("elsewhere");
        while let Some(wrapped) = (source as &dyn Any).downcast_ref::<FaultFile>() {
            if wrapped.core.faults.is_stopped() {
                return Err(Errno::EIO.into());
            }
            from.clone_from(&wrapped.path);
            source = &*wrapped.inner;
        }
        let what = || {
            let to = self.what(dst_offset, len)();
            format!("{to}, from {from} at {src_offset}")
        };
        self.core
            .transfer("file.clone_range", Halves::Writes, what, |extent| {
                self.inner
                    .clone_range(source, src_offset, dst_offset, extent.of(len))
            })
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let what = || format!("{} to {len}", self.path);
        self.core
            .change("file.set_len", what, || self.inner.set_len(len))
    }

    fn allocate(&self, mode: AllocateMode, offset: u64, len: u64) -> Result<()> {
        let what = || format!("{mode:?} {}", self.what(offset, len)());
        self.core.change("file.allocate", what, || {
            self.inner.allocate(mode, offset, len)
        })
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        let what = || self.path.clone();
        self.core
            .ask("file.sync", what, || self.inner.sync(data_only))
    }

    fn begin_sync(&self, offset: u64, len: u64) {
        if !self.core.faults.is_stopped() {
            self.inner.begin_sync(offset, len);
        }
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match self.core.faults.is_stopped() {
            true => None,
            false => self.inner.as_fd(),
        }
    }
}
