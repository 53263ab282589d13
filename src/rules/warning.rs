//! What opening a union adjusted instead of refusing it.

use std::fmt;

use crate::errno::Errno;
use crate::error::LayerId;

/// An option that is not in force as it was asked for, or as another option implies it. The kernel
/// mounts all the same, and says so in its log.
///
/// ```
/// use layerstack::backend::memory::MemLayer;
/// use layerstack::{LayerStack, Overlay};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let overlay = Overlay::new(&LayerStack::from_top([MemLayer::new()])?, MemLayer::new())?;
/// for warning in overlay.warnings() {
///     eprintln!("{warning}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The name of the option, such as `"index"`.
    pub option: &'static str,
    /// The value that it would have, such as `"on"`.
    pub wanted: &'static str,
    /// The value that it has, such as `"off"`.
    pub used: &'static str,
    /// Why.
    pub reason: WarningReason,
}

/// Why an option was adjusted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WarningReason {
    /// It means nothing without an upper layer (rules R006, R026, R028).
    NoUpper,
    /// Another option was asked for, such as `"redirect_dir=follow"`, and this one is on by default
    /// only (rules R027, R028).
    Contradicted(&'static str),
    /// It needs another option that is not in force, such as `"index=on"` (rule R028).
    Missing(&'static str),
    /// The upper layer cannot store overlay attributes (rule R033).
    NoOverlayAttrs,
    /// This layer has no file handles that can be opened again (rule R268).
    NoFileHandles(LayerId),
    /// The filesystem of this layer has no UUID, so origins on it cannot be told from others
    /// (rule R268).
    NoFilesystemUuid(LayerId),
    /// The filesystem of this layer has the UUID of another layer's filesystem (rule R268).
    SharedFilesystemUuid(LayerId),
    /// The layers lie on several filesystems (rule R037).
    SeveralFilesystems,
    /// The attribute `uuid` of the upper's root is no identity (rule R037).
    UnusableUuid,
    /// mount(2) takes one page of options and cuts off what is beyond (rule R023).
    BeyondOnePage {
        /// Length of the options.
        bytes: usize,
    },
    /// It could not be stored on the upper's root (rule R037).
    NotStored(Errno),
}

impl Warning {
    pub(crate) fn new(
        option: &'static str,
        wanted: &'static str,
        used: &'static str,
        reason: WarningReason,
    ) -> Self {
        Warning {
            option,
            wanted,
            used,
            reason,
        }
    }

    /// The rule behind it (an id of `docs/semantics.md`).
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match (&self.reason, self.option) {
            (WarningReason::NoOverlayAttrs, _) => "R033",
            (WarningReason::BeyondOnePage { .. }, _) => "R023",
            (
                WarningReason::NoFileHandles(_)
                | WarningReason::NoFilesystemUuid(_)
                | WarningReason::SharedFilesystemUuid(_),
                _,
            ) => "R268",
            (_, "uuid") => "R037",
            (_, "metacopy") => "R027",
            (_, "workdir") => "R006",
            (_, "fsync") => "R045",
            _ => "R028",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Warning {
            option,
            wanted,
            used,
            reason,
        } = self;
        write!(f, "{option} is {used} instead of {wanted}: {reason}")
    }
}

impl fmt::Display for WarningReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WarningReason::NoUpper => f.write_str("there is no upper layer"),
            WarningReason::Contradicted(option) => write!(f, "{option} was asked for"),
            WarningReason::Missing(option) => write!(f, "it needs {option}"),
            WarningReason::NoOverlayAttrs => {
                f.write_str("the upper layer cannot store overlay attributes")
            }
            WarningReason::NoFileHandles(layer) => {
                write!(
                    f,
                    "{layer} has no file handles that this process could open"
                )
            }
            WarningReason::NoFilesystemUuid(layer) => {
                write!(f, "the filesystem of {layer} has no UUID")
            }
            WarningReason::SharedFilesystemUuid(layer) => {
                write!(
                    f,
                    "the filesystem of {layer} has the UUID of another layer's"
                )
            }
            WarningReason::SeveralFilesystems => {
                f.write_str("the layers lie on several filesystems")
            }
            WarningReason::UnusableUuid => {
                f.write_str("the upper's root bears an identity that is none")
            }
            WarningReason::BeyondOnePage { bytes } => {
                write!(f, "{bytes} bytes of options, mount(2) takes 4095")
            }
            WarningReason::NotStored(errno) => {
                write!(f, "it cannot be stored on the upper's root: {errno}")
            }
        }
    }
}
