//! What a layer can do, found out by doing it in the staging directory (as the kernel does, rules
//! R033 and R034).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType as SysType, Gid, Mode, OFlags, RenameFlags, SeekFrom, Uid, XattrFlags,
};
use rustix::io::Errno as Sys;
use rustix::thread::CapabilitySet;

use super::create::make_whiteout;
use super::fds;
use crate::backend::Capabilities;
use crate::sys;
use crate::xattr_name::{OverlayAttr, XattrNamespace};

pub(super) const EXT_MAGIC: u64 = 0xef53;
pub(super) const TMPFS_MAGIC: u64 = 0x0102_1994;
pub(super) const BTRFS_MAGIC: u64 = 0x9123_683e;
pub(super) const XFS_MAGIC: u64 = 0x5846_5342;
const OCFS2_MAGIC: u64 = 0x7461_636f;
const ISOFS_MAGIC: u64 = 0x9660;
pub(super) const OVERLAYFS_MAGIC: u64 = 0x794c_7630;

/// What was found out about an upper layer.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) capabilities: Capabilities,
    pub(super) namespace: XattrNamespace,
    pub(super) inherits_group: bool,
    pub(super) rename_whiteout: bool,
}

/// True if this process may use `trusted.` attributes.
pub(crate) fn may_use_trusted() -> bool {
    has_capability(CapabilitySet::SYS_ADMIN)
}

/// True if this process may use attributes of `namespace` at all.
fn permitted(namespace: XattrNamespace) -> bool {
    namespace == XattrNamespace::User || may_use_trusted()
}

/// True if this process has a capability in the initial user namespace, which is told by its
/// identity map.
fn has_capability(wanted: CapabilitySet) -> bool {
    let has = rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted));
    let initial = || {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        map.split_whitespace().eq(["0", "0", "4294967295"])
    };
    has && initial()
}

/// The namespace of overlay attributes where the user names none.
pub(super) fn default_namespace() -> XattrNamespace {
    if may_use_trusted() {
        XattrNamespace::Trusted
    } else {
        XattrNamespace::User
    }
}

fn reflink(fs_type: u64) -> Option<bool> {
    match fs_type {
        EXT_MAGIC | TMPFS_MAGIC => Some(false),
        BTRFS_MAGIC => Some(true),
        _ => None,
    }
}

/// Capabilities of a lower layer: what concerns reading.
pub(super) fn lower(root: BorrowedFd<'_>, fs_type: u64, namespace: XattrNamespace) -> Capabilities {
    let mut caps = Capabilities::read_only();
    caps.xattrs = !matches!(
        rustix::fs::flistxattr(root, &mut [0u8; 0]),
        Err(Sys::OPNOTSUPP)
    );
    caps.permitted_attrs = permitted(namespace);
    let origin = OverlayAttr::Origin.full_name(namespace);
    let known = !matches!(
        rustix::fs::fgetxattr(root, origin.as_bytes(), &mut [0u8; 0]),
        Err(Sys::OPNOTSUPP)
    );
    caps.overlay_attrs = caps.xattrs && caps.permitted_attrs && known;
    caps.reflink = reflink(fs_type);
    caps.holes = matches!(
        fs_type,
        EXT_MAGIC | TMPFS_MAGIC | BTRFS_MAGIC | XFS_MAGIC | OVERLAYFS_MAGIC
    );
    caps.file_handles = finds_handles(root);
    caps
}

/// Whether the filesystem of `dir` numbers its inodes with 32 bits. The kernel's own handles for such
/// numbers tell it, but some filesystems use their type for handles of their own.
pub(super) fn ino32(dir: BorrowedFd<'_>, fs_type: u64) -> bool {
    const INO32_GEN: u8 = 1;
    let own = matches!(fs_type, XFS_MAGIC | OCFS2_MAGIC | ISOFS_MAGIC);
    let handle = sys::file_handle(dir, c"").ok().flatten();
    !own && handle.is_some_and(|handle| handle.kind == INO32_GEN)
}

/// As in the kernel's overlayfs, a capability in a user namespace of one's own is not enough, even
/// where the system call would be content with it.
fn finds_handles(dir: BorrowedFd<'_>) -> bool {
    if !has_capability(CapabilitySet::DAC_READ_SEARCH) {
        return false;
    }
    match sys::file_handle(dir, c"") {
        Ok(Some(handle)) => sys::open_by_handle(dir, &handle).is_ok(),
        _ => false,
    }
}

