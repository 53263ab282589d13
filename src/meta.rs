//! What a node is: type, mode, owner, times, device numbers.

use std::fmt;

/// The type of a node.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix domain socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl FileType {
    /// True for a directory.
    #[must_use]
    pub const fn is_dir(self) -> bool {
        matches!(self, FileType::Directory)
    }

    /// True for a regular file.
    #[must_use]
    pub const fn is_file(self) -> bool {
        matches!(self, FileType::Regular)
    }

    /// True for a symbolic link.
    #[must_use]
    pub const fn is_symlink(self) -> bool {
        matches!(self, FileType::Symlink)
    }

    /// True for a fifo, socket or device: objects whose content is not in the layer.
    #[must_use]
    pub const fn is_special(self) -> bool {
        matches!(
            self,
            FileType::Fifo | FileType::Socket | FileType::CharDevice | FileType::BlockDevice
        )
    }

    /// The `S_IFMT` bits of `st_mode`.
    #[must_use]
    pub const fn mode_bits(self) -> u32 {
        match self {
            FileType::Regular => 0o100_000,
            FileType::Directory => 0o040_000,
            FileType::Symlink => 0o120_000,
            FileType::Fifo => 0o010_000,
            FileType::Socket => 0o140_000,
            FileType::CharDevice => 0o020_000,
            FileType::BlockDevice => 0o060_000,
        }
    }

    /// The type in the `S_IFMT` bits of a `st_mode` value; `None` if they name none.
    #[must_use]
    pub const fn from_mode_bits(st_mode: u32) -> Option<Self> {
        Some(match st_mode & 0o170_000 {
            0o100_000 => FileType::Regular,
            0o040_000 => FileType::Directory,
            0o120_000 => FileType::Symlink,
            0o010_000 => FileType::Fifo,
            0o140_000 => FileType::Socket,
            0o020_000 => FileType::CharDevice,
            0o060_000 => FileType::BlockDevice,
            _ => return None,
        })
    }

    /// The letter that `ls -l` shows.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            FileType::Regular => '-',
            FileType::Directory => 'd',
            FileType::Symlink => 'l',
            FileType::Fifo => 'p',
            FileType::Socket => 's',
            FileType::CharDevice => 'c',
            FileType::BlockDevice => 'b',
        }
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileType::Regular => "file",
            FileType::Directory => "directory",
            FileType::Symlink => "symlink",
            FileType::Fifo => "fifo",
            FileType::Socket => "socket",
            FileType::CharDevice => "character device",
            FileType::BlockDevice => "block device",
        })
    }
}

/// A device number.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DeviceId {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl DeviceId {
    /// A device number from its two parts.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        DeviceId { major, minor }
    }

    /// True for 0/0, the number of an overlayfs whiteout (rule R069).
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.major == 0 && self.minor == 0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A point in time: seconds and nanoseconds since the epoch; seconds may be negative.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01 00:00:00 UTC.
    pub secs: i64,
    /// Nanoseconds within the second, `0..1_000_000_000`.
    pub nanos: u32,
}

impl Timestamp {
    /// A time from seconds and nanoseconds.
    #[must_use]
    pub const fn new(secs: i64, nanos: u32) -> Self {
        Timestamp { secs, nanos }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.secs, self.nanos)
    }
}

/// The attributes of a node, as `stat` tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Metadata {
    /// The type.
    pub file_type: FileType,
    /// Permission bits with set-user-id, set-group-id and sticky (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of hard links.
    pub nlink: u64,
    /// Size in bytes; for a symlink the length of its target.
    pub size: u64,
    /// Space allocated, in units of 512 bytes.
    pub blocks: u64,
    /// Preferred size of reads and writes, in bytes.
    pub block_size: u32,
    /// Device number of a device node; 0/0 otherwise.
    pub rdev: DeviceId,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of attributes.
    pub ctime: Timestamp,
    /// Creation, where the layer records it.
    pub btime: Option<Timestamp>,
    /// Inode number.
    pub ino: u64,
    /// Device that the inode number belongs to.
    pub dev: DeviceId,
}

