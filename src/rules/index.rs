//! The index: copied-up objects found by what they were copied up from (rules R046, R124, R258,
//! R262 to R272).
//!
//! An entry is named after the handle of the lower object. That of a non-directory is one more name
//! of its upper object; that of a directory, which only `nfs_export` keeps, is a directory that
//! records the handle of the upper one.

use crate::backend::{RemoveKind, RenameHow};
use crate::errno::Errno;
use crate::meta::{FileType, SetAttr, SetTime, Timestamp};
use crate::path::Name;
use crate::rules::Features;
use crate::rules::copy_up::mark_impure;
use crate::rules::origin::{self, Decoded};
use crate::rules::plan::{Obj, Place, Plan, Role, Step};
use crate::xattr_name::OverlayAttr;

/// Longest value of the overlay attribute `nlink` that is read.
const NLINK_BYTES_MAX: usize = 12;

/// Whether copying an object up enters it into the index (rules R262, R264, R269): a lower hard link,
/// or with `nfs_export` anything.
pub(crate) fn needs_entry(features: Features, is_dir: bool, lower_nlink: u64) -> bool {
    features.index && (features.nfs_export || (!is_dir && lower_nlink > 1))
}

/// Whether a lookup asks the index for an object of this type.
pub(crate) fn looks_up(features: Features, is_dir: bool) -> bool {
    features.index && (!is_dir || features.nfs_export)
}

/// The name of the entry for an object with this encoded handle.
///
/// # Errors
/// `ENAMETOOLONG`: the handle is too long for a name.
pub(crate) fn entry_name(handle: &[u8]) -> Result<Name, Errno> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| DIGITS.get(usize::from(n)).copied().unwrap_or(b'0');
    let digits = handle.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]);
    Name::new(digits.collect::<Vec<u8>>())
}

/// The encoded handle that an entry is named after.
///
/// # Errors
/// `EINVAL`: no handle in hexadecimal digits. `ENODATA`: of a kind that is not understood.
pub(crate) fn parse_entry_name(name: &Name) -> Result<Vec<u8>, Errno> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    };
    let pairs = name.as_bytes().chunks_exact(2);
    let mut handle = pairs.map(byte).collect::<Option<Vec<u8>>>();
    match handle.as_deref().map(origin::decode) {
        Some(Decoded::Known(_)) => {}
        Some(Decoded::Unknown) if handle.as_ref().is_some_and(|h| !h.is_empty()) => {
            return Err(Errno::ENODATA);
        }
        _ => return Err(Errno::EINVAL),
    }
    let mut handle = handle.take().unwrap_or_default();
    // What the handle itself says is its length counts.
    handle.truncate(handle.get(2).copied().map_or(0, usize::from));
    Ok(handle)
}

/// What an attribute that holds a handle says, compared with the handle that it should hold.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// Nothing, or nothing that is understood.
    Nothing,
    /// The same handle.
    Same,
    /// Another one.
    Other,
}

/// Compares a stored handle with the one expected.
pub(crate) fn recorded(stored: Option<&[u8]>, expected: &[u8]) -> Recorded {
    let Some(stored) = stored else {
        return Recorded::Nothing;
    };
    match origin::decode(stored) {
        Decoded::Unknown | Decoded::Malformed => Recorded::Nothing,
        Decoded::Known(_) if stored.get(..expected.len()) == Some(expected) => Recorded::Same,
        Decoded::Known(_) => Recorded::Other,
    }
}

/// What the link count of a union is stored relative to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Relative {
    Upper,
    Lower,
}

/// The value of the overlay attribute `nlink` (rule R258): the link count of the union, relative to
/// that of a real object.
pub(crate) fn nlink_value(relative: Relative, union: u64, real: u64) -> Vec<u8> {
    let letter = match relative {
        Relative::Upper => 'U',
        Relative::Lower => 'L',
    };
    let difference = i128::from(union) - i128::from(real);
    format!("{letter}{difference:+}").into_bytes()
}

/// What a stored value says: relative to which object, and how many more or fewer.
pub(crate) fn parse_nlink(value: &[u8]) -> Option<(Relative, i32)> {
    let (letter, difference) = value.split_first()?;
    let relative = match letter {
        b'U' => Relative::Upper,
        b'L' => Relative::Lower,
        _ => return None,
    };
    let difference = difference.strip_suffix(b"\n").unwrap_or(difference);
    if value.len() > NLINK_BYTES_MAX || !matches!(difference.first(), Some(b'+' | b'-')) {
        return None;
    }
    let difference = std::str::from_utf8(difference).ok()?.parse().ok()?;
    Some((relative, difference))
}

