//! The writing half of the contract.

use super::{Access, LayerBackend, LayerFile, NodeRef, Result};
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, InodeFlags, SetAttr};
use crate::path::Name;
use crate::xattr_name::{OverlayAttr, XattrName};

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
    /// backend is opened. A directory `incompat` in it that is not empty is a mark that opening must not
    /// remove: it stays, or the backend cannot be opened as an upper (`EINVAL`, rule R044).
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

    /// Opens a file that [`tmpfile`](UpperBackend::tmpfile) made and that has no name yet, as
    /// [`LayerNode::open`](super::LayerNode::open) opens it by its name later: what permissions say counts here,
    /// whereas its maker may otherwise open it whatever its mode says. The opened file stays usable when the
    /// file gets a name. `None`: no such file, or this backend opens it by name as easily.
    ///
    /// # Errors
    /// As [`LayerNode::open`](super::LayerNode::open).
    fn open_unnamed(&self, node: &NodeRef, access: Access) -> Result<Option<Box<dyn LayerFile>>> {
        let _ = (node, access);
        Ok(None)
    }

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

    /// Sets attributes, never through a symlink: owner first, then mode, then times. Setting an owner
    /// or group, be it the same, takes `security.capability` from whatever is not a directory.
    ///
    /// # Errors
    /// `EPERM` for what this process may not set; `EOPNOTSUPP` for the mode of a symlink.
    fn set_attr(&self, node: &NodeRef, attr: &SetAttr) -> Result<()>;

    /// Sets the size of a regular file as `truncate(2)` does, which differs from
    /// [`LayerFile::set_len`] in one point: if the size stays, it is the filesystem's choice
    /// whether the modification time changes.
    ///
    /// # Errors
    /// As [`LayerNode::open`](super::LayerNode::open) and [`LayerFile::set_len`].
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

    /// Sets the flags `sync`, `noatime` and `nodump`. The others are taken away: they are not for an
    /// upper, since it must stay changeable (they are recorded as the overlay attribute `protattr`).
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
