//! Renames of resolved objects: facts for the rules, and what follows for the engine's state.

use std::sync::Arc;

use crate::errno::Errno;
use crate::op::RenameFlags;
use crate::overlay::build::Build;
use crate::overlay::core::{Fail, Res};
use crate::overlay::inode::{Inode, Place as InodePlace};
use crate::overlay::mutate::{Target, becomes_merged, unname};
use crate::overlay::recent::Recent;
use crate::rules::copy_up::Data;
use crate::rules::permission::Mask;
use crate::rules::plan::{Obj, Place};
use crate::rules::redirect::{self, Form, Level};
use crate::rules::rename;

impl Build<'_> {
    /// Refuses a rename that flags, types or the caller's rights do not permit, in the VFS's order.
    fn permit_rename(&self, old: &Target, new: &Target, facts: &rename::Facts) -> Res<()> {
        let core = self.core;
        core.may_take(old)?;
        match new.found.inode() {
            None => core.may_add(&new.dir)?,
            Some(_) => core.may_take(new)?,
        }
        rename::check_types(facts)?;
        if facts.same_dir {
            return Ok(());
        }
        // A directory that gets another parent is written to.
        if facts.old.is_dir {
            core.allow(old.inode()?, Mask::WRITE)?;
        }
        match new.found.inode() {
            Some(inode) if facts.flags.exchange && inode.is_dir() => core.allow(inode, Mask::WRITE),
            _ => Ok(()),
        }
    }

    fn side(&self, target: &Target, positive: bool) -> Res<rename::Side> {
        let mut side = rename::Side {
            parent_merged: becomes_merged(&target.dir),
            parent_pure: target.dir.state().is_pure_upper() && self.core.stores_overlay_attrs(),
            whiteout: target.found.is_whiteout(),
            lower_positive: positive,
            ..rename::Side::default()
        };
        if let Some(inode) = target.found.inode() {
            let state = inode.state();
            side.exists = true;
            side.is_dir = inode.is_dir();
            side.merged_or_lower = state.upper.is_none() || state.is_merged(side.is_dir);
            side.pure_upper = state.upper.is_some() && state.is_pure_upper();
            side.opaque = state.opaque;
            side.metacopy = self.will_lack_data(inode);
            side.hard_linked = state.hard_linked;
        }
        Ok(side)
    }

    /// Sets what must be on an upper object before it gets another name. Answers whether it can move.
    fn mark_moved(
        &mut self,
        inode: &Arc<Inode>,
        object: Obj,
        opaque: bool,
        redirect: Option<Form>,
    ) -> bool {
        if opaque {
            let step = rename::mark_opaque(&mut self.plan, object);
            let inode = inode.clone();
            self.then(step, move |_| inode.update(|s| s.opaque = true));
        }
        redirect.is_none_or(|form| self.set_redirect(inode, object, form))
    }

    /// Stores the redirect that an object needs unless it has one that does (rules R166, R167). If none
    /// can be stored, the plan ends there; what precedes it is done, as by the kernel. Answers
    /// whether it goes on.
    pub(crate) fn set_redirect(&mut self, inode: &Arc<Inode>, object: Obj, form: Form) -> bool {
        match redirect::to_store(Upwards(Some(inode.clone())), form) {
            Ok(None) => true,
            Ok(Some(value)) => {
                let stored: Arc<[u8]> = Arc::from(&*value);
                let step = rename::set_redirect(&mut self.plan, object, value);
                let inode = inode.clone();
                self.then(step, move |_| inode.update(|s| s.redirect = Some(stored)));
                true
            }
            Err(errno) => {
                let what = "the path to redirect to is too long";
                self.refusal = Some(Fail::rule(errno, "R155").with_detail(what));
                false
            }
        }
    }

    /// Renames (rules R139 to R155). Answers whether anything was to do.
    pub(crate) fn rename(
        &mut self,
        old: &Target,
        new: &Target,
        flags: RenameFlags,
        wants_dir: (bool, bool),
    ) -> Res<bool> {
        let core = self.core;
        let source = old.inode()?.clone();
        let same_dir = Arc::ptr_eq(&old.dir, &new.dir);
        let mut facts = rename::Facts {
            old: self.side(old, false)?,
            new: self.side(new, false)?,
            same_dir,
            flags,
            features: core.features,
        };
        let same = new.found.inode().is_some_and(|other| source.is_same(other));
        let new_in_old = source.is_dir() && new.dir.is_within(&source);
        let old_in_new = new
            .found
            .inode()
            .is_some_and(|n| n.is_dir() && old.dir.is_within(n));
        if !rename::check(&facts, same, new_in_old, old_in_new, wants_dir)? {
            return Ok(false);
        }
        self.permit_rename(old, new, &facts)?;
        rename::check_flags(&facts)?;
        rename::can_move(&facts).map_err(|e| Fail::rule(e, "R141"))?;
        let mut whiteouts = Vec::new();
        if rename::checks_target_empty(&facts)
            && let Some(inode) = new.found.inode()
        {
            let emptiness = core.emptiness(inode)?;
            if !emptiness.empty {
                return Err(Fail::rule(Errno::ENOTEMPTY, "R143"));
            }
            whiteouts = emptiness.upper_whiteouts;
        }
        facts.old.lower_positive = core.is_lower_positive(&old.dir, &old.name, &old.found)?;
        facts.old.origin = self.will_have_origin(&source)?;
        if let Some(inode) = new.found.inode() {
            facts.new.origin = self.will_have_origin(inode)?;
        }
        let decision = rename::decide(&facts);
        if whiteouts.is_empty() {
            // Clearing the target comes first, and its failure is `EIO`.
            self.unstorable = Errno::EXDEV;
        }
        let old_obj = self.upper(&source, Data::Attributes)?;
        let new_dir = self.upper(&new.dir, Data::Attributes)?;
        let old_dir = self.upper(&old.dir, Data::Attributes)?;
        let to = Place {
            dir: new_dir,
            name: new.name.clone(),
        };
        let from = Place {
            dir: old_dir,
            name: old.name.clone(),
        };
        let new_obj = match new.found.inode() {
            Some(inode) if flags.exchange => Some(self.upper(inode, Data::Attributes)?),
            _ => None,
        };
        let replaced = new.found.inode().filter(|_| !flags.exchange).cloned();
        let counted = match &replaced {
            Some(inode) => {
                let state = inode.state();
                Some((inode.clone(), state, self.count_names(inode)?))
            }
            None => None,
        };
        if let Some(inode) = new.found.inode()
            && let Some(node) = inode.upper()
            && !whiteouts.is_empty()
        {
            // With a redirect that is too long nothing follows, and the directory stays cleared.
            let ends = decision.redirect_old.is_some_and(|form| {
                redirect::to_store(Upwards(Some(source.clone())), form).is_err()
            });
            let parent = (!ends).then_some(&new.dir);
            self.clear(inode, &node, (parent, to.clone()), whiteouts)?;
        }
        if decision.new_parent_impure {
            self.mark_impure(&new.dir, new_dir);
        }
        if decision.old_parent_impure {
            self.mark_impure(&old.dir, old_dir);
        }
        let other = new.found.inode().cloned();
        let ready = self.mark_moved(&source, old_obj, decision.opaque_old, decision.redirect_old)
            && match (&other, new_obj) {
                (Some(other), Some(obj)) => {
                    self.mark_moved(other, obj, decision.opaque_new, decision.redirect_new)
                }
                _ => true,
            };
        if !ready {
            return Ok(true);
        }
        let steps = rename::plan(&mut self.plan, decision, old_obj, from, to);
        if let Some((marked, unmarked)) = steps.hidden {
            for (step, mark) in [(marked, true), (unmarked, false)] {
                let dir = old.dir.clone();
                self.then(step, move |_| dir.update(|s| s.origin_mark = mark));
            }
        }
        if let Some((inode, state, counted)) = counted {
            self.drop_name(steps.commit, &inode, &state, counted)?;
        }
        let (old, new) = (old.clone(), new.clone());
        let recent = self.core.recent.clone();
        self.then(steps.commit, move |_| {
            moved(&source, other.as_ref(), &old, &new, flags.exchange, &recent)
        });
        Ok(true)
    }
}

/// An object and the directories above it, up to the root.
struct Upwards(Option<Arc<Inode>>);

impl Iterator for Upwards {
    type Item = Level;
    fn next(&mut self) -> Option<Level> {
        let inode = self.0.take()?;
        let (parent, name) = match inode.place() {
            InodePlace::At(parent, name) | InodePlace::Gone(Some((parent, name))) => (parent, name),
            InodePlace::Root | InodePlace::Gone(None) => return None,
        };
        self.0 = Some(parent);
        Some(Level {
            name,
            redirect: inode.state().redirect,
        })
    }
}

/// After a rename: names and places follow.
fn moved(
    source: &Arc<Inode>,
    other: Option<&Arc<Inode>>,
    old: &Target,
    new: &Target,
    exchange: bool,
    recent: &Recent,
) {
    old.dir.forget(&old.name);
    new.dir.forget(&new.name);
    if let Some(other) = other {
        if exchange {
            other.set_place(InodePlace::At(old.dir.clone(), old.name.clone()));
            old.dir.set_child(&old.name, other);
        } else {
            unname(other, &new.dir, &new.name, recent);
        }
    }
    source.set_place(InodePlace::At(new.dir.clone(), new.name.clone()));
    new.dir.set_child(&new.name, source);
}
