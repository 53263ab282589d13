//! Rename: what is allowed, what must be copied up, set and left behind (rules R139 to R155).

use crate::backend::{RemoveKind, RenameHow};
use crate::errno::Errno;
use crate::op::RenameFlags;
use crate::rules::Features;
use crate::rules::plan::{Obj, Place, Plan, Role, Step};
use crate::rules::redirect::Form;
use crate::rules::whiteout::OPAQUE;
use crate::xattr_name::OverlayAttr;

/// One of the two names of a rename.
#[derive(Copy, Clone, Debug, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts, tested in a table"
)]
pub(crate) struct Side {
    /// Something is visible there.
    pub(crate) exists: bool,
    pub(crate) is_dir: bool,
    /// A lower-only object, or one merged from several layers (for a non-directory: a metacopy).
    pub(crate) merged_or_lower: bool,
    /// A directory without lowers and without the origin mark.
    pub(crate) pure_upper: bool,
    /// The upper has a whiteout at the name.
    pub(crate) whiteout: bool,
    /// Removing the name must leave a whiteout.
    pub(crate) lower_positive: bool,
    /// It was copied up from a lower object that is still known, or still is there.
    pub(crate) origin: bool,
    /// An opaque upper directory.
    pub(crate) opaque: bool,
    /// Its parent directory is merged.
    pub(crate) parent_merged: bool,
    /// Its parent directory is listed as the upper has it: neither merged nor marked with an origin.
    pub(crate) parent_pure: bool,
    /// A file that has only attributes in the upper, or will have once it is copied up.
    pub(crate) metacopy: bool,
    /// The lower of a non-directory has several names.
    pub(crate) hard_linked: bool,
}

/// Both names.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) old: Side,
    pub(crate) new: Side,
    pub(crate) same_dir: bool,
    pub(crate) flags: RenameFlags,
    pub(crate) features: Features,
}

/// The checks that the VFS makes before the filesystem is asked (rules R139, R140). `same`: both
/// names are one object; `nested`: one directory lies inside the other (`old_in_new`, `new_in_old`).
///
/// Answers whether there is anything to do.
pub(crate) fn check(
    f: &Facts,
    same: bool,
    new_in_old: bool,
    old_in_new: bool,
    wants_dir: (bool, bool),
) -> Result<bool, Errno> {
    let RenameFlags {
        no_replace,
        exchange,
        whiteout,
    } = f.flags;
    if (no_replace || whiteout) && exchange {
        return Err(Errno::EINVAL);
    }
    if no_replace && f.new.exists {
        return Err(Errno::EEXIST);
    }
    if exchange {
        if !f.new.exists {
            return Err(Errno::ENOENT);
        }
        if !f.new.is_dir && wants_dir.1 {
            return Err(Errno::ENOTDIR);
        }
    }
    if !f.old.is_dir && (wants_dir.0 || (!exchange && wants_dir.1)) {
        return Err(Errno::ENOTDIR);
    }
    if new_in_old {
        return Err(Errno::EINVAL);
    }
    if old_in_new {
        return Err(if exchange {
            Errno::EINVAL
        } else {
            Errno::ENOTEMPTY
        });
    }
    Ok(!same)
}

/// The check that comes between those of what may be done to the old name and to the new one:
/// only a directory replaces a directory.
pub(crate) fn check_types(f: &Facts) -> Result<(), Errno> {
    match (f.old.is_dir, f.new.is_dir) {
        _ if f.flags.exchange || !f.new.exists => Ok(()),
        (true, false) => Err(Errno::ENOTDIR),
        (false, true) => Err(Errno::EISDIR),
        _ => Ok(()),
    }
}

/// The check that comes after the caller's rights.
pub(crate) fn check_flags(f: &Facts) -> Result<(), Errno> {
    match f.flags.whiteout {
        true => Err(Errno::EINVAL),
        false => Ok(()),
    }
}

/// Whether the filesystem can move the objects at all (rule R141). Comes before emptiness is judged.
pub(crate) fn can_move(f: &Facts) -> Result<(), Errno> {
    let fixed = |side: &Side| side.is_dir && side.merged_or_lower && !f.features.redirect_create;
    if fixed(&f.old) || (f.flags.exchange && fixed(&f.new)) {
        return Err(Errno::EXDEV);
    }
    Ok(())
}

