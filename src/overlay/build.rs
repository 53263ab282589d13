//! Building a plan: facts are fetched, rules are asked, objects are bound to backend nodes.
//!
//! One room: copying up, which nearly every change begins with, needs all of a plan's state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::backend::{Access, LayerFile, NodeRef};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::{InodeFlags, Metadata, Timestamp};
use crate::overlay::core::{Core, Fail, InLayer, Res};
use crate::overlay::inode::{Inode, Lower, Place as InodePlace};
use crate::overlay::watch::Copied;
use crate::path::Name;
use crate::rules::copy_up::{self, Data};
use crate::rules::index::{self, Linked, Relative, nlink_value};
use crate::rules::plan::{Obj, Place, Plan, PlannedStep, Role, Step};
use crate::rules::xattr;
use crate::xattr_name::{OverlayAttr, XattrName};

/// A file of up to so many bytes may be copied while others wait: planning once more, as is needed when the
/// locks are dropped, takes as long.
const LIGHT_BYTES_MAX: u64 = 64 << 10;

/// Objects that a plan speaks of, and effects that it has, mostly: room for them is made once.
const OBJECTS_GUESS: usize = 6;
const EFFECTS_GUESS: usize = 4;

/// What happens to the engine's state once a step has been executed. Given the bound objects.
pub(crate) type Effect = Box<dyn FnOnce(&[Option<NodeRef>]) + Send>;

/// The copy-up of one object within a plan, or bringing its data.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) inode: Arc<Inode>,
    pub(crate) data: Data,
    pub(crate) object: Obj,
    /// Its name in the work directory; `None` for data brought into an upper file.
    pub(crate) temp: Option<Name>,
    /// Its staging steps.
    pub(crate) steps: std::ops::Range<usize>,
    /// Data are copied for which others are not to wait, so it must be staged with no lock held.
    pub(crate) heavy: bool,
    /// It was staged already.
    pub(crate) staged: bool,
    /// What is copied; `None` for data brought into an upper file.
    pub(crate) lower: Option<Arc<LowerFacts>>,
}

impl Segment {
    /// It has to be staged with no lock held, and is not yet.
    pub(crate) fn is_to_stage(&self) -> bool {
        self.heavy && !self.staged
    }
}

/// What the lower tells of an object to be copied up. Read once for a copy-up, since lowers do not change.
#[derive(Debug)]
pub(crate) struct LowerFacts {
    meta: Metadata,
    xattrs: Vec<XattrName>,
    origin: Option<Vec<u8>>,
}

/// A copy that was staged before the plan it is part of was (re)built.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(crate) inode: u64,
    pub(crate) data: Data,
    pub(crate) node: NodeRef,
    /// Its name in the work directory, if it has one there; `None` for data brought into an upper file.
    pub(crate) temp: Option<Name>,
    /// See [`Segment::lower`].
    pub(crate) lower: Option<Arc<LowerFacts>>,
}

/// A plan in the making.
pub(crate) struct Build<'a> {
    pub(crate) core: &'a Core,
    pub(crate) plan: Plan,
    pub(crate) bound: Vec<Option<NodeRef>>,
    pub(crate) effects: Vec<(usize, Effect)>,
    pub(crate) segments: Vec<Segment>,
    /// Lower files whose data are copied, where they were opened to be looked at.
    pub(crate) sources: Vec<(Obj, Box<dyn LayerFile>)>,
    /// The errno of a step that the upper cannot do since it stores no overlay attributes (R033).
    pub(crate) unstorable: Errno,
    /// The plan has no commit: what is to be said once its steps are done.
    pub(crate) refusal: Option<Fail>,
    /// The file that is made for who opens it, as its maker may, whatever its mode says.
    pub(crate) made: Option<Obj>,
    staged: &'a [Staged],
    /// The plan is executed, not only shown.
    pub(crate) executes: bool,
    uppers: BTreeMap<u64, Obj>,
    /// Names that the plan gives to upper objects, by directory.
    pub(crate) links: BTreeSet<(u64, Name)>,
    /// Indexed objects that the plan counts anew.
    pub(crate) counts: BTreeMap<u64, Linked>,
    impure: BTreeSet<u64>,
    /// Files that the plan copies up (true: without data) or brings data into (false).
    pub(crate) metacopy: BTreeMap<u64, bool>,
    work: Option<Obj>,
}

