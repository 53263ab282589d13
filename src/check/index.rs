//! The index: its entries, and what ties it to its layers (rules R258, R262 to R272).

use std::path::{Path, PathBuf};

use super::context::{Context, Lookup, ObjectKey, compare};
use super::finding::{Findings, Found};
use super::fix::FixBuilder;
use super::seen::Seen;
use super::work;
use crate::backend::{BackendError, Entry as Held, NodeRef, Result};
use crate::error::LayerId;
use crate::meta::{FileType, Metadata};
use crate::path::{Name, join};
use crate::rules::check::hints::Recorded;
use crate::rules::check::index::{Entry, Target, UpperDir, judge, refused};
use crate::rules::check::kind::FindingKind;
use crate::rules::index::{
    Recorded as Stored, Relative, entry_name, is_temporary, nlink_value, parse_entry_name, recorded,
};
use crate::rules::origin::{self, Decoded};
use crate::xattr_name::OverlayAttr;

const PATH: &str = "/index";

/// An entry whose name is valid, and the node behind it (`None` for a whiteout).
struct Read {
    name: Name,
    node: Option<NodeRef>,
    facts: Entry,
    key: Option<ObjectKey>,
    /// Of the upper directory that the entry of a directory names, the inode number.
    upper_ino: Option<u64>,
}

/// The entries of an index, read before the tree is walked and judged after it.
pub(super) struct Index {
    entries: Vec<Read>,
}

impl Index {
    /// Reads the index. Tells `seen` which lower files it is about, and what is wrong with names.
    pub(super) fn read(cx: &Context, out: &mut Findings, seen: &mut Seen) -> Index {
        roots(cx, out);
        let mut index = Index {
            entries: Vec::new(),
        };
        let Some(dir) = &cx.index else { return index };
        for (name, held) in work::entries(dir, Path::new(PATH), out) {
            let subdirectory = match &held {
                Held::Node(node, meta) if meta.is_dir() => Some(node),
                _ => None,
            };
            if is_temporary(&name) {
                // As in the staging directory, a whiteout may wait here to be linked (rule R048).
                if !matches!(held, Held::Whiteout(_)) {
                    work::leftover(out, (dir, Path::new(PATH)), &name, subdirectory);
                }
                continue;
            }
            match parse_entry_name(&name) {
                Ok(handle) => {
                    let path = join(Path::new(PATH), &name);
                    let read = match entry(cx, name, held, handle) {
                        Ok(read) => read,
                        Err(e) => {
                            unreadable(out, path, &e);
                            continue;
                        }
                    };
                    if let Some(key) = read.key {
                        seen.indexed.entry(key).or_default();
                    }
                    if let Some(node) = &read.node
                        && let Ok(meta) = node.metadata()
                    {
                        let facts = &read.facts;
                        let origin = recorded(facts.origin.as_deref(), &facts.name);
                        if !meta.is_dir() && origin == Stored::Nothing {
                            seen.without_origin.insert(meta.ino);
                        }
                        seen.index_inodes.insert(read.facts.name.clone(), meta.ino);
                    }
                    index.entries.push(read);
                }
                Err(_) => {
                    if let Held::Node(_, meta) = &held {
                        seen.lost_entries.insert(meta.ino);
                    }
                    bad_name(out, dir, &name, &held);
                }
            }
        }
        index
    }

    /// Judges the entries, with what the walk has seen of their files.
    pub(super) fn judge(&mut self, cx: &Context, out: &mut Findings, seen: &Seen) {
        let Some(dir) = &cx.index else { return };
        for read in &mut self.entries {
            read.count(seen);
            if let Some(kind) = judge(&read.facts) {
                out.add(found(cx, dir, read, kind));
            }
            if let (Some(kind), Some(node)) = (refused(&read.facts, cx.features), &read.node) {
                out.add(refusal(&read.name, node, kind));
            }
        }
    }
}

impl Read {
    /// Adds what the walk has seen of the lower object.
    fn count(&mut self, seen: &Seen) {
        let Some(of_lower) = self.key.and_then(|key| seen.indexed.get(&key)) else {
            return;
        };
        if let Target::Found {
            visible, copies, ..
        } = &mut self.facts.target
        {
            *visible = of_lower.visible;
            *copies = of_lower.copies.len() as u64;
        }
        if let (UpperDir::Found { merges, .. }, Some(ino)) = (&mut self.facts.upper, self.upper_ino)
        {
            *merges = of_lower.copies.contains(&ino);
        }
    }
}

/// Tells that something of the index cannot be read.
fn unreadable(out: &mut Findings, path: PathBuf, e: &BackendError) {
    let found = Found::new(FindingKind::Unreadable, LayerId::Work, path);
    out.add(found.detail(e.to_string()));
}

