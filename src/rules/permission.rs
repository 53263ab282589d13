//! What a caller may do to the merged objects: the first of overlayfs' two checks (rules R286, R290),
//! as the VFS makes it. The second, of the mounter against the layers (R287, R288), is made by the
//! layers themselves.
//!
//! A caller of `None` is the mounter, who may do anything here.

use crate::acl::{Acl, Tag};
use crate::credentials::{CapabilitySet, Credentials};
use crate::errno::Errno;
use crate::meta::Metadata;
use crate::xattr_name::XattrName;

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_ISVTX: u32 = 0o1000;
const S_IXGRP: u32 = 0o010;

/// What is to be done to an object: some of reading, writing and executing (searching), as one digit
/// of a mode.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mask(u32);

impl Mask {
    pub(crate) const READ: Mask = Mask(4);
    pub(crate) const WRITE: Mask = Mask(2);
    pub(crate) const EXECUTE: Mask = Mask(1);
    /// To read and to write.
    pub(crate) const UPDATE: Mask = Mask(6);
    /// To change the names in a directory.
    pub(crate) const ENTRIES: Mask = Mask(3);

    pub(crate) const fn of(read: bool, write: bool, execute: bool) -> Mask {
        Mask((read as u32) << 2 | (write as u32) << 1 | execute as u32)
    }

    pub(crate) const fn writes(self) -> bool {
        self.0 & Mask::WRITE.0 != 0
    }

    const fn executes(self) -> bool {
        self.0 & Mask::EXECUTE.0 != 0
    }

    /// True if three bits of a mode grant all of it.
    const fn is_in(self, bits: u32) -> bool {
        self.0 & !bits == 0
    }
}

/// Whether the object's access list, if it has one, decides: capabilities do not, and the caller is
/// not the owner. Where the mode gives the group class nothing, the list could give nothing either and
/// is not asked.
pub(crate) fn needs_acl(caller: &Credentials, meta: &Metadata, mask: Mask) -> bool {
    caller.uid != meta.uid
        && meta.mode & 0o070 != 0
        && !meta.is_symlink()
        && !overrides(caller, meta, mask)
}

/// Checks access by owner, mode, access list and capabilities. `acl`: the object's, where it
/// [decides](needs_acl).
///
/// # Errors
/// `EACCES`; `EIO` for a list without an entry for others.
pub(crate) fn access(
    caller: &Credentials,
    meta: &Metadata,
    acl: Option<&Acl>,
    mask: Mask,
) -> Result<(), Errno> {
    let granted = match acl {
        _ if caller.uid == meta.uid => mask.is_in(meta.mode >> 6),
        Some(acl) if meta.mode & 0o070 != 0 => by_list(caller, meta, acl, mask)?,
        _ if caller.is_in_group(meta.gid) => mask.is_in(meta.mode >> 3),
        _ => mask.is_in(meta.mode),
    };
    match granted || overrides(caller, meta, mask) {
        true => Ok(()),
        false => Err(Errno::EACCES),
    }
}

/// Capabilities stand in for permissions; but nobody executes what nobody may execute.
fn overrides(caller: &Credentials, meta: &Metadata, mask: Mask) -> bool {
    let reads = caller.has(CapabilitySet::DAC_READ_SEARCH);
    let all = caller.has(CapabilitySet::DAC_OVERRIDE);
    if meta.is_dir() {
        return all || (reads && !mask.writes());
    }
    (reads && mask == Mask::READ) || (all && (!mask.executes() || meta.mode & 0o111 != 0))
}

/// What an access list says to who is not the owner: a named user's entry decides; then any of his
/// groups that grants all; then, if he is in none, the entry for others. The mask cuts all but the
/// last.
fn by_list(caller: &Credentials, meta: &Metadata, acl: &Acl, mask: Mask) -> Result<bool, Errno> {
    let cut = acl.entries.iter().find(|e| e.tag == Tag::Mask);
    let cut = cut.map_or(7, |e| u32::from(e.perm));
    let mut member = false;
    for entry in &acl.entries {
        let perm = u32::from(entry.perm);
        let group = match entry.tag {
            Tag::User(id) if id == caller.uid => return Ok(mask.is_in(perm & cut)),
            Tag::Other => return Ok(!member && mask.is_in(perm)),
            Tag::GroupObj => meta.gid,
            Tag::Group(id) => id,
            _ => continue,
        };
        if caller.is_in_group(group) {
            member = true;
            if mask.is_in(perm) {
                return Ok(mask.is_in(perm & cut));
            }
        }
    }
    Err(Errno::EIO)
}

/// Whether the caller may do what is the owner's to do.
pub(crate) fn is_owner(caller: Option<&Credentials>, meta: &Metadata) -> bool {
    caller.is_none_or(|c| c.uid == meta.uid || c.has(CapabilitySet::FOWNER))
}

/// Whether an object of this group may keep, or get, set-group-id at this caller's hands: he is in
/// the group, or has `CAP_FSETID`.
pub(crate) fn keeps_set_gid(caller: Option<&Credentials>, gid: u32) -> bool {
    caller.is_none_or(|c| c.is_in_group(gid) || c.has(CapabilitySet::FSETID))
}

