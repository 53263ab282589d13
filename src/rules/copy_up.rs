//! Copy-up: what is staged, what is set, in which order (rules R217 to R237).
//!
//! The order within the staging is forced by what system calls take away: a change of owner drops
//! set-id bits and `security.capability`, so does writing; an access list changes the mode. Hence
//! owner, data, extended attributes, mode, times.

use crate::backend::{NewKind, NewNode};
use crate::meta::{FileType, InodeFlags, Metadata, SetAttr, SetTime, Timestamp};
use crate::path::Name;
use crate::rules::attr::protattr;
use crate::rules::config::Fsync;
use crate::rules::plan::{Obj, Place, Plan, Role, Step};
use crate::rules::xattr::CAPABILITY;
use crate::xattr_name::{OverlayAttr, XattrName};

/// What copy-up needs to know about the object and its place.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// The lower object.
    pub(crate) source: Obj,
    /// Its attributes.
    pub(crate) meta: &'a Metadata,
    /// The target, of a symlink.
    pub(crate) target: Option<Vec<u8>>,
    /// The extended attributes to copy: raw names, private ones removed.
    pub(crate) xattrs: Vec<XattrName>,
    /// The value for the overlay attribute `origin`; `None`: it is not set.
    pub(crate) origin: Option<Vec<u8>>,
    /// Its inode flags.
    pub(crate) flags: InodeFlags,
    /// The place in the upper.
    pub(crate) dir: Obj,
    pub(crate) name: Name,
    /// The upper directory's times, to be restored; `None` if the plan changes the directory anyway.
    pub(crate) dir_times: (Timestamp, Timestamp),
    /// The upper directory is to be marked impure (it is not yet, and can be).
    pub(crate) marks_impure: bool,
    /// The work directory, and a free name in it.
    pub(crate) work: Obj,
    pub(crate) temp: Name,
    /// The backend has unnamed files.
    pub(crate) tmpfile: bool,
    /// The data are not wanted (`O_TRUNC`, rule R195).
    pub(crate) truncate: bool,
    /// What is made durable before it is published (rule R240).
    pub(crate) fsync: Fsync,
}

/// Whether copy-up records where the object came from: always for a directory, else only if the
/// lower has one name, since a broken hard link is a new object (rules R231, R232).
pub(crate) fn records_origin(meta: &Metadata) -> bool {
    meta.is_dir() || meta.nlink == 1
}

/// Which steps were appended where.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// The new upper object.
    pub(crate) object: Obj,
    /// Index of the first staging step.
    pub(crate) first: usize,
    /// Index of the step that marks the directory impure, if there is one.
    pub(crate) impure: Option<usize>,
    /// Index of the step that publishes.
    pub(crate) publish: usize,
}

/// Appends the copy-up of one object whose parent is in the upper.
pub(crate) fn plan(plan: &mut Plan, object: Obj, f: &Facts<'_>) -> Planned {
    let first = plan.steps.len();
    let unnamed = f.tmpfile && f.meta.is_file();
    let staged = Place {
        dir: f.work,
        name: f.temp.clone(),
    };
    let node = NewNode {
        kind: new_kind(f),
        mode: if f.meta.is_dir() { 0o700 } else { 0o600 },
        uid: Some(f.meta.uid),
        gid: Some(f.meta.gid),
    };
    plan.push(
        Role::Stage,
        if unnamed {
            Step::Tmpfile {
                dir: f.work,
                node,
                object,
            }
        } else {
            Step::Create {
                at: staged.clone(),
                node,
                object,
            }
        },
    );
    let copies_data = f.meta.is_file() && !f.truncate && f.meta.size > 0;
    if copies_data {
        let step = Step::CopyData {
            from: f.source,
            to: object,
            size: f.meta.size,
            data_bytes: None,
        };
        plan.push(Role::Stage, step);
    }
    let names = xattrs(f);
    if !names.is_empty() {
        plan.push(
            Role::Stage,
            Step::CopyXattrs {
                from: f.source,
                to: object,
                names,
            },
        );
    }
    if let Some(origin) = &f.origin {
        let value = Some(origin.clone());
        plan.push(
            Role::Stage,
            Step::SetOverlay {
                object,
                attr: OverlayAttr::Origin,
                value,
            },
        );
    }
    if let Some(value) = protattr(f.flags) {
        let step = Step::SetOverlay {
            object,
            attr: OverlayAttr::Protattr,
            value: Some(value),
        };
        plan.push(Role::Stage, step);
    }
    if f.flags.sync || f.flags.noatime {
        // An upper without such flags is no reason to fail (rule R226).
        let flags = InodeFlags {
            append: false,
            immutable: false,
            ..f.flags
        };
        plan.push(Role::BestEffort, Step::SetFlags { object, flags });
    }
    let mut attr = SetAttr::like(f.meta);
    (attr.uid, attr.gid) = (None, None);
    if f.truncate {
        attr.mtime = SetTime::Now;
    }
    plan.push(Role::Stage, Step::SetAttr { object, attr });
    let syncs = match f.fsync {
        Fsync::Auto => copies_data,
        Fsync::Strict => f.meta.is_file() || f.meta.is_dir(),
        Fsync::Volatile | Fsync::Off => false,
    };
    if syncs {
        plan.push(Role::Stage, Step::Sync { object });
    }
    let impure = f.marks_impure.then(|| mark_impure(plan, f.dir));
    let to = Place {
        dir: f.dir,
        name: f.name.clone(),
    };
    let publish = plan.push(
        Role::Neutral,
        if unnamed {
            Step::Link { object, to }
        } else {
            Step::Rename {
                object: Some(object),
                from: staged,
                to,
                how: crate::backend::RenameHow::NoReplace,
            }
        },
    );
    let (atime, mtime) = f.dir_times;
    let attr = SetAttr::times(SetTime::At(atime), SetTime::At(mtime));
    plan.push(
        Role::BestEffort,
        Step::SetAttr {
            object: f.dir,
            attr,
        },
    );
    Planned {
        object,
        first,
        impure,
        publish,
    }
}

