//! What a caller may do, as `path_resolution(7)`, `acl(5)`, `capabilities(7)` and the manual pages of the
//! calls have it, and what inode flags (`chattr(1)`) forbid to everybody.

use super::acl::Acl;
use super::attrs::{ACCESS_ACL, CAPABILITY};
use super::{Id, Kind, Node, ReferenceModel};
use crate::credentials::{CapabilitySet, Credentials};
use crate::errno::Errno;
use crate::meta::InodeFlags;
use crate::op::{Op, Outcome};
use crate::xattr_name::XattrName;

pub(super) const READ: u32 = 4;
pub(super) const WRITE: u32 = 2;
/// Execute a file, search a directory.
pub(super) const SEARCH: u32 = 1;

pub(super) const S_ISUID: u32 = 0o4000;
pub(super) const S_ISGID: u32 = 0o2000;
const S_ISVTX: u32 = 0o1000;
pub(super) const S_IXGRP: u32 = 0o0010;

impl ReferenceModel {
    /// Runs one operation as somebody else.
    pub(super) fn run_as(&mut self, caller: &Credentials, op: &Op) -> Result<Outcome, Errno> {
        let own = std::mem::replace(&mut self.caller, caller.clone());
        let answer = self.dispatch(op);
        self.caller = own;
        answer
    }

    fn capable(&self, capability: CapabilitySet) -> bool {
        self.caller.capabilities.contains(capability)
    }

    fn in_group(&self, gid: u32) -> bool {
        self.caller.gid == gid || self.caller.groups.contains(&gid)
    }

    /// Whether the caller owns the node, or may do what is the owner's to do.
    pub(super) fn owns(&self, id: Id) -> bool {
        self.caller.uid == self.nodes[id].uid || self.capable(CapabilitySet::FOWNER)
    }

    /// Whether set-group-id of something of this group may be had from the caller.
    pub(super) fn may_set_gid(&self, gid: u32) -> bool {
        self.in_group(gid) || self.capable(CapabilitySet::FSETID)
    }

    /// The caller may do all of `want` to the node.
    pub(super) fn may(&self, id: Id, want: u32) -> Result<(), Errno> {
        let node = &self.nodes[id];
        if want & WRITE != 0 && node.flags.immutable {
            return Err(Errno::EPERM);
        }
        match self.grants(node, want) || self.overrides(node, want) {
            true => Ok(()),
            false => Err(Errno::EACCES),
        }
    }

    /// What mode and access list say. Linux asks a list only where the mode gives the group something.
    fn grants(&self, node: &Node, want: u32) -> bool {
        let within = |bits: u32| want & !bits == 0;
        if self.caller.uid == node.uid {
            return within(node.mode >> 6);
        }
        let list = match node.xattrs.get(ACCESS_ACL) {
            Some(value) if node.mode & 0o070 != 0 => Acl::parse(value).ok().flatten(),
            _ => None,
        };
        match list {
            Some(list) => list.grants(want, self.caller.uid, node.gid, |group| {
                self.in_group(group)
            }),
            None if self.in_group(node.gid) => within(node.mode >> 3),
            None => within(node.mode),
        }
    }

    /// `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH`.
    fn overrides(&self, node: &Node, want: u32) -> bool {
        let is_dir = matches!(node.kind, Kind::Dir { .. });
        let reads = match is_dir {
            true => want & WRITE == 0,
            false => want == READ,
        };
        let executable = is_dir || node.mode & 0o111 != 0;
        (reads && self.capable(CapabilitySet::DAC_READ_SEARCH))
            || ((want & SEARCH == 0 || executable) && self.capable(CapabilitySet::DAC_OVERRIDE))
    }

    /// A name may be put into the directory.
    pub(super) fn may_add(&self, dir: Id) -> Result<(), Errno> {
        self.may(dir, WRITE | SEARCH)
    }

    /// The node's name in the directory may be taken away: in a sticky one by the owner of either.
    pub(super) fn may_take(&self, dir: Id, id: Id) -> Result<(), Errno> {
        self.may(dir, WRITE | SEARCH)?;
        if self.nodes[dir].flags.append {
            return Err(Errno::EPERM);
        }
        let sticky = self.nodes[dir].mode & S_ISVTX != 0;
        if sticky && self.caller.uid != self.nodes[dir].uid && !self.owns(id) {
            return Err(Errno::EPERM);
        }
        self.unprotected(id)
    }

    /// Another name may be made for the node (as with `fs.protected_hardlinks=1`): by its owner, or if it is
    /// a file that the caller could change anyway, and gets no rights from.
    pub(super) fn may_link(&self, id: Id) -> Result<(), Errno> {
        let node = &self.nodes[id];
        let runs_as_group = node.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP;
        let harmless = matches!(node.kind, Kind::File(_))
            && node.mode & S_ISUID == 0
            && !runs_as_group
            && self.may(id, READ | WRITE).is_ok();
        match harmless || self.owns(id) {
            true => Ok(()),
            false => Err(Errno::EPERM),
        }
    }

