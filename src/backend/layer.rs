//! The reading half of the contract: a layer, its nodes and its files.

use std::any::Any;
use std::fmt::Debug;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::{
    Access, Capabilities, Entry, FileHandle, FsIdentity, NodeRef, RawEntry, Result, UpperBackend,
};
use crate::errno::Errno;
use crate::meta::{InodeFlags, Metadata, StatFs};
use crate::path::Name;
use crate::xattr_name::{OverlayAttr, XattrName};

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

    /// As [`Self::lookup`], where overlay attributes have no meaning: an empty file with the attribute
    /// `whiteout` is answered as the file that it is. So are looked up the entries of an index (rule R267)
    /// and what lies in data-only layers (rule R186). The default is right for layers without whiteouts of
    /// that form.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    fn lookup_plain(&self, name: &Name) -> Result<Option<Entry>> {
        self.lookup(name)
    }

    /// The attributes of `name` in this directory, where they alone tell what it is: anything but a directory, a
    /// whiteout and a file with the overlay attribute `metacopy`. Spares making a node for each name that a
    /// walk passes. `None`: it is one of these, or absent, or the layer cannot tell it for less than a
    /// lookup (the default); then [`Self::lookup`] decides.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    fn plain(&self, name: &Name) -> Result<Option<Metadata>> {
        let _ = name;
        Ok(None)
    }

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
    /// Take the range out: what is behind it moves up, and the file is shorter. `EINVAL` unless offset and
    /// length are multiples of the block size and the range ends before the file does.
    CollapseRange,
    /// Put a hole in: what is behind the offset moves back, and the file is longer. `EINVAL` unless offset
    /// and length are multiples of the block size and the offset is before the end of the file.
    InsertRange,
    /// As `Allocate`, and what the range shares with other files gets space of its own.
    UnshareRange,
}

impl AllocateMode {
    /// Whether the data outside of the range stay as they are, and those within do where there are any.
    #[must_use]
    pub fn only_adds_space(self) -> bool {
        matches!(
            self,
            AllocateMode::Allocate | AllocateMode::AllocateKeepSize
        )
    }
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

    /// As [`next_data`](Self::next_data), for who copies the file: what is told may end before the data
    /// do, and have holes in it that take longer to find than to copy, but not so that the ranges together are
    /// larger than the space that the file has. Who goes on at the end of each range gets all data.
    ///
    /// # Errors
    /// As of [`next_data`](Self::next_data).
    fn next_to_copy(&self, offset: u64) -> Result<Option<Range<u64>>> {
        self.next_data(offset)
    }

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
    /// that offset any more) and whether they are shared. What cannot be shared may be copied in part,
    /// so that a call does not take long.
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
    /// `EBADF` if not opened for writing; `EINVAL` for an empty range, and as the mode says; `EOPNOTSUPP`;
    /// `ENOSPC`; `EFBIG`.
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

    /// Says that a [`sync`](Self::sync) follows once more has been written: what `len` bytes at `offset` hold
    /// may be written back meanwhile. Nothing is durable by that, and the sync tells what fails. A layer for
    /// which it makes no difference does nothing.
    fn begin_sync(&self, offset: u64, len: u64) {
        let _ = (offset, len);
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
