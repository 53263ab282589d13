//! Creation: owner and mode of a new object, and how it gets its name (rules R087, R088, R112 to
//! R121, R134 to R138).

use crate::backend::{NewKind, NewNode, RemoveKind, RenameHow, XattrMode};
use crate::credentials::{CapabilitySet, Credentials};
use crate::errno::Errno;
use crate::meta::Metadata;
use crate::rules::plan::{Obj, Place, Plan, Role, Step};
use crate::rules::whiteout::OPAQUE;
use crate::rules::{Features, permission};
use crate::xattr_name::{OverlayAttr, XattrName};

const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o010;

/// Owner, group and mode of a new object (rule R116): the caller's, but in a directory with
/// set-group-id the group is the directory's, a directory inherits the bit, and an executable file
/// may have it only if the caller is in that group. `mode`: as asked for, before umask or default
/// access list. Owner and group are `None` if they are those of the process.
pub(crate) fn inherit(
    dir: &Metadata,
    caller: Option<&Credentials>,
    is_dir: bool,
    mode: u32,
) -> (Option<u32>, Option<u32>, u32) {
    let uid = caller.map(|c| c.uid);
    if dir.mode & S_ISGID == 0 {
        return (uid, caller.map(|c| c.gid), mode);
    }
    let runs_as_group = mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP;
    let mode = match is_dir {
        true => mode | S_ISGID,
        false if runs_as_group && !permission::keeps_set_gid(caller, dir.gid) => mode & !S_ISGID,
        false => mode,
    };
    (uid, Some(dir.gid), mode)
}

/// Checks the capability that making a device takes. (A whiteout takes none, but is refused
/// otherwise.)
///
/// # Errors
/// `EPERM`.
pub(crate) fn may_make(caller: Option<&Credentials>, kind: &NewKind) -> Result<(), Errno> {
    let device = match kind {
        NewKind::CharDevice(rdev) => !rdev.is_zero(),
        NewKind::BlockDevice(_) => true,
        _ => false,
    };
    match device && caller.is_some_and(|c| !c.has(CapabilitySet::MKNOD)) {
        true => Err(Errno::EPERM),
        false => Ok(()),
    }
}

/// What creation needs to know.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) place: Place,
    pub(crate) node: NewNode,
    /// It is a file to be opened, and the upper has files without names: made as one, and given its name once it is
    /// complete, it need not be opened by it.
    pub(crate) unnamed: bool,
    /// Attributes that the object is born with (access lists).
    pub(crate) xattrs: Vec<(XattrName, Vec<u8>)>,
    /// The upper has a whiteout at the name.
    pub(crate) over_whiteout: bool,
    /// The directory is merged.
    pub(crate) parent_merged: bool,
    pub(crate) features: Features,
    /// The upper can store overlay attributes.
    pub(crate) stores_overlay_attrs: bool,
    pub(crate) work: Obj,
    pub(crate) temp: crate::path::Name,
}

/// Whether a new directory is opaque: over a whiteout it must be (rule R087); in a merged parent it may,
/// where lowers cannot change offline, so that no lookup asks them (rule R088).
pub(crate) fn is_opaque(f: &Facts) -> bool {
    let early = f.parent_merged && f.stores_overlay_attrs && !f.features.allow_offline_changes();
    f.node.kind.file_type().is_dir() && (f.over_whiteout || early)
}

