//! Entries of the index, judged as a mount judges them (rules R258, R265 to R267, R269, R272).

use super::kind::FindingKind;
use crate::meta::FileType;
use crate::rules::Features;
use crate::rules::index::{Recorded, recorded, union_nlink};
use crate::rules::redirect;
use crate::rules::resolve::is_metacopy;

/// What the origin in an entry's name leads to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// It cannot be told here.
    Unknown,
    /// Nothing.
    Gone,
    /// A lower object.
    Found {
        file_type: FileType,
        nlink: u64,
        /// Names in the merged tree that show it, not counting copied-up ones.
        visible: u64,
        /// Upper objects in the merged tree that are taken for its copies.
        copies: u64,
    },
}

/// The directory that an entry for a directory names (rule R269).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UpperDir {
    /// It cannot be told here, or nobody asks.
    Unknown,
    /// Nothing is recorded.
    Absent,
    /// It is gone.
    Gone,
    /// It is no directory.
    OtherType,
    /// It is there.
    Found {
        /// The origin that it records.
        origin: Option<Vec<u8>>,
        /// The merged tree shows the lower directory below it.
        merges: bool,
    },
}

/// An entry of the index whose name is valid.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The origin that its name tells.
    pub(crate) name: Vec<u8>,
    /// Its type; `None` for a whiteout.
    pub(crate) file_type: Option<FileType>,
    pub(crate) nlink: u64,
    /// The origin that it records.
    pub(crate) origin: Option<Vec<u8>>,
    pub(crate) nlink_attr: Option<Vec<u8>>,
    pub(crate) target: Target,
    pub(crate) upper: UpperDir,
    pub(crate) metacopy: Option<Vec<u8>>,
    pub(crate) redirect: Option<Vec<u8>>,
}

/// Why lower names of a file are refused, since they show what the entry is (rules R162, R165, R171, R177).
pub(crate) fn refused(e: &Entry, features: Features) -> Option<FindingKind> {
    let file_type = e.file_type?;
    let shows = matches!(e.target, Target::Found { visible, .. } if visible > 0);
    if !shows || recorded(e.origin.as_deref(), &e.name) != Recorded::Same {
        return None;
    }
    let redirect = e.redirect.as_deref().map(redirect::parse);
    match (redirect, is_metacopy(file_type, e.metacopy.as_deref())) {
        (Some(Err(_)), _) => Some(FindingKind::RedirectMalformed),
        (_, Err(_)) => Some(FindingKind::MetacopyMalformed),
        (_, Ok(true)) if !features.metacopy => Some(FindingKind::MetacopyRefused),
        (Some(Ok(_)), _) if !features.redirect_follow => Some(FindingKind::RedirectRefused),
        _ => None,
    }
}

/// What is wrong with an entry.
pub(crate) fn judge(e: &Entry) -> Option<FindingKind> {
    match e.file_type {
        None => whiteout(e.target),
        Some(FileType::Directory) => directory(e),
        Some(file_type) => file(e, file_type),
    }
}

/// Whether a lookup anywhere asks for the entry.
fn is_asked(target: Target) -> bool {
    matches!(target, Target::Found { visible, copies, .. } if visible > 0 || copies > 0)
}

/// A whiteout tells that all names of the object are gone (rule R265).
fn whiteout(target: Target) -> Option<FindingKind> {
    is_asked(target).then_some(FindingKind::IndexOfOtherType)
}

fn directory(e: &Entry) -> Option<FindingKind> {
    let (origin, merges) = match &e.upper {
        UpperDir::Absent => return Some(FindingKind::IndexStale),
        UpperDir::Gone => return Some(FindingKind::IndexOrphan),
        UpperDir::OtherType => return Some(FindingKind::IndexWithoutOrigin),
        UpperDir::Found { origin, merges } => (recorded(origin.as_deref(), &e.name), *merges),
        UpperDir::Unknown => (Recorded::Same, true),
    };
    match (origin, e.target) {
        (Recorded::Nothing, _) => Some(FindingKind::IndexWithoutOrigin),
        (Recorded::Other, _) => Some(FindingKind::IndexMismatch),
        (Recorded::Same, Target::Found { file_type, .. }) if !file_type.is_dir() => {
            Some(FindingKind::IndexOfOtherType)
        }
        (Recorded::Same, target) => {
            (is_asked(target) && !merges).then_some(FindingKind::IndexElsewhere)
        }
    }
}

