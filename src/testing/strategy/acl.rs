//! POSIX access control lists as the bytes of their attribute.

/// A named entry of an access control list.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// A group, not a user.
    pub group: bool,
    /// Whose entry.
    pub id: u32,
    /// Permission, `0..=7`.
    pub perm: u16,
}

/// The value of `system.posix_acl_access` or `system.posix_acl_default` (version 2) that agrees with
/// the permission bits of `mode`: setting it leaves them as they are. Without named entries it is
/// minimal, which the kernel stores as the mode alone.
#[must_use]
pub fn acl_bytes(mode: u32, named: &[AclEntry]) -> Vec<u8> {
    const UNDEFINED_ID: u32 = u32::MAX;
    let bits = |shift: u32| u16::try_from(mode >> shift & 7).unwrap_or(0);
    let mut named = named.to_vec();
    named.sort_unstable_by_key(|e| (e.group, e.id));
    named.dedup_by_key(|e| (e.group, e.id));
    let mut out = 2u32.to_le_bytes().to_vec();
    let mut push = |tag: u16, perm: u16, id: u32| {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&(perm & 7).to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    };
    push(0x01, bits(6), UNDEFINED_ID);
    for entry in named.iter().filter(|e| !e.group) {
        push(0x02, entry.perm, entry.id);
    }
    push(0x04, bits(3), UNDEFINED_ID);
    for entry in named.iter().filter(|e| e.group) {
        push(0x08, entry.perm, entry.id);
    }
    if !named.is_empty() {
        push(0x10, bits(3), UNDEFINED_ID);
    }
    push(0x20, bits(0), UNDEFINED_ID);
    out
}
