//! The system calls behind single operations, and the composite ones.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    Access, AtFlags, CWD, FallocateFlags, Gid, IFlags, Mode, OFlags, Timespec, Timestamps, Uid,
};

use super::real_fs::{Answer, DONE};
use crate::backend::AllocateMode;
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, InodeFlags, Metadata, SetAttr, SetTime, StatFs};
use crate::op::{EntryInfo, OpenOptions, Outcome, RenameFlags};
use crate::path::Name;
use crate::testing::snapshot::stat_at;

pub(super) fn change_root(root: &OwnedFd) -> Result<(), Errno> {
    rustix::process::fchdir(root)?;
    Ok(rustix::process::chroot(".")?)
}

pub(super) fn done(result: Result<(), Errno>) -> Answer {
    result.map(|()| Outcome::Done)
}

/// `statx` takes the empty path for the directory itself only if asked to; here it is `ENOENT`.
pub(super) fn not_empty(path: &Path) -> Result<(), Errno> {
    match path.as_os_str().is_empty() {
        true => Err(Errno::ENOENT),
        false => Ok(()),
    }
}

pub(super) fn open_flags(o: &OpenOptions) -> Result<OFlags, Errno> {
    let mut flags = match (o.read, o.write || o.append) {
        (true, true) => OFlags::RDWR,
        (true, false) => OFlags::RDONLY,
        (false, true) => OFlags::WRONLY,
        (false, false) => return Err(Errno::EINVAL),
    };
    let optional = [
        (o.append, OFlags::APPEND),
        (o.truncate, OFlags::TRUNC),
        (o.create, OFlags::CREATE),
        (o.create_new, OFlags::CREATE | OFlags::EXCL),
        (o.no_follow, OFlags::NOFOLLOW),
        (o.tmpfile, OFlags::TMPFILE),
    ];
    for (on, flag) in optional {
        if on {
            flags |= flag;
        }
    }
    Ok(flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY)
}

pub(super) fn open(path: &Path, options: &OpenOptions) -> Result<OwnedFd, Errno> {
    let flags = open_flags(options)?;
    match rustix::fs::open(path, flags, Mode::from_raw_mode(options.mode)) {
        Ok(file) => match stat_at(file.as_fd(), Path::new(""), false)?.file_type {
            FileType::Regular => Ok(file),
            FileType::Directory => Err(Errno::EISDIR),
            _ => Err(Errno::ENXIO),
        },
        // What a mount without devices answers for one, even to who may open it.
        Err(rustix::io::Errno::ACCESS) => match stat_at(CWD, path, !options.no_follow) {
            Ok(meta) if meta.file_type.is_special() => {
                let writes = options.writes() || options.truncate;
                let wanted = access(options.read, writes, false);
                rustix::fs::accessat(CWD, path, wanted, AtFlags::EACCESS)?;
                Err(Errno::ENXIO)
            }
            _ => Err(Errno::EACCES),
        },
        Err(errno) => Err(errno.into()),
    }
}

/// The bits of `access(2)`.
pub(super) fn access(read: bool, write: bool, execute: bool) -> Access {
    let mut wanted = Access::EXISTS;
    wanted.set(Access::READ_OK, read);
    wanted.set(Access::WRITE_OK, write);
    wanted.set(Access::EXEC_OK, execute);
    wanted
}

pub(super) fn write(file: BorrowedFd<'_>, offset: u64, data: &[u8]) -> Answer {
    let mut done = 0;
    loop {
        let rest = data.get(done..).unwrap_or_default();
        done += rustix::io::pwrite(file, rest, offset + done as u64)?;
        if done == data.len() {
            return Ok(Outcome::Count(done as u64));
        }
    }
}

pub(super) fn allocate(file: BorrowedFd<'_>, mode: AllocateMode, offset: u64, len: u64) -> Answer {
    let keep = FallocateFlags::KEEP_SIZE;
    let flags = match mode {
        AllocateMode::Allocate => FallocateFlags::empty(),
        AllocateMode::AllocateKeepSize => keep,
        AllocateMode::PunchHole => FallocateFlags::PUNCH_HOLE | keep,
        AllocateMode::ZeroRange => FallocateFlags::ZERO_RANGE,
        AllocateMode::ZeroRangeKeepSize => FallocateFlags::ZERO_RANGE | keep,
        AllocateMode::CollapseRange => FallocateFlags::COLLAPSE_RANGE,
        AllocateMode::InsertRange => FallocateFlags::INSERT_RANGE,
        AllocateMode::UnshareRange => FallocateFlags::UNSHARE_RANGE,
    };
    rustix::fs::fallocate(file, flags, offset, len)?;
    DONE
}

