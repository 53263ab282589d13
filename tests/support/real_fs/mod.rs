//! Operations on a real tree by system calls: the kernel's side of every comparison.
//!
//! A [`RealFs`] changes the root of its thread into the tree for each operation, so that paths, symlinks, `..` and
//! trailing slashes are resolved by the kernel itself exactly within the tree. The thread must not
//! share its root with others ([`in_mount_namespace`](super::namespace::in_mount_namespace)).
//!
//! # Order of composite operations
//!
//! - `CreateDirAll`: `ENOENT` for the empty path. `mkdir(path)`; on `ENOENT` the same for the parent
//!   (as [`Path::parent`] gives it, if it is not empty) and `mkdir(path)` again. Any other failure is success if
//!   `stat(path)` shows a directory. All directories get the same mode.
//! - `RemoveDirAll`: `open(path, O_DIRECTORY|O_NOFOLLOW)`, else its error; the names in byte order;
//!   each: `lstat`, then the same for a directory, `unlink` for all else; last `rmdir(path)`. The first error
//!   ends it.
//! - `Copy`: open `from` to read; its mode; open `to` to write, create, truncate with that mode (`0o7777`);
//!   length of `from`; its data ranges, ascending, in pieces of at most 64 KiB; `ftruncate` if a hole
//!   ends it; `fchmod` to the mode. Answers the length.
//! - `SetAttr`: `chown` if uid or gid is given, `chmod` if a mode is, `utimensat` if a time is. `chmod`
//!   of a symlink that is not followed: `EOPNOTSUPP`.
//!
//! # Freedoms
//!
//! Opening a fifo, socket or device is `ENXIO` here wherever the kernel would open it (or refuse only since
//! the mount allows no devices), and opening a directory for reading is `EISDIR`: files are regular files.

mod calls;
mod identity;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use layerstack::backend::XattrMode;
use layerstack::testing::snapshot::stat_at;
use layerstack::{Errno, Op, OpenOptions, Outcome, XattrName};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, SeekFrom, XattrFlags};

use calls::{
    allocate, change_root, create_dir_all, done, mkdir, mknod, not_empty, open, owner, read_dir,
    remove_dir_all, rename_flags, rmdir, set_attr, statfs, times, write,
};
use identity::Disguise;

pub type Answer = Result<Outcome, Errno>;

const DONE: Answer = Ok(Outcome::Done);

/// A tree that operations of this thread are executed in, and files held open there.
pub struct RealFs {
    outside: OwnedFd,
    inside: OwnedFd,
    /// The magic links to what this process has open.
    open_files: OwnedFd,
    slots: BTreeMap<u8, OwnedFd>,
    buf: Vec<u8>,
}

