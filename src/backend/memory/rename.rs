//! Renaming, in the order of checks that the kernel's `renameat2` has.

use super::handles::Handles;
use super::state::{DirEntry, State};
use super::upper::whiteout_inode;
use crate::backend::{RenameHow, Result};
use crate::errno::Errno;
use crate::meta::{FileType, Timestamp};
use crate::path::Name;

/// A place: number of a directory, and a name.
pub(super) type Place<'a> = (u64, &'a Name);

/// What the entries of a rename are, once it is known to be allowed.
struct Checked {
    from: DirEntry,
    to: Option<DirEntry>,
}

/// Moves `from` to `to`; `generation` is for the whiteout that may be left.
pub(super) fn rename(
    state: &mut State,
    handles: &Handles,
    (from, to): (Place<'_>, Place<'_>),
    how: RenameHow,
    generation: u64,
    now: Timestamp,
) -> Result<()> {
    let Some(checked) = check(state, from, to, how)? else {
        return Ok(());
    };
    if how == RenameHow::Exchange {
        let other = checked.to.ok_or(Errno::ENOENT)?;
        state.put(from.0, from.1, other, now)?;
        state.inode_mut(other.ino)?.meta.ctime = now;
    } else if how == RenameHow::LeaveWhiteout {
        let ino = state.add(whiteout_inode(generation, now));
        let file_type = FileType::CharDevice;
        state.put(from.0, from.1, DirEntry { ino, file_type }, now)?;
    } else {
        state.take(from.0, from.1, now)?;
    }
    state.put(to.0, to.1, checked.from, now)?;
    state.inode_mut(checked.from.ino)?.meta.ctime = now;
    match checked.to {
        Some(replaced) if how != RenameHow::Exchange => state.drop_link(replaced.ino, handles, now),
        _ => Ok(()),
    }
}

/// Checks everything; `None` if both places hold the same node and nothing is to be done.
fn check(state: &State, from: Place<'_>, to: Place<'_>, how: RenameHow) -> Result<Option<Checked>> {
    // Both must be directories, whatever the names stand for.
    let source = state.entry(from.0, from.1)?;
    let target = state.entry(to.0, to.1)?;
    let source = source.ok_or(Errno::ENOENT)?;
    match (how, target) {
        (RenameHow::NoReplace, Some(_)) => return Err(Errno::EEXIST.into()),
        (RenameHow::Exchange, None) => return Err(Errno::ENOENT.into()),
        _ => {}
    }
    if target.is_none() {
        // A removed directory is empty, so this is the only case in which one can be met.
        state.check_live(to.0)?;
    }
    if source.file_type.is_dir() && state.is_within(to.0, source.ino)? {
        return Err(Errno::EINVAL.into());
    }
    let Some(target) = target else {
        return Ok(Some(Checked {
            from: source,
            to: None,
        }));
    };
    if target.file_type.is_dir() && state.is_within(from.0, target.ino)? {
        return Err(match how {
            RenameHow::Exchange => Errno::EINVAL.into(),
            _ => Errno::ENOTEMPTY.into(),
        });
    }
    if source.ino == target.ino {
        return Ok(None);
    }
    if how != RenameHow::Exchange {
        match (source.file_type.is_dir(), target.file_type.is_dir()) {
            (true, false) => return Err(Errno::ENOTDIR.into()),
            (false, true) => return Err(Errno::EISDIR.into()),
            _ => state.check_empty(target)?,
        }
    }
    Ok(Some(Checked {
        from: source,
        to: Some(target),
    }))
}
