//! Open files: reading and changing content.

use std::any::Any;
use std::ops::Range;

use super::chunks::{CHUNK_BYTES, Chunks};
use super::handles::Pin;
use super::state::{Content, Inode};
use crate::backend::{Access, AllocateMode, Cloned, LayerFile, Result};
use crate::errno::Errno;
use crate::meta::Metadata;

/// Largest size of a file: what a signed offset reaches, as ext4 and xfs have it, in whole chunks.
pub(super) const FILE_BYTES_MAX: u64 = i64::MAX as u64 & !(CHUNK_BYTES - 1);

/// Most chunks that one `allocate` makes (16 GiB). A chunk of zeros takes little memory, but not
/// none; more than this is `ENOSPC`.
const ALLOCATE_CHUNKS_MAX: u64 = 1 << 22;

/// An open regular file.
#[derive(Debug)]
pub(super) struct MemFile {
    pin: Pin,
    access: Access,
}

impl MemFile {
    pub(super) fn new(pin: Pin, access: Access) -> Self {
        MemFile { pin, access }
    }

    fn check_readable(&self) -> Result<()> {
        match self.access {
            Access::Read | Access::ReadWrite => Ok(()),
            Access::Write => Err(Errno::EBADF.into()),
        }
    }

    fn check_writable(&self) -> Result<()> {
        match self.access {
            Access::Write | Access::ReadWrite => Ok(()),
            Access::Read => Err(Errno::EBADF.into()),
        }
    }

    /// Gives `f` the content and the size to change; times and space follow.
    fn change<T>(&self, f: impl FnOnce(&mut Chunks, &mut u64) -> Result<T>) -> Result<T> {
        let now = self.pin.shared.now();
        let mut state = self.pin.shared.write();
        let inode = state.inode_mut(self.pin.ino)?;
        let Content::File(chunks) = &mut inode.content else {
            return Err(Errno::EBADF.into());
        };
        let done = f(chunks, &mut inode.meta.size)?;
        inode.file_changed(now);
        Ok(done)
    }

    /// A snapshot of the content, and its size.
    pub(super) fn snapshot(&self) -> Result<(Chunks, u64)> {
        let state = self.pin.shared.read();
        let inode = state.inode(self.pin.ino)?;
        Ok((chunks_of(inode)?.clone(), inode.meta.size))
    }
}

fn chunks_of(inode: &Inode) -> Result<&Chunks> {
    match &inode.content {
        Content::File(chunks) => Ok(chunks),
        _ => Err(Errno::EBADF.into()),
    }
}

/// The end of `len` bytes at `offset`, if a file can be so large.
fn end_of(offset: u64, len: u64) -> Result<u64> {
    match offset.checked_add(len) {
        Some(end) if end <= FILE_BYTES_MAX => Ok(end),
        _ => Err(Errno::EFBIG.into()),
    }
}

fn in_chunks(range: &Range<u64>) -> bool {
    range.start.is_multiple_of(CHUNK_BYTES) && range.end.is_multiple_of(CHUNK_BYTES)
}

impl LayerFile for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.check_readable()?;
        let state = self.pin.shared.read();
        let inode = state.inode(self.pin.ino)?;
        let left = inode.meta.size.saturating_sub(offset);
        let len = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if let Some(buf) = buf.get_mut(..len) {
            chunks_of(inode)?.read(buf, offset);
        }
        Ok(len)
    }

    fn metadata(&self) -> Result<Metadata> {
        let state = self.pin.shared.read();
        Ok(self.pin.shared.metadata(state.inode(self.pin.ino)?))
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let state = self.pin.shared.read();
        let inode = state.inode(self.pin.ino)?;
        Ok(chunks_of(inode)?.next_data(offset, inode.meta.size))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<usize> {
        self.check_writable()?;
        if buf.is_empty() {
            return Ok(0);
        }
        let end = end_of(offset, buf.len() as u64)?;
        self.change(|chunks, size| {
            chunks.write(buf, offset);
            *size = end.max(*size);
            Ok(buf.len())
        })
    }

    fn clone_range(
        &self,
        src: &dyn LayerFile,
        src_offset: u64,
        dst_offset: u64,
        len: u64,
    ) -> Result<Cloned> {
        self.check_writable()?;
        let any: &dyn Any = src;
        let Some(src) = any.downcast_ref::<MemFile>() else {
            return Err(Errno::EOPNOTSUPP.into());
        };
        src.check_readable()?;
        // Taken before this file's lock: the two may be the same layer, or each other's source.
        let (from, src_size) = src.snapshot()?;
        let bytes = len.min(src_size.saturating_sub(src_offset));
        let end = end_of(dst_offset, bytes)?;
        if bytes == 0 {
            return Ok(Cloned {
                bytes,
                shared: false,
            });
        }
        self.change(|chunks, size| {
            let ends = src_offset + bytes == src_size && *size <= end;
            let shared = chunks.clone_from(&from, src_offset, dst_offset, bytes, ends);
            *size = end.max(*size);
            Ok(Cloned { bytes, shared })
        })
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.check_writable()?;
        end_of(0, len)?;
        self.change(|chunks, size| {
            // Also when growing: space kept behind the end must read as zeros, and does.
            if len < *size {
                chunks.truncate(len);
            }
            *size = len;
            Ok(())
        })
    }

    fn allocate(&self, mode: AllocateMode, offset: u64, len: u64) -> Result<()> {
        self.check_writable()?;
        if len == 0 {
            return Err(Errno::EINVAL.into());
        }
        let end = end_of(offset, len)?;
        self.change(|chunks, size| {
            let range = offset..end;
            match mode {
                AllocateMode::PunchHole => {
                    chunks.punch(range);
                    return Ok(());
                }
                AllocateMode::CollapseRange if in_chunks(&range) && end < *size => {
                    chunks.collapse(range);
                    *size -= len;
                    return Ok(());
                }
                AllocateMode::InsertRange if in_chunks(&range) && offset < *size => {
                    end_of(*size, len)?;
                    chunks.insert(range);
                    *size += len;
                    return Ok(());
                }
                AllocateMode::CollapseRange | AllocateMode::InsertRange => {
                    return Err(Errno::EINVAL.into());
                }
                _ => {}
            }
            if chunks.missing(&range) > ALLOCATE_CHUNKS_MAX {
                return Err(Errno::ENOSPC.into());
            }
            if matches!(
                mode,
                AllocateMode::ZeroRange | AllocateMode::ZeroRangeKeepSize
            ) {
                chunks.punch(offset..end);
            }
            chunks.allocate(&range);
            if !matches!(
                mode,
                AllocateMode::AllocateKeepSize | AllocateMode::ZeroRangeKeepSize
            ) {
                *size = end.max(*size);
            }
            Ok(())
        })
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        let _ = data_only;
        Ok(())
    }
}