fn entry(cx: &Context, name: Name, held: Held, handle: Vec<u8>) -> Result<Read> {
    let (target, key) = match cx.find(&handle) {
        Lookup::Unknown => (Target::Unknown, None),
        Lookup::Gone => (Target::Gone, None),
        Lookup::Found(lower) => {
            let target = Target::Found {
                file_type: lower.meta.file_type,
                nlink: lower.meta.nlink,
                visible: 0,
                copies: 0,
            };
            (target, Some(lower.key))
        }
    };
    let (node, meta): (Option<NodeRef>, Option<Metadata>) = match held {
        Held::Node(node, meta) => (Some(node), Some(meta)),
        Held::Whiteout(_) => (None, None),
    };
    let attr = |attr| match &node {
        Some(node) => node.overlay_attr(attr),
        None => Ok(None),
    };
    let file_type = meta.as_ref().map(|m| m.file_type);
    let (upper, upper_ino) = match (&node, file_type) {
        (Some(node), Some(FileType::Directory)) if cx.features.nfs_export => {
            upper_directory(cx, node)?
        }
        _ => (UpperDir::Unknown, None),
    };
    let facts = Entry {
        file_type,
        nlink: meta.map_or(0, |m| m.nlink),
        origin: attr(OverlayAttr::Origin)?,
        nlink_attr: attr(OverlayAttr::Nlink)?,
        name: handle,
        target,
        upper,
        metacopy: attr(OverlayAttr::Metacopy)?,
        redirect: attr(OverlayAttr::Redirect)?,
    };
    Ok(Read {
        name,
        node,
        facts,
        key,
        upper_ino,
    })
}

/// The upper directory that an entry for a directory names, and its inode number.
fn upper_directory(cx: &Context, node: &NodeRef) -> Result<(UpperDir, Option<u64>)> {
    let value = node.overlay_attr(OverlayAttr::Upper)?.unwrap_or_default();
    if !matches!(origin::decode(&value), Decoded::Known(_)) {
        return Ok((UpperDir::Absent, None));
    }
    if !cx.decodes(LayerId::Upper) {
        return Ok((UpperDir::Unknown, None));
    }
    let found = cx.core.handles().decode_upper(&value);
    let Some(found) = found.map_err(|fail| fail.errno)? else {
        return Ok((UpperDir::Gone, None));
    };
    let meta = found.metadata()?;
    if !meta.is_dir() {
        return Ok((UpperDir::OtherType, None));
    }
    let upper = UpperDir::Found {
        origin: found.overlay_attr(OverlayAttr::Origin)?,
        merges: false,
    };
    Ok((upper, Some(meta.ino)))
}

fn found(cx: &Context, dir: &NodeRef, read: &Read, kind: FindingKind) -> Found {
    let path = join(Path::new(PATH), &read.name);
    let found = Found::new(kind, LayerId::Work, &path);
    let facts = &read.facts;
    let is_dir = facts.file_type == Some(FileType::Directory);
    let set = |node: &NodeRef, attr, value: &[u8]| {
        let mut fix = FixBuilder::new();
        let object = fix.object(LayerId::Work, &path, node);
        fix.set(object, attr, Some(value));
        fix.build()
    };
    let (visible, copies) = match facts.target {
        Target::Found {
            visible, copies, ..
        } => (visible, copies),
        Target::Unknown | Target::Gone => (0, 0),
    };
    let remove = || {
        let subdirectory = read.node.as_ref().filter(|_| is_dir);
        // As the mount does, except for what still shows, which a whiteout would make unusable.
        let leave_whiteout =
            cx.features.nfs_export && kind == FindingKind::IndexOrphan && visible + copies == 0;
        work::remove_all(
            (dir, Path::new(PATH)),
            &read.name,
            subdirectory,
            leave_whiteout,
        )
    };
    match (kind, &read.node) {
        (FindingKind::NlinkMalformed | FindingKind::NlinkWrong, Some(node)) => {
            let names = facts.nlink.saturating_sub(1).saturating_add(visible);
            let value = nlink_value(Relative::Upper, names, facts.nlink);
            let found = found.detail(format!("{names} names show"));
            found.chooses(
                "the names that show are all",
                set(node, OverlayAttr::Nlink, &value),
            )
        }
        (FindingKind::IndexWithoutOrigin, Some(node)) if !is_dir => {
            found.keeps(set(node, OverlayAttr::Origin, &facts.name))
        }
        (
            FindingKind::IndexOfOtherType
            | FindingKind::IndexElsewhere
            | FindingKind::IndexWithoutOrigin,
            _,
        ) => match remove() {
            Some(fix) => found.chooses("the lower object shows where it is found", fix),
            None => found.no_remedy("there is too much in it"),
        },
        _ => match remove() {
            Some(fix) => found.keeps(fix),
            None => found.no_remedy("there is too much in it"),
        },
    }
}

