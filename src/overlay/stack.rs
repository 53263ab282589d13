//! The read-only union.

use std::path::Path;
use std::sync::Arc;

use crate::backend::LayerBackend;
use crate::errno::Errno;
use crate::error::{Error, LayerId, Result};
use crate::meta::{FileType, Metadata, StatFs};
use crate::op::OpenOptions;
use crate::overlay::core::Core;
use crate::overlay::file::File;
use crate::overlay::options::OverlayOptions;
use crate::overlay::read::Listed;
use crate::path::Name;
use crate::xattr_name::XattrName;

/// Most bytes reserved for a file's content before it is read; a size is only a claim.
const READ_RESERVE_BYTES_MAX: usize = 64 << 20;

/// Bytes per read.
const READ_BUFFER_BYTES: usize = 64 << 10;

/// A read-only union of layers.
///
/// Cheap to clone; clones share one cache. Paths are inside the union: a leading `/` is the union's
/// root, a missing one too; `..` is physical and stops at the root; symlinks resolve inside the
/// union; a trailing slash demands a directory.
///
/// ```
/// use layerstack::{LayerStack, backend::memory::MemLayer};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let base = MemLayer::builder().file("etc/hosts", b"old").file("etc/fstab", b"").build()?;
/// let top = MemLayer::builder().file("etc/hosts", b"new").whiteout("etc/fstab").build()?;
/// let stack = LayerStack::from_top([top, base])?;
/// assert_eq!(stack.read("/etc/hosts")?, b"new");
/// assert!(!stack.exists("/etc/fstab")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LayerStack {
    pub(crate) core: Arc<Core>,
}

/// The layers of a union, given back by [`LayerStack::into_layers`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Layers {
    /// The writable layer, if there is one.
    pub upper: Option<Arc<dyn LayerBackend>>,
    /// The read-only layers, topmost first.
    pub lowers: Vec<Arc<dyn LayerBackend>>,
}

/// One entry of a merged directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirEntry {
    /// The name.
    pub name: Name,
    /// The type, if the topmost layer's directory tells it without looking at the object.
    pub file_type: Option<FileType>,
    /// Inode number (`d_ino`, rule R105).
    pub ino: u64,
    /// The topmost layer that has the name.
    pub layer: LayerId,
}

impl From<Listed> for DirEntry {
    fn from(l: Listed) -> Self {
        DirEntry {
            name: l.name,
            file_type: l.file_type,
            ino: l.ino,
            layer: l.layer,
        }
    }
}

impl LayerStack {
    /// A union of `layers`, the topmost first, as in the kernel's `lowerdir=`.
    ///
    /// # Errors
    /// - `EINVAL`: no layer, more than [`LOWER_LAYERS_MAX`](crate::LOWER_LAYERS_MAX), a root that is
    ///   no directory, or layers of two attribute namespaces.
    /// - `ELOOP`: one directory used twice.
    pub fn from_top<B>(layers: impl IntoIterator<Item = B>) -> Result<Self>
    where
        B: LayerBackend + 'static,
    {
        let lowers = layers
            .into_iter()
            .map(|l| Arc::new(l) as Arc<dyn LayerBackend>)
            .collect::<Vec<_>>();
        Ok(LayerStack {
            core: Core::new(lowers, None, OverlayOptions::default())?,
        })
    }

    /// A union of `layers`, the lowest first, as images list them.
    ///
    /// # Errors
    /// As [`LayerStack::from_top`].
    pub fn from_base<B>(layers: impl IntoIterator<Item = B>) -> Result<Self>
    where
        B: LayerBackend + 'static,
    {
        let mut layers: Vec<B> = layers.into_iter().collect();
        layers.reverse();
        LayerStack::from_top(layers)
    }

    /// The read-only layers, topmost first.
    #[must_use]
    pub fn layers(&self) -> Vec<Arc<dyn LayerBackend>> {
        self.core.lowers.iter().map(|l| l.backend.clone()).collect()
    }

    /// Gives the layers back, for committing, closing or stacking them otherwise. Clones of the stack
    /// and files open in it go on using them.
    #[must_use]
    pub fn into_layers(self) -> Layers {
        Layers {
            upper: self.core.upper.clone(),
            lowers: self.layers(),
        }
    }

