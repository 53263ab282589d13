//! Error numbers as an open type: every value that a kernel may return passes through.

use std::fmt;
use std::io;

/// A Linux error number.
///
/// An open newtype rather than an enum, so that a number this crate has no name for is
/// carried unchanged from a backend to the caller.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Errno = Errno(libc::$name);)*

            /// The symbolic name (`"ENOENT"`), or `None` for a number without one here.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $(libc::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// A short lower-case description.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self.0 {
                    $(libc::$name => $text,)*
                    _ => "unknown error",
                }
            }
        }
    };
}

errnos! {
    EPERM "operation not permitted";
    ENOENT "no such file or directory";
    EINTR "interrupted";
    EIO "input/output error";
    ENXIO "no such device or address";
    E2BIG "argument list too long";
    EBADF "bad file descriptor";
    EAGAIN "resource temporarily unavailable";
    ENOMEM "out of memory";
    EACCES "permission denied";
    EBUSY "device or resource busy";
    EEXIST "already exists";
    EXDEV "crosses layers or devices";
    ENODEV "no such device";
    ENOTDIR "not a directory";
    EISDIR "is a directory";
    EINVAL "invalid argument";
    ENFILE "too many open files in the system";
    EMFILE "too many open files";
    ENOTTY "inappropriate request for this object";
    ETXTBSY "text file busy";
    EFBIG "file too large";
    ENOSPC "no space left on device";
    ESPIPE "illegal seek";
    EROFS "read-only file system";
    EMLINK "too many links";
    ERANGE "result out of range";
    EDEADLK "would deadlock";
    ENAMETOOLONG "name too long";
    ENOSYS "function not implemented";
    ENOTEMPTY "directory not empty";
    ELOOP "too many levels of symbolic links";
    ENODATA "no such attribute";
    EOVERFLOW "value too large";
    EOPNOTSUPP "operation not supported";
    ESTALE "stale handle: the layer changed underneath";
    EDQUOT "disk quota exceeded";
    ECANCELED "cancelled";
    EREMOTE "object is remote or unusable";
}

impl Errno {
    /// Wraps a raw error number as the kernel gives it (positive).
    #[must_use]
    pub const fn from_raw(raw: i32) -> Self {
        Errno(raw)
    }

    /// The raw (positive) error number.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// The number behind an [`io::Error`]; `EIO` where it has none.
    #[must_use]
    pub fn of_io(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(raw) => Errno(raw),
            None => match error.kind() {
                io::ErrorKind::NotFound => Errno::ENOENT,
                io::ErrorKind::PermissionDenied => Errno::EACCES,
                io::ErrorKind::AlreadyExists => Errno::EEXIST,
                io::ErrorKind::InvalidInput => Errno::EINVAL,
                io::ErrorKind::Interrupted => Errno::EINTR,
                io::ErrorKind::Unsupported => Errno::EOPNOTSUPP,
                io::ErrorKind::OutOfMemory => Errno::ENOMEM,
                _ => Errno::EIO,
            },
        }
    }

    /// The [`io::ErrorKind`] that std gives this number.
    #[must_use]
    pub fn io_kind(self) -> io::ErrorKind {
        io::Error::from_raw_os_error(self.0).kind()
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.description()),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(e: rustix::io::Errno) -> Self {
        Errno(e.raw_os_error())
    }
}

impl From<nix::errno::Errno> for Errno {
    fn from(e: nix::errno::Errno) -> Self {
        Errno(e as i32)
    }
}
impl std::error::Error for Errno {}