impl<'a> Build<'a> {
    pub(crate) fn new(core: &'a Core, staged: &'a [Staged]) -> Self {
        Build {
            core,
            plan: Plan::default(),
            bound: Vec::with_capacity(OBJECTS_GUESS),
            effects: Vec::with_capacity(EFFECTS_GUESS),
            segments: Vec::new(),
            sources: Vec::new(),
            unstorable: Errno::EIO,
            refusal: None,
            made: None,
            staged,
            executes: false,
            uppers: BTreeMap::new(),
            links: BTreeSet::new(),
            counts: BTreeMap::new(),
            impure: BTreeSet::new(),
            metacopy: BTreeMap::new(),
            work: None,
        }
    }

    /// Makes an object of the plan; `None` if a step will create it.
    pub(crate) fn object(
        &mut self,
        layer: LayerId,
        path: std::path::PathBuf,
        node: Option<NodeRef>,
    ) -> Obj {
        self.bound.push(node);
        self.plan.object(layer, path)
    }

    /// The work directory.
    pub(crate) fn work(&mut self) -> Res<Obj> {
        if let Some(work) = self.work {
            return Ok(work);
        }
        let node = self.core.work()?.clone();
        let work = self.object(LayerId::Work, "/".into(), Some(node));
        self.work = Some(work);
        Ok(work)
    }

    /// A free place in the work directory.
    pub(crate) fn temp(&mut self) -> Res<Place> {
        Ok(Place {
            dir: self.work()?,
            name: self.core.temp_name()?,
        })
    }

    /// Appends a step and what follows from it.
    pub(crate) fn then(
        &mut self,
        step: usize,
        effect: impl FnOnce(&[Option<NodeRef>]) + Send + 'static,
    ) {
        self.effects.push((step, Box::new(effect)));
    }

    /// The upper object of `inode`, copied up first if it is not in the upper (rules R112, R194 to
    /// R217), with at least so much of its data.
    pub(crate) fn upper(&mut self, inode: &Arc<Inode>, data: Data) -> Res<Obj> {
        if inode.with_state(|state| state.metacopy) {
            self.core.check_data(&inode.state())?;
        }
        let object = self.upper_object(inode, data)?;
        if data != Data::Attributes && self.lacks_data(inode) {
            self.promote(inode, object)?;
        }
        Ok(object)
    }

    /// Whether data were brought into the upper file before the plan was (re)built.
    pub(crate) fn is_promoted(&self, inode: &Inode) -> bool {
        let done = |s: &&Staged| s.inode == inode.id && s.temp.is_none();
        self.staged.iter().any(|s| done(&s))
    }

    /// As [`Build::upper`], whatever its data are. Copies up the topmost missing ancestor first.
    pub(crate) fn upper_object(&mut self, inode: &Arc<Inode>, data: Data) -> Res<Obj> {
        let mut missing = Vec::new();
        let mut at = inode.clone();
        let mut obj = loop {
            if self.is_linked(&at)
                && let Some(obj) = self.known_upper(&at)?
            {
                break obj;
            }
            let (parent, name) = match at.place() {
                InodePlace::At(parent, name) => (parent, name),
                // What is at the name now is never replaced (rule R132); a directory that was removed
                // takes nothing new.
                InodePlace::Gone(place) => match place {
                    Some((parent, name)) if parent.upper().is_none() => (parent, name),
                    Some((parent, _)) if !parent.is_gone() => {
                        return Err(Fail::rule(Errno::EEXIST, "R132"));
                    }
                    _ => return Err(Errno::ENOENT.into()),
                },
                InodePlace::Root => return Err(Fail::rule(Errno::EROFS, "R215")),
            };
            missing.push((at, parent.clone(), name));
            at = parent;
        };
        while let Some((child, parent, name)) = missing.pop() {
            let to = Place { dir: obj, name };
            obj = match self.known_upper(&child)? {
                Some(obj) => obj,
                None => self.copy_up(&child, data, &parent, to.clone())?,
            };
            self.uppers.insert(child.id, obj);
            if !self.is_linked(&child) {
                self.link_up(&child, obj, &parent, to)?;
            }
        }
        Ok(obj)
    }

    /// The upper object that `inode` has, or has from an earlier step on.
    pub(crate) fn known_upper(&mut self, inode: &Arc<Inode>) -> Res<Option<Obj>> {
        if let Some(obj) = self.uppers.get(&inode.id) {
            return Ok(Some(*obj));
        }
        let Some(node) = inode.upper() else {
            return Ok(None);
        };
        let obj = self.object(LayerId::Upper, inode.path(), Some(node));
        self.uppers.insert(inode.id, obj);
        self.record_origin(inode, obj)?;
        Ok(Some(obj))
    }

