//! Judging one object: its attributes, its redirect, its data, its origin.
//!
//! One room: each judgement narrows what a mount shows of the object, which the next one needs.

use std::path::Path;

use super::context::{LowerObject, ObjectKey, compare};
use super::finding::Found;
use super::fix::FixBuilder;
use super::seen::{OriginUser, RedirectUser};
use super::walk::{Here, LayerDir, Object, Shown, Walker};
use crate::backend::{NodeRef, RemoveKind};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::FileType;
use crate::overlay::core::Fail;
use crate::overlay::inode::{Lower, State};
use crate::rules::check::attrs::{self, Class, Place};
use crate::rules::check::hints::{self, Copies};
use crate::rules::check::kind::FindingKind;
use crate::rules::redirect::{self, REDIRECT_BYTES_MAX};
use crate::rules::whiteout::{Opacity, opacity};
use crate::xattr_name::OverlayAttr;

/// Longest malformed mark of a metadata-only copy, in bytes (rule R171).
const METACOPY_MALFORMED_BYTES_MAX: usize = 3;

/// The overlay attributes of one node.
#[derive(Debug, Default)]
pub(super) struct Attrs(Vec<(OverlayAttr, Vec<u8>)>);

impl Attrs {
    pub(super) fn get(&self, attr: OverlayAttr) -> Option<&[u8]> {
        let found = self.0.iter().find(|(a, _)| *a == attr);
        found.map(|(_, value)| value.as_slice())
    }
}

