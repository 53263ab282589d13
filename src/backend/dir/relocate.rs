//! Names that come and go: link, rename, remove, and what they do to live nodes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, RenameFlags};
use rustix::io::Errno as Sys;

use super::resolve::{open_path, stale, statx_at};
use super::set;
use super::stat;
use super::tree::{DirNode, Location, Tree, Writable, change_names};
use crate::backend::encoding::is_char_whiteout;
use crate::backend::{RemoveKind, RenameHow, Result};
use crate::errno::Errno;
use crate::path::Name;

/// A directory of this layer and a name in it.
#[derive(Copy, Clone)]
pub(super) struct Spot<'a> {
    pub(super) dir: &'a DirNode,
    pub(super) name: &'a Name,
}

/// How often an operation starts again because the node was moved meanwhile.
const RETRIES_MAX: usize = 64;

/// Gives `node` the name `to` as well.
pub(super) fn link(node: &DirNode, to: Spot<'_>) -> Result<()> {
    if node.file_type.is_dir() {
        return Err(Errno::EPERM.into());
    }
    let to_fd = to.dir.dir_fd()?;
    for _ in 0..RETRIES_MAX {
        match node.location() {
            Location::Gone => return Err(Errno::ESTALE.into()),
            Location::Pinned(fd) => return link_held(node, &fd, to, &to_fd),
            Location::Unnamed(file) => return link_held(node, &file.fd, to, &to_fd),
            Location::At(dir, name) => {
                let from_fd = dir.dir_fd()?;
                let _gates = change_names(&dir, to.dir);
                if !node.is_at(&dir, &name) {
                    continue;
                }
                let flags = AtFlags::empty();
                let from = name.as_bytes();
                let done = rustix::fs::linkat(&from_fd, from, &to_fd, to.name.as_bytes(), flags);
                return match done {
                    // Which of the two is absent?
                    Err(Sys::NOENT) if statx_at(from_fd.as_fd(), from).is_err() => {
                        Err(Errno::ESTALE.into())
                    }
                    done => Ok(done?),
                };
            }
        }
    }
    Err(Errno::ESTALE.into())
}

/// Gives a node that only a descriptor keeps a name.
fn link_held(node: &DirNode, fd: &OwnedFd, to: Spot<'_>, to_fd: &OwnedFd) -> Result<()> {
    let _gates = change_names(to.dir, to.dir);
    link_fd(fd.as_fd(), to_fd.as_fd(), to.name)?;
    // It has a name again: its descriptor can go.
    let (dir, node) = (to.dir.arc()?, node.arc()?);
    node.set_location(Location::At(dir, to.name.clone()));
    to.dir.set_known(to.name, Some(&node));
    Ok(())
}

