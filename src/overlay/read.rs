//! Reading the merged tree: attributes, link targets, extended attributes, listings.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backend::{Entry, RawEntry, WhiteoutForm};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::{FileType, Metadata, StatFs, fs_id};
use crate::overlay::core::{Core, InLayer, Res};
use crate::overlay::inode::{Inode, State};
use crate::overlay::lookup::Found;
use crate::path::Name;
use crate::rules::inode::{Facts, Numbering, numbers, shows_origin};
use crate::rules::merge::{Merged, Merger, is_refusal};
use crate::rules::xattr;
use crate::xattr_name::{OverlayAttr, XattrName};

/// `f_type` of an overlay mount (rule R035).
const OVERLAY_MAGIC: u64 = 0x794c_7630;

/// One shown entry of a directory.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) name: Name,
    pub(crate) file_type: Option<FileType>,
    pub(crate) ino: u64,
    /// The topmost layer that has the name.
    pub(crate) layer: LayerId,
}

/// What a directory to be removed shows: see [`Core::emptiness`].
pub(crate) struct Emptiness {
    /// Nothing but whiteouts.
    pub(crate) empty: bool,
    /// The upper directory's whiteouts, which must go before the directory can.
    pub(crate) upper_whiteouts: Vec<Name>,
}

impl Core {
    /// The attributes that the merged tree shows (rules R057, R249 to R260).
    pub(crate) fn metadata(&self, inode: &Inode) -> Res<Metadata> {
        let state = inode.state();
        let real = state.real().ok_or(Errno::ENOENT)?;
        let meta = real.metadata().in_layer(self.real_layer(&state))?;
        self.shown_metadata(inode, &state, meta)
    }

    /// As [`Core::metadata`], from the real object's attributes.
    pub(crate) fn shown_metadata(
        &self,
        inode: &Inode,
        state: &State,
        mut meta: Metadata,
    ) -> Res<Metadata> {
        let is_dir = inode.is_dir();
        let lower = match (&state.upper, is_dir) {
            (None, _) => None,
            // The root is the upper's (rule R251).
            _ if std::ptr::eq(inode, &**self.root()) => None,
            (Some(_), true) => state.lowers.first().cloned(),
            (Some(_), false) => self.origin_of(inode, state)?,
        };
        let origin = match &lower {
            Some(lower) if !is_dir || self.numbering.is_one_device() => {
                let lower_meta = lower
                    .node
                    .metadata()
                    .in_layer(LayerId::Lower(lower.layer))?;
                let facts = self.key_facts(inode, state, Some(lower_meta.nlink));
                let fs = self.fs_of(LayerId::Lower(lower.layer));
                shows_origin(facts).then_some((lower_meta, fs))
            }
            _ => None,
        };
        let (ino, device, nlink) = numbers(&Facts {
            numbering: self.numbering,
            real: &meta,
            real_fs: self.fs_of(self.real_layer(state)),
            origin: origin.as_ref().map(|(meta, fs)| (meta, *fs)),
            union_nlink: (state.indexed && !is_dir).then_some(state.nlink),
            merged: state.is_merged(is_dir),
            volatile_ino: inode.id,
        });
        (meta.ino, meta.nlink, meta.dev) = (ino, nlink, self.device(device));
        if state.metacopy {
            // What it takes is what its data take (rule R259).
            meta.blocks = self.data_blocks(state, &meta)?;
        }
        Ok(meta)
    }

    /// As [`Core::shown_metadata`], of a lower non-directory of which no upper and no other name is known, with its
    /// own data.
    pub(crate) fn plain_metadata(&self, layer: LayerId, mut meta: Metadata) -> Metadata {
        let (ino, device, nlink) = numbers(&Facts {
            numbering: self.numbering,
            real: &meta,
            real_fs: self.fs_of(layer),
            origin: None,
            union_nlink: None,
            merged: false,
            volatile_ino: 0,
        });
        (meta.ino, meta.nlink, meta.dev) = (ino, nlink, self.device(device));
        meta
    }

    pub(crate) fn read_link(&self, inode: &Inode) -> Res<Vec<u8>> {
        if !inode.file_type.is_symlink() {
            return Err(Errno::EINVAL.into());
        }
        let state = inode.state();
        let real = state.real().ok_or(Errno::ENOENT)?;
        real.read_link().in_layer(self.real_layer(&state))
    }

