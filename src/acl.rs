//! POSIX access control lists: the value of `system.posix_acl_access` and `_default`, and how they
//! and the mode bits follow each other.
//!
//! Pure functions on bytes and numbers; nothing here looks at a layer. The behaviour is that of the
//! kernel's `posix_acl_*` functions as ext4 uses them, checked against a real one in the tests.
#![allow(
    dead_code,
    reason = "the rules of creation use the part that no backend needs"
)]

use crate::errno::Errno;

/// Name of the attribute that holds the list deciding access.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";
/// Name of the attribute that holds the list which a directory hands to what is created in it.
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

/// The only version of the format (`POSIX_ACL_XATTR_VERSION`).
const VERSION: u32 = 2;
/// The id of entries that name nobody (`ACL_UNDEFINED_ID`).
const UNDEFINED_ID: u32 = u32::MAX;
/// Bytes of the head (the version) and of one entry.
const HEAD_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;

/// Whom an entry is about, in the order in which a valid list has them.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tag {
    /// The owner.
    UserObj,
    /// A named user.
    User(u32),
    /// The group of the file.
    GroupObj,
    /// A named group.
    Group(u32),
    /// The most that named users, named groups and the group of the file get.
    Mask,
    /// Everybody else.
    Other,
}

impl Tag {
    /// The tag's number on disk, and its id.
    const fn encode(self) -> (u16, u32) {
        match self {
            Tag::UserObj => (0x01, UNDEFINED_ID),
            Tag::User(id) => (0x02, id),
            Tag::GroupObj => (0x04, UNDEFINED_ID),
            Tag::Group(id) => (0x08, id),
            Tag::Mask => (0x10, UNDEFINED_ID),
            Tag::Other => (0x20, UNDEFINED_ID),
        }
    }

    fn decode(tag: u16, id: u32) -> Result<Tag, Errno> {
        Ok(match tag {
            0x01 => Tag::UserObj,
            0x02 if id != UNDEFINED_ID => Tag::User(id),
            0x04 => Tag::GroupObj,
            0x08 if id != UNDEFINED_ID => Tag::Group(id),
            0x10 => Tag::Mask,
            0x20 => Tag::Other,
            _ => return Err(Errno::EINVAL),
        })
    }

    /// The place of the tag in a valid list.
    const fn rank(self) -> u8 {
        match self {
            Tag::UserObj => 0,
            Tag::User(_) => 1,
            Tag::GroupObj => 2,
            Tag::Group(_) => 3,
            Tag::Mask => 4,
            Tag::Other => 5,
        }
    }
}

/// One entry: whom it is about and what they may do.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AclEntry {
    pub(crate) tag: Tag,
    /// `rwx` as in one digit of a mode.
    pub(crate) perm: u16,
}

/// An access control list, entries in the order of the value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Acl {
    pub(crate) entries: Vec<AclEntry>,
}

/// What a new node gets from its directory's default list; see [`Acl::inherit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// The new node's access list; `None` if the mode says it all.
    pub(crate) access: Option<Acl>,
    /// The new node's mode.
    pub(crate) mode: u32,
}

/// What becomes of a node whose access list is set; see [`set_access`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewAccess {
    /// The value to store; `None` to store none and remove what there is.
    pub(crate) value: Option<Vec<u8>>,
    /// The node's mode.
    pub(crate) mode: u32,
}

impl Acl {
    /// Reads a value. `None`: an empty value or one without entries, which stands for no list.
    ///
    /// # Errors
    /// `EINVAL`: wrong size, unknown tag, or a named user or group without id. `EOPNOTSUPP`: another
    /// version.
    pub(crate) fn parse(value: &[u8]) -> Result<Option<Acl>, Errno> {
        if value.is_empty() {
            return Ok(None);
        }
        let (head, body) = value
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(Errno::EINVAL)?;
        if u32::from_le_bytes(*head) != VERSION {
            return Err(Errno::EOPNOTSUPP);
        }
        if !body.len().is_multiple_of(ENTRY_BYTES) {
            return Err(Errno::EINVAL);
        }
        let entries = body
            .chunks_exact(ENTRY_BYTES)
            .map(|entry| match *entry {
                [t0, t1, p0, p1, i0, i1, i2, i3] => Ok(AclEntry {
                    tag: Tag::decode(
                        u16::from_le_bytes([t0, t1]),
                        u32::from_le_bytes([i0, i1, i2, i3]),
                    )?,
                    perm: u16::from_le_bytes([p0, p1]),
                }),
                _ => Err(Errno::EINVAL),
            })
            .collect::<Result<Vec<_>, Errno>>()?;
        Ok((!entries.is_empty()).then_some(Acl { entries }))
    }

