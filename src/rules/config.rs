//! Mount options that shape the tree or the upper layer, and how they settle (rules R024 to R033).

use crate::rules::Features;
use crate::rules::warning::{Warning, WarningReason};
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

/// What is in force, and what was adjusted on the way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) features: Features,
    pub(crate) warnings: Vec<Warning>,
}

/// What settling depends on besides what was asked for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Where the layers keep overlay attributes.
    pub(crate) namespace: XattrNamespace,
    /// There is an upper layer.
    pub(crate) has_upper: bool,
    /// The upper, if there is one, can store overlay attributes.
    pub(crate) storable: bool,
}

impl Requested {
    /// What is in force under these circumstances: without `trusted.` attributes nobody vouches for
    /// redirects, so they are not followed (rule R029); what needs attributes that cannot be stored is
    /// off (rule R033).
    pub(crate) fn settle(self, facts: &Facts) -> Settled {
        let mut warnings = Vec::new();
        let mut fall_back = |option, reason| {
            warnings.push(Warning::new(option, "on", "off", reason));
            false
        };
        let user = facts.namespace == XattrNamespace::User;
        let mut metacopy = self.metacopy.unwrap_or(false) && !user;
        if metacopy && !facts.storable {
            metacopy = fall_back("metacopy", WarningReason::NoOverlayAttrs);
        }
        let redirect = match self.redirect_dir {
            _ if user || !facts.storable => RedirectDir::NoFollow,
            _ if metacopy => RedirectDir::On,
            Some(mode) => mode,
            None => RedirectDir::Follow,
        };
        let mut nfs_export = self.nfs_export.unwrap_or(false);
        let mut index = self.index.unwrap_or(false) || nfs_export;
        if index && !facts.has_upper {
            index = fall_back("index", WarningReason::NoUpper);
        } else if index && !facts.storable {
            index = fall_back("index", WarningReason::NoOverlayAttrs);
            if nfs_export {
                nfs_export = fall_back("nfs_export", WarningReason::Missing("index=on"));
            }
        }
        let features = Features {
            redirect_follow: redirect != RedirectDir::NoFollow,
            redirect_create: redirect == RedirectDir::On,
            metacopy,
            index,
            nfs_export,
            xino: self.xino.unwrap_or(Xino::Off),
            uuid: self.uuid.unwrap_or(UuidMode::Auto),
            fsync: self.fsync.unwrap_or(Fsync::Auto),
        };
        Settled { features, warnings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r028_without_an_upper_there_is_no_index() {
        let asked = Requested {
            index: Some(true),
            ..Requested::default()
        };
        let facts = |has_upper| Facts {
            namespace: XattrNamespace::Trusted,
            has_upper,
            storable: true,
        };
        let with = asked.settle(&facts(true));
        assert!(with.features.index && with.warnings.is_empty());
        let without = asked.settle(&facts(false));
        assert!(!without.features.index);
        let text = without.warnings.first().map(ToString::to_string);
        let want = "index is off instead of on: there is no upper layer";
        assert_eq!(text.as_deref(), Some(want));
    }
}