/// Gives what a descriptor holds a name: directly where that is permitted, else through its magic link.
fn link_fd(fd: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &Name) -> std::result::Result<(), Sys> {
    static DIRECTLY: AtomicBool = AtomicBool::new(true);
    let name = name.as_bytes();
    if DIRECTLY.load(Ordering::Relaxed) {
        match rustix::fs::linkat(fd, c"", to, name, AtFlags::EMPTY_PATH) {
            Err(Sys::NOENT) => {}
            done => return done,
        }
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::linkat(CWD, path.as_str(), to, name, AtFlags::SYMLINK_FOLLOW)?;
    // The refusal was no absence of the directory.
    DIRECTLY.store(false, Ordering::Relaxed);
    Ok(())
}

/// Removes the name `at`; a live node that has it is kept by a descriptor.
pub(super) fn remove(at: Spot<'_>, kind: RemoveKind) -> Result<()> {
    let fd = at.dir.dir_fd()?;
    let _gates = change_names(at.dir, at.dir);
    let node = at.dir.known(at.name);
    let pin = match &node {
        Some(node) => Some(pin(node, fd.as_fd(), at.name)?),
        None => None,
    };
    let flags = match kind {
        RemoveKind::NonDirectory => AtFlags::empty(),
        RemoveKind::Directory => AtFlags::REMOVEDIR,
    };
    match rustix::fs::unlinkat(&fd, at.name.as_bytes(), flags) {
        Err(Sys::EXIST) => return Err(Errno::ENOTEMPTY.into()),
        done => done?,
    }
    settle_removed(at, node.zip(pin));
    Ok(())
}

/// A descriptor that keeps `node`, which has the name `name`, once the name is gone.
fn pin(node: &DirNode, dir: BorrowedFd<'_>, name: &Name) -> Result<Arc<OwnedFd>> {
    match node.held() {
        Some(fd) => Ok(fd),
        None => Ok(Arc::new(open_path(dir, name).map_err(|e| match e {
            // The contract's errno for a name that is not there.
            Sys::NOENT => Errno::ENOENT,
            e => stale(e),
        })?)),
    }
}

fn settle_removed(at: Spot<'_>, node: Option<(Arc<DirNode>, Arc<OwnedFd>)>) {
    if let Some((node, pin)) = node {
        node.set_location(Location::Pinned(pin));
    }
    at.dir.set_known(at.name, None);
}

/// `renameat2`; where an ordinary user owns a directory that must change its parent but may not
/// write to it, with its owner's write permission for that moment.
///
/// Deviation: a crash in that moment leaves the permission set.
pub(super) fn rename_sys(
    from: (BorrowedFd<'_>, &Name),
    to: (BorrowedFd<'_>, &Name),
    flags: RenameFlags,
) -> std::result::Result<(), Sys> {
    let call =
        || rustix::fs::renameat_with(from.0, from.1.as_bytes(), to.0, to.1.as_bytes(), flags);
    let first = call();
    if first != Err(Sys::ACCESS) {
        return first;
    }
    let Ok(mode) = set::unlock_dir(from.0, from.1) else {
        return first;
    };
    if mode & 0o200 != 0 {
        return first;
    }
    let second = call();
    let (dir, name) = if second.is_ok() { to } else { from };
    let place = super::resolve::Place::Named(dir, name);
    // It was changed a moment ago, so it can be changed back.
    let _ = set::chmod(place, mode);
    second
}

/// Moves a name.
pub(super) fn rename(
    tree: &Tree,
    w: &Writable,
    from: Spot<'_>,
    to: Spot<'_>,
    how: RenameHow,
) -> Result<()> {
    let flags = match how {
        RenameHow::NoReplace => RenameFlags::NOREPLACE,
        RenameHow::Replace => RenameFlags::empty(),
        RenameHow::Exchange => RenameFlags::EXCHANGE,
        RenameHow::LeaveWhiteout if w.rename_whiteout => RenameFlags::WHITEOUT,
        RenameHow::LeaveWhiteout => return Err(Errno::EOPNOTSUPP.into()),
    };
    let from_fd = from.dir.dir_fd()?;
    let to_fd = to.dir.dir_fd()?;
    let _gates = change_names(from.dir, to.dir);
    let moved = from.dir.known(from.name);
    let target = to.dir.known(to.name);
    let replaces = matches!(how, RenameHow::Replace | RenameHow::LeaveWhiteout);
    let pinned = match &target {
        Some(target) if replaces => match pin(target, to_fd.as_fd(), to.name) {
            Ok(fd) => Some(fd),
            Err(e) if e.errno() == Errno::ENOENT => None,
            Err(e) => return Err(e),
        },
        _ => None,
    };
    tree.moves.fetch_add(1, Ordering::SeqCst);
    let done = rename_sys(
        (from_fd.as_fd(), from.name),
        (to_fd.as_fd(), to.name),
        flags,
    );
    match done {
        Err(Sys::EXIST) if replaces => return Err(Errno::ENOTEMPTY.into()),
        done => done?,
    }
    if std::ptr::eq(from.dir, to.dir) && from.name == to.name {
        return Ok(());
    }
    if how == RenameHow::Exchange {
        place(moved.as_ref(), to);
        place(target.as_ref(), from);
        return Ok(());
    }
    let nodes = [moved.as_ref(), target.as_ref()];
    if replaces && both_stayed(from_fd.as_fd(), from.name, &nodes) {
        return Ok(());
    }
    from.dir.set_known(from.name, None);
    settle_removed(to, target.zip(pinned));
    place(moved.as_ref(), to);
    Ok(())
}

/// True if the rename found two names of one node, which leaves both.
fn both_stayed(dir: BorrowedFd<'_>, name: &Name, nodes: &[Option<&Arc<DirNode>>; 2]) -> bool {
    let mut linkable = nodes
        .iter()
        .flatten()
        .filter(|node| !node.file_type.is_dir())
        .peekable();
    if linkable.peek().is_none() {
        return false; // No live node to keep track of, or a directory, which has one name.
    }
    let Ok(found) = statx_at(dir, name.as_bytes()) else {
        return false;
    };
    let Ok(meta) = stat::metadata(&found) else {
        return false;
    };
    let key = stat::key(&found);
    !is_char_whiteout(meta.file_type, meta.rdev) && linkable.any(|node| node.key == key)
}

/// Records that `node` (or a node that nobody holds) is at `spot` now.
fn place(node: Option<&Arc<DirNode>>, spot: Spot<'_>) {
    spot.dir.set_known(spot.name, node);
    let Some(node) = node else { return };
    let Ok(dir) = spot.dir.arc() else { return };
    // A directory that went below itself as far as we know: the layer was changed behind our back.
    // Its old place says nothing any more; a descriptor keeps it if there is one.
    if node.file_type.is_dir() && dir.is_within(node) {
        if let Some(fd) = node.held() {
            node.set_location(Location::Pinned(fd));
        }
        spot.dir.set_known(spot.name, None);
        return;
    }
    node.set_location(Location::At(dir, spot.name.clone()));
}
