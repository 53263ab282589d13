//! Names and paths: bytes, validated once.

use std::borrow::Borrow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::errno::Errno;

/// Longest name in bytes (`NAME_MAX`): what every common filesystem stores in one entry.
pub const NAME_BYTES_MAX: usize = 255;

/// Symlinks followed in one path resolution before `ELOOP` (the kernel's `MAXSYMLINKS`).
pub const SYMLINK_HOPS_MAX: usize = 40;

/// One name in a directory: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`.
///
/// Cheap to clone; ordered by bytes; never required to be UTF-8.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// Checks `bytes` and makes a name of them.
    ///
    /// # Errors
    /// - `ENOENT`: empty.
    /// - `ENAMETOOLONG`: more than [`NAME_BYTES_MAX`] bytes.
    /// - `EINVAL`: holds `/` or NUL, or is `.` or `..`.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, Errno> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() {
            return Err(Errno::ENOENT);
        }
        if bytes.len() > NAME_BYTES_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if bytes == b"." || bytes == b".." || bytes.iter().any(|b| matches!(b, b'/' | 0)) {
            return Err(Errno::EINVAL);
        }
        Ok(Name(bytes.into()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as an `OsStr`.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// The name as a one-component path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(self.as_os_str())
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Name {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<Path> for Name {
    fn as_ref(&self) -> &Path {
        self.as_path()
    }
}

impl TryFrom<&str> for Name {
    type Error = Errno;
    fn try_from(s: &str) -> Result<Self, Errno> {
        Name::new(s.as_bytes())
    }
}

impl TryFrom<&OsStr> for Name {
    type Error = Errno;
    fn try_from(s: &OsStr) -> Result<Self, Errno> {
        Name::new(s.as_bytes())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", display_bytes(&self.0))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&display_bytes(&self.0).to_string())
    }
}

/// Shows bytes for people: printable text as it is (UTF-8 included), control characters,
/// backslashes and stray bytes escaped as `\xNN`, so that one line stays one line and two
/// different names never look the same.
#[must_use]
pub fn display_bytes(bytes: &[u8]) -> DisplayBytes<'_> {
    DisplayBytes(bytes)
}

/// See [`display_bytes`].
#[derive(Debug, Copy, Clone)]
pub struct DisplayBytes<'a>(&'a [u8]);

impl fmt::Display for DisplayBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    c if c.is_control() => {
                        let mut utf8 = [0; 4];
                        for b in c.encode_utf8(&mut utf8).bytes() {
                            write!(f, "\\x{b:02x}")?;
                        }
                    }
                    c => f.write_char(c)?,
                }
            }
            for b in chunk.invalid() {
                write!(f, "\\x{b:02x}")?;
            }
        }
        Ok(())
    }
}

/// Shows a path for people; see [`display_bytes`].
#[must_use]
pub fn display_path(path: &Path) -> DisplayBytes<'_> {
    display_bytes(path.as_os_str().as_bytes())
}

/// Serialises a path as people read it, since a path need not be text.
#[cfg(feature = "serde")]
pub(crate) fn serialize_path<S: serde::Serializer>(path: &Path, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&display_path(path))
}

/// The path of `name` in the directory `parent`.
pub(crate) fn join(parent: &Path, name: &Name) -> PathBuf {
    let mut bytes = parent.as_os_str().as_bytes().to_vec();
    if bytes.last() != Some(&b'/') {
        bytes.push(b'/');
    }
    bytes.extend_from_slice(name.as_bytes());
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// One step of a path as the caller wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Component {
    /// `.`: the directory itself.
    Here,
    /// `..`: to the parent; stays at the root.
    Parent,
    /// A name.
    Name(Name),
    /// A name that no directory can hold; an error when it is its turn.
    TooLong,
}

/// A parsed path inside a union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// The steps; empty components are gone.
    pub(crate) components: Vec<Component>,
    /// The path ends in `/`, `/.` or `/..`, so its end must be a directory.
    pub(crate) wants_dir: bool,
    /// The path starts with `/` (only symlink targets care: inside a union both mean the root
    /// for a caller's path).
    pub(crate) absolute: bool,
}

/// Parses `path`.
///
/// # Errors
/// `ENOENT` for the empty path; `EINVAL` for one with a NUL.
pub(crate) fn parse(path: &Path) -> Result<Parsed, Errno> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() {
        return Err(Errno::ENOENT);
    }
    let mut components = Vec::new();
    let mut wants_dir = false;
    for part in bytes.split(|b| *b == b'/') {
        wants_dir = true;
        match part {
            b"" => {}
            b"." => components.push(Component::Here),
            b".." => components.push(Component::Parent),
            name => {
                components.push(match Name::new(name) {
                    Err(Errno::ENAMETOOLONG) => Component::TooLong,
                    name => Component::Name(name?),
                });
                wants_dir = false;
            }
        }
    }
    Ok(Parsed {
        components,
        wants_dir,
        absolute: bytes.first() == Some(&b'/'),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    #[test]
    fn names_are_validated() {
        assert_eq!(Name::new(b""), Err(Errno::ENOENT));
        assert_eq!(Name::new(b"."), Err(Errno::EINVAL));
        assert_eq!(Name::new(b".."), Err(Errno::EINVAL));
        assert_eq!(Name::new(b"a/b"), Err(Errno::EINVAL));
        assert_eq!(Name::new(b"a\0b"), Err(Errno::EINVAL));
        assert_eq!(Name::new([b'x'; 256]), Err(Errno::ENAMETOOLONG));
        assert!(Name::new([0xffu8; 255]).is_ok());
        assert!(Name::new(b"...").is_ok());
    }

    #[test]
    fn paths_are_parsed() {
        let p = parse(Path::new("/a//./b/../c/")).unwrap();
        assert_eq!(p.components.len(), 5);
        assert!(p.wants_dir && p.absolute);
        assert!(!parse(Path::new("a")).unwrap().wants_dir);
        assert!(parse(Path::new("a/.")).unwrap().wants_dir);
        assert!(parse(Path::new("a/..")).unwrap().wants_dir);
        assert!(parse(Path::new("/")).unwrap().components.is_empty());
        assert_eq!(parse(Path::new("")), Err(Errno::ENOENT));
    }

    #[test]
    fn display_keeps_one_line_and_is_unambiguous() {
        assert_eq!(
            display_bytes(b"a\nb\\\xff\xc3\xa9").to_string(),
            "a\\nb\\\\\\xff\u{e9}"
        );
    }
}
