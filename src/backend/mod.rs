//! Ring 1, facts: what one layer holds, and the primitive changes it can make.
//!
//! A backend knows one tree and nothing of other layers. It does not resolve symlinks, does not
//! merge, does not decide what hides what, and does not copy anything up: the rules decide and the
//! engine executes. It reports what is there, changes what it is told to change, and where two
//! backends could differ this contract names the one answer.
//!
//! # Writing a backend
//!
//! A read-only layer implements [`LayerBackend`] (four short methods) and [`LayerNode`] (eight), and
//! [`LayerFile`] for reading (three). A writable one adds [`UpperBackend`] and the writing half of
//! [`LayerFile`]. What the backend lacks, it says in [`Capabilities`]; it never ignores a request
//! silently.
//!
//! A whole read-only layer: files by path, as an archive's index or an embedded tree would have them.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::ops::Range;
//! use std::sync::Arc;
//!
//! use layerstack::backend::memory::MemLayer;
//! use layerstack::backend::{
//!     Access, Capabilities, Entry, FsId, FsIdentity, LayerBackend, LayerFile, LayerNode, NodeRef,
//!     RawEntry, Result,
//! };
//! use layerstack::{
//!     Errno, FileType, LayerStack, Metadata, Name, OverlayAttr, Overlay, StatFs, XattrName,
//!     XattrNamespace,
//! };
//!
//! /// A directory, or a file's content; `ino` is its number in the tree.
//! #[derive(Debug)]
//! enum Kind {
//!     Dir(BTreeMap<Name, Arc<Node>>),
//!     File(&'static [u8]),
//! }
//!
//! #[derive(Debug)]
//! struct Node {
//!     ino: u64,
//!     kind: Kind,
//! }
//!
//! /// What the node reference is: the tree never changes, so it is the node itself.
//! #[derive(Debug)]
//! struct Handle(Arc<Node>);
//!
//! impl LayerNode for Handle {
//!     fn metadata(&self) -> Result<Metadata> {
//!         let mut meta = match &self.0.kind {
//!             Kind::Dir(_) => Metadata::new(FileType::Directory, 0o755),
//!             Kind::File(_) => Metadata::new(FileType::Regular, 0o644),
//!         };
//!         if let Kind::File(data) = self.0.kind {
//!             meta.size = data.len() as u64;
//!         }
//!         meta.ino = self.0.ino;
//!         Ok(meta)
//!     }
//!     fn lookup(&self, name: &Name) -> Result<Option<Entry>> {
//!         let Kind::Dir(children) = &self.0.kind else { return Err(Errno::ENOTDIR.into()) };
//!         let Some(child) = children.get(name) else { return Ok(None) };
//!         let handle = Handle(child.clone());
//!         let meta = LayerNode::metadata(&handle)?;
//!         Ok(Some(Entry::Node(Arc::new(handle), meta)))
//!     }
//!     fn list(&self) -> Result<Vec<RawEntry>> {
//!         let Kind::Dir(children) = &self.0.kind else { return Err(Errno::ENOTDIR.into()) };
//!         let raw = |(name, node): (&Name, &Arc<Node>)| RawEntry {
//!             name: name.clone(),
//!             file_type: None, // Not told: the engine looks where it matters.
//!             ino: node.ino,
//!         };
//!         Ok(children.iter().map(raw).collect())
//!     }
//!     fn read_link(&self) -> Result<Vec<u8>> {
//!         Err(Errno::EINVAL.into())
//!     }
//!     fn xattr(&self, _: &XattrName) -> Result<Option<Vec<u8>>> {
//!         Ok(None)
//!     }
//!     fn xattrs(&self) -> Result<Vec<XattrName>> {
//!         Ok(Vec::new())
//!     }
//!     fn overlay_attr(&self, _: OverlayAttr) -> Result<Option<Vec<u8>>> {
//!         Ok(None)
//!     }
//!     fn open(&self, access: Access) -> Result<Box<dyn LayerFile>> {
//!         match (&self.0.kind, access) {
//!             (Kind::Dir(_), _) => Err(Errno::EISDIR.into()),
//!             (Kind::File(_), Access::Read) => Ok(Box::new(Handle(self.0.clone()))),
//!             _ => Err(Errno::EROFS.into()),
//!         }
//!     }
//! }
//!
//! impl LayerFile for Handle {
//!     fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
//!         let Kind::File(data) = self.0.kind else { return Err(Errno::EISDIR.into()) };
//!         let rest = usize::try_from(offset).ok().and_then(|at| data.get(at..)).unwrap_or(&[]);
//!         let n = rest.len().min(buf.len());
//!         buf[..n].copy_from_slice(&rest[..n]);
//!         Ok(n)
//!     }
//!     fn metadata(&self) -> Result<Metadata> {
//!         LayerNode::metadata(self)
//!     }
//!     fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
//!         let size = LayerNode::metadata(self)?.size;
//!         Ok((offset < size).then_some(offset..size))
//!     }
//! }
//!
//! #[derive(Debug)]
//! struct Embedded {
//!     root: Arc<Node>,
//!     capabilities: Capabilities,
//!     identity: FsIdentity,
//! }
//!
//! impl LayerBackend for Embedded {
//!     fn capabilities(&self) -> &Capabilities {
//!         &self.capabilities
//!     }
//!     fn identity(&self) -> &FsIdentity {
//!         &self.identity
//!     }
//!     fn root(&self) -> Result<NodeRef> {
//!         Ok(Arc::new(Handle(self.root.clone())))
//!     }
//!     fn statfs(&self) -> Result<StatFs> {
//!         Ok(StatFs { name_bytes_max: 255, ..StatFs::default() })
//!     }
//! }
//!
//! # fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
//! let motd = Node { ino: 3, kind: Kind::File(b"hello") };
//! let etc = Kind::Dir(BTreeMap::from([(Name::new("motd")?, Arc::new(motd))]));
//! let etc = Arc::new(Node { ino: 2, kind: etc });
//! let root = Kind::Dir(BTreeMap::from([(Name::new("etc")?, etc)]));
//! let layer = Embedded {
//!     root: Arc::new(Node { ino: 1, kind: root }),
//!     capabilities: Capabilities::read_only(),
//!     identity: FsIdentity::new(FsId::unique(), XattrNamespace::Trusted),
//! };
//! let overlay = Overlay::new(&LayerStack::from_top([layer])?, MemLayer::new())?;
//! overlay.write("/etc/issue", b"new")?;
//! overlay.remove_file("/etc/motd")?;
//! assert_eq!(overlay.read_dir("/etc")?.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! The feature `testing` has a conformance suite for backends
//! (`layerstack::testing::conformance`).
//!
//! # Contract common to all methods
//!
//! - **Nodes are addressed by handle and one name**, never by a path. A [`NodeRef`] stays the same
//!   object when it is renamed and when its last name is removed.
//! - **A directory method on a node that is not a directory fails with `ENOTDIR`**; `read_link` on
//!   what is not a symlink with `EINVAL`; `open` of a directory with `EISDIR`, of a symlink with
//!   `ELOOP`, of a fifo, socket or device with `ENXIO` (it never blocks and never reaches a driver).
//! - **A name that the layer cannot hold** (longer than its own limit) makes `lookup` answer
//!   `ENAMETOOLONG`; the rules read that as "absent in this layer" (rule R036).
//! - **Whiteouts are not nodes.** A lookup that meets one answers [`Entry::Whiteout`]; no handle to a
//!   whiteout exists. `list` reports the name with the type that the directory gives it.
//! - **Attributes are raw.** `xattr` and `xattrs` tell what the layer stores, overlay attributes
//!   included if it stores them as extended attributes; the rules filter and unescape. Overlay
//!   attributes are read with [`LayerNode::overlay_attr`], on demand, as raw bytes, since malformed
//!   ones decide errors.
//! - Methods may be called from many threads at once.