    /// The value of an attribute by the name that the merged tree uses (rules R277, R279).
    pub(crate) fn xattr(&self, inode: &Inode, name: &XattrName) -> Res<Vec<u8>> {
        xattr::check_read(inode.file_type, name)?;
        let raw = xattr::to_layer(name, self.namespace)?;
        let state = inode.state();
        let real = state.real().ok_or(Errno::ENOENT)?;
        let value = real.xattr(&raw).in_layer(self.real_layer(&state))?;
        Ok(value.ok_or(Errno::ENODATA)?)
    }

    /// The names of attributes that the merged tree shows, sorted (rule R281).
    pub(crate) fn xattrs(&self, inode: &Inode) -> Res<Vec<XattrName>> {
        let state = inode.state();
        let real = state.real().ok_or(Errno::ENOENT)?;
        let mut names: Vec<XattrName> = real
            .xattrs()
            .in_layer(self.real_layer(&state))?
            .iter()
            .filter_map(|raw| xattr::to_union(raw, self.namespace))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Numbers of the upper's (or topmost lower's) filesystem; names as long as any layer's
    /// (rule R035).
    pub(crate) fn statfs(&self) -> Res<StatFs> {
        let mut stat = match &self.upper {
            Some(upper) => upper.statfs().in_layer(LayerId::Upper)?,
            None => match self.lowers.first() {
                Some(l) => l.backend.statfs().in_layer(LayerId::Lower(0))?,
                None => StatFs::default(),
            },
        };
        for (i, lower) in self.lowers.iter().enumerate() {
            let other = lower.backend.statfs().in_layer(LayerId::Lower(i))?;
            stat.name_bytes_max = stat.name_bytes_max.max(other.name_bytes_max);
        }
        stat.fs_type = OVERLAY_MAGIC;
        if let Some(uuid) = self.uuid {
            stat.fs_id = fs_id(uuid);
        }
        Ok(stat)
    }

    /// The layers that make up a directory, topmost first.
    fn dirs(&self, state: &State) -> Vec<(LayerId, crate::backend::NodeRef)> {
        let upper = state
            .upper
            .iter()
            .map(|node| (LayerId::Upper, node.clone()));
        let lowers = state
            .lowers
            .iter()
            .map(|l| (LayerId::Lower(l.layer), l.node.clone()));
        upper.chain(lowers).collect()
    }

    /// Merges the listings of a directory's layers; hidden entries are included (rules R095 to R099).
    fn merge(&self, state: &State) -> Res<Vec<Merged>> {
        let dirs = self.dirs(state);
        let mut merger = Merger::default();
        for (i, (layer, node)) in dirs.iter().enumerate() {
            let marked = match layer {
                LayerId::Lower(l) => {
                    state.xattr_whiteouts
                        && self
                            .lowers
                            .get(*l)
                            .is_some_and(|l| l.has_xattr_whiteouts.load(Ordering::Relaxed))
                }
                _ => false,
            };
            let raw = node.list().in_layer(*layer)?;
            let lowest = i + 1 == dirs.len();
            for at in merger.add(i, raw, lowest, marked) {
                let Some(name) = merger.name(at).cloned() else {
                    continue;
                };
                match node.lookup(&name) {
                    Ok(Some(Entry::Whiteout(WhiteoutForm::CharDevice))) => merger.hide(at),
                    // A name that may not be looked at is shown; opening it will tell why.
                    Err(e) if !is_refusal(e.errno()) => return Err(e).in_layer(*layer),
                    _ => {}
                }
            }
        }
        Ok(merger.finish())
    }

    /// What a directory shows, in the kernel's order. Call with the tree's lock held.
    pub(crate) fn list(&self, dir: &Arc<Inode>) -> Res<Vec<Listed>> {
        if !dir.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        let state = dir.state();
        if dir.is_gone() {
            return Ok(Vec::new());
        }
        if !state.lists_merged() {
            return self.list_real(dir, &state);
        }
        let layers: Vec<LayerId> = self
            .dirs(&state)
            .into_iter()
            .map(|(layer, _)| layer)
            .collect();
        // Numbers that tell the filesystem are those of objects, not of directories (rule R253).
        let xino = matches!(self.numbering, Numbering::Xino { .. });
        let marked = state.impure || self.is_marked_by_lookup(dir, &state)?;
        let mut out = Vec::new();
        for entry in self.merge(&state)? {
            if entry.hidden {
                continue;
            }
            let layer = layers.get(entry.layer).copied().unwrap_or(LayerId::Upper);
            let upper = layer == LayerId::Upper && self.numbering.is_one_device();
            let impure = upper && marked;
            // The kernel marks the directory when it looks up a directory in it that is merged
            // (rule R065). Reading writes nothing here, so such names are asked as if it were marked.
            let merges = upper
                && !state.lowers.is_empty()
                && matches!(entry.file_type, Some(FileType::Directory) | None);
            let met = upper && dir.child(&entry.name).is_some_and(|i| has_lower(&i));
            let mut ino = entry.ino;
            if entry.check || impure || merges || xino || met {
                match self.lookup(dir, &entry.name) {
                    Ok(Found::Inode(inode)) if impure || merges || xino || met => {
                        ino = self.listed_ino(&inode, ino)?;
                    }
                    Ok(Found::Inode(_)) => {}
                    Err(e) if e.is_disk() => return Err(e),
                    // A failing lookup drops the name from a marked listing (rule R110).
                    Ok(Found::Nothing { .. }) | Err(_) if entry.check || impure || xino => {
                        continue;
                    }
                    Ok(Found::Nothing { .. }) | Err(_) => {}
                }
            }
            out.push(Listed {
                name: entry.name,
                file_type: entry.file_type,
                ino,
                layer,
            });
        }
        Ok(out)
    }

