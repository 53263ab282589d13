//! Copy-up: what is staged, what is set, in which order (rules R217 to R237).
//!
//! The order within the staging is forced by what system calls take away: a change of owner drops
//! set-id bits and `security.capability`, so does writing; an access list changes the mode. Hence
//! owner, data or size, extended attributes, mode, times.
//!
//! With metacopy a change of attributes copies no data: the upper file has the size of the lower and
//! none of its data, and the overlay attribute `metacopy` says so. The data follow into the same file
//! when it is first opened to be written to (rules R178 to R180).

use crate::acl;
use crate::backend::{NewKind, NewNode, RenameHow, XattrMode};
use crate::meta::{FileType, InodeFlags, Metadata, SetAttr, SetTime, Timestamp};
use crate::path::Name;
use crate::rules::Features;
use crate::rules::attr::protattr;
use crate::rules::config::{Fsync, Verity};
use crate::rules::plan::{Obj, Place, Plan, Role, Step};
use crate::rules::xattr::CAPABILITY;
use crate::xattr_name::{OverlayAttr, XattrName};

/// How much of a regular file is to be copied up.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// All of it.
    Full,
    /// Nothing: it is about to be truncated (rule R195).
    Truncate,
    /// Nothing, if that is possible: only attributes or names are about to change (rule R178).
    Attributes,
}

impl Data {
    /// What is copied for an object of this type: without metacopy all of it, if any (rule R179);
    /// also where a digest is demanded, since no layer has one (rule R182).
    pub(crate) fn settle(self, file_type: FileType, features: Features) -> Data {
        let metacopy = features.metacopy && features.verity != Verity::Require;
        match self {
            Data::Attributes if !metacopy || !file_type.is_file() => Data::Full,
            data => data,
        }
    }
}

/// Whether there are data to copy of an object with these attributes; `data` is
/// [settled](Data::settle).
pub(crate) fn copies_data(meta: &Metadata, data: Data) -> bool {
    meta.is_file() && data == Data::Full && meta.size > 0
}

/// What copy-up needs to know about the object and its place.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// The lower object.
    pub(crate) source: Obj,
    /// The lower file that has its data; the same object unless that is a metacopy.
    pub(crate) data_source: Obj,
    /// Its attributes.
    pub(crate) meta: &'a Metadata,
    /// The target, of a symlink.
    pub(crate) target: Option<Vec<u8>>,
    /// The extended attributes to copy: raw names, private ones removed.
    pub(crate) xattrs: &'a [XattrName],
    /// The value for the overlay attribute `origin`; `None`: it is not set.
    pub(crate) origin: Option<&'a [u8]>,
    /// Its inode flags.
    pub(crate) flags: InodeFlags,
    /// The place in the upper, or the entry in the index.
    pub(crate) dir: Obj,
    pub(crate) name: Name,
    /// The upper directory's times, to be restored; `None` for the index.
    pub(crate) dir_times: Option<(Timestamp, Timestamp)>,
    /// The value for the overlay attribute `nlink`, of what goes into the index.
    pub(crate) nlink: Option<Vec<u8>>,
    /// The entry in the index that follows, of a directory or a file with one name.
    pub(crate) entry: Option<Entry>,
    /// The upper directory is to be marked impure (it is not yet, and can be).
    pub(crate) marks_impure: bool,
    /// The work directory, and a free name in it.
    pub(crate) work: Obj,
    pub(crate) temp: Name,
    /// The backend has unnamed files.
    pub(crate) tmpfile: bool,
    /// How much of a file to copy, [settled](Data::settle).
    pub(crate) data: Data,
    /// What is made durable before it is published (rule R240).
    pub(crate) fsync: Fsync,
}

/// Whether copy-up records where the object came from: always for a directory, else only if the
/// lower has one name, since a broken hard link is a new object (rules R231, R232).
pub(crate) fn records_origin(meta: &Metadata) -> bool {
    meta.is_dir() || meta.nlink == 1
}

