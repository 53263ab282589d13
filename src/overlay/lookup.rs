//! Looking one name up in a directory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backend::{Entry, NodeRef};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::Metadata;
use crate::overlay::core::{Core, Fail, InLayer, Res};
use crate::overlay::data::DataPath;
use crate::overlay::inode::{Inode, Lower, State};
use crate::path::Name;
use crate::rules::index::{self, Verified};
use crate::rules::inode::known_by_lower;
use crate::rules::resolve::{Attrs, Fact, Lookup, Observed, Position};
use crate::rules::verity;
use crate::rules::whiteout::{LowerFact, lower_fact, lower_positive};
use crate::xattr_name::{OverlayAttr, XattrNamespace};

/// What a name stands for in the merged tree.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// A visible object.
    Inode(Arc<Inode>),
    /// Nothing; `whiteout`: the upper has a whiteout there.
    Nothing { whiteout: bool },
}

impl Found {
    pub(crate) fn inode(&self) -> Option<&Arc<Inode>> {
        match self {
            Found::Inode(inode) => Some(inode),
            Found::Nothing { .. } => None,
        }
    }

    pub(crate) fn is_whiteout(&self) -> bool {
        matches!(self, Found::Nothing { whiteout: true })
    }
}

/// What one layer contributed to a lookup; told to those who want to explain it.
pub(crate) struct Seen<'a> {
    pub(crate) layer: LayerId,
    pub(crate) components: &'a [Name],
    /// `components` start at the layer's root, not in the directory.
    pub(crate) absolute: bool,
    /// Which of `components` was asked for.
    pub(crate) index: usize,
    /// That is the object that is looked for, not a directory on the way.
    pub(crate) end: bool,
    pub(crate) observed: Observed,
    pub(crate) entry: Option<&'a Entry>,
    /// The layer's object is opaque or otherwise ends the search.
    pub(crate) stops: bool,
}

/// Why a lookup cannot go on.
fn refused(errno: Errno) -> Fail {
    let rule = if errno == Errno::EPERM {
        "R165"
    } else {
        "R173"
    };
    Fail::rule(errno, rule)
}

/// What a lookup found to be visible.
#[derive(Debug)]
pub(crate) struct Made {
    /// Attributes of the real object.
    pub(crate) real: Metadata,
    /// Attributes of the topmost lower.
    pub(crate) lower: Option<Metadata>,
    pub(crate) state: State,
    /// The upper has the name.
    pub(crate) in_upper: bool,
}

/// The node found last in a layer, with its attributes.
type Taken = (NodeRef, Metadata);

impl Core {
    /// What `name` stands for in `dir`, from the cache if it is there. Call with the tree's lock held.
    pub(crate) fn lookup(&self, dir: &Arc<Inode>, name: &Name) -> Res<Found> {
        if !dir.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        if let Some(child) = dir.child(name) {
            return Ok(Found::Inode(child));
        }
        if dir.is_gone() {
            return Ok(Found::Nothing { whiteout: false });
        }
        let (lookup, state) = self.lookup_layers(dir, name, &mut |_| {})?;
        match state {
            None => Ok(Found::Nothing {
                whiteout: lookup.opaque,
            }),
            Some(made) => {
                let inode = self.name(dir, name, made)?;
                self.recent.keep(&inode);
                Ok(Found::Inode(inode))
            }
        }
    }

    /// The visible object `name` in `dir`, or `ENOENT`.
    pub(crate) fn lookup_existing(&self, dir: &Arc<Inode>, name: &Name) -> Res<Arc<Inode>> {
        match self.lookup(dir, name)? {
            Found::Inode(inode) => Ok(inode),
            Found::Nothing { .. } => Err(Errno::ENOENT.into()),
        }
    }