/// An entry that the lower names of its file show, and which a lookup refuses for what it bears.
fn refusal(name: &Name, node: &NodeRef, kind: FindingKind) -> Found {
    let path = join(Path::new(PATH), name);
    let found = Found::new(kind, LayerId::Work, &path);
    let set = |attr, value| {
        let mut fix = FixBuilder::new();
        let object = fix.object(LayerId::Work, &path, node);
        fix.set(object, attr, value);
        fix.build()
    };
    match kind {
        FindingKind::MetacopyMalformed => {
            let fix = set(OverlayAttr::Metacopy, Some(&b""[..]));
            found.chooses("the data are those of the lower file", fix)
        }
        FindingKind::RedirectMalformed => {
            let fix = set(OverlayAttr::Redirect, None);
            found.chooses("the data are found by name", fix)
        }
        _ => found.no_remedy("the options decide"),
    }
}

/// An entry whose name is no origin. If it records one, it may have lost its name.
fn bad_name(out: &mut Findings, dir: &NodeRef, name: &Name, held: &Held) {
    let at = Path::new(PATH);
    let found = Found::new(
        FindingKind::IndexNameMalformed,
        LayerId::Work,
        join(at, name),
    );
    let (node, meta) = match held {
        Held::Node(node, meta) => (Some(node), Some(meta)),
        Held::Whiteout(_) => (None, None),
    };
    let file = node.filter(|_| meta.is_some_and(|m| !m.is_dir()));
    let recorded = match file.map(|n| n.overlay_attr(OverlayAttr::Origin)) {
        None => None,
        Some(Ok(value)) => value,
        Some(Err(e)) => return unreadable(out, join(at, name), &e),
    };
    let recorded = recorded.filter(|v| matches!(origin::decode(v), Decoded::Known(_)));
    let free = recorded
        .and_then(|origin| entry_name(&origin).ok())
        .filter(|name| matches!(dir.lookup_plain(name), Ok(None)));
    if let (Some(to), Some(node)) = (free, node) {
        let mut fix = FixBuilder::new();
        let index = fix.object(LayerId::Work, at, dir);
        let entry = fix.object(LayerId::Work, join(at, name), node);
        fix.rename(entry, index, name, &to);
        out.add(found.chooses("it stands for the origin that it records", fix.build()));
        return;
    }
    let subdirectory = node.filter(|_| meta.is_some_and(Metadata::is_dir));
    let linked = meta.is_none_or(|m| m.nlink > 1 || m.is_dir());
    out.add(
        match work::remove_all((dir, at), name, subdirectory, false) {
            None => found.no_remedy("there is too much in it"),
            // Other names keep the content.
            Some(fix) if linked => found.keeps(fix),
            Some(fix) => found.chooses("it is of no use", fix),
        },
    );
}

/// What ties the index to its layers: the upper root records the topmost lower, the index its upper
/// (rule R266).
fn roots(cx: &Context, out: &mut Findings) {
    let state = cx.core.root().state();
    let (Some(upper), Some(lower)) = (&state.upper, state.lowers.first()) else {
        return;
    };
    let id = LayerId::Lower(lower.layer);
    match mismatch(cx, (upper, OverlayAttr::Origin), (id, &lower.node)) {
        Ok(None) => {}
        Ok(Some(right)) => {
            let found = Found::new(FindingKind::RootOriginMismatch, LayerId::Upper, "/");
            let fix = FixBuilder::with(Path::new("/"), upper, OverlayAttr::Origin, Some(&right));
            out.add(found.chooses("the topmost lower is the right one", fix));
        }
        Err(e) => {
            let found = Found::new(FindingKind::Unreadable, LayerId::Upper, "/");
            out.add(found.detail(e.to_string()));
        }
    }
    let Some(index) = &cx.index else { return };
    match mismatch(cx, (index, OverlayAttr::Upper), (LayerId::Upper, upper)) {
        Ok(None) => {}
        Ok(Some(right)) => {
            let found = Found::new(FindingKind::IndexUpperMismatch, LayerId::Work, PATH);
            let mut fix = FixBuilder::new();
            let object = fix.object(LayerId::Work, PATH, index);
            fix.set(object, OverlayAttr::Upper, Some(&right));
            out.add(found.chooses("the index belongs to this upper", fix.build()));
        }
        Err(e) => unreadable(out, PathBuf::from(PATH), &e),
    }
}

/// The handle that a node should record, if it records another.
fn mismatch(
    cx: &Context,
    (node, attr): (&NodeRef, OverlayAttr),
    (layer, named): (LayerId, &NodeRef),
) -> Result<Option<Vec<u8>>> {
    let Some(value) = node.overlay_attr(attr)? else {
        return Ok(None);
    };
    let right = cx.origin_value(layer, named)?;
    let wrong = matches!(
        compare(&value, &right),
        Recorded::Another | Recorded::Malformed
    );
    Ok(wrong.then_some(right))
}
