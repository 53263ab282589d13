//! A real directory as a layer.
//!
//! [`DirLayer`] reads and writes a directory of the host as overlayfs would: whiteouts are 0/0
//! character devices (or, read only, zero-size files with the attribute `whiteout`), overlay
//! attributes are extended attributes in one namespace. It changes nothing that it is not told to
//! change and decides nothing; see [the contract](super).
//!
//! # Containment
//!
//! A layer may be hostile: every system call names one directory descriptor inside the layer and
//! names below it, symlinks are never followed, fifos and devices never opened, and mount points
//! inside the layer never crossed.
//!
//! Deviation: what lies on a mount point inside the layer is answered with `EREMOTE`. The kernel
//! shows what the mount covers (rule R039), which cannot be reached without mounting: see
//! [`DirLayerOptions::private_mount`].
//!
//! # Descriptors
//!
//! A layer keeps one descriptor (a writable one up to five). All layers of the process share a pool
//! of at most 256 directory descriptors, a quarter of `RLIMIT_NOFILE` if that is less, from which
//! directories at any depth are reached. Beyond these only open files, tmpfiles and removed nodes
//! that somebody still holds need one each.
//!
//! # Changes from outside
//!
//! A node is known by device and inode number. If something else is found where it was, the answer
//! is `ESTALE`.

mod attr;
mod c_name;
mod create;
mod fds;
mod file;
mod flags;
mod handle;
mod mounts;
mod node;
mod open;
mod plain;
mod probe;
mod relocate;
mod resolve;
mod set;
mod stat;
mod tree;
mod upper;
mod workdir;

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

pub(crate) use self::probe::may_use_trusted;
use self::tree::{DirNode, Origin, Tree};
use self::workdir::WorkLock;
use super::{Capabilities, FileHandle, FsIdentity, LayerBackend, NodeRef, Result, UpperBackend};
use crate::errno::Errno;
use crate::error::Error;
use crate::meta::{FileType, StatFs};
use crate::path::display_path;
use crate::xattr_name::XattrNamespace;

/// A directory of the host as a layer: a lower one, or an upper one with its work directory.
///
/// Clones are one layer. A work directory is locked (`flock`) until the last clone of its layer is
/// dropped.
///
/// ```
/// use layerstack::backend::{Entry, LayerBackend, LayerNode};
/// use layerstack::{DirLayer, Name};
///
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("motd"), "hello")?;
/// let layer = DirLayer::open_lower(dir.path())?;
/// let found = layer.root()?.lookup(&Name::new("motd")?)?;
/// assert!(matches!(found, Some(Entry::Node(_, meta)) if meta.size == 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DirLayer {
    tree: Arc<Tree>,
    #[allow(dead_code, reason = "held for its Drop")]
    lock: Option<Arc<WorkLock>>,
}

impl DirLayer {
    /// Opens `path` as a read-only layer, with default options.
    ///
    /// Nothing is written, and nothing that this layer does writes (access times apart, where this
    /// process may not keep them from changing).
    ///
    /// # Errors
    /// - `ENOENT` and others: `path` cannot be resolved. Symlinks in it are followed.
    /// - `EINVAL`: not a directory (rule R009).
    /// - `EACCES`: this process may not read it.
    pub fn open_lower(path: impl AsRef<Path>) -> std::result::Result<Self, Error> {
        DirLayerOptions::new().open_lower(path)
    }

    /// Opens `upperdir` as a writable layer that stages in `workdir`, with default options.
    ///
    /// # Errors
    /// Those of [`DirLayer::open_lower`] for either directory, and:
    /// - `EINVAL`: the two are not on one mount (rule R007), are one, or one is inside the other
    ///   (R008); they lie on a read-only mount (R010) or on overlayfs (R011); the work directory
    ///   bears the mark of an unfinished volatile overlay (R044).
    /// - `EBUSY`: another `DirLayer` of any process uses the work directory, or a mounted overlay
    ///   uses one of the two.
    /// - what making and sweeping the staging directory gives.
    ///
    /// # Effects
    /// `workdir/work` is removed with all that was left in it and made anew; temporary names
    /// (`#...`) are removed from `workdir/index`. Other entries of `workdir` are left alone. Unlike
    /// the kernel (R010, R043), which then mounts read-only, this fails if that is not possible.
    pub fn open_upper(
        upperdir: impl AsRef<Path>,
        workdir: impl AsRef<Path>,
    ) -> std::result::Result<Self, Error> {
        DirLayerOptions::new().open_upper(upperdir, workdir)
    }

    /// The directory, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.tree.path
    }

    /// The work directory, as it was given; `None` for a lower layer.
    #[must_use]
    pub fn workdir(&self) -> Option<&Path> {
        Some(&self.tree.writable.as_ref()?.workdir_path)
    }
}

impl LayerBackend for DirLayer {
    fn capabilities(&self) -> &Capabilities {
        &self.tree.capabilities
    }

    fn identity(&self) -> &FsIdentity {
        &self.tree.identity
    }

