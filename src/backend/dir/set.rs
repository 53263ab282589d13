//! Changing attributes of nodes, and making them durable.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno as Sys;

use super::c_name::CName;
use super::create::ids;
use super::node::open_for_list;
use super::resolve::{Place, open_path, stale, statx_fd};
use super::stat;
use super::tree::{DirNode, Tree};
use crate::backend::{Access, LayerFile, Result};
use crate::errno::Errno;
use crate::meta::{FileType, SetAttr, SetTime};
use crate::sys;

/// Sets owner, then mode, then times.
pub(super) fn set_attr(tree: &Tree, node: &DirNode, attr: &SetAttr) -> Result<()> {
    let times = timestamps(attr)?;
    if attr.mode.is_some() && node.file_type.is_symlink() {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if attr.uid.is_some() || attr.mode.is_some() {
        node.permissions_change();
    }
    node.with_place(|place| {
        chown(tree, place, attr.uid, attr.gid)?;
        if let Some(mode) = attr.mode {
            chmod(place, mode & 0o7777)?;
        }
        if let Some(times) = &times {
            let done = match place {
                Place::Named(dir, name) => {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    rustix::fs::utimensat(dir, name.as_bytes(), times, flags)
                }
                Place::Held(fd) => rustix::fs::utimensat(fd, c"", times, AtFlags::EMPTY_PATH),
            };
            done.map_err(stale)?;
        }
        Ok(())
    })
}

/// Sets the owner; answers whether anything was set. `EPERM` counts as "nothing was" if the layer
/// was opened with `ignore_ownership`.
pub(super) fn chown(
    tree: &Tree,
    place: Place<'_>,
    uid: Option<u32>,
    gid: Option<u32>,
) -> Result<bool> {
    if uid.is_none() && gid.is_none() {
        return Ok(false);
    }
    let (uid, gid) = ids(uid, gid)?;
    let done = match place {
        Place::Named(dir, name) => {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(dir, name.as_bytes(), uid, gid, flags)
        }
        Place::Held(fd) => rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH),
    };
    match done {
        Ok(()) => Ok(true),
        Err(Sys::PERM) if tree.writable.as_ref().is_some_and(|w| w.ignore_ownership) => Ok(false),
        Err(e) => Err(stale(e).into()),
    }
}

/// Sets the permission bits, exactly.
pub(super) fn chmod(place: Place<'_>, mode: u32) -> Result<()> {
    let done = match place {
        Place::Named(dir, name) => sys::fchmodat2(dir, CName::new(name.as_bytes())?.get()?, mode),
        Place::Held(fd) => sys::fchmodat2(fd, c"", mode),
    };
    match done {
        Ok(()) => {}
        Err(Errno::ENOSYS | Errno::EINVAL) => chmod_by_proc(place, mode)?,
        Err(Errno::ENOENT) => return Err(Errno::ESTALE.into()),
        Err(e) => return Err(e.into()),
    }
    // The kernel drops the set-group-id bit silently for a group that the caller is not in.
    if mode & 0o2000 != 0 && stat::mode(&place.statx()?) != mode {
        return Err(Errno::EPERM.into());
    }
    Ok(())
}

/// Sets the size through the magic link of a descriptor that holds the node, so that the filesystem
/// sees `truncate(2)`.
pub(super) fn truncate(node: &DirNode, len: u64) -> Result<()> {
    if !node.file_type.is_file() {
        return Err(Errno::EINVAL.into());
    }
    node.with_place(|place| {
        let opened;
        let fd = match place {
            Place::Held(fd) => fd,
            Place::Named(dir, name) => {
                opened = open_path(dir, name).map_err(stale)?;
                opened.as_fd()
            }
        };
        if stat::file_type(&statx_fd(fd)?)? != FileType::Regular {
            return Err(Errno::ESTALE.into());
        }
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let len = i64::try_from(len).map_err(|_| Errno::EFBIG)?;
        Ok(nix::unistd::truncate(path.as_str(), len).map_err(Errno::from)?)
    })
}

/// As [`chmod`], before Linux 6.6: through the magic link of a descriptor that holds the node.
fn chmod_by_proc(place: Place<'_>, mode: u32) -> Result<()> {
    let opened;
    let fd = match place {
        Place::Held(fd) => fd,
        Place::Named(dir, name) => {
            opened = open_path(dir, name).map_err(stale)?;
            opened.as_fd()
        }
    };
    if stat::file_type(&statx_fd(fd)?)? == FileType::Symlink {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(rustix::fs::chmod(path.as_str(), Mode::from_raw_mode(mode))?)
}

/// The two times as the system call takes them; `None` if both stay.
fn timestamps(attr: &SetAttr) -> Result<Option<Timestamps>> {
    if attr.atime == SetTime::Omit && attr.mtime == SetTime::Omit {
        return Ok(None);
    }
    let spec = |time| {
        let (tv_sec, tv_nsec) = match time {
            SetTime::Omit => (0, rustix::fs::UTIME_OMIT),
            SetTime::Now => (0, rustix::fs::UTIME_NOW),
            SetTime::At(t) if t.nanos < 1_000_000_000 => (t.secs, t.nanos.into()),
            SetTime::At(_) => return Err(Errno::EINVAL),
        };
        Ok(Timespec { tv_sec, tv_nsec })
    };
    Ok(Some(Timestamps {
        last_access: spec(attr.atime)?,
        last_modification: spec(attr.mtime)?,
    }))
}

/// Makes one node durable. What cannot be opened (a symlink, a fifo) goes with its filesystem.
pub(super) fn sync_node(tree: &Tree, node: &DirNode) -> Result<()> {
    match node.file_type {
        FileType::Regular => node.open_file(Access::Read)?.sync(false),
        FileType::Directory => Ok(rustix::fs::fsync(open_for_list(node.dir_fd()?.as_fd())?)?),
        _ => sync_all(tree),
    }
}

/// Makes the layer's whole filesystem durable.
pub(super) fn sync_all(tree: &Tree) -> Result<()> {
    Ok(rustix::fs::syncfs(&tree.root)?)
}

/// Gives the owner of directory `name` in `dir` all permission to it; the old bits. Used where an
/// ordinary user has to move or empty a directory that is not writable.
pub(super) fn unlock_dir(
    dir: std::os::fd::BorrowedFd<'_>,
    name: &crate::path::Name,
) -> Result<u32> {
    let fd = super::resolve::open_beneath(dir, name.as_bytes(), OFlags::PATH | OFlags::DIRECTORY)?;
    let mode = stat::mode(&statx_fd(fd.as_fd())?);
    chmod(Place::Held(fd.as_fd()), mode | 0o700)?;
    Ok(mode)
}
