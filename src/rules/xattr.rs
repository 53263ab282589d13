//! Extended attributes as a merged tree shows them: private, escaped and plain names
//! (rules R275 to R281), and which of them copy-up copies (R221 to R224).

use crate::errno::Errno;
use crate::meta::FileType;
use crate::xattr_name::{XattrName, XattrNamespace};

/// What follows the prefix in an escaped name.
const ESCAPE: &[u8] = b"overlay.";

/// The name in a layer under which the merged tree's attribute `name` is stored (rule R279).
///
/// # Errors
/// `EOPNOTSUPP`: the name would become too long (rule R280). `EINVAL`: nothing behind the prefix.
pub(crate) fn to_layer(name: &XattrName, namespace: XattrNamespace) -> Result<XattrName, Errno> {
    let prefix = namespace.prefix().as_bytes();
    match name.as_bytes().strip_prefix(prefix) {
        None => Ok(name.clone()),
        Some(b"") => Err(Errno::EINVAL),
        Some(rest) => {
            XattrName::new([prefix, ESCAPE, rest].concat()).map_err(|_| Errno::EOPNOTSUPP)
        }
    }
}

/// The name by which the merged tree shows a layer's attribute; `None` for a private one, which it
/// never shows (rules R277, R279, R281).
pub(crate) fn to_union(raw: &XattrName, namespace: XattrNamespace) -> Option<XattrName> {
    let prefix = namespace.prefix().as_bytes();
    match raw.as_bytes().strip_prefix(prefix) {
        None => Some(raw.clone()),
        Some(rest) => {
            let rest = rest.strip_prefix(ESCAPE)?;
            XattrName::new([prefix, rest].concat()).ok()
        }
    }
}

/// The name, in a layer of namespace `to`, of what the attribute `raw` is in one of `from`: private
/// names stay private, and a union shows all others under the same names as before.
///
/// # Errors
/// `EOPNOTSUPP`: the name would become too long (rule R280). `EINVAL`: nothing behind the prefix.
pub(crate) fn translate(
    raw: &XattrName,
    from: XattrNamespace,
    to: XattrNamespace,
) -> Result<XattrName, Errno> {
    if from == to {
        return Ok(raw.clone());
    }
    if let Some(shown) = to_union(raw, from) {
        return to_layer(&shown, to);
    }
    let prefix = from.prefix().as_bytes();
    let rest = raw.as_bytes().strip_prefix(prefix).unwrap_or_default();
    XattrName::new([to.prefix().as_bytes(), rest].concat()).map_err(|_| Errno::EOPNOTSUPP)
}

/// True for the overlay's own attributes, which are neither shown nor copied up (rules R221, R277).
pub(crate) fn is_private(raw: &XattrName, namespace: XattrNamespace) -> bool {
    match raw.as_bytes().strip_prefix(namespace.prefix().as_bytes()) {
        None => false,
        Some(rest) => !rest.starts_with(ESCAPE),
    }
}

/// Whether failing to copy this attribute with `EOPNOTSUPP` fails the copy-up (rule R224).
pub(crate) fn must_copy(raw: &XattrName) -> bool {
    raw.as_bytes().starts_with(b"security.") || is_acl(raw)
}

/// True for the two attributes that hold POSIX access lists.
pub(crate) fn is_acl(raw: &XattrName) -> bool {
    matches!(
        raw.as_bytes(),
        b"system.posix_acl_access" | b"system.posix_acl_default"
    )
}