/// Appends the creation of `object`; answers the commit's index.
pub(crate) fn plan(plan: &mut Plan, object: Obj, f: &Facts) -> usize {
    let is_dir = f.node.kind.file_type().is_dir();
    let opaque = is_opaque(f);
    if f.unnamed {
        let (dir, node) = (f.work, f.node.clone());
        plan.push(Role::Stage, Step::Tmpfile { dir, node, object });
        plan_xattrs(plan, object, f);
        let temp = Place {
            dir: f.work,
            name: f.temp.clone(),
        };
        let facts = LinkFacts {
            place: f.place.clone(),
            over_whiteout: f.over_whiteout,
            temp,
            kept: false,
        };
        return plan_link(plan, object, facts).0;
    }
    if !f.over_whiteout && f.xattrs.is_empty() && !opaque {
        let step = Step::Create {
            at: f.place.clone(),
            node: f.node.clone(),
            object,
        };
        return plan.push(Role::Commit, step);
    }
    let temp = Place {
        dir: f.work,
        name: f.temp.clone(),
    };
    plan.push(
        Role::Stage,
        Step::Create {
            at: temp.clone(),
            node: f.node.clone(),
            object,
        },
    );
    plan_xattrs(plan, object, f);
    if opaque {
        let role = if f.over_whiteout {
            Role::Stage
        } else {
            Role::BestEffort
        };
        let value = Some(OPAQUE.to_vec());
        plan.push(
            role,
            Step::SetOverlay {
                object,
                attr: OverlayAttr::Opaque,
                value,
            },
        );
    }
    let how = match (f.over_whiteout, is_dir) {
        (false, _) => RenameHow::NoReplace,
        (true, false) => RenameHow::Replace,
        (true, true) => RenameHow::Exchange,
    };
    let commit = plan.push(
        Role::Commit,
        Step::Rename {
            object: Some(object),
            from: temp.clone(),
            to: f.place.clone(),
            how,
        },
    );
    if how == RenameHow::Exchange {
        plan.push(
            Role::CleanUp,
            Step::Remove {
                at: temp,
                kind: RemoveKind::NonDirectory,
            },
        );
    }
    commit
}

fn plan_xattrs(plan: &mut Plan, object: Obj, f: &Facts) {
    for (name, value) in &f.xattrs {
        let step = Step::SetXattr {
            object,
            name: name.clone(),
            value: Some(value.clone()),
            mode: XattrMode::Set,
        };
        plan.push(Role::Stage, step);
    }
}

/// What a further name needs to know.
#[derive(Debug)]
pub(crate) struct LinkFacts {
    pub(crate) place: Place,
    /// The upper has a whiteout at the name.
    pub(crate) over_whiteout: bool,
    /// A place in the work directory.
    pub(crate) temp: Place,
    /// The object has that name there already, and no other, from an attempt that failed.
    pub(crate) kept: bool,
}

