//! The walk over the merged tree: each directory's layers are listed once, each name is judged with
//! what every layer of the directory holds under it.
//!
//! Takes memory for the widest directory and for the directories on the way that are still to come;
//! beyond that for copied-up files, redirected directories and index entries.
//!
//! One room: the directories still to come, what is open of them and what is noted for later are one state.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::context::{Context, compare};
use super::finding::{Findings, Found};
use super::fix::FixBuilder;
use super::seen::Seen;
use crate::backend::{BackendError, Entry, NodeRef, WhiteoutForm};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::{FileType, Metadata};
use crate::overlay::inode::{Inode, State};
use crate::path::Name;
use crate::rules::check::hints::{self, Copies};
use crate::rules::check::kind::FindingKind;
use crate::rules::check::names;
use crate::rules::check::whiteout::{self, Below, Whiteout};
use crate::xattr_name::OverlayAttr;

/// The walk, and what it has come to.
pub(super) struct Walker<'a> {
    pub(super) cx: &'a Context,
    pub(super) out: &'a mut Findings,
    pub(super) seen: &'a mut Seen,
    pub(super) options: WalkOptions,
    /// The path of the directory being judged; empty for the root.
    path: Vec<u8>,
}

#[derive(Copy, Clone, Debug)]
pub(super) struct WalkOptions {
    /// Judge names and paths for other tools.
    pub(super) portability: bool,
    /// Longest name that the upper can hold.
    pub(super) upper_name_bytes_max: u64,
}

/// One layer's part of a directory.
pub(super) struct LayerDir {
    pub(super) id: LayerId,
    pub(super) node: NodeRef,
    pub(super) opaque: bool,
    /// Its xattr whiteouts are announced, so listings leave them out.
    pub(super) announces: bool,
}

/// What a mount with the user's options shows of a directory that was found with everything followed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shown {
    /// It refuses the directory, or one above.
    Nothing,
    /// What the upper holds: it does not merge the directory with the lower one, or one above.
    Upper,
    All,
}

/// A directory being judged.
pub(super) struct Here<'a> {
    pub(super) inode: &'a Arc<Inode>,
    pub(super) state: &'a State,
    pub(super) shown: Shown,
    pub(super) layers: Vec<LayerDir>,
}

/// A name as one layer of a directory lists it.
struct Listed {
    name: Name,
    /// Index into [`Here::layers`].
    at: usize,
    file_type: Option<FileType>,
}

/// What one layer holds under a name.
enum Held {
    Whiteout(WhiteoutForm),
    Node(NodeRef, Metadata),
    /// Something that no whiteout can be; not looked at.
    Object,
    Absent,
    Failed(BackendError),
}

/// A subdirectory to be judged next.
struct Child {
    name: Name,
    inode: Arc<Inode>,
    state: State,
    shown: Shown,
}

struct Frame {
    children: std::vec::IntoIter<Child>,
    /// Length of the path without this directory's name.
    parent_bytes: usize,
}

/// The object that a name shows, in the layer that supplies it.
pub(super) struct Object<'a> {
    pub(super) name: &'a Name,
    pub(super) layer: &'a LayerDir,
    pub(super) node: &'a NodeRef,
    pub(super) meta: &'a Metadata,
    /// A lower of the directory has something under the name too.
    pub(super) covers: bool,
}

impl<'a> Walker<'a> {
    pub(super) fn new(
        cx: &'a Context,
        out: &'a mut Findings,
        seen: &'a mut Seen,
        options: WalkOptions,
    ) -> Self {
        Walker {
            cx,
            out,
            seen,
            options,
            path: Vec::new(),
        }
    }

    /// Judges the whole tree.
    pub(super) fn run(&mut self) {
        let root = self.cx.core.root().clone();
        let children = self.directory(&root, &root.state(), Shown::All);
        let mut frames = vec![Frame {
            children: children.into_iter(),
            parent_bytes: 0,
        }];
        while let Some(frame) = frames.last_mut() {
            let Some(child) = frame.children.next() else {
                self.path.truncate(frame.parent_bytes);
                frames.pop();
                continue;
            };
            let parent_bytes = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(child.name.as_bytes());
            let children = self.directory(&child.inode, &child.state, child.shown);
            frames.push(Frame {
                children: children.into_iter(),
                parent_bytes,
            });
        }
    }

