//! Owner, mode, times and extended attributes.

use super::acl::Acl;
use super::rights::{READ, S_ISGID, SEARCH, WRITE};
use super::{Id, Kind, ReferenceModel};
use crate::backend::XattrMode;
use crate::errno::Errno;
use crate::meta::{SetAttr, SetTime, Timestamp};
use crate::op::AccessMode;
use crate::xattr_name::XattrName;

pub(super) const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
pub(super) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";
pub(super) const CAPABILITY: &[u8] = b"security.capability";

/// Largest value of an attribute in bytes (`XATTR_SIZE_MAX`).
const VALUE_BYTES_MAX: usize = 65536;
/// Longest name of an attribute in bytes (`XATTR_NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;

impl ReferenceModel {
    /// `access(2)`.
    pub(super) fn access(&self, id: Id, mode: AccessMode) -> Result<(), Errno> {
        // What is written to a fifo, socket or device does not go to the tree.
        if mode.write && !matches!(self.nodes[id].kind, Kind::Special(..)) {
            self.writable()?;
        }
        let wanted = [
            (mode.read, READ),
            (mode.write, WRITE),
            (mode.execute, SEARCH),
        ];
        let want = wanted.iter().filter(|(on, _)| *on).map(|(_, bit)| bit);
        self.may(id, want.sum())
    }

    /// `chown`, `chmod`, `utimensat`, each if asked for.
    pub(super) fn set_attr(&mut self, id: Id, attr: &SetAttr) -> Result<(), Errno> {
        if attr.uid.is_some() || attr.gid.is_some() {
            self.chown(id, attr.uid, attr.gid)?;
        }
        if let Some(mode) = attr.mode {
            self.chmod(id, mode)?;
        }
        if (attr.atime, attr.mtime) != (SetTime::Omit, SetTime::Omit) {
            self.set_times(id, attr.atime, attr.mtime)?;
        }
        Ok(())
    }

    /// Set-id bits and capabilities of anything but a directory fall; that a mode changes is the owner's
    /// to do.
    fn chown(&mut self, id: Id, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        self.writable()?;
        self.unprotected(id)?;
        self.may_chown(id, uid, gid)?;
        let is_dir = self.is_dir(id);
        let mode = match is_dir {
            true => self.nodes[id].mode,
            false => self.without_set_id(id),
        };
        if mode != self.nodes[id].mode && !self.owns(id) {
            return Err(Errno::EPERM);
        }
        self.touch(id)?;
        let now = self.clock;
        let node = &mut self.nodes[id];
        node.uid = uid.unwrap_or(node.uid);
        node.gid = gid.unwrap_or(node.gid);
        node.mode = mode;
        if !is_dir {
            node.xattrs.remove(CAPABILITY);
        }
        // A symlink shows all permissions.
        if matches!(node.kind, Kind::Symlink(_)) {
            node.mode = 0o777;
        }
        node.ctime = now;
        Ok(())
    }

    pub(super) fn chmod(&mut self, id: Id, mode: u32) -> Result<(), Errno> {
        if matches!(self.nodes[id].kind, Kind::Symlink(_)) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.writable()?;
        self.unprotected(id)?;
        if !self.owns(id) {
            return Err(Errno::EPERM);
        }
        let mode = match self.may_set_gid(self.nodes[id].gid) {
            true => mode,
            false => mode & !S_ISGID,
        };
        self.touch(id)?;
        let now = self.clock;
        let node = &mut self.nodes[id];
        node.mode = mode & 0o7777;
        if let Some(value) = node.xattrs.get_mut(ACCESS_ACL)
            && let Some(mut acl) = Acl::parse(value)?
        {
            acl.chmod(mode);
            *value = acl.to_bytes();
        }
        node.ctime = now;
        Ok(())
    }

    fn set_times(&mut self, id: Id, atime: SetTime, mtime: SetTime) -> Result<(), Errno> {
        let now = self.clock;
        let time = |set: SetTime, old: Timestamp| match set {
            SetTime::Omit => Ok(old),
            SetTime::Now => Ok(now),
            SetTime::At(at) if at.nanos < 1_000_000_000 => Ok(at),
            SetTime::At(_) => Err(Errno::EINVAL),
        };
        let node = &self.nodes[id];
        let touches = (atime, mtime) == (SetTime::Now, SetTime::Now);
        let (atime, mtime) = (time(atime, node.atime)?, time(mtime, node.mtime)?);
        self.writable()?;
        // That it is used now may say who may use it.
        match touches {
            true if self.nodes[id].flags.immutable => return Err(Errno::EPERM),
            true if !self.owns(id) => self.may(id, WRITE)?,
            true => {}
            false => {
                self.unprotected(id)?;
                if !self.owns(id) {
                    return Err(Errno::EPERM);
                }
            }
        }
        self.touch(id)?;
        let node = &mut self.nodes[id];
        (node.atime, node.mtime, node.ctime) = (atime, mtime, now);
        Ok(())
    }