pub(super) fn read_dir(path: &Path) -> Result<Vec<EntryInfo>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    entries_of(rustix::fs::open(path, flags, Mode::empty())?)
}

fn entries_of(dir: OwnedFd) -> Result<Vec<EntryInfo>, Errno> {
    let mut entries = Vec::new();
    for entry in rustix::fs::Dir::new(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            entries.push(EntryInfo {
                name: Name::new(name)?,
                file_type: FileType::from_mode_bits(entry.file_type().as_raw_mode()),
                ino: entry.ino(),
            });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

pub(super) fn statfs() -> Answer {
    let s = rustix::fs::statfs("/")?;
    let posix = rustix::fs::statvfs("/")?;
    let to = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(Outcome::StatFs(StatFs {
        fs_type: to(s.f_type),
        block_size: to(s.f_bsize),
        blocks: s.f_blocks,
        blocks_free: s.f_bfree,
        blocks_available: s.f_bavail,
        files: s.f_files,
        files_free: s.f_ffree,
        name_bytes_max: to(s.f_namelen),
        fs_id: posix.f_fsid,
    }))
}

pub(super) fn mkdir(path: &Path, mode: u32) -> Result<(), Errno> {
    Ok(rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(mode))?)
}

pub(super) fn rmdir(path: &Path) -> Result<(), Errno> {
    Ok(rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

pub(super) fn mknod(
    path: &Path,
    file_type: FileType,
    mode: u32,
    rdev: DeviceId,
) -> Result<(), Errno> {
    let kind = rustix::fs::FileType::from_raw_mode(file_type.mode_bits());
    let device = rustix::fs::makedev(rdev.major, rdev.minor);
    Ok(rustix::fs::mknodat(
        CWD,
        path,
        kind,
        Mode::from_raw_mode(mode),
        device,
    )?)
}

pub(super) fn create_dir_all(path: &Path, mode: u32) -> Result<(), Errno> {
    not_empty(path)?;
    // As mkdir(1) with -p: one component after the other.
    let bytes = path.as_os_str().as_bytes();
    let last = bytes
        .iter()
        .rposition(|b| *b != b'/')
        .map_or(bytes.len(), |i| i + 1);
    for end in 1..=last {
        let (head, tail) = bytes.split_at(end);
        let component = head.rsplit(|b| *b == b'/').next().unwrap_or_default();
        if component.is_empty() || (end < last && tail.first() != Some(&b'/')) {
            continue;
        }
        let prefix = Path::new(OsStr::from_bytes(head));
        match stat_at(CWD, prefix, true) {
            Ok(meta) if meta.is_dir() => {}
            Err(Errno::ENOENT) if component != b".." && component != b"." => mkdir(prefix, mode)?,
            Ok(_) | Err(Errno::ELOOP | Errno::ENOTDIR) if end == last => return Err(Errno::EEXIST),
            Ok(_) => return Err(Errno::ENOTDIR),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

pub(super) fn remove_dir_all(path: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // As rm(1), a symlink is not followed, with a slash behind it neither.
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|b| *b != b'/').map_or(1, |i| i + 1);
    let bare = OsStr::from_bytes(bytes.get(..end).unwrap_or(bytes));
    if stat_at(CWD, Path::new(bare), false)?.file_type.is_symlink() {
        return Err(Errno::ENOTDIR);
    }
    drop(rustix::fs::open(path, flags, Mode::empty())?);
    // As rm(1), which refuses these.
    let last = bytes.rsplit(|b| *b == b'/').find(|part| !part.is_empty());
    let Some(last) = last.filter(|last| *last != b"." && *last != b"..") else {
        return Err(Errno::EBUSY);
    };
    let parent = Path::new(bare)
        .parent()
        .filter(|p| !p.as_os_str().is_empty());
    let at = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(parent.unwrap_or(Path::new("/")), at, Mode::empty())?;
    empty_and_remove(parent.as_fd(), &Name::new(last)?)
}

/// By descriptors: the path may lead through a symlink that is removed on the way.
fn empty_and_remove(parent: BorrowedFd<'_>, name: &Name) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(parent, name.as_path(), flags, Mode::empty())?;
    for entry in entries_of(dir.try_clone().map_err(|e| Errno::of_io(&e))?)? {
        match stat_at(dir.as_fd(), entry.name.as_path(), false).map(|meta| meta.file_type) {
            // A stray whiteout is listed, but is not there (rule R079).
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
            Ok(FileType::Directory) => empty_and_remove(dir.as_fd(), &entry.name)?,
            Ok(_) => rustix::fs::unlinkat(&dir, entry.name.as_path(), AtFlags::empty())?,
        }
    }
    Ok(rustix::fs::unlinkat(
        parent,
        name.as_path(),
        AtFlags::REMOVEDIR,
    )?)
}

pub(super) fn rename_flags(f: RenameFlags) -> rustix::fs::RenameFlags {
    use rustix::fs::RenameFlags as R;
    let mut flags = R::empty();
    flags.set(R::NOREPLACE, f.no_replace);
    flags.set(R::EXCHANGE, f.exchange);
    flags.set(R::WHITEOUT, f.whiteout);
    flags
}

pub(super) fn owner(attr: &SetAttr) -> (Option<Uid>, Option<Gid>) {
    (attr.uid.map(Uid::from_raw), attr.gid.map(Gid::from_raw))
}

pub(super) fn times(attr: &SetAttr) -> Option<Timestamps> {
    let time = |t: SetTime| match t {
        SetTime::Omit => Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        SetTime::Now => Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        },
        SetTime::At(t) => Timespec {
            tv_sec: t.secs,
            tv_nsec: t.nanos.into(),
        },
    };
    ((attr.atime, attr.mtime) != (SetTime::Omit, SetTime::Omit)).then(|| Timestamps {
        last_access: time(attr.atime),
        last_modification: time(attr.mtime),
    })
}

pub(super) fn set_attr(path: &Path, follow: bool, attr: &SetAttr) -> Result<(), Errno> {
    let flags = match follow {
        true => AtFlags::empty(),
        false => AtFlags::SYMLINK_NOFOLLOW,
    };
    let before: Metadata = {
        not_empty(path)?;
        stat_at(CWD, path, follow)?
    };
    if attr.uid.is_some() || attr.gid.is_some() {
        let (uid, gid) = owner(attr);
        rustix::fs::chownat(CWD, path, uid, gid, flags)?;
    }
    if let Some(mode) = attr.mode {
        if before.is_symlink() {
            return Err(Errno::EOPNOTSUPP);
        }
        rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty())?;
    }
    if let Some(times) = times(attr) {
        rustix::fs::utimensat(CWD, path, &times, flags)?;
    }
    Ok(())
}

/// Opens what has inode flags. Other objects have none (`ENOTTY`), to who may read them.
pub(super) fn open_for_flags(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    not_empty(path)?;
    if stat_at(CWD, path, true)?.file_type.is_special() {
        rustix::fs::accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS)?;
        return Err(Errno::ENOTTY);
    }
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// One named flag.
type Field = fn(&mut InodeFlags) -> &mut bool;

/// The bits that have a name here.
const FLAGS: [(IFlags, Field); 5] = [
    (IFlags::APPEND, |f| &mut f.append),
    (IFlags::IMMUTABLE, |f| &mut f.immutable),
    (IFlags::SYNC, |f| &mut f.sync),
    (IFlags::NOATIME, |f| &mut f.noatime),
    (IFlags::NODUMP, |f| &mut f.nodump),
];

pub(super) fn named_flags(bits: IFlags) -> InodeFlags {
    let mut flags = InodeFlags::default();
    for (bit, field) in FLAGS {
        *field(&mut flags) = bits.contains(bit);
    }
    flags
}

/// `bits` with those that have a name as `flags` say.
pub(super) fn with_flags(mut bits: IFlags, mut flags: InodeFlags) -> IFlags {
    for (bit, field) in FLAGS {
        bits.set(bit, *field(&mut flags));
    }
    bits
}
