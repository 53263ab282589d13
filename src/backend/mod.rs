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
pub mod memory;

use std::any::Any;
use std::fmt::{self, Debug};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, InodeFlags, Metadata, SetAttr, StatFs};
use crate::path::Name;
use crate::xattr_name::{OverlayAttr, XattrName, XattrNamespace};

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
pub type Result<T> = std::result::Result<T, BackendError>;

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
}

impl FsIdentity {
    /// An identity without UUID.
    #[must_use]
    pub const fn new(fs: FsId, namespace: XattrNamespace) -> Self {
        FsIdentity {
            fs,
            uuid: None,
            namespace,
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

/// One layer.
pub trait LayerBackend: Debug + Send + Sync {
    /// What this backend can store and do. Does not change over its life.
    fn capabilities(&self) -> &Capabilities;

    /// Which filesystem this is. Does not change over its life.
    fn identity(&self) -> &FsIdentity;

    /// The root directory.
    ///
    /// # Errors
    /// What reading it gives; `ESTALE` if it is gone.
    fn root(&self) -> Result<NodeRef>;

    /// Numbers about the filesystem.
    ///
    /// # Errors
    /// What the filesystem gives.
    fn statfs(&self) -> Result<StatFs>;

    /// The node that `handle` names; `None` if there is none any more, if it is not within this
    /// layer's filesystem, or if this backend cannot find nodes by handle.
    ///
    /// # Errors
    /// Failures other than absence, such as `EIO`.
    fn by_handle(&self, handle: &FileHandle) -> Result<Option<NodeRef>> {
        let _ = handle;
        Ok(None)
    }

    /// Inode numbers, on this layer's filesystem, of the directories above the root, nearest first;
    /// none if the tree is all there is. Tells layers that lie inside each other (rule R015).
    ///
    /// # Errors
    /// What the filesystem gives.
    fn ancestors(&self) -> Result<Vec<u64>> {
        Ok(Vec::new())
    }

    /// The writing half, if this layer may be an upper (for a real directory: if it was opened with
    /// a work directory).
    fn upper(&self) -> Option<&dyn UpperBackend> {
        None
    }

    /// A short text that tells people which layer this is (a directory's path, a given label).
    fn label(&self) -> String {
        String::from("layer")
    }
}

/// One node of a layer.
pub trait LayerNode: Any + Debug + Send + Sync {
    /// The current attributes.
    ///
    /// # Errors
    /// What the filesystem gives; `ESTALE` if the node was replaced behind the backend's back.
    fn metadata(&self) -> Result<Metadata>;

    /// What `name` stands for in this directory; `None` if it is absent.
    ///
    /// # Errors
    /// `ENOTDIR`; `ENAMETOOLONG` for a name that this layer cannot hold; `EACCES` and others from the
    /// filesystem.
    fn lookup(&self, name: &Name) -> Result<Option<Entry>>;

    /// All names in this directory, each once, in the layer's own order, without `.` and `..`.
    /// Nothing is looked up.
    ///
    /// # Errors
    /// `ENOTDIR`; what the filesystem gives.
    fn list(&self) -> Result<Vec<RawEntry>>;

    /// The target of a symlink, as stored.
    ///
    /// # Errors
    /// `EINVAL` if this is not a symlink.
    fn read_link(&self) -> Result<Vec<u8>>;

    /// The raw value of an extended attribute; `None` if it is not set. A layer without extended
    /// attributes answers `None`.
    ///
    /// # Errors
    /// What the filesystem gives.
    fn xattr(&self, name: &XattrName) -> Result<Option<Vec<u8>>>;

    /// Names of all extended attributes, in any order.
    ///
    /// # Errors
    /// What the filesystem gives.
    fn xattrs(&self) -> Result<Vec<XattrName>>;

    /// The raw value of an overlay attribute; `None` if it is not set (also where the layer cannot
    /// store one).
    ///
    /// # Errors
    /// What the filesystem gives.
    fn overlay_attr(&self, attr: OverlayAttr) -> Result<Option<Vec<u8>>>;

    /// The node's file handle; `None` if the filesystem has none to give.
    ///
    /// # Errors
    /// Failures other than absence.
    fn file_handle(&self) -> Result<Option<FileHandle>> {
        Ok(None)
    }

    /// The inode's flags; none where the layer has no such thing.
    ///
    /// # Errors
    /// What the filesystem gives.
    fn flags(&self) -> Result<InodeFlags> {
        Ok(InodeFlags::default())
    }

    /// Opens a regular file. Never blocks, never creates, never truncates, never follows a symlink.
    ///
    /// # Errors
    /// `EISDIR`, `ELOOP`, `ENXIO` by type (see the module's contract); `EROFS` for writing to a
    /// read-only layer; `EACCES`; `ETXTBSY`.
    fn open(&self, access: Access) -> Result<Box<dyn LayerFile>>;
}

/// Which part of the space of a file to change; see `fallocate(2)`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum AllocateMode {
    /// Make sure that the range has space; grow the file if it ends before the range does.
    Allocate,
    /// As `Allocate`, but the size stays.
    AllocateKeepSize,
    /// Make the range a hole; the size stays.
    PunchHole,
    /// Make the range read as zeros; grow the file if needed.
    ZeroRange,
    /// As `ZeroRange`, but the size stays.
    ZeroRangeKeepSize,
}

/// An open regular file of a layer. Positions and lengths are bytes.
pub trait LayerFile: Any + Debug + Send + Sync {
    /// Reads at `offset` into `buf`; 0 at or behind the end of the file.
    ///
    /// # Errors
    /// `EBADF` if not opened for reading.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize>;

    /// Current attributes of the file.
    ///
    /// # Errors
    /// What the filesystem gives.
    fn metadata(&self) -> Result<Metadata>;

    /// The first range of data at or behind `offset`, up to the next hole or the end of the file;
    /// `None` if only a hole follows. A layer that does not know holes answers the whole rest of
    /// the file.
    ///
    /// # Errors
    /// What the filesystem gives. Never `ENXIO`: behind the end of the file the answer is `None`.
    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>>;

    /// Writes at `offset`; a gap to the old end of the file becomes a hole.
    ///
    /// # Errors
    /// `EBADF` if not opened for writing; `EFBIG`, `ENOSPC`, `EDQUOT`.
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<usize> {
        let _ = (buf, offset);
        Err(Errno::EBADF.into())
    }

    /// Copies `len` bytes from `src` at `src_offset` to `dst_offset` without passing them through
    /// this process, sharing them if possible. Returns how many bytes were copied (0: nothing at
    /// that offset any more) and whether they are shared.
    ///
    /// # Errors
    /// `EOPNOTSUPP`: these two files cannot do it; nothing was written and the caller copies by
    /// reading and writing.
    fn clone_range(
        &self,
        src: &dyn LayerFile,
        src_offset: u64,
        dst_offset: u64,
        len: u64,
    ) -> Result<Cloned> {
        let _ = (src, src_offset, dst_offset, len);
        Err(Errno::EOPNOTSUPP.into())
    }

    /// Sets the size; new space reads as zeros and is a hole.
    ///
    /// # Errors
    /// `EBADF` if not opened for writing; `EFBIG`.
    fn set_len(&self, len: u64) -> Result<()> {
        let _ = len;
        Err(Errno::EBADF.into())
    }

    /// Changes the space of a range; see [`AllocateMode`].
    ///
    /// # Errors
    /// `EBADF` if not opened for writing; `EINVAL` for an empty range; `EOPNOTSUPP`; `ENOSPC`.
    fn allocate(&self, mode: AllocateMode, offset: u64, len: u64) -> Result<()> {
        let _ = (mode, offset, len);
        Err(Errno::EBADF.into())
    }

    /// Makes content durable; with `data_only`, attributes only as far as needed to read it back.
    ///
    /// # Errors
    /// `EIO` and other failures of writing back.
    fn sync(&self, data_only: bool) -> Result<()> {
        let _ = data_only;
        Ok(())
    }

    /// The descriptor behind this file, if there is one.
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// What [`LayerFile::clone_range`] did.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Cloned {
    /// Bytes now readable at the destination.
    pub bytes: u64,
    /// The bytes are shared, not stored twice.
    pub shared: bool,
}

/// A place in a layer: a directory and a name in it.
#[derive(Copy, Clone, Debug)]
pub struct At<'a> {
    /// The directory; a node of the same backend.
    pub dir: &'a NodeRef,
    /// The name.
    pub name: &'a Name,
}

impl<'a> At<'a> {
    /// The place `name` in `dir`.
    #[must_use]
    pub const fn new(dir: &'a NodeRef, name: &'a Name) -> Self {
        At { dir, name }
    }
}

/// A node to create.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct NewNode {
    /// Type, and what belongs to it.
    pub kind: NewKind,
    /// Permission bits (`0o7777`), set exactly: no umask, no default ACL. Ignored for symlinks.
    pub mode: u32,
    /// Owner; `None` leaves the backend's default (the process's own).
    pub uid: Option<u32>,
    /// Group; likewise, and never inherited from the directory.
    pub gid: Option<u32>,
}

