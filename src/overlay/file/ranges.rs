//! Open files: the space of ranges, and copying them from file to file.

use crate::backend::{AllocateMode, Cloned};
use crate::errno::Errno;
use crate::error::Result;
use crate::overlay::core::{InLayer, Res};
use crate::overlay::file::File;
use crate::rules::attr::Change;

/// Bytes copied at a time where the layers cannot do it themselves.
const COPY_BYTES_MAX: u64 = 1 << 20;

impl File {
    /// Copies up to `len` bytes from `offset` on to `target_offset` of `target`, which may be a file of another
    /// union, as `copy_file_range(2)` does: shared where both layers can share (rule R211), else copied within
    /// the layers where they can do that. A lower's file is read where it is, nothing is copied up for it.
    /// Answers how many bytes, which are fewer only at the end of this file, and whether all are shared.
    ///
    /// # Errors
    /// `EBADF` if this file is not opened for reading, or the target not for writing, or to append;
    /// `EINVAL` for ranges of one file that overlap; `EOVERFLOW` for positions that no file can have; others.
    pub fn copy_range_to(
        &self,
        offset: u64,
        target: &File,
        target_offset: u64,
        len: u64,
    ) -> Result<Cloned> {
        let copied = self.try_copy_range(offset, target, target_offset, len);
        target.fail("file.copy_range", copied)
    }

    fn try_copy_range(&self, from: u64, target: &File, to: u64, len: u64) -> Res<Cloned> {
        if !self.open.read || !target.open.write || target.open.append {
            return Err(Errno::EBADF.into());
        }
        let end = |at: u64| {
            at.checked_add(len)
                .filter(|end| i64::try_from(*end).is_ok())
        };
        let (Some(from_end), Some(to_end)) = (end(from), end(to)) else {
            return Err(Errno::EOVERFLOW.into());
        };
        let own = self.open.inode.is_same(&target.open.inode);
        if own && from < to_end && to < from_end {
            return Err(Errno::EINVAL.into());
        }
        target.core.drop_privileges(&target.open.inode)?;
        target.copy_from(self, from, to, len)
    }

    /// Copies up to `len` bytes of `source` from `from` on to `to` in this file, within the layers
    /// where they can do that. Answers how many: less only at the end of `source`.
    pub(crate) fn copy_from(&self, source: &File, from: u64, to: u64, len: u64) -> Res<Cloned> {
        let (read, write) = (source.real()?, self.real()?);
        let mut done = Cloned {
            bytes: 0,
            shared: true,
        };
        while done.bytes < len {
            let left = len - done.bytes;
            match write
                .file
                .clone_range(&*read.file, from + done.bytes, to + done.bytes, left)
            {
                Ok(cloned) if cloned.bytes == 0 => return Ok(done),
                Ok(cloned) => {
                    done.bytes += cloned.bytes;
                    done.shared &= cloned.shared;
                }
                Err(e) if matches!(e.errno(), Errno::EOPNOTSUPP | Errno::EXDEV) => break,
                Err(_) if done.bytes > 0 => return Ok(done),
                Err(e) => return Err(e).in_layer(write.layer),
            }
        }
        let left = (len - done.bytes).min(COPY_BYTES_MAX);
        let mut buffer = vec![0; usize::try_from(left).unwrap_or(0)];
        while done.bytes < len {
            let want = usize::try_from(len - done.bytes).unwrap_or(usize::MAX);
            let want = want.min(buffer.len());
            let part = buffer.get_mut(..want).unwrap_or_default();
            let n = source.try_read(part, from + done.bytes)?;
            let mut part = part.get(..n).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            done.shared = false;
            while !part.is_empty() {
                let (n, _) = self.try_write(part, to + done.bytes)?;
                if n == 0 {
                    return Err(Errno::EIO.into());
                }
                done.bytes += n as u64;
                part = part.get(n..).unwrap_or_default();
            }
        }
        done.shared &= done.bytes > 0;
        Ok(done)
    }

    /// Changes the space of a range; see [`AllocateMode`].
    ///
    /// # Errors
    /// `EBADF` if not opened for writing; `EINVAL` for an empty range; `EPERM` for a change of data in an
    /// append-only file (rule R214); `EOPNOTSUPP`, `ENOSPC`.
    pub fn allocate(&self, mode: AllocateMode, offset: u64, len: u64) -> Result<()> {
        self.fail("file.allocate", self.try_allocate(mode, offset, len))
    }

    pub(crate) fn try_allocate(&self, mode: AllocateMode, offset: u64, len: u64) -> Res<()> {
        let end = offset.checked_add(len).map(i64::try_from);
        if len == 0 || i64::try_from(offset).is_err() {
            return Err(Errno::EINVAL.into());
        }
        let real = self.writable()?;
        let only_adds = mode.only_adds_space();
        self.core
            .permit(&self.open.inode, Change::Allocate { only_adds })?;
        if !matches!(end, Some(Ok(_))) {
            return Err(Errno::EFBIG.into());
        }
        self.core.drop_privileges(&self.open.inode)?;
        real.file.allocate(mode, offset, len).in_layer(real.layer)
    }
}