/// The link count of the union that a stored value tells; `None` if it tells none. A quirk: for a lower
/// with one name, which only `nfs_export` indexes, the value is not looked at.
pub(crate) fn union_nlink(value: Option<&[u8]>, upper: u64, lower: u64) -> Option<u64> {
    let (relative, difference) = parse_nlink(value.filter(|_| lower != 1)?)?;
    let real = match relative {
        Relative::Upper => upper,
        Relative::Lower => lower,
    };
    let nlink = real.checked_add_signed(i64::from(difference))?;
    (nlink > 0).then_some(nlink)
}

/// The `n`th name for what is being staged, in the kernel's form (rule R047): `#` and `n` in hexadecimal.
/// (Without `format!`, since each copy-up takes one.)
pub(crate) fn temporary(mut n: u64) -> Result<Name, Errno> {
    let mut text = Vec::with_capacity(17);
    while n > 0 || text.is_empty() {
        let digit = char::from_digit((n % 16) as u32, 16);
        text.extend(digit.map(|c| c as u8));
        n /= 16;
    }
    text.push(b'#');
    text.reverse();
    Name::new(text)
}

/// True for the names of what is being staged (rule R047); in the index, the others are entries.
pub(crate) fn is_temporary(name: &Name) -> bool {
    name.as_bytes().starts_with(b"#")
}

/// Whether a lower is what the upper above it was copied up from.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verified {
    /// It was not asked.
    Unchecked,
    Matches,
    /// It is not: the two directories are not merged.
    Differs,
}

/// Whether the lower that is found first below an upper is compared with what that records (rules R270,
/// R271). `known`: what it records can be decoded.
pub(crate) fn verifies(features: Features, is_dir: bool, known: bool) -> bool {
    features.index && if is_dir { features.nfs_export } else { known }
}

/// What the comparison of the stored origin with the handle of the lower comes to. A directory without
/// any matches, as the kernel then stores what is found (rule R065); one with a value that says nothing
/// does not.
///
/// # Errors
/// `ESTALE`: another file (rule R271).
pub(crate) fn verified(
    is_dir: bool,
    stored: Option<&[u8]>,
    handle: &[u8],
) -> Result<Verified, Errno> {
    match (recorded(stored, handle), stored) {
        (Recorded::Same, _) => Ok(Verified::Matches),
        (_, None) if is_dir => Ok(Verified::Matches),
        _ if is_dir => Ok(Verified::Differs),
        _ => Err(Errno::ESTALE),
    }
}

/// What lies in the index under the name of a lower object.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Whiteout,
    Node {
        file_type: FileType,
        /// It is the upper object that the lookup found (a non-directory), or records its handle (a
        /// directory); `None` if the lookup found no upper.
        of_upper: Option<bool>,
    },
}

/// Whether an entry is that of the object which a lookup found in a lower layer of type `lower`. If so
/// and there is no upper, the entry is it.
///
/// # Errors
/// `EIO` (rules R169, R272): an entry of the wrong type; one of a directory that another upper
/// directory was copied up from.
pub(crate) fn is_entry_of(entry: Entry, lower: FileType) -> Result<bool, Errno> {
    match entry {
        Entry::Whiteout => Err(Errno::EIO),
        Entry::Node { file_type, .. } if file_type != lower => Err(Errno::EIO),
        Entry::Node { of_upper, .. } if lower.is_dir() => match of_upper {
            Some(true) => Ok(true),
            _ => Err(Errno::EIO),
        },
        Entry::Node { of_upper, .. } => Ok(of_upper != Some(false)),
    }
}

/// An entry as it is found when the union is opened.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Whiteout,
    /// A directory while directories are not indexed.
    UnusedDir,
    /// A directory that records no upper one.
    Unrelated,
    /// A directory whose upper one is gone.
    Orphan,
    /// A directory that records something else than a directory.
    NotADirectory,
    /// Something else, or a directory with its upper one; what that records as its origin.
    Of {
        origin: Recorded,
        /// The index has its only name.
        alone: Option<Alone>,
    },
}

/// An upper object that has no name but its entry.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alone {
    /// The lower object is still there, and of the same type.
    pub(crate) lower: bool,
    /// See [`union_nlink`].
    pub(crate) union_nlink: Option<u64>,
}