/// Type of a node to create.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum NewKind {
    /// An empty regular file.
    File,
    /// An empty directory.
    Directory,
    /// A symlink with this target (1 to 4095 bytes, no NUL).
    Symlink(Vec<u8>),
    /// A fifo.
    Fifo,
    /// A socket node.
    Socket,
    /// A character device. 0/0 is refused with `EPERM`: whiteouts are made by
    /// [`UpperBackend::whiteout`].
    CharDevice(DeviceId),
    /// A block device.
    BlockDevice(DeviceId),
}

impl NewKind {
    /// The type of the node.
    #[must_use]
    pub const fn file_type(&self) -> FileType {
        match self {
            NewKind::File => FileType::Regular,
            NewKind::Directory => FileType::Directory,
            NewKind::Symlink(_) => FileType::Symlink,
            NewKind::Fifo => FileType::Fifo,
            NewKind::Socket => FileType::Socket,
            NewKind::CharDevice(_) => FileType::CharDevice,
            NewKind::BlockDevice(_) => FileType::BlockDevice,
        }
    }
}

/// What a rename does with what it finds at the new place.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum RenameHow {
    /// Fail with `EEXIST` if anything (a whiteout too) is there.
    NoReplace,
    /// Replace it: a whiteout or non-directory by a non-directory, an empty directory by a directory.
    Replace,
    /// The two change places, whatever they are, whiteouts included.
    Exchange,
    /// As `Replace`, and leave a whiteout at the old place, in the same step.
    LeaveWhiteout,
}