pub mod dir;
pub(crate) mod encoding;
mod layer;
pub mod memory;
mod upper;

pub use layer::{AllocateMode, Cloned, LayerBackend, LayerFile, LayerNode};
pub use upper::{
    At, AttrKey, NewKind, NewNode, RemoveKind, RenameHow, SyncScope, UpperBackend, XattrMode,
};

use std::fmt::{self, Debug};
use std::sync::Arc;

use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, Metadata};
use crate::path::Name;
use crate::xattr_name::XattrNamespace;

/// Failure of a backend: an errno and, where there is one, what lies behind it.
///
/// It has no path: a backend does not know by which path its caller came. The engine adds
/// operation, path and layer.
#[derive(Debug, thiserror::Error)]
#[error("{errno}")]
pub struct BackendError {
    errno: Errno,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl BackendError {
    /// An error that is fully told by its number.
    #[must_use]
    pub fn new(errno: Errno) -> Self {
        BackendError {
            errno,
            source: None,
        }
    }

    /// An error with what caused it.
    #[must_use]
    pub fn with_source(
        errno: Errno,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        BackendError {
            errno,
            source: Some(source.into()),
        }
    }

    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl From<Errno> for BackendError {
    fn from(errno: Errno) -> Self {
        BackendError::new(errno)
    }
}

impl From<rustix::io::Errno> for BackendError {
    fn from(e: rustix::io::Errno) -> Self {
        BackendError::new(e.into())
    }
}

impl From<std::io::Error> for BackendError {
    fn from(e: std::io::Error) -> Self {
        let errno = Errno::of_io(&e);
        if e.raw_os_error().is_some() {
            BackendError::new(errno)
        } else {
            BackendError::with_source(errno, e)
        }
    }
}

/// What a backend's methods return.
pub type Result<T, E = BackendError> = std::result::Result<T, E>;

/// A handle to a node of a layer. It survives rename and removal of the node.
pub type NodeRef = Arc<dyn LayerNode>;

/// What a backend can store and do. A test suite skips (and prints) what is declared lacking; the
/// engine falls back or reports, it never drops silently.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Extended attributes, `user.` at least.
    pub xattrs: bool,
    /// Overlay attributes can be stored (in the backend's namespace).
    pub overlay_attrs: bool,
    /// Device nodes other than whiteouts can be made.
    pub device_nodes: bool,
    /// Whiteouts can be made.
    pub whiteouts: bool,
    /// A node may have several names.
    pub hard_links: bool,
    /// Owner and group of a node can be set to any value.
    pub ownership: bool,
    /// Unnamed files ([`UpperBackend::tmpfile`]).
    pub tmpfile: bool,
    /// Two names can be exchanged in one step.
    pub exchange: bool,
    /// Copies between files of this filesystem may share data: yes, no, or not known until tried.
    pub reflink: Option<bool>,
    /// Holes in files are kept and told by [`LayerFile::next_data`].
    pub holes: bool,
    /// Nodes can be found by [`FileHandle`].
    pub file_handles: bool,
    /// This process may use attributes of the backend's namespace at all. Without, none is ever seen,
    /// and options that need them are refused (rule R032).
    pub permitted_attrs: bool,
}

impl Capabilities {
    /// Everything available; reflink not known.
    #[must_use]
    pub const fn full() -> Self {
        Capabilities {
            xattrs: true,
            overlay_attrs: true,
            device_nodes: true,
            whiteouts: true,
            hard_links: true,
            ownership: true,
            tmpfile: true,
            exchange: true,
            reflink: None,
            holes: true,
            file_handles: true,
            permitted_attrs: true,
        }
    }

