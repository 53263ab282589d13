//! In what a union is no plain file system.

use crate::xattr_name::XattrNamespace;

/// In what a union is weaker than a POSIX file system; each is off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent switch"
)]
#[non_exhaustive]
pub struct Weakenings {
    /// Attribute names under this namespace's prefix are stored with a longer name: the bare prefix is
    /// `EINVAL`, and what becomes too long `EOPNOTSUPP` (rules R279, R280).
    pub namespace: Option<XattrNamespace>,
    /// Nobody can make a whiteout: `mknod` of the device 0/0 is `EPERM` (rule R084). A rename that
    /// would leave one is `EINVAL` with and without (rule R139).
    pub no_whiteouts: bool,
    /// What was there before and loses its last name unchanged stays as it is: its link count does not
    /// fall, and changing it through an open file is `EEXIST` (rules R131, R132).
    pub removed_lowers_freeze: bool,
    /// The names of one file that was there before are files of their own, which share number and link
    /// count until they are changed (`index=off`; rules R152, R231, R256).
    pub links_break: bool,
    /// Directories that were there before cannot be renamed: `EXDEV` (`redirect_dir` other than
    /// `on`; rule R141).
    pub lower_dirs_stay: bool,
    /// Removing an access list takes set-group-id away from what is not of the caller's groups, as setting one
    /// does (rule R290; tmpfs does so too, ext4 does not).
    pub acl_removal_clears_set_gid: bool,
    /// There is no upper: every change is `EROFS` (rule R215).
    pub read_only: bool,
}

impl Weakenings {
    /// A plain file system.
    pub const NONE: Weakenings = Weakenings {
        namespace: None,
        no_whiteouts: false,
        removed_lowers_freeze: false,
        links_break: false,
        lower_dirs_stay: false,
        acl_removal_clears_set_gid: false,
        read_only: false,
    };

    /// A union with `index=on` and `redirect_dir=on`.
    #[must_use]
    pub const fn posix_profile(namespace: XattrNamespace) -> Self {
        let mut weakenings = Weakenings::NONE;
        weakenings.namespace = Some(namespace);
        weakenings.no_whiteouts = true;
        weakenings.removed_lowers_freeze = true;
        weakenings.acl_removal_clears_set_gid = true;
        weakenings
    }

    /// A union at default options.
    #[must_use]
    pub const fn default_options(namespace: XattrNamespace) -> Self {
        let mut weakenings = Weakenings::posix_profile(namespace);
        weakenings.links_break = true;
        weakenings.lower_dirs_stay = true;
        weakenings
    }
}