    /// The path of the directory being judged.
    pub(super) fn here(&self) -> PathBuf {
        match self.path.is_empty() {
            true => PathBuf::from("/"),
            false => PathBuf::from(OsString::from_vec(self.path.clone())),
        }
    }

    /// The path of a name in it.
    pub(super) fn path_of(&self, name: &Name) -> PathBuf {
        let mut path = self.path.clone();
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
        PathBuf::from(OsString::from_vec(path))
    }

    fn directory(&mut self, inode: &Arc<Inode>, state: &State, shown: Shown) -> Vec<Child> {
        self.seen.directories += 1;
        let layers = self.layer_dirs(state, shown);
        let mut listed = Vec::new();
        for (at, layer) in layers.iter().enumerate() {
            match layer.node.list() {
                Ok(raw) => listed.extend(raw.into_iter().map(|entry| Listed {
                    name: entry.name,
                    at,
                    file_type: entry.file_type,
                })),
                Err(e) => {
                    let path = self.here();
                    self.unreadable(layer.id, path, &e);
                }
            }
        }
        listed.sort_unstable_by(|a, b| a.name.cmp(&b.name).then(a.at.cmp(&b.at)));
        let here = Here {
            inode,
            state,
            shown,
            layers,
        };
        let mut children = Vec::new();
        let mut copies = Copies::None;
        for group in listed.chunk_by(|a, b| a.name == b.name) {
            self.seen.entries += group.len() as u64;
            children.extend(self.name(&here, group, &mut copies));
        }
        self.impure(&here, copies);
        children
    }

    /// Judges what the layers of a directory hold under one name.
    fn name(&mut self, here: &Here<'_>, group: &[Listed], copies: &mut Copies) -> Option<Child> {
        let held: Vec<Held> = group
            .iter()
            .enumerate()
            .map(|(i, listed)| look(here, listed, i == 0))
            .collect();
        for i in 0..held.len() {
            self.whiteout(here, group, &held, i);
        }
        let (first, held_first) = (group.first()?, held.first()?);
        let layer = here.layers.get(first.at)?;
        match held_first {
            Held::Node(node, meta) => {
                let object = Object {
                    name: &first.name,
                    layer,
                    node,
                    meta,
                    covers: held
                        .get(1)
                        .is_some_and(|h| !matches!(h, Held::Whiteout(_) | Held::Absent)),
                };
                self.portability(&object);
                match meta.is_dir() {
                    true => self.subdirectory(here, &object, copies),
                    false => {
                        *copies = self.non_directory(here, &object).max(*copies);
                        None
                    }
                }
            }
            Held::Failed(e) => {
                let path = self.path_of(&first.name);
                self.unreadable(layer.id, path, e);
                None
            }
            Held::Whiteout(_) | Held::Absent | Held::Object => None,
        }
    }

    fn whiteout(&mut self, here: &Here<'_>, group: &[Listed], held: &[Held], i: usize) {
        let (Some(Held::Whiteout(form)), Some(listed)) = (held.get(i), group.get(i)) else {
            return;
        };
        let Some(layer) = here.layers.get(listed.at) else {
            return;
        };
        let below = match held.get(i + 1) {
            None | Some(Held::Absent) => Below::Nothing,
            Some(Held::Whiteout(_)) => Below::Whiteout,
            Some(Held::Node(..) | Held::Object | Held::Failed(_)) => Below::Object,
        };
        let facts = Whiteout {
            top: i == 0,
            unlisted: here.state.lists_merged()
                && (*form == WhiteoutForm::CharDevice || layer.announces),
            in_opaque: layer.opaque,
            below,
        };
        let Some(kind) = whiteout::judge(facts) else {
            return;
        };
        let mut found = Found::new(kind, layer.id, self.path_of(&listed.name));
        if layer.id == LayerId::Upper {
            let fix = match below {
                Below::Object => self.hide(&layer.node, &listed.name),
                _ => Some(FixBuilder::without_name(
                    &self.here(),
                    &layer.node,
                    &listed.name,
                    crate::backend::RemoveKind::NonDirectory,
                )),
            };
            found = match (fix, kind) {
                (None, _) => found.no_remedy("there is no staging directory"),
                (Some(fix), FindingKind::WhiteoutListed) => {
                    found.chooses("the name does not exist", fix)
                }
                (Some(fix), _) => found.keeps(fix),
            };
        }
        self.out.add(found);
    }

