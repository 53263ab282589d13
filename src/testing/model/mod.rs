//! A file system in memory that knows nothing of layers: what a merged tree should be.
//!
//! [`ReferenceModel`] takes the same [`Op`] and gives the same [`Outcome`] as everything else that is
//! tested here, for every operation in every state, so that errors are compared too. It is small and
//! plain: one table of nodes, one map of names per directory, checks in the order in which `namei(7)` and the
//! manual pages have them. It acts as root (owner 0:0, all capabilities) with the umask `022`, or for
//! [`Op::As`] as the caller: owner, mode, access lists, sticky directories, capabilities and inode flags decide.
//!
//! It shares no rule, list or path code with the rest of the crate, only the vocabulary (`Op`, `Errno`,
//! `Metadata`, names). The gate checks its imports.
//!
//! # Where a union is weaker than POSIX
//!
//! [`Weakenings`] are switches, and each names one way in which a union of layers is not a plain file system.
//! All they need to know is one bit per node: whether it was there before ([`lower`](ReferenceModel::of_tree)), and
//! nobody has changed it since.
//!
//! ```
//! use layerstack::testing::{MergedFs, ReferenceModel};
//! use layerstack::{Errno, Op};
//! let mut model = ReferenceModel::new();
//! model.apply(&Op::CreateDir { path: "/d".into(), mode: 0o777 })?;
//! assert_eq!(model.apply(&Op::RemoveFile { path: "/d".into() }), Err(Errno::EISDIR));
//! # Ok::<(), Errno>(())
//! ```
#![allow(
    clippy::indexing_slicing,
    reason = "a node's number is given out once and never taken back; slices are cut where they were measured"
)]

mod acl;
mod attrs;
mod data;
mod files;
mod names;
mod path;
mod remove;
mod rights;
mod tree;
mod weakenings;

use std::collections::BTreeMap;
use std::path::Path;

use crate::credentials::Credentials;
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, InodeFlags, Metadata, StatFs, Timestamp};
use crate::op::{EntryInfo, Op, Outcome};
use crate::path::Name;
use crate::testing::merged::MergedFs;
use crate::testing::snapshot::{SnapshotOptions, TreeSnapshot};
use crate::testing::spec::NodeSpec;
use crate::xattr_name::XattrName;

use data::Data;
use files::OpenFile;
pub use weakenings::Weakenings;

/// Number of a node.
type Id = usize;

/// The root's number.
const ROOT: Id = 0;

/// What a node is, with what belongs to it.
#[derive(Clone, Debug)]
enum Kind {
    Dir {
        entries: BTreeMap<Name, Id>,
        parent: Id,
    },
    File(Data),
    Symlink(Vec<u8>),
    /// A fifo, socket or device.
    Special(FileType, DeviceId),
}

/// One node.
#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    mode: u32,
    uid: u32,
    gid: u32,
    /// Link count as shown; not kept for directories.
    nlink: u64,
    /// Names in this tree. Differs from `nlink` where a layer has names that the tree does not show.
    names: u64,
    /// Inode number as shown.
    ino: u64,
    atime: Timestamp,
    mtime: Timestamp,
    ctime: Timestamp,
    xattrs: BTreeMap<XattrName, Vec<u8>>,
    flags: InodeFlags,
    /// Was there before, and nobody has changed it since. For a directory: was there before.
    lower: bool,
    /// An unnamed file that may get a name.
    linkable: bool,
}

impl Node {
    fn file_type(&self) -> FileType {
        match &self.kind {
            Kind::Dir { .. } => FileType::Directory,
            Kind::File(_) => FileType::Regular,
            Kind::Symlink(_) => FileType::Symlink,
            Kind::Special(file_type, _) => *file_type,
        }
    }

    fn metadata(&self) -> Metadata {
        let mut meta = Metadata::new(self.file_type(), self.mode);
        (meta.uid, meta.gid) = (self.uid, self.gid);
        (meta.nlink, meta.ino) = (self.nlink, self.ino);
        (meta.atime, meta.mtime, meta.ctime) = (self.atime, self.mtime, self.ctime);
        match &self.kind {
            Kind::File(data) => meta.size = data.size(),
            Kind::Symlink(target) => meta.size = target.len() as u64,
            Kind::Special(_, device) => meta.rdev = *device,
            Kind::Dir { .. } => {}
        }
        meta
    }
}

/// A file system in memory; see the [module](self).
#[derive(Clone, Debug)]
pub struct ReferenceModel {
    nodes: Vec<Node>,
    slots: BTreeMap<u8, OpenFile>,
    next_ino: u64,
    /// Advances with every operation.
    clock: Timestamp,
    /// On whose behalf operations run.
    caller: Credentials,
    weak: Weakenings,
}

impl Default for ReferenceModel {
    fn default() -> Self {
        ReferenceModel::new()
    }
}

