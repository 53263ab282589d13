//! System calls that neither rustix nor nix wraps. The only unsafe code of the crate.

#![allow(
    unsafe_code,
    reason = "raw system calls that no maintained crate wraps; each block says why it is sound"
)]

use std::ffi::{CStr, CString};
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::backend::FileHandle;
use crate::errno::Errno;

/// Largest handle that the kernel gives (`MAX_HANDLE_SZ`).
const HANDLE_BYTES_MAX: usize = 128;

/// `struct file_handle` with room for the largest handle.
#[repr(C)]
struct RawHandle {
    bytes: u32,
    kind: i32,
    data: [u8; HANDLE_BYTES_MAX],
}

fn last_errno() -> Errno {
    Errno::of_io(&std::io::Error::last_os_error())
}

/// The file handle of `name` in `dir` (of `dir` itself if `name` is empty), as
/// `exportfs_encode_fh` gives it without connectable information, which is what overlayfs stores.
///
/// A final symlink is not followed. `None`: the filesystem has no handles.
pub(crate) fn file_handle(dir: BorrowedFd<'_>, name: &CStr) -> Result<Option<FileHandle>, Errno> {
    let mut raw = RawHandle {
        bytes: HANDLE_BYTES_MAX as u32,
        kind: 0,
        data: [0; HANDLE_BYTES_MAX],
    };
    let mut mount: libc::c_int = 0;
    let flags = if name.is_empty() {
        libc::AT_EMPTY_PATH
    } else {
        0
    };
    // SAFETY: `name` is NUL-terminated; `raw` has the layout of `struct file_handle` followed by the
    // `bytes` bytes that it announces, and `mount` is a valid int; both outlive the call, which
    // writes nothing else.
    let rc = unsafe {
        libc::name_to_handle_at(
            dir.as_raw_fd(),
            name.as_ptr(),
            (&raw mut raw).cast::<libc::file_handle>(),
            &raw mut mount,
            flags,
        )
    };
    if rc < 0 {
        return match last_errno() {
            Errno::EOPNOTSUPP | Errno::EOVERFLOW | Errno::ENOSYS => Ok(None),
            errno => Err(errno),
        };
    }
    let bytes = raw.data.get(..raw.bytes as usize);
    match (u8::try_from(raw.kind), bytes) {
        (Ok(kind), Some(bytes)) => Ok(Some(FileHandle {
            kind,
            bytes: bytes.to_vec(),
        })),
        _ => Ok(None),
    }
}

