//! What an upper changed against its lowers: how one name's change is called.

use crate::meta::Metadata;

/// How a name of the merged tree differs from what the lowers alone would show.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum ChangeKind {
    /// The lowers show nothing there.
    Added,
    /// Same type, other content: data, link target or device number.
    Modified,
    /// Same type and content; mode, owner, modification time or extended attributes differ.
    Metadata,
    /// Another type.
    TypeChanged,
    /// The lowers show something, the merged tree does not.
    Removed,
}

/// The attributes that a change of metadata is judged by.
pub(crate) fn same_attributes(a: &Metadata, b: &Metadata) -> bool {
    a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && (a.is_dir() || a.mtime == b.mtime)
}

/// Judges two objects of the same name. `same_content` and `same_xattrs` are asked only if needed;
/// directories have no content of their own (their entries are judged one by one), and their times
/// change with their entries, so they are not looked at.
pub(crate) fn judge<E>(
    below: Option<&Metadata>,
    shown: Option<&Metadata>,
    same_content: impl FnOnce() -> Result<bool, E>,
    same_xattrs: impl FnOnce() -> Result<bool, E>,
) -> Result<Option<ChangeKind>, E> {
    let (below, shown) = match (below, shown) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Ok(Some(ChangeKind::Added)),
        (Some(_), None) => return Ok(Some(ChangeKind::Removed)),
        (Some(below), Some(shown)) => (below, shown),
    };
    if below.file_type != shown.file_type {
        return Ok(Some(ChangeKind::TypeChanged));
    }
    if below.rdev != shown.rdev
        || (!shown.is_dir() && (below.size != shown.size || !same_content()?))
    {
        return Ok(Some(ChangeKind::Modified));
    }
    if !same_attributes(below, shown) || !same_xattrs()? {
        return Ok(Some(ChangeKind::Metadata));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::FileType;

    #[test]
    fn kinds_of_change() {
        let f = Metadata::new(FileType::Regular, 0o644);
        let d = Metadata::new(FileType::Directory, 0o755);
        let mut chmod = f.clone();
        chmod.mode = 0o600;
        let mut grown = chmod.clone();
        grown.size = 5;
        let run = |a: Option<&Metadata>, b: Option<&Metadata>, content| {
            judge(a, b, || Ok::<_, ()>(content), || Ok(true)).unwrap_or(None)
        };
        assert_eq!(run(None, Some(&f), true), Some(ChangeKind::Added));
        assert_eq!(run(Some(&f), None, true), Some(ChangeKind::Removed));
        assert_eq!(run(Some(&f), Some(&d), true), Some(ChangeKind::TypeChanged));
        assert_eq!(
            run(Some(&f), Some(&chmod), true),
            Some(ChangeKind::Metadata)
        );
        assert_eq!(
            run(Some(&f), Some(&grown), true),
            Some(ChangeKind::Modified)
        );
        assert_eq!(run(Some(&f), Some(&f), false), Some(ChangeKind::Modified));
        assert_eq!(run(Some(&f), Some(&f), true), None);
        let mut touched = d.clone();
        touched.mtime.secs = 9;
        assert_eq!(run(Some(&d), Some(&touched), true), None);
    }
}