    /// Stores the origin of a merged upper directory that has none, as the kernel does when it looks
    /// the directory up (rule R065).
    fn record_origin(&mut self, inode: &Arc<Inode>, object: Obj) -> Res<()> {
        if !inode.is_dir() || inode.with_state(|state| state.origin_recorded) {
            return Ok(());
        }
        let state = inode.state();
        let (Some(lower), Some(upper)) = (state.lowers.first(), &state.upper) else {
            return Ok(());
        };
        let InodePlace::At(parent, _) = inode.place() else {
            return Ok(());
        };
        if upper
            .overlay_attr(OverlayAttr::Origin)
            .in_layer(LayerId::Upper)?
            .is_none()
        {
            let meta = lower
                .node
                .metadata()
                .in_layer(LayerId::Lower(lower.layer))?;
            if let Some(value) = self.origin(lower, &meta, false)? {
                let value = Some(value);
                let step = Step::SetOverlay {
                    object,
                    attr: OverlayAttr::Origin,
                    value,
                };
                self.plan.push(Role::Neutral, step);
                if let Some(node) = parent.upper() {
                    let dir = self.object(LayerId::Upper, parent.path(), Some(node));
                    self.mark_impure(&parent, dir);
                }
            }
        }
        let Some(last) = self.plan.steps.len().checked_sub(1) else {
            inode.update(|s| s.origin_recorded = true);
            return Ok(());
        };
        let inode = inode.clone();
        self.then(last, move |_| inode.update(|s| s.origin_recorded = true));
        Ok(())
    }

    /// Marks the upper directory of `inode` impure unless it is, or will be, or cannot be.
    pub(crate) fn mark_impure(&mut self, inode: &Arc<Inode>, dir: Obj) {
        if !self.is_impure(inode) && self.core.stores_overlay_attrs() {
            let step = copy_up::mark_impure(&mut self.plan, dir);
            self.impure_effect(inode, step);
        }
    }

    pub(crate) fn is_impure(&self, inode: &Inode) -> bool {
        self.impure.contains(&inode.id) || inode.with_state(|state| state.impure)
    }

    pub(crate) fn impure_effect(&mut self, inode: &Arc<Inode>, step: usize) {
        self.impure.insert(inode.id);
        let (inode, watchers) = (inode.clone(), self.core.watchers.clone());
        self.then(step, move |_| {
            inode.update(|s| s.impure = true);
            // Names that cannot be looked up are listed no longer (rule R110).
            watchers.copied_up(Copied {
                id: inode.id,
                relists: false,
            });
        });
    }

