//! Extended attributes as a merged tree shows them: private, escaped and plain names
//! (rules R275 to R281), and which of them copy-up copies (R221 to R224).

use crate::errno::Errno;
use crate::xattr_name::{XattrName, XattrNamespace};

/// What follows the prefix in an escaped name.
const ESCAPE: &[u8] = b"overlay.";

/// The name in a layer under which the merged tree's attribute `name` is stored (rule R279).
///
/// # Errors
/// `EOPNOTSUPP`: the name would become too long (rule R280).
pub(crate) fn to_layer(name: &XattrName, namespace: XattrNamespace) -> Result<XattrName, Errno> {
    let prefix = namespace.prefix().as_bytes();
    match name.as_bytes().strip_prefix(prefix) {
        None => Ok(name.clone()),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    fn x(s: &str) -> XattrName {
        XattrName::try_from(s).unwrap()
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
    fn r280_a_name_that_grows_too_long_is_unsupported() {
        let long = format!("trusted.overlay.{}", "n".repeat(255 - 16));
        assert_eq!(
            to_layer(&x(&long), XattrNamespace::Trusted),
            Err(Errno::EOPNOTSUPP)
        );
    }
}