    /// Whether the kernel would have marked this directory impure when something in it was looked up: a merged
    /// directory of whose upper one no origin is recorded (rule R065). Here that is recorded with the next change.
    fn is_marked_by_lookup(&self, dir: &Inode, state: &State) -> Res<bool> {
        if state.upper.is_none() || state.lowers.is_empty() || !self.stores_overlay_attrs() {
            return Ok(false);
        }
        for child in dir.dirs_in_use() {
            let merged = !child.with_state(|s| s.lowers.is_empty());
            if let (true, Some(upper)) = (merged, child.upper())
                && upper
                    .overlay_attr(OverlayAttr::Origin)
                    .in_layer(LayerId::Upper)?
                    .is_none()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A directory that is not merged shows what its one layer lists, stray whiteouts included
    /// (rules R079, R095).
    fn list_real(&self, dir: &Arc<Inode>, state: &State) -> Res<Vec<Listed>> {
        let real = state.real().ok_or(Errno::ENOENT)?;
        let layer = self.real_layer(state);
        let raw = real.list().in_layer(layer)?;
        let upper = layer == LayerId::Upper;
        let recalculate = upper && state.impure && self.numbering.is_one_device();
        let fs = self.fs_of(layer);
        let mut out = Vec::with_capacity(raw.len());
        for RawEntry {
            name,
            file_type,
            mut ino,
        } in raw
        {
            if recalculate {
                // Here a failing lookup fails the listing (rule R110); a whiteout stays listed.
                if let Found::Inode(inode) = self.lookup(dir, &name)? {
                    ino = self.listed_ino(&inode, ino)?;
                }
            } else if upper
                && self.numbering.is_one_device()
                && let Some(inode) = dir.child(&name).filter(has_lower)
            {
                ino = self.listed_ino(&inode, ino)?;
            } else {
                ino = self.numbering.unique(ino, fs).unwrap_or(ino);
            }
            out.push(Listed {
                name,
                file_type,
                ino,
                layer,
            });
        }
        Ok(out)
    }

    /// The inode number to list for an object whose directory entry tells `real` (rule R105).
    fn listed_ino(&self, inode: &Arc<Inode>, real: u64) -> Res<u64> {
        let state = inode.state();
        match (&state.upper, state.lowers.first()) {
            (None, Some(lower)) => {
                let fs = self.fs_of(LayerId::Lower(lower.layer));
                Ok(self.numbering.unique(real, fs).unwrap_or(real))
            }
            _ if self.has_origin(inode)? => Ok(self.metadata(inode)?.ino),
            _ => Ok(real),
        }
    }

    /// Whether a directory may be removed or replaced by the merged view (rules R125 to R128):
    /// xattr whiteouts count as entries there, a quirk of the kernel.
    pub(crate) fn emptiness(&self, dir: &Inode) -> Res<Emptiness> {
        let state = dir.state();
        let has_upper = state.upper.is_some();
        let mut upper_whiteouts = Vec::new();
        for entry in self.merge(&state)? {
            if !entry.hidden {
                return Ok(Emptiness {
                    empty: false,
                    upper_whiteouts: Vec::new(),
                });
            }
            if has_upper && entry.layer == 0 {
                upper_whiteouts.push(entry.name);
            }
        }
        Ok(Emptiness {
            empty: true,
            upper_whiteouts,
        })
    }
}

/// What the upper has is made of a lower object too. In the kernel its directory was marked impure at the latest
/// when it was looked up (rule R065).
fn has_lower(inode: &Arc<Inode>) -> bool {
    !inode.state().lowers.is_empty()
}
