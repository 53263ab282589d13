//! Findings, and what they are collected in.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;

use crate::backend::NodeRef;
use crate::error::LayerId;
use crate::path::display_path;
use crate::rules::check::kind::{FindingKind, Severity};
use crate::rules::plan::Plan;

/// Bytes of paths and texts that one check keeps. What is found beyond that is only counted: a
/// hostile tree can hold more wrong things, at longer paths, than any memory.
const FINDING_BYTES_MAX: usize = 64 << 20;

/// What repairing a finding means for what the tree shows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Remedy {
    /// There is none here, for this reason.
    None(&'static str),
    /// The tree shows the same before and after.
    Keeps,
    /// The state can be read in two ways, and this is the one that the repair makes true. Only done
    /// when asked for ([`Consent::Choose`](super::Consent::Choose)).
    Chooses(&'static str),
}

/// Something that is wrong, or could be better.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// How bad it is.
    pub severity: Severity,
    /// The layer in which it is; [`LayerId::Work`] for the work directory and the index in it,
    /// `None` for the stack as a whole.
    pub layer: Option<LayerId>,
    /// Where: in the merged tree (of a lower object found through a redirect this is not its path
    /// in the layer), or below the work directory, as `/work/...` and `/index/...`.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// The rule that it is about (an id of `docs/semantics.md`), where there is one.
    pub rule: Option<&'static str>,
    /// The other object of two that cannot both be right, by its path.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize_other"))]
    pub other: Option<PathBuf>,
    /// What is known of this case beyond [`FindingKind::meaning`]; may be empty.
    pub detail: String,
    /// What repairing means for what the tree shows.
    pub remedy: Remedy,
    /// What repair would do; `None` if there is no remedy here.
    pub plan: Option<Plan>,
}

impl Finding {
    /// True if a repair can be applied.
    #[must_use]
    pub fn is_repairable(&self) -> bool {
        self.plan.is_some()
    }
}

/// One line, without the plan: `warning: upper:/a/b: origin-stale: ... [R066]`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity)?;
        if let Some(layer) = self.layer {
            write!(f, "{layer}:")?;
        }
        let path = display_path(&self.path);
        write!(f, "{path}: {}: {}", self.kind, self.kind.meaning())?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        if let Some(other) = &self.other {
            write!(f, " (the other: {})", display_path(other))?;
        }
        if let Some(rule) = self.rule {
            write!(f, " [{rule}]")?;
        }
        Ok(())
    }
}

#[cfg(feature = "serde")]
#[allow(clippy::ref_option, reason = "serde's form")]
fn serialize_other<S: serde::Serializer>(path: &Option<PathBuf>, s: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => crate::path::serialize_path(path, s),
        None => s.serialize_none(),
    }
}

/// The steps of a repair, and the nodes that its plan's objects are.
#[derive(Clone, Debug)]
pub(super) struct Fix {
    pub(super) plan: Plan,
    pub(super) bound: Vec<Option<NodeRef>>,
}

/// A finding to be told.
pub(super) struct Found {
    kind: FindingKind,
    layer: Option<LayerId>,
    path: PathBuf,
    other: Option<PathBuf>,
    detail: String,
    remedy: Remedy,
    fix: Option<Fix>,
    /// The directory that its repair marks impure.
    marks: Option<PathBuf>,
}