    fn root(&self) -> Result<NodeRef> {
        if resolve::statx_fd(self.tree.root.as_fd())?.stx_nlink == 0 {
            return Err(Errno::ESTALE.into()); // It was removed.
        }
        let (fd, key) = (self.tree.root.clone(), self.tree.root_key);
        let root = DirNode::pinned(&self.tree, fd, key, FileType::Directory, Origin::Tree);
        Ok(root)
    }

    fn statfs(&self) -> Result<StatFs> {
        let fs = rustix::fs::fstatfs(&self.tree.root)?;
        let posix = rustix::fs::fstatvfs(&self.tree.root)?;
        Ok(StatFs {
            fs_type: fs.f_type as u64,
            block_size: fs.f_bsize as u64,
            blocks: fs.f_blocks,
            blocks_free: fs.f_bfree,
            blocks_available: fs.f_bavail,
            files: fs.f_files,
            files_free: fs.f_ffree,
            name_bytes_max: fs.f_namelen as u64,
            fs_id: posix.f_fsid,
        })
    }

    fn by_handle(&self, handle: &FileHandle) -> Result<Option<NodeRef>> {
        handle::find(&self.tree, handle)
    }

    fn upper(&self) -> Option<&dyn UpperBackend> {
        self.tree.writable.as_ref()?;
        Some(self)
    }

    fn ancestors(&self) -> Result<Vec<u64>> {
        open::ancestors(&self.tree)
    }

    fn label(&self) -> String {
        display_path(&self.tree.path).to_string()
    }
}

/// How to open a [`DirLayer`].
#[derive(Clone, Debug, Default)]
pub struct DirLayerOptions {
    namespace: Option<XattrNamespace>,
    ignore_ownership: bool,
    allow_mounted: bool,
    content_by_handle: bool,
    keep_work: bool,
    private_mount: bool,
}

impl DirLayerOptions {
    /// The defaults: namespace by privilege, ownership kept exactly, mounted overlays respected.
    #[must_use]
    pub fn new() -> Self {
        DirLayerOptions::default()
    }

    /// The namespace of overlay attributes. Default: `trusted.` if this process has
    /// `CAP_SYS_ADMIN` in the initial user namespace, else `user.`.
    #[must_use]
    pub fn namespace(mut self, namespace: XattrNamespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// Lets a change of owner that this process may not make (`EPERM`) pass as done, as ordinary
    /// users who unpack foreign trees need it. Default: false. Modes are always set exactly, set-id
    /// bits included, whoever the owner then is.
    #[must_use]
    pub fn ignore_ownership(mut self, ignore: bool) -> Self {
        self.ignore_ownership = ignore;
        self
    }

    /// Opens an upper layer even while a mounted overlay uses its directories. Default: false. What
    /// both then show is undefined (rule R040).
    #[must_use]
    pub fn allow_mounted(mut self, allow: bool) -> Self {
        self.allow_mounted = allow;
        self
    }

    /// Lets the content of a file be opened that was found by
    /// [`by_handle`](LayerBackend::by_handle). Default: false, and opening it is `EACCES`. Handles are
    /// stored in attributes, which a hostile layer may have written, and name any file of the
    /// filesystem, also outside the layer; so do not set this for layers from elsewhere. (A directory
    /// found by handle is always checked to lie in the layer, and overlayfs itself takes no content
    /// by handle, inode numbers only.)
    #[must_use]
    pub fn content_by_handle(mut self, allow: bool) -> Self {
        self.content_by_handle = allow;
        self
    }

    /// Leaves what lies in `workdir/work` and `workdir/index` as it is when an upper layer is opened, and
    /// opens it although it bears the mark of an unfinished volatile overlay (rule R044): for
    /// [checking and repairing](crate::check). Default: false.
    #[must_use]
    pub fn keep_work(mut self, keep: bool) -> Self {
        self.keep_work = keep;
        self
    }

    /// Reads a read-only layer through a mount of its own where this process may make one (`CAP_SYS_ADMIN`,
    /// Linux 5.12), as the kernel's overlay does. Default: false. Then what other mounts cover inside the layer
    /// is shown (rule R064), the place where the layer was opened can be unmounted, and files are opened with
    /// two system calls less, since nobody can open devices on that mount. Opening the layer takes some
    /// 100 us more. No effect where it is not permitted, nor on a writable layer.
    #[must_use]
    pub fn private_mount(mut self, private: bool) -> Self {
        self.private_mount = private;
        self
    }

    /// Opens a read-only layer.
    ///
    /// # Errors
    /// See [`DirLayer::open_lower`].
    pub fn open_lower(&self, path: impl AsRef<Path>) -> std::result::Result<DirLayer, Error> {
        open::lower(self, path.as_ref())
    }

    /// Opens a writable layer.
    ///
    /// # Errors
    /// See [`DirLayer::open_upper`].
    pub fn open_upper(
        &self,
        upperdir: impl AsRef<Path>,
        workdir: impl AsRef<Path>,
    ) -> std::result::Result<DirLayer, Error> {
        open::upper(self, upperdir.as_ref(), workdir.as_ref())
    }
}