impl Metadata {
    /// Attributes of an empty node: one link, owner 0:0, all times zero.
    ///
    /// `mode`: permission bits (`0o7777`); others are cut off. Backends fill the rest in.
    #[must_use]
    pub const fn new(file_type: FileType, mode: u32) -> Self {
        Metadata {
            file_type,
            mode: mode & 0o7777,
            uid: 0,
            gid: 0,
            nlink: 1,
            size: 0,
            blocks: 0,
            block_size: 4096,
            rdev: DeviceId::new(0, 0),
            atime: Timestamp::new(0, 0),
            mtime: Timestamp::new(0, 0),
            ctime: Timestamp::new(0, 0),
            btime: None,
            ino: 0,
            dev: DeviceId::new(0, 0),
        }
    }

    /// True for a directory.
    #[must_use]
    pub const fn is_dir(&self) -> bool {
        self.file_type.is_dir()
    }

    /// True for a regular file.
    #[must_use]
    pub const fn is_file(&self) -> bool {
        self.file_type.is_file()
    }

    /// True for a symbolic link.
    #[must_use]
    pub const fn is_symlink(&self) -> bool {
        self.file_type.is_symlink()
    }

    /// `st_mode`: type and permission bits together.
    #[must_use]
    pub const fn st_mode(&self) -> u32 {
        self.file_type.mode_bits() | self.mode
    }
}

/// The inode flags that overlayfs minds (`chattr(1)`; rules R214, R226, R227).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent flag"
)]
pub struct InodeFlags {
    /// May only be appended to (`a`).
    pub append: bool,
    /// May not be changed at all (`i`).
    pub immutable: bool,
    /// Is written synchronously (`S`).
    pub sync: bool,
    /// Its access time is not kept (`A`).
    pub noatime: bool,
    /// Is left out of dumps (`d`).
    pub nodump: bool,
}

/// How to set one of the two times of a node.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum SetTime {
    /// Leave it (`UTIME_OMIT`).
    #[default]
    Omit,
    /// The current time of the layer's clock (`UTIME_NOW`).
    Now,
    /// This time.
    At(Timestamp),
}

/// A change of attributes; a field that is `None` (or [`SetTime::Omit`]) stays.
///
/// Applied in the order owner, mode, times, as one step: chown clears set-id bits, so the mode
/// comes after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SetAttr {
    /// New permission bits (`0o7777`).
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New access time.
    pub atime: SetTime,
    /// New modification time.
    pub mtime: SetTime,
}

impl SetAttr {
    /// A change of the permission bits only.
    #[must_use]
    pub fn mode(mode: u32) -> Self {
        SetAttr {
            mode: Some(mode),
            ..SetAttr::default()
        }
    }

    /// A change of owner and group only.
    #[must_use]
    pub fn owner(uid: Option<u32>, gid: Option<u32>) -> Self {
        SetAttr {
            uid,
            gid,
            ..SetAttr::default()
        }
    }

    /// A change of the two times only.
    #[must_use]
    pub fn times(atime: SetTime, mtime: SetTime) -> Self {
        SetAttr {
            atime,
            mtime,
            ..SetAttr::default()
        }
    }

    /// The owner, mode and times of `meta`, as copy-up sets them (rule R218).
    #[must_use]
    pub fn like(meta: &Metadata) -> Self {
        SetAttr {
            mode: if meta.is_symlink() {
                None
            } else {
                Some(meta.mode)
            },
            uid: Some(meta.uid),
            gid: Some(meta.gid),
            atime: SetTime::At(meta.atime),
            mtime: SetTime::At(meta.mtime),
        }
    }

    /// True if nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == SetAttr::default()
    }
}

/// Numbers about a filesystem, as `statvfs` tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StatFs {
    /// Magic number of the filesystem type (`f_type`).
    pub fs_type: u64,
    /// Block size in bytes.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Blocks free for ordinary users.
    pub blocks_available: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Longest name in bytes.
    pub name_bytes_max: u64,
    /// Identity of the filesystem (`f_fsid`); 0 where it has none.
    pub fs_id: u64,
}

/// The identity that a filesystem with this UUID shows (rule R037).
pub(crate) fn fs_id(uuid: [u8; 16]) -> u64 {
    let [a, b, c, d, e, f, g, h, rest @ ..] = uuid;
    u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ u64::from_le_bytes(rest)
}
