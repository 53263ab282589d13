//! Mount options that shape the tree or the upper layer, and how they settle (rules R024 to R033).

use crate::rules::Features;
use crate::xattr_name::XattrNamespace;

/// `redirect_dir`: renames of lower and merged directories.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum RedirectDir {
    /// Redirects are created and followed.
    On,
    /// Redirects are followed, not created: such a rename is `EXDEV`.
    Follow,
    /// Redirects are neither created nor followed: an object that has one is `EPERM`.
    NoFollow,
    /// As [`RedirectDir::Follow`], since the kernel's `redirect_always_follow` is on (rule R026).
    Off,
}

/// `xino`: inode numbers where the layers are on several filesystems.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Xino {
    /// The filesystem's number goes into the high bits; said to be wanted.
    On,
    /// Each filesystem's numbers are shown under a device number of its own.
    Off,
    /// As on, where it can be done.
    Auto,
}

/// `uuid`: the identity of the union.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum UuidMode {
    /// A random one, stored on the upper's root.
    On,
    /// The upper filesystem's; origins are stored without.
    Off,
    /// The upper filesystem's.
    Null,
    /// As stored; a new upper gets one.
    Auto,
}

/// `fsync`: what is made durable when.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fsync {
    /// Copied-up data before they are published (rule R240).
    Auto,
    /// Also metadata-only copies and directories.
    Strict,
    /// Nothing; a marker tells that the upper is not to be used after a crash (rule R045).
    Volatile,
}

/// `verity`: digests of metadata-only copies.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verity {
    /// Ignored.
    Off,
    /// Checked where present.
    On,
    /// Demanded.
    Require,
}

/// What was asked for explicitly.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requested {
    pub(crate) redirect_dir: Option<RedirectDir>,
    pub(crate) metacopy: Option<bool>,
    pub(crate) index: Option<bool>,
    pub(crate) nfs_export: Option<bool>,
    pub(crate) xino: Option<Xino>,
    pub(crate) uuid: Option<UuidMode>,
    pub(crate) fsync: Option<Fsync>,
    pub(crate) verity: Option<Verity>,
}

impl Requested {
    /// The features of a union whose attributes are in `namespace`: without `trusted.` attributes
    /// nobody vouches for redirects, so they are not followed (rule R029). `storable`: the upper, if
    /// there is one, can store overlay attributes; else all that needs them is off (rule R033).
    pub(crate) fn settle(self, namespace: XattrNamespace, storable: bool) -> Features {
        let user = namespace == XattrNamespace::User || !storable;
        let metacopy = self.metacopy.unwrap_or(false) && !user;
        let redirect = match self.redirect_dir {
            _ if user => RedirectDir::NoFollow,
            _ if metacopy => RedirectDir::On,
            Some(mode) => mode,
            None => RedirectDir::Follow,
        };
        let nfs_export = self.nfs_export.unwrap_or(false) && storable;
        Features {
            redirect_follow: redirect != RedirectDir::NoFollow,
            redirect_create: redirect == RedirectDir::On,
            metacopy,
            index: (self.index.unwrap_or(false) && storable) || nfs_export,
            nfs_export,
            xino: self.xino.unwrap_or(Xino::Off),
            uuid: self.uuid.unwrap_or(UuidMode::Auto),
            fsync: self.fsync.unwrap_or(Fsync::Auto),
        }
    }
}
