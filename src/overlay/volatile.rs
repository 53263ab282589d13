//! The mark of a union that makes nothing durable (rules R044, R045).
//!
//! It is made with the ordinary operations of an upper, in its work directory, so every backend has
//! it: `incompat/volatile/dirty`, as the kernel leaves it.

use crate::backend::encoding::INCOMPAT;
use crate::backend::{At, Entry, NewKind, NewNode, NodeRef, Result as BackendResult, UpperBackend};
use crate::errno::Errno;
use crate::path::Name;

/// The mark in the work directory: two directories, then a file.
const MARK: [&str; 3] = [INCOMPAT, "volatile", "dirty"];

/// The first name in `incompat`, if there is one.
pub(crate) fn mark(work: &NodeRef) -> BackendResult<Option<Name>> {
    match work.lookup(&Name::new(INCOMPAT)?)? {
        Some(Entry::Node(incompat, meta)) if meta.is_dir() => {
            Ok(incompat.list()?.into_iter().next().map(|entry| entry.name))
        }
        _ => Ok(None),
    }
}

/// Leaves the mark.
pub(crate) fn leave(upper: &dyn UpperBackend, work: &NodeRef) -> BackendResult<()> {
    let mut at = work.clone();
    for (i, name) in MARK.into_iter().enumerate() {
        let name = Name::new(name)?;
        let (kind, mode) = match i + 1 < MARK.len() {
            true => (NewKind::Directory, 0o700),
            false => (NewKind::File, 0o600),
        };
        let new = NewNode {
            kind,
            mode,
            uid: None,
            gid: None,
        };
        at = match at.lookup(&name)? {
            None => upper.create(At::new(&at, &name), &new)?,
            Some(Entry::Node(node, meta)) if meta.file_type == new.kind.file_type() => node,
            Some(_) => return Err(Errno::ENOTDIR.into()),
        };
    }
    Ok(())
}
