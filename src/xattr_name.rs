//! Names of extended attributes, and the overlay attributes among them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::errno::Errno;
use crate::path::display_bytes;

/// Longest attribute name in bytes (`XATTR_NAME_MAX`).
pub const XATTR_NAME_BYTES_MAX: usize = 255;

/// The full name of an extended attribute, such as `user.comment`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct XattrName(Arc<[u8]>);

impl XattrName {
    /// Checks `bytes` and makes a name of them.
    ///
    /// # Errors
    /// `ERANGE`: empty, more than [`XATTR_NAME_BYTES_MAX`] bytes, or holding NUL (the kernel's errno
    /// for an unusable attribute name).
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, Errno> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() || bytes.len() > XATTR_NAME_BYTES_MAX || bytes.contains(&0) {
            return Err(Errno::ERANGE);
        }
        Ok(XattrName(bytes.into()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::borrow::Borrow<[u8]> for XattrName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&str> for XattrName {
    type Error = Errno;
    fn try_from(s: &str) -> Result<Self, Errno> {
        XattrName::new(s.as_bytes())
    }
}

impl fmt::Debug for XattrName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for XattrName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", display_bytes(&self.0))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for XattrName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&display_bytes(&self.0).to_string())
    }
}

/// Where a layer keeps its overlay attributes (rule R275).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum XattrNamespace {
    /// `trusted.overlay.`: the kernel's default; needs `CAP_SYS_ADMIN`.
    #[default]
    Trusted,
    /// `user.overlay.`: the mount option `userxattr`; for ordinary users.
    User,
}

impl XattrNamespace {
    /// The prefix of overlay attributes, with the final dot (rules R275, R278).
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            XattrNamespace::Trusted => "trusted.overlay.",
            XattrNamespace::User => "user.overlay.",
        }
    }
}

/// The attributes by which overlayfs records its state on a layer (rule R276).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum OverlayAttr {
    /// `y`: the directory hides everything below; `x`: it may hold xattr whiteouts.
    Opaque,
    /// The path or name to look up in lower layers instead of the directory's own.
    Redirect,
    /// File handle of the lower object that this was copied up from.
    Origin,
    /// `y`: the directory may hold copied-up entries.
    Impure,
    /// The link count relative to the upper's or the lower's.
    Nlink,
    /// File handle of the upper object that an index entry stands for.
    Upper,
    /// Identity of the overlay, on the upper root.
    Uuid,
    /// The file holds metadata only; data are below.
    Metacopy,
    /// `a` and `i`: append-only and immutable, kept from the lower.
    Protattr,
    /// A zero-size regular file with it is a whiteout.
    Whiteout,
}

impl OverlayAttr {
    /// Every attribute, in the order of the kernel's table.
    pub const ALL: [OverlayAttr; 10] = [
        OverlayAttr::Opaque,
        OverlayAttr::Redirect,
        OverlayAttr::Origin,
        OverlayAttr::Impure,
        OverlayAttr::Nlink,
        OverlayAttr::Upper,
        OverlayAttr::Uuid,
        OverlayAttr::Metacopy,
        OverlayAttr::Protattr,
        OverlayAttr::Whiteout,
    ];

    /// The name behind the prefix, such as `opaque`.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            OverlayAttr::Opaque => "opaque",
            OverlayAttr::Redirect => "redirect",
            OverlayAttr::Origin => "origin",
            OverlayAttr::Impure => "impure",
            OverlayAttr::Nlink => "nlink",
            OverlayAttr::Upper => "upper",
            OverlayAttr::Uuid => "uuid",
            OverlayAttr::Metacopy => "metacopy",
            OverlayAttr::Protattr => "protattr",
            OverlayAttr::Whiteout => "whiteout",
        }
    }

    /// The full name in `namespace`, such as `trusted.overlay.opaque`.
    #[must_use]
    pub fn full_name(self, namespace: XattrNamespace) -> XattrName {
        static NAMES: [OnceLock<[XattrName; OverlayAttr::ALL.len()]>; 2] =
            [const { OnceLock::new() }; 2];
        let make = |attr: OverlayAttr| {
            let mut name = namespace.prefix().as_bytes().to_vec();
            name.extend_from_slice(attr.suffix().as_bytes());
            XattrName(name.into())
        };
        // Asked for with every lookup, so made once. `ALL` has the order of the declaration.
        let names = NAMES.get(namespace as usize);
        let names = names.map(|names| names.get_or_init(|| OverlayAttr::ALL.map(make)));
        match names.and_then(|names| names.get(self as usize)) {
            Some(name) => name.clone(),
            None => make(self),
        }
    }
}

impl fmt::Display for OverlayAttr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "overlay.{}", self.suffix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_names() {
        for namespace in [XattrNamespace::User, XattrNamespace::Trusted] {
            for attr in OverlayAttr::ALL {
                let expected = format!("{}{}", namespace.prefix(), attr.suffix());
                assert_eq!(attr.full_name(namespace).as_bytes(), expected.as_bytes());
            }
        }
    }
}