    /// Asks the layers (rules R050 to R062). Tells `seen` what each contributed. The state's absence
    /// means that nothing is visible; `opaque` of the lookup then tells of a whiteout in the upper.
    pub(crate) fn lookup_layers(
        &self,
        dir: &Arc<Inode>,
        name: &Name,
        seen: &mut dyn FnMut(Seen<'_>),
    ) -> Res<(Lookup, Option<Made>)> {
        self.lookup_layers_from(dir, name, 0, seen)
    }

    /// As [`Core::lookup_layers`], of a name that no lower above `first` has, as a listing tells: they are
    /// not asked.
    pub(crate) fn lookup_layers_from(
        &self,
        dir: &Arc<Inode>,
        name: &Name,
        first: usize,
        seen: &mut dyn FnMut(Seen<'_>),
    ) -> Res<(Lookup, Option<Made>)> {
        let parent = dir.state();
        let mut lookup = Lookup::new(name, self.features, !self.data.is_empty());
        let mut upper: Option<Taken> = None;
        if let Some(upper_dir) = &parent.upper {
            let last = !self.features.redirect_follow && parent.lowers.is_empty();
            let at = Position { upper: true, last };
            upper = self.lookup_in(upper_dir, &mut lookup, at, LayerId::Upper, seen)?;
        }
        let mut upper_metacopy = lookup.metacopy;
        let upper_opaque = lookup.opaque;
        let mut upper_redirect = lookup.redirect.clone();
        let root_lowers = || self.root().state().lowers;
        let mut from_root = lookup.is_absolute();
        let mut stack = if from_root {
            root_lowers()
        } else {
            parent.lowers.clone()
        };
        // What the upper has may send the search elsewhere; then the listing tells nothing.
        let mut i = match upper.is_none() && !from_root {
            true => stack.partition_point(|lower| lower.layer < first),
            false => 0,
        };
        let mut lowers: Vec<Lower> = Vec::new();
        let mut first_meta: Option<Metadata> = None;
        let in_upper = upper.is_some();
        let origin = match &upper {
            Some((node, meta)) if self.features.index && !meta.is_dir() => {
                self.handles().origin(node, meta.file_type)?
            }
            _ => None,
        };
        let mut verified = false;
        while !lookup.stop {
            let Some(lower) = stack.get(i).cloned() else {
                break;
            };
            i += 1;
            lookup.may_descend().map_err(refused)?;
            let layer = LayerId::Lower(lower.layer);
            let bottom = lower.layer + 1 == self.lowers.len();
            let at = Position {
                upper: false,
                last: lookup.is_last(i - 1, stack.len(), bottom),
            };
            let marked = lookup.xattr_whiteouts;
            let chained = lookup.metacopy;
            let taken = self.lookup_in(&lower.node, &mut lookup, at, layer, seen)?;
            if lookup.xattr_whiteouts
                && !marked
                && let Some(l) = self.lowers.get(lower.layer)
            {
                l.has_xattr_whiteouts.store(true, Ordering::Relaxed);
            }
            if let Some((node, meta)) = taken {
                let this = Lower {
                    layer: lower.layer,
                    node,
                };
                if let (Some((upper, _)), true) = (&upper, lowers.is_empty()) {
                    let is_dir = meta.is_dir();
                    match self.verify_origin(upper, &this, is_dir, origin.is_some())? {
                        Verified::Unchecked => {}
                        Verified::Matches => verified = true,
                        Verified::Differs => break,
                    }
                }
                // Of a chain of metacopies only the topmost lower one and the data file matter
                // (rule R172).
                let middle = lookup.metacopy && chained && !lowers.is_empty();
                if !middle {
                    first_meta.get_or_insert(meta);
                    lowers.push(this);
                }
            }
            if lookup.is_absolute() && !from_root && !lookup.stop {
                from_root = true;
                i = lower.layer + 1;
                stack = root_lowers();
            }
        }
        lookup
            .finish(upper_metacopy, lowers.len())
            .map_err(refused)?;
        let data = match lookup.deferred {
            true => lookup.redirect.clone().map(DataPath::new),
            false => None,
        };
        lookup.opaque = if parent.upper.is_some() {
            upper_opaque
        } else {
            false
        };
        if let (Some(_), true, Some(origin)) = (&upper, lowers.is_empty(), origin) {
            let layer = LayerId::Lower(origin.layer);
            first_meta = Some(origin.node.metadata().in_layer(layer)?);
            lowers.push(origin);
            verified = true;
        }
        let mut indexed = false;
        if let (Some(lower), Some(meta)) = (lowers.first(), &first_meta)
            && (verified || !in_upper)
            && index::looks_up(self.features, meta.is_dir())
            && let Some(entry) = self.index_entry(upper.as_ref(), lower, meta)?
        {
            indexed = true;
            if !in_upper {
                let attr = |attr| entry.0.overlay_attr(attr).in_layer(LayerId::Work);
                let (metacopy, redirect) =
                    (attr(OverlayAttr::Metacopy)?, attr(OverlayAttr::Redirect)?);
                upper_metacopy = lookup
                    .take_indexed(entry.1.file_type, metacopy, redirect.as_deref())
                    .map_err(refused)?;
                upper_redirect = redirect.filter(|_| upper_metacopy);
                upper = Some(entry);
            }
        }
        let Some((node, real)) = upper
            .clone()
            .or_else(|| Some((lowers.first()?.node.clone(), first_meta.clone()?)))
        else {
            return Ok((lookup, None));
        };
        let is_dir = real.is_dir();
        let (mut impure, mut origin_mark) = (false, false);
        let layer = match (&upper, lowers.first()) {
            (None, Some(l)) => LayerId::Lower(l.layer),
            _ => LayerId::Upper,
        };
        if is_dir {
            origin_mark = usize::from(upper.is_some()) + lowers.len() > 1
                || node
                    .overlay_attr(OverlayAttr::Origin)
                    .in_layer(layer)?
                    .is_some();
            if let Some((node, _)) = &upper {
                let value = node
                    .overlay_attr(OverlayAttr::Impure)
                    .in_layer(LayerId::Upper)?;
                impure = value.as_deref() == Some(b"y");
            }
        }
        let nlink = match (&upper, &first_meta) {
            (Some((node, upper)), Some(lower)) if indexed && !is_dir => {
                let value = node.overlay_attr(OverlayAttr::Nlink);
                let value = value.in_layer(LayerId::Upper)?;
                let told = index::union_nlink(value.as_deref(), upper.nlink, lower.nlink);
                told.unwrap_or(upper.nlink)
            }
            _ => 0,
        };
        let digest = lookup.metacopy_value.as_deref().and_then(verity::digest_of);
        let state = State {
            hard_linked: !is_dir && first_meta.as_ref().is_some_and(|m| m.nlink > 1),
            indexed,
            nlink,
            opaque: upper.is_some() && is_dir && upper_opaque,
            impure,
            origin_mark,
            origin_recorded: false,
            xattr_whiteouts: lookup.xattr_whiteouts,
            metacopy: match &upper {
                Some(_) => upper_metacopy,
                None => !is_dir && (lowers.len() > 1 || data.is_some()),
            },
            data,
            redirect: upper_redirect.map(Arc::from),
            digest: digest.map(Arc::from),
            upper: upper.map(|(node, _)| node),
            lowers: lowers.into(),
        };
        let lower = first_meta;
        let made = Made {
            real,
            lower,
            state,
            in_upper,
        };
        Ok((lookup, Some(made)))
    }

    /// Asks one layer for the path of a lookup, from the directory `base`.
    fn lookup_in(
        &self,
        base: &NodeRef,
        lookup: &mut Lookup,
        at: Position,
        layer: LayerId,
        seen: &mut dyn FnMut(Seen<'_>),
    ) -> Res<Option<Taken>> {
        let way = lookup.way().clone();
        let mut taken: Option<Taken> = None;
        for (i, name) in way.names.iter().enumerate() {
            let dir = taken.as_ref().map_or(base, |(node, _)| node);
            let entry = match dir.lookup(name) {
                Err(e) if matches!(e.errno(), Errno::ENOENT | Errno::ENAMETOOLONG) => None,
                answer => answer.in_layer(layer)?,
            };
            let end = way.is_end(i);
            let fact = self.fact(entry.as_ref(), lookup, at, end, layer)?;
            let observed = lookup.observe(&way, i, at, &fact).map_err(|errno| Fail {
                layer: Some(layer),
                ..Fail::rule(errno, "R162")
            })?;
            seen(Seen {
                layer,
                components: &way.names,
                absolute: way.absolute,
                index: i,
                end,
                observed,
                entry: entry.as_ref(),
                stops: lookup.stop,
            });
            match (observed, entry) {
                (Observed::Take, Some(Entry::Node(node, meta))) => {
                    if !end && !meta.is_dir() {
                        return Ok(None);
                    }
                    taken = Some((node, meta));
                }
                _ => return Ok(None),
            }
        }
        match way.refused {
            None => Ok(taken),
            // As any name that is too long: there is none.
            Some(Errno::ENAMETOOLONG) => Ok(None),
            Some(errno) => Err(Fail {
                layer: Some(layer),
                ..Fail::rule(errno, "R162")
            }),
        }
    }

    /// Turns a backend's answer into a fact, with just the attributes that decide.
    fn fact(
        &self,
        entry: Option<&Entry>,
        lookup: &Lookup,
        at: Position,
        end: bool,
        layer: LayerId,
    ) -> Res<Fact> {
        let (node, meta) = match entry {
            None => return Ok(Fact::Absent),
            Some(Entry::Whiteout(_)) => return Ok(Fact::Whiteout),
            Some(Entry::Node(node, meta)) => (node, meta),
        };
        if meta.is_dir() && self.is_trap(self.fs_of(layer), meta.ino) {
            return Err(Fail {
                layer: Some(layer),
                ..Fail::rule(Errno::ELOOP, "R016")
            });
        }
        let wants = lookup.wants(meta.file_type, end, at);
        let read = |wanted: bool, attr| -> Res<Option<Vec<u8>>> {
            if wanted {
                node.overlay_attr(attr).in_layer(layer)
            } else {
                Ok(None)
            }
        };
        let metacopy = match read(wants.metacopy, OverlayAttr::Metacopy) {
            // A file that the mounter may not read: nothing can be told of it (rule R181).
            Err(e) if e.errno == Errno::EACCES && self.namespace == XattrNamespace::User => None,
            answer => answer?,
        };
        let redirect = wants.redirect && (meta.is_dir() || metacopy.is_some());
        let attrs = Attrs {
            opaque: read(wants.opaque, OverlayAttr::Opaque)?,
            redirect: read(redirect, OverlayAttr::Redirect)?,
            metacopy,
        };
        Ok(Fact::Node {
            file_type: meta.file_type,
            attrs,
        })
    }

    /// The index of a layer's filesystem.
    pub(crate) fn fs_of(&self, layer: LayerId) -> usize {
        match layer {
            LayerId::Lower(i) => self.read_only_layer(i).map_or(0, |l| l.fs),
            LayerId::Upper | LayerId::Work => 0,
        }
    }

    /// Whether removing the name from the upper must leave a whiteout (rule R081).
    pub(crate) fn is_lower_positive(
        &self,
        dir: &Arc<Inode>,
        name: &Name,
        found: &Found,
    ) -> Res<bool> {
        let Some(inode) = found.inode() else {
            return Ok(found.is_whiteout());
        };
        if inode.upper().is_none() {
            return Ok(true);
        }
        lower_positive(dir.state().lowers.iter().map(|lower| -> Res<LowerFact> {
            let answer = lower.node.lookup(name);
            Ok(match &answer {
                Ok(entry) => lower_fact(Ok(entry)),
                Err(e) => lower_fact(Err(e.errno())),
            })
        }))
    }

    /// The lower that an upper non-directory was copied up from, if it can still be told
    /// (rule R066): kept from the copy-up, or found by the handle that it recorded.
    pub(crate) fn origin_of(&self, inode: &Inode, state: &State) -> Res<Option<Lower>> {
        let Some(upper) = &state.upper else {
            return Ok(None);
        };
        if let Some(lower) = state.lowers.first() {
            return Ok(Some(lower.clone()));
        }
        if let Some(known) = inode.origin.get() {
            return Ok(known.clone());
        }
        let found = self.handles().origin(upper, inode.file_type)?;
        Ok(inode.origin.get_or_init(|| found).clone())
    }

    /// Whether an object counts as copied up from, or merged with, a lower (the kernel's
    /// `OVL_TYPE_ORIGIN`): it then makes a directory it is moved to impure.
    pub(crate) fn has_origin(&self, inode: &Inode) -> Res<bool> {
        let state = inode.state();
        if state.upper.is_none() {
            return Ok(false);
        }
        let lower = match inode.is_dir() {
            true => state.lowers.first().cloned(),
            false => self.origin_of(inode, &state)?,
        };
        match lower {
            None => Ok(false),
            Some(lower) => {
                let layer = LayerId::Lower(lower.layer);
                let nlink = lower.node.metadata().in_layer(layer)?.nlink;
                Ok(known_by_lower(self.key_facts(inode, &state, Some(nlink))))
            }
        }
    }
}