    /// Puts a whiteout in the place of whatever the upper holds there, in one step.
    pub(super) fn hide(&self, dir: &NodeRef, name: &Name) -> Option<super::finding::Fix> {
        let staging = self.cx.staging.as_ref()?;
        let mut fix = FixBuilder::new();
        let work = fix.object(LayerId::Work, "/work", staging);
        let at = fix.object(LayerId::Upper, self.here(), dir);
        fix.replace_by_whiteout(work, at, name)?;
        fix.keep_times(at, dir);
        Some(fix.build())
    }

    fn portability(&mut self, object: &Object<'_>) {
        let name = object.name.as_bytes();
        if object.layer.id != LayerId::Upper
            && name.len() as u64 > self.options.upper_name_bytes_max
        {
            let path = self.path_of(object.name);
            let kind = FindingKind::NameTooLong;
            self.out.add(Found::new(kind, object.layer.id, path));
        }
        if !self.options.portability {
            return;
        }
        let long = names::crosses_path_limit(self.path.len(), name);
        let long = long.then_some(FindingKind::PathLong);
        for kind in names::judge(name).chain(long) {
            let found = Found::new(kind, object.layer.id, self.path_of(object.name));
            self.out.add(found.no_remedy("names are the user's"));
        }
    }

    fn subdirectory(
        &mut self,
        here: &Here<'_>,
        object: &Object<'_>,
        copies: &mut Copies,
    ) -> Option<Child> {
        if self.cx.is_beside(object.layer.id, object.meta) {
            let path = self.path_of(object.name);
            let found = Found::new(FindingKind::LayerInside, object.layer.id, path);
            self.out.add(found.no_remedy("layers must lie apart"));
            return None;
        }
        let peeked = match self.cx.peek(here.inode, object.name) {
            Ok(peeked) => peeked?,
            Err(fail) => {
                self.lookup_failed(object, &fail);
                return None;
            }
        };
        let mut shown = here.shown;
        if peeked.redirected && self.cx.is_refused(here.inode, object.name) {
            shown = Shown::Nothing;
            let path = self.path_of(object.name);
            self.seen.refused.insert(path.clone());
            let found = Found::new(FindingKind::RedirectRefused, object.layer.id, path);
            self.out
                .add(found.no_remedy("a mount that follows redirects shows it"));
        }
        if object.layer.id == LayerId::Upper {
            let held = self.upper_directory(here, object, &peeked.state, &mut shown);
            *copies = held.max(*copies);
        } else if self.cx.features.nfs_export {
            self.count_lower(shown, object);
        }
        Some(Child {
            name: object.name.clone(),
            inode: peeked.inode,
            state: peeked.state,
            shown,
        })
    }

    /// Judges the origin of an upper directory, and tells whether it shows a lower's inode number. `shown`
    /// becomes what a mount shows of it.
    fn upper_directory(
        &mut self,
        here: &Here<'_>,
        object: &Object<'_>,
        state: &State,
        shown: &mut Shown,
    ) -> Copies {
        let path = self.path_of(object.name);
        let value = match object.node.overlay_attr(OverlayAttr::Origin) {
            Ok(value) => value,
            Err(e) => {
                self.unreadable(LayerId::Upper, path, &e);
                return Copies::None;
            }
        };
        let lower = state.lowers.first();
        let right = match lower {
            Some(lower) => {
                let id = LayerId::Lower(lower.layer);
                match self.cx.origin_value(id, &lower.node) {
                    Ok(right) => right,
                    Err(e) => {
                        self.unreadable(id, path, &e);
                        return Copies::None;
                    }
                }
            }
            // Whiteouts may be in it: the mark stays, without saying more than is known.
            None => Vec::new(),
        };
        // With nfs_export a mount merges only with what is recorded, or if nothing is (rule R270).
        let verifies = self.cx.features.nfs_export;
        let recorded = match (&value, lower) {
            (None, _) => hints::Recorded::Absent,
            (Some(value), Some(_)) => match compare(value, &right) {
                hints::Recorded::Unknown if verifies => hints::Recorded::Another,
                recorded => recorded,
            },
            (Some(value), None) => self.cx.recorded(value, FileType::Directory).0,
        };
        if let (true, Some(lower)) = (verifies, lower) {
            match recorded {
                hints::Recorded::Absent | hints::Recorded::Right => {
                    self.count_merged(*shown, object, lower);
                }
                _ => *shown = Shown::Upper.min(*shown),
            }
        }
        // An entry of the index for it must record the same.
        let indexed = value
            .as_ref()
            .is_some_and(|v| self.seen.index_inodes.contains_key(v));
        let facts = (lower.is_some(), indexed, recorded);
        self.directory_origin(here, object, facts, &right);
        match (lower, value) {
            (Some(_), Some(_)) => Copies::Held,
            // Its remedy stores the mark too.
            (Some(_), None) => Copies::Coming,
            (None, _) => Copies::None,
        }
    }