impl RealFs {
    /// Operations will be executed in `root`.
    pub fn new(root: &Path) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(RealFs {
            outside: rustix::fs::open("/", flags, Mode::empty())?,
            inside: rustix::fs::open(root, flags, Mode::empty())?,
            open_files: rustix::fs::open("/proc/self/fd", flags, Mode::empty())?,
            slots: BTreeMap::new(),
            buf: vec![0; 1 << 17],
        })
    }

    /// Executes one operation, with the tree as this thread's root while it lasts.
    pub fn apply(&mut self, op: &Op) -> Answer {
        change_root(&self.inside);
        let answer = self.apply_inside(op);
        change_root(&self.outside);
        answer
    }

    fn apply_inside(&mut self, op: &Op) -> Answer {
        match op {
            Op::Metadata { path, follow } => {
                not_empty(path)?;
                stat_at(CWD, path, *follow).map(Outcome::Metadata)
            }
            Op::ReadLink { path } => {
                let target = rustix::fs::readlinkat(CWD, path, Vec::new())?;
                Ok(Outcome::Bytes(target.into_bytes()))
            }
            Op::ReadDir { path } => read_dir(path).map(Outcome::Entries),
            Op::Read { path, offset, len } => {
                let file = open(path, &OpenOptions::new().read(true))?;
                self.read(file.as_fd(), *offset, *len)
            }
            Op::GetXattr { path, follow, name } => self.get_xattr(path, *follow, name),
            Op::ListXattrs { path, follow } => self.list_xattrs(path, *follow),
            Op::StatFs => statfs(),
            Op::Open { path, options } => {
                open(path, options)?;
                DONE
            }
            Op::Write {
                path,
                options,
                offset,
                data,
            } => {
                let file = open(path, options)?;
                write(file.as_fd(), *offset, data)
            }
            Op::CreateDir { path, mode } => done(mkdir(path, *mode)),
            Op::CreateDirAll { path, mode } => done(create_dir_all(path, *mode)),
            Op::Symlink { target, path } => {
                rustix::fs::symlinkat(target.as_slice(), CWD, path)?;
                DONE
            }
            Op::HardLink { from, to } => {
                rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty())?;
                DONE
            }
            Op::MakeNode {
                path,
                file_type,
                mode,
                rdev,
            } => done(mknod(path, *file_type, *mode, *rdev)),
            Op::RemoveFile { path } => {
                rustix::fs::unlinkat(CWD, path, AtFlags::empty())?;
                DONE
            }
            Op::RemoveDir { path } => done(rmdir(path)),
            Op::RemoveDirAll { path } => done(remove_dir_all(path)),
            Op::Rename { from, to, flags } => {
                rustix::fs::renameat_with(CWD, from, CWD, to, rename_flags(*flags))?;
                DONE
            }
            Op::Copy { from, to } => self.copy(from, to),
            Op::SetLen { path, len } => {
                let len = i64::try_from(*len).map_err(|_| Errno::EINVAL)?;
                nix::unistd::truncate(path, len)?;
                DONE
            }
            Op::SetAttr { path, follow, attr } => done(set_attr(path, *follow, attr)),
            Op::SetXattr {
                path,
                follow,
                name,
                value,
                mode,
            } => {
                let flags = match mode {
                    XattrMode::Set => XattrFlags::empty(),
                    XattrMode::Create => XattrFlags::CREATE,
                    XattrMode::Replace => XattrFlags::REPLACE,
                };
                let name = name.as_bytes();
                match follow {
                    true => rustix::fs::setxattr(path, name, value, flags)?,
                    false => rustix::fs::lsetxattr(path, name, value, flags)?,
                }
                DONE
            }
            Op::RemoveXattr { path, follow, name } => {
                match follow {
                    true => rustix::fs::removexattr(path, name.as_bytes())?,
                    false => rustix::fs::lremovexattr(path, name.as_bytes())?,
                }
                DONE
            }
            Op::Allocate {
                path,
                mode,
                offset,
                len,
            } => {
                let file = open(path, &OpenOptions::new().write(true))?;
                allocate(file.as_fd(), *mode, *offset, *len)
            }
            Op::Sync => {
                let root = rustix::fs::open("/", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::fs::syncfs(root)?;
                DONE
            }
            Op::As { caller, op } => {
                let _disguise = Disguise::new(caller);
                self.apply_inside(op)
            }
            other => self.apply_handle(other),
        }
    }

    fn apply_handle(&mut self, op: &Op) -> Answer {
        match op {
            Op::HandleOpen {
                slot,
                path,
                options,
            } => {
                self.slots.remove(slot);
                self.slots.insert(*slot, open(path, options)?);
                DONE
            }
            Op::HandleRead { slot, offset, len } => {
                let file = self.slots.remove(slot).ok_or(Errno::EBADF)?;
                let answer = self.read(file.as_fd(), *offset, *len);
                self.slots.insert(*slot, file);
                answer
            }
            Op::HandleWrite { slot, offset, data } => write(self.slot(*slot)?, *offset, data),
            Op::HandleMetadata { slot } => {
                stat_at(self.slot(*slot)?, Path::new(""), false).map(Outcome::Metadata)
            }
            Op::HandleSetLen { slot, len } => {
                rustix::fs::ftruncate(self.slot(*slot)?, *len)?;
                DONE
            }
            Op::HandleSetAttr { slot, attr } => {
                let file = self.slot(*slot)?;
                if attr.uid.is_some() || attr.gid.is_some() {
                    let (uid, gid) = owner(attr);
                    rustix::fs::fchown(file, uid, gid)?;
                }
                if let Some(mode) = attr.mode {
                    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
                }
                if let Some(times) = times(attr) {
                    rustix::fs::futimens(file, &times)?;
                }
                DONE
            }
            Op::HandleAllocate {
                slot,
                mode,
                offset,
                len,
            } => allocate(self.slot(*slot)?, *mode, *offset, *len),
            Op::HandleSync { slot } => {
                rustix::fs::fsync(self.slot(*slot)?)?;
                DONE
            }
            Op::HandleLink { slot, to } => {
                // By its magic link: an empty path is refused to who did not open the file.
                let file = self.slot(*slot)?.as_raw_fd().to_string();
                let follow = AtFlags::SYMLINK_FOLLOW;
                rustix::fs::linkat(&self.open_files, file, CWD, to, follow)?;
                DONE
            }
            Op::HandleClose { slot } => match self.slots.remove(slot) {
                Some(_) => DONE,
                None => Err(Errno::EBADF),
            },
            other => panic!("RealFs does not know {other:?}"),
        }
    }

    fn slot(&self, slot: u8) -> Result<BorrowedFd<'_>, Errno> {
        self.slots.get(&slot).map(AsFd::as_fd).ok_or(Errno::EBADF)
    }

    fn read(&mut self, file: BorrowedFd<'_>, offset: u64, len: u64) -> Answer {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if self.buf.len() < len {
            self.buf.resize(len, 0);
        }
        let mut got = 0;
        loop {
            match rustix::io::pread(file, &mut self.buf[got..len], offset + got as u64)? {
                0 => return Ok(Outcome::Bytes(self.buf[..got].to_vec())),
                n => got += n,
            }
        }
    }

    fn get_xattr(&mut self, path: &Path, follow: bool, name: &XattrName) -> Answer {
        let buf = &mut self.buf[..65536];
        let len = match follow {
            true => rustix::fs::getxattr(path, name.as_bytes(), &mut *buf)?,
            false => rustix::fs::lgetxattr(path, name.as_bytes(), &mut *buf)?,
        };
        Ok(Outcome::Bytes(buf[..len].to_vec()))
    }

    fn list_xattrs(&mut self, path: &Path, follow: bool) -> Answer {
        let buf = &mut self.buf[..65536];
        let len = match follow {
            true => rustix::fs::listxattr(path, &mut *buf)?,
            false => rustix::fs::llistxattr(path, &mut *buf)?,
        };
        let names = buf[..len].split(|b| *b == 0).filter(|n| !n.is_empty());
        let mut names: Vec<XattrName> = names.map(XattrName::new).collect::<Result<_, _>>()?;
        names.sort_unstable();
        Ok(Outcome::Names(names))
    }

    fn copy(&mut self, from: &Path, to: &Path) -> Answer {
        let source = open(from, &OpenOptions::new().read(true))?;
        let meta = stat_at(source.as_fd(), Path::new(""), false)?;
        let mode = meta.mode;
        if let Ok(other) = stat_at(rustix::fs::CWD, to, true)
            && (other.dev, other.ino) == (meta.dev, meta.ino)
        {
            return Err(Errno::EINVAL);
        }
        let options = OpenOptions::new().write(true).create(true).truncate(true);
        let target = open(to, &options.mode(mode))?;
        let len = rustix::fs::seek(&source, SeekFrom::End(0))?;
        let mut at = 0;
        while at < len {
            let start = match rustix::fs::seek(&source, SeekFrom::Data(at)) {
                Err(rustix::io::Errno::NXIO) => break,
                other => other?,
            };
            at = rustix::fs::seek(&source, SeekFrom::Hole(start))?;
            let mut offset = start;
            while offset < at {
                let want = usize::try_from(at - offset).unwrap_or(65536).min(65536);
                let got = rustix::io::pread(&source, &mut self.buf[..want], offset)?;
                rustix::io::pwrite(&target, &self.buf[..got], offset)?;
                offset += got as u64;
            }
        }
        if rustix::fs::seek(&target, SeekFrom::End(0))? < len {
            rustix::fs::ftruncate(&target, len)?;
        }
        rustix::fs::fchmod(&target, Mode::from_raw_mode(mode))?;
        Ok(Outcome::Count(len))
    }
}