    /// What the name means, before any node is looked at.
    fn check_name(&self, name: &XattrName) -> Result<(), Errno> {
        let bytes = name.as_bytes();
        let Some(namespace) = self.weak.namespace else {
            return Ok(());
        };
        match bytes.strip_prefix(namespace.prefix().as_bytes()) {
            Some(b"") => Err(Errno::EINVAL),
            Some(_) if bytes.len() + b"overlay.".len() > NAME_BYTES_MAX => Err(Errno::EOPNOTSUPP),
            _ => Ok(()),
        }
    }

    pub(super) fn get_xattr(&self, id: Id, name: &XattrName) -> Result<Vec<u8>, Errno> {
        if is_acl(name) {
            if matches!(self.nodes[id].kind, Kind::Symlink(_)) {
                return Err(Errno::EOPNOTSUPP);
            }
        } else {
            self.may_use_xattr(id, name, false)?;
            self.check_name(name)?;
            known(name)?;
        }
        let value = self.nodes[id].xattrs.get(name);
        value.cloned().ok_or(Errno::ENODATA)
    }

    pub(super) fn set_xattr(
        &mut self,
        id: Id,
        name: &XattrName,
        value: &[u8],
        mode: XattrMode,
    ) -> Result<(), Errno> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(Errno::E2BIG);
        }
        self.writable()?;
        if is_acl(name) {
            return self.set_acl(id, name, Acl::parse(value)?);
        }
        self.unprotected(id)?;
        // Version 2 or 3 of the kernel's structure, each with its size.
        let is_capability = matches!((value.len(), value.get(3)), (20, Some(2)) | (24, Some(3)));
        if name.as_bytes() == CAPABILITY && !is_capability {
            return Err(Errno::EINVAL);
        }
        self.may_use_xattr(id, name, true)?;
        self.check_name(name)?;
        self.touch(id)?;
        known(name)?;
        let is_set = self.nodes[id].xattrs.contains_key(name);
        match mode {
            XattrMode::Create if is_set => return Err(Errno::EEXIST),
            XattrMode::Replace if !is_set => return Err(Errno::ENODATA),
            _ => {}
        }
        self.store(id, name, Some(value.to_vec()));
        Ok(())
    }

    pub(super) fn remove_xattr(&mut self, id: Id, name: &XattrName) -> Result<(), Errno> {
        self.writable()?;
        if is_acl(name) {
            return self.set_acl(id, name, None);
        }
        self.unprotected(id)?;
        self.may_use_xattr(id, name, true)?;
        self.check_name(name)?;
        known(name)?;
        if !self.nodes[id].xattrs.contains_key(name) {
            return Err(Errno::ENODATA);
        }
        self.touch(id)?;
        self.store(id, name, None);
        Ok(())
    }

    fn store(&mut self, id: Id, name: &XattrName, value: Option<Vec<u8>>) {
        let now = self.clock;
        let node = &mut self.nodes[id];
        match value {
            Some(value) => node.xattrs.insert(name.clone(), value),
            None => node.xattrs.remove(name),
        };
        node.ctime = now;
    }

    /// A list that says no more than the mode is not stored; an access list sets the mode.
    fn set_acl(&mut self, id: Id, name: &XattrName, acl: Option<Acl>) -> Result<(), Errno> {
        let default = name.as_bytes() == DEFAULT_ACL;
        self.unprotected(id)?;
        if matches!(self.nodes[id].kind, Kind::Symlink(_)) {
            return Err(Errno::EOPNOTSUPP);
        }
        if default && !self.is_dir(id) {
            return acl.map_or(Ok(()), |_| Err(Errno::EACCES));
        }
        if !self.owns(id) {
            return Err(Errno::EPERM);
        }
        if acl.as_ref().is_some_and(|acl| !acl.is_valid()) {
            return Err(Errno::EINVAL);
        }
        let sets_gid = self.may_set_gid(self.nodes[id].gid);
        let has_gid = self.nodes[id].mode & S_ISGID != 0;
        let clears = self.weak.acl_removal_clears_set_gid && !default;
        if acl.is_none() && has_gid && !sets_gid && clears {
            self.touch(id)?;
            let now = self.clock;
            let node = &mut self.nodes[id];
            (node.mode, node.ctime) = (node.mode & !S_ISGID, now);
        }
        if acl.is_none() && !self.nodes[id].xattrs.contains_key(name) {
            return Ok(());
        }
        self.touch(id)?;
        let value = match &acl {
            Some(acl) if default => Some(acl.to_bytes()),
            Some(acl) => {
                let node = &mut self.nodes[id];
                node.mode = node.mode & !0o777 | acl.mode();
                if !sets_gid {
                    node.mode &= !S_ISGID;
                }
                (!acl.is_minimal()).then(|| acl.to_bytes())
            }
            None => None,
        };
        self.store(id, name, value);
        Ok(())
    }
}

fn is_acl(name: &XattrName) -> bool {
    matches!(name.as_bytes(), ACCESS_ACL | DEFAULT_ACL)
}

/// There are three namespaces, and a name has something behind its prefix.
fn known(name: &XattrName) -> Result<(), Errno> {
    let prefixes: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    let rest = prefixes
        .iter()
        .find_map(|p| name.as_bytes().strip_prefix(*p));
    match rest {
        Some(b"") => Err(Errno::EINVAL),
        Some(_) => Ok(()),
        None => Err(Errno::EOPNOTSUPP),
    }
}
