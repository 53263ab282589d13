//! Explaining a path: what is shown, which layers it is made of, and what hid the rest.
//!
//! The explanation asks more than a lookup does: where the search ended, the layers below are
//! looked at by the plain path, so that what they hold and nobody sees is told too.

mod beyond;
mod search;
mod text;

use std::path::{Path, PathBuf};

use self::search::Explainer;
use crate::errno::Errno;
use crate::error::{LayerId, Result};
use crate::meta::{FileType, Metadata};
use crate::overlay::stack::LayerStack;
use crate::rules::explain::{Fate, Held, HiddenBy};

/// Why a path shows what it shows; see [`LayerStack::resolve`].
///
/// Its [`Display`](std::fmt::Display) is a text of several lines for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Resolution {
    /// The path as it was asked for.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// The path in the union that it leads to, without symlinks and `..`; if something is missing,
    /// as far as that could be told, and the rest as it was asked for.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub real_path: PathBuf,
    /// What is shown there.
    pub shown: Option<Shown>,
    /// Why nothing is shown; `None` exactly if something is.
    pub missing: Option<Missing>,
    /// What each layer holds there, topmost layer first; layers that hold nothing are left out.
    pub occurrences: Vec<Occurrence>,
    /// The symlinks followed, in order.
    pub symlinks: Vec<SymlinkHop>,
    /// The redirects followed, in order (rules R156 to R161).
    pub redirects: Vec<RedirectHop>,
}

/// The object that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Shown {
    /// The attributes, as the merged tree shows them.
    pub metadata: Metadata,
    /// The layer that supplies the object; of a merged directory, its attributes.
    pub layer: LayerId,
}

/// Why nothing is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Missing {
    /// The first path in the union, on the way, that is not there or not usable.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: MissingReason,
}

/// What keeps a path from being resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum MissingReason {
    /// No layer has it.
    Absent,
    /// It is in some layer, or a whiteout is, and this hides it.
    Hidden(HiddenBy),
    /// It is there, but no directory, and a directory is needed.
    NotADirectory(FileType),
    /// Following this symlink would exceed [`SYMLINK_HOPS_MAX`](crate::SYMLINK_HOPS_MAX).
    SymlinkLoop,
}

impl MissingReason {
    /// The error that the other operations give for it.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            MissingReason::Absent | MissingReason::Hidden(_) => Errno::ENOENT,
            MissingReason::NotADirectory(_) => Errno::ENOTDIR,
            MissingReason::SymlinkLoop => Errno::ELOOP,
        }
    }
}

/// What one layer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Occurrence {
    /// The layer.
    pub layer: LayerId,
    /// How the layer calls itself.
    pub label: String,
    /// The path inside the layer; of the work directory, beneath `workdir=` itself.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// What is there.
    pub held: Held,
    /// It is a directory that merges with nothing below, found opaque by the lookup.
    pub opaque: bool,
    /// What becomes of it.
    pub fate: Fate,
}

/// A symlink that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SymlinkHop {
    /// Its path in the union.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// Its target, as stored.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub target: PathBuf,
    /// The layer that supplies the symlink.
    pub layer: LayerId,
}

/// A redirect that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RedirectHop {
    /// The layer whose object has the redirect.
    pub layer: LayerId,
    /// The object's path inside that layer.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// The path inside the next layer asked.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub to: PathBuf,
}

impl Resolution {
    /// The layers that contribute, topmost first: all that a merged directory merges, or the one
    /// that supplies anything else.
    pub fn contributors(&self) -> impl Iterator<Item = &Occurrence> {
        self.occurrences
            .iter()
            .filter(|o| matches!(o.fate, Fate::Shown | Fate::Merged | Fate::Data))
    }

    /// What layers hold and the union does not show, with what hid it, topmost first.
    pub fn hidden(&self) -> impl Iterator<Item = (&Occurrence, &HiddenBy)> {
        self.occurrences.iter().filter_map(|o| match &o.fate {
            Fate::Hidden(by) => Some((o, by)),
            _ => None,
        })
    }
}

impl LayerStack {
    /// Explains what `path` shows, or why nothing, following symlinks.
    ///
    /// A missing path is an explanation too, not an error.
    ///
    /// ```
    /// use layerstack::{LayerId, LayerStack, backend::memory::MemLayer};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let base = MemLayer::builder().file("etc/hosts", b"old").build()?;
    /// let top = MemLayer::builder().file("etc/hosts", b"new").build()?;
    /// let stack = LayerStack::from_top([top, base])?;
    /// let answer = stack.resolve("/etc/hosts")?;
    /// assert_eq!(answer.shown.as_ref().map(|s| s.layer), Some(LayerId::Lower(0)));
    /// let (hidden, by) = answer.hidden().next().ok_or("the old one is hidden")?;
    /// assert_eq!((hidden.layer, by.layer), (LayerId::Lower(1), LayerId::Lower(0)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - `EINVAL`, `ENAMETOOLONG`: not a path.
    /// - What the layers give for what the answer depends on, and what a lookup refuses, such as a
    ///   malformed redirect; errors from layers that are only looked at to tell what is hidden are in
    ///   the answer.
    pub fn resolve(&self, path: impl AsRef<Path>) -> Result<Resolution> {
        self.explain(path.as_ref(), true)
    }

    /// As [`LayerStack::resolve`], but a symlink at the end of the path is explained itself.
    ///
    /// # Errors
    /// As [`LayerStack::resolve`].
    pub fn resolve_symlink(&self, path: impl AsRef<Path>) -> Result<Resolution> {
        self.explain(path.as_ref(), false)
    }

    fn explain(&self, path: &Path, follow: bool) -> Result<Resolution> {
        let core = &self.core;
        let _tree = core.read();
        Explainer::new(core)
            .run(path, follow)
            .map_err(|e| e.into_error("resolve", path))
    }
}
