//! Why options are refused.

use crate::errno::Errno;
use crate::error::Error;
use crate::path::display_bytes;
use crate::rules::LOWER_LAYERS_MAX;

/// Options that cannot be parsed, or not be written. All are `EINVAL`, as from the kernel; the
/// message tells what the kernel keeps for its log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MountOptionError {
    /// No option of overlayfs has this name (rule R024).
    #[error("unknown option `{}`", display_bytes(.option))]
    Unknown {
        /// The name.
        option: Vec<u8>,
    },
    /// The option needs a value and has none (rule R024).
    #[error("option `{option}` needs a value")]
    NeedsValue {
        /// The name.
        option: &'static str,
    },
    /// The option takes no value (rule R024).
    #[error("option `{option}` takes no value, but has `{}`", display_bytes(.value))]
    TakesNoValue {
        /// The name.
        option: &'static str,
        /// What it was given.
        value: Vec<u8>,
    },
    /// The option does not have this value (rule R024).
    #[error("option `{option}` cannot be `{}`, only {}", display_bytes(.value), .allowed.join(", "))]
    BadValue {
        /// The name.
        option: &'static str,
        /// What it was given.
        value: Vec<u8>,
        /// What it may be.
        allowed: &'static [&'static str],
    },
    /// A path is empty, once escapes are resolved (rule R021).
    #[error("option `{option}` names an empty path")]
    EmptyPath {
        /// The name of the option.
        option: &'static str,
    },
    /// `lowerdir=` begins with a colon (rule R021).
    #[error("`lowerdir` begins with a colon")]
    LeadingColon,
    /// `lowerdir=` ends with a colon that is not escaped (rule R021).
    #[error("`lowerdir` ends with a colon (a colon in a path is written `\\:`)")]
    TrailingColon,
    /// Three or more colons in a row (rule R021).
    #[error("more than two colons in a row in `lowerdir`")]
    TooManyColons,
    /// A merged layer behind a data-only one (rules R020, R022).
    #[error("a merged lower layer cannot follow a data-only one")]
    MergedAfterData,
    /// `lowerdir+` or `datadir+` behind `lowerdir` (rule R020).
    #[error("`{option}` cannot follow `lowerdir`")]
    AddedAfterLowerdir {
        /// The name of the option.
        option: &'static str,
    },
    /// More than [`LOWER_LAYERS_MAX`] lower layers (rule R002).
    #[error("more than {} lower layers", LOWER_LAYERS_MAX)]
    TooManyLowers,
    /// Data-only layers without a merged one (rule R005).
    #[error("at least one lower layer must not be data-only")]
    OnlyData,
    /// `source` is told twice; mount(2) tells it by an argument of its own.
    #[error("more than one source")]
    SecondSource,
    /// A name or value for `fsconfig(2)` of more than
    /// [`FSCONFIG_BYTES_MAX`](crate::FSCONFIG_BYTES_MAX) bytes (rule R020).
    #[error("option `{}` has {bytes} bytes, fsconfig(2) takes at most 255", display_bytes(.option))]
    TooLong {
        /// The name of the option.
        option: Vec<u8>,
        /// The length of the longer of its two parts.
        bytes: usize,
    },
    /// A NUL byte, which ends the string for the kernel.
    #[error("a NUL byte")]
    Nul,
}

impl MountOptionError {
    /// The error number; `EINVAL` for all of them.
    #[must_use]
    pub fn errno(&self) -> Errno {
        Errno::EINVAL
    }

    /// The rule that demands it (an id of `docs/semantics.md`).
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            MountOptionError::TooManyLowers => "R002",
            MountOptionError::OnlyData => "R005",
            MountOptionError::AddedAfterLowerdir { .. } | MountOptionError::TooLong { .. } => {
                "R020"
            }
            MountOptionError::EmptyPath { .. }
            | MountOptionError::LeadingColon
            | MountOptionError::TrailingColon
            | MountOptionError::TooManyColons => "R021",
            MountOptionError::MergedAfterData => "R022",
            _ => "R024",
        }
    }
}

impl From<MountOptionError> for Error {
    fn from(e: MountOptionError) -> Self {
        Error::new("mount options", "", e.errno())
            .into_config()
            .with_rule(e.rule())
            .with_detail(e.to_string())
            .with_source(e)
    }
}