impl ReferenceModel {
    /// An empty tree: a root `0755` of owner 0:0. The clock starts with the machine's time.
    #[must_use]
    pub fn new() -> Self {
        let mut model = ReferenceModel {
            nodes: Vec::new(),
            slots: BTreeMap::new(),
            next_ino: 1,
            clock: machine_time(),
            caller: Credentials::root(),
            weak: Weakenings::NONE,
        };
        model.add(
            Kind::Dir {
                entries: BTreeMap::new(),
                parent: ROOT,
            },
            0o755,
        );
        model
    }

    /// Sets the weakenings. Names that `links_break` sets apart are set apart now.
    #[must_use]
    pub fn weakenings(mut self, weakenings: Weakenings) -> Self {
        self.weak = weakenings;
        if weakenings.links_break {
            self.break_links();
        }
        self
    }

    /// Sets the clock, which gives each operation a time of its own from `now` on.
    #[must_use]
    pub fn clock(mut self, now: Timestamp) -> Self {
        self.clock = now;
        self
    }

    /// Sets the umask (default `022`).
    #[must_use]
    pub fn umask(mut self, umask: u32) -> Self {
        self.caller.umask = umask & 0o777;
        self
    }

    /// Closes all files. What lost its last name is gone then.
    pub fn reopen(&mut self) {
        self.slots.clear();
    }

    /// Closes all files; everything there is now counts as having been there before, as for a union
    /// whose upper becomes its topmost lower. `root`: the root directory of the new upper, which gives the
    /// attributes of the tree's root.
    pub fn rotate(&mut self, root: &NodeSpec) {
        self.reopen();
        let top = &mut self.nodes[ROOT];
        (top.mode, top.uid, top.gid) = (root.mode, root.uid, root.gid);
        (top.atime, top.mtime) = (root.mtime, root.mtime);
        top.xattrs = root.xattrs.clone();
        for node in &mut self.nodes {
            node.lower = true;
        }
        if self.weak.links_break {
            self.break_links();
        }
    }

    /// The inode number of a new node, with the clock's time.
    fn add(&mut self, kind: Kind, mode: u32) -> Id {
        let ino = self.new_ino();
        self.nodes.push(Node {
            kind,
            mode,
            uid: 0,
            gid: 0,
            nlink: 1,
            names: 1,
            ino,
            atime: self.clock,
            mtime: self.clock,
            ctime: self.clock,
            xattrs: BTreeMap::new(),
            flags: InodeFlags::default(),
            lower: false,
            linkable: false,
        });
        self.nodes.len() - 1
    }

    fn new_ino(&mut self) -> u64 {
        let ino = self.next_ino;
        self.next_ino += 1;
        ino
    }

    fn is_dir(&self, id: Id) -> bool {
        matches!(self.nodes[id].kind, Kind::Dir { .. })
    }

    /// The names in a directory; none of anything else.
    fn entries(&self, id: Id) -> &BTreeMap<Name, Id> {
        static NONE: BTreeMap<Name, Id> = BTreeMap::new();
        match &self.nodes[id].kind {
            Kind::Dir { entries, .. } => entries,
            _ => &NONE,
        }
    }

    fn dir_parent(&self, id: Id) -> Id {
        match self.nodes[id].kind {
            Kind::Dir { parent, .. } => parent,
            _ => ROOT,
        }
    }

    /// Puts a name into a directory, or takes it out; its times follow.
    fn set_entry(&mut self, dir: Id, name: &Name, entry: Option<Id>) {
        let now = self.clock;
        let node = &mut self.nodes[dir];
        (node.mtime, node.ctime) = (now, now);
        if let Kind::Dir { entries, .. } = &mut node.kind {
            match entry {
                Some(id) => entries.insert(name.clone(), id),
                None => entries.remove(name),
            };
        }
        if let Some(id) = entry
            && let Kind::Dir { parent, .. } = &mut self.nodes[id].kind
        {
            *parent = dir;
        }
    }

    /// Refuses every change of a tree that cannot be written to.
    fn writable(&self) -> Result<(), Errno> {
        match self.weak.read_only {
            true => Err(Errno::EROFS),
            false => Ok(()),
        }
    }

    /// Somebody changes what is no directory: it is no longer as it was.
    fn touch(&mut self, id: Id) -> Result<(), Errno> {
        let ino = self.new_ino();
        let node = &mut self.nodes[id];
        if !node.lower || matches!(node.kind, Kind::Dir { .. }) {
            return Ok(());
        }
        if node.names == 0 && self.weak.removed_lowers_freeze {
            return Err(Errno::EEXIST);
        }
        node.lower = false;
        if self.weak.links_break && node.nlink > 1 {
            (node.nlink, node.ino) = (1, ino);
        }
        Ok(())
    }