/// Whether the target must be found empty in the merged view (rule R143).
pub(crate) fn checks_target_empty(f: &Facts) -> bool {
    !f.flags.exchange && f.new.exists && f.new.is_dir && !f.new.pure_upper
}

/// What the rename comes to in the upper.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent decisions, tested in a table"
)]
pub(crate) struct Decision {
    pub(crate) how: RenameHow,
    /// A whiteout comes to the old name by the exchange and must be removed (rule R146).
    pub(crate) cleans_whiteout: bool,
    /// That whiteout would be listed: until it is removed, the old parent gets an empty origin, for
    /// which listings leave whiteouts out (rule R080).
    pub(crate) hides_whiteout: bool,
    /// Directories that receive a copied-up object (rule R149).
    pub(crate) new_parent_impure: bool,
    pub(crate) old_parent_impure: bool,
    /// Lower or merged objects that must have a redirect (rules R148, R151).
    pub(crate) redirect_old: Option<Form>,
    pub(crate) redirect_new: Option<Form>,
    /// Pure upper directories that must not merge with what is below their new name (rule R148).
    pub(crate) opaque_old: bool,
    pub(crate) opaque_new: bool,
}

/// Decides (rules R144 to R150).
pub(crate) fn decide(f: &Facts) -> Decision {
    let (old, new, exchange) = (f.old, f.new, f.flags.exchange);
    let mut cleans_whiteout = false;
    let how = if exchange {
        RenameHow::Exchange
    } else if old.lower_positive {
        if new.whiteout {
            RenameHow::Exchange
        } else {
            RenameHow::LeaveWhiteout
        }
    } else if old.is_dir && new.whiteout {
        cleans_whiteout = true;
        RenameHow::Exchange
    } else {
        RenameHow::Replace
    };
    let opaque = |side: Side, other: Side| {
        !side.merged_or_lower && side.is_dir && !side.opaque && other.parent_merged
    };
    let redirect = |side: Side| match side.is_dir {
        true => side.merged_or_lower.then(|| form(side, f.same_dir)),
        false => side.metacopy.then(|| form(side, f.same_dir)),
    };
    Decision {
        how,
        cleans_whiteout,
        hides_whiteout: cleans_whiteout && old.parent_pure,
        new_parent_impure: !f.same_dir && old.origin,
        old_parent_impure: !f.same_dir && exchange && new.origin,
        redirect_old: redirect(old),
        redirect_new: redirect(new).filter(|_| exchange),
        opaque_old: opaque(old, new),
        opaque_new: exchange && opaque(new, old),
    }
}

/// The form of the redirect that an object needs. Another name of a hard link may be in another
/// directory, where a relative one would mean something else (rule R151).
fn form(side: Side, same_dir: bool) -> Form {
    if same_dir && (side.is_dir || !side.hard_linked) {
        Form::Relative
    } else {
        Form::Absolute
    }
}

/// Appends marking a directory that is to be moved as opaque (rule R148).
pub(crate) fn mark_opaque(plan: &mut Plan, object: Obj) -> usize {
    let step = Step::SetOverlay {
        object,
        attr: OverlayAttr::Opaque,
        value: Some(OPAQUE.to_vec()),
    };
    plan.push(Role::Neutral, step)
}

/// Appends storing a redirect on an object that is to be moved or linked (rules R136, R148, R151).
pub(crate) fn set_redirect(plan: &mut Plan, object: Obj, value: Vec<u8>) -> usize {
    let step = Step::SetOverlay {
        object,
        attr: OverlayAttr::Redirect,
        value: Some(value),
    };
    plan.push(Role::Neutral, step)
}

/// The steps of a rename whose success the engine must know of.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) commit: usize,
    /// The old parent is marked with an origin, and is so no longer.
    pub(crate) hidden: Option<(usize, usize)>,
}

