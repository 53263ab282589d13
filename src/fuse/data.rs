//! Requests about the content of files.

use std::cell::RefCell;

use fuser::{FileHandle, INodeNo, OpenFlags, ReplyData, Request, WriteFlags};

use crate::backend::AllocateMode;
use crate::errno::Errno;
use crate::fuse::convert;
use crate::fuse::server::{Answer, Server};
use crate::op::OpenOptions;
use crate::overlay::file::File;

thread_local! {
    /// A worker's buffer for reading, kept since fresh memory costs more than reading into it.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Server {
    /// What `open(2)` was asked for; the kernel has looked at the rest.
    pub(super) fn open_options(flags: i32) -> OpenOptions {
        let access = flags & libc::O_ACCMODE;
        let mut options = OpenOptions::new()
            .read(access != libc::O_WRONLY)
            .truncate(flags & libc::O_TRUNC != 0);
        if access != libc::O_RDONLY {
            options = match flags & libc::O_APPEND {
                0 => options.write(true),
                _ => options.append(true),
            };
        }
        options
    }

    pub(super) fn open_file(&self, req: &Request, ino: INodeNo, flags: OpenFlags) -> Answer<File> {
        let inode = self.inode(ino)?;
        let options = Server::open_options(flags.0);
        let file = self.core.open_node(&inode, &options)?;
        if options.truncate {
            self.drop_set_id(req, &inode, false)?;
        }
        Ok(file)
    }

    pub(super) fn read_file(&self, fh: FileHandle, offset: u64, size: u32, reply: ReplyData) {
        let file = match self.file(fh) {
            Ok(file) => file,
            Err(e) => return reply.error(convert::errno(e)),
        };
        BUFFER.with_borrow_mut(|buffer| {
            let size = size as usize;
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            let mut done = 0;
            while let Some(rest) = buffer.get_mut(done..size).filter(|rest| !rest.is_empty()) {
                let asked = rest.len();
                match file.file.try_read(rest, offset + done as u64) {
                    Ok(0) => break,
                    Ok(n) => {
                        done += n;
                        // What lies on a disk is read short at its end only.
                        if n < asked && file.file.is_on_disk() {
                            break;
                        }
                    }
                    Err(e) => return reply.error(convert::errno(e.errno)),
                }
            }
            reply.data(buffer.get(..done).unwrap_or_default());
        });
    }

    pub(super) fn write_file(
        &self,
        req: &Request,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
    ) -> Answer<u32> {
        let file = self.file(fh)?;
        if flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) {
            self.drop_set_id(req, file.file.inode(), true)?;
        }
        let mut done = 0;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            match file.file.try_write(rest, offset + done as u64) {
                Ok((0, _)) => break,
                Ok((n, _)) => done += n,
                Err(_) if done > 0 => break,
                Err(e) => return Err(e.into()),
            }
        }
        u32::try_from(done).map_err(|_| Errno::EIO)
    }

    pub(super) fn allocate(
        &self,
        req: &Request,
        fh: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
    ) -> Answer<()> {
        const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
        const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | KEEP;
        const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
        const ZERO_KEEP: i32 = ZERO | KEEP;
        let mode = match mode {
            0 => AllocateMode::Allocate,
            KEEP => AllocateMode::AllocateKeepSize,
            PUNCH => AllocateMode::PunchHole,
            ZERO => AllocateMode::ZeroRange,
            ZERO_KEEP => AllocateMode::ZeroRangeKeepSize,
            libc::FALLOC_FL_COLLAPSE_RANGE => AllocateMode::CollapseRange,
            libc::FALLOC_FL_INSERT_RANGE => AllocateMode::InsertRange,
            libc::FALLOC_FL_UNSHARE_RANGE => AllocateMode::UnshareRange,
            _ => return Err(Errno::EOPNOTSUPP),
        };
        let file = self.file(fh)?;
        file.file.try_allocate(mode, offset, len)?;
        self.drop_set_id(req, file.file.inode(), false)
    }

    /// `lseek(2)` for data and holes; the kernel does the rest.
    pub(super) fn seek(&self, fh: FileHandle, offset: i64, whence: i32) -> Answer<i64> {
        let handle = self.file(fh)?;
        let file = &handle.file;
        let mut at = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        let size = file.size()?;
        if at >= size {
            return Err(Errno::ENXIO);
        }
        let found = match whence {
            libc::SEEK_DATA => match file.try_next_data(at)? {
                Some(data) => data.start.max(at),
                None => return Err(Errno::ENXIO),
            },
            libc::SEEK_HOLE => loop {
                match file.try_next_data(at)? {
                    Some(data) if data.start <= at && data.end > at => at = data.end,
                    _ => break at.min(size),
                }
            },
            _ => return Err(Errno::EINVAL),
        };
        i64::try_from(found).map_err(|_| Errno::EOVERFLOW)
    }

    pub(super) fn copy_range(
        &self,
        req: &Request,
        from: (FileHandle, u64),
        to: (FileHandle, u64),
        len: u64,
    ) -> Answer<u32> {
        let (source, target) = (self.file(from.0)?, self.file(to.0)?);
        let len = len.min(u64::from(u32::MAX));
        self.drop_set_id(req, target.file.inode(), false)?;
        let done = target.file.copy_from(&source.file, from.1, to.1, len)?;
        u32::try_from(done.bytes).map_err(|_| Errno::EIO)
    }
}