    /// Gives each further name of what was there before a node of its own, as it is now.
    fn break_links(&mut self) {
        let mut seen = vec![false; self.nodes.len()];
        for dir in 0..self.nodes.len() {
            for (name, id) in self.entries(dir).clone() {
                if self.is_dir(id) || !self.nodes[id].lower {
                    continue;
                }
                if !std::mem::replace(&mut seen[id], true) {
                    self.nodes[id].names = 1;
                    continue;
                }
                let apart = self.nodes[id].clone();
                self.nodes.push(apart);
                let new = self.nodes.len() - 1;
                if let Kind::Dir { entries, .. } = &mut self.nodes[dir].kind {
                    entries.insert(name, new);
                }
            }
        }
    }

    fn dispatch(&mut self, op: &Op) -> Result<Outcome, Errno> {
        let done = |()| Outcome::Done;
        match op {
            Op::Metadata { path, follow } => {
                let id = self.resolve(path, *follow)?;
                Ok(Outcome::Metadata(self.nodes[id].metadata()))
            }
            Op::Access { path, mode } => {
                let id = self.resolve(path, true)?;
                self.access(id, *mode).map(done)
            }
            Op::ReadLink { path } => match &self.nodes[self.resolve(path, false)?].kind {
                Kind::Symlink(target) => Ok(Outcome::Bytes(target.clone())),
                _ => Err(Errno::EINVAL),
            },
            Op::ReadDir { path } => self.read_dir(path),
            Op::GetXattr { path, follow, name } => {
                let id = self.resolve(path, *follow)?;
                self.get_xattr(id, name).map(Outcome::Bytes)
            }
            Op::ListXattrs { path, follow } => {
                let id = self.resolve(path, *follow)?;
                Ok(Outcome::Names(self.list_xattrs(id)))
            }
            Op::GetFlags { path } => {
                let id = self.resolve(path, true)?;
                self.flags(id).map(Outcome::Flags)
            }
            Op::SetFlags { path, flags } => {
                let id = self.resolve(path, true)?;
                self.set_flags(id, *flags).map(done)
            }
            Op::As { caller, op } => self.run_as(caller, op),
            Op::StatFs => Ok(Outcome::StatFs(StatFs {
                name_bytes_max: 255,
                ..StatFs::default()
            })),
            Op::Sync => Ok(Outcome::Done),
            Op::CreateDir { path, mode } => self.create_dir(path, *mode).map(done),
            Op::CreateDirAll { path, mode } => self.create_dir_all(path, *mode).map(done),
            Op::Symlink { target, path } => self.symlink(target, path).map(done),
            Op::HardLink { from, to } => self.hard_link(from, to).map(done),
            Op::MakeNode {
                path,
                file_type,
                mode,
                rdev,
            } => self.make_node(path, *file_type, *mode, *rdev).map(done),
            Op::RemoveFile { path } => self.remove_file(path).map(done),
            Op::RemoveDir { path } => self.remove_dir(path).map(done),
            Op::RemoveDirAll { path } => self.remove_dir_all(path).map(done),
            Op::Rename { from, to, flags } => self.rename(from, to, *flags).map(done),
            Op::SetAttr { path, follow, attr } => {
                let id = self.resolve(path, *follow)?;
                self.set_attr(id, attr).map(done)
            }
            Op::SetXattr {
                path,
                follow,
                name,
                value,
                mode,
            } => {
                let id = self.resolve(path, *follow)?;
                self.set_xattr(id, name, value, *mode).map(done)
            }
            Op::RemoveXattr { path, follow, name } => {
                let id = self.resolve(path, *follow)?;
                self.remove_xattr(id, name).map(done)
            }
            other => self.apply_to_file(other),
        }
    }

    fn read_dir(&self, path: &Path) -> Result<Outcome, Errno> {
        let dir = self.resolve(path, true)?;
        if !self.is_dir(dir) {
            return Err(Errno::ENOTDIR);
        }
        self.may(dir, rights::READ)?;
        let info = |(name, id): (&Name, &Id)| EntryInfo {
            name: name.clone(),
            file_type: Some(self.nodes[*id].file_type()),
            ino: self.nodes[*id].ino,
        };
        Ok(Outcome::Entries(
            self.entries(dir).iter().map(info).collect(),
        ))
    }
}

impl MergedFs for ReferenceModel {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        self.clock = tick(self.clock);
        self.dispatch(op)
    }

    fn snapshot(&mut self, options: &SnapshotOptions) -> Result<TreeSnapshot, Errno> {
        self.to_snapshot(options)
    }

    fn close_all(&mut self) -> Result<(), Errno> {
        self.reopen();
        Ok(())
    }
}

fn machine_time() -> Timestamp {
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default();
    Timestamp::new(now.as_secs().cast_signed(), now.subsec_nanos())
}

/// One nanosecond later.
fn tick(at: Timestamp) -> Timestamp {
    match at.nanos {
        999_999_999.. => Timestamp::new(at.secs.saturating_add(1), 0),
        nanos => Timestamp::new(at.secs, nanos + 1),
    }
}
