//! From a node to something that system calls can name: a descriptor, or a directory descriptor and
//! one name.
//!
//! Everything is opened beneath a descriptor that is inside the layer, without following symlinks
//! and without crossing mount points, and is compared by device and inode with what it was found to
//! be. The descriptor of a directory that fell out of the pool is opened again from its nearest
//! ancestor that has one, many names at a time, so depth is limited neither by `PATH_MAX` nor by the
//! stack.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno as Sys;

use super::fds;
use super::stat;
use super::tree::{DirNode, Key, Location, Tree};
use crate::backend::Result;
use crate::errno::Errno;
use crate::path::Name;

/// Names opened with one system call at most. Each such step leaves a descriptor in the pool, from
/// which the next directories up the same path are found again.
const STEP_NAMES_MAX: usize = 32;

/// Bytes of names opened with one system call at most; below `PATH_MAX` (4096).
const STEP_BYTES_MAX: usize = 4000;

/// How often a place is looked up again because a rename moved it meanwhile.
const RETRIES_MAX: usize = 64;

/// How a system call can name a node.
#[derive(Copy, Clone, Debug)]
pub(super) enum Place<'a> {
    /// As a name in a directory.
    Named(BorrowedFd<'a>, &'a Name),
    /// By a descriptor, which may be `O_PATH`.
    Held(BorrowedFd<'a>),
}

impl Place<'_> {
    /// The node's attributes, not following a symlink.
    pub(super) fn statx(&self) -> std::result::Result<Statx, Sys> {
        match *self {
            Place::Named(dir, name) => statx_at(dir, name.as_bytes()),
            Place::Held(fd) => statx_fd(fd),
        }
    }
}

/// Attributes of `name` in `dir`.
pub(super) fn statx_at(dir: BorrowedFd<'_>, name: &[u8]) -> std::result::Result<Statx, Sys> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(dir, name, flags, stat_mask())
}

/// Attributes of what `fd` holds.
pub(super) fn statx_fd(fd: BorrowedFd<'_>) -> std::result::Result<Statx, Sys> {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, stat_mask())
}

fn stat_mask() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID
}

/// Opens `path`, one name or several, beneath `dir`: no symlinks, no other mount.
pub(super) fn open_beneath(
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
) -> std::result::Result<OwnedFd, Sys> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    fds::opening(|| rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve)).map_err(|e| {
        match e {
            Sys::XDEV => Sys::REMOTE,
            e => e,
        }
    })
}

/// Opens the node that is called `name` in `dir`, whatever it is, without touching it.
pub(super) fn open_path(dir: BorrowedFd<'_>, name: &Name) -> std::result::Result<OwnedFd, Sys> {
    open_beneath(dir, name.as_bytes(), OFlags::PATH)
}

/// A name under which the layer should know the node is not there any more.
pub(super) fn stale(e: Sys) -> Errno {
    match e {
        Sys::NOENT | Sys::NOTDIR | Sys::LOOP => Errno::ESTALE,
        e => e.into(),
    }
}

impl Tree {
    /// `ESTALE` unless what was found is the node `key`; `EREMOTE` if it lies on another mount.
    pub(super) fn check(&self, found: &Statx, key: Key) -> Result<()> {
        self.check_mount(found)?;
        if self.stable_ids && stat::key(found) != key {
            return Err(Errno::ESTALE.into());
        }
        Ok(())
    }

    /// `EREMOTE` for what lies on another mount than the root: the layer ends there. (The kernel
    /// shows what the mount covers, which cannot be reached from here.)
    pub(super) fn check_mount(&self, found: &Statx) -> Result<()> {
        match (self.mount, stat::mount(found)) {
            (Some(mine), Some(other)) if mine != other => Err(Errno::EREMOTE.into()),
            _ => Ok(()),
        }
    }
}

impl DirNode {
    /// A descriptor that this node has at hand.
    pub(super) fn held(&self) -> Option<Arc<OwnedFd>> {
        if self.file_type.is_dir()
            && let Some(fd) = self.slot().get()
        {
            return Some(fd);
        }
        self.held_at()
    }

    /// A descriptor by which its location keeps this node.
    fn held_at(&self) -> Option<Arc<OwnedFd>> {
        match &*self.look_location() {
            Location::Pinned(fd) => Some(fd.clone()),
            Location::Unnamed(file) => Some(file.fd.clone()),
            Location::At(..) | Location::Gone => None,
        }
    }

    /// A descriptor of this directory, good as the base of `*at` calls.
    ///
    /// # Errors
    /// `ENOTDIR`; `ESTALE` if it is not where it was.
    pub(super) fn dir_fd(&self) -> Result<Arc<OwnedFd>> {
        if !self.file_type.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        for _ in 0..RETRIES_MAX {
            if let Some(fd) = self.held() {
                return Ok(fd);
            }
            let moves = self.tree.moves.load(Ordering::SeqCst);
            match self.reopen() {
                Err(e)
                    if e.errno() == Errno::ESTALE
                        && moves != self.tree.moves.load(Ordering::SeqCst) => {}
                other => return other,
            }
        }
        Err(Errno::ESTALE.into())
    }

    /// Opens this directory from its nearest ancestor that has a descriptor.
    fn reopen(&self) -> Result<Arc<OwnedFd>> {
        let mut chain: Vec<(Arc<DirNode>, Name)> = Vec::new();
        let mut node = self.arc()?;
        let mut fd = loop {
            if let Some(fd) = node.held() {
                break fd;
            }
            match node.location() {
                Location::At(parent, name) => {
                    chain.push((node, name));
                    node = parent;
                }
                Location::Pinned(fd) => break fd,
                // No directory.
                Location::Unnamed(_) => return Err(Errno::ENOTDIR.into()),
                Location::Gone => return Err(Errno::ESTALE.into()),
            }
        };
        let mut path = Vec::new();
        let mut names = 0;
        while let Some((node, name)) = chain.pop() {
            if names > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            names += 1;
            let full = match chain.last() {
                None => true,
                Some((_, next)) => {
                    names >= STEP_NAMES_MAX
                        || path.len() + 1 + next.as_bytes().len() > STEP_BYTES_MAX
                }
            };
            if full {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                fd = Arc::new(open_beneath(fd.as_fd(), &path, flags).map_err(stale)?);
                let found = statx_fd(fd.as_fd())?;
                self.tree.check(&found, node.key)?;
                fds::keep(&node, &fd);
                path.clear();
                names = 0;
            }
        }
        Ok(fd)
    }

    /// Runs `call` with a way to name this node that stays true while it runs.
    pub(super) fn with_place<R>(&self, call: impl FnOnce(Place<'_>) -> Result<R>) -> Result<R> {
        if self.tree.writable.is_none()
            && !self.file_type.is_dir()
            // Where it is never changes.
            && let Location::At(dir, name) = &*self.look_location()
        {
            let fd = dir.dir_fd()?;
            return call(Place::Named(fd.as_fd(), name));
        }
        for _ in 0..RETRIES_MAX {
            if let Some(fd) = self.held() {
                return call(Place::Held(fd.as_fd()));
            }
            let Location::At(dir, name) = self.location() else {
                continue; // Pinned since.
            };
            let fd = dir.dir_fd()?;
            let _names = dir.hold_names();
            if self.tree.writable.is_none() || self.is_at(&dir, &name) {
                return call(Place::Named(fd.as_fd(), &name));
            }
        }
        Err(Errno::ESTALE.into())
    }
}
