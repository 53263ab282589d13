//! The value of the overlay attribute `redirect`.

use crate::errno::Errno;
use crate::path::Name;

/// Longest absolute redirect that is written, in bytes (the kernel's `redirect_max`, rule R155). A
/// longer one would not fit every filesystem's attributes; the rename is `EXDEV` instead.
pub const REDIRECT_BYTES_MAX: usize = 256;

/// A parsed redirect (rules R157, R158, R162).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// A name in the same lower parents.
    Relative(Name),
    /// A path from the union's root.
    Absolute(Vec<Name>),
}

/// Parses the raw value.
///
/// # Errors
/// - `EINVAL`: empty, empty components, a trailing slash, or a relative value with a slash.
/// - `EACCES`: a component that no directory can hold (`.`, `..`), as the kernel's lookup helper
///   refuses it; also a NUL in the value cuts it off, as in the kernel's string handling.
pub(crate) fn parse(value: &[u8]) -> Result<Redirect, Errno> {
    let value = value.split(|b| *b == 0).next().unwrap_or_default();
    match value.strip_prefix(b"/") {
        Some(path) => path
            .split(|b| *b == b'/')
            .map(component)
            .collect::<Result<_, _>>()
            .map(Redirect::Absolute),
        None if value.contains(&b'/') => Err(Errno::EINVAL),
        None => component(value).map(Redirect::Relative),
    }
}

fn component(bytes: &[u8]) -> Result<Name, Errno> {
    match Name::new(bytes) {
        Ok(name) => Ok(name),
        Err(Errno::ENOENT) => Err(Errno::EINVAL),
        Err(Errno::ENAMETOOLONG) => Err(Errno::ENAMETOOLONG),
        Err(_) => Err(Errno::EACCES),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    #[test]
    fn r162_valid_and_invalid_values() {
        let n = |s: &str| Name::try_from(s).unwrap();
        assert_eq!(parse(b"a"), Ok(Redirect::Relative(n("a"))));
        assert_eq!(parse(b"/a"), Ok(Redirect::Absolute(vec![n("a")])));
        assert_eq!(parse(b"/a/b"), Ok(Redirect::Absolute(vec![n("a"), n("b")])));
        for bad in [&b""[..], b"/", b"//x", b"x/", b"/x/", b"a/b", b"/a//b"] {
            assert_eq!(parse(bad), Err(Errno::EINVAL), "{}", bad.escape_ascii());
        }
        assert_eq!(parse(b".."), Err(Errno::EACCES));
        assert_eq!(parse(b"/a/../b"), Err(Errno::EACCES));
    }
}