impl Found {
    pub(super) fn new(
        kind: FindingKind,
        layer: impl Into<Option<LayerId>>,
        path: impl Into<PathBuf>,
    ) -> Self {
        let layer = layer.into();
        let reason = match layer {
            Some(LayerId::Lower(_)) => "lower layers are never written",
            Some(LayerId::Upper | LayerId::Work) => "nothing here can put it right",
            None => "it is not in a layer",
        };
        Found {
            kind,
            layer,
            path: path.into(),
            other: None,
            detail: String::new(),
            remedy: Remedy::None(reason),
            fix: None,
            marks: None,
        }
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub(super) fn other(mut self, path: impl Into<PathBuf>) -> Self {
        self.other = Some(path.into());
        self
    }

    pub(super) fn no_remedy(mut self, reason: &'static str) -> Self {
        self.remedy = Remedy::None(reason);
        self
    }

    /// A repair that changes nothing that shows.
    pub(super) fn keeps(mut self, fix: Fix) -> Self {
        (self.remedy, self.fix) = (Remedy::Keeps, Some(fix));
        self
    }

    /// Its repair marks this directory impure, which it was not: see [`Findings::hold_marks_back`].
    pub(super) fn marks(mut self, dir: impl Into<PathBuf>) -> Self {
        self.marks = Some(dir.into());
        self
    }

    /// A repair that makes one of two readings true.
    pub(super) fn chooses(mut self, reading: &'static str, fix: Fix) -> Self {
        (self.remedy, self.fix) = (Remedy::Chooses(reading), Some(fix));
        self
    }
}

/// All findings of a check.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) list: Vec<Finding>,
    /// The nodes that each finding's plan speaks of.
    pub(super) bound: Vec<Vec<Option<NodeRef>>>,
    pub(super) omitted: u64,
    pub(super) worst_omitted: Option<Severity>,
    bytes: usize,
    /// Findings, by their place in `list`, whose repairs mark a directory impure.
    marks: Vec<(usize, PathBuf)>,
}

impl Findings {
    pub(super) fn add(&mut self, found: Found) {
        let severity = found.kind.severity();
        let plan_bytes = found.fix.as_ref().map_or(0, |fix| {
            let paths = fix.plan.objects.iter().map(|o| o.path.as_os_str().len());
            paths.sum::<usize>() + fix.plan.steps.len() * 64
        });
        let other = found.other.as_ref().map_or(0, |p| p.as_os_str().len());
        let bytes = found.path.as_os_str().len() + other + found.detail.len() + plan_bytes + 128;
        if self.bytes.saturating_add(bytes) > FINDING_BYTES_MAX {
            self.omitted += 1;
            self.worst_omitted = self.worst_omitted.max(Some(severity));
            return;
        }
        self.bytes += bytes;
        if let Some(dir) = found.marks {
            self.marks.push((self.list.len(), dir));
        }
        let (plan, bound) = match found.fix {
            Some(fix) => (Some(fix.plan), fix.bound),
            None => (None, Vec::new()),
        };
        self.list.push(Finding {
            kind: found.kind,
            severity,
            layer: found.layer,
            path: found.path,
            rule: found.kind.rule(),
            other: found.other,
            detail: found.detail,
            remedy: found.remedy,
            plan,
        });
        self.bound.push(bound);
    }

    /// Takes the repairs away that mark a directory impure in which a name cannot be looked up: the
    /// kernel's listing of it would end there, with an error, and lose the names that it showed.
    pub(super) fn hold_marks_back(&mut self) {
        let failing = self.list.iter().filter(|f| f.kind.fails_lookups());
        // An index entry does not tell which names it makes fail.
        let anywhere = self.worst_omitted >= Some(Severity::Warning)
            || failing.clone().any(|f| f.layer == Some(LayerId::Work));
        let names = failing.flat_map(|f| [Some(&f.path), f.other.as_ref()]);
        let dirs: HashSet<PathBuf> = names
            .filter_map(|path| Some(path?.parent()?.to_path_buf()))
            .collect();
        for (i, dir) in std::mem::take(&mut self.marks) {
            if !anywhere && !dirs.contains(&dir) {
                continue;
            }
            if let (Some(finding), Some(bound)) = (self.list.get_mut(i), self.bound.get_mut(i)) {
                finding.remedy =
                    Remedy::None("a name beside it cannot be looked up: repair that first");
                finding.plan = None;
                bound.clear();
            }
        }
    }
}