    /// Tells what is wrong with the origin that an upper directory records, or does not; `right` is what it
    /// should be.
    fn directory_origin(
        &mut self,
        here: &Here<'_>,
        object: &Object<'_>,
        (merged, indexed, recorded): (bool, bool, hints::Recorded),
        right: &[u8],
    ) {
        let kind = hints::directory(merged, recorded);
        let Some(kind) = kind.filter(|_| self.cx.core.stores_overlay_attrs()) else {
            return;
        };
        let path = self.path_of(object.name);
        let mut found = Found::new(kind, LayerId::Upper, &path);
        let mut fix = FixBuilder::new();
        if kind == FindingKind::OriginMissing && !here.state.impure {
            let dir = fix.object(LayerId::Upper, self.here(), &object.layer.node);
            fix.set(dir, OverlayAttr::Impure, Some(b"y"));
            found = found.marks(self.here());
        }
        let at = fix.object(LayerId::Upper, path, object.node);
        fix.set(at, OverlayAttr::Origin, Some(right));
        let verifies = self.cx.features.nfs_export;
        self.out.add(match kind {
            FindingKind::OriginMissing => found.keeps(fix.build()),
            _ if indexed && !merged => found.no_remedy("the index says what its origin is"),
            _ if merged && verifies => found.chooses("the two directories merge", fix.build()),
            _ => found.keeps(fix.build()),
        });
    }

    fn impure(&mut self, here: &Here<'_>, copies: Copies) {
        let Some(layer) = here.layers.first().filter(|l| l.id == LayerId::Upper) else {
            return;
        };
        let copies = match self.cx.core.stores_overlay_attrs() {
            true => copies,
            false => Copies::None,
        };
        let Some(kind) = hints::impure(here.state.impure, copies) else {
            return;
        };
        let value = (kind == FindingKind::ImpureMissing).then_some(&b"y"[..]);
        let path = self.here();
        let fix = FixBuilder::with(&path, &layer.node, OverlayAttr::Impure, value);
        let mut found = Found::new(kind, LayerId::Upper, &path);
        if value.is_some() {
            found = found.marks(path);
        }
        self.out.add(found.keeps(fix));
    }

    pub(super) fn unreadable(&mut self, layer: LayerId, path: PathBuf, e: &BackendError) {
        let found = match e.errno() {
            Errno::EREMOTE => Found::new(FindingKind::MountPoint, layer, path),
            _ => Found::new(FindingKind::Unreadable, layer, path).detail(e.to_string()),
        };
        self.out.add(found);
    }
}

/// Looks a listed name up in its layer, if that can tell anything.
fn look(here: &Here<'_>, listed: &Listed, first: bool) -> Held {
    let may_be_whiteout = matches!(
        listed.file_type,
        None | Some(FileType::CharDevice | FileType::Regular)
    );
    if !first && !may_be_whiteout {
        return Held::Object;
    }
    let Some(layer) = here.layers.get(listed.at) else {
        return Held::Absent;
    };
    match layer.node.lookup(&listed.name) {
        Ok(Some(Entry::Node(node, meta))) => Held::Node(node, meta),
        Ok(Some(Entry::Whiteout(form))) => Held::Whiteout(form),
        Ok(None) => Held::Absent,
        Err(e) => Held::Failed(e),
    }
}
