//! Every operation as a value.
//!
//! Plans, generators, fuzzers, models and the comparison with the kernel share this alphabet:
//! [`Op`] says what to do, [`Outcome`] what came of it.

use std::path::{Path, PathBuf};

use crate::backend::{AllocateMode, XattrMode};
use crate::credentials::Credentials;
use crate::meta::{DeviceId, FileType, InodeFlags, Metadata, SetAttr, StatFs};
use crate::path::Name;
use crate::xattr_name::XattrName;

/// Most bytes that one reading [`Op`] answers, whatever length it asks for.
pub const READ_BYTES_MAX: u64 = 64 << 20;

/// How to open a file; the words of [`std::fs::OpenOptions`], the rules of `open(2)`.
///
/// At least one of `read`, `write`, `append` must be set, else `EINVAL`. `truncate` and `create` are
/// allowed without `write`, as in `open(2)`.
///
/// ```
/// use layerstack::OpenOptions;
/// let options = OpenOptions::new().write(true).create_new(true).mode(0o600);
/// assert!(options.create_new && !options.read);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent open(2) flag"
)]
pub struct OpenOptions {
    /// Allow reading.
    pub read: bool,
    /// Allow writing.
    pub write: bool,
    /// Allow writing, each write at the end (`O_APPEND`).
    pub append: bool,
    /// Cut an existing file to length 0 (`O_TRUNC`); no data are copied up for it (rule R195).
    pub truncate: bool,
    /// Create the file if it is absent (`O_CREAT`).
    pub create: bool,
    /// Create the file; fail with `EEXIST` if anything has the name (`O_CREAT|O_EXCL`).
    pub create_new: bool,
    /// Permission bits of a created file, before umask or default ACL.
    pub mode: u32,
    /// Fail with `ELOOP` if the last component is a symlink (`O_NOFOLLOW`).
    pub no_follow: bool,
    /// Make an unnamed file in the directory that the path names (`O_TMPFILE`).
    pub tmpfile: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions::new()
    }
}

macro_rules! flag {
    ($($name:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        #[must_use]
        pub const fn $name(mut self, on: bool) -> Self {
            self.$name = on;
            self
        }
    )*};
}

impl OpenOptions {
    /// Nothing set; mode `0o666`.
    #[must_use]
    pub const fn new() -> Self {
        OpenOptions {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
            no_follow: false,
            tmpfile: false,
        }
    }

    flag! {
        read "Sets [`read`](Self::read).";
        write "Sets [`write`](Self::write).";
        append "Sets [`append`](Self::append).";
        truncate "Sets [`truncate`](Self::truncate).";
        create "Sets [`create`](Self::create).";
        create_new "Sets [`create_new`](Self::create_new).";
        no_follow "Sets [`no_follow`](Self::no_follow).";
        tmpfile "Sets [`tmpfile`](Self::tmpfile).";
    }

    /// Sets the permission bits of a created file (default `0o666`), before umask or default ACL.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode & 0o7777;
        self
    }

    /// True if the handle may write.
    #[must_use]
    pub const fn writes(&self) -> bool {
        self.write || self.append
    }
}

/// What `access(2)` asks about; nothing set: whether the object is there.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AccessMode {
    /// To read it (`R_OK`).
    pub read: bool,
    /// To write to it (`W_OK`).
    pub write: bool,
    /// To execute it, or to search the directory (`X_OK`).
    pub execute: bool,
}

impl AccessMode {
    /// `F_OK`.
    pub const EXISTS: AccessMode = AccessMode::new(false, false, false);
    /// `R_OK`.
    pub const READ: AccessMode = AccessMode::new(true, false, false);
    /// `W_OK`.
    pub const WRITE: AccessMode = AccessMode::new(false, true, false);
    /// `X_OK`.
    pub const EXECUTE: AccessMode = AccessMode::new(false, false, true);

    /// A mode of these three.
    #[must_use]
    pub const fn new(read: bool, write: bool, execute: bool) -> Self {
        AccessMode {
            read,
            write,
            execute,
        }
    }
}

