//! What changing owner, mode, size or content does to the other attributes.

use crate::errno::Errno;
use crate::meta::{InodeFlags, Metadata, SetAttr};

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o010;

/// A change of owner drops set-user-id, and set-group-id of what its group may execute, from
/// anything but a directory, also if nothing else changes (the VFS's `chown_common`). Answers the
/// change with that made explicit; a mode that the caller sets himself comes after and wins. (The
/// backend takes `security.capability` away in the same step.)
pub(crate) fn normalize(meta: &Metadata, attr: &SetAttr) -> SetAttr {
    let mut attr = attr.clone();
    if let Some(mode) = &mut attr.mode {
        *mode &= 0o7777;
    }
    let chown = attr.uid.is_some() || attr.gid.is_some();
    if chown && !meta.is_dir() && !meta.is_symlink() && attr.mode.is_none() {
        let mut mode = meta.mode & !S_ISUID;
        if mode & S_IXGRP != 0 {
            mode &= !S_ISGID;
        }
        if mode != meta.mode {
            attr.mode = Some(mode);
        }
    }
    attr
}

/// What is to be done to an object, for [`permits`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A name is added to the directory.
    AddEntry,
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
    /// The size is set.
    Truncate,
}

/// Whether an object's inode flags permit a change (rules R214, R227).
///
/// # Errors
/// `EPERM`.
pub(crate) fn permits(flags: InodeFlags, change: Change) -> Result<(), Errno> {
    let denied = match change {
        Change::AddEntry | Change::Touch | Change::Write { append: true } => flags.immutable,
        Change::RemoveEntry
        | Change::Name
        | Change::Attributes
        | Change::Truncate
        | Change::Write { append: false } => flags.immutable || flags.append,
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

/// The flags that `protattr` records; the value counts up to the first letter that is unknown
/// (rule R227).
pub(crate) fn parse_protattr(value: &[u8]) -> InodeFlags {
    let mut flags = InodeFlags::default();
    for letter in value {
        match letter {
            b'a' => flags.append = true,
            b'i' => flags.immutable = true,
            _ => break,
        }
    }
    flags
}

#[cfg(test)]
mod tests {
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
            (Change::AddEntry, true, false),
            (Change::RemoveEntry, false, false),
            (Change::Name, false, false),
            (Change::Attributes, false, false),
            (Change::Touch, true, false),
            (Change::Write { append: true }, true, false),
            (Change::Write { append: false }, false, false),
            (Change::Truncate, false, false),
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
        assert_eq!(parse_protattr(b"xi"), InodeFlags::default());
    }

    #[test]
    fn chown_drops_set_id_bits_of_non_directories() {
        let owner = SetAttr::owner(Some(1), None);
        let row = |file_type, mode| normalize(&Metadata::new(file_type, mode), &owner).mode;
        assert_eq!(row(FileType::Regular, 0o6755), Some(0o755));
        assert_eq!(row(FileType::Regular, 0o2644), None);
        assert_eq!(row(FileType::Regular, 0o755), None);
        assert_eq!(row(FileType::Directory, 0o6755), None);
        let both = SetAttr {
            mode: Some(0o4755),
            ..owner.clone()
        };
        assert_eq!(
            normalize(&Metadata::new(FileType::Regular, 0o6755), &both).mode,
            Some(0o4755)
        );
    }
}
