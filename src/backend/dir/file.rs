//! Open regular files of a directory layer.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::{Errno as Sys, retry_on_intr};

use super::resolve::statx_fd;
use super::stat;
use super::tree::Tree;
use crate::backend::{Access, AllocateMode, Cloned, LayerFile, Result};
use crate::errno::Errno;
use crate::meta::Metadata;
use crate::sys;

/// Largest position in a file (`loff_t`).
const POSITION_MAX: u64 = i64::MAX as u64;

/// An open regular file.
#[derive(Debug)]
pub(super) struct DirFile {
    fd: OwnedFd,
    access: Access,
    tree: Arc<Tree>,
}

impl DirFile {
    pub(super) fn new(fd: OwnedFd, access: Access, tree: Arc<Tree>) -> Self {
        DirFile { fd, access, tree }
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
            rustix::io::pread(&self.fd, &mut *buf, offset)
        })?)
    }

    fn metadata(&self) -> Result<Metadata> {
        stat::metadata(&statx_fd(self.fd.as_fd())?)
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let size = statx_fd(self.fd.as_fd())?.stx_size;
        if offset >= size {
            return Ok(None);
        }
        // The position that seeking moves is used by nobody: reads and writes name theirs.
        let start = match rustix::fs::seek(&self.fd, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Sys::NXIO) => return Ok(None),
            Err(Sys::INVAL) => return Ok(Some(offset..size)),
            Err(e) => return Err(e.into()),
        };
        match rustix::fs::seek(&self.fd, SeekFrom::Hole(start)) {
            Ok(end) if end > start => Ok(Some(start..end)),
            // Cut off meanwhile.
            Ok(_) | Err(Sys::NXIO) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<usize> {
        self.check_write()?;
        if offset > POSITION_MAX {
            return Err(Errno::EFBIG.into());
        }
        Ok(retry_on_intr(|| rustix::io::pwrite(&self.fd, buf, offset))?)
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
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let done = retry_on_intr(|| {
            rustix::fs::copy_file_range(src, Some(&mut from), &self.fd, Some(&mut to), len)
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
        Ok(retry_on_intr(|| rustix::fs::ftruncate(&self.fd, len))?)
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
            rustix::fs::fallocate(&self.fd, flags, offset, len)
        })?)
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        if data_only {
            Ok(rustix::fs::fdatasync(&self.fd)?)
        } else {
            Ok(rustix::fs::fsync(&self.fd)?)
        }
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}
