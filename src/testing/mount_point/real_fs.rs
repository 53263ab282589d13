//! Operations as system calls of the calling thread.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, SeekFrom, XattrFlags, ioctl_getflags, ioctl_setflags,
};

use super::calls::{
    access, allocate, change_root, create_dir_all, done, mkdir, mknod, named_flags, not_empty,
    open, open_for_flags, owner, read_dir, remove_dir_all, rename_flags, rmdir, set_attr, statfs,
    times, with_flags, write,
};
use super::disguise::Disguise;
use crate::backend::XattrMode;
use crate::errno::Errno;
use crate::op::{Op, OpenOptions, Outcome, READ_BYTES_MAX};
use crate::testing::snapshot::stat_at;
use crate::xattr_name::XattrName;

pub(super) type Answer = Result<Outcome, Errno>;

pub(super) const DONE: Answer = Ok(Outcome::Done);

/// Largest extended attribute, or list of names, in bytes (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const XATTR_BYTES_MAX: usize = 65536;

/// Bytes that [`Op::Copy`] moves at once.
const COPY_BYTES: usize = 65536;

/// A real tree that operations of the calling thread are executed in, and files held open there.
///
/// The thread's root is the tree while an operation lasts, so the thread must not share its root with
/// others (`unshare(CLONE_FS)`); [`MountPoint`](super::MountPoint) has a thread of its own instead.
#[derive(Debug)]
pub struct RealFs {
    outside: OwnedFd,
    inside: OwnedFd,
    /// The magic links to what this process has open.
    open_files: OwnedFd,
    slots: BTreeMap<u8, OwnedFd>,
}

impl RealFs {
    /// Operations will be executed in `root`, a directory or mount point.
    ///
    /// # Errors
    /// What opening `root` gives.
    pub fn new(root: impl AsRef<Path>) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(RealFs {
            outside: rustix::fs::open("/", flags, Mode::empty())?,
            inside: rustix::fs::open(root.as_ref(), flags, Mode::empty())?,
            open_files: rustix::fs::open("/proc/self/fd", flags, Mode::empty())?,
            slots: BTreeMap::new(),
        })
    }

    /// Executes one operation, with the tree as this thread's root while it lasts.
    ///
    /// # Errors
    /// What the system call gives; `EBADF` for an empty slot; `EPERM` without `CAP_SYS_CHROOT`.
    pub fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        change_root(&self.inside)?;
        let answer = self.apply_inside(op);
        change_root(&self.outside)?;
        answer
    }

    /// Closes all files held open.
    pub fn close_all(&mut self) {
        self.slots.clear();
    }

    /// Makes the tree the root of the calling thread for good.
    pub(super) fn enter(&self) -> Result<(), Errno> {
        change_root(&self.inside)
    }

    /// Executes one operation in a thread whose root is the tree.
    pub(super) fn apply_inside(&mut self, op: &Op) -> Answer {
        match op {
            Op::Metadata { path, follow } => {
                not_empty(path)?;
                stat_at(CWD, path, *follow).map(Outcome::Metadata)
            }
            Op::Access { path, mode } => {
                let wanted = access(mode.read, mode.write, mode.execute);
                rustix::fs::accessat(CWD, path, wanted, AtFlags::EACCESS)?;
                DONE
            }
            Op::ReadLink { path } => {
                let target = rustix::fs::readlinkat(CWD, path, Vec::new())?;
                Ok(Outcome::Bytes(target.into_bytes()))
            }
            Op::ReadDir { path } => read_dir(path).map(Outcome::Entries),
            Op::Read { path, offset, len } => {
                let file = open(path, &OpenOptions::new().read(true))?;
                read(file.as_fd(), *offset, *len)
            }
            Op::GetXattr { path, follow, name } => get_xattr(path, *follow, name),
            Op::ListXattrs { path, follow } => list_xattrs(path, *follow),
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
            Op::Copy { from, to } => copy(from, to),
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
            Op::GetFlags { path } => {
                let file = open_for_flags(path)?;
                Ok(Outcome::Flags(named_flags(ioctl_getflags(&file)?)))
            }
            Op::SetFlags { path, flags } => {
                let file = open_for_flags(path)?;
                let set = || ioctl_setflags(&file, with_flags(ioctl_getflags(&file)?, *flags));
                match set() {
                    // The other flags were those of the lower's filesystem, and the upper's wants its own
                    // (ext4 that the file has extents). It is copied up by now and tells them.
                    Err(rustix::io::Errno::OPNOTSUPP) => set()?,
                    done => done?,
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
                let disguise = Disguise::new(caller)?;
                let answer = self.apply_inside(op);
                disguise.end()?;
                answer
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
            Op::HandleRead { slot, offset, len } => read(self.slot(*slot)?, *offset, *len),
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
            // New operations get a system call when they get a meaning.
            _ => Err(Errno::ENOSYS),
        }
    }

    fn slot(&self, slot: u8) -> Result<BorrowedFd<'_>, Errno> {
        self.slots.get(&slot).map(AsFd::as_fd).ok_or(Errno::EBADF)
    }
}