    /// Appends the copy-up of one object: `to` its place in the upper directory of `parent`, or into the
    /// index (rule R262).
    fn copy_up(
        &mut self,
        inode: &Arc<Inode>,
        data: Data,
        parent: &Arc<Inode>,
        to: Place,
    ) -> Res<Obj> {
        let core = self.core;
        let state = inode.state();
        let lower = state.lowers.first().ok_or(Errno::ENOENT)?.clone();
        let layer = LayerId::Lower(lower.layer);
        let data = data.settle(inode.file_type, core.features);
        let is_apart = state.metacopy && data == Data::Full;
        let known = self.staged.iter().find(|s| s.inode == inode.id);
        let (told, opened) = match known.and_then(|s| s.lower.clone()) {
            Some(told) => (told, None),
            None => {
                // What is going to be read is opened first, and that tells its attributes too.
                let reads = inode.file_type.is_file() && data == Data::Full && !is_apart;
                let (told, opened) = self.lower_facts(&lower, self.executes && reads)?;
                (Arc::new(told), opened)
            }
        };
        let meta = told.meta.clone();
        let path = inode.path();
        let source = self.object(layer, path.clone(), Some(lower.node.clone()));
        self.sources.extend(opened.map(|file| (source, file)));
        let data_source = match is_apart {
            false => source,
            true => {
                let (node, layer) = core.data_node(&state)?;
                self.object(layer, path.clone(), Some(node))
            }
        };
        let earlier = self.staged.iter().find_map(|s| {
            let temp = s.temp.clone().filter(|_| s.inode == inode.id);
            temp.filter(|_| s.data == data).map(|temp| (temp, s))
        });
        let (temp, node) = match earlier {
            Some((temp, staged)) => (temp, Some(staged.node.clone())),
            None => (core.temp_name()?, None),
        };
        let staged = node.is_some();
        let (flags, stores) = (core.flags(inode)?, core.stores_overlay_attrs());
        let heavy = copy_up::copies_data(&meta, data) && self.lets_others_in(meta.size);
        let indexed = index::needs_entry(core.features, meta.is_dir(), meta.nlink);
        // What has other names below must be found by them from then on (INDEX-1).
        let into_index = indexed && !meta.is_dir() && meta.nlink > 1;
        let entry = match indexed {
            true => Some(Place {
                dir: self.work()?,
                name: core.index_name(&lower)?,
            }),
            false => None,
        };
        let (place, entry) = match entry {
            Some(place) if into_index => (place, None),
            Some(place) => (to, Some(self.later_entry(inode, place)?)),
            None => (to, None),
        };
        let counted = indexed && !meta.is_dir();
        // With its entry, and with its name if that does not follow.
        let upper_nlink = if into_index { 1 } else { 2 };
        let facts = copy_up::Facts {
            source,
            data_source,
            target: self.link_target(&lower, &meta)?,
            xattrs: &told.xattrs,
            origin: told.origin.as_deref(),
            nlink: counted.then(|| nlink_value(Relative::Upper, meta.nlink, upper_nlink)),
            entry,
            flags: InodeFlags {
                // Kept as an overlay attribute, or not at all.
                append: flags.append && stores,
                immutable: flags.immutable && stores,
                ..flags
            },
            meta: &meta,
            dir: place.dir,
            name: place.name.clone(),
            dir_times: match into_index {
                true => None,
                false => Some(self.times_of(parent)?),
            },
            marks_impure: !into_index && stores && !self.is_impure(parent),
            work: self.work()?,
            temp: temp.clone(),
            tmpfile: core.upper()?.capabilities().tmpfile,
            data,
            fsync: core.features.fsync,
        };
        let object = self.object(LayerId::Upper, path, node);
        let planned = copy_up::plan(&mut self.plan, object, &facts);
        if let Some(step) = planned.impure {
            self.impure_effect(parent, step);
        }
        let staging = planned.first..planned.staged;
        self.segments.push(Segment {
            inode: inode.clone(),
            data,
            object,
            temp: Some(temp),
            steps: staging,
            heavy,
            staged,
            lower: Some(told),
        });
        if counted {
            let linked = Linked {
                object,
                union: meta.nlink,
                upper: upper_nlink,
            };
            self.counts.insert(inode.id, linked);
        }
        if !into_index {
            self.note_link(inode);
        }
        if let Some(step) = planned.entry {
            let inode = inode.clone();
            self.then(step, move |_| inode.update(|s| s.indexed = true));
        }
        let metacopy = inode.file_type.is_file() && data == Data::Attributes;
        self.metacopy.insert(inode.id, metacopy);
        let (copied, watchers) = (inode.clone(), core.watchers.clone());
        // One name of several lost the others' number.
        let relists = !meta.is_dir() && meta.nlink > 1 && !indexed;
        self.then(planned.publish, move |bound| {
            let node = bound.get(object.0).cloned().flatten();
            copied.update(|s| {
                s.upper = node;
                (s.metacopy, s.digest) = (metacopy, None);
                s.origin_mark |= copied.is_dir();
                s.origin_recorded = true;
                s.impure = false;
                (s.indexed, s.nlink) = (into_index, meta.nlink);
            });
            if !into_index {
                copied.set_in_upper();
            }
            watchers.copied_up(Copied {
                id: copied.id,
                relists,
            });
        });
        Ok(object)
    }

    /// Whether a file of `size` bytes is copied with no lock held: unless it is small, nothing waits for a disk
    /// to have it, and nobody is told of it who might ask this union something.
    fn lets_others_in(&self, size: u64) -> bool {
        let watched = self.core.options.copy_observer.is_some();
        size > LIGHT_BYTES_MAX || watched || self.core.features.fsync.syncs()
    }

    /// Reads what copying `lower` up needs; of a file that is to be read through a handle that is kept, where it
    /// can be opened (if it cannot, reading it will tell).
    fn lower_facts(
        &self,
        lower: &Lower,
        reads: bool,
    ) -> Res<(LowerFacts, Option<Box<dyn LayerFile>>)> {
        let layer = LayerId::Lower(lower.layer);
        let file = match reads {
            true => lower.node.open(Access::Read).ok(),
            false => None,
        };
        let meta = match &file {
            Some(file) => file.metadata(),
            None => lower.node.metadata(),
        };
        let meta = meta.in_layer(layer)?;
        let indexed = index::needs_entry(self.core.features, meta.is_dir(), meta.nlink);
        let facts = LowerFacts {
            xattrs: self.xattrs_to_copy(&lower.node, layer)?,
            origin: self.origin(lower, &meta, indexed)?,
            meta,
        };
        Ok((facts, file))
    }

