//! Changing attributes: mode, owner, times and extended attributes, with the access control list
//! that follows the mode and that the mode follows.

use std::sync::Arc;

use super::state::Inode;
use crate::acl;
use crate::backend::{Result, XattrMode};
use crate::errno::Errno;
use crate::meta::{FileType, SetAttr, SetTime, Timestamp};
use crate::xattr_name::XattrName;

/// Largest value of an extended attribute (`XATTR_SIZE_MAX`).
const XATTR_VALUE_BYTES_MAX: usize = 64 * 1024;

/// The attribute that gives a program its privileges; a change of its owner or data takes it away.
pub(super) const CAPABILITY: &[u8] = b"security.capability";

/// Nanoseconds of a second; a time's own are less.
const NANOS_PER_SEC: u32 = 1_000_000_000;

/// Sets what `attr` tells: owner, then mode, then times. Checks everything first.
pub(super) fn set_attr(inode: &mut Inode, attr: &SetAttr, now: Timestamp) -> Result<()> {
    let valid = |time: SetTime| match time {
        SetTime::At(at) => at.nanos < NANOS_PER_SEC,
        SetTime::Omit | SetTime::Now => true,
    };
    if !valid(attr.atime) || !valid(attr.mtime) {
        return Err(Errno::EINVAL.into());
    }
    if attr.mode.is_some() && inode.meta.is_symlink() {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if attr.is_empty() {
        return Ok(());
    }
    if let Some(mode) = attr.mode {
        set_mode(inode, mode & 0o7777)?;
    }
    if (attr.uid.is_some() || attr.gid.is_some()) && !inode.meta.is_dir() {
        inode.xattrs.remove(CAPABILITY);
    }
    let meta = &mut inode.meta;
    meta.uid = attr.uid.unwrap_or(meta.uid);
    meta.gid = attr.gid.unwrap_or(meta.gid);
    meta.atime = time_of(attr.atime, now).unwrap_or(meta.atime);
    meta.mtime = time_of(attr.mtime, now).unwrap_or(meta.mtime);
    meta.ctime = now;
    Ok(())
}

fn time_of(time: SetTime, now: Timestamp) -> Option<Timestamp> {
    match time {
        SetTime::Omit => None,
        SetTime::Now => Some(now),
        SetTime::At(at) => Some(at),
    }
}

fn set_mode(inode: &mut Inode, mode: u32) -> Result<()> {
    if let Some(value) = inode.xattrs.get(acl::ACCESS) {
        // A stored list was checked when it was set; one that is damaged is an error of the disk.
        let list = acl::Acl::parse(value).map_err(|_| Errno::EIO)?;
        if let Some(mut list) = list {
            list.chmod(mode);
            let name = XattrName::new(acl::ACCESS)?;
            inode.xattrs.insert(name, list.to_bytes().into());
        }
    }
    inode.meta.mode = mode;
    Ok(())
}

/// Sets or removes an extended attribute, by the rules of a Linux filesystem.
pub(super) fn set_xattr(
    inode: &mut Inode,
    name: &XattrName,
    value: Option<&[u8]>,
    mode: XattrMode,
    now: Timestamp,
) -> Result<()> {
    if value.is_some_and(|v| v.len() > XATTR_VALUE_BYTES_MAX) {
        return Err(Errno::E2BIG.into());
    }
    let bytes = name.as_bytes();
    if bytes == acl::ACCESS || bytes == acl::DEFAULT {
        return set_acl(inode, name, value, now);
    }
    check_name(inode.meta.file_type, bytes)?;
    let is_set = inode.xattrs.contains_key(name);
    match (value, mode) {
        (None, _) | (Some(_), XattrMode::Replace) if !is_set => {
            return Err(Errno::ENODATA.into());
        }
        (Some(_), XattrMode::Create) if is_set => return Err(Errno::EEXIST.into()),
        _ => {}
    }
    store(inode, name, value);
    inode.meta.ctime = now;
    Ok(())
}

fn store(inode: &mut Inode, name: &XattrName, value: Option<&[u8]>) {
    match value {
        Some(value) => inode.xattrs.insert(name.clone(), Arc::from(value)),
        None => inode.xattrs.remove(name),
    };
}

/// Checks that a node of this type may have an attribute of this name.
fn check_name(file_type: FileType, name: &[u8]) -> Result<()> {
    let rest = [b"user.".as_slice(), b"trusted.", b"security."]
        .into_iter()
        .find_map(|prefix| Some((prefix, name.strip_prefix(prefix)?)));
    match rest {
        None => Err(Errno::EOPNOTSUPP.into()),
        Some((b"user.", _)) if !file_type.is_dir() && !file_type.is_file() => {
            Err(Errno::EPERM.into())
        }
        Some((_, [])) => Err(Errno::EINVAL.into()),
        Some(_) => Ok(()),
    }
}

/// Access control lists have their own rules: [`XattrMode`] does not count, removing one that is
/// not set is no error, and the access list and the mode go together.
fn set_acl(
    inode: &mut Inode,
    name: &XattrName,
    value: Option<&[u8]>,
    now: Timestamp,
) -> Result<()> {
    if inode.meta.is_symlink() {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let value = value.unwrap_or(&[]);
    if name.as_bytes() == acl::ACCESS {
        let new = acl::set_access(value, inode.meta.mode)?;
        inode.meta.mode = new.mode;
        store(inode, name, new.value.as_deref());
    } else {
        let is_list = acl::Acl::parse(value)?.is_some();
        match (is_list, inode.meta.is_dir()) {
            (false, false) => return Ok(()),
            (true, false) => return Err(Errno::EACCES.into()),
            _ => {}
        }
        store(inode, name, acl::set_default(value)?.as_deref());
    }
    inode.meta.ctime = now;
    Ok(())
}
