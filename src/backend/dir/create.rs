//! Making nodes: complete and exact before anybody can see them.
//!
//! A node for the visible tree is made in the staging directory, given its owner and mode, and moved
//! into place. There it inherits nothing: no default ACL, no group. The staging directory is
//! outside the visible tree and swept at open, so a node for it is made in place.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType as SysType, Gid, Mode, RenameFlags, Statx, Uid};
use rustix::io::Errno as Sys;

use super::node::make_unnamed;
use super::relocate::rename_sys;
use super::resolve::{Place, statx_at, statx_fd};
use super::set;
use super::stat;
use super::tree::{DirNode, Tree, Unnamed, Writable, change_names, lock};
use crate::backend::encoding::WHITEOUT_RDEV;
use crate::backend::{NewKind, NewNode, Result};
use crate::errno::Errno;
use crate::meta::DeviceId;
use crate::path::Name;

/// Largest device number parts that `mknod` takes: 12 and 20 bits. Higher bits would be cut off,
/// and some numbers turn into the whiteout's.
const MAJOR_MAX: u32 = 0xfff;
const MINOR_MAX: u32 = 0xf_ffff;

/// Longest symlink target.
const LINK_BYTES_MAX: usize = 4095;

/// Names of this backend's own in the staging directory begin with this. The kernel, too, sweeps
/// what begins with `#`.
pub(super) const OWN_PREFIX: &str = "#layerstack-";

/// The shared whiteout in the staging directory: all whiteouts are links to it (rule R075).
const SHARED_WHITEOUT: &[u8] = b"#layerstack-whiteout";

/// A name in the staging directory that nobody else uses.
pub(super) fn temp_name() -> Result<Name> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(Name::new(format!("{OWN_PREFIX}{n:x}"))?)
}

/// Creates `new` as `name` in `dir` and makes a node of it.
pub(super) fn create(
    tree: &Arc<Tree>,
    w: &Writable,
    dir: &DirNode,
    name: &Name,
    new: &NewNode,
) -> Result<Arc<DirNode>> {
    let fd = dir.dir_fd()?;
    let node_of = |found: &Statx| {
        let node = dir
            .arc()?
            .child(name, stat::key(found), new.kind.file_type());
        Ok(node)
    };
    if w.stages_in(dir.key) {
        let _gates = change_names(dir, dir);
        let found = make(tree, w, fd.as_fd(), name, new)?;
        return node_of(&found);
    }
    let temp = temp_name()?;
    let found = make(tree, w, w.work.as_fd(), &temp, new)?;
    let _gates = change_names(dir, dir);
    let moved = rename_sys(
        (w.work.as_fd(), &temp),
        (fd.as_fd(), name),
        RenameFlags::NOREPLACE,
    );
    if let Err(e) = moved {
        discard(w.work.as_fd(), &temp, &new.kind);
        return Err(e.into());
    }
    node_of(&found)
}

/// Makes the node in place, exact; leaves nothing behind on failure.
fn make(
    tree: &Tree,
    w: &Writable,
    dir: BorrowedFd<'_>,
    name: &Name,
    new: &NewNode,
) -> Result<Statx> {
    make_sys(dir, name, new)?;
    let exact = statx_at(dir, name.as_bytes())
        .map_err(Into::into)
        .and_then(|found| {
            make_exact(tree, w, Place::Named(dir, name), &found, new)?;
            Ok(found)
        });
    if exact.is_err() {
        discard(dir, name, &new.kind);
    }
    exact
}

fn discard(dir: BorrowedFd<'_>, name: &Name, kind: &NewKind) {
    let flags = match kind {
        NewKind::Directory => AtFlags::REMOVEDIR,
        _ => AtFlags::empty(),
    };
    // What cannot be removed now is swept at the next open.
    let _ = rustix::fs::unlinkat(dir, name.as_bytes(), flags);
}

fn make_sys(dir: BorrowedFd<'_>, name: &Name, new: &NewNode) -> Result<()> {
    let mode = Mode::from_raw_mode(new.mode & 0o7777);
    let bytes = name.as_bytes();
    let mknod = |kind: SysType, dev: DeviceId| {
        if dev.major > MAJOR_MAX || dev.minor > MINOR_MAX {
            return Err(Sys::INVAL);
        }
        let dev = rustix::fs::makedev(dev.major, dev.minor);
        rustix::fs::mknodat(dir, bytes, kind, mode, dev)
    };
    let none = DeviceId::default();
    let done = match &new.kind {
        NewKind::File => mknod(SysType::RegularFile, none),
        NewKind::Directory => rustix::fs::mkdirat(dir, bytes, mode),
        NewKind::Symlink(target) => {
            if target.is_empty() || target.contains(&0) {
                return Err(Errno::EINVAL.into());
            }
            if target.len() > LINK_BYTES_MAX {
                return Err(Errno::ENAMETOOLONG.into());
            }
            rustix::fs::symlinkat(target.as_slice(), dir, bytes)
        }
        NewKind::Fifo => mknod(SysType::Fifo, none),
        NewKind::Socket => mknod(SysType::Socket, none),
        NewKind::CharDevice(dev) if dev.is_zero() => return Err(Errno::EPERM.into()),
        NewKind::CharDevice(dev) => mknod(SysType::CharacterDevice, *dev),
        NewKind::BlockDevice(dev) => mknod(SysType::BlockDevice, *dev),
    };
    Ok(done?)
}