/// The attributes to copy. A copy without data is published as what truncating makes of the file, so
/// that nothing else is ever seen: emptied now, and without its capability.
fn xattrs(f: &Facts<'_>) -> Vec<XattrName> {
    let mut names = f.xattrs.clone();
    if f.truncate {
        names.retain(|name| name.as_bytes() != CAPABILITY);
    }
    names
}

/// Appends marking an upper directory as holding copied-up entries (rules R234, R135, R149).
pub(crate) fn mark_impure(plan: &mut Plan, dir: Obj) -> usize {
    let value = Some(b"y".to_vec());
    plan.push(
        Role::Neutral,
        Step::SetOverlay {
            object: dir,
            attr: OverlayAttr::Impure,
            value,
        },
    )
}

fn new_kind(f: &Facts<'_>) -> NewKind {
    match f.meta.file_type {
        FileType::Regular => NewKind::File,
        FileType::Directory => NewKind::Directory,
        FileType::Symlink => NewKind::Symlink(f.target.clone().unwrap_or_default()),
        FileType::Fifo => NewKind::Fifo,
        FileType::Socket => NewKind::Socket,
        FileType::CharDevice => NewKind::CharDevice(f.meta.rdev),
        FileType::BlockDevice => NewKind::BlockDevice(f.meta.rdev),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;
    use crate::error::LayerId;
    use crate::rules::plan::PlannedStep;

    fn planned(meta: &Metadata, change: impl FnOnce(&mut Facts<'_>)) -> (Plan, Planned) {
        let mut p = Plan::default();
        let source = p.object(LayerId::Lower(0), "/f".into());
        let dir = p.object(LayerId::Upper, "/".into());
        let work = p.object(LayerId::Work, "/".into());
        let object = p.object(LayerId::Upper, "/f".into());
        let mut facts = Facts {
            source,
            meta,
            target: None,
            xattrs: Vec::new(),
            origin: None,
            flags: InodeFlags::default(),
            dir,
            name: Name::try_from("f").unwrap(),
            dir_times: (Timestamp::new(1, 0), Timestamp::new(2, 0)),
            marks_impure: true,
            work,
            temp: Name::try_from("#1").unwrap(),
            tmpfile: true,
            truncate: false,
            fsync: Fsync::Auto,
        };
        change(&mut facts);
        let done = plan(&mut p, object, &facts);
        (p, done)
    }

    fn file(size: u64) -> Metadata {
        let mut meta = Metadata::new(FileType::Regular, 0o4755);
        meta.size = size;
        meta
    }

    fn kinds(p: &Plan) -> Vec<&'static str> {
        p.steps
            .iter()
            .map(|s| match s.step {
                Step::Create { .. } => "create",
                Step::Tmpfile { .. } => "tmpfile",
                Step::CopyData { .. } => "data",
                Step::CopyXattrs { .. } => "xattrs",
                Step::SetOverlay { .. } => "overlay",
                Step::SetAttr { .. } => "attr",
                Step::Sync { .. } => "sync",
                Step::Link { .. } => "link",
                Step::Rename { .. } => "rename",
                _ => "other",
            })
            .collect()
    }

    #[test]
    fn r218_r237_a_file_is_staged_whole_then_linked() {
        let (p, done) = planned(&file(10), |f| f.origin = Some(vec![1]));
        assert_eq!(
            kinds(&p),
            [
                "tmpfile", "data", "overlay", "attr", "sync", "overlay", "link", "attr"
            ]
        );
        assert_eq!((done.first, done.impure, done.publish), (0, Some(5), 6));
        assert_eq!(p.cost().data_bytes, 10);
    }

    #[test]
    fn r195_r230_truncation_and_empty_files_copy_no_data() {
        let (p, _) = planned(&file(10), |f| f.truncate = true);
        assert_eq!(p.cost().data_bytes, 0);
        assert!(!kinds(&p).contains(&"sync"), "{p}");
        let now = |s: &PlannedStep| {
            matches!(&s.step, Step::SetAttr { object, attr }
                if attr.mtime == SetTime::Now && attr.mode == Some(0o4755) && object.0 == 3)
        };
        assert!(p.steps.iter().any(now), "seen as truncated at once: {p}");
        let (p, _) = planned(&file(0), |_| {});
        assert!(!kinds(&p).contains(&"data"));
    }

    #[test]
    fn r237_directories_and_special_files_go_through_a_named_temporary() {
        let dir = Metadata::new(FileType::Directory, 0o750);
        let (p, _) = planned(&dir, |f| f.marks_impure = false);
        assert_eq!(kinds(&p), ["create", "attr", "rename", "attr"]);
    }

    #[test]
    fn r231_r232_origin_is_recorded_unless_a_hard_link_breaks() {
        let mut f = file(0);
        assert!(records_origin(&f));
        f.nlink = 2;
        assert!(!records_origin(&f));
        f.file_type = FileType::Directory;
        assert!(records_origin(&f));
    }
}