    /// Neither immutable nor append-only.
    pub(super) fn unprotected(&self, id: Id) -> Result<(), Errno> {
        let flags = self.nodes[id].flags;
        match flags.append || flags.immutable {
            true => Err(Errno::EPERM),
            false => Ok(()),
        }
    }

    /// `chown(2)`: owners may give a file to a group that they are in, and say what is so already.
    pub(super) fn may_chown(
        &self,
        id: Id,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Result<(), Errno> {
        let node = &self.nodes[id];
        let own = self.caller.uid == node.uid;
        let uid_stays = uid.is_none_or(|uid| own && uid == node.uid);
        let gid_his = gid.is_none_or(|gid| own && (gid == node.gid || self.in_group(gid)));
        match (uid_stays && gid_his) || self.capable(CapabilitySet::CHOWN) {
            true => Ok(()),
            false => Err(Errno::EPERM),
        }
    }

    /// The mode without what is lost when content or owner change: set-user-id, and set-group-id of what
    /// its group may execute, or of a group that is not the caller's.
    pub(super) fn without_set_id(&self, id: Id) -> u32 {
        let node = &self.nodes[id];
        let mode = node.mode & !S_ISUID;
        match mode & S_IXGRP == 0 && self.may_set_gid(node.gid) {
            true => mode,
            false => mode & !S_ISGID,
        }
    }

    /// The mode after the caller has changed the content.
    pub(super) fn mode_after_write(&self, id: Id) -> u32 {
        match self.capable(CapabilitySet::FSETID) {
            true => self.nodes[id].mode,
            false => self.without_set_id(id),
        }
    }

    /// Devices are made by the privileged.
    pub(super) fn may_make_device(&self) -> Result<(), Errno> {
        match self.capable(CapabilitySet::MKNOD) {
            true => Ok(()),
            false => Err(Errno::EPERM),
        }
    }

    /// `xattr(7)`: who may read or write an attribute of this name. What a node cannot have is not there,
    /// and cannot be set.
    pub(super) fn may_use_xattr(&self, id: Id, name: &XattrName, write: bool) -> Result<(), Errno> {
        let node = &self.nodes[id];
        let name = name.as_bytes();
        let refused = if write { Errno::EPERM } else { Errno::ENODATA };
        let needed = match name {
            CAPABILITY => CapabilitySet::SETFCAP,
            _ => CapabilitySet::SYS_ADMIN,
        };
        if name.starts_with(b"security.") {
            return match !write || self.capable(needed) {
                true => Ok(()),
                false => Err(refused),
            };
        }
        if name.starts_with(b"trusted.") {
            return match self.capable(needed) {
                true => Ok(()),
                false => Err(refused),
            };
        }
        if name.starts_with(b"user.") {
            let sticky = node.mode & S_ISVTX != 0;
            match node.kind {
                Kind::Dir { .. } if write && sticky && !self.owns(id) => return Err(refused),
                Kind::Dir { .. } | Kind::File(_) => {}
                _ => return Err(refused),
            }
        }
        self.may(id, if write { WRITE } else { READ })
    }

    /// The names that a list shows to the caller.
    pub(super) fn list_xattrs(&self, id: Id) -> Vec<XattrName> {
        let all = self.capable(CapabilitySet::SYS_ADMIN);
        let shown = |name: &&XattrName| all || !name.as_bytes().starts_with(b"trusted.");
        let names = self.nodes[id].xattrs.keys();
        names.filter(shown).cloned().collect()
    }

    /// `FS_IOC_GETFLAGS`, on what was opened for reading.
    pub(super) fn flags(&self, id: Id) -> Result<InodeFlags, Errno> {
        self.may(id, READ)?;
        match self.nodes[id].kind {
            Kind::File(_) | Kind::Dir { .. } => Ok(self.nodes[id].flags),
            _ => Err(Errno::ENOTTY),
        }
    }

    /// `FS_IOC_SETFLAGS`: the owner's to do; what protects only the privileged change.
    pub(super) fn set_flags(&mut self, id: Id, flags: InodeFlags) -> Result<(), Errno> {
        let old = self.flags(id)?;
        self.writable()?;
        let protects = (old.append, old.immutable) != (flags.append, flags.immutable);
        if !self.owns(id) || (protects && !self.capable(CapabilitySet::LINUX_IMMUTABLE)) {
            return Err(Errno::EPERM);
        }
        self.touch(id)?;
        let now = self.clock;
        let node = &mut self.nodes[id];
        (node.flags, node.ctime) = (flags, now);
        Ok(())
    }
}
