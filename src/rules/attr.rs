//! What changing owner, mode, size or content does to the other attributes.

use crate::credentials::{CapabilitySet, Credentials};
use crate::errno::Errno;
use crate::meta::{InodeFlags, Metadata, SetAttr, SetTime};
use crate::rules::permission;

const S_ISGID: u32 = 0o2000;

/// Checks whether the caller may change attributes so, and makes explicit what follows: a change of
/// owner drops set-id bits from anything but a directory, also if nothing else changes (the VFS's
/// `chown_common`); set-group-id is not set for a group that the caller is not in. A mode that is set
/// with the owner comes after and wins.
///
/// That both times become the current one is also permitted to who may write to the object, which
/// this does not ask.
///
/// # Errors
/// `EPERM`.
pub(crate) fn normalize(
    meta: &Metadata,
    attr: &SetAttr,
    caller: Option<&Credentials>,
) -> Result<SetAttr, Errno> {
    let mut attr = attr.clone();
    permission::may_chown(caller, meta, attr.uid, attr.gid)?;
    let chown = attr.uid.is_some() || attr.gid.is_some();
    if let Some(mode) = &mut attr.mode {
        *mode &= 0o7777;
        if !permission::keeps_set_gid(caller, attr.gid.unwrap_or(meta.gid)) {
            *mode &= !S_ISGID;
        }
    } else if chown && !meta.is_dir() && !meta.is_symlink() {
        let mode = permission::without_set_id(caller, meta);
        attr.mode = (mode != meta.mode).then_some(mode);
    }
    let times = SetAttr::times(attr.atime, attr.mtime);
    let sets_times = !times.is_empty() && times != TOUCH;
    if (attr.mode.is_some() || sets_times) && !permission::is_owner(caller, meta) {
        return Err(Errno::EPERM);
    }
    Ok(attr)
}

/// Both times become the current one.
pub(crate) const TOUCH: SetAttr = SetAttr {
    mode: None,
    uid: None,
    gid: None,
    atime: SetTime::Now,
    mtime: SetTime::Now,
};

/// What is to be done to an object, for [`permits`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Anything that writes; all that an append-only object permits.
    Any,
    /// A name is taken from the directory.
    RemoveEntry,
    /// The object loses a name, or gets another.
    Name,
    /// Owner, mode, times or extended attributes.
    Attributes,
    /// Both times become the current one.
    Touch,
    /// Opened for writing; `append`: at the end only.
    Write { append: bool },
    /// The size is set, by who may write to the object, or has it open for writing already: an immutable one
    /// does not mind the latter, as in the kernel.
    Truncate,
    /// Space is added, or (not `only_adds`) data change.
    Allocate { only_adds: bool },
}

/// Whether an object's inode flags permit a change (rules R214, R227).
///
/// # Errors
/// `EPERM`.
pub(crate) fn permits(flags: InodeFlags, change: Change) -> Result<(), Errno> {
    let denied = match change {
        Change::Any
        | Change::Touch
        | Change::Write { append: true }
        | Change::Allocate { only_adds: true } => flags.immutable,
        Change::RemoveEntry
        | Change::Name
        | Change::Attributes
        | Change::Allocate { only_adds: false }
        | Change::Write { append: false } => flags.immutable || flags.append,
        Change::Truncate => flags.append,
    };
    if denied { Err(Errno::EPERM) } else { Ok(()) }
}

/// The value of the overlay attribute `protattr` that records flags; `None` if there are none to
/// record (rule R226).
pub(crate) fn protattr(flags: InodeFlags) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    if flags.append {
        value.push(b'a');
    }
    if flags.immutable {
        value.push(b'i');
    }
    (!value.is_empty()).then_some(value)
}

/// The flags that `protattr` records; a value with any other letter counts for nothing
/// (rule R227).
pub(crate) fn parse_protattr(value: &[u8]) -> InodeFlags {
    let mut flags = InodeFlags::default();
    for letter in value {
        match letter {
            b'a' => flags.append = true,
            b'i' => flags.immutable = true,
            _ => return InodeFlags::default(),
        }
    }
    flags
}