/// Opens (`O_PATH`) what `handle` names on the filesystem that `mount` lies on. `mount` must not be
/// an `O_PATH` descriptor.
///
/// # Errors
/// `ESTALE` if there is none; `EPERM` without `CAP_DAC_READ_SEARCH`.
pub(crate) fn open_by_handle(mount: BorrowedFd<'_>, handle: &FileHandle) -> Result<OwnedFd, Errno> {
    let mut raw = RawHandle {
        bytes: handle.bytes.len() as u32,
        kind: i32::from(handle.kind),
        data: [0; HANDLE_BYTES_MAX],
    };
    match raw.data.get_mut(..handle.bytes.len()) {
        Some(data) if !data.is_empty() => data.copy_from_slice(&handle.bytes),
        _ => return Err(Errno::ESTALE),
    }
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: `raw` has the layout of `struct file_handle` and holds the `bytes` bytes that it
    // announces; the kernel only reads it, for the time of the call.
    let fd = unsafe {
        libc::open_by_handle_at(
            mount.as_raw_fd(),
            (&raw mut raw).cast::<libc::file_handle>(),
            flags,
        )
    };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the call above succeeded, so `fd` is open and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `struct fsuuid2`.
#[repr(C)]
struct RawUuid {
    len: u8,
    uuid: [u8; 16],
}

const FS_IOC_GETFSUUID: libc::c_ulong =
    (2 << 30) | ((size_of::<RawUuid>() as libc::c_ulong) << 16) | (0x15 << 8);

/// The start of `struct btrfs_ioctl_fs_info_args`, filled up to its size.
#[repr(C)]
struct RawBtrfsInfo {
    devices: [u64; 2],
    fsid: [u8; 16],
    rest: [u64; 124],
}

const BTRFS_IOC_FS_INFO: libc::c_ulong =
    (2 << 30) | ((size_of::<RawBtrfsInfo>() as libc::c_ulong) << 16) | (0x94 << 8) | 31;

/// The UUID of the filesystem (`s_uuid`, which overlayfs stores in origins); `None` if it has none,
/// if it is all zero, or if the kernel is too old to tell (before 6.9; btrfs tells always).
pub(crate) fn fs_uuid(fd: BorrowedFd<'_>, is_btrfs: bool) -> Option<[u8; 16]> {
    let uuid = if is_btrfs {
        btrfs_uuid(fd)
    } else {
        generic_uuid(fd)
    };
    uuid.filter(|uuid| *uuid != [0; 16])
}

fn generic_uuid(fd: BorrowedFd<'_>) -> Option<[u8; 16]> {
    let mut raw = RawUuid {
        len: 0,
        uuid: [0; 16],
    };
    // SAFETY: the request writes one `struct fsuuid2`, whose layout `raw` has.
    let rc = unsafe { libc::ioctl(fd.as_raw_fd(), FS_IOC_GETFSUUID as _, &raw mut raw) };
    (rc == 0 && raw.len == 16).then_some(raw.uuid)
}

/// Btrfs does not answer the generic request.
fn btrfs_uuid(fd: BorrowedFd<'_>) -> Option<[u8; 16]> {
    let mut raw = RawBtrfsInfo {
        devices: [0; 2],
        fsid: [0; 16],
        rest: [0; 124],
    };
    // SAFETY: the request reads and writes one `struct btrfs_ioctl_fs_info_args` of 1024 bytes, whose
    // size and start `raw` has; `rest` (the flags in it are 0) asks for nothing more.
    let rc = unsafe { libc::ioctl(fd.as_raw_fd(), BTRFS_IOC_FS_INFO as _, &raw mut raw) };
    (rc == 0).then_some(raw.fsid)
}

const _: () = assert!(size_of::<RawBtrfsInfo>() == 1024 && size_of::<RawUuid>() == 17);

/// `struct file_clone_range`.
#[repr(C)]
struct RawCloneRange {
    src_fd: i64,
    src_offset: u64,
    src_length: u64,
    dest_offset: u64,
}

const FICLONERANGE: libc::c_ulong =
    (1 << 30) | ((size_of::<RawCloneRange>() as libc::c_ulong) << 16) | (0x94 << 8) | 13;

/// Makes `len` bytes of `dst` share the data of `src`. `len` must not be 0 (the kernel would take
/// it as "to the end").
pub(crate) fn clone_range(
    dst: BorrowedFd<'_>,
    src: BorrowedFd<'_>,
    src_offset: u64,
    dst_offset: u64,
    len: u64,
) -> Result<(), Errno> {
    let raw = RawCloneRange {
        src_fd: i64::from(src.as_raw_fd()),
        src_offset,
        src_length: len,
        dest_offset: dst_offset,
    };
    // SAFETY: the request reads one `struct file_clone_range`, whose layout `raw` has; both
    // descriptors are borrowed for the time of the call.
    let rc = unsafe { libc::ioctl(dst.as_raw_fd(), FICLONERANGE as _, &raw const raw) };
    if rc < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Starts to write back what `len` bytes of `fd` at `offset` hold, without waiting for it. What fails is told
/// by the `fsync(2)` that makes it durable.
pub(crate) fn begin_writeback(fd: BorrowedFd<'_>, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else {
        return;
    };
    // SAFETY: all arguments are integers, the descriptor is borrowed for the time of the call.
    unsafe { libc::sync_file_range(fd.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Sets permission bits of `name` in `dir` (of `dir` itself, which may be `O_PATH`, if `name` is
/// empty), never through a symlink.
///
/// # Errors
/// `ENOSYS` before Linux 6.6; `EOPNOTSUPP` for a symlink.
pub(crate) fn fchmodat2(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<(), Errno> {
    let flags = if name.is_empty() {
        libc::AT_EMPTY_PATH
    } else {
        libc::AT_SYMLINK_NOFOLLOW
    };
    // SAFETY: `name` is NUL-terminated and only read; the other arguments are integers.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_fchmodat2,
            dir.as_raw_fd(),
            name.as_ptr(),
            mode,
            flags,
        )
    };
    if rc < 0 { Err(last_errno()) } else { Ok(()) }
}

/// `struct file_attr` of `file_getattr(2)`, first version.
#[repr(C)]
#[derive(Default)]
struct FileAttr {
    xflags: u64,
    extsize: u32,
    nextents: u32,
    projid: u32,
    cowextsize: u32,
}

/// The number of `file_getattr(2)` on all architectures.
const SYS_FILE_GETATTR: libc::c_long = 468;

/// The extended inode flags (`FS_XFLAG_...`) of `name` in `dir`, not through a symlink; without a
/// `name`, of what `dir` holds. (The system call refuses an `O_PATH` descriptor, so that goes
/// through its magic link.)
///
/// # Errors
/// `ENOSYS` before Linux 6.17; `EOPNOTSUPP` where the filesystem has none.
pub(crate) fn inode_xflags(dir: BorrowedFd<'_>, name: Option<&CStr>) -> Result<u64, Errno> {
    let link;
    let (dir, name, flags) = match name {
        Some(name) => (dir.as_raw_fd(), name, libc::AT_SYMLINK_NOFOLLOW),
        None => {
            let text = format!("/proc/self/fd/{}", dir.as_raw_fd());
            link = CString::new(text).map_err(|_| Errno::EINVAL)?;
            (libc::AT_FDCWD, link.as_c_str(), 0)
        }
    };
    let mut attr = FileAttr::default();
    // SAFETY: `name` is NUL-terminated and only read; `attr` is of the size that is given and lives
    // through the call.
    let rc = unsafe {
        libc::syscall(
            SYS_FILE_GETATTR,
            dir,
            name.as_ptr(),
            &raw mut attr,
            size_of::<FileAttr>(),
            flags,
        )
    };
    if rc < 0 {
        Err(last_errno())
    } else {
        Ok(attr.xflags)
    }
}

/// `struct xattr_args` of `getxattrat(2)`.
#[repr(C)]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

/// The numbers of `getxattrat(2)` and `listxattrat(2)` on all architectures.
const SYS_GETXATTRAT: libc::c_long = 464;
const SYS_LISTXATTRAT: libc::c_long = 465;

/// Reads the extended attribute `attr` of `name` in `dir`, not through a symlink, into `buf`; the length.
///
/// # Errors
/// `ENOSYS` before Linux 6.13; `ERANGE` if `buf` is too short.
pub(crate) fn getxattrat(
    dir: BorrowedFd<'_>,
    name: &CStr,
    attr: &CStr,
    buf: &mut [u8],
) -> Result<usize, Errno> {
    let args = XattrArgs {
        value: buf.as_mut_ptr() as u64,
        size: u32::try_from(buf.len()).unwrap_or(u32::MAX),
        flags: 0,
    };
    // SAFETY: both names are NUL-terminated and only read; `args` is of the size that is given and names
    // `buf` with at most its length; all live through the call, which writes nothing else.
    let rc = unsafe {
        libc::syscall(
            SYS_GETXATTRAT,
            dir.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            attr.as_ptr(),
            &raw const args,
            size_of::<XattrArgs>(),
        )
    };
    usize::try_from(rc).map_err(|_| last_errno())
}

/// Reads the names of the extended attributes of `name` in `dir`, not through a symlink; the length.
///
/// # Errors
/// As [`getxattrat`].
pub(crate) fn listxattrat(
    dir: BorrowedFd<'_>,
    name: &CStr,
    buf: &mut [u8],
) -> Result<usize, Errno> {
    // SAFETY: `name` is NUL-terminated and only read; `buf` is given with its length and lives through
    // the call, which writes nothing else.
    let rc = unsafe {
        libc::syscall(
            SYS_LISTXATTRAT,
            dir.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            buf.as_mut_ptr(),
            buf.len(),
        )
    };
    usize::try_from(rc).map_err(|_| last_errno())
}

/// `struct mount_attr` of `mount_setattr(2)`, first version.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_ns: u64,
}

const OPEN_TREE_CLONE: libc::c_uint = 1;
const MOUNT_ATTR_NODEV: u64 = 4;

/// A mount of its own, which no path leads to, of the directory `dir` without what is mounted below it; no
/// device can be opened through it. It lasts as long as anything is open on it.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` over the mount namespace; `EINVAL` if `dir` is not mounted in it;
/// `ENOSYS` before Linux 5.12.
pub(crate) fn private_mount(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OPEN_TREE_CLONE | (libc::O_CLOEXEC | libc::AT_EMPTY_PATH) as libc::c_uint;
    // SAFETY: the path is NUL-terminated and only read; the other arguments are integers.
    let rc = unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), c"".as_ptr(), flags) };
    let fd = i32::try_from(rc).map_err(|_| Errno::EINVAL)?;
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the call above succeeded, so `fd` is open and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let attr = MountAttr {
        set: MOUNT_ATTR_NODEV,
        ..MountAttr::default()
    };
    // SAFETY: the path is NUL-terminated, `attr` of the size that is given; both are only read, during
    // the call.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if rc < 0 { Err(last_errno()) } else { Ok(fd) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn handle_round_trip_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let fd = std::fs::File::open(dir.path()).unwrap();
        let Some(handle) = file_handle(fd.as_fd(), c"").unwrap() else {
            return;
        };
        match open_by_handle(fd.as_fd(), &handle) {
            Ok(_) | Err(Errno::EPERM) => {}
            Err(e) => panic!("{e}"),
        }
    }

    #[test]
    fn an_empty_or_huge_handle_is_stale() {
        let fd = std::fs::File::open("/").unwrap();
        for len in [0, 129, 4096] {
            let handle = FileHandle {
                kind: 1,
                bytes: vec![1; len],
            };
            let got = open_by_handle(fd.as_fd(), &handle).unwrap_err();
            assert_eq!(got, Errno::ESTALE);
        }
    }
}