    /// What a plain read-only tree offers: nodes, data and `user.` attributes; no file handles.
    #[must_use]
    pub const fn read_only() -> Self {
        Capabilities {
            xattrs: true,
            overlay_attrs: true,
            device_nodes: false,
            whiteouts: false,
            hard_links: true,
            ownership: false,
            tmpfile: false,
            exchange: false,
            reflink: None,
            holes: false,
            file_handles: false,
            permitted_attrs: true,
        }
    }
}

/// Which filesystem a layer lies on, and where it keeps overlay attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsIdentity {
    /// Equal for two layers exactly if their inode numbers come from one numbering
    /// (for real directories: the same superblock).
    pub fs: FsId,
    /// The filesystem's UUID; all zero or `None` where it has none. Part of an origin (rule R233).
    pub uuid: Option<[u8; 16]>,
    /// The namespace of this layer's overlay attributes. One stack uses one namespace.
    pub namespace: XattrNamespace,
    /// Inode numbers are known to fit in 32 bits, as the filesystem's handles tell (the kernel's
    /// `FILEID_INO32_GEN`), so that the rest of a number is free to tell filesystems apart (rule R253).
    pub ino32: bool,
}

impl FsIdentity {
    /// An identity without UUID.
    #[must_use]
    pub const fn new(fs: FsId, namespace: XattrNamespace) -> Self {
        FsIdentity {
            fs,
            uuid: None,
            namespace,
            ino32: false,
        }
    }
}

/// Identifies one filesystem within this process.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum FsId {
    /// A mounted filesystem, by its device number.
    Device(DeviceId),
    /// A tree of this process, by a number that is never used twice; see [`FsId::unique`].
    Process(u64),
}

impl FsId {
    /// A new identity, different from every other of this process.
    #[must_use]
    pub fn unique() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        FsId::Process(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A file handle as the filesystem encodes it: it names an inode for as long as it exists.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FileHandle {
    /// The filesystem's own type number of the handle (`fid_type`).
    pub kind: u8,
    /// The opaque bytes.
    pub bytes: Vec<u8>,
}

impl Debug for FileHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileHandle({}:", self.kind)?;
        for b in &self.bytes {
            write!(f, "{b:02x}")?;
        }
        f.write_str(")")
    }
}

/// On-disk form of a whiteout. Two quirks of the kernel depend on it (rules R072, R128).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum WhiteoutForm {
    /// A character device 0/0 (rule R069).
    CharDevice,
    /// A zero-size regular file with the overlay attribute `whiteout` (rule R070).
    Xattr,
}

/// What a name stands for in one layer.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A node, with its attributes at the time of the lookup.
    Node(NodeRef, Metadata),
    /// A whiteout.
    Whiteout(WhiteoutForm),
}

/// One line of a directory listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// The name; never `.` or `..`.
    pub name: Name,
    /// The type, if the directory tells it without looking at the node. A whiteout shows as the
    /// node it is made of (`CharDevice` or `Regular`).
    pub file_type: Option<FileType>,
    /// Inode number, as the directory tells it.
    pub ino: u64,
}

/// What to open a file for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
    /// Writing only (for what may be written but not read).
    Write,
}
