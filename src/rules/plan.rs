//! The plan of a mutation: steps decided before anything is touched.
//!
//! A plan is zero or more *neutral* steps (nothing that the merged tree shows changes), at most one
//! *commit*, then clean-up. A failure at any step leaves the tree as before or as after.

use std::fmt;
use std::path::PathBuf;

use crate::backend::{NewNode, RemoveKind, RenameHow, XattrMode};
use crate::error::LayerId;
use crate::meta::{InodeFlags, SetAttr};
use crate::path::{Name, display_path};
use crate::rules::cost::{Cost, Estimate};
use crate::xattr_name::{OverlayAttr, XattrName};

/// Steps of a copy-up and what comes after it, mostly: room for them is made once.
const STEPS_GUESS: usize = 12;

/// An object that a plan speaks of: an index into [`Plan::objects`].
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Obj(pub(crate) usize);

/// What an object is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct PlanObject {
    /// The layer it lies in; [`LayerId::Work`] for the staging directory, or the index that is used as
    /// such.
    pub layer: LayerId,
    /// Its path in the union (for a staged object: the path that it is meant for).
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
}

/// A directory and a name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Place {
    /// The directory.
    pub dir: Obj,
    /// The name.
    pub name: Name,
}

/// One call of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[allow(
    missing_docs,
    reason = "the fields are those of the backend method that a variant names"
)]
#[non_exhaustive]
pub enum Step {
    /// Creates a node.
    Create {
        at: Place,
        node: NewNode,
        object: Obj,
    },
    /// Creates an unnamed file.
    Tmpfile {
        dir: Obj,
        node: NewNode,
        object: Obj,
    },
    /// Creates a whiteout.
    Whiteout { at: Place },
    /// Copies the data extents of a file and sets its size; with `keep_size` it only grows if data
    /// need it. `data_bytes`: how many bytes the extents hold, where that was asked for.
    CopyData {
        from: Obj,
        to: Obj,
        size: u64,
        keep_size: bool,
        data_bytes: Option<u64>,
    },
    /// Copies extended attributes.
    CopyXattrs {
        from: Obj,
        to: Obj,
        names: Vec<XattrName>,
    },
    /// Sets (`Some`) or removes an extended attribute.
    SetXattr {
        object: Obj,
        name: XattrName,
        value: Option<Vec<u8>>,
        mode: XattrMode,
    },
    /// Sets (`Some`) or removes an overlay attribute.
    SetOverlay {
        object: Obj,
        attr: OverlayAttr,
        value: Option<Vec<u8>>,
    },
    /// Sets an overlay attribute to the file handle of another upper object.
    SetHandle {
        object: Obj,
        attr: OverlayAttr,
        of: Obj,
    },
    /// Sets owner, mode, times.
    SetAttr { object: Obj, attr: SetAttr },
    /// Sets inode flags.
    SetFlags { object: Obj, flags: InodeFlags },
    /// Sets the size of a file.
    SetLen { object: Obj, len: u64 },
    /// Makes content durable.
    Sync { object: Obj },
    /// Gives an object one more name (or its first).
    Link { object: Obj, to: Place },
    /// Renames. `object` is what `from` names; `None`: a whiteout.
    Rename {
        object: Option<Obj>,
        from: Place,
        to: Place,
        how: RenameHow,
    },
    /// Removes a name.
    Remove { at: Place, kind: RemoveKind },
}

/// What a step is to the merged tree.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Role {
    /// Prepares an object outside the tree. May run before any lock is taken.
    Stage,
    /// Changes a layer but nothing that the tree shows.
    Neutral,
    /// As `Neutral`, and its failure is not an error (attributes that are an optimisation, times
    /// of a parent that are restored, the remains of a directory that was exchanged).
    BestEffort,
    /// The change itself. At most one in a plan.
    Commit,
    /// Removes what is no longer visible. Its failure is not an error: leftovers lie in the work
    /// directory and are swept when it is next opened.
    CleanUp,
    /// Takes back a mark that is only there for the clean-up before it, which must have succeeded, or
    /// have had nothing to do as nothing was committed. Its failure is not an error: the mark says
    /// nothing by itself.
    Unmark,
}

/// A step and its role.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct PlannedStep {
    /// The step.
    pub step: Step,
    /// Its role.
    pub role: Role,
}