/// What becomes of an entry when the union is opened.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    Remove,
    /// A whiteout takes its place, so that handles of the object are known to be stale.
    Whiteout,
}

/// Judges an entry (rule R267).
///
/// # Errors
/// `ENODATA`, `EIO`: it must not be touched, and the union is not opened.
pub(crate) fn verdict(found: Found, features: Features) -> Result<Verdict, Errno> {
    let orphan = match features.nfs_export {
        true => Verdict::Whiteout,
        false => Verdict::Remove,
    };
    Ok(match found {
        Found::Whiteout | Found::UnusedDir => Verdict::Keep,
        Found::Unrelated => Verdict::Remove,
        Found::Orphan => orphan,
        Found::NotADirectory => return Err(Errno::EIO),
        Found::Of { origin, alone } => match (origin, alone) {
            (Recorded::Nothing, _) => return Err(Errno::ENODATA),
            (Recorded::Other, _) => Verdict::Remove,
            (Recorded::Same, Some(alone)) if !alone.lower => Verdict::Remove,
            (Recorded::Same, Some(alone)) if alone.union_nlink.is_none() => orphan,
            (Recorded::Same, _) => Verdict::Keep,
        },
    })
}

/// An indexed object, and the link counts of its union and of its upper.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Linked {
    pub(crate) object: Obj,
    pub(crate) union: u64,
    pub(crate) upper: u64,
}

/// Appends recording the link count relative to the upper, before that changes together with it (rules
/// R247, R258).
pub(crate) fn plan_nlink(plan: &mut Plan, role: Role, linked: Linked) -> usize {
    let Linked {
        object,
        union,
        upper,
    } = linked;
    let value = Some(nlink_value(Relative::Upper, union, upper));
    let attr = OverlayAttr::Nlink;
    let step = Step::SetOverlay {
        object,
        attr,
        value,
    };
    plan.push(role, step)
}

/// What giving an indexed object one of its lower names in the upper needs to know.
#[derive(Debug)]
pub(crate) struct LinkUp {
    pub(crate) linked: Linked,
    pub(crate) lower_nlink: u64,
    pub(crate) to: Place,
    /// The upper directory's times, to be restored.
    pub(crate) dir_times: (Timestamp, Timestamp),
    /// The upper directory is marked impure already.
    pub(crate) dir_impure: bool,
}

/// Appends it (rule R262); answers the index of the step that marks the directory impure, and of the
/// one that links. Between the two steps that record the link count it is relative to the lower, whose
/// does not change.
pub(crate) fn plan_link_up(plan: &mut Plan, f: &LinkUp) -> (Option<usize>, usize) {
    let object = f.linked.object;
    let impure = (!f.dir_impure).then(|| mark_impure(plan, f.to.dir));
    let value = nlink_value(Relative::Lower, f.linked.union, f.lower_nlink);
    plan.push(
        Role::Neutral,
        Step::SetOverlay {
            object,
            attr: OverlayAttr::Nlink,
            value: Some(value),
        },
    );
    let to = f.to.clone();
    let link = plan.push(Role::Neutral, Step::Link { object, to });
    let (atime, mtime) = f.dir_times;
    plan.push(
        Role::BestEffort,
        Step::SetAttr {
            object: f.to.dir,
            attr: SetAttr::times(SetTime::At(atime), SetTime::At(mtime)),
        },
    );
    let linked = Linked {
        upper: f.linked.upper + 1,
        ..f.linked
    };
    plan_nlink(plan, Role::Neutral, linked);
    (impure, link)
}

/// Appends what becomes of the entry of an object that has lost its last name (rule R265). `temp`: a
/// free place in the index directory.
pub(crate) fn plan_cleanup(
    plan: &mut Plan,
    entry: Place,
    is_dir: bool,
    temp: Place,
    features: Features,
) {
    let kind = match is_dir {
        true => RemoveKind::Directory,
        false => RemoveKind::NonDirectory,
    };
    if !features.nfs_export {
        plan.push(Role::CleanUp, Step::Remove { at: entry, kind });
        return;
    }
    plan.push(Role::CleanUp, Step::Whiteout { at: temp.clone() });
    let how = match is_dir {
        true => RenameHow::Exchange,
        false => RenameHow::Replace,
    };
    let from = temp.clone();
    plan.push(
        Role::CleanUp,
        Step::Rename {
            object: None,
            from,
            to: entry,
            how,
        },
    );
    if is_dir {
        plan.push(Role::CleanUp, Step::Remove { at: temp, kind });
    }
}

#[cfg(test)]
mod tests;
