//! Names of upper objects in plans: linked where a lower hard link is in the index only, counted
//! before they change, and the index cleaned up after the last.

use std::sync::Arc;

use crate::error::LayerId;
use crate::overlay::build::Build;
use crate::overlay::core::{InLayer, Res};
use crate::overlay::inode::{Inode, Lower, Place as InodePlace, State};
use crate::path::Name;
use crate::rules::copy_up::{Data, Entry};
use crate::rules::index::{self, LinkUp, Linked};
use crate::rules::plan::{Obj, Place, Role};

/// A name in a directory, while a plan is built.
fn key(inode: &Inode) -> Option<(u64, Name)> {
    match inode.place() {
        InodePlace::At(dir, name) => Some((dir.id, name)),
        InodePlace::Root | InodePlace::Gone(_) => None,
    }
}

fn nlink(lower: &Lower) -> Res<u64> {
    let meta = lower.node.metadata();
    Ok(meta.in_layer(LayerId::Lower(lower.layer))?.nlink)
}

impl Build<'_> {
    /// Whether the upper has this name, or has it from an earlier step on.
    pub(crate) fn is_linked(&self, inode: &Inode) -> bool {
        inode.in_upper() || key(inode).is_some_and(|key| self.links.contains(&key))
    }

    /// The plan gives the upper this name.
    pub(crate) fn note_link(&mut self, inode: &Inode) {
        self.links.extend(key(inode));
    }

    /// What `inode` gets in the index once it is copied up: an entry at `place`.
    pub(crate) fn later_entry(&mut self, inode: &Inode, place: Place) -> Res<Entry> {
        if !inode.is_dir() {
            return Ok(Entry::Name(place));
        }
        Ok(Entry::Directory {
            object: self.object(LayerId::Work, inode.path(), None),
            temp: self.temp()?,
            place,
        })
    }

    /// The link counts of an upper object, as they are after the steps so far.
    fn counted(&mut self, inode: &Inode, object: Obj) -> Res<Linked> {
        if let Some(linked) = self.counts.get(&inode.id) {
            return Ok(*linked);
        }
        let state = inode.state();
        let upper = match &state.upper {
            Some(node) => node.metadata().in_layer(LayerId::Upper)?.nlink,
            None => 0,
        };
        let union = if state.indexed { state.nlink } else { upper };
        Ok(Linked {
            object,
            union,
            upper,
        })
    }

    /// Appends giving the upper `object` the name that `inode` has in a lower layer (rule R262).
    pub(crate) fn link_up(
        &mut self,
        inode: &Arc<Inode>,
        object: Obj,
        parent: &Arc<Inode>,
        to: Place,
    ) -> Res<()> {
        let linked = self.counted(inode, object)?;
        let lower_nlink = match inode.state().lowers.first() {
            Some(lower) => nlink(lower)?,
            None => linked.union,
        };
        let facts = LinkUp {
            linked,
            lower_nlink,
            to,
            dir_times: self.times_of(parent)?,
            dir_impure: self.is_impure(parent),
        };
        let (impure, link) = index::plan_link_up(&mut self.plan, &facts);
        if let Some(step) = impure {
            self.impure_effect(parent, step);
        }
        let after = Linked {
            upper: linked.upper + 1,
            ..linked
        };
        self.counts.insert(inode.id, after);
        self.note_link(inode);
        let inode = inode.clone();
        self.then(link, move |_| inode.set_in_upper());
        Ok(())
    }

    /// Prepares for a name of `inode` to come or go: it is copied up if it is to be in the index (rule
    /// R124), and its link count is recorded. `None`: its names are not counted.
    pub(crate) fn count_names(&mut self, inode: &Arc<Inode>) -> Res<Option<Linked>> {
        let (state, is_dir) = (inode.state(), inode.is_dir());
        if !self.core.features.index {
            return Ok(None);
        }
        if let Some(lower) = state.lowers.first()
            && !self.is_linked(inode)
            && index::needs_entry(self.core.features, is_dir, nlink(lower)?)
        {
            self.upper(inode, Data::Attributes)?;
        }
        let planned = self.counts.contains_key(&inode.id);
        if is_dir || !(state.indexed || planned) {
            return Ok(None);
        }
        let Some(object) = self.known_upper(inode)? else {
            return Ok(None);
        };
        let linked = self.counted(inode, object)?;
        index::plan_nlink(&mut self.plan, Role::Neutral, linked);
        Ok(Some(linked))
    }

    /// What follows for the index from `inode` losing a name by the step `commit` (rule R265); `before`:
    /// its state when the plan was begun, `counted`: see [`Build::count_names`].
    pub(crate) fn drop_name(
        &mut self,
        commit: usize,
        inode: &Arc<Inode>,
        before: &State,
        counted: Option<Linked>,
    ) -> Res<()> {
        let is_dir = inode.is_dir();
        let Some(lower) = before.lowers.first() else {
            return Ok(());
        };
        if let Some(linked) = counted {
            let after = Linked {
                union: linked.union.saturating_sub(1),
                upper: linked.upper.saturating_sub(1),
                ..linked
            };
            self.set_union_nlink(commit, inode, after.union);
            if after.union > 0 {
                return Ok(());
            }
            if after.upper != 1 {
                // A lower name was added, or one of the upper was: what is there counts.
                let union = after.upper.saturating_sub(1);
                let recount = Linked { union, ..after };
                index::plan_nlink(&mut self.plan, Role::CleanUp, recount);
                self.set_union_nlink(commit, inode, union);
                return Ok(());
            }
        } else {
            let indexed = match before.upper {
                Some(_) => before.indexed,
                None => index::needs_entry(self.core.features, is_dir, 1),
            };
            if !(is_dir && indexed) {
                return Ok(());
            }
        }
        let entry = Place {
            dir: self.work()?,
            name: self.core.index_name(lower)?,
        };
        let temp = self.temp()?;
        let features = self.core.features;
        index::plan_cleanup(&mut self.plan, entry, is_dir, temp, features);
        Ok(())
    }

    /// The union has this many names of an indexed object once the step is done.
    pub(crate) fn set_union_nlink(&mut self, step: usize, inode: &Arc<Inode>, union: u64) {
        let inode = inode.clone();
        self.then(step, move |_| inode.update(|s| s.nlink = union));
    }
}