/// Flags of `renameat2(2)`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RenameFlags {
    /// Fail with `EEXIST` if the new name exists.
    pub no_replace: bool,
    /// The two change places.
    pub exchange: bool,
    /// Leave a whiteout; overlayfs answers `EINVAL` (rule R139).
    pub whiteout: bool,
}

impl RenameFlags {
    /// No flags: replace what is there.
    pub const NONE: RenameFlags = RenameFlags {
        no_replace: false,
        exchange: false,
        whiteout: false,
    };
    /// `RENAME_NOREPLACE`.
    pub const NO_REPLACE: RenameFlags = RenameFlags {
        no_replace: true,
        exchange: false,
        whiteout: false,
    };
    /// `RENAME_EXCHANGE`.
    pub const EXCHANGE: RenameFlags = RenameFlags {
        no_replace: false,
        exchange: true,
        whiteout: false,
    };
    /// `RENAME_WHITEOUT`.
    pub const WHITEOUT: RenameFlags = RenameFlags {
        no_replace: false,
        exchange: false,
        whiteout: true,
    };
}

/// One operation on a merged tree.
///
/// Paths are inside the union. `follow`: whether a symlink as the last component is followed. A
/// `slot` names a file held open across operations by a [`Session`](crate::Session).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    reason = "the fields are those of the system call that a variant names"
)]
#[non_exhaustive]
pub enum Op {
    /// `stat(2)` or `lstat(2)`; answers [`Outcome::Metadata`].
    Metadata { path: PathBuf, follow: bool },
    /// `faccessat2(2)` with `AT_EACCESS`; symlinks are followed.
    Access { path: PathBuf, mode: AccessMode },
    /// `readlink(2)`; answers [`Outcome::Bytes`].
    ReadLink { path: PathBuf },
    /// All entries of a directory, sorted by name; answers [`Outcome::Entries`].
    ReadDir { path: PathBuf },
    /// Opens for reading, reads up to `len` bytes at `offset`, closes; answers [`Outcome::Bytes`].
    Read {
        path: PathBuf,
        offset: u64,
        len: u64,
    },
    /// `getxattr(2)`; `ENODATA` if not set; answers [`Outcome::Bytes`].
    GetXattr {
        path: PathBuf,
        follow: bool,
        name: XattrName,
    },
    /// `listxattr(2)`, sorted; answers [`Outcome::Names`].
    ListXattrs { path: PathBuf, follow: bool },
    /// `statfs(2)`; answers [`Outcome::StatFs`].
    StatFs,
    /// Opens and closes again.
    Open { path: PathBuf, options: OpenOptions },
    /// Opens, writes `data` at `offset` (at the end, if opened to append), closes; answers
    /// [`Outcome::Count`].
    Write {
        path: PathBuf,
        options: OpenOptions,
        offset: u64,
        data: Vec<u8>,
    },
    /// `mkdir(2)`; `mode` before umask.
    CreateDir { path: PathBuf, mode: u32 },
    /// `mkdir -p`: missing parents too, existing directories are fine.
    CreateDirAll { path: PathBuf, mode: u32 },
    /// `symlink(2)`.
    Symlink { target: Vec<u8>, path: PathBuf },
    /// `link(2)`: a symlink as the last component of `from` is linked, not followed.
    HardLink { from: PathBuf, to: PathBuf },
    /// `mknod(2)`: a regular file, fifo, socket or device; `mode` before umask. Other types: `EPERM`
    /// for a directory, `EINVAL` for a symlink.
    MakeNode {
        path: PathBuf,
        file_type: FileType,
        mode: u32,
        rdev: DeviceId,
    },
    /// `unlink(2)`.
    RemoveFile { path: PathBuf },
    /// `rmdir(2)`.
    RemoveDir { path: PathBuf },
    /// `rm -r`; a symlink as the last component is `ENOTDIR`.
    RemoveDirAll { path: PathBuf },
    /// `renameat2(2)`.
    Rename {
        from: PathBuf,
        to: PathBuf,
        flags: RenameFlags,
    },
    /// Data, mode, holes of `from` into `to` (created or truncated); answers [`Outcome::Count`].
    Copy { from: PathBuf, to: PathBuf },
    /// `truncate(2)`.
    SetLen { path: PathBuf, len: u64 },
    /// `chown(2)`, `chmod(2)`, `utimensat(2)`, in this order, each if asked for.
    SetAttr {
        path: PathBuf,
        follow: bool,
        attr: SetAttr,
    },
    /// `setxattr(2)`.
    SetXattr {
        path: PathBuf,
        follow: bool,
        name: XattrName,
        value: Vec<u8>,
        mode: XattrMode,
    },
    /// `removexattr(2)`.
    RemoveXattr {
        path: PathBuf,
        follow: bool,
        name: XattrName,
    },
    /// Opens for reading, `FS_IOC_GETFLAGS`, closes; answers [`Outcome::Flags`].
    GetFlags { path: PathBuf },
    /// Opens for reading, `FS_IOC_SETFLAGS`, closes. Flags that [`InodeFlags`] does not name stay.
    SetFlags { path: PathBuf, flags: InodeFlags },
    /// Opens for writing, `fallocate(2)`, closes.
    Allocate {
        path: PathBuf,
        mode: AllocateMode,
        offset: u64,
        len: u64,
    },
    /// `syncfs(2)`.
    Sync,