fn file(e: &Entry, file_type: FileType) -> Option<FindingKind> {
    match recorded(e.origin.as_deref(), &e.name) {
        Recorded::Nothing => return Some(FindingKind::IndexWithoutOrigin),
        Recorded::Other => return Some(FindingKind::IndexMismatch),
        Recorded::Same => {}
    }
    let (nlink, visible) = match e.target {
        Target::Unknown => return None,
        Target::Gone => return Some(FindingKind::IndexStale),
        Target::Found {
            file_type: lower, ..
        } if lower != file_type => {
            return Some(FindingKind::IndexOfOtherType);
        }
        Target::Found { nlink, visible, .. } => (nlink, visible),
    };
    let union = union_nlink(e.nlink_attr.as_deref(), e.nlink, nlink);
    // One link of the upper file is the entry itself.
    let names = e.nlink.saturating_sub(1);
    match union {
        // Of a file with one name no count is kept, and the kernel leaves its entry to the next mount,
        // which takes it for one whose names are all gone.
        _ if nlink == 1 => (names == 0 && is_asked(e.target)).then_some(FindingKind::IndexOrphan),
        None if names == 0 => Some(FindingKind::IndexOrphan),
        None => Some(FindingKind::NlinkMalformed),
        // Names of the lower file may lie where nobody sees them; all of them count.
        Some(union) => {
            let possible = names.saturating_add(visible)..=names.saturating_add(nlink);
            (!possible.contains(&union)).then_some(FindingKind::NlinkWrong)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test may fail by panicking"
    )]
    use super::*;
    use crate::backend::FileHandle;
    use crate::rules::origin::{self, Origin};

    fn of_inode(ino: u8) -> Vec<u8> {
        origin::encode(&Origin {
            uuid: [7; 16],
            handle: FileHandle {
                kind: 1,
                bytes: vec![ino, 2, 3, 4],
            },
            upper: false,
        })
    }

    fn origin() -> Vec<u8> {
        of_inode(1)
    }

    fn entry() -> Entry {
        Entry {
            name: origin(),
            file_type: Some(FileType::Regular),
            nlink: 2,
            origin: Some(origin()),
            nlink_attr: Some(b"U+0".to_vec()),
            target: Target::Found {
                file_type: FileType::Regular,
                nlink: 2,
                visible: 1,
                copies: 1,
            },
            upper: UpperDir::Unknown,
            metacopy: None,
            redirect: None,
        }
    }

    #[test]
    fn r162_r165_r171_r177_entries_are_what_lower_names_show() {
        let with = |metacopy: Option<&str>, redirect: Option<&str>, features| {
            let bytes = |v: &str| v.as_bytes().to_vec();
            let (metacopy, redirect) = (metacopy.map(bytes), redirect.map(bytes));
            let e = Entry {
                metacopy,
                redirect,
                ..entry()
            };
            let hidden = Target::Found {
                file_type: FileType::Regular,
                nlink: 2,
                visible: 0,
                copies: 1,
            };
            let unseen = Entry {
                target: hidden,
                ..e.clone()
            };
            assert_eq!(refused(&unseen, features), None);
            refused(&e, features)
        };
        let off = Features::DEFAULT;
        let on = Features {
            metacopy: true,
            redirect_follow: true,
            ..off
        };
        let nofollow = Features {
            redirect_follow: false,
            ..off
        };
        assert_eq!(with(Some(""), Some("/zz"), on), None);
        assert_eq!(
            with(None, Some("/zz"), nofollow),
            Some(FindingKind::RedirectRefused)
        );
        assert_eq!(
            with(Some(""), None, off),
            Some(FindingKind::MetacopyRefused)
        );
        assert_eq!(
            with(Some("abc"), None, on),
            Some(FindingKind::MetacopyMalformed)
        );
        assert_eq!(
            with(Some(""), Some("a/b"), on),
            Some(FindingKind::RedirectMalformed)
        );
    }

    #[test]
    fn r267_entries_are_judged_as_a_mount_does() {
        let with = |change: &dyn Fn(&mut Entry)| {
            let mut e = entry();
            change(&mut e);
            judge(&e)
        };
        assert_eq!(with(&|_| {}), None);
        assert_eq!(
            with(&|e| e.origin = None),
            Some(FindingKind::IndexWithoutOrigin)
        );
        assert_eq!(
            with(&|e| e.origin = Some(vec![1])),
            Some(FindingKind::IndexWithoutOrigin)
        );
        assert_eq!(
            with(&|e| e.origin = Some(of_inode(9))),
            Some(FindingKind::IndexMismatch)
        );
        assert_eq!(
            with(&|e| e.target = Target::Gone),
            Some(FindingKind::IndexStale)
        );
        assert_eq!(with(&|e| e.target = Target::Unknown), None);
        assert_eq!(
            with(&|e| e.nlink_attr = None),
            Some(FindingKind::NlinkMalformed)
        );
        assert_eq!(
            with(&|e| (e.nlink, e.nlink_attr) = (1, Some(b"U-1".to_vec()))),
            Some(FindingKind::IndexOrphan)
        );
        for (value, expected) in [
            ("U+0", None),
            ("L+1", None),
            ("U-1", Some(FindingKind::NlinkWrong)),
            ("U-9", Some(FindingKind::NlinkMalformed)),
            ("U+1", None),
            ("U+2", Some(FindingKind::NlinkWrong)),
        ] {
            let found = with(&|e| e.nlink_attr = Some(value.as_bytes().to_vec()));
            assert_eq!(found, expected, "{value}");
        }
        let one_name = Target::Found {
            file_type: FileType::Regular,
            nlink: 1,
            visible: 0,
            copies: 1,
        };
        assert_eq!(with(&|e| (e.nlink_attr, e.target) = (None, one_name)), None);
        for (visible, copies, expected) in [
            (0, 0, None),
            (1, 0, Some(FindingKind::IndexOrphan)),
            (0, 1, Some(FindingKind::IndexOrphan)),
        ] {
            let target = Target::Found {
                file_type: FileType::Regular,
                nlink: 1,
                visible,
                copies,
            };
            let found = with(&|e| (e.nlink, e.nlink_attr, e.target) = (1, None, target));
            assert_eq!(found, expected, "{visible} names, {copies} copies");
            let of_whiteout = expected.map(|_| FindingKind::IndexOfOtherType);
            let found = with(&|e| (e.file_type, e.target) = (None, target));
            assert_eq!(found, of_whiteout, "R272: {visible} names, {copies} copies");
        }
        assert_eq!(
            with(&|e| e.file_type = None),
            Some(FindingKind::IndexOfOtherType),
            "R272: a whiteout of what still shows"
        );
        assert_eq!(
            with(&|e| e.file_type = Some(FileType::Directory)),
            Some(FindingKind::IndexOfOtherType)
        );
    }

    #[test]
    fn r269_entries_of_directories() {
        let of = |upper| {
            judge(&Entry {
                file_type: Some(FileType::Directory),
                target: Target::Found {
                    file_type: FileType::Directory,
                    nlink: 2,
                    visible: 0,
                    copies: 1,
                },
                upper,
                ..entry()
            })
        };
        assert_eq!(of(UpperDir::Unknown), None);
        let found = |origin: Option<Vec<u8>>, merges| of(UpperDir::Found { origin, merges });
        assert_eq!(found(Some(origin()), true), None);
        assert_eq!(
            found(Some(origin()), false),
            Some(FindingKind::IndexElsewhere)
        );
        assert_eq!(found(None, true), Some(FindingKind::IndexWithoutOrigin));
        assert_eq!(of(UpperDir::Absent), Some(FindingKind::IndexStale));
        assert_eq!(of(UpperDir::Gone), Some(FindingKind::IndexOrphan));
        assert_eq!(
            of(UpperDir::OtherType),
            Some(FindingKind::IndexWithoutOrigin)
        );
        assert_eq!(
            found(Some(of_inode(9)), true),
            Some(FindingKind::IndexMismatch)
        );
    }
}