/// The entry in the index that an object gets once it is published.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// One more name of a file.
    Name(Place),
    /// A directory that tells which one it is of.
    Directory {
        /// What is made.
        object: Obj,
        place: Place,
        /// A free place beside it.
        temp: Place,
    },
}

/// Which steps were appended where.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// The new upper object.
    pub(crate) object: Obj,
    /// Index of the first staging step.
    pub(crate) first: usize,
    /// Index of the step behind the staging.
    pub(crate) staged: usize,
    /// Index of the step that marks the directory impure, if there is one.
    pub(crate) impure: Option<usize>,
    /// Index of the step that publishes.
    pub(crate) publish: usize,
    /// Index of the step that makes the entry in the index, if that follows.
    pub(crate) entry: Option<usize>,
}

/// Appends the copy-up of one object whose parent is in the upper.
pub(crate) fn plan(plan: &mut Plan, object: Obj, f: &Facts<'_>) -> Planned {
    let first = plan.steps.len();
    let unnamed = f.tmpfile && f.meta.is_file();
    let staged = Place {
        dir: f.work,
        name: f.temp.clone(),
    };
    let at_once = unnamed && has_mode_at_once(f);
    let node = NewNode {
        kind: new_kind(f),
        mode: match f.meta.file_type {
            FileType::Directory => 0o700,
            _ if at_once => f.meta.mode & 0o7777,
            _ => 0o600,
        },
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
    let copies_data = copies_data(f.meta, f.data);
    let metacopy = f.meta.is_file() && f.data == Data::Attributes;
    if copies_data {
        let step = Step::CopyData {
            from: f.data_source,
            to: object,
            size: f.meta.size,
            keep_size: false,
            data_bytes: None,
        };
        plan.push(Role::Stage, step);
    } else if metacopy && f.meta.size > 0 {
        let len = f.meta.size;
        plan.push(Role::Stage, Step::SetLen { object, len });
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
    if let Some(origin) = f.origin {
        let value = Some(origin.to_vec());
        plan.push(
            Role::Stage,
            Step::SetOverlay {
                object,
                attr: OverlayAttr::Origin,
                value,
            },
        );
    }
    if let Some(value) = &f.nlink {
        let step = Step::SetOverlay {
            object,
            attr: OverlayAttr::Nlink,
            value: Some(value.clone()),
        };
        plan.push(Role::Stage, step);
    }
    if metacopy {
        plan.push(Role::Stage, set_metacopy(object, Some(Vec::new())));
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
            sync: f.flags.sync,
            noatime: f.flags.noatime,
            ..InodeFlags::default()
        };
        plan.push(Role::BestEffort, Step::SetFlags { object, flags });
    }
    let mut attr = SetAttr::like(f.meta);
    (attr.uid, attr.gid) = (None, None);
    if at_once {
        attr.mode = None;
    }
    if f.data == Data::Truncate && f.meta.is_file() {
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
    let after_staging = plan.steps.len();
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
                how: RenameHow::NoReplace,
            }
        },
    );
    if let Some((atime, mtime)) = f.dir_times {
        let attr = SetAttr::times(SetTime::At(atime), SetTime::At(mtime));
        plan.push(
            Role::BestEffort,
            Step::SetAttr {
                object: f.dir,
                attr,
            },
        );
    }
    // Last: an entry of what never came, as a crash may leave it, is an error for everybody who looks the
    // lower object up (deviation INDEX-1).
    let entry = f
        .entry
        .as_ref()
        .map(|entry| plan_entry(plan, object, entry));
    Planned {
        entry,
        object,
        first,
        staged: after_staging,
        impure,
        publish,
    }
}

