//! Inode flags (`chattr(1)`) of the merged tree (rules R205, R226, R227).
//!
//! Append-only and immutable are recorded in the upper as the overlay attribute `protattr`, so that
//! the upper itself stays changeable; the other flags are the upper's own.

use std::path::Path;
use std::sync::Arc;

use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::InodeFlags;
use crate::overlay::build::Build;
use crate::overlay::core::{Core, Fail, InLayer, Res};
use crate::overlay::inode::Inode;
use crate::overlay::ops::Run;
use crate::rules::attr;
use crate::rules::copy_up::Data;
use crate::rules::permission::Mask;
use crate::rules::plan::{Role, Step};
use crate::xattr_name::OverlayAttr;

impl Core {
    /// The flags that the union minds when something is to be changed: a lower's own, or those
    /// recorded when it was copied up or set since (rules R214, R227). Of the root only those set since it was
    /// opened: the kernel does not read what is recorded on it.
    pub(crate) fn flags(&self, inode: &Inode) -> Res<InodeFlags> {
        if let Some(flags) = inode.flags() {
            return Ok(flags);
        }
        if !has_flags(inode) {
            return Ok(InodeFlags::default());
        }
        let state = inode.state();
        let real = state.real().ok_or(Errno::ENOENT)?;
        let mut flags = real.flags().in_layer(self.real_layer(&state))?;
        if let (Some(upper), false) = (&state.upper, self.is_root(inode)) {
            let value = upper
                .overlay_attr(OverlayAttr::Protattr)
                .in_layer(LayerId::Upper)?;
            let recorded = attr::parse_protattr(&value.unwrap_or_default());
            flags.append |= recorded.append;
            flags.immutable |= recorded.immutable;
        }
        inode.set_flags(Some(flags));
        Ok(flags)
    }

    /// The flags that the union shows: those of the real object now, and those recorded.
    pub(crate) fn shown_flags(&self, inode: &Inode) -> Res<InodeFlags> {
        if !has_flags(inode) {
            return Err(Errno::ENOTTY.into());
        }
        let minded = self.flags(inode)?;
        let state = inode.state();
        let real = state.real().ok_or(Errno::ENOENT)?;
        let real = real.flags().in_layer(self.real_layer(&state))?;
        Ok(InodeFlags {
            append: real.append || minded.append,
            immutable: real.immutable || minded.immutable,
            ..real
        })
    }

    /// The object that `path` names, opened for reading as `lsattr(1)` and `chattr(1)` do, who find no
    /// flags on what is not opened here (deviation `OPEN-1`). Call with the tree's lock held.
    pub(crate) fn opened_for_flags(&self, base: &Arc<Inode>, path: &Path) -> Res<Arc<Inode>> {
        let inode = self.walk_path(base, path, true)?;
        self.allow(&inode, Mask::READ)?;
        match has_flags(&inode) {
            true => Ok(inode),
            false => Err(Errno::ENOTTY.into()),
        }
    }

    /// Sets the flags of what `path` names.
    pub(crate) fn set_flags_at(
        &self,
        run: Run<'_, '_>,
        base: &Arc<Inode>,
        path: &Path,
        flags: InodeFlags,
    ) -> Res<()> {
        self.run(run, |b| {
            let inode = self.opened_for_flags(base, path)?;
            b.set_flags(&inode, flags)
        })
    }
}

impl Core {
    fn is_root(&self, inode: &Inode) -> bool {
        inode.is_same(self.root())
    }
}

fn has_flags(inode: &Inode) -> bool {
    inode.file_type.is_file() || inode.is_dir()
}

impl Build<'_> {
    /// Sets the flags of an object (rule R205).
    pub(crate) fn set_flags(&mut self, inode: &Arc<Inode>, flags: InodeFlags) -> Res<()> {
        let core = self.core;
        core.upper()?;
        let (_, _, meta) = core.real(inode)?;
        let old = match has_flags(inode) {
            true => core.shown_flags(inode)?,
            false => InodeFlags::default(),
        };
        attr::may_set_flags(core.caller(), &meta, old, flags)
            .map_err(|errno| Fail::rule(errno, "R205"))?;
        let minded = core.flags(inode)?;
        let object = self.upper(inode, Data::Attributes)?;
        let value = attr::protattr(flags);
        if value.is_some() && !core.stores_overlay_attrs() {
            return Err(Fail::rule(Errno::EPERM, "R227"));
        }
        // A value that counts for nothing stays, as in the kernel.
        if value.is_some() || (core.stores_overlay_attrs() && attr::protattr(minded).is_some()) {
            let attr = OverlayAttr::Protattr;
            let role = match value {
                Some(_) => Role::Neutral,
                // Not there if the upper itself had the flags.
                None => Role::BestEffort,
            };
            let step = Step::SetOverlay {
                object,
                attr,
                value,
            };
            self.plan.push(role, step);
        }
        let own = InodeFlags {
            append: false,
            immutable: false,
            ..flags
        };
        let commit = self
            .plan
            .push(Role::Commit, Step::SetFlags { object, flags: own });
        let (inode, known) = (inode.clone(), core.is_root(inode).then_some(flags));
        if known.is_none() {
            // Also if the upper refuses its own flags, the recorded ones count.
            inode.set_flags(None);
        }
        self.then(commit, move |_| inode.set_flags(known));
        Ok(())
    }
}