/// What [`UpperBackend::remove`] takes away.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum RemoveKind {
    /// A name of anything but a directory; a whiteout too. `EISDIR` for a directory.
    NonDirectory,
    /// An empty directory. `ENOTDIR`, `ENOTEMPTY`.
    Directory,
}

/// Which attribute to set.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttrKey<'a> {
    /// An extended attribute by its raw name.
    Raw(&'a XattrName),
    /// An overlay attribute, stored in the backend's namespace.
    Overlay(OverlayAttr),
}

/// Whether an attribute must or must not exist before it is set.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum XattrMode {
    /// Either.
    #[default]
    Set,
    /// Must not exist: `EEXIST` (`XATTR_CREATE`).
    Create,
    /// Must exist: `ENODATA` (`XATTR_REPLACE`).
    Replace,
}

/// What [`UpperBackend::sync`] makes durable.
#[derive(Copy, Clone, Debug)]
pub enum SyncScope<'a> {
    /// One node: content and attributes of a file, entries of a directory.
    Node(&'a NodeRef),
    /// The whole filesystem of the layer.
    All,
}

/// The writing half of a layer.
///
/// Each method is one atomic step: it happens wholly or not at all, also across a crash, and a
/// failed one leaves nothing behind. (A backend that needs several system calls for one step stages
/// in its work directory.) Nodes given to a method are the backend's own; a foreign one is `EXDEV`.
pub trait UpperBackend: LayerBackend {
    /// The staging directory: on the same filesystem, outside the visible tree, empty when the
    /// backend is opened.
    ///
    /// # Errors
    /// What the filesystem gives.
    fn work(&self) -> Result<NodeRef>;

    /// The index directory; made on the first call with `create`. `None`: absent.
    ///
    /// # Errors
    /// What the filesystem gives.
    fn index(&self, create: bool) -> Result<Option<NodeRef>>;