    fn link_target(&self, lower: &Lower, meta: &Metadata) -> Res<Option<Vec<u8>>> {
        if !meta.is_symlink() {
            return Ok(None);
        }
        lower
            .node
            .read_link()
            .in_layer(LayerId::Lower(lower.layer))
            .map(Some)
    }

    /// The attributes that copying `node` copies (rules R221 to R223), sorted.
    pub(crate) fn xattrs_to_copy(&self, node: &NodeRef, layer: LayerId) -> Res<Vec<XattrName>> {
        let mut names = node.xattrs().in_layer(layer)?;
        names.retain(|n| !xattr::is_private(n, self.core.namespace));
        names.sort();
        Ok(names)
    }

    /// The value of `origin` for the copy of a lower object (rules R231 to R233): zero length where
    /// its filesystem has no handles, `None` where nothing is recorded.
    fn origin(&self, lower: &Lower, meta: &Metadata, indexed: bool) -> Res<Option<Vec<u8>>> {
        if !(indexed || copy_up::records_origin(meta)) || !self.can_record_origin(meta) {
            return Ok(None);
        }
        // With an index it is settled that all layers have handles.
        let layer = self.core.lowers.get(lower.layer);
        let decodes = layer.is_some_and(|l| l.backend.capabilities().file_handles);
        let handle = match decodes || self.core.features.index {
            true => self.core.handles().encode_lower(lower)?,
            false => None,
        };
        Ok(Some(handle.unwrap_or_default()))
    }

    /// The upper can store overlay attributes on such an object: in the `user.` namespace only
    /// regular files and directories can have any (rules R235, R285).
    fn can_record_origin(&self, meta: &Metadata) -> bool {
        let user = self.core.namespace == crate::xattr_name::XattrNamespace::User;
        self.core.stores_overlay_attrs() && (!user || meta.is_file() || meta.is_dir())
    }

    /// The times that an upper directory has, or will have once it is copied up.
    pub(crate) fn times_of(&self, dir: &Inode) -> Res<(Timestamp, Timestamp)> {
        let real = dir.with_state(|state| {
            let real = state.real().cloned();
            real.map(|node| (node, self.core.real_layer(state)))
        });
        let (real, layer) = real.ok_or(Errno::ENOENT)?;
        let meta = real.metadata().in_layer(layer)?;
        Ok((meta.atime, meta.mtime))
    }

    /// Puts clean-up steps last, so that the order is neutral, commit, clean-up; effects move along.
    pub(crate) fn finish(mut self) -> Prepared {
        let last = |s: &PlannedStep| matches!(s.role, Role::CleanUp | Role::Unmark);
        if !self.plan.steps.is_sorted_by_key(last) {
            self.put_last(last);
        }
        Prepared {
            plan: self.plan,
            bound: self.bound,
            effects: self.effects,
            segments: self.segments,
            sources: self.sources,
            unstorable: self.unstorable,
            refusal: self.refusal,
            made: self.made,
        }
    }

    fn put_last(&mut self, last: impl Fn(&PlannedStep) -> bool) {
        let steps = std::mem::take(&mut self.plan.steps);
        let mut order: Vec<usize> = (0..steps.len()).collect();
        order.sort_by_key(|i| steps.get(*i).is_some_and(&last));
        let mut new_index = vec![0; steps.len()];
        for (new, old) in order.iter().enumerate() {
            if let Some(slot) = new_index.get_mut(*old) {
                *slot = new;
            }
        }
        let mut slots: Vec<_> = steps.into_iter().map(Some).collect();
        self.plan.steps = order
            .iter()
            .filter_map(|i| slots.get_mut(*i).and_then(Option::take))
            .collect();
        for (at, _) in &mut self.effects {
            *at = new_index.get(*at).copied().unwrap_or(*at);
        }
    }
}

/// A plan ready to be executed.
pub(crate) struct Prepared {
    pub(crate) plan: Plan,
    pub(crate) bound: Vec<Option<NodeRef>>,
    pub(crate) effects: Vec<(usize, Effect)>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) sources: Vec<(Obj, Box<dyn LayerFile>)>,
    pub(crate) unstorable: Errno,
    pub(crate) refusal: Option<Fail>,
    pub(crate) made: Option<Obj>,
}