impl Walker<'_> {
    /// The layers of a directory, topmost first, each with its attributes judged. `shown`: what a mount
    /// shows of it.
    pub(super) fn layer_dirs(&mut self, state: &State, shown: Shown) -> Vec<LayerDir> {
        let upper = state.upper.iter().map(|n| (LayerId::Upper, n.clone()));
        let lowers = state.lowers.iter();
        let lowers = lowers.map(|l| (LayerId::Lower(l.layer), l.node.clone()));
        let nodes: Vec<_> = upper.chain(lowers).collect();
        let (path, bottom) = (self.here(), self.cx.lowers.len().saturating_sub(1));
        let root = path == Path::new("/");
        let mut dirs = Vec::with_capacity(nodes.len());
        for (i, (id, node)) in nodes.iter().enumerate() {
            let place = Place {
                file_type: FileType::Directory,
                root,
                indexed: false,
            };
            let attrs = self.attributes(*id, &path, node);
            self.meaningless(*id, &path, node, (&attrs, place));
            if let Some(value) = attrs.get(OverlayAttr::Redirect).filter(|_| !root) {
                let below = nodes.get(i + 1);
                self.redirect((*id, node), &path, (value, &attrs), below, shown);
            }
            let opacity = opacity(attrs.get(OverlayAttr::Opaque));
            dirs.push(LayerDir {
                id: *id,
                node: node.clone(),
                opaque: opacity == Opacity::Opaque && !root,
                announces: opacity == Opacity::HoldsXattrWhiteouts
                    && matches!(id, LayerId::Lower(l) if *l != bottom),
            });
        }
        dirs
    }

    /// Reads the overlay attributes of a node, and tells those that nobody knows.
    fn attributes(&mut self, layer: LayerId, path: &Path, node: &NodeRef) -> Attrs {
        let mut own = Attrs::default();
        let names = match node.xattrs() {
            Ok(names) => names,
            Err(e) => {
                self.unreadable(layer, path.to_path_buf(), &e);
                return own;
            }
        };
        for name in names {
            match attrs::class(&name, self.cx.namespace()) {
                Class::Plain => {}
                Class::Own(attr) => match node.overlay_attr(attr) {
                    Ok(value) => own.0.extend(value.map(|value| (attr, value))),
                    Err(e) => self.unreadable(layer, path.to_path_buf(), &e),
                },
                Class::Unknown => {
                    let found = Found::new(FindingKind::AttributeUnknown, layer, path);
                    let found = found.detail(name.to_string());
                    self.out.add(found.no_remedy("who wrote it may know it"));
                }
                Class::Foreign(_) => {
                    let mut found = Found::new(FindingKind::NamespaceMixed, layer, path);
                    if layer == LayerId::Upper {
                        let mut fix = FixBuilder::new();
                        let object = fix.object(layer, path, node);
                        fix.remove_raw(object, &name);
                        found = found.chooses("the attribute says nothing", fix.build());
                    }
                    self.out.add(found.detail(name.to_string()));
                }
            }
        }
        own
    }

    /// Tells the attributes of a node that mean nothing where they are.
    fn meaningless(
        &mut self,
        layer: LayerId,
        path: &Path,
        node: &NodeRef,
        (attrs, place): (&Attrs, Place),
    ) {
        for (attr, value) in &attrs.0 {
            let Some(why) = attrs::meaningless(*attr, value, place) else {
                continue;
            };
            let mut found = Found::new(FindingKind::AttributeMeaningless, layer, path);
            if layer == LayerId::Upper {
                let rest = attrs::protattr(value);
                let rest = (*attr == OverlayAttr::Protattr && !rest.is_empty()).then_some(rest);
                found = found.keeps(FixBuilder::with(path, node, *attr, rest));
            }
            self.out.add(found.detail(format!("{attr}: {why}")));
        }
    }

    /// Judges the redirect of a directory that could be looked up; `below` is the next directory that
    /// merges with it. If a mount does not show it, the one below is no less where it was.
    fn redirect(
        &mut self,
        (layer, node): (LayerId, &NodeRef),
        path: &Path,
        (value, attrs): (&[u8], &Attrs),
        below: Option<&(LayerId, NodeRef)>,
        shown: Shown,
    ) {
        let upper = layer == LayerId::Upper;
        let opaque = opacity(attrs.get(OverlayAttr::Opaque)) == Opacity::Opaque;
        if opaque {
            let mut found = Found::new(FindingKind::RedirectIgnored, layer, path);
            if upper {
                found = found.keeps(FixBuilder::without(path, node, OverlayAttr::Redirect));
            }
            self.out.add(found);
            return;
        }
        let Some((below_layer, below_node)) = below else {
            let mut found = Found::new(FindingKind::RedirectDangling, layer, path);
            if upper {
                found = found.keeps(FixBuilder::cut_off(path, node));
            }
            self.out.add(found.detail(told(value)));
            return;
        };
        let absolute = redirect::parse(value).is_ok_and(|r| r.absolute);
        if absolute && value.len() > REDIRECT_BYTES_MAX {
            let found = Found::new(FindingKind::RedirectTooLong, layer, path);
            let found = found.detail(format!("{} bytes", value.len()));
            self.out.add(found.no_remedy("it still leads somewhere"));
        }
        if shown == Shown::Nothing {
            return;
        }
        let Ok(meta) = below_node.metadata() else {
            return;
        };
        let key = ObjectKey {
            fs: self.cx.core.fs_of(*below_layer),
            ino: meta.ino,
        };
        let user = RedirectUser {
            path: path.to_path_buf(),
            upper: upper.then(|| node.clone()),
        };
        self.seen.redirected.insert(path.to_path_buf());
        match self.seen.redirects.get(&key) {
            None => {
                self.seen.redirects.insert(key, user);
            }
            Some(first) if first.path == path => {}
            Some(first) => {
                let mut found = Found::new(FindingKind::RedirectDuplicate, layer, path);
                found = found.other(&first.path);
                if upper {
                    let reading = "the other directory keeps what is below; here only what the \
                                   upper holds shows";
                    found = found.chooses(reading, FixBuilder::cut_off(path, node));
                } else if let Some(node) = &first.upper {
                    let reading = "this directory keeps what is below; the other shows only what \
                                   the upper holds";
                    found = found.chooses(reading, FixBuilder::cut_off(&first.path, node));
                }
                self.out.add(found);
            }
        }
    }

    /// A name whose lookup fails.
    pub(super) fn lookup_failed(&mut self, object: &Object<'_>, fail: &Fail) {
        let path = self.path_of(object.name);
        let layer = fail.layer.unwrap_or(object.layer.id);
        let upper = layer == LayerId::Upper;
        let is_dir = object.meta.is_dir();
        match (fail.errno, fail.rule) {
            (Errno::EINVAL | Errno::EACCES, Some("R162")) => {
                let kind = match fail.errno {
                    Errno::EINVAL => FindingKind::RedirectMalformed,
                    _ => FindingKind::RedirectOutOfBounds,
                };
                let mut found = Found::new(kind, layer, &path);
                if upper && is_dir {
                    let fix = FixBuilder::cut_off(&path, object.node);
                    found = found.chooses("only what the upper holds shows", fix);
                } else if upper {
                    let fix = FixBuilder::without(&path, object.node, OverlayAttr::Redirect);
                    let reading = "the data are those of the lower file of this name";
                    found = found.chooses(reading, fix);
                }
                if layer == object.layer.id
                    && let Ok(Some(value)) = object.node.overlay_attr(OverlayAttr::Redirect)
                {
                    found = found.detail(told(&value));
                }
                self.out.add(found);
            }
            (Errno::EIO, _) if !is_dir => self.no_data(object, layer, &path),
            (Errno::EPERM, _) => {
                let kind = match is_dir {
                    true => FindingKind::RedirectRefused,
                    false => FindingKind::MetacopyRefused,
                };
                let found = Found::new(kind, layer, path);
                self.out.add(found.no_remedy("the options decide"));
            }
            (Errno::ELOOP, _) => {
                let found = Found::new(FindingKind::LayerInside, layer, path);
                self.out.add(found.no_remedy("layers must lie apart"));
            }
            (Errno::EREMOTE, _) => self
                .out
                .add(Found::new(FindingKind::MountPoint, layer, path)),
            (errno, _) => {
                let found = Found::new(FindingKind::Unreadable, layer, path);
                self.out.add(found.detail(errno.to_string()));
            }
        }
    }

    /// A metadata-only copy that leads to no data.
    fn no_data(&mut self, object: &Object<'_>, layer: LayerId, path: &Path) {
        let malformed = |node: &NodeRef| {
            let value = node.overlay_attr(OverlayAttr::Metacopy).ok().flatten();
            value.is_some_and(|v| (1..=METACOPY_MALFORMED_BYTES_MAX).contains(&v.len()))
        };
        let own = layer == object.layer.id;
        if malformed(object.node) || !own {
            let mut found = Found::new(FindingKind::MetacopyMalformed, layer, path);
            if own && layer == LayerId::Upper {
                let attr = OverlayAttr::Metacopy;
                let fix = FixBuilder::with(path, object.node, attr, Some(b""));
                found = found.chooses("the data are those of the lower file", fix);
            }
            self.out.add(found);
            return;
        }
        let mut found = Found::new(FindingKind::MetacopyWithoutData, layer, path);
        if layer == LayerId::Upper {
            let dir = &object.layer.node;
            let fix = match object.covers {
                true => self.hide(dir, object.name),
                false => Some(FixBuilder::without_name(
                    &self.here(),
                    dir,
                    object.name,
                    RemoveKind::NonDirectory,
                )),
            };
            found = match fix {
                Some(fix) => found.chooses("the file is gone with its data", fix),
                None => found.no_remedy("there is no staging directory"),
            };
        }
        self.out.add(found);
    }

    /// Judges what is not a directory, and tells whether it is an upper one that shows a lower's inode
    /// number.
    pub(super) fn non_directory(&mut self, here: &Here<'_>, object: &Object<'_>) -> Copies {
        let path = self.path_of(object.name);
        let attrs = self.attributes(object.layer.id, &path, object.node);
        let origin = attrs
            .get(OverlayAttr::Origin)
            .filter(|_| object.layer.id == LayerId::Upper);
        let index_ino = origin.and_then(|v| self.seen.index_inodes.get(v).copied());
        let place = Place {
            file_type: object.meta.file_type,
            root: false,
            indexed: index_ino == Some(object.meta.ino),
        };
        self.meaningless(object.layer.id, &path, object.node, (&attrs, place));
        let held = if attrs.get(OverlayAttr::Metacopy).is_some() && object.meta.is_file() {
            self.metacopy(here, object, origin, index_ino)
        } else {
            self.count_lower(here.shown, object);
            origin.is_some_and(|value| self.upper_origin(here, object, value, index_ino))
        };
        let upper = object.layer.id == LayerId::Upper;
        match held {
            true => Copies::Held,
            false if upper && self.seen.without_origin.contains(&object.meta.ino) => Copies::Coming,
            // As the kernel leaves it where it has no handles.
            false if origin.is_some_and(|value| self.is_unknown(value, object)) => Copies::Coming,
            false => Copies::None,
        }
    }

    /// True if it cannot be told what this origin of an upper object names.
    fn is_unknown(&self, value: &[u8], object: &Object<'_>) -> bool {
        self.cx.recorded(value, object.meta.file_type).0 == hints::Recorded::Unknown
    }

    /// Counts the names that show a lower object which the index has an entry for.
    pub(super) fn count_lower(&mut self, shown: Shown, object: &Object<'_>) {
        if object.layer.id == LayerId::Upper || shown != Shown::All {
            return;
        }
        let key = ObjectKey {
            fs: self.cx.core.fs_of(object.layer.id),
            ino: object.meta.ino,
        };
        if let Some(indexed) = self.seen.indexed.get_mut(&key) {
            indexed.visible += 1;
        }
    }

    /// Counts the upper directories that merge with a lower one which the index has an entry for.
    pub(super) fn count_merged(&mut self, shown: Shown, object: &Object<'_>, lower: &Lower) {
        if self.seen.indexed.is_empty() || shown != Shown::All {
            return;
        }
        let Ok(meta) = lower.node.metadata() else {
            return;
        };
        let key = ObjectKey {
            fs: self.cx.core.fs_of(LayerId::Lower(lower.layer)),
            ino: meta.ino,
        };
        if let Some(indexed) = self.seen.indexed.get_mut(&key) {
            indexed.copies.insert(object.meta.ino);
        }
    }

    /// Judges a metadata-only copy. The lower file that it leads to is found by name, and should be its
    /// origin.
    fn metacopy(
        &mut self,
        here: &Here<'_>,
        object: &Object<'_>,
        origin: Option<&[u8]>,
        index_ino: Option<u64>,
    ) -> bool {
        let path = self.path_of(object.name);
        let state = match self.cx.peek(here.inode, object.name) {
            Ok(Some(peeked)) => peeked.state,
            Ok(None) => return false,
            Err(fail) => {
                self.lookup_failed(object, &fail);
                return false;
            }
        };
        let mut shown = here.shown;
        if self.cx.is_refused(here.inode, object.name) {
            shown = Shown::Nothing;
            let found = Found::new(FindingKind::MetacopyRefused, object.layer.id, &path);
            self.out
                .add(found.no_remedy("a mount with metacopy=on shows it"));
        }
        let data = match self.cx.core.data_node(&state) {
            Ok((node, layer)) => (layer, node),
            // In data-only layers data are looked for late.
            Err(fail) if matches!(fail.rule, Some("R185" | "R187")) => {
                self.no_data(object, object.layer.id, &path);
                return false;
            }
            Err(fail) => {
                self.lookup_failed(object, &fail);
                return false;
            }
        };
        self.count_lower(shown, object);
        self.data_size(object, &data);
        let Some(lower) = state.lowers.first() else {
            return false;
        };
        if object.layer.id != LayerId::Upper {
            return false;
        }
        let id = LayerId::Lower(lower.layer);
        let right = self.cx.origin_value(id, &lower.node);
        let (right, meta) = match (right, lower.node.metadata()) {
            (Ok(right), Ok(meta)) => (right, meta),
            (Err(e), _) | (_, Err(e)) => {
                self.unreadable(id, path, &e);
                return false;
            }
        };
        if self.metacopy_origin(object, origin, &right, index_ino) {
            shown = Shown::Nothing;
        }
        let lower = LowerObject {
            key: ObjectKey {
                fs: self.cx.core.fs_of(id),
                ino: meta.ino,
            },
            meta,
        };
        if origin.is_some() {
            self.count_copy(shown, object, &lower);
        }
        // What a mount refuses is one inode with nothing.
        let shares = shown == Shown::Nothing
            || self.shares(object, &lower, index_ino, Some(data), origin.is_some());
        shares && origin.is_some()
    }

    /// Compares the size that a metadata-only copy shows with that of its data.
    fn data_size(&mut self, object: &Object<'_>, (layer, data): &(LayerId, NodeRef)) {
        let path = self.path_of(object.name);
        let size = match data.metadata() {
            Ok(meta) => meta.size,
            Err(e) => return self.unreadable(*layer, path, &e),
        };
        if size != object.meta.size {
            let detail = format!("{} bytes, its data {size}", object.meta.size);
            let found = Found::new(FindingKind::MetacopySize, object.layer.id, path);
            self.out.add(
                found
                    .detail(detail)
                    .no_remedy("which is right is not known"),
            );
        }
    }

    /// Judges the recorded origin of a metadata-only copy; `right` is the lower file that it leads to. True if
    /// a mount refuses it: with an index both must be one (rule R271).
    fn metacopy_origin(
        &mut self,
        object: &Object<'_>,
        origin: Option<&[u8]>,
        right: &[u8],
        index_ino: Option<u64>,
    ) -> bool {
        let Some(value) = origin else { return false };
        let recorded = compare(value, right);
        let wanted = object.meta.file_type;
        let known = || self.cx.recorded(value, wanted).0 == hints::Recorded::Right;
        let refused = self.cx.features.index && recorded == hints::Recorded::Another && known();
        let kind = match refused {
            true => Some(FindingKind::MetacopyMismatch),
            false => hints::file(recorded),
        };
        let Some(kind) = kind else { return false };
        let path = self.path_of(object.name);
        let found = Found::new(kind, LayerId::Upper, &path);
        let fix = FixBuilder::with(&path, object.node, OverlayAttr::Origin, Some(right));
        let one = leads_to_one(object.node, object.meta.nlink);
        self.out.add(match refused {
            _ if index_ino == Some(object.meta.ino) => {
                found.no_remedy("the index says what its origin is")
            }
            _ if !one => found.no_remedy(LEADS_APART),
            true => found.chooses("its data are those of the lower file that is found", fix),
            false => found.keeps(fix),
        });
        refused
    }

    fn upper_origin(
        &mut self,
        here: &Here<'_>,
        object: &Object<'_>,
        value: &[u8],
        index_ino: Option<u64>,
    ) -> bool {
        let path = self.path_of(object.name);
        let (recorded, lower) = self.cx.recorded(value, object.meta.file_type);
        if let Some(kind) = hints::file(recorded) {
            let fix = FixBuilder::without(&path, object.node, OverlayAttr::Origin);
            self.out
                .add(Found::new(kind, LayerId::Upper, &path).keeps(fix));
        }
        let Some(lower) = lower else { return false };
        self.count_copy(here.shown, object, &lower);
        self.shares(object, &lower, index_ino, None, true)
    }

    /// Counts an upper file that records a lower one which the index has an entry for.
    fn count_copy(&mut self, shown: Shown, object: &Object<'_>, lower: &LowerObject) {
        if shown != Shown::Nothing
            && let Some(indexed) = self.seen.indexed.get_mut(&lower.key)
        {
            indexed.copies.insert(object.meta.ino);
        }
    }

    /// An upper file that the kernel takes for one inode with a lower one; true if it does. `data`: what
    /// holds the data of a metadata-only copy; `recorded`: it records the lower one as origin.
    fn shares(
        &mut self,
        object: &Object<'_>,
        lower: &LowerObject,
        index_ino: Option<u64>,
        data: Option<(LayerId, NodeRef)>,
        recorded: bool,
    ) -> bool {
        let indexed = index_ino == Some(object.meta.ino);
        let user = OriginUser {
            ino: object.meta.ino,
            path: self.path_of(object.name),
            node: object.node.clone(),
            data,
            indexed,
        };
        let kind = if index_ino.is_some() && !indexed {
            FindingKind::IndexSplit
        } else if lower.meta.nlink != 1 && !indexed {
            // Names of a hard-linked lower file are one inode to the kernel only by the index.
            let lost = self.seen.lost_entries.contains(&object.meta.ino);
            if !recorded || !self.cx.knows_work || lost {
                return lost;
            }
            FindingKind::IndexMissing
        } else {
            match self.seen.origins.get(&lower.key) {
                None => {
                    self.seen.origins.insert(lower.key, user);
                    return true;
                }
                Some(first) if first.ino == object.meta.ino => return true,
                Some(_) => FindingKind::OriginDuplicate,
            }
        };
        let mut found = Found::new(kind, LayerId::Upper, &user.path);
        if let Some(first) = self.seen.origins.get(&lower.key) {
            found = found.other(&first.path);
        }
        self.out.add(match FixBuilder::set_free(&user) {
            Ok(fix) => found.keeps(fix),
            Err(why) => found.no_remedy(why),
        });
        kind == FindingKind::OriginDuplicate
    }
}

fn told(value: &[u8]) -> String {
    format!("it is \"{}\"", crate::display_bytes(value))
}

/// Why a metadata-only copy with several names cannot be put right.
pub(super) const LEADS_APART: &str = "its names may lead to different files";

/// True if all names of a metadata-only copy lead to one lower file: without an absolute redirect each
/// leads to that of its own name.
pub(super) fn leads_to_one(node: &NodeRef, nlink: u64) -> bool {
    let redirect = || node.overlay_attr(OverlayAttr::Redirect).ok().flatten();
    nlink == 1 || redirect().is_some_and(|v| redirect::parse(&v).is_ok_and(|r| r.absolute))
}
