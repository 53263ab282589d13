//! Opening a directory as a layer: the kernel's rules for layer, upper and work directories.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags, Statx};

use super::attr;
use super::fds;
use super::mounts;
use super::probe::{self, BTRFS_MAGIC, OVERLAYFS_MAGIC};
use super::resolve::statx_fd;
use super::stat;
use super::tree::{Key, Tree, Writable};
use super::workdir::{self, WorkLock};
use super::{DirLayer, DirLayerOptions};
use crate::backend::{FsId, FsIdentity};
use crate::errno::Errno;
use crate::error::{Error, LayerId};
use crate::sys;

/// A directory named by the user, open for reading.
struct Root {
    path: PathBuf,
    layer: LayerId,
    fd: OwnedFd,
    found: Statx,
    fs_type: u64,
    flags: StatVfsMountFlags,
}

impl Root {
    fn fail(&self, errno: Errno, detail: &str) -> Error {
        fail(&self.path, self.layer, errno, detail)
    }

    fn key(&self) -> Key {
        stat::key(&self.found)
    }

    fn open(path: &Path, layer: LayerId) -> Result<Self, Error> {
        let io =
            |detail: &'static str| move |e: rustix::io::Errno| fail(path, layer, e.into(), detail);
        attr::check_proc().map_err(|e| fail(path, layer, e, "/proc is not mounted"))?;
        // O_PATH first: a fifo or device given as a layer must not be opened. The symlinks of the
        // user's own path are followed (rule R009).
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let at = fds::opening(|| rustix::fs::open(path, flags, Mode::empty()))
            .map_err(io("cannot be found"))?;
        let found = statx_fd(at.as_fd()).map_err(io("cannot be read"))?;
        if stat::file_type(&found).ok() != Some(crate::FileType::Directory) {
            return Err(fail(path, layer, Errno::EINVAL, "not a directory").with_rule("R009"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fds::opening(|| rustix::fs::openat(&at, c".", flags, Mode::empty()))
            .map_err(io("cannot be read"))?;
        let fs = rustix::fs::fstatfs(&fd).map_err(io("cannot be read"))?;
        let flags = rustix::fs::fstatvfs(&fd)
            .map_err(io("cannot be read"))?
            .f_flag;
        Ok(Root {
            path: path.to_path_buf(),
            layer,
            fd,
            found,
            fs_type: fs.f_type as u64,
            flags,
        })
    }

    /// The rules for upper and work directories alone (R010, R011).
    fn check_writable(&self) -> Result<(), Error> {
        if self.fs_type == OVERLAYFS_MAGIC {
            let detail = "lies on overlayfs, which cannot hold an upper layer";
            return Err(self.fail(Errno::EINVAL, detail).with_rule("R011"));
        }
        if self.flags.contains(StatVfsMountFlags::RDONLY) {
            let detail = "the filesystem is mounted read-only";
            return Err(self.fail(Errno::EINVAL, detail).with_rule("R010"));
        }
        Ok(())
    }

    /// True if this directory is `other` or lies below it.
    fn is_within(&self, other: &Root) -> Result<bool, Error> {
        let mut within = false;
        climb(self.fd.as_fd(), |key| {
            within |= key == other.key();
            !within
        })
        .map_err(|e| self.fail(e.into(), "cannot look at its parents"))?;
        Ok(within)
    }
}

/// Tells `see` the directory `fd` and those above it, nearest first, until it says `false` or the root
/// of the namespace is reached. What may not be walked is taken for the root.
fn climb(fd: BorrowedFd<'_>, mut see: impl FnMut(Key) -> bool) -> Result<(), rustix::io::Errno> {
    let mut found = statx_fd(fd)?;
    let mut at: Option<OwnedFd> = None;
    while see(stat::key(&found)) {
        let base = at.as_ref().map_or(fd, AsFd::as_fd);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let up = match fds::opening(|| rustix::fs::openat(base, c"..", flags, Mode::empty())) {
            Err(rustix::io::Errno::ACCESS) => return Ok(()),
            up => up?,
        };
        let above = statx_fd(up.as_fd())?;
        let same = stat::key(&above) == stat::key(&found);
        if same && stat::mount(&above) == stat::mount(&found) {
            return Ok(()); // The root of the namespace is its own parent.
        }
        found = above;
        at = Some(up);
    }
    Ok(())
}

/// The directories above a layer's root that lie on its filesystem.
pub(super) fn ancestors(tree: &Tree) -> crate::backend::Result<Vec<u64>> {
    match &tree.above {
        Some(above) => Ok(above.clone()),
        None => Ok(above(tree.root.as_fd(), tree.root_key)?),
    }
}

fn above(fd: BorrowedFd<'_>, root: Key) -> Result<Vec<u64>, rustix::io::Errno> {
    let mut all = Vec::new();
    climb(fd, |key| {
        if key.dev == root.dev && key != root {
            all.push(key.ino);
        }
        true
    })?;
    Ok(all)
}

/// The same directory on a mount of its own, and what is above it, if that is possible.
fn on_private_mount(root: &Root) -> Option<(Root, Vec<u64>)> {
    let above = above(root.fd.as_fd(), root.key()).ok()?;
    let mount = sys::private_mount(root.fd.as_fd()).ok()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = fds::opening(|| rustix::fs::openat(&mount, c".", flags, Mode::empty())).ok()?;
    let found = statx_fd(fd.as_fd()).ok()?;
    let private = Root {
        path: root.path.clone(),
        flags: root.flags | StatVfsMountFlags::NODEV,
        fd,
        found,
        ..*root
    };
    (private.key() == root.key()).then_some((private, above))
}

fn fail(path: &Path, layer: LayerId, errno: Errno, detail: &str) -> Error {
    Error::config("open layer", path, errno, layer, detail)
}

/// Opens a lower layer.
pub(super) fn lower(options: &DirLayerOptions, path: &Path) -> Result<DirLayer, Error> {
    let mut root = Root::open(path, LayerId::Lower(0))?;
    let mut above = None;
    if options.private_mount
        && let Some(private) = on_private_mount(&root)
    {
        root = private.0;
        above = Some(private.1);
    }
    let namespace = options.namespace.unwrap_or_else(probe::default_namespace);
    let capabilities = probe::lower(root.fd.as_fd(), root.fs_type, namespace);
    let mut identity = FsIdentity::new(FsId::Device(root.key().dev), namespace);
    identity.uuid = sys::fs_uuid(root.fd.as_fd(), root.fs_type == BTRFS_MAGIC);
    identity.ino32 = probe::ino32(root.fd.as_fd(), root.fs_type);
    Ok(DirLayer {
        tree: Arc::new(Tree {
            id: Tree::new_id(),
            root_key: root.key(),
            above,
            mount: stat::mount(&root.found),
            nodev: root.flags.contains(StatVfsMountFlags::NODEV),
            stable_ids: root.fs_type != OVERLAYFS_MAGIC,
            path: root.path,
            root: Arc::new(root.fd),
            capabilities,
            identity,
            content_by_handle: options.content_by_handle,
            moves: AtomicU64::new(0),
            writable: None,
        }),
        lock: None,
    })
}

/// Opens an upper layer with its work directory.
pub(super) fn upper(
    options: &DirLayerOptions,
    upperdir: &Path,
    workdir: &Path,
) -> Result<DirLayer, Error> {
    let upper = Root::open(upperdir, LayerId::Upper)?;
    let work = Root::open(workdir, LayerId::Work)?;
    check_pair(&upper, &work)?;
    let lock = take_lock(&work)?;
    if !options.allow_mounted {
        check_not_mounted(&upper, &work)?;
    }
    let staging = match options.keep_work {
        true => workdir::adopt(work.fd.as_fd(), &work.path)?,
        false => workdir::prepare(work.fd.as_fd(), &work.path)?,
    };
    let probed = probe::upper(staging.0.as_fd(), upper.fs_type, options.namespace)
        .map_err(|e| work.fail(e.into(), "cannot be written"))?;
    let mut identity = FsIdentity::new(FsId::Device(upper.key().dev), probed.namespace);
    identity.uuid = sys::fs_uuid(upper.fd.as_fd(), upper.fs_type == BTRFS_MAGIC);
    identity.ino32 = probe::ino32(upper.fd.as_fd(), upper.fs_type);
    let mut writable = Writable::new((work.path, Arc::new(work.fd)), staging);
    writable.ignore_ownership = options.ignore_ownership;
    writable.inherits_group = probed.inherits_group;
    writable.rename_whiteout = probed.rename_whiteout;
    Ok(DirLayer {
        tree: Arc::new(Tree {
            id: Tree::new_id(),
            root_key: upper.key(),
            above: None,
            mount: stat::mount(&upper.found),
            nodev: upper.flags.contains(StatVfsMountFlags::NODEV),
            stable_ids: true,
            path: upper.path,
            root: Arc::new(upper.fd),
            capabilities: probed.capabilities,
            identity,
            content_by_handle: options.content_by_handle,
            moves: AtomicU64::new(0),
            writable: Some(writable),
        }),
        lock: Some(Arc::new(lock)),
    })
}

/// The rules for upper and work directory together (R007, R008, R010, R011).
fn check_pair(upper: &Root, work: &Root) -> Result<(), Error> {
    upper.check_writable()?;
    work.check_writable()?;
    let mounts = (stat::mount(&upper.found), stat::mount(&work.found));
    if upper.key().dev != work.key().dev || mounts.0 != mounts.1 {
        let detail = "not on the same mount as the upper directory";
        return Err(work.fail(Errno::EINVAL, detail).with_rule("R007"));
    }
    if upper.is_within(work)? || work.is_within(upper)? {
        let detail = "upper and work directory must be apart, neither inside the other";
        return Err(work.fail(Errno::EINVAL, detail).with_rule("R008"));
    }
    Ok(())
}

fn take_lock(work: &Root) -> Result<WorkLock, Error> {
    // A description of its own: the lock ends with it, not with the nodes that keep the tree.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fds::opening(|| rustix::fs::openat(&work.fd, c".", flags, Mode::empty()))
        .map_err(Errno::from)
        .and_then(WorkLock::take)
        .map_err(|e| work.fail(e, "in use by another writer"))
}

fn check_not_mounted(upper: &Root, work: &Root) -> Result<(), Error> {
    match mounts::overlay_using(&[upper.key(), work.key()]) {
        Some(path) => {
            let detail = format!(
                "in use by a mounted overlay ({})",
                crate::display_path(&path)
            );
            Err(work.fail(Errno::EBUSY, &detail).with_rule("R017"))
        }
        None => Ok(()),
    }
}