/// Appends one more name for `object`; answers the commit's index, and that of the step that gives it
/// a name in the work directory (rules R134, R138).
pub(crate) fn plan_link(plan: &mut Plan, object: Obj, f: LinkFacts) -> (usize, Option<usize>) {
    if !f.over_whiteout && !f.kept {
        let to = f.place;
        return (plan.push(Role::Commit, Step::Link { object, to }), None);
    }
    let staged = (!f.kept).then(|| {
        let to = f.temp.clone();
        plan.push(Role::Neutral, Step::Link { object, to })
    });
    let how = match f.over_whiteout {
        true => RenameHow::Replace,
        false => RenameHow::NoReplace,
    };
    let rename = Step::Rename {
        object: Some(object),
        from: f.temp,
        to: f.place,
        how,
    };
    (plan.push(Role::Commit, rename), staged)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;
    use crate::error::LayerId;
    use crate::meta::FileType;
    use crate::path::Name;

    fn planned(kind: NewKind, change: impl FnOnce(&mut Facts)) -> Vec<String> {
        let mut p = Plan::default();
        let dir = p.object(LayerId::Upper, "/".into());
        let work = p.object(LayerId::Work, "/".into());
        let object = p.object(LayerId::Upper, "/x".into());
        let mut facts = Facts {
            place: Place {
                dir,
                name: Name::try_from("x").unwrap(),
            },
            node: NewNode {
                kind,
                mode: 0o755,
                uid: None,
                gid: None,
            },
            unnamed: false,
            xattrs: Vec::new(),
            over_whiteout: false,
            parent_merged: true,
            features: Features::DEFAULT,
            stores_overlay_attrs: true,
            work,
            temp: Name::try_from("#0").unwrap(),
        };
        change(&mut facts);
        plan(&mut p, object, &facts);
        p.steps
            .iter()
            .map(|s| match &s.step {
                Step::Rename { how, .. } => format!("{how:?}"),
                Step::SetOverlay { .. } => "opaque".to_owned(),
                Step::Create { at, .. } if at.dir == work => "stage".to_owned(),
                Step::Create { .. } => "create".to_owned(),
                Step::Remove { .. } => "remove".to_owned(),
                Step::SetXattr { .. } => "xattr".to_owned(),
                Step::Tmpfile { .. } => "unnamed".to_owned(),
                Step::Link { .. } => "link".to_owned(),
                _ => "other".to_owned(),
            })
            .collect()
    }

    #[test]
    fn r114_without_a_whiteout_the_object_is_created_in_place() {
        assert_eq!(planned(NewKind::File, |_| {}), ["create"]);
        assert_eq!(
            planned(NewKind::Directory, |_| {}),
            ["create"],
            "R088: no opaque by default"
        );
    }

    #[test]
    fn r114_a_file_to_be_opened_gets_its_name_last() {
        let with = |over_whiteout, xattrs| {
            planned(NewKind::File, |f| {
                (f.unnamed, f.over_whiteout, f.xattrs) = (true, over_whiteout, xattrs);
            })
        };
        let lists = vec![(XattrName::new("user.a").unwrap(), Vec::new())];
        assert_eq!(with(false, Vec::new()), ["unnamed", "link"]);
        assert_eq!(with(false, lists), ["unnamed", "xattr", "link"]);
        assert_eq!(with(true, Vec::new()), ["unnamed", "link", "Replace"]);
    }

    #[test]
    fn r115_r087_over_a_whiteout() {
        assert_eq!(
            planned(NewKind::File, |f| f.over_whiteout = true),
            ["stage", "Replace"]
        );
        assert_eq!(
            planned(NewKind::Directory, |f| f.over_whiteout = true),
            ["stage", "opaque", "Exchange", "remove"]
        );
    }

    #[test]
    fn r088_opaque_in_a_merged_parent_if_offline_changes_are_forbidden() {
        let with = |merged| {
            planned(NewKind::Directory, |f| {
                f.features.redirect_create = true;
                f.parent_merged = merged;
            })
        };
        assert_eq!(with(true), ["stage", "opaque", "NoReplace"]);
        assert_eq!(with(false), ["create"]);
        let unstorable = planned(NewKind::Directory, |f| {
            f.features.redirect_create = true;
            f.stores_overlay_attrs = false;
        });
        assert_eq!(unstorable, ["create"]);
    }

    #[test]
    fn r116_set_group_id_directories() {
        let dir = |mode| Metadata {
            gid: 5,
            ..Metadata::new(FileType::Directory, mode)
        };
        let (plain, set) = (dir(0o755), dir(0o2755));
        let out = Credentials::user(1, 2);
        let member = out.clone().groups([5]);
        let capable = out.clone().capabilities(CapabilitySet::FSETID);
        let rows = [
            (&plain, None, true, 0o700, (None, None, 0o700)),
            (
                &plain,
                Some(&out),
                false,
                0o6755,
                (Some(1), Some(2), 0o6755),
            ),
            (&set, None, true, 0o700, (None, Some(5), 0o2700)),
            (&set, None, false, 0o2755, (None, Some(5), 0o2755)),
            (&set, Some(&out), false, 0o700, (Some(1), Some(5), 0o700)),
            (&set, Some(&out), false, 0o2755, (Some(1), Some(5), 0o755)),
            (&set, Some(&out), false, 0o2745, (Some(1), Some(5), 0o2745)),
            (&set, Some(&out), true, 0o2755, (Some(1), Some(5), 0o2755)),
            (
                &set,
                Some(&member),
                false,
                0o2755,
                (Some(1), Some(5), 0o2755),
            ),
            (
                &set,
                Some(&capable),
                false,
                0o2755,
                (Some(1), Some(5), 0o2755),
            ),
        ];
        for (dir, caller, is_dir, mode, expected) in rows {
            let got = inherit(dir, caller, is_dir, mode);
            assert_eq!(got, expected, "{:o} {caller:?} {is_dir} {mode:o}", dir.mode);
        }
    }
}
