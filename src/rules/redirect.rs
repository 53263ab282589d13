//! The value of the overlay attribute `redirect`.

use std::sync::Arc;

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
    /// A name in it is longer than any directory holds: it leads nowhere (rules R036, R163).
    Nowhere,
}

/// Parses the raw value.
///
/// # Errors
/// - `EINVAL`: empty, empty components, a trailing slash, or a relative value with a slash.
/// - `EACCES`: a component that no directory can hold (`.`, `..`), as the kernel's lookup helper
///   refuses it; also a NUL in the value cuts it off, as in the kernel's string handling.
pub(crate) fn parse(value: &[u8]) -> Result<Redirect, Errno> {
    let value = value.split(|b| *b == 0).next().unwrap_or_default();
    let parsed = match value.strip_prefix(b"/") {
        Some(path) => {
            let mut names = Vec::new();
            // One that is malformed is told, though one before it is too long.
            let mut nowhere = false;
            for part in path.split(|b| *b == b'/') {
                match component(part) {
                    Ok(name) => names.push(name),
                    Err(Errno::ENAMETOOLONG) => nowhere = true,
                    Err(e) => return Err(e),
                }
            }
            match nowhere {
                true => Err(Errno::ENAMETOOLONG),
                false => Ok(Redirect::Absolute(names)),
            }
        }
        None if value.contains(&b'/') => Err(Errno::EINVAL),
        None => component(value).map(Redirect::Relative),
    };
    match parsed {
        Err(Errno::ENAMETOOLONG) => Ok(Redirect::Nowhere),
        parsed => parsed,
    }
}

/// How a redirect names its target.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// By name, for what keeps its parent.
    Relative,
    /// By path from the union's root.
    Absolute,
}

/// An object that moves, or a directory above it: the name it has now, and the redirect of its upper
/// object.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    pub(crate) name: Name,
    pub(crate) redirect: Option<Arc<[u8]>>,
}

/// The redirect to store on an object before it gets another name; `None`: the one that it has does
/// (rules R166, R167). `levels`: the object, then the directories above it up to the root, which is
/// left out.
///
/// # Errors
/// `EXDEV`: the path is longer than [`REDIRECT_BYTES_MAX`] (rule R155).
pub(crate) fn to_store(
    levels: impl IntoIterator<Item = Level>,
    form: Form,
) -> Result<Option<Vec<u8>>, Errno> {
    let mut levels = levels.into_iter().peekable();
    let own = levels.peek().ok_or(Errno::EXDEV)?;
    match (&own.redirect, form) {
        (Some(_), Form::Relative) => return Ok(None),
        (Some(redirect), Form::Absolute) if redirect.starts_with(b"/") => return Ok(None),
        (None, Form::Relative) => return Ok(Some(own.name.as_bytes().to_vec())),
        _ => {}
    }
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    for level in levels {
        let mut part = Vec::new();
        match &level.redirect {
            // What lies above it is at the place that it names, not where it is shown.
            Some(redirect) if redirect.starts_with(b"/") => part.extend_from_slice(redirect),
            Some(redirect) => part.extend([b"/", &**redirect].concat()),
            None => part.extend([b"/", level.name.as_bytes()].concat()),
        }
        let whole = matches!(&level.redirect, Some(redirect) if redirect.starts_with(b"/"));
        bytes += part.len();
        if bytes > REDIRECT_BYTES_MAX {
            return Err(Errno::EXDEV);
        }
        parts.push(part);
        if whole {
            break;
        }
    }
    parts.reverse();
    Ok(Some(parts.concat()))
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
        assert_eq!(parse(&[b'x'; 256]), Ok(Redirect::Nowhere));
        assert_eq!(
            parse(&[b"/a/", &[b'x'; 256][..]].concat()),
            Ok(Redirect::Nowhere)
        );
        assert_eq!(
            parse(&[b"/", &[b'x'; 256][..], b"//"].concat()),
            Err(Errno::EINVAL)
        );
        assert_eq!(parse(b".."), Err(Errno::EACCES));
        assert_eq!(parse(b"/a/../b"), Err(Errno::EACCES));
    }

    /// Levels as `name` or `name>redirect`, the object first.
    fn stored(levels: &[&str], form: Form) -> Result<Option<String>, Errno> {
        let level = |text: &&str| {
            let (name, redirect) = match text.split_once('>') {
                Some((name, redirect)) => (name, Some(Arc::from(redirect.as_bytes()))),
                None => (*text, None),
            };
            Level {
                name: Name::try_from(name).unwrap(),
                redirect,
            }
        };
        let value = to_store(levels.iter().map(level), form)?;
        Ok(value.map(|v| String::from_utf8(v).unwrap()))
    }

    #[test]
    fn r166_r167_what_is_stored() {
        use Form::{Absolute, Relative};
        let table: [(&[&str], Form, Option<&str>); 10] = [
            (&["d", "p"], Relative, Some("d")),
            (&["d"], Absolute, Some("/d")),
            (&["d", "p", "q"], Absolute, Some("/q/p/d")),
            (&["d>old", "p"], Relative, None),
            (&["d>/x/y", "p"], Relative, None),
            (&["d>/x/y", "p"], Absolute, None),
            (&["d>old", "p"], Absolute, Some("/p/old")),
            (&["d", "p>was", "q"], Absolute, Some("/q/was/d")),
            (&["d", "p>/far/off", "q>no"], Absolute, Some("/far/off/d")),
            (
                &["d>old", "p>/far/off", "q"],
                Absolute,
                Some("/far/off/old"),
            ),
        ];
        for (levels, form, want) in table {
            let got = stored(levels, form);
            assert_eq!(got, Ok(want.map(String::from)), "{levels:?} {form:?}");
        }
    }

    #[test]
    fn r155_an_absolute_redirect_has_at_most_256_bytes() {
        let long = "n".repeat(200);
        let rest = |n: usize| "m".repeat(n);
        assert!(stored(&[&rest(54), &long], Form::Absolute).is_ok());
        assert_eq!(
            stored(&[&rest(55), &long], Form::Absolute),
            Err(Errno::EXDEV)
        );
        assert!(stored(&[&rest(255)], Form::Absolute).is_ok());
        assert!(stored(&[&rest(255), &long], Form::Relative).is_ok());
    }
}
