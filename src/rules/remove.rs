//! Removal: what is taken away and when a whiteout stays (rules R081 to R083, R122 to R130).

use crate::backend::{NewKind, NewNode, RemoveKind, RenameHow};
use crate::meta::{Metadata, SetAttr, SetTime, Timestamp};
use crate::path::Name;
use crate::rules::plan::{Obj, Place, Plan, Role, Step};
use crate::rules::whiteout::OPAQUE;
use crate::xattr_name::{OverlayAttr, XattrName};

/// What removal needs to know.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The upper directory that holds (or will hold) the name.
    pub(crate) place: Place,
    pub(crate) is_dir: bool,
    /// The object is in the upper.
    pub(crate) in_upper: bool,
    /// See [`crate::rules::whiteout::lower_positive`].
    pub(crate) lower_positive: bool,
    /// The work directory, and a free name in it.
    pub(crate) work: Obj,
    pub(crate) temp: Name,
}

/// Whether the emptiness of a directory to be removed is judged by the merged view (rules R125 to
/// R127); a pure upper directory is left to the upper's own rmdir.
pub(crate) fn checks_merged_view(lower_positive: bool, pure_upper: bool) -> bool {
    lower_positive || !pure_upper
}

/// Appends the removal; answers the index of the commit.
pub(crate) fn plan(plan: &mut Plan, f: &Facts) -> usize {
    let kind = if f.is_dir {
        RemoveKind::Directory
    } else {
        RemoveKind::NonDirectory
    };
    match (f.lower_positive, f.in_upper) {
        (false, _) => plan.push(
            Role::Commit,
            Step::Remove {
                at: f.place.clone(),
                kind,
            },
        ),
        (true, false) => plan.push(
            Role::Commit,
            Step::Whiteout {
                at: f.place.clone(),
            },
        ),
        (true, true) => {
            let temp = Place {
                dir: f.work,
                name: f.temp.clone(),
            };
            plan.push(Role::Neutral, Step::Whiteout { at: temp.clone() });
            let how = if f.is_dir {
                RenameHow::Exchange
            } else {
                RenameHow::Replace
            };
            let commit = plan.push(
                Role::Commit,
                Step::Rename {
                    object: None,
                    from: temp.clone(),
                    to: f.place.clone(),
                    how,
                },
            );
            if f.is_dir {
                plan.push(Role::CleanUp, Step::Remove { at: temp, kind });
            }
            commit
        }
    }
}

/// What replacing a directory of whiteouts by an empty opaque one needs to know (rule R129).
#[derive(Debug)]
pub(crate) struct ClearFacts<'a> {
    /// Where the directory is.
    pub(crate) place: Place,
    /// The times of the directory that holds it, to be restored, so that what fails then leaves no trace.
    pub(crate) dir_times: Option<(Timestamp, Timestamp)>,
    /// The directory.
    pub(crate) dir: Obj,
    pub(crate) meta: &'a Metadata,
    /// Its extended attributes: raw names, private ones removed.
    pub(crate) xattrs: Vec<XattrName>,
    /// The whiteouts in it.
    pub(crate) whiteouts: Vec<Name>,
    pub(crate) work: Obj,
    pub(crate) temp: Name,
}

/// Appends the exchange of a directory that holds only whiteouts for an empty opaque one; the old
/// one is then taken apart in the work directory, at once, since what follows may fail. Answers the index of the exchange, which makes
/// `fresh` the directory.
pub(crate) fn plan_clear(plan: &mut Plan, fresh: Obj, f: &ClearFacts<'_>) -> usize {
    let temp = Place {
        dir: f.work,
        name: f.temp.clone(),
    };
    let node = NewNode {
        kind: NewKind::Directory,
        mode: 0o700,
        uid: Some(f.meta.uid),
        gid: Some(f.meta.gid),
    };
    plan.push(
        Role::Neutral,
        Step::Create {
            at: temp.clone(),
            node,
            object: fresh,
        },
    );
    if !f.xattrs.is_empty() {
        let names = f.xattrs.clone();
        plan.push(
            Role::Neutral,
            Step::CopyXattrs {
                from: f.dir,
                to: fresh,
                names,
            },
        );
    }
    let value = Some(OPAQUE.to_vec());
    plan.push(
        Role::Neutral,
        Step::SetOverlay {
            object: fresh,
            attr: OverlayAttr::Opaque,
            value,
        },
    );
    let mut attr = SetAttr::like(f.meta);
    (attr.uid, attr.gid) = (None, None);
    plan.push(
        Role::Neutral,
        Step::SetAttr {
            object: fresh,
            attr,
        },
    );
    let exchange = Step::Rename {
        object: Some(fresh),
        from: temp.clone(),
        to: f.place.clone(),
        how: RenameHow::Exchange,
    };
    let done = plan.push(Role::Neutral, exchange);
    if let Some((atime, mtime)) = f.dir_times {
        let attr = SetAttr::times(SetTime::At(atime), SetTime::At(mtime));
        plan.push(
            Role::BestEffort,
            Step::SetAttr {
                object: f.place.dir,
                attr,
            },
        );
    }
    for name in &f.whiteouts {
        let at = Place {
            dir: f.dir,
            name: name.clone(),
        };
        plan.push(
            Role::BestEffort,
            Step::Remove {
                at,
                kind: RemoveKind::NonDirectory,
            },
        );
    }
    plan.push(
        Role::BestEffort,
        Step::Remove {
            at: temp,
            kind: RemoveKind::Directory,
        },
    );
    done
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test may panic"
    )]
    use super::*;
    use crate::error::LayerId;

    #[test]
    fn r122_to_r130_table() {
        // is_dir, in_upper, lower_positive, expected steps
        let rows = [
            (false, true, false, vec!["remove"]),
            (false, false, true, vec!["whiteout"]),
            (false, true, true, vec!["whiteout", "replace"]),
            (true, true, false, vec!["remove"]),
            (true, false, true, vec!["whiteout"]),
            (true, true, true, vec!["whiteout", "exchange", "remove"]),
        ];
        for (is_dir, in_upper, lower_positive, expected) in rows {
            let mut p = Plan::default();
            let dir = p.object(LayerId::Upper, "/".into());
            let work = p.object(LayerId::Work, "/".into());
            let facts = Facts {
                place: Place {
                    dir,
                    name: Name::try_from("x").unwrap(),
                },
                is_dir,
                in_upper,
                lower_positive,
                work,
                temp: Name::try_from("#0").unwrap(),
            };
            let commit = plan(&mut p, &facts);
            let got: Vec<_> = p
                .steps
                .iter()
                .map(|s| match &s.step {
                    Step::Remove { .. } => "remove",
                    Step::Whiteout { .. } => "whiteout",
                    Step::Rename {
                        how: RenameHow::Replace,
                        ..
                    } => "replace",
                    Step::Rename {
                        how: RenameHow::Exchange,
                        ..
                    } => "exchange",
                    _ => "other",
                })
                .collect();
            assert_eq!(got, expected);
            assert_eq!(p.steps[commit].role, Role::Commit);
        }
    }
}
