//! What a check found.

use std::fmt;

use super::finding::{Finding, Findings, Remedy};
use super::repair::{Consent, Repair, Stack};
use super::seen::Seen;
use crate::backend::NodeRef;
use crate::rules::check::kind::{FindingKind, Severity};

/// The findings of a [`Check`](super::Check).
///
/// With the feature `serde` it serialises: the findings, and how much was looked at.
#[derive(Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[must_use]
pub struct Report {
    findings: Vec<Finding>,
    /// What was found beyond what is kept.
    omitted: u64,
    directories: u64,
    entries: u64,
    #[cfg_attr(feature = "serde", serde(skip))]
    worst: Option<Severity>,
    /// The nodes that each finding's plan speaks of.
    #[cfg_attr(feature = "serde", serde(skip))]
    bound: Vec<Vec<Option<NodeRef>>>,
    /// What is repaired, if there is an upper.
    #[cfg_attr(feature = "serde", serde(skip))]
    stack: Option<Stack>,
}

impl Report {
    pub(super) fn new(found: Findings, seen: &Seen, stack: Option<Stack>) -> Self {
        let worst = found.list.iter().map(|f| f.severity).max();
        Report {
            worst: worst.max(found.worst_omitted),
            findings: found.list,
            bound: found.bound,
            omitted: found.omitted,
            directories: seen.directories,
            entries: seen.entries,
            stack,
        }
    }

    /// Everything that was found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many findings were left out since they would not have fitted into the memory set aside for
    /// them (64 MiB). Repair and check again to see them.
    #[must_use]
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// The worst severity, of what was left out too; `None` if nothing was found.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.worst
    }

    /// True if nothing is wrong; notes do not count.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.worst < Some(Severity::Warning)
    }

    /// True if something of this kind was found.
    #[must_use]
    pub fn has(&self, kind: FindingKind) -> bool {
        self.findings.iter().any(|f| f.kind == kind)
    }

    /// How many merged directories were looked at.
    #[must_use]
    pub fn directories(&self) -> u64 {
        self.directories
    }

    /// How many names were looked at, in all layers.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The exit status that fsck(8) gives for this: 0 if nothing is wrong (notes do not count), else 4.
    /// After a repair, 1 tells that everything was corrected; see [`Repaired::exit_status`](super::Repaired::exit_status).
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self.is_sound() {
            true => 0,
            false => 4,
        }
    }

    /// The repairs of what was found, as plans: to be looked at, and then [applied](Repair::apply).
    pub fn repair(&self, consent: Consent) -> Repair<'_> {
        let wanted = |finding: &Finding| match finding.remedy {
            Remedy::None(_) => false,
            Remedy::Keeps => true,
            Remedy::Chooses(_) => consent == Consent::Choose,
        };
        let parts = self.findings.iter().zip(&self.bound);
        Repair {
            parts: parts.filter(|(finding, _)| wanted(finding)).collect(),
            stack: self.stack.as_ref(),
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("findings", &self.findings)
            .field("omitted", &self.omitted)
            .field("directories", &self.directories)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

/// One line per finding, worst first, and a summary.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for severity in [Severity::Error, Severity::Warning, Severity::Note] {
            for finding in self.findings.iter().filter(|f| f.severity == severity) {
                writeln!(f, "{finding}")?;
            }
        }
        let Report {
            directories,
            entries,
            ..
        } = self;
        let count = self.findings.len() as u64 + self.omitted;
        write!(
            f,
            "{count} findings, {entries} names in {directories} directories"
        )?;
        match self.omitted {
            0 => Ok(()),
            n => write!(f, "; {n} findings are not shown"),
        }
    }
}