/// Checks whether the caller may set the inode flags of an object: the owner may, but append-only and
/// immutable only change for who has the capability (rule R205).
///
/// # Errors
/// `ENOTTY`: the object has no flags. `EPERM`.
pub(crate) fn may_set_flags(
    caller: Option<&Credentials>,
    meta: &Metadata,
    old: InodeFlags,
    new: InodeFlags,
) -> Result<(), Errno> {
    if !meta.is_file() && !meta.is_dir() {
        return Err(Errno::ENOTTY);
    }
    let protects = old.append != new.append || old.immutable != new.immutable;
    let capable = caller.is_none_or(|c| c.has(CapabilitySet::LINUX_IMMUTABLE));
    match permission::is_owner(caller, meta) && (capable || !protects) {
        true => Ok(()),
        false => Err(Errno::EPERM),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;
    use crate::meta::FileType;

    #[test]
    fn r214_r227_flags_permit_and_deny() {
        let append = InodeFlags {
            append: true,
            ..InodeFlags::default()
        };
        let immutable = InodeFlags {
            immutable: true,
            ..InodeFlags::default()
        };
        let rows = [
            (Change::Any, true, false),
            (Change::RemoveEntry, false, false),
            (Change::Name, false, false),
            (Change::Attributes, false, false),
            (Change::Touch, true, false),
            (Change::Write { append: true }, true, false),
            (Change::Write { append: false }, false, false),
            (Change::Truncate, false, true),
        ];
        for (change, if_append, if_immutable) in rows {
            assert_eq!(permits(append, change).is_ok(), if_append, "{change:?}");
            assert_eq!(
                permits(immutable, change).is_ok(),
                if_immutable,
                "{change:?}"
            );
            assert_eq!(permits(InodeFlags::default(), change), Ok(()));
        }
        assert_eq!(protattr(append).as_deref(), Some(&b"a"[..]));
        assert!(parse_protattr(b"ai").immutable);
        for malformed in [&b"xi"[..], b"ax", b"x"] {
            assert_eq!(parse_protattr(malformed), InodeFlags::default());
        }
    }

    #[test]
    fn r205_flags_are_the_owners_to_set() {
        let meta = |file_type, uid| Metadata {
            uid,
            ..Metadata::new(file_type, 0o644)
        };
        let (plain, protected) = (
            InodeFlags {
                noatime: true,
                ..InodeFlags::default()
            },
            InodeFlags {
                immutable: true,
                ..InodeFlags::default()
            },
        );
        let none = InodeFlags::default();
        let alice = Credentials::user(10, 10);
        let capable = alice.clone().capabilities(CapabilitySet::LINUX_IMMUTABLE);
        let file = |uid| meta(FileType::Regular, uid);
        let rows = [
            (None, file(1), none, protected, Ok(())),
            (Some(&alice), file(10), none, plain, Ok(())),
            (Some(&alice), file(1), none, none, Err(Errno::EPERM)),
            (Some(&alice), file(10), none, protected, Err(Errno::EPERM)),
            (Some(&alice), file(10), protected, none, Err(Errno::EPERM)),
            (Some(&alice), file(10), protected, protected, Ok(())),
            (Some(&capable), file(10), protected, none, Ok(())),
            (Some(&capable), file(1), protected, none, Err(Errno::EPERM)),
            (
                None,
                meta(FileType::Fifo, 1),
                none,
                none,
                Err(Errno::ENOTTY),
            ),
        ];
        for (caller, meta, old, new, expected) in rows {
            assert_eq!(may_set_flags(caller, &meta, old, new), expected, "{new:?}");
        }
    }

    #[test]
    fn chown_drops_set_id_bits_of_non_directories() {
        let owner = SetAttr::owner(Some(1), None);
        let change = |file_type, mode, attr: &SetAttr, caller| {
            normalize(&Metadata::new(file_type, mode), attr, caller)
        };
        let row = |file_type, mode| change(file_type, mode, &owner, None).unwrap().mode;
        assert_eq!(row(FileType::Regular, 0o6755), Some(0o755));
        assert_eq!(row(FileType::Regular, 0o2644), None);
        assert_eq!(row(FileType::Regular, 0o755), None);
        assert_eq!(row(FileType::Directory, 0o6755), None);
        let both = SetAttr {
            mode: Some(0o4755),
            ..owner.clone()
        };
        assert_eq!(
            change(FileType::Regular, 0o6755, &both, None).unwrap().mode,
            Some(0o4755)
        );
    }

    #[test]
    fn attributes_are_the_owners_to_change() {
        let meta = |mode, uid, gid| Metadata {
            uid,
            gid,
            ..Metadata::new(FileType::Regular, mode)
        };
        let (mine, other) = (meta(0o6711, 10, 5), meta(0o6711, 1, 20));
        let at = SetTime::At(crate::meta::Timestamp::new(1, 0));
        let alice = Credentials::user(10, 20);
        let chowner = alice.clone().capabilities(CapabilitySet::CHOWN);
        let mode = SetAttr::mode(0o2755);
        let rows = [
            // Set-group-id stays only for a group of the caller's.
            (&mine, &mode, &alice, Ok(Some(0o755))),
            (&mine, &mode, &alice.clone().groups([5]), Ok(Some(0o2755))),
            (&other, &mode, &alice, Err(Errno::EPERM)),
            (
                &mine,
                &SetAttr::owner(None, Some(20)),
                &alice,
                Ok(Some(0o711)),
            ),
            // To give a file away is one thing, to take its set-id bits another.
            (
                &other,
                &SetAttr::owner(Some(2), None),
                &chowner,
                Err(Errno::EPERM),
            ),
            (
                &meta(0o644, 1, 1),
                &SetAttr::owner(Some(2), None),
                &chowner,
                Ok(None),
            ),
            (&mine, &SetAttr::times(at, SetTime::Omit), &alice, Ok(None)),
            (
                &other,
                &SetAttr::times(SetTime::Now, SetTime::Omit),
                &alice,
                Err(Errno::EPERM),
            ),
            (&other, &TOUCH, &alice, Ok(None)),
        ];
        for (meta, attr, caller, expected) in rows {
            let got = normalize(meta, attr, Some(caller)).map(|a| a.mode);
            assert_eq!(got, expected, "{attr:?}");
        }
    }
}
