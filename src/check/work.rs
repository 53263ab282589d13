//! The work directory: leftovers, and the mark of an unfinished volatile mount (rules R042 to R048).

use std::path::{Path, PathBuf};

use super::context::Context;
use super::finding::{Findings, Fix, Found};
use super::fix::FixBuilder;
use crate::backend::{BackendError, Entry, NodeRef, RawEntry, RemoveKind, Result};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::path::{Name, join};
use crate::rules::check::kind::FindingKind;
use crate::rules::plan::Obj;

/// Marks that forbid mounting lie in this directory (rule R044).
const INCOMPAT: &[u8] = b"incompat";

/// Objects that the plan of one repair removes at most. More are left to the sweep that opening the
/// upper does.
const LEFTOVERS_MAX: usize = 4096;

/// How deep a repair goes.
const LEFTOVER_DEPTH_MAX: usize = 64;

/// Judges what lies in the staging directory.
pub(super) fn staging(cx: &Context, out: &mut Findings) {
    let path = Path::new("/work");
    if cx.no_staging {
        let found = Found::new(FindingKind::WorkLeftover, LayerId::Work, path);
        out.add(found.no_remedy("opening the upper for writing makes a directory of it"));
    }
    let Some(staging) = &cx.staging else { return };
    let closed = match is_closed(staging) {
        Ok(closed) => closed,
        Err(e) => {
            out.add(unreadable(path, &e));
            return;
        }
    };
    if closed {
        let found = Found::new(FindingKind::WorkUnread, LayerId::Work, path);
        out.add(found.no_remedy("root can read it, and opening the upper for writing opens it"));
        return;
    }
    for (name, entry) in entries(staging, path, out) {
        match entry {
            // One whiteout is kept to be linked again (rule R048).
            Entry::Whiteout(_) if name.as_bytes().starts_with(b"#") => {}
            Entry::Node(node, meta) if meta.is_dir() && name.as_bytes() == INCOMPAT => {
                match node.list() {
                    Err(e) => out.add(unreadable(&join(path, &name), &e)),
                    Ok(marks) if marks.is_empty() => {
                        leftover(out, (staging, path), &name, Some(&node));
                    }
                    Ok(marks) => volatile(out, staging, &name, (&node, &marks)),
                }
            }
            Entry::Node(node, meta) if meta.is_dir() => {
                leftover(out, (staging, path), &name, Some(&node));
            }
            Entry::Node(..) | Entry::Whiteout(_) => leftover(out, (staging, path), &name, None),
        }
    }
}

/// True if the caller may not read it, since nobody may: the kernel makes it with mode 0.
fn is_closed(staging: &NodeRef) -> Result<bool> {
    if staging.metadata()?.mode & 0o777 != 0 {
        return Ok(false);
    }
    Ok(staging.list().is_err_and(|e| e.errno() == Errno::EACCES))
}

/// A name in the work directory that should not be there.
pub(super) fn leftover(
    out: &mut Findings,
    (dir, path): (&NodeRef, &Path),
    name: &Name,
    subdirectory: Option<&NodeRef>,
) {
    let at = join(path, name);
    let kind = match subdirectory.is_some_and(is_deep) {
        true => FindingKind::WorkLeftoverDeep,
        false => FindingKind::WorkLeftover,
    };
    let found = Found::new(kind, LayerId::Work, &at);
    out.add(match remove_all((dir, path), name, subdirectory, false) {
        Some(fix) => found.keeps(fix),
        None => found.no_remedy("opening the upper for writing removes it, however deep it is"),
    });
}

/// True if the kernel cannot remove it: it looks into a directory, and removes empty ones there
/// (rule R043).
fn is_deep(dir: &NodeRef) -> bool {
    let below = dir.list().unwrap_or_default();
    below.iter().any(|raw| match dir.lookup(&raw.name) {
        Ok(Some(Entry::Node(node, meta))) if meta.is_dir() => {
            node.list().is_ok_and(|entries| !entries.is_empty())
        }
        _ => false,
    })
}

