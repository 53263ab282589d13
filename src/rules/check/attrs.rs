//! Overlay attributes that mean nothing where they are (rules R061, R070, R086, R164, R227, R274 to
//! R279).

use crate::meta::FileType;
use crate::rules::whiteout::{Opacity, opacity};
use crate::xattr_name::{OverlayAttr, XattrName, XattrNamespace};

/// Bytes of the attribute `uuid` (rule R037).
const UUID_BYTES: usize = 16;

/// What an attribute's name says.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing to do with overlays, or kept for an overlay inside this one.
    Plain,
    /// An overlay attribute.
    Own(OverlayAttr),
    /// Under the prefix, but none that is known.
    Unknown,
    /// An overlay attribute of the namespace that this layer does not use.
    Foreign(OverlayAttr),
}

/// Sorts an attribute by its name, for a layer that uses `namespace`.
pub(crate) fn class(name: &XattrName, namespace: XattrNamespace) -> Class {
    let other = match namespace {
        XattrNamespace::Trusted => XattrNamespace::User,
        XattrNamespace::User => XattrNamespace::Trusted,
    };
    let after = |ns: XattrNamespace| name.as_bytes().strip_prefix(ns.prefix().as_bytes());
    let known = |suffix: &[u8]| {
        OverlayAttr::ALL
            .into_iter()
            .find(|attr| attr.suffix().as_bytes() == suffix)
    };
    match (after(namespace), after(other)) {
        (Some(suffix), _) => match known(suffix) {
            Some(attr) => Class::Own(attr),
            None if suffix.starts_with(b"overlay.") => Class::Plain,
            None => Class::Unknown,
        },
        (None, Some(suffix)) => known(suffix).map_or(Class::Plain, Class::Foreign),
        (None, None) => Class::Plain,
    }
}

/// Where an attribute was found.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file_type: FileType,
    /// The root directory of a layer.
    pub(crate) root: bool,
    /// It stands for other names too: a link count is kept for it.
    pub(crate) indexed: bool,
}

/// Why an attribute means nothing; `None` if it means something, or if another kind of finding
/// judges its value.
pub(crate) fn meaningless(attr: OverlayAttr, value: &[u8], at: Place) -> Option<&'static str> {
    let dir = at.file_type.is_dir();
    let file = at.file_type.is_file();
    match attr {
        OverlayAttr::Opaque if !dir => Some("only directories are opaque"),
        OverlayAttr::Opaque if at.root && value == b"y" => Some("roots always merge"),
        OverlayAttr::Redirect if at.root => Some("roots always merge"),
        OverlayAttr::Opaque if opacity(Some(value)) == Opacity::None => {
            Some("the value is neither `y` nor `x`")
        }
        // On a file it stays behind when the data of a metadata-only copy are copied (rule R180).
        OverlayAttr::Redirect if !dir && !file => Some("nothing is looked up below this"),
        OverlayAttr::Metacopy if !file => Some("only regular files are copied without data"),
        OverlayAttr::Impure if !dir => Some("only directories are impure"),
        OverlayAttr::Impure if value != b"y" => Some("the value is not `y`"),
        OverlayAttr::Nlink if dir => Some("link counts of directories are not kept"),
        OverlayAttr::Nlink if !at.indexed && crate::rules::index::parse_nlink(value).is_none() => {
            Some("the value is no link count")
        }
        OverlayAttr::Upper => Some("it belongs to entries of the index"),
        OverlayAttr::Uuid if !at.root => Some("it belongs to the root of an upper"),
        OverlayAttr::Uuid if value.len() != UUID_BYTES => Some("the value is no UUID"),
        OverlayAttr::Protattr if value.is_empty() || protattr(value).len() != value.len() => {
            Some("the value is not of `a` and `i`")
        }
        OverlayAttr::Whiteout => Some("only an empty regular file is a whiteout"),
        _ => None,
    }
}

/// The part of a `protattr` that is understood (rule R227).
pub(crate) fn protattr(value: &[u8]) -> &[u8] {
    let len = value.iter().take_while(|b| matches!(b, b'a' | b'i'));
    value.get(..len.count()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    fn at(file_type: FileType) -> Place {
        Place {
            file_type,
            root: false,
            indexed: false,
        }
    }

    #[test]
    fn r275_r279_names_are_sorted_by_namespace() {
        let of = |name: &str| class(&XattrName::try_from(name).unwrap(), XattrNamespace::Trusted);
        assert_eq!(
            of("trusted.overlay.opaque"),
            Class::Own(OverlayAttr::Opaque)
        );
        assert_eq!(of("trusted.overlay.overlay.opaque"), Class::Plain);
        assert_eq!(of("trusted.overlay.foo"), Class::Unknown);
        assert_eq!(
            of("user.overlay.opaque"),
            Class::Foreign(OverlayAttr::Opaque)
        );
        assert_eq!(of("user.overlay.x"), Class::Plain);
        assert_eq!(of("trusted.overlayopaque"), Class::Plain);
        assert_eq!(of("user.a"), Class::Plain);
    }

    #[test]
    fn attributes_have_their_place_and_values() {
        use FileType::{Directory as D, Regular as F, Symlink as L};
        let ok = |attr, value: &[u8], file_type| meaningless(attr, value, at(file_type)).is_none();
        assert!(ok(OverlayAttr::Opaque, b"y", D) && ok(OverlayAttr::Opaque, b"x", D));
        assert!(!ok(OverlayAttr::Opaque, b"yy", D) && !ok(OverlayAttr::Opaque, b"y", F));
        assert!(ok(OverlayAttr::Redirect, b"x/", D) && ok(OverlayAttr::Redirect, b"a", F));
        assert!(!ok(OverlayAttr::Redirect, b"a", L) && !ok(OverlayAttr::Metacopy, b"", D));
        assert!(ok(OverlayAttr::Impure, b"y", D) && !ok(OverlayAttr::Impure, b"n", D));
        assert!(ok(OverlayAttr::Nlink, b"U+1", F) && !ok(OverlayAttr::Nlink, b"1", F));
        assert!(ok(OverlayAttr::Protattr, b"ai", F) && !ok(OverlayAttr::Protattr, b"ax", F));
        assert!(!ok(OverlayAttr::Protattr, b"", F), "the kernel warns");
        assert!(!ok(OverlayAttr::Whiteout, b"", F) && !ok(OverlayAttr::Upper, b"", D));
        assert!(!ok(OverlayAttr::Uuid, &[0; 16], D));
        let root = Place {
            root: true,
            ..at(D)
        };
        assert!(meaningless(OverlayAttr::Uuid, &[0; 16], root).is_none());
        assert!(meaningless(OverlayAttr::Uuid, &[0; 3], root).is_some());
        assert!(
            meaningless(OverlayAttr::Opaque, b"y", root).is_some(),
            "R058"
        );
        assert!(
            meaningless(OverlayAttr::Opaque, b"x", root).is_none(),
            "R072"
        );
        assert!(ok(OverlayAttr::Origin, b"anything", F));
        assert_eq!(protattr(b"aix"), b"ai");
    }
}