/// Tries everything in `work`, which is empty and will be again.
pub(super) fn upper(
    work: BorrowedFd<'_>,
    fs_type: u64,
    namespace: Option<XattrNamespace>,
) -> Result<Probed, Sys> {
    let (a, b, c) = ("#layerstack-a", "#layerstack-b", "#layerstack-c");
    let mut caps = Capabilities::full();
    let (namespace, overlay_attrs) = overlay_attrs(work, namespace);
    caps.overlay_attrs = overlay_attrs;
    caps.permitted_attrs = permitted(namespace);
    caps.reflink = reflink(fs_type);
    caps.file_handles = finds_handles(work);

    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(0o600);
    let file = fds::opening(|| rustix::fs::openat(work, a, flags, mode))?;
    let found = rustix::fs::fstat(&file)?;
    let inherits_group = found.st_gid != rustix::process::getegid().as_raw();
    caps.xattrs = keeps_user_xattrs(&file);
    caps.holes = keeps_holes(&file);
    caps.ownership = changes_owner(&file, found.st_uid, found.st_gid);

    let tmp = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    caps.tmpfile = rustix::fs::openat(work, c".", tmp, mode).is_ok();
    caps.hard_links = rustix::fs::linkat(work, a, work, b, AtFlags::empty()).is_ok();
    let none = AtFlags::empty();
    if caps.hard_links {
        rustix::fs::unlinkat(work, b, none)?;
    }
    caps.whiteouts = make_whiteout(work, b.as_bytes()).is_ok();
    if !caps.whiteouts {
        rustix::fs::mkdirat(work, b, Mode::empty())?;
    }
    // Two different nodes, else the kernel would not ask the filesystem.
    caps.exchange = rustix::fs::renameat_with(work, a, work, b, RenameFlags::EXCHANGE).is_ok();
    let rename_whiteout = caps.whiteouts
        && rustix::fs::renameat_with(work, a, work, c, RenameFlags::WHITEOUT).is_ok();
    clear(work, &[a, b, c])?;
    let null = rustix::fs::makedev(1, 3);
    caps.device_nodes =
        rustix::fs::mknodat(work, a, SysType::CharacterDevice, Mode::empty(), null).is_ok();
    clear(work, &[a])?;
    Ok(Probed {
        capabilities: caps,
        namespace,
        inherits_group,
        rename_whiteout,
    })
}

fn clear(work: BorrowedFd<'_>, names: &[&str]) -> Result<(), Sys> {
    for name in names {
        match rustix::fs::unlinkat(work, *name, AtFlags::empty()) {
            Ok(()) | Err(Sys::NOENT) => {}
            Err(Sys::ISDIR) => rustix::fs::unlinkat(work, *name, AtFlags::REMOVEDIR)?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The namespace to use, and whether an attribute of it can be set.
fn overlay_attrs(work: BorrowedFd<'_>, wanted: Option<XattrNamespace>) -> (XattrNamespace, bool) {
    let namespace = wanted.unwrap_or_else(default_namespace);
    let name = OverlayAttr::Opaque.full_name(namespace);
    let name = name.as_bytes();
    let set = rustix::fs::fsetxattr(work, name, b"0", XattrFlags::empty());
    let removed = rustix::fs::fremovexattr(work, name);
    (namespace, set.is_ok() && removed.is_ok())
}

fn keeps_user_xattrs(file: &OwnedFd) -> bool {
    let name = "user.layerstack.probe";
    rustix::fs::fsetxattr(file, name, b"1", XattrFlags::empty()).is_ok()
}

fn keeps_holes(file: &OwnedFd) -> bool {
    rustix::fs::ftruncate(file, 1 << 20).is_ok()
        && rustix::fs::seek(file.as_fd(), SeekFrom::Data(0)) == Err(Sys::NXIO)
}

/// Tries a different owner and group.
fn changes_owner(file: &OwnedFd, uid: u32, gid: u32) -> bool {
    let uid = Uid::from_raw(uid.checked_add(1).filter(|id| *id != u32::MAX).unwrap_or(1));
    let gid = Gid::from_raw(gid.checked_add(1).filter(|id| *id != u32::MAX).unwrap_or(1));
    rustix::fs::fchown(file, Some(uid), Some(gid)).is_ok()
}