    /// Opens and keeps the file in `slot` (what was there is closed first).
    HandleOpen {
        slot: u8,
        path: PathBuf,
        options: OpenOptions,
    },
    /// `pread(2)`; answers [`Outcome::Bytes`].
    HandleRead { slot: u8, offset: u64, len: u64 },
    /// `pwrite(2)`; answers [`Outcome::Count`].
    HandleWrite {
        slot: u8,
        offset: u64,
        data: Vec<u8>,
    },
    /// `fstat(2)`; answers [`Outcome::Metadata`].
    HandleMetadata { slot: u8 },
    /// `ftruncate(2)`.
    HandleSetLen { slot: u8, len: u64 },
    /// `fchown`, `fchmod`, `futimens`, in this order, each if asked for.
    HandleSetAttr { slot: u8, attr: SetAttr },
    /// `fallocate(2)`.
    HandleAllocate {
        slot: u8,
        mode: AllocateMode,
        offset: u64,
        len: u64,
    },
    /// `fsync(2)`.
    HandleSync { slot: u8 },
    /// Gives an unnamed file a name (`linkat` with `AT_EMPTY_PATH`).
    HandleLink { slot: u8, to: PathBuf },
    /// Closes; `EBADF` for an empty slot, as in every `Handle...` operation.
    HandleClose { slot: u8 },

    /// Does `op` on behalf of `caller`; see [`Overlay::as_caller`](crate::Overlay::as_caller). Of
    /// several in each other, the innermost counts. A file that it opens in a slot is used by whoever
    /// uses the slot.
    As { caller: Credentials, op: Box<Op> },
}

impl Op {
    /// This operation on behalf of `caller`.
    #[must_use]
    pub fn run_as(self, caller: &Credentials) -> Op {
        Op::As {
            caller: caller.clone(),
            op: Box::new(self),
        }
    }

