//! What a caller may do to the merged objects: the first of overlayfs' two checks (rules R286, R290).
//! The second, of the mounter against the layers, is made by the layers' backends.
//!
//! A caller of `None` is the mounter himself, who may do anything here.

use crate::credentials::{CapabilitySet, Credentials};

/// Whether an object of this group may keep, or get, set-group-id at this caller's hands: he is in
/// the group, or `CAP_FSETID`.
pub(crate) fn keeps_set_gid(caller: Option<&Credentials>, gid: u32) -> bool {
    caller.is_none_or(|c| c.is_in_group(gid) || c.has(CapabilitySet::FSETID))
}
