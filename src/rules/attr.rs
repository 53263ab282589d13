//! What changing owner, mode, size or content does to the other attributes.

use crate::meta::{Metadata, SetAttr};

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o010;

/// A change of owner drops set-user-id, and set-group-id of what its group may execute, from
/// anything but a directory, also if nothing else changes (the VFS's `chown_common`). Answers the
/// change with that made explicit; a mode that the caller sets himself comes after and wins.
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

/// Whether the change takes `security.capability` away.
pub(crate) fn drops_capability(meta: &Metadata, attr: &SetAttr) -> bool {
    !meta.is_dir() && (attr.uid.is_some() || attr.gid.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::FileType;

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