    /// The value that stands for this list.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.entries.len() * ENTRY_BYTES);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        for entry in &self.entries {
            let (tag, id) = entry.tag.encode();
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&entry.perm.to_le_bytes());
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        bytes
    }

    /// Checks that the list is one that a filesystem takes: owner, named users, group, named
    /// groups, mask, others, in this order; a mask if anybody is named.
    ///
    /// # Errors
    /// `EINVAL`.
    pub(crate) fn check(&self) -> Result<(), Errno> {
        let ordered = self.entries.windows(2).all(|pair| match pair {
            [a, b] => match (a.tag, b.tag) {
                (Tag::User(_), Tag::User(_)) | (Tag::Group(_), Tag::Group(_)) => true,
                (a, b) => a.rank() < b.rank(),
            },
            _ => true,
        });
        let has = |rank: u8| self.entries.iter().any(|e| e.tag.rank() == rank);
        let named = has(1) || has(3);
        let complete = has(0) && has(2) && has(5) && (has(4) || !named);
        let perms = self.entries.iter().all(|e| e.perm <= 7);
        if ordered && complete && perms {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// The nine permission bits that this list shows in a mode, and whether they say all that the
    /// list says.
    pub(crate) fn to_mode(&self) -> (u32, bool) {
        let (mut mode, mut mask, mut exact) = (0, None, true);
        for entry in &self.entries {
            let perm = u32::from(entry.perm);
            match entry.tag {
                Tag::UserObj => mode |= perm << 6,
                Tag::GroupObj => mode |= perm << 3,
                Tag::Other => mode |= perm,
                Tag::Mask => mask = Some(perm),
                Tag::User(_) | Tag::Group(_) => exact = false,
            }
        }
        match mask {
            Some(mask) => (mode & !0o070 | mask << 3, false),
            None => (mode, exact),
        }
    }

    /// Follows a chmod to `mode`: owner and others take their bits; the group bits go to the mask,
    /// or where there is none to the group.
    pub(crate) fn chmod(&mut self, mode: u32) {
        let has_mask = self.entries.iter().any(|e| e.tag == Tag::Mask);
        for entry in &mut self.entries {
            match entry.tag {
                Tag::UserObj => entry.perm = digit(mode, 6),
                Tag::GroupObj if !has_mask => entry.perm = digit(mode, 3),
                Tag::Mask => entry.perm = digit(mode, 3),
                Tag::Other => entry.perm = digit(mode, 0),
                _ => {}
            }
        }
    }

    /// What a node created with `mode` (no umask applied) gets in a directory with this default
    /// list. A new directory gets the default list itself too.
    pub(crate) fn inherit(&self, mode: u32) -> Inherited {
        let mut access = self.clone();
        let has_mask = access.entries.iter().any(|e| e.tag == Tag::Mask);
        for entry in &mut access.entries {
            match entry.tag {
                Tag::UserObj => entry.perm &= digit(mode, 6),
                Tag::GroupObj if !has_mask => entry.perm &= digit(mode, 3),
                Tag::Mask => entry.perm &= digit(mode, 3),
                Tag::Other => entry.perm &= digit(mode, 0),
                _ => {}
            }
        }
        let (bits, exact) = access.to_mode();
        Inherited {
            access: (!exact).then_some(access),
            mode: mode & !0o777 | bits,
        }
    }
}

/// What setting the access list `value` does to a node of `mode`: the mode takes the bits that the
/// list shows, and a list that says no more than the mode is not stored.
///
/// # Errors
/// As [`Acl::parse`] and [`Acl::check`].
pub(crate) fn set_access(value: &[u8], mode: u32) -> Result<NewAccess, Errno> {
    let Some(acl) = Acl::parse(value)? else {
        return Ok(NewAccess { value: None, mode });
    };
    acl.check()?;
    let (bits, exact) = acl.to_mode();
    Ok(NewAccess {
        value: (!exact).then(|| acl.to_bytes()),
        mode: mode & !0o777 | bits,
    })
}

/// The value to store for the default list `value`; `None` to remove it.
///
/// # Errors
/// As [`Acl::parse`] and [`Acl::check`].
pub(crate) fn set_default(value: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let Some(acl) = Acl::parse(value)? else {
        return Ok(None);
    };
    acl.check()?;
    Ok(Some(acl.to_bytes()))
}

/// Three bits of a mode.
const fn digit(mode: u32, shift: u32) -> u16 {
    ((mode >> shift) & 7) as u16
}

#[cfg(test)]
#[path = "acl_tests.rs"]
mod tests;