fn volatile(
    out: &mut Findings,
    staging: &NodeRef,
    name: &Name,
    (node, marks): (&NodeRef, &[RawEntry]),
) {
    let path = Path::new("/work");
    let names: Vec<String> = marks.iter().map(|m| m.name.to_string()).collect();
    let at = join(path, name);
    let found = Found::new(FindingKind::VolatileMark, LayerId::Work, at);
    let found = found.detail(names.join(", "));
    out.add(match remove_all((staging, path), name, Some(node), false) {
        Some(fix) => found.chooses("the upper is complete as it is", fix),
        None => found.no_remedy("there is too much in it"),
    });
}

/// Removes a name with all that is below it, and puts a whiteout there if `leave_whiteout`; `None` if
/// that is too much for a plan.
pub(super) fn remove_all(
    (dir, path): (&NodeRef, &Path),
    name: &Name,
    subdirectory: Option<&NodeRef>,
    leave_whiteout: bool,
) -> Option<Fix> {
    let mut fix = FixBuilder::new();
    let top = fix.object(LayerId::Work, path, dir);
    match subdirectory {
        None => fix.remove(top, name, RemoveKind::NonDirectory),
        Some(node) => {
            empty(&mut fix, node, &join(path, name))?;
            fix.remove(top, name, RemoveKind::Directory);
        }
    }
    if leave_whiteout {
        fix.whiteout(top, name);
    }
    Some(fix.build())
}

/// A directory that is being emptied.
struct Level {
    object: Obj,
    node: NodeRef,
    path: PathBuf,
    entries: std::vec::IntoIter<RawEntry>,
    /// Its name in the level above.
    name: Option<Name>,
}

fn empty(fix: &mut FixBuilder, dir: &NodeRef, path: &Path) -> Option<()> {
    let open = |fix: &mut FixBuilder, node: &NodeRef, path: &Path, name| {
        Some(Level {
            object: fix.object(LayerId::Work, path, node),
            node: node.clone(),
            path: path.to_path_buf(),
            entries: node.list().ok()?.into_iter(),
            name,
        })
    };
    let mut levels = vec![open(fix, dir, path, None)?];
    let mut count = 0;
    while let Some(level) = levels.last_mut() {
        let Some(raw) = level.entries.next() else {
            let name = level.name.take();
            levels.pop();
            if let (Some(above), Some(name)) = (levels.last(), name) {
                fix.remove(above.object, &name, RemoveKind::Directory);
            }
            continue;
        };
        count += 1;
        if count > LEFTOVERS_MAX || levels.len() > LEFTOVER_DEPTH_MAX {
            return None;
        }
        let level = levels.last()?;
        match level.node.lookup(&raw.name).ok()? {
            Some(Entry::Node(node, meta)) if meta.is_dir() => {
                let path = join(&level.path, &raw.name);
                let next = open(fix, &node, &path, Some(raw.name))?;
                levels.push(next);
            }
            Some(_) => fix.remove(level.object, &raw.name, RemoveKind::NonDirectory),
            None => {}
        }
    }
    Some(())
}

/// The entries of a directory beside the tree, each looked up; what cannot be read is told.
pub(super) fn entries(dir: &NodeRef, path: &Path, out: &mut Findings) -> Vec<(Name, Entry)> {
    let mut raw = match dir.list() {
        Ok(raw) => raw,
        Err(e) => {
            out.add(unreadable(path, &e));
            return Vec::new();
        }
    };
    raw.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut all = Vec::with_capacity(raw.len());
    for entry in raw {
        match dir.lookup_plain(&entry.name) {
            Ok(Some(found)) => all.push((entry.name, found)),
            Ok(None) => {}
            Err(e) => out.add(unreadable(&join(path, &entry.name), &e)),
        }
    }
    all
}

fn unreadable(path: &Path, e: &BackendError) -> Found {
    Found::new(FindingKind::Unreadable, LayerId::Work, path).detail(e.to_string())
}
