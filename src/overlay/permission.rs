//! The facts for the checks of callers: attributes, flags and access lists of the objects shown.
//!
//! Refused operations copy nothing up (rule R213), as all of this runs before a plan has its first
//! step.

use std::sync::Arc;

use crate::acl::{self, Acl};
use crate::backend::NodeRef;
use crate::credentials::Credentials;
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::{Metadata, SetAttr};
use crate::overlay::core::{Core, Fail, InLayer, Res};
use crate::overlay::inode::Inode;
use crate::overlay::mutate::Target;
use crate::rules::attr::{Change, permits};
use crate::rules::permission::{self, Mask};
use crate::xattr_name::XattrName;

/// A refusal by the caller's rights.
fn refused(errno: Errno) -> Fail {
    Fail::rule(errno, "R286")
}

impl Core {
    pub(crate) fn caller(&self) -> Option<&Credentials> {
        self.caller.as_deref()
    }

    /// The object that gives the attributes, its layer, and they themselves.
    pub(crate) fn real(&self, inode: &Inode) -> Res<(NodeRef, LayerId, Metadata)> {
        let state = inode.state();
        let layer = self.real_layer(&state);
        let real = state.real().ok_or(Errno::ENOENT)?.clone();
        let meta = real.metadata().in_layer(layer)?;
        Ok((real, layer, meta))
    }

    /// Refuses a change that an object's flags do not permit.
    pub(crate) fn permit(&self, inode: &Inode, change: Change) -> Res<()> {
        permits(self.flags(inode)?, change).map_err(|e| Fail::rule(e, "R214"))
    }

    /// The VFS's check of access: an immutable object is not written to (`EPERM`), then owner,
    /// mode, access list and capabilities decide (`EACCES`).
    pub(crate) fn allow(&self, inode: &Inode, mask: Mask) -> Res<()> {
        if mask.writes() {
            self.permit(inode, Change::Any)?;
        }
        match self.caller() {
            Some(caller) => self.allow_caller(caller, inode, mask),
            None => Ok(()),
        }
    }

    /// As [`Core::allow`] without the flags.
    fn allow_caller(&self, caller: &Credentials, inode: &Inode, mask: Mask) -> Res<()> {
        let (real, layer, meta) = self.real(inode)?;
        let mut list = None;
        if permission::needs_acl(caller, &meta, mask)
            && let Some(value) = real.xattr(&XattrName::new(acl::ACCESS)?).in_layer(layer)?
        {
            list = Acl::parse(&value).map_err(|e| Fail {
                layer: Some(layer),
                ..e.into()
            })?;
        }
        permission::access(caller, &meta, list.as_ref(), mask).map_err(refused)
    }

    /// `access(2)`: the mounter is asked as root is, who cannot execute what nobody can.
    pub(crate) fn access(&self, inode: &Inode, mask: Mask) -> Res<()> {
        let special = inode.file_type.is_special();
        if mask.writes() {
            if !special {
                self.upper()?;
            }
            self.permit(inode, Change::Any)?;
        }
        let root = Credentials::root();
        self.allow_caller(self.caller().unwrap_or(&root), inode, mask)
    }

    /// Names may be added to the directory.
    pub(crate) fn may_add(&self, dir: &Inode) -> Res<()> {
        self.allow(dir, Mask::ENTRIES)
    }

    /// The name may be taken away (`may_delete`), by what kind of object it is aside.
    pub(crate) fn may_take(&self, target: &Target) -> Res<()> {
        let object = target.inode()?;
        self.allow(&target.dir, Mask::ENTRIES)?;
        self.permit(&target.dir, Change::RemoveEntry)?;
        if let Some(caller) = self.caller() {
            let (_, _, dir) = self.real(&target.dir)?;
            // Only a sticky directory asks for more.
            if permission::may_take_from(caller, &dir, &dir).is_err() {
                let (_, _, meta) = self.real(object)?;
                permission::may_take_from(caller, &dir, &meta).map_err(refused)?;
            }
        }
        self.permit(object, Change::Name)
    }

    /// The object may get one more name, as far as its owner and mode are concerned: what one cannot
    /// change is not linked, as with `fs.protected_hardlinks=1` (deviation PROT-1).
    pub(crate) fn may_link(&self, object: &Inode) -> Res<()> {
        let Some(caller) = self.caller() else {
            return Ok(());
        };
        let (_, _, meta) = self.real(object)?;
        if permission::is_owner(Some(caller), &meta) {
            return Ok(());
        }
        match permission::is_linked_freely(&meta) && self.allow(object, Mask::UPDATE).is_ok() {
            true => Ok(()),
            false => Err(refused(Errno::EPERM)),
        }
    }

    /// Whether the caller owns the object or may act as its owner.
    pub(crate) fn is_owner(&self, inode: &Inode) -> Res<bool> {
        match self.caller() {
            None => Ok(true),
            caller => Ok(permission::is_owner(caller, &self.real(inode)?.2)),
        }
    }

    /// Checks the caller before an attribute is set or removed, after the flags.
    pub(crate) fn may_write_xattr(&self, inode: &Inode, name: &XattrName) -> Res<()> {
        let Some(caller) = self.caller() else {
            return Ok(());
        };
        let (_, _, meta) = self.real(inode)?;
        if permission::may_use_xattr(caller, &meta, name, true).map_err(refused)? {
            self.allow_caller(caller, inode, Mask::WRITE)?;
        }
        permission::may_write_security(caller, name).map_err(refused)
    }

    /// The value of an attribute, for the caller (rules R277, R279).
    pub(crate) fn read_xattr(&self, inode: &Inode, name: &XattrName) -> Res<Vec<u8>> {
        if let Some(caller) = self.caller() {
            let (_, _, meta) = self.real(inode)?;
            if permission::may_use_xattr(caller, &meta, name, false).map_err(refused)? {
                self.allow_caller(caller, inode, Mask::READ)?;
            }
        }
        self.xattr(inode, name)
    }

    /// The names of attributes that the caller is shown, sorted (rule R281).
    pub(crate) fn list_xattrs(&self, inode: &Inode) -> Res<Vec<XattrName>> {
        let mut names = self.xattrs(inode)?;
        names.retain(|name| permission::shows_xattr(self.caller(), name));
        Ok(names)
    }

    /// What a directory shows, to who opens it.
    pub(crate) fn read_dir(&self, dir: &Arc<Inode>) -> Res<Vec<crate::overlay::read::Listed>> {
        if dir.is_dir() {
            self.allow(dir, Mask::READ)?;
        }
        self.list(dir)
    }

    /// Takes the set-id bits of an upper file away that do not survive the caller's writing to it
    /// (rule R239). Comes before each write; what the mounter writes the upper itself minds.
    pub(crate) fn drop_privileges(&self, inode: &Inode) -> Res<()> {
        if self.caller.is_none() {
            return Ok(());
        }
        let (node, layer, meta) = self.real(inode)?;
        let Some(mode) = permission::mode_after_write(self.caller(), &meta) else {
            return Ok(());
        };
        if layer != LayerId::Upper {
            return Err(Errno::EROFS.into());
        }
        self.upper()?
            .set_attr(&node, &SetAttr::mode(mode))
            .in_layer(LayerId::Upper)
    }
}