/// Gives a new node the owner and mode that `new` wants, as far as it does not have them: the umask
/// and the filesystem had their say.
fn make_exact(
    tree: &Tree,
    w: &Writable,
    place: Place<'_>,
    found: &Statx,
    new: &NewNode,
) -> Result<()> {
    let gid = match new.gid {
        None if w.inherits_group => Some(rustix::process::getegid().as_raw()),
        gid => gid,
    };
    let uid = new.uid.filter(|uid| *uid != found.stx_uid);
    let gid = gid.filter(|gid| *gid != found.stx_gid);
    let chowned = set::chown(tree, place, uid, gid)?;
    let wanted = new.mode & 0o7777;
    let is_link = matches!(new.kind, NewKind::Symlink(_));
    let set_id_lost = chowned && wanted & 0o6000 != 0;
    if !is_link && (stat::mode(found) != wanted || set_id_lost) {
        set::chmod(place, wanted)?;
    }
    Ok(())
}

/// What lets the owner read and write.
const OWNERS: u32 = 0o600;

/// Creates a file without a name.
pub(super) fn tmpfile(tree: &Arc<Tree>, w: &Writable, new: &NewNode) -> Result<Arc<DirNode>> {
    if new.kind != NewKind::File {
        return Err(Errno::EINVAL.into());
    }
    if !tree.capabilities.tmpfile {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let fd = make_unnamed(w.work.as_fd(), Mode::from_raw_mode(new.mode & 0o7777))?;
    let found = statx_fd(fd.as_fd())?;
    make_exact(tree, w, Place::Held(fd.as_fd()), &found, new)?;
    let own = new.uid.is_none_or(|uid| uid == found.stx_uid);
    let file = Unnamed {
        fd: Arc::new(fd),
        is_permitted: AtomicBool::new(own && new.mode & OWNERS == OWNERS),
    };
    Ok(DirNode::unnamed(tree, file, stat::key(&found)))
}

/// Makes a whiteout as `name` in `dir`: a link to the shared one if possible (rule R075).
pub(super) fn whiteout(tree: &Tree, w: &Writable, dir: &DirNode, name: &Name) -> Result<()> {
    if !tree.capabilities.whiteouts {
        return Err(Errno::EPERM.into());
    }
    let fd = dir.dir_fd()?;
    if w.share_whiteouts.load(Ordering::Relaxed) {
        let mut made = lock(&w.shared_whiteout);
        for _ in 0..2 {
            if !*made {
                match make_whiteout(w.work.as_fd(), SHARED_WHITEOUT) {
                    Ok(()) | Err(Sys::EXIST) => *made = true,
                    Err(e) => return Err(e.into()),
                }
            }
            let _gates = change_names(dir, dir);
            let flags = AtFlags::empty();
            match rustix::fs::linkat(&w.work, SHARED_WHITEOUT, &fd, name.as_bytes(), flags) {
                Ok(()) => return Ok(()),
                Err(e @ (Sys::EXIST | Sys::NAMETOOLONG | Sys::NOSPC | Sys::DQUOT)) => {
                    return Err(e.into());
                }
                // The directory was removed, or the shared whiteout was.
                Err(Sys::NOENT) => *made = false,
                // It has as many links as it may have: begin another one.
                Err(Sys::MLINK) => {
                    rustix::fs::unlinkat(&w.work, SHARED_WHITEOUT, flags)?;
                    *made = false;
                }
                Err(_) => {
                    w.share_whiteouts.store(false, Ordering::Relaxed);
                    break;
                }
            }
        }
    }
    let temp = temp_name()?;
    make_whiteout(w.work.as_fd(), temp.as_bytes())?;
    let _gates = change_names(dir, dir);
    let moved = rename_sys(
        (w.work.as_fd(), &temp),
        (fd.as_fd(), name),
        RenameFlags::NOREPLACE,
    );
    if moved.is_err() {
        discard(w.work.as_fd(), &temp, &NewKind::File);
    }
    Ok(moved?)
}

pub(super) fn make_whiteout(dir: BorrowedFd<'_>, name: &[u8]) -> std::result::Result<(), Sys> {
    let dev = rustix::fs::makedev(WHITEOUT_RDEV.major, WHITEOUT_RDEV.minor);
    rustix::fs::mknodat(dir, name, SysType::CharacterDevice, Mode::empty(), dev)
}

/// An owner as the system calls take it; `EINVAL` for the value that means "leave it".
pub(super) fn ids(uid: Option<u32>, gid: Option<u32>) -> Result<(Option<Uid>, Option<Gid>)> {
    if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
        return Err(Errno::EINVAL.into());
    }
    Ok((uid.map(Uid::from_raw), gid.map(Gid::from_raw)))
}