/// Appends the rename of `object` itself and what must follow it; what must precede it is there
/// already.
pub(crate) fn plan(
    plan: &mut Plan,
    decision: Decision,
    object: Obj,
    from: Place,
    to: Place,
) -> Steps {
    let origin = |value: Option<Vec<u8>>| Step::SetOverlay {
        object: from.dir,
        attr: OverlayAttr::Origin,
        value,
    };
    let hides = decision.hides_whiteout;
    let marked = hides.then(|| plan.push(Role::BestEffort, origin(Some(Vec::new()))));
    let commit = plan.push(
        Role::Commit,
        Step::Rename {
            object: Some(object),
            from: from.clone(),
            to,
            how: decision.how,
        },
    );
    if decision.cleans_whiteout {
        plan.push(
            Role::CleanUp,
            Step::Remove {
                at: from.clone(),
                kind: RemoveKind::NonDirectory,
            },
        );
    }
    let hidden = marked.map(|marked| (marked, plan.push(Role::Unmark, origin(None))));
    Steps { commit, hidden }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::LayerId;
    use crate::path::Name;

    const FILE: Side = Side {
        exists: true,
        is_dir: false,
        merged_or_lower: false,
        pure_upper: false,
        whiteout: false,
        lower_positive: false,
        origin: false,
        opaque: false,
        parent_merged: true,
        parent_pure: false,
        metacopy: false,
        hard_linked: false,
    };
    const DIR: Side = Side {
        is_dir: true,
        pure_upper: true,
        ..FILE
    };
    const MERGED: Side = Side {
        merged_or_lower: true,
        pure_upper: false,
        ..DIR
    };
    const NONE: Side = Side {
        exists: false,
        ..FILE
    };

    fn facts(old: Side, new: Side, flags: RenameFlags) -> Facts {
        Facts {
            old,
            new,
            same_dir: true,
            flags,
            features: Features::DEFAULT,
        }
    }

    #[test]
    fn r140_checks_of_the_vfs() {
        let run = |f: Facts| {
            let goes_on = check(&f, false, false, false, (false, false))?;
            check_types(&f)?;
            check_flags(&f)?;
            Ok(goes_on)
        };
        let plain = RenameFlags::NONE;
        assert_eq!(run(facts(FILE, DIR, plain)), Err(Errno::EISDIR));
        assert_eq!(run(facts(DIR, FILE, plain)), Err(Errno::ENOTDIR));
        assert_eq!(
            run(facts(FILE, FILE, RenameFlags::NO_REPLACE)),
            Err(Errno::EEXIST)
        );
        assert_eq!(
            run(facts(FILE, NONE, RenameFlags::EXCHANGE)),
            Err(Errno::ENOENT)
        );
        assert_eq!(run(facts(FILE, DIR, RenameFlags::EXCHANGE)), Ok(true));
        assert_eq!(
            run(facts(FILE, NONE, RenameFlags::WHITEOUT)),
            Err(Errno::EINVAL),
            "R139"
        );
        let f = facts(DIR, NONE, plain);
        assert_eq!(
            check(&f, false, true, false, (false, false)),
            Err(Errno::EINVAL)
        );
        let f = facts(FILE, DIR, plain);
        assert_eq!(
            check(&f, false, false, true, (false, false)),
            Err(Errno::ENOTEMPTY)
        );
        let f = facts(FILE, FILE, plain);
        assert_eq!(check(&f, true, false, false, (false, false)), Ok(false));
    }

    #[test]
    fn r141_lower_and_merged_directories_stay() {
        assert_eq!(
            can_move(&facts(MERGED, NONE, RenameFlags::NONE)),
            Err(Errno::EXDEV)
        );
        assert_eq!(
            can_move(&facts(FILE, MERGED, RenameFlags::EXCHANGE)),
            Err(Errno::EXDEV)
        );
        assert_eq!(can_move(&facts(DIR, MERGED, RenameFlags::NONE)), Ok(()));
        let mut f = facts(MERGED, NONE, RenameFlags::NONE);
        f.features.redirect_create = true;
        assert_eq!(can_move(&f), Ok(()));
    }

    #[test]
    fn r145_r146_whiteouts() {
        let positive = Side {
            lower_positive: true,
            ..FILE
        };
        let over_whiteout = Side {
            whiteout: true,
            ..NONE
        };
        let how = |old, new| {
            let d = decide(&facts(old, new, RenameFlags::NONE));
            (d.how, d.cleans_whiteout)
        };
        assert_eq!(how(positive, NONE), (RenameHow::LeaveWhiteout, false));
        assert_eq!(how(positive, over_whiteout), (RenameHow::Exchange, false));
        assert_eq!(how(FILE, over_whiteout), (RenameHow::Replace, false));
        assert_eq!(how(DIR, over_whiteout), (RenameHow::Exchange, true));
        assert_eq!(how(FILE, NONE), (RenameHow::Replace, false));
    }

    #[test]
    fn r146_the_whiteout_is_hidden_where_it_would_be_listed() {
        let over_whiteout = Side {
            whiteout: true,
            ..NONE
        };
        let hides = |old| decide(&facts(old, over_whiteout, RenameFlags::NONE)).hides_whiteout;
        let in_pure = |side| Side {
            parent_merged: false,
            parent_pure: true,
            ..side
        };
        assert!(hides(in_pure(DIR)));
        assert!(!hides(DIR), "merged parents show no whiteouts");
        assert!(!hides(in_pure(FILE)), "a file replaces the whiteout");
    }

    #[test]
    fn r146_the_mark_comes_before_the_whiteout_and_goes_after_it() -> Result<(), Errno> {
        let mut all = Plan::default();
        let dir = all.object(LayerId::Upper, "/p".into());
        let object = all.object(LayerId::Upper, "/p/d".into());
        let [from, to] = ["d", "w"].map(|name| Name::new(name).map(|name| Place { dir, name }));
        let old = Side {
            parent_pure: true,
            ..DIR
        };
        let new = Side {
            whiteout: true,
            ..NONE
        };
        let decision = decide(&facts(old, new, RenameFlags::NONE));
        let steps = plan(&mut all, decision, object, from?, to?);
        assert_eq!((steps.commit, steps.hidden), (1, Some((0, 3))));
        let roles: Vec<_> = all.steps.iter().map(|s| s.role).collect();
        let want = [Role::BestEffort, Role::Commit, Role::CleanUp, Role::Unmark];
        assert_eq!(roles, want);
        Ok(())
    }

    #[test]
    fn r148_opaque_for_pure_upper_directories_in_merged_parents() {
        assert!(decide(&facts(DIR, NONE, RenameFlags::NONE)).opaque_old);
        let unmerged = Side {
            parent_merged: false,
            ..NONE
        };
        assert!(!decide(&facts(DIR, unmerged, RenameFlags::NONE)).opaque_old);
        let opaque = Side {
            opaque: true,
            ..DIR
        };
        assert!(!decide(&facts(opaque, NONE, RenameFlags::NONE)).opaque_old);
        let d = decide(&facts(DIR, DIR, RenameFlags::EXCHANGE));
        assert!(d.opaque_old && d.opaque_new);
    }

    #[test]
    fn r148_r150_r151_redirects() {
        let both = |side, same_dir| {
            let mut f = facts(side, side, RenameFlags::EXCHANGE);
            f.same_dir = same_dir;
            let exchanged = decide(&f);
            assert_eq!(exchanged.redirect_old, exchanged.redirect_new);
            f.flags = RenameFlags::NONE;
            assert_eq!(decide(&f).redirect_new, None, "replaced, not moved");
            assert_eq!(decide(&f).redirect_old, exchanged.redirect_old);
            exchanged.redirect_old
        };
        let metacopy = Side {
            metacopy: true,
            merged_or_lower: true,
            ..FILE
        };
        let linked = Side {
            hard_linked: true,
            ..metacopy
        };
        let lower_file = Side {
            merged_or_lower: true,
            ..FILE
        };
        for (side, same_dir, want) in [
            (MERGED, true, Some(Form::Relative)),
            (MERGED, false, Some(Form::Absolute)),
            (DIR, false, None),
            (lower_file, false, None),
            (metacopy, true, Some(Form::Relative)),
            (metacopy, false, Some(Form::Absolute)),
            (linked, true, Some(Form::Absolute)),
        ] {
            assert_eq!(both(side, same_dir), want, "{side:?} {same_dir}");
        }
    }

    #[test]
    fn r149_impure_only_across_directories() {
        let origin = Side {
            origin: true,
            ..FILE
        };
        let mut f = facts(origin, origin, RenameFlags::EXCHANGE);
        assert!(!decide(&f).new_parent_impure);
        f.same_dir = false;
        assert!(decide(&f).new_parent_impure && decide(&f).old_parent_impure);
    }
}