/// The steps of one mutation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Plan {
    /// The objects that steps speak of.
    pub objects: Vec<PlanObject>,
    /// The steps in order.
    pub steps: Vec<PlannedStep>,
    /// What cannot be counted, as far as it can be told.
    pub estimate: Estimate,
}

impl Plan {
    /// The cost of all steps together.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let mut cost = Cost::default();
        for planned in &self.steps {
            cost += Cost::of(&planned.step);
        }
        cost
    }

    /// True if nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(crate) fn object(&mut self, layer: LayerId, path: PathBuf) -> Obj {
        self.objects.push(PlanObject { layer, path });
        Obj(self.objects.len() - 1)
    }

    pub(crate) fn push(&mut self, role: Role, step: Step) -> usize {
        if self.steps.is_empty() {
            self.steps.reserve(STEPS_GUESS);
        }
        self.steps.push(PlannedStep { step, role });
        self.steps.len() - 1
    }

    fn show(&self, obj: Obj) -> String {
        match self.objects.get(obj.0) {
            Some(o) => format!("{}:{}", o.layer, display_path(&o.path)),
            None => format!("object {}", obj.0),
        }
    }

    fn show_place(&self, place: &Place) -> String {
        format!("{} of {}", place.name, self.show(place.dir))
    }

    /// What a step does, for people.
    #[must_use]
    pub fn describe(&self, step: &Step) -> String {
        match step {
            Step::Create { at, node, object } => {
                format!(
                    "create {} {:04o} for {} as {}",
                    node.kind.file_type(),
                    node.mode,
                    self.show(*object),
                    self.show_place(at)
                )
            }
            Step::Tmpfile { dir, object, .. } => {
                let (object, dir) = (self.show(*object), self.show(*dir));
                format!("create an unnamed file for {object} in {dir}")
            }
            Step::Whiteout { at } => format!("create whiteout {}", self.show_place(at)),
            Step::CopyData {
                from,
                size,
                data_bytes,
                ..
            } => match data_bytes {
                Some(data) => format!(
                    "copy {data} bytes of data ({size} in size) of {}",
                    self.show(*from)
                ),
                None => format!(
                    "copy the data of {} ({size} bytes in size)",
                    self.show(*from)
                ),
            },
            Step::CopyXattrs { from, names, .. } => {
                format!(
                    "copy {} extended attributes of {}",
                    names.len(),
                    self.show(*from)
                )
            }
            Step::SetXattr {
                object,
                name,
                value,
                ..
            } => {
                let verb = if value.is_some() { "set" } else { "remove" };
                format!("{verb} {name} on {}", self.show(*object))
            }
            Step::SetOverlay {
                object,
                attr,
                value,
            } => {
                let verb = if value.is_some() { "set" } else { "remove" };
                format!("{verb} {attr} on {}", self.show(*object))
            }
            Step::SetHandle { object, attr, of } => {
                let (object, of) = (self.show(*object), self.show(*of));
                format!("set {attr} on {object} to the handle of {of}")
            }
            Step::SetAttr { object, .. } => format!("set attributes of {}", self.show(*object)),
            Step::SetFlags { object, .. } => format!("set inode flags of {}", self.show(*object)),
            Step::SetLen { object, len } => format!("set size of {} to {len}", self.show(*object)),
            Step::Sync { object } => format!("sync {}", self.show(*object)),
            Step::Link { object, to } => {
                format!("link {} as {}", self.show(*object), self.show_place(to))
            }
            Step::Rename { from, to, how, .. } => {
                let how = match how {
                    RenameHow::NoReplace => "",
                    RenameHow::Replace => " (replacing)",
                    RenameHow::Exchange => " (exchanging)",
                    RenameHow::LeaveWhiteout => " (leaving a whiteout)",
                };
                format!(
                    "rename {} to {}{how}",
                    self.show_place(from),
                    self.show_place(to)
                )
            }
            Step::Remove { at, .. } => format!("remove {}", self.show_place(at)),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, planned) in self.steps.iter().enumerate() {
            let role = match planned.role {
                Role::Stage => "stage",
                Role::Neutral | Role::BestEffort => "prepare",
                Role::Commit => "commit",
                Role::CleanUp | Role::Unmark => "clean up",
            };
            if i > 0 {
                writeln!(f)?;
            }
            write!(
                f,
                "{:2}. {role:>8}: {}",
                i + 1,
                self.describe(&planned.step)
            )?;
        }
        Ok(())
    }
}