/// Bytes asked for at a time.
const READ_PIECE_BYTES: usize = 128 << 10;

fn read(file: BorrowedFd<'_>, offset: u64, len: u64) -> Answer {
    let len = usize::try_from(len.min(READ_BYTES_MAX)).unwrap_or(0);
    let mut buf = Vec::new();
    let mut got = 0;
    loop {
        // Piece by piece, as the length may be any number, and a file may hold more than its size
        // says (rule R176).
        buf.resize(len.min(got + READ_PIECE_BYTES), 0);
        let rest = buf.get_mut(got..).unwrap_or_default();
        // Once at least: a file that must not be read says so.
        match rustix::io::pread(file, rest, offset + got as u64)? {
            0 => break,
            n => got += n,
        }
    }
    buf.truncate(got);
    Ok(Outcome::Bytes(buf))
}

fn get_xattr(path: &Path, follow: bool, name: &XattrName) -> Answer {
    let mut buf = vec![0; XATTR_BYTES_MAX];
    let len = match follow {
        true => rustix::fs::getxattr(path, name.as_bytes(), buf.as_mut_slice())?,
        false => rustix::fs::lgetxattr(path, name.as_bytes(), buf.as_mut_slice())?,
    };
    buf.truncate(len);
    Ok(Outcome::Bytes(buf))
}

fn list_xattrs(path: &Path, follow: bool) -> Answer {
    let mut buf = vec![0; XATTR_BYTES_MAX];
    let len = match follow {
        true => rustix::fs::listxattr(path, buf.as_mut_slice())?,
        false => rustix::fs::llistxattr(path, buf.as_mut_slice())?,
    };
    buf.truncate(len);
    let names = buf.split(|b| *b == 0).filter(|n| !n.is_empty());
    let mut names: Vec<XattrName> = names.map(XattrName::new).collect::<Result<_, _>>()?;
    names.sort_unstable();
    Ok(Outcome::Names(names))
}

fn copy(from: &Path, to: &Path) -> Answer {
    let source = open(from, &OpenOptions::new().read(true))?;
    let meta = stat_at(source.as_fd(), Path::new(""), false)?;
    let mode = meta.mode;
    if let Ok(other) = stat_at(CWD, to, true)
        && (other.dev, other.ino) == (meta.dev, meta.ino)
    {
        return Err(Errno::EINVAL);
    }
    let options = OpenOptions::new().write(true).create(true).truncate(true);
    let target = open(to, &options.mode(mode))?;
    let len = rustix::fs::seek(&source, SeekFrom::End(0))?;
    let mut buf = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < len {
        let start = match rustix::fs::seek(&source, SeekFrom::Data(at)) {
            Err(rustix::io::Errno::NXIO) => break,
            other => other?,
        };
        at = rustix::fs::seek(&source, SeekFrom::Hole(start))?;
        let mut offset = start;
        while offset < at {
            let want = usize::try_from(at - offset).unwrap_or(COPY_BYTES);
            let part = buf.get_mut(..want.min(COPY_BYTES)).unwrap_or_default();
            let got = rustix::io::pread(&source, part, offset)?;
            if got == 0 {
                break;
            }
            write(target.as_fd(), offset, buf.get(..got).unwrap_or_default())?;
            offset += got as u64;
        }
    }
    if rustix::fs::seek(&target, SeekFrom::End(0))? < len {
        rustix::fs::ftruncate(&target, len)?;
    }
    rustix::fs::fchmod(&target, Mode::from_raw_mode(mode))?;
    Ok(Outcome::Count(len))
}
