//! Owner, mode, times and extended attributes.

use super::acl::Acl;
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

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o0010;

impl ReferenceModel {
    /// `access(2)` of root, who may do all but execute what nobody may.
    pub(super) fn access(&self, id: Id, mode: AccessMode) -> Result<(), Errno> {
        let node = &self.nodes[id];
        // What is written to a fifo, socket or device does not go to the tree.
        if mode.write && !matches!(node.kind, Kind::Special(..)) {
            self.writable()?;
        }
        let executable = self.is_dir(id) || node.mode & 0o111 != 0;
        match mode.execute && !executable {
            true => Err(Errno::EACCES),
            false => Ok(()),
        }
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

    /// Set-id bits and capabilities of anything but a directory fall, set-group-id only where the
    /// group may execute.
    fn chown(&mut self, id: Id, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        self.writable()?;
        self.touch(id)?;
        let now = self.clock;
        let node = &mut self.nodes[id];
        node.uid = uid.unwrap_or(node.uid);
        node.gid = gid.unwrap_or(node.gid);
        if !matches!(node.kind, Kind::Dir { .. }) {
            node.mode &= !S_ISUID;
            if node.mode & S_IXGRP != 0 {
                node.mode &= !S_ISGID;
            }
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
        let (atime, mtime) = (time(atime, node.atime)?, time(mtime, node.mtime)?);
        self.writable()?;
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

    /// `user.` is for regular files and directories.
    fn may_have(&self, id: Id, name: &XattrName) -> bool {
        let file_or_dir = matches!(self.nodes[id].kind, Kind::File(_) | Kind::Dir { .. });
        file_or_dir || !name.as_bytes().starts_with(b"user.")
    }

    pub(super) fn get_xattr(&self, id: Id, name: &XattrName) -> Result<Vec<u8>, Errno> {
        if is_acl(name) {
            if matches!(self.nodes[id].kind, Kind::Symlink(_)) {
                return Err(Errno::EOPNOTSUPP);
            }
        } else {
            if !self.may_have(id, name) {
                return Err(Errno::ENODATA);
            }
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
        if !self.may_have(id, name) {
            return Err(Errno::EPERM);
        }
        // Version 2 or 3 of the kernel's structure, each with its size.
        let is_capability = matches!((value.len(), value.get(3)), (20, Some(2)) | (24, Some(3)));
        if name.as_bytes() == CAPABILITY && !is_capability {
            return Err(Errno::EINVAL);
        }
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
        if !self.may_have(id, name) {
            return Err(Errno::EPERM);
        }
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
        if matches!(self.nodes[id].kind, Kind::Symlink(_)) {
            return Err(Errno::EOPNOTSUPP);
        }
        if default && !self.is_dir(id) {
            return acl.map_or(Ok(()), |_| Err(Errno::EACCES));
        }
        if acl.as_ref().is_some_and(|acl| !acl.is_valid()) {
            return Err(Errno::EINVAL);
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