    /// Creates a node with exactly the given mode and owner.
    ///
    /// # Errors
    /// `EEXIST` if anything (a whiteout too) has the name; `ENOENT` if the directory was removed;
    /// `EPERM` for an owner or node type that this backend may not set; `ENOSPC` and others.
    fn create(&self, at: At<'_>, new: &NewNode) -> Result<NodeRef>;

    /// Creates an unnamed regular file on the filesystem of `dir`; it gets a name by
    /// [`UpperBackend::link`], or vanishes with its last handle.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the backend declares no `tmpfile`; `EINVAL` if `new` is not a regular file.
    fn tmpfile(&self, dir: &NodeRef, new: &NewNode) -> Result<NodeRef>;

    /// Creates a whiteout (a 0/0 character device, mode 0). Whiteouts may share one inode.
    ///
    /// # Errors
    /// `EEXIST` if anything has the name; `EPERM` if the backend declares no `whiteouts`.
    fn whiteout(&self, at: At<'_>) -> Result<()>;

    /// Gives `node` one more name.
    ///
    /// # Errors
    /// `EEXIST`; `EPERM` for a directory; `EMLINK`; `ENOENT` for a node without names that is not a
    /// tmpfile.
    fn link(&self, node: &NodeRef, to: At<'_>) -> Result<()>;

    /// Moves the name `from` to `to`. If both name the same node, both stay and the answer is
    /// success (mind whiteouts that share an inode), except with `NoReplace`.
    ///
    /// # Errors
    /// `ENOENT` if `from` (or with `Exchange` `to`) is absent; `EEXIST`, `ENOTEMPTY`, `EISDIR`,
    /// `ENOTDIR` by what is at `to`; `EINVAL` if `to` is inside `from`.
    fn rename(&self, from: At<'_>, to: At<'_>, how: RenameHow) -> Result<()>;

    /// Removes a name; see [`RemoveKind`]. Handles to the node stay usable.
    ///
    /// # Errors
    /// `ENOENT`; `EISDIR`, `ENOTDIR`, `ENOTEMPTY`.
    fn remove(&self, at: At<'_>, kind: RemoveKind) -> Result<()>;

    /// Sets attributes, never through a symlink: owner first, then mode, then times.
    ///
    /// # Errors
    /// `EPERM` for what this process may not set; `EOPNOTSUPP` for the mode of a symlink.
    fn set_attr(&self, node: &NodeRef, attr: &SetAttr) -> Result<()>;

    /// Sets the size of a regular file as `truncate(2)` does, which differs from
    /// [`LayerFile::set_len`] in one point: if the size stays, it is the filesystem's choice
    /// whether the modification time changes.
    ///
    /// # Errors
    /// As [`LayerNode::open`] and [`LayerFile::set_len`].
    fn truncate(&self, node: &NodeRef, len: u64) -> Result<()> {
        node.open(Access::Write)?.set_len(len)
    }

    /// Sets (`Some`) or removes (`None`) an attribute.
    ///
    /// # Errors
    /// `ENODATA`: to be removed or replaced, but not set. `EEXIST`: see [`XattrMode`]. `EPERM`: not
    /// for this type of node or this process. `EOPNOTSUPP`: no such attributes here.
    fn set_xattr(
        &self,
        node: &NodeRef,
        key: AttrKey<'_>,
        value: Option<&[u8]>,
        mode: XattrMode,
    ) -> Result<()>;

    /// Sets the flags `sync` and `noatime`; the others are not for an upper, since it must stay
    /// changeable (they are recorded as the overlay attribute `protattr`).
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the layer has no such flags.
    fn set_flags(&self, node: &NodeRef, flags: InodeFlags) -> Result<()> {
        let _ = (node, flags);
        Err(Errno::EOPNOTSUPP.into())
    }

    /// Inode numbers, on this layer's filesystem, of directories beside the tree that must not be met
    /// inside another layer (for a real directory: its work directory; rules R015, R016).
    ///
    /// # Errors
    /// What the filesystem gives.
    fn reserved(&self) -> Result<Vec<u64>> {
        Ok(Vec::new())
    }

    /// Makes things durable.
    ///
    /// # Errors
    /// `EIO` and other failures of writing back.
    fn sync(&self, scope: SyncScope<'_>) -> Result<()>;
}

impl<B: LayerBackend + ?Sized> LayerBackend for Arc<B> {
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
        (**self).statfs()
    }
    fn by_handle(&self, handle: &FileHandle) -> Result<Option<NodeRef>> {
        (**self).by_handle(handle)
    }
    fn upper(&self) -> Option<&dyn UpperBackend> {
        (**self).upper()
    }
    fn ancestors(&self) -> Result<Vec<u64>> {
        (**self).ancestors()
    }
    fn label(&self) -> String {
        (**self).label()
    }
}