/// Appends making the index entry of what was copied up (rule R269); answers the last step's index.
fn plan_entry(plan: &mut Plan, copied: Obj, entry: &Entry) -> usize {
    let (object, place, temp) = match entry.clone() {
        Entry::Name(to) => {
            let object = copied;
            return plan.push(Role::Neutral, Step::Link { object, to });
        }
        Entry::Directory {
            object,
            place,
            temp,
        } => (object, place, temp),
    };
    let node = NewNode {
        kind: NewKind::Directory,
        mode: 0,
        uid: None,
        gid: None,
    };
    plan.push(
        Role::Neutral,
        Step::Create {
            at: temp.clone(),
            node,
            object,
        },
    );
    plan.push(
        Role::Neutral,
        Step::SetHandle {
            object,
            attr: OverlayAttr::Upper,
            of: copied,
        },
    );
    plan.push(
        Role::Neutral,
        Step::Rename {
            object: Some(object),
            from: temp,
            to: place,
            how: RenameHow::Replace,
        },
    )
}

/// What bringing the data of a metacopy needs to know.
#[derive(Debug)]
pub(crate) struct PromoteFacts {
    /// The lower file that has the data.
    pub(crate) source: Obj,
    /// The upper file.
    pub(crate) object: Obj,
    /// Bytes to copy: the size of the lower that the upper file was copied from.
    pub(crate) size: u64,
    /// The upper file's capability, which writing takes away.
    pub(crate) capability: Option<(XattrName, Vec<u8>)>,
    /// Its mode, if writing might take bits of it away.
    pub(crate) mode: Option<u32>,
    /// The data are made durable before the mark goes (rule R240).
    pub(crate) durable: bool,
}

/// Which steps bring data into a metacopy.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Promoted {
    /// Index of the first step.
    pub(crate) first: usize,
    /// Index of the step that makes the file a plain one.
    pub(crate) publish: usize,
}

/// Appends copying the data into an upper file that has only attributes (rule R180). They are written
/// in place, as the file may have several names; nobody sees them before the mark is gone, but the
/// modification time moves with them.
pub(crate) fn plan_promotion(plan: &mut Plan, f: PromoteFacts) -> Promoted {
    let first = plan.steps.len();
    let object = f.object;
    if f.size > 0 {
        let step = Step::CopyData {
            from: f.source,
            to: object,
            size: f.size,
            keep_size: true,
            data_bytes: None,
        };
        plan.push(Role::Stage, step);
        if let Some((name, value)) = f.capability {
            let step = Step::SetXattr {
                object,
                name,
                value: Some(value),
                mode: XattrMode::Set,
            };
            plan.push(Role::Stage, step);
        }
        if let Some(mode) = f.mode {
            let attr = SetAttr::mode(mode);
            plan.push(Role::Stage, Step::SetAttr { object, attr });
        }
        if f.durable {
            plan.push(Role::Stage, Step::Sync { object });
        }
    }
    let publish = plan.push(Role::Neutral, set_metacopy(object, None));
    Promoted { first, publish }
}

/// Whether a file that nobody can reach before it is published may have its mode from the start: nothing
/// that follows takes bits away or depends on them (writing and owners on set-id bits, access lists on
/// all, attributes on the owner's).
fn has_mode_at_once(f: &Facts<'_>) -> bool {
    let lists = f.xattrs.iter().any(|name| name.as_bytes() == acl::ACCESS);
    !lists && f.meta.mode & 0o7000 == 0 && f.meta.mode & 0o600 == 0o600
}

fn set_metacopy(object: Obj, value: Option<Vec<u8>>) -> Step {
    Step::SetOverlay {
        object,
        attr: OverlayAttr::Metacopy,
        value,
    }
}

/// The attributes to copy. A copy without data is published as what truncating makes of the file, so
/// that nothing else is ever seen: emptied now, and without its capability.
fn xattrs(f: &Facts<'_>) -> Vec<XattrName> {
    let mut names = f.xattrs.to_vec();
    if f.data == Data::Truncate && f.meta.is_file() {
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
mod tests;