/// Refuses reading an attribute that this type cannot have, as the VFS does before any filesystem
/// is asked.
///
/// # Errors
/// `ENODATA`: `user.` on anything but a regular file or directory. `EOPNOTSUPP`: an access list of a
/// symlink; a name of no known namespace.
pub(crate) fn check_read(file_type: FileType, name: &XattrName) -> Result<(), Errno> {
    if is_user(name) && !holds_user(file_type) {
        return Err(Errno::ENODATA);
    }
    known(name)?;
    if is_acl(name) && file_type.is_symlink() {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(())
}

/// Refuses names that no filesystem has: only three prefixes and the access lists are known.
///
/// # Errors
/// `EINVAL`: nothing behind the prefix. `EOPNOTSUPP`: another prefix.
pub(crate) fn known(name: &XattrName) -> Result<(), Errno> {
    let known: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    match known
        .iter()
        .find_map(|prefix| name.as_bytes().strip_prefix(*prefix))
    {
        Some(b"") => Err(Errno::EINVAL),
        Some(_) => Ok(()),
        None if is_acl(name) => Ok(()),
        None => Err(Errno::EOPNOTSUPP),
    }
}

/// Refuses setting (`Some`) or removing an attribute, as the VFS does before anything is copied up
/// (rules R203, R204).
///
/// # Errors
/// `EPERM`: `user.` on anything but a regular file or directory. `E2BIG`: more than 64 KiB.
/// `EINVAL`: a malformed access list or capability. `EOPNOTSUPP`: an access list of a symlink.
/// `EACCES`: a default access list of a non-directory.
pub(crate) fn check_write(
    file_type: FileType,
    name: &XattrName,
    value: Option<&[u8]>,
) -> Result<(), Errno> {
    if value.is_some_and(|v| v.len() > VALUE_BYTES_MAX) {
        return Err(Errno::E2BIG);
    }
    if is_user(name) && !holds_user(file_type) {
        return Err(Errno::EPERM);
    }
    if name.as_bytes() == CAPABILITY && value.is_some_and(|v| !is_capability(v)) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Whether an access list may be set (`set`) or removed on this type; `false`: there is nothing to do
/// (rule R204).
///
/// # Errors
/// `EOPNOTSUPP`: a symlink. `EACCES`: a default list of a non-directory.
pub(crate) fn check_acl(file_type: FileType, name: &XattrName, set: bool) -> Result<bool, Errno> {
    let default = name.as_bytes() == crate::acl::DEFAULT;
    if file_type.is_symlink() {
        return Err(Errno::EOPNOTSUPP);
    }
    match (default && !file_type.is_dir(), set) {
        (true, true) => Err(Errno::EACCES),
        (true, false) => Ok(false),
        (false, _) => Ok(true),
    }
}

/// Longest value of an attribute in bytes (`XATTR_SIZE_MAX`).
const VALUE_BYTES_MAX: usize = 65536;

/// The attribute that holds file capabilities.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// Revision 2 or 3 of the kernel's `vfs_cap_data`.
fn is_capability(value: &[u8]) -> bool {
    matches!((value.len(), value.get(3)), (20, Some(2)) | (24, Some(3)))
}

fn is_user(name: &XattrName) -> bool {
    name.as_bytes().starts_with(b"user.")
}

fn holds_user(file_type: FileType) -> bool {
    file_type.is_file() || file_type.is_dir()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    fn x(s: &str) -> XattrName {
        XattrName::try_from(s).unwrap()
    }

    #[test]
    fn r224_what_protects_must_be_copied() {
        let must = |name: &str| must_copy(&XattrName::new(name).unwrap());
        for name in [
            "security.capability",
            "security.x",
            "system.posix_acl_access",
            "system.posix_acl_default",
        ] {
            assert!(must(name), "{name}");
        }
        for name in ["user.a", "trusted.t", "system.other", "securityx.y"] {
            assert!(!must(name), "{name}");
        }
    }

    #[test]
    fn r275_to_r281_names() {
        use XattrNamespace::{Trusted, User};
        let rows: &[(&str, XattrNamespace, Option<&str>)] = &[
            ("user.a", Trusted, Some("user.a")),
            ("trusted.overlay.opaque", Trusted, None),
            ("trusted.overlay.foo", Trusted, None),
            (
                "trusted.overlay.overlay.opaque",
                Trusted,
                Some("trusted.overlay.opaque"),
            ),
            (
                "trusted.overlay.overlay.overlay.x",
                Trusted,
                Some("trusted.overlay.overlay.x"),
            ),
            ("trusted.overlayxxx", Trusted, Some("trusted.overlayxxx")),
            ("user.overlay.opaque", Trusted, Some("user.overlay.opaque")),
            ("user.overlay.opaque", User, None),
            (
                "trusted.overlay.opaque",
                User,
                Some("trusted.overlay.opaque"),
            ),
        ];
        for (raw, ns, shown) in rows {
            assert_eq!(to_union(&x(raw), *ns), shown.map(x), "{raw}");
            assert_eq!(is_private(&x(raw), *ns), shown.is_none(), "{raw}");
            if let Some(shown) = shown {
                assert_eq!(to_layer(&x(shown), *ns), Ok(x(raw)), "{shown}");
            }
        }
    }

    #[test]
    fn r279_names_move_between_namespaces() {
        use XattrNamespace::{Trusted, User};
        for (raw, expected) in [
            ("user.a", "user.a"),
            ("trusted.overlay.opaque", "user.overlay.opaque"),
            ("trusted.overlay.foo", "user.overlay.foo"),
            ("trusted.overlay.overlay.opaque", "trusted.overlay.opaque"),
            ("user.overlay.opaque", "user.overlay.overlay.opaque"),
        ] {
            assert_eq!(translate(&x(raw), Trusted, User), Ok(x(expected)), "{raw}");
            assert_eq!(translate(&x(expected), User, Trusted), Ok(x(raw)), "{raw}");
            assert_eq!(translate(&x(raw), User, User), Ok(x(raw)), "{raw}");
        }
    }

    #[test]
    fn r280_a_name_that_grows_too_long_is_unsupported() {
        let long = format!("trusted.overlay.{}", "n".repeat(255 - 16));
        assert_eq!(
            to_layer(&x(&long), XattrNamespace::Trusted),
            Err(Errno::EOPNOTSUPP)
        );
    }
}
