//! Options that do not go together.

use crate::errno::Errno;

/// Options that exclude each other, or one that this process may not use: the kernel refuses to
/// mount, and the crate to open.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionConflict {
    /// `EINVAL`: both were asked for, such as `metacopy=on` and `redirect_dir=off`
    /// (rules R027 to R029).
    #[error("{first} and {second} exclude each other")]
    Options {
        /// One, as a mount option.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// `EPERM`: it needs `trusted.` attributes, which this process may neither read nor write
    /// (rule R032).
    #[error("{option} needs `trusted.` attributes, which take CAP_SYS_ADMIN")]
    Privilege {
        /// The option, as a mount option.
        option: &'static str,
    },
}

impl OptionConflict {
    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            OptionConflict::Options { .. } => Errno::EINVAL,
            OptionConflict::Privilege { .. } => Errno::EPERM,
        }
    }

    /// The rule that demands it (an id of `docs/semantics.md`).
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            OptionConflict::Privilege { .. } => "R032",
            OptionConflict::Options { first, .. } if first.starts_with("userxattr") => "R029",
            OptionConflict::Options { first, .. } if first.starts_with("nfs_export") => "R028",
            OptionConflict::Options { .. } => "R027",
        }
    }
}