    /// The path, and the second one of a rename, link or copy; `None` for what works on the whole union
    /// or on an open file.
    #[must_use]
    pub fn paths(&self) -> (Option<&Path>, Option<&Path>) {
        match self {
            Op::Metadata { path, .. }
            | Op::Access { path, .. }
            | Op::ReadLink { path }
            | Op::ReadDir { path }
            | Op::Read { path, .. }
            | Op::GetXattr { path, .. }
            | Op::ListXattrs { path, .. }
            | Op::Open { path, .. }
            | Op::Write { path, .. }
            | Op::CreateDir { path, .. }
            | Op::CreateDirAll { path, .. }
            | Op::Symlink { path, .. }
            | Op::MakeNode { path, .. }
            | Op::RemoveFile { path }
            | Op::RemoveDir { path }
            | Op::RemoveDirAll { path }
            | Op::SetLen { path, .. }
            | Op::SetAttr { path, .. }
            | Op::SetXattr { path, .. }
            | Op::RemoveXattr { path, .. }
            | Op::GetFlags { path }
            | Op::SetFlags { path, .. }
            | Op::Allocate { path, .. }
            | Op::HandleOpen { path, .. } => (Some(path), None),
            Op::HardLink { from, to } | Op::Rename { from, to, .. } | Op::Copy { from, to } => {
                (Some(from), Some(to))
            }
            Op::HandleLink { to, .. } => (None, Some(to)),
            Op::HandleRead { .. }
            | Op::HandleWrite { .. }
            | Op::HandleMetadata { .. }
            | Op::HandleSetLen { .. }
            | Op::HandleSetAttr { .. }
            | Op::HandleAllocate { .. }
            | Op::HandleSync { .. }
            | Op::HandleClose { .. } => (None, None),
            Op::StatFs | Op::Sync => (None, None),
            Op::As { op, .. } => op.paths(),
        }
    }

    /// The operation's name, such as `"rename"`, as errors carry it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Op::Metadata { follow: true, .. } => "metadata",
            Op::Metadata { follow: false, .. } => "symlink_metadata",
            Op::Access { .. } => "access",
            Op::ReadLink { .. } => "read_link",
            Op::ReadDir { .. } => "read_dir",
            Op::Read { .. } => "read",
            Op::GetXattr { .. } => "get_xattr",
            Op::ListXattrs { .. } => "list_xattrs",
            Op::StatFs => "statfs",
            Op::Open { .. } | Op::HandleOpen { .. } => "open",
            Op::Write { .. } => "write",
            Op::CreateDir { .. } => "create_dir",
            Op::CreateDirAll { .. } => "create_dir_all",
            Op::Symlink { .. } => "symlink",
            Op::HardLink { .. } => "hard_link",
            Op::MakeNode { .. } => "mknod",
            Op::RemoveFile { .. } => "remove_file",
            Op::RemoveDir { .. } => "remove_dir",
            Op::RemoveDirAll { .. } => "remove_dir_all",
            Op::Rename { .. } => "rename",
            Op::Copy { .. } => "copy",
            Op::SetLen { .. } => "set_len",
            Op::SetAttr { .. } => "set_attr",
            Op::SetXattr { .. } => "set_xattr",
            Op::RemoveXattr { .. } => "remove_xattr",
            Op::GetFlags { .. } => "inode_flags",
            Op::SetFlags { .. } => "set_inode_flags",
            Op::Allocate { .. } => "allocate",
            Op::Sync => "sync",
            Op::HandleRead { .. } => "file.read",
            Op::HandleWrite { .. } => "file.write",
            Op::HandleMetadata { .. } => "file.metadata",
            Op::HandleSetLen { .. } => "file.set_len",
            Op::HandleSetAttr { .. } => "file.set_attr",
            Op::HandleAllocate { .. } => "file.allocate",
            Op::HandleSync { .. } => "file.sync",
            Op::HandleLink { .. } => "file.link",
            Op::HandleClose { .. } => "file.close",
            Op::As { op, .. } => op.name(),
        }
    }
}

/// One entry of a merged directory, as [`Op::ReadDir`] answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct EntryInfo {
    /// The name.
    pub name: Name,
    /// The type, if the topmost layer's directory tells it (rule R107).
    pub file_type: Option<FileType>,
    /// Inode number (`d_ino`).
    pub ino: u64,
}

/// What came of an operation that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Outcome {
    /// Done; nothing to tell.
    Done,
    /// Attributes.
    Metadata(Metadata),
    /// Data, a link target or an attribute's value.
    Bytes(Vec<u8>),
    /// Entries sorted by name.
    Entries(Vec<EntryInfo>),
    /// Attribute names, sorted.
    Names(Vec<XattrName>),
    /// Inode flags.
    Flags(InodeFlags),
    /// Bytes written or copied.
    Count(u64),
    /// Numbers of the filesystem.
    StatFs(StatFs),
}
