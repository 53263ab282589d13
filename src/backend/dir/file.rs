//! Open regular files of a directory layer.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use rustix::fs::{FallocateFlags, SeekFrom, Statx};
use rustix::io::{Errno as Sys, retry_on_intr};

use super::node::{access_flags, reopen};
use super::resolve::statx_fd;
use super::stat;
use super::tree::Tree;
use crate::backend::{Access, AllocateMode, Cloned, LayerFile, Result};
use crate::errno::Errno;
use crate::meta::Metadata;
use crate::sys;

/// Largest position in a file (`loff_t`).
const POSITION_MAX: u64 = i64::MAX as u64;

/// A file up to this size (a block, nearly everywhere) that has space for all its bytes has no holes worth
/// looking for.
const BLOCK_BYTES: u64 = 4096;

/// Bytes copied with one call where they cannot be shared: small enough that who copies can report
/// and be stopped, large enough that calls do not matter.
const COPY_BYTES_MAX: u64 = 8 << 20;

/// An open regular file.
#[derive(Debug)]
pub(super) struct DirFile {
    fd: Arc<OwnedFd>,
    access: Access,
    tree: Arc<Tree>,
    /// What it was found to be when it was opened, in a layer in which nothing changes.
    found: Option<Box<Statx>>,
    /// The descriptor is one for reading and writing, whatever `access` is.
    is_lent: bool,
    /// Then one for `access`, for those who ask for a descriptor.
    own: OnceLock<OwnedFd>,
}

impl DirFile {
    pub(super) fn new(fd: Arc<OwnedFd>, access: Access, tree: Arc<Tree>) -> Self {
        DirFile {
            fd,
            access,
            tree,
            found: None,
            is_lent: false,
            own: OnceLock::new(),
        }
    }

    /// A file that was `found` to be so when it was opened.
    pub(super) fn found(mut self, found: Statx) -> Self {
        self.found = match self.tree.writable {
            None => Some(Box::new(found)),
            Some(_) => None,
        };
        self
    }

    /// A file without a name, by the descriptor with which it was made.
    pub(super) fn lent(fd: Arc<OwnedFd>, access: Access, tree: Arc<Tree>) -> Self {
        DirFile {
            is_lent: true,
            ..DirFile::new(fd, access, tree)
        }
    }

    fn statx(&self) -> Result<Statx> {
        match &self.found {
            Some(found) => Ok(**found),
            None => Ok(statx_fd(self.fd.as_fd())?),
        }
    }

    fn check_write(&self) -> Result<()> {
        if self.access == Access::Read {
            return Err(Errno::EBADF.into());
        }
        Ok(())
    }
}

