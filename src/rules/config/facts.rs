//! What settling options depends on besides what was asked for.

use super::KernelDefaults;
use crate::xattr_name::XattrNamespace;

/// What settling depends on besides what was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Where the layers keep overlay attributes.
    pub(crate) namespace: XattrNamespace,
    /// This process may use attributes of that namespace (rule R032).
    pub(crate) permitted: bool,
    pub(crate) upper: Option<UpperFacts>,
    /// Topmost first, data-only ones last.
    pub(crate) lowers: Vec<LowerFacts>,
    /// How many of them are data-only.
    pub(crate) data_layers: usize,
    pub(crate) defaults: KernelDefaults,
}

/// An upper layer, as far as options depend on it.
#[derive(Copy, Clone, Debug)]
pub(crate) struct UpperFacts {
    /// It can store overlay attributes (rule R033).
    pub(crate) storable: bool,
    pub(crate) handles: Handles,
    /// Which `uuid` its root bears.
    pub(crate) uuid: StoredUuid,
}

/// A lower layer, as far as options depend on it.
#[derive(Copy, Clone, Debug)]
pub(crate) struct LowerFacts {
    /// Which filesystem it is on; 0 is the upper's, also where there is no upper.
    pub(crate) fs: usize,
    pub(crate) handles: Handles,
    pub(crate) uuid: Option<[u8; 16]>,
}

/// File handles of a filesystem.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Handles {
    /// None that this process could open.
    None,
    /// Of inode numbers that fit in 32 bits.
    Ino32,
    /// Of any form.
    Any,
}

/// The attribute `uuid` of an upper's root (rule R037).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoredUuid {
    /// Not set, on a root that no union has changed yet.
    AbsentOnNew,
    /// Not set; `impure` is.
    AbsentOnUsed,
    /// 16 bytes.
    Present,
    /// Anything else.
    Unusable,
}