/// The mode without what a change of content or owner takes away: set-user-id, and set-group-id of
/// what its group may execute or of a group that the caller is not in.
pub(crate) fn without_set_id(caller: Option<&Credentials>, meta: &Metadata) -> u32 {
    let mode = meta.mode & !S_ISUID;
    match mode & S_IXGRP == 0 && keeps_set_gid(caller, meta.gid) {
        true => mode,
        false => mode & !S_ISGID,
    }
}

/// The mode of a file after the caller has written to it (rule R239); `None`: it stays.
pub(crate) fn mode_after_write(caller: Option<&Credentials>, meta: &Metadata) -> Option<u32> {
    let keeps = caller.is_none_or(|c| c.has(CapabilitySet::FSETID));
    let mode = without_set_id(caller, meta);
    (!keeps && meta.is_file() && mode != meta.mode).then_some(mode)
}

/// Whether setting or removing the access list takes set-group-id away (rule R290).
pub(crate) fn acl_clears_set_gid(caller: Option<&Credentials>, meta: &Metadata) -> bool {
    meta.mode & S_ISGID != 0 && !keeps_set_gid(caller, meta.gid)
}

/// In a sticky directory a name belongs to the owner of the object or of the directory.
///
/// # Errors
/// `EPERM`.
pub(crate) fn may_take_from(
    caller: &Credentials,
    dir: &Metadata,
    object: &Metadata,
) -> Result<(), Errno> {
    let mine = caller.uid == object.uid || caller.uid == dir.uid;
    match dir.mode & S_ISVTX == 0 || mine || caller.has(CapabilitySet::FOWNER) {
        true => Ok(()),
        false => Err(Errno::EPERM),
    }
}

/// Owner and group that may be set: anybody may set them to what they are if he is the owner, and the
/// group to one of his.
///
/// # Errors
/// `EPERM`.
pub(crate) fn may_chown(
    caller: Option<&Credentials>,
    meta: &Metadata,
    uid: Option<u32>,
    gid: Option<u32>,
) -> Result<(), Errno> {
    let Some(c) = caller else { return Ok(()) };
    let owner = c.uid == meta.uid;
    let uid_stays = uid.is_none_or(|uid| owner && uid == meta.uid);
    let gid_is_his = gid.is_none_or(|gid| owner && (gid == meta.gid || c.is_in_group(gid)));
    match c.has(CapabilitySet::CHOWN) || (uid_stays && gid_is_his) {
        true => Ok(()),
        false => Err(Errno::EPERM),
    }
}

/// Whether anybody, not only the owner, could make a hard link of such an object if he may also read
/// and write it (`fs.protected_hardlinks`).
pub(crate) fn is_linked_freely(meta: &Metadata) -> bool {
    let runs_as_group = meta.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP;
    meta.is_file() && meta.mode & S_ISUID == 0 && !runs_as_group
}

/// Checks the caller against the name of an attribute. Answers whether he must also be able to
/// access the object (to read it, or to write it).
///
/// # Errors
/// `trusted.` without `CAP_SYS_ADMIN`, and `user.` of what cannot have it: `ENODATA` to read, `EPERM` to
/// write. `EPERM`: writing `user.` of somebody else's sticky directory.
pub(crate) fn may_use_xattr(
    caller: &Credentials,
    meta: &Metadata,
    name: &XattrName,
    write: bool,
) -> Result<bool, Errno> {
    let name = name.as_bytes();
    if name.starts_with(b"security.") || name.starts_with(b"system.") {
        return Ok(false);
    }
    let absent = if write { Errno::EPERM } else { Errno::ENODATA };
    if name.starts_with(b"trusted.") {
        return match caller.has(CapabilitySet::SYS_ADMIN) {
            true => Ok(false),
            false => Err(absent),
        };
    }
    if name.starts_with(b"user.") && !meta.is_file() && !meta.is_dir() {
        return Err(absent);
    }
    let sticky = meta.is_dir() && meta.mode & S_ISVTX != 0;
    if name.starts_with(b"user.") && write && sticky && !is_owner(Some(caller), meta) {
        return Err(Errno::EPERM);
    }
    Ok(true)
}

/// Checks the capability that writing a `security.` attribute takes.
///
/// # Errors
/// `EPERM`.
pub(crate) fn may_write_security(caller: &Credentials, name: &XattrName) -> Result<(), Errno> {
    let needed = match name.as_bytes() {
        crate::rules::xattr::CAPABILITY => CapabilitySet::SETFCAP,
        name if name.starts_with(b"security.") => CapabilitySet::SYS_ADMIN,
        _ => return Ok(()),
    };
    match caller.has(needed) {
        true => Ok(()),
        false => Err(Errno::EPERM),
    }
}

/// Whether a listing shows this attribute to the caller (rule R281).
pub(crate) fn shows_xattr(caller: Option<&Credentials>, name: &XattrName) -> bool {
    !name.as_bytes().starts_with(b"trusted.")
        || caller.is_none_or(|c| c.has(CapabilitySet::SYS_ADMIN))
}

#[cfg(test)]
#[path = "permission/tests.rs"]
mod tests;
