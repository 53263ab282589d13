//! Entries of the index, judged as a mount judges them (rules R258, R265 to R267, R269, R272).

use super::kind::FindingKind;
use crate::meta::FileType;
use crate::rules::origin::{self, Decoded, Origin};

/// Longest link count that the kernel reads, in bytes.
const NLINK_BYTES_MAX: usize = 12;

/// The origin that an entry's name tells: the value in hexadecimal digits.
pub(crate) fn parse_name(name: &[u8]) -> Option<(Vec<u8>, Origin)> {
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    // An odd last digit is not looked at.
    let raw: Option<Vec<u8>> = name
        .as_chunks::<2>()
        .0
        .iter()
        .map(|[a, b]| Some(digit(*a)? << 4 | digit(*b)?))
        .collect();
    let raw = raw?;
    match origin::decode(&raw) {
        Decoded::Known(origin) => Some((raw, origin)),
        Decoded::Unknown | Decoded::Malformed => None,
    }
}

/// The name of the entry for an object with this origin.
pub(crate) fn entry_name(origin: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(origin.len() * 2);
    for b in origin {
        for nibble in [b >> 4, b & 15] {
            name.push(char::from_digit(u32::from(nibble), 16).map_or(b'0', |c| c as u8));
        }
    }
    name
}

/// What a recorded link count counts from.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// The links of the upper file.
    Upper,
    /// Those of the lower file.
    Lower,
}

/// Parses the attribute `nlink`: `U` or `L`, a sign, a number (rule R258).
pub(crate) fn parse_nlink(value: &[u8]) -> Option<(Base, i64)> {
    let (base, rest) = match value {
        _ if value.len() > NLINK_BYTES_MAX => return None,
        [b'U', rest @ ..] => (Base::Upper, rest),
        [b'L', rest @ ..] => (Base::Lower, rest),
        _ => return None,
    };
    if !matches!(rest, [b'+' | b'-', b'0'..=b'9', ..]) {
        return None;
    }
    let number: i32 = std::str::from_utf8(rest).ok()?.parse().ok()?;
    Some((base, i64::from(number)))
}

/// The value that records a link count of `nlink`, relative to the `upper` links of the file.
pub(crate) fn nlink_value(nlink: u64, upper: u64) -> Vec<u8> {
    let difference = i128::from(nlink) - i128::from(upper);
    format!("U{difference:+}").into_bytes()
}

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
    /// It is there and records this origin.
    Records(Option<Vec<u8>>),
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
}

/// What is wrong with an entry.
pub(crate) fn judge(e: &Entry) -> Option<FindingKind> {
    match e.file_type {
        None => whiteout(e.target),
        Some(FileType::Directory) => directory(e),
        Some(file_type) => file(e, file_type),
    }
}

/// A whiteout tells that all names of the object are gone (rule R265).
fn whiteout(target: Target) -> Option<FindingKind> {
    let shown = matches!(target, Target::Found { visible: 1.., .. });
    shown.then_some(FindingKind::IndexOfOtherType)
}

fn directory(e: &Entry) -> Option<FindingKind> {
    match (&e.upper, e.target) {
        (UpperDir::Absent, _) => Some(FindingKind::IndexStale),
        (UpperDir::Gone, _) => Some(FindingKind::IndexOrphan),
        (UpperDir::Records(None), _) => Some(FindingKind::IndexWithoutOrigin),
        (UpperDir::Records(Some(origin)), _) if *origin != e.name => {
            Some(FindingKind::IndexMismatch)
        }
        (_, Target::Found { file_type, .. }) if !file_type.is_dir() => {
            Some(FindingKind::IndexOfOtherType)
        }
        _ => None,
    }
}

fn file(e: &Entry, file_type: FileType) -> Option<FindingKind> {
    match &e.origin {
        None => return Some(FindingKind::IndexWithoutOrigin),
        Some(origin) if *origin != e.name => return Some(FindingKind::IndexMismatch),
        Some(_) => {}
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
    let recorded = e.nlink_attr.as_deref().and_then(parse_nlink);
    let union = recorded.map(|(base, difference)| match base {
        Base::Upper => i128::from(e.nlink) + i128::from(difference),
        Base::Lower => i128::from(nlink) + i128::from(difference),
    });
    // One link of the upper file is the entry itself.
    let names = e.nlink.saturating_sub(1);
    match union {
        _ if names == 0 && union.is_none_or(|n| n <= 0) => Some(FindingKind::IndexOrphan),
        None => Some(FindingKind::NlinkMalformed),
        Some(union) => {
            let least = i128::from(names) + i128::from(visible);
            // Names of the lower file may lie where nobody sees them; all of them count.
            let most = i128::from(names) + i128::from(nlink);
            (union < least.max(1) || union > most).then_some(FindingKind::NlinkWrong)
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

    fn origin() -> Vec<u8> {
        origin::encode(&Origin {
            uuid: [7; 16],
            handle: FileHandle {
                kind: 1,
                bytes: vec![1, 2, 3, 4],
            },
            upper: false,
        })
    }

    #[test]
    fn r262_names_are_origins_in_hexadecimal() {
        let raw = origin();
        let name = entry_name(&raw);
        assert!(name.starts_with(b"00fb19"));
        assert_eq!(parse_name(&name).unwrap().0, raw);
        assert_eq!(parse_name(&name.to_ascii_uppercase()).unwrap().0, raw);
        for bad in [&b"00fb"[..], b"x", &name[..40], &[b'0'; 60]] {
            assert!(parse_name(bad).is_none(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn r258_link_counts() {
        assert_eq!(parse_nlink(b"U+1"), Some((Base::Upper, 1)));
        assert_eq!(parse_nlink(b"L-12"), Some((Base::Lower, -12)));
        for bad in [
            &b""[..],
            b"U1",
            b"+1",
            b"U+",
            b"U+1x",
            b"U+99999999999999",
            b"U+-1",
        ] {
            assert_eq!(parse_nlink(bad), None, "{}", bad.escape_ascii());
        }
        assert_eq!(nlink_value(3, 2), b"U+1");
        assert_eq!(nlink_value(2, 3), b"U-1");
        assert_eq!(parse_nlink(&nlink_value(2, 2)), Some((Base::Upper, 0)));
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
            },
            upper: UpperDir::Unknown,
        }
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
            ("U+1", None),
            ("U+2", Some(FindingKind::NlinkWrong)),
        ] {
            let found = with(&|e| e.nlink_attr = Some(value.as_bytes().to_vec()));
            assert_eq!(found, expected, "{value}");
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
                },
                upper,
                ..entry()
            })
        };
        assert_eq!(of(UpperDir::Unknown), None);
        assert_eq!(of(UpperDir::Records(Some(origin()))), None);
        assert_eq!(of(UpperDir::Absent), Some(FindingKind::IndexStale));
        assert_eq!(of(UpperDir::Gone), Some(FindingKind::IndexOrphan));
        assert_eq!(
            of(UpperDir::Records(Some(vec![0]))),
            Some(FindingKind::IndexMismatch)
        );
    }
}
