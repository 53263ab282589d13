//! Inode flags (`chattr(1)`).

use std::os::fd::AsFd;

use rustix::fs::{IFlags, OFlags};

use super::c_name::CName;
use super::node::reopen;
use super::resolve::{Place, open_path, stale};
use super::tree::DirNode;
use crate::backend::Result;
use crate::errno::Errno;
use crate::meta::InodeFlags;
use crate::sys;

const XFLAG_IMMUTABLE: u64 = 0x08;
const XFLAG_APPEND: u64 = 0x10;
const XFLAG_SYNC: u64 = 0x20;
const XFLAG_NOATIME: u64 = 0x40;
const XFLAG_NODUMP: u64 = 0x80;

/// The flags of a regular file or directory; none for other types and where the filesystem has
/// none.
pub(super) fn get(node: &DirNode) -> Result<InodeFlags> {
    if !node.file_type.is_file() && !node.file_type.is_dir() {
        return Ok(InodeFlags::default());
    }
    node.with_place(|place| {
        let told = match place {
            Place::Named(dir, name) => {
                sys::inode_xflags(dir, Some(CName::new(name.as_bytes())?.get()?))
            }
            Place::Held(fd) => sys::inode_xflags(fd, None),
        };
        match told {
            Ok(bits) => Ok(InodeFlags {
                append: bits & XFLAG_APPEND != 0,
                immutable: bits & XFLAG_IMMUTABLE != 0,
                sync: bits & XFLAG_SYNC != 0,
                noatime: bits & XFLAG_NOATIME != 0,
                nodump: bits & XFLAG_NODUMP != 0,
            }),
            Err(Errno::ENOSYS) => by_ioctl(place),
            Err(Errno::EOPNOTSUPP | Errno::ENOTTY | Errno::EINVAL) => Ok(InodeFlags::default()),
            Err(Errno::ENOENT) => Err(Errno::ESTALE.into()),
            Err(e) => Err(e.into()),
        }
    })
}

/// As [`get`], before Linux 6.17. What may not be opened tells nothing.
fn by_ioctl(place: Place<'_>) -> Result<InodeFlags> {
    let Ok(file) = open(place) else {
        return Ok(InodeFlags::default());
    };
    match rustix::fs::ioctl_getflags(&file) {
        Ok(flags) => Ok(InodeFlags {
            append: flags.contains(IFlags::APPEND),
            immutable: flags.contains(IFlags::IMMUTABLE),
            sync: flags.contains(IFlags::SYNC),
            noatime: flags.contains(IFlags::NOATIME),
            nodump: flags.contains(IFlags::NODUMP),
        }),
        Err(_) => Ok(InodeFlags::default()),
    }
}

/// Sets all but those that would make the layer unchangeable, which are taken away.
pub(super) fn set(node: &DirNode, flags: InodeFlags) -> Result<()> {
    node.with_place(|place| {
        let file = open(place)?;
        let mut bits = rustix::fs::ioctl_getflags(&file)?;
        bits.set(IFlags::SYNC, flags.sync);
        bits.set(IFlags::NOATIME, flags.noatime);
        bits.set(IFlags::NODUMP, flags.nodump);
        bits.remove(IFlags::IMMUTABLE | IFlags::APPEND);
        Ok(rustix::fs::ioctl_setflags(&file, bits)?)
    })
}

fn open(place: Place<'_>) -> Result<std::os::fd::OwnedFd> {
    let opened;
    let fd = match place {
        Place::Held(fd) => fd,
        Place::Named(dir, name) => {
            opened = open_path(dir, name).map_err(stale)?;
            opened.as_fd()
        }
    };
    Ok(reopen(fd, OFlags::RDONLY)?)
}
