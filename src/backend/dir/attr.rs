//! Extended attributes of any node, also of symlinks, fifos and files that may not be opened:
//! by directory and name where the kernel can (since 6.13), else by path through `/proc/self/fd`, whose
//! last component is a name that is not followed.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::XattrFlags;
use rustix::io::Errno as Sys;

use super::c_name::CName;
use super::resolve::{Place, stale};
use crate::backend::{Result, XattrMode};
use crate::errno::Errno;
use crate::sys;
use crate::xattr_name::XattrName;

/// The kernel has the calls that take a directory and a name.
static KNOWS_AT: AtomicBool = AtomicBool::new(true);

/// Runs such a call; `None` if the kernel has none.
fn at<T>(
    call: impl FnOnce() -> std::result::Result<T, Errno>,
) -> Option<std::result::Result<T, Errno>> {
    if !KNOWS_AT.load(Ordering::Relaxed) {
        return None;
    }
    match call() {
        Err(Errno::ENOSYS) => {
            KNOWS_AT.store(false, Ordering::Relaxed);
            None
        }
        answer => Some(answer),
    }
}

/// First guess at the size of a value: overlay attributes, ACLs and capabilities fit.
const VALUE_BYTES_GUESS: usize = 256;

/// Largest value and largest list (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const BYTES_MAX: usize = 65536;

/// The path under which the attribute calls find a node.
struct AttrPath {
    bytes: Vec<u8>,
    /// The path ends in a descriptor's magic link, which is to be followed (once: what it leads to
    /// is not followed any further, even if it is a symlink).
    follow: bool,
}

fn attr_path(place: Place<'_>) -> AttrPath {
    let fd_path = |fd: BorrowedFd<'_>| format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes();
    match place {
        Place::Held(fd) => AttrPath {
            bytes: fd_path(fd),
            follow: true,
        },
        Place::Named(dir, name) => {
            let mut bytes = fd_path(dir);
            bytes.push(b'/');
            bytes.extend_from_slice(name.as_bytes());
            AttrPath {
                bytes,
                follow: false,
            }
        }
    }
}

/// Calls `read` with a buffer that grows until the answer fits.
fn growing(
    mut read: impl FnMut(&mut [u8]) -> std::result::Result<usize, Errno>,
) -> std::result::Result<Vec<u8>, Errno> {
    // Mostly there is nothing, which needs no memory.
    let mut first = [0; VALUE_BYTES_GUESS];
    match read(&mut first) {
        Ok(len) => return Ok(first.get(..len).unwrap_or_default().to_vec()),
        Err(Errno::ERANGE) => {}
        Err(e) => return Err(e),
    }
    let mut buf = Vec::new();
    loop {
        let len = buf.len().max(VALUE_BYTES_GUESS).saturating_mul(8);
        buf.resize(len.min(BYTES_MAX), 0);
        match read(&mut buf) {
            Ok(len) => {
                buf.truncate(len);
                return Ok(buf);
            }
            Err(Errno::ERANGE) if buf.len() < BYTES_MAX => {}
            Err(e) => return Err(e),
        }
    }
}

/// A name under which the layer should know the node is not there any more.
fn gone(errno: Errno) -> Errno {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => Errno::ESTALE,
        errno => errno,
    }
}

/// The value of an attribute; `None` if it is not set or cannot be here.
pub(super) fn get(place: Place<'_>, name: &XattrName) -> Result<Option<Vec<u8>>> {
    let got = match get_at(place, name)? {
        Some(got) => got,
        None => {
            let path = attr_path(place);
            let (path, follow, name) = (path.bytes.as_slice(), path.follow, name.as_bytes());
            growing(|buf| {
                Ok(if follow {
                    rustix::fs::getxattr(path, name, buf)?
                } else {
                    rustix::fs::lgetxattr(path, name, buf)?
                })
            })
        }
    };
    match got {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(None),
        Err(e) => Err(gone(e).into()),
    }
}

/// What a system call read, or its errno.
type Read = std::result::Result<Vec<u8>, Errno>;

/// As [`get`] by directory and name; `None` if that is not possible.
fn get_at(place: Place<'_>, name: &XattrName) -> Result<Option<Read>> {
    let Place::Named(dir, file) = place else {
        return Ok(None);
    };
    let (attr, file) = (CName::new(name.as_bytes())?, CName::new(file.as_bytes())?);
    let (attr, file) = (attr.get()?, file.get()?);
    Ok(at(|| growing(|buf| sys::getxattrat(dir, file, attr, buf))))
}

/// As [`list`] by directory and name; `None` if that is not possible.
fn list_at(place: Place<'_>) -> Result<Option<Read>> {
    let Place::Named(dir, file) = place else {
        return Ok(None);
    };
    let file = CName::new(file.as_bytes())?;
    let file = file.get()?;
    Ok(at(|| growing(|buf| sys::listxattrat(dir, file, buf))))
}

/// The names of all attributes, each with a NUL behind it; `None` if the filesystem lists none.
pub(super) fn list(place: Place<'_>) -> Result<Option<Vec<u8>>> {
    let got = match list_at(place)? {
        Some(got) => got,
        None => {
            let path = attr_path(place);
            let (path, follow) = (path.bytes.as_slice(), path.follow);
            growing(|buf| {
                Ok(if follow {
                    rustix::fs::listxattr(path, buf)?
                } else {
                    rustix::fs::llistxattr(path, buf)?
                })
            })
        }
    };
    match got {
        Ok(list) => Ok(Some(list)),
        Err(Errno::EOPNOTSUPP) => Ok(None),
        Err(e) => Err(gone(e).into()),
    }
}

/// The names in such a list.
pub(super) fn in_list(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|b| *b == 0).filter(|name| !name.is_empty())
}

/// The names in such a list, checked.
pub(super) fn names(list: &[u8]) -> Result<Vec<XattrName>> {
    in_list(list)
        .map(|name| XattrName::new(name).map_err(Into::into))
        .collect()
}

/// Sets or removes an attribute.
pub(super) fn set(
    place: Place<'_>,
    name: &XattrName,
    value: Option<&[u8]>,
    mode: XattrMode,
) -> Result<()> {
    let flags = match mode {
        XattrMode::Set => XattrFlags::empty(),
        XattrMode::Create => XattrFlags::CREATE,
        XattrMode::Replace => XattrFlags::REPLACE,
    };
    if let (Place::Held(fd), Some(value)) = (place, value) {
        match rustix::fs::fsetxattr(fd, name.as_bytes(), value, flags) {
            // It is a mere location.
            Err(Sys::BADF) => {}
            done => return done.map_err(|e| stale(e).into()),
        }
    }
    let path = attr_path(place);
    let (path, follow, name) = (path.bytes.as_slice(), path.follow, name.as_bytes());
    let done = match (value, follow) {
        (Some(value), true) => rustix::fs::setxattr(path, name, value, flags),
        (Some(value), false) => rustix::fs::lsetxattr(path, name, value, flags),
        (None, true) => rustix::fs::removexattr(path, name),
        (None, false) => rustix::fs::lremovexattr(path, name),
    };
    done.map_err(|e| stale(e).into())
}

/// `ENOENT` unless `/proc/self/fd` is what it should be: attributes and files are reached through
/// it.
pub(super) fn check_proc() -> std::result::Result<(), Errno> {
    const PROC_SUPER_MAGIC: u64 = 0x9fa0;
    match rustix::fs::statfs("/proc/self/fd") {
        Ok(fs) if fs.f_type as u64 == PROC_SUPER_MAGIC => Ok(()),
        Ok(_) => Err(Errno::ENOENT),
        Err(e) => Err(e.into()),
    }
}
