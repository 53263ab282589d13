//! Nodes by file handle.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::fds;
use super::resolve::statx_fd;
use super::stat;
use super::tree::{DirNode, Origin, Tree};
use crate::backend::{FileHandle, NodeRef, Result};
use crate::errno::Errno;
use crate::sys;

/// While the inode's number is being given to a new file, ext4 answers `ENOMEM` (seen on 6.18): it is
/// asked again this often, at this distance.
const BEING_MADE_TRIES_MAX: usize = 20;
const BEING_MADE_PAUSE: Duration = Duration::from_millis(1);

/// The node that `handle` names. A handle comes from an attribute, which anybody may have written,
/// and reaches the whole filesystem, so a directory is answered only if it lies below the layer's
/// root (as in the kernel), and the content of what is not a directory is opened only if the
/// user said so.
pub(super) fn find(tree: &Arc<Tree>, handle: &FileHandle) -> Result<Option<NodeRef>> {
    let mut opened = sys::open_by_handle(tree.root.as_fd(), handle);
    for _ in 0..BEING_MADE_TRIES_MAX {
        if !matches!(opened, Err(Errno::ENOMEM)) {
            break;
        }
        std::thread::sleep(BEING_MADE_PAUSE);
        opened = sys::open_by_handle(tree.root.as_fd(), handle);
    }
    let fd = match opened {
        Ok(fd) => fd,
        // None such, none that this filesystem could make, or not for this process to ask.
        Err(
            Errno::ESTALE
            | Errno::EPERM
            | Errno::EACCES
            | Errno::EINVAL
            | Errno::EOPNOTSUPP
            | Errno::ENOENT
            | Errno::ENOSYS,
        ) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let found = statx_fd(fd.as_fd())?;
    let key = stat::key(&found);
    let file_type = stat::file_type(&found)?;
    let origin = if file_type.is_dir() {
        if !lies_below_root(tree, &fd)? {
            return Ok(None);
        }
        Origin::Tree
    } else if tree.content_by_handle {
        Origin::Tree
    } else {
        Origin::Handle
    };
    Ok(Some(DirNode::pinned(
        tree,
        Arc::new(fd),
        key,
        file_type,
        origin,
    )))
}

/// Walks up from `fd` to the layer's root or to the root of everything.
fn lies_below_root(tree: &Tree, fd: &OwnedFd) -> Result<bool> {
    let mut key = stat::key(&statx_fd(fd.as_fd())?);
    let mut at: Option<OwnedFd> = None;
    while key != tree.root_key {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = at.as_ref().unwrap_or(fd);
        let up = match fds::opening(|| rustix::fs::openat(base, c"..", flags, Mode::empty())) {
            // It lies on the filesystem, but not below the root of the layer's mount.
            Err(rustix::io::Errno::NOENT) => return Ok(false),
            up => up?,
        };
        let above = stat::key(&statx_fd(up.as_fd())?);
        if above == key || above.dev != key.dev {
            return Ok(false);
        }
        key = above;
        at = Some(up);
    }
    Ok(true)
}
