//! The value of the overlay attribute `redirect`.

use std::sync::Arc;

use crate::errno::Errno;
use crate::path::Name;

/// Longest absolute redirect that is written, in bytes (the kernel's `redirect_max`, rule R155). A
/// longer one would not fit every filesystem's attributes; the rename is `EXDEV` instead.
pub const REDIRECT_BYTES_MAX: usize = 256;

/// A parsed redirect (rules R157, R158, R162).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect<'a> {
    /// A path from the union's root, not a name in the same lower parents.
    pub(crate) absolute: bool,
    /// The components.
    pub(crate) parts: Vec<&'a [u8]>,
}

/// Parses the raw value. A NUL cuts it off, as in the kernel's string handling. Components that no
/// directory can hold do no harm until one is asked for them: see [`component`].
///
/// # Errors
/// `EINVAL`: empty, empty components, a trailing slash, or a relative value with a slash.
pub(crate) fn parse(value: &[u8]) -> Result<Redirect<'_>, Errno> {
    let value = value.split(|b| *b == 0).next().unwrap_or_default();
    let (absolute, path) = match value.strip_prefix(b"/") {
        Some(path) => (true, path),
        None if value.contains(&b'/') => return Err(Errno::EINVAL),
        None => (false, value),
    };
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(Errno::EINVAL);
    }
    Ok(Redirect { absolute, parts })
}

/// One step of a walk in a data-only layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DataPart {
    /// `.`
    Here,
    /// `..`
    Up,
    /// Any other component; an error is what asking a directory for it gives.
    Name(Result<Name, Errno>),
}

/// The way that an absolute redirect takes in a data-only layer: an ordinary path there (rule R185).
pub(crate) fn data_path(value: &[u8]) -> impl Iterator<Item = DataPart> {
    let parts = value.split(|b| *b == b'/').filter(|part| !part.is_empty());
    parts.map(|part| match part {
        b"." => DataPart::Here,
        b".." => DataPart::Up,
        name => DataPart::Name(component(name)),
    })
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

/// The name to ask a directory for.
///
/// # Errors
/// What asking it gives: `EACCES` for `.` and `..`, `ENAMETOOLONG` for what is longer than a name can be.
pub(crate) fn component(bytes: &[u8]) -> Result<Name, Errno> {
    match Name::new(bytes) {
        Ok(name) => Ok(name),
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
        let parsed = |value: &'static [u8]| {
            let redirect = parse(value).unwrap();
            let names = redirect.parts.into_iter().map(component);
            (redirect.absolute, names.collect::<Vec<_>>())
        };
        assert_eq!(parsed(b"a"), (false, vec![Ok(n("a"))]));
        assert_eq!(parsed(b"/a"), (true, vec![Ok(n("a"))]));
        assert_eq!(parsed(b"/a/b\0c"), (true, vec![Ok(n("a")), Ok(n("b"))]));
        for bad in [&b""[..], b"/", b"//x", b"x/", b"/x/", b"a/b", b"/a//b"] {
            assert_eq!(parse(bad), Err(Errno::EINVAL), "{}", bad.escape_ascii());
        }
        assert_eq!(parsed(b".."), (false, vec![Err(Errno::EACCES)]));
        let (_, parts) = parsed(b"/a/../b");
        assert_eq!(parts, [Ok(n("a")), Err(Errno::EACCES), Ok(n("b"))]);
        let long = [b"/".as_slice(), &[b'n'; 256]].concat();
        let parts = parse(&long).unwrap().parts;
        assert!(
            parts
                .into_iter()
                .map(component)
                .eq([Err(Errno::ENAMETOOLONG)])
        );
    }

    #[test]
    fn r185_a_path_in_a_data_only_layer_may_go_up() {
        let n = |s: &str| DataPart::Name(Ok(Name::try_from(s).unwrap()));
        let parts: Vec<DataPart> = data_path(b"/a/../b/.").collect();
        assert_eq!(parts, [n("a"), DataPart::Up, n("b"), DataPart::Here]);
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
