//! Repairs: plans to look at, then to apply.

use std::fmt;
use std::sync::Arc;

use super::finding::{Finding, Remedy};
use crate::backend::{LayerBackend, NodeRef};
use crate::errno::Errno;
use crate::error::{Error, Result};
use crate::overlay::core::Core;
use crate::rules::plan::{Obj, Plan, Step};

/// Which repairs are wanted.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Consent {
    /// Those that change nothing that the tree shows.
    #[default]
    Keep,
    /// Also those that choose one of two readings, as each finding says.
    Choose,
}

/// The repairs of a [`Report`](super::Report): one plan per finding, each a sequence of atomic steps.
///
/// `Display` prints findings and plans.
#[must_use = "nothing is repaired before `apply`"]
pub struct Repair<'a> {
    pub(super) parts: Vec<(&'a Finding, &'a Vec<Option<NodeRef>>)>,
    pub(super) stack: Option<&'a Stack>,
}

/// The stack as it is mounted, and the upper in it, as it was given.
pub(super) type Stack = (Arc<Core>, Arc<dyn LayerBackend>);

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// How many findings were repaired.
    pub repaired: usize,
}

impl Repaired {
    /// The exit status that fsck(8) gives when `after` is what a check finds now: 0 if nothing was
    /// wrong, 1 if all that was wrong was corrected, 4 if something is left.
    #[must_use]
    pub fn exit_status(&self, after: &super::Report) -> u8 {
        match (after.exit_status(), self.repaired) {
            (0, 0) => 0,
            (0, _) => 1,
            (left, _) => left,
        }
    }
}

impl Repair<'_> {
    /// The findings that are going to be repaired, with their plans, in order.
    pub fn plans(&self) -> impl Iterator<Item = (&Finding, &Plan)> {
        let plan = |finding: &&Finding| finding.plan.is_some();
        self.parts
            .iter()
            .map(|(finding, _)| *finding)
            .filter(plan)
            .filter_map(|finding| Some((finding, finding.plan.as_ref()?)))
    }

    /// True if there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plans().next().is_none()
    }

    /// Applies all plans, one after the other. The layers must be as they were when they were checked.
    /// What is repaired may show what it hid (a directory that could not be used, a hint that was
    /// wrong): check again, and repair what is found then.
    ///
    /// # Errors
    /// The first failure, with the path of its finding; what was repaired until then stays so.
    /// `EROFS`: the upper is read-only, or there is none.
    ///
    /// # Effects
    /// Only the upper, its staging directory and its index are written.
    pub fn apply(&self) -> Result<Repaired> {
        let mut done = Repaired::default();
        for (finding, bound) in &self.parts {
            let Some(plan) = &finding.plan else { continue };
            let read_only = || Error::new("repair", &finding.path, Errno::EROFS);
            let (core, layer) = self.stack.ok_or_else(read_only)?;
            let upper = layer.upper().ok_or_else(read_only)?;
            let mut plan = plan.clone();
            plan.steps.retain(|planned| !is_done(&planned.step, bound));
            core.execute_on(upper, &plan, (*bound).clone())
                .map_err(|e| e.into_error("repair", &finding.path))?;
            done.repaired += 1;
        }
        Ok(done)
    }
}

/// An attribute that is gone already: two names of one file have one attribute, and a finding each.
fn is_done(step: &Step, bound: &[Option<NodeRef>]) -> bool {
    let node = |object: &Obj| bound.get(object.0).and_then(Option::as_ref);
    match step {
        Step::SetOverlay {
            object,
            attr,
            value: None,
        } => node(object).is_some_and(|n| matches!(n.overlay_attr(*attr), Ok(None))),
        Step::SetXattr {
            object,
            name,
            value: None,
            ..
        } => node(object).is_some_and(|n| matches!(n.xattr(name), Ok(None))),
        _ => false,
    }
}

impl fmt::Debug for Repair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.plans()).finish()
    }
}

impl fmt::Display for Repair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (finding, plan) in self.plans() {
            if !first {
                writeln!(f)?;
            }
            first = false;
            writeln!(f, "{finding}")?;
            if let Remedy::Chooses(reading) = finding.remedy {
                writeln!(f, "    chosen: {reading}")?;
            }
            write!(f, "{plan}")?;
        }
        Ok(())
    }
}