    /// Attributes of what `path` names, following symlinks.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `Loop`, and what the layers give.
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        self.stat("metadata", path.as_ref(), true)
    }

    /// Attributes of what `path` names; a symlink's own at the end of the path.
    ///
    /// # Errors
    /// As [`LayerStack::metadata`].
    pub fn symlink_metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        self.stat("symlink_metadata", path.as_ref(), false)
    }

    fn stat(&self, op: &'static str, path: &Path, follow: bool) -> Result<Metadata> {
        let core = &self.core;
        let _tree = core.read();
        core.walk_path(core.root(), path, follow)
            .and_then(|inode| core.metadata(&inode))
            .map_err(|e| e.into_error(op, path))
    }

    /// Whether `path` names something (a dangling symlink does not count).
    ///
    /// # Errors
    /// Everything but `ENOENT` and `ENOTDIR`, which answer `false`.
    pub fn exists(&self, path: impl AsRef<Path>) -> Result<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(e) if matches!(e.errno(), Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The target of a symlink, as stored.
    ///
    /// # Errors
    /// `EINVAL` if it is no symlink; `NotFound` and others.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<std::path::PathBuf> {
        use std::os::unix::ffi::OsStringExt;
        let (core, path) = (&self.core, path.as_ref());
        let _tree = core.read();
        core.walk_path(core.root(), path, false)
            .and_then(|inode| core.read_link(&inode))
            .map(|target| std::ffi::OsString::from_vec(target).into())
            .map_err(|e| e.into_error("read_link", path))
    }

    /// The entries of a directory in the kernel's order (rule R096); `.` and `..` are left out.
    ///
    /// # Errors
    /// `NotADirectory`, `NotFound`, and what the layers give.
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<Vec<DirEntry>> {
        let (core, path) = (&self.core, path.as_ref());
        let _tree = core.read();
        core.walk_path(core.root(), path, true)
            .and_then(|inode| core.list(&inode))
            .map(|list| list.into_iter().map(DirEntry::from).collect())
            .map_err(|e| e.into_error("read_dir", path))
    }

    /// As [`LayerStack::read_dir`], sorted by the bytes of the names.
    ///
    /// # Errors
    /// As [`LayerStack::read_dir`].
    pub fn read_dir_sorted(&self, path: impl AsRef<Path>) -> Result<Vec<DirEntry>> {
        let mut entries = self.read_dir(path)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The value of an extended attribute. Overlay attributes are not shown; those of a nested
    /// overlay appear under the name that its mount gave them (rule R279).
    ///
    /// # Errors
    /// `NoXattr`; `NotFound` and others.
    pub fn xattr(&self, path: impl AsRef<Path>, name: &XattrName, follow: bool) -> Result<Vec<u8>> {
        let (core, path) = (&self.core, path.as_ref());
        let _tree = core.read();
        core.walk_path(core.root(), path, follow)
            .and_then(|inode| core.xattr(&inode, name))
            .map_err(|e| e.into_error("get_xattr", path))
    }

    /// The names of all extended attributes, sorted.
    ///
    /// # Errors
    /// `NotFound` and others.
    pub fn xattrs(&self, path: impl AsRef<Path>, follow: bool) -> Result<Vec<XattrName>> {
        let (core, path) = (&self.core, path.as_ref());
        let _tree = core.read();
        core.walk_path(core.root(), path, follow)
            .and_then(|inode| core.xattrs(&inode))
            .map_err(|e| e.into_error("list_xattrs", path))
    }

    /// Opens a regular file for reading. It shows what is later written to the file (rule R293).
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `Loop`; `ENXIO` for a fifo, socket or device.
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        self.core
            .open(self.core.root(), path, &OpenOptions::new().read(true))
            .map_err(|e| e.into_error("open", path))
    }

    /// The whole content of a file.
    ///
    /// # Errors
    /// As [`LayerStack::open_file`].
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        let file = self.open_file(path)?;
        let size = usize::try_from(file.metadata()?.size).unwrap_or(0);
        let mut data = Vec::with_capacity(size.min(READ_RESERVE_BYTES_MAX));
        let mut buffer = vec![0; READ_BUFFER_BYTES];
        loop {
            let n = file.read_at(&mut buffer, data.len() as u64)?;
            if n == 0 {
                return Ok(data);
            }
            data.extend_from_slice(buffer.get(..n).unwrap_or_default());
        }
    }

    /// The whole content of a file as text.
    ///
    /// # Errors
    /// As [`LayerStack::read`]; `EINVAL` if it is not UTF-8.
    pub fn read_to_string(&self, path: impl AsRef<Path>) -> Result<String> {
        let path = path.as_ref();
        String::from_utf8(self.read(path)?).map_err(|_| {
            Error::new("read_to_string", path, Errno::EINVAL).with_detail("not UTF-8 text")
        })
    }

    /// Numbers of the filesystem (rule R035).
    ///
    /// # Errors
    /// What the topmost layer's filesystem gives.
    pub fn statfs(&self) -> Result<StatFs> {
        self.core.statfs().map_err(|e| e.into_error("statfs", "/"))
    }
}
