//! Writes a layer to a real directory.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType as Kind, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::fs::{Dev, makedev, mknodat};

use super::{LayerSpec, NodeKind, NodeSpec, Piece, split};
use crate::backend::WhiteoutForm;
use crate::errno::Errno;
use crate::path::Name;
use crate::xattr_name::{OverlayAttr, XattrNamespace};

impl LayerSpec {
    /// Writes this layer into `path`, a directory that exists and is empty, with overlay attributes
    /// in `namespace`. Owners, devices and `trusted.` attributes need root.
    ///
    /// One descriptor per directory is held open: not meant for huge layers.
    ///
    /// # Errors
    /// What the system calls give; `EINVAL` and `ENAMETOOLONG` for impossible names. What was
    /// written until then stays.
    pub fn write_to_dir(
        &self,
        path: impl AsRef<Path>,
        namespace: XattrNamespace,
    ) -> Result<(), Errno> {
        let nodes = self.effective();
        let mut dirs: BTreeMap<&Path, OwnedFd> = BTreeMap::new();
        let root = open_dir(CWD, path.as_ref())?;
        dirs.insert(Path::new("/"), root);
        for (path, node) in nodes.iter().skip(1) {
            let (parent, name) = split(path)?;
            let dir = dirs.get(parent).ok_or(Errno::ENOENT)?;
            if matches!(node.kind, NodeKind::HardLink(_)) {
                continue;
            }
            create(dir.as_fd(), &name, node, namespace)?;
            if node.kind == NodeKind::Directory {
                let opened = open_dir(dir, name.as_path())?;
                dirs.insert(path, opened);
            }
        }
        for (path, node) in &nodes {
            if let NodeKind::HardLink(to) = &node.kind {
                let (from, to) = (split(to)?, split(path)?);
                let get = |dir| dirs.get(dir).ok_or(Errno::ENOENT);
                let none = AtFlags::empty();
                let (old, new) = (from.1.as_path(), to.1.as_path());
                rustix::fs::linkat(get(from.0)?, old, get(to.0)?, new, none)?;
            }
        }
        // Directories last and children first: filling one changes its times, and a default ACL or
        // a set-group-id bit would be inherited.
        for (path, node) in nodes.iter().rev() {
            if node.kind == NodeKind::Directory {
                let dir = dirs.get(path.as_path()).ok_or(Errno::ENOENT)?;
                attributes(dir.as_fd(), Path::new("."), node, namespace)?;
            }
        }
        Ok(())
    }
}

fn open_dir(at: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

fn create(
    dir: BorrowedFd<'_>,
    name: &Name,
    node: &NodeSpec,
    namespace: XattrNamespace,
) -> Result<(), Errno> {
    let path = name.as_path();
    let special = |kind: Kind, dev: Dev| mknodat(dir, path, kind, Mode::from_raw_mode(0o600), dev);
    match &node.kind {
        NodeKind::Directory => {
            rustix::fs::mkdirat(dir, path, Mode::from_raw_mode(0o700))?;
            return Ok(());
        }
        NodeKind::HardLink(_) => return Ok(()),
        NodeKind::File(pieces) => write_file(dir, path, pieces)?,
        NodeKind::Symlink(target) => {
            rustix::fs::symlinkat(target.as_slice(), dir, path)?;
        }
        NodeKind::Fifo => special(Kind::Fifo, 0)?,
        NodeKind::Socket => special(Kind::Socket, 0)?,
        NodeKind::CharDevice(d) => special(Kind::CharacterDevice, makedev(d.major, d.minor))?,
        NodeKind::BlockDevice(d) => special(Kind::BlockDevice, makedev(d.major, d.minor))?,
        NodeKind::Whiteout(WhiteoutForm::CharDevice) => {
            mknodat(dir, path, Kind::CharacterDevice, Mode::empty(), 0)?;
            return Ok(());
        }
        NodeKind::Whiteout(WhiteoutForm::Xattr) => {
            write_file(dir, path, &[])?;
            let name = OverlayAttr::Whiteout.full_name(namespace);
            return set_xattr(&proc_path(dir, path), name.as_bytes(), b"");
        }
    }
    attributes(dir, path, node, namespace)
}

fn write_file(dir: BorrowedFd<'_>, path: &Path, pieces: &[Piece]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, path, flags, Mode::from_raw_mode(0o600))?;
    let mut offset = 0;
    for piece in pieces {
        let filled;
        let bytes = match piece {
            Piece::Bytes(bytes) => bytes.as_slice(),
            Piece::Fill(byte, len) => {
                filled = vec![*byte; *len as usize];
                filled.as_slice()
            }
            Piece::Hole(_) => &[],
        };
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            done += rustix::io::pwrite(&file, rest, offset + done as u64)?;
        }
        offset += piece.len();
    }
    if matches!(pieces.last(), Some(Piece::Hole(_))) {
        rustix::fs::ftruncate(&file, offset)?;
    }
    Ok(())
}

/// A path by which attributes of a node can be set without opening it.
fn proc_path(dir: BorrowedFd<'_>, path: &Path) -> PathBuf {
    let base = format!("/proc/self/fd/{}/", dir.as_raw_fd());
    let mut bytes = base.into_bytes();
    bytes.extend_from_slice(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

fn set_xattr(path: &Path, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    let flags = rustix::fs::XattrFlags::empty();
    Ok(rustix::fs::lsetxattr(path, name, value, flags)?)
}

/// Owner, mode, attributes, times, in this order: each would undo something of a later one.
fn attributes(
    dir: BorrowedFd<'_>,
    path: &Path,
    node: &NodeSpec,
    namespace: XattrNamespace,
) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    if (node.uid, node.gid) != (0, 0) || path == Path::new(".") {
        rustix::fs::chownat(dir, path, Some(uid), Some(gid), nofollow)?;
    }
    if !matches!(node.kind, NodeKind::Symlink(_)) {
        rustix::fs::chmodat(dir, path, Mode::from_raw_mode(node.mode), AtFlags::empty())?;
    }
    let by_proc = proc_path(dir, path);
    for (name, value) in &node.xattrs {
        set_xattr(&by_proc, name.as_bytes(), value)?;
    }
    for (attr, value) in &node.overlay {
        set_xattr(&by_proc, attr.full_name(namespace).as_bytes(), value)?;
    }
    let time = Timespec {
        tv_sec: node.mtime.secs,
        tv_nsec: node.mtime.nanos.into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::utimensat(dir, path, &times, nofollow)?)
}