impl LayerFile for DirFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        if self.access == Access::Write {
            return Err(Errno::EBADF.into());
        }
        if offset > POSITION_MAX {
            return Ok(0);
        }
        Ok(retry_on_intr(|| {
            rustix::io::pread(&*self.fd, &mut *buf, offset)
        })?)
    }

    fn metadata(&self) -> Result<Metadata> {
        stat::metadata(&self.statx()?)
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let found = self.statx()?;
        let size = found.stx_size;
        if offset >= size {
            return Ok(None);
        }
        // The position that seeking moves is used by nobody: reads and writes name theirs.
        let start = match rustix::fs::seek(&*self.fd, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Sys::NXIO) => return Ok(None),
            Err(Sys::INVAL) => return Ok(Some(offset..size)),
            Err(e) => return Err(e.into()),
        };
        match rustix::fs::seek(&*self.fd, SeekFrom::Hole(start)) {
            Ok(end) if end > start => Ok(Some(start..end)),
            // Cut off meanwhile.
            Ok(_) | Err(Sys::NXIO) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn next_to_copy(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let found = self.statx()?;
        let size = found.stx_size;
        let full = found.stx_blocks.saturating_mul(512) >= size;
        if full && offset < size && size <= BLOCK_BYTES {
            return Ok(Some(offset..size));
        }
        // Where data are shared all is shared at once, so there holes are looked for, which is cheap there.
        if self.tree.capabilities.reflink != Some(false) || size <= COPY_BYTES_MAX || !full {
            return self.next_data(offset);
        }
        if offset >= size {
            return Ok(None);
        }
        // Finding where data end takes as long as the data are (on tmpfs), where they begin does not.
        match rustix::fs::seek(&*self.fd, SeekFrom::Data(offset)) {
            Ok(start) => Ok(Some(start..start.saturating_add(COPY_BYTES_MAX).min(size))),
            Err(Sys::NXIO) => Ok(None),
            Err(Sys::INVAL) => Ok(Some(offset..size)),
            Err(e) => Err(e.into()),
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<usize> {
        self.check_write()?;
        if offset > POSITION_MAX {
            return Err(Errno::EFBIG.into());
        }
        Ok(retry_on_intr(|| {
            rustix::io::pwrite(&*self.fd, buf, offset)
        })?)
    }

    fn clone_range(
        &self,
        src: &dyn LayerFile,
        src_offset: u64,
        dst_offset: u64,
        len: u64,
    ) -> Result<Cloned> {
        self.check_write()?;
        let Some(src) = src.as_fd() else {
            return Err(Errno::EOPNOTSUPP.into());
        };
        let copied = |bytes, shared| Ok(Cloned { bytes, shared });
        if len == 0 {
            return copied(0, false);
        }
        if self.tree.capabilities.reflink != Some(false)
            && sys::clone_range(self.fd.as_fd(), src, src_offset, dst_offset, len).is_ok()
        {
            return copied(len, true);
        }
        let mut from = src_offset;
        let mut to = dst_offset;
        let len = usize::try_from(len.min(COPY_BYTES_MAX)).unwrap_or(usize::MAX);
        let done = retry_on_intr(|| {
            rustix::fs::copy_file_range(src, Some(&mut from), &*self.fd, Some(&mut to), len)
        });
        match done {
            Ok(bytes) => copied(bytes as u64, false),
            Err(Sys::XDEV | Sys::INVAL | Sys::OPNOTSUPP | Sys::NOSYS | Sys::PERM) => {
                Err(Errno::EOPNOTSUPP.into())
            }
            Err(e) => Err(e.into()),
        }
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.check_write()?;
        if len > POSITION_MAX {
            return Err(Errno::EFBIG.into());
        }
        Ok(retry_on_intr(|| rustix::fs::ftruncate(&*self.fd, len))?)
    }

    fn allocate(&self, mode: AllocateMode, offset: u64, len: u64) -> Result<()> {
        self.check_write()?;
        if len == 0 {
            return Err(Errno::EINVAL.into());
        }
        if offset.checked_add(len).is_none_or(|end| end > POSITION_MAX) {
            return Err(Errno::EFBIG.into());
        }
        let flags = match mode {
            AllocateMode::Allocate => FallocateFlags::empty(),
            AllocateMode::AllocateKeepSize => FallocateFlags::KEEP_SIZE,
            AllocateMode::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            AllocateMode::ZeroRange => FallocateFlags::ZERO_RANGE,
            AllocateMode::ZeroRangeKeepSize => {
                FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE
            }
            AllocateMode::CollapseRange => FallocateFlags::COLLAPSE_RANGE,
            AllocateMode::InsertRange => FallocateFlags::INSERT_RANGE,
            AllocateMode::UnshareRange => FallocateFlags::UNSHARE_RANGE,
        };
        Ok(retry_on_intr(|| {
            rustix::fs::fallocate(&*self.fd, flags, offset, len)
        })?)
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        if data_only {
            Ok(rustix::fs::fdatasync(&*self.fd)?)
        } else {
            Ok(rustix::fs::fsync(&*self.fd)?)
        }
    }

    fn begin_sync(&self, offset: u64, len: u64) {
        sys::begin_writeback(self.fd.as_fd(), offset, len);
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        if !self.is_lent || self.access == Access::ReadWrite {
            return Some(self.fd.as_fd());
        }
        if let Some(fd) = self.own.get() {
            return Some(fd.as_fd());
        }
        let fd = reopen(self.fd.as_fd(), access_flags(self.access)).ok()?;
        Some(self.own.get_or_init(|| fd).as_fd())
    }
}
