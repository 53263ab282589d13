//! From other forms of a tree into the model, and back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::data::Data;
use super::{Id, Kind, ROOT, ReferenceModel, Weakenings};
use crate::errno::Errno;
use crate::meta::{FileType, Timestamp};
use crate::path::{Name, join};
use crate::testing::oracle::{MergeOptions, MergedEntry, MergedNode, MergedTree, merge};
use crate::testing::snapshot::{Entry, NodeSnapshot, SnapshotOptions, TreeSnapshot, content};
use crate::testing::spec::{LayerSpec, NodeKind, Piece};

impl ReferenceModel {
    /// The tree that `spec` describes, as one plain file system: nothing in it was there before.
    ///
    /// # Errors
    /// `EINVAL` if the tree holds whiteouts.
    pub fn from_spec(spec: &LayerSpec) -> Result<Self, Errno> {
        let layers = std::slice::from_ref(spec);
        let mut model = ReferenceModel::of_tree(&merge(layers, None, &MergeOptions::default()))?;
        for (path, node) in spec.effective() {
            if !matches!(node.kind, NodeKind::HardLink(_)) {
                let id = model.resolve(&path, false)?;
                // No name is private here.
                model.nodes[id].xattrs = node.xattrs;
                model.nodes[id].lower = false;
            }
        }
        Ok(model)
    }

    /// As [`ReferenceModel::from_spec`], for a tree that was there before, such as what a union shows of
    /// its lowers.
    ///
    /// # Errors
    /// `EINVAL` if the tree holds whiteouts.
    pub fn given(spec: &LayerSpec) -> Result<Self, Errno> {
        let mut model = ReferenceModel::from_spec(spec)?;
        for node in &mut model.nodes {
            node.lower = true;
        }
        Ok(model)
    }

    /// The tree that a union of `lowers` (topmost first) below `upper` shows at first, with these weakenings.
    /// Without an upper it is read-only.
    ///
    /// # Errors
    /// As [`ReferenceModel::of_tree`].
    pub fn of_stack(
        lowers: &[LayerSpec],
        upper: Option<&LayerSpec>,
        options: &MergeOptions,
        weakenings: Weakenings,
    ) -> Result<Self, Errno> {
        let model = ReferenceModel::of_tree(&merge(lowers, upper, options))?;
        let mut weakenings = weakenings;
        weakenings.read_only |= upper.is_none();
        Ok(model.weakenings(weakenings))
    }

    /// A merged tree. What it says to lie in a lower layer was there before.
    ///
    /// # Errors
    /// `EINVAL`: names are listed that cannot be looked up, or content that cannot be read. POSIX has
    /// no such trees.
    pub fn of_tree(tree: &MergedTree) -> Result<Self, Errno> {
        let mut model = ReferenceModel::new();
        let mut inodes = BTreeMap::new();
        for (path, entry) in tree.entries() {
            let MergedEntry::Node(node) = entry else {
                return Err(Errno::EINVAL);
            };
            let kind = kind_of(node)?;
            let id = model.seed(&mut inodes, path, node.inode.clone(), kind)?;
            let seeded = &mut model.nodes[id];
            let spec = &node.node;
            seeded.mode = match &seeded.kind {
                Kind::Symlink(_) => 0o777,
                _ => spec.mode,
            };
            (seeded.uid, seeded.gid) = (spec.uid, spec.gid);
            (seeded.atime, seeded.mtime, seeded.ctime) = (spec.mtime, spec.mtime, spec.mtime);
            (seeded.nlink, seeded.lower) = (node.nlink, node.lower);
            seeded.xattrs = spec.xattrs.clone();
        }
        Ok(model)
    }

    /// A captured tree, as it was seen through a union or a mount point. `lower` tells of which paths something
    /// lies in a lower layer.
    ///
    /// # Errors
    /// `EINVAL`: names or content that could not be read, or content that was not kept
    /// ([`SnapshotOptions::inline_bytes_max`]).
    pub fn of_snapshot(tree: &TreeSnapshot, lower: impl Fn(&Path) -> bool) -> Result<Self, Errno> {
        let mut model = ReferenceModel::new();
        let mut inodes = BTreeMap::new();
        for (path, entry) in tree.entries() {
            let Entry::Node(node) = entry else {
                return Err(Errno::EINVAL);
            };
            let meta = &node.meta;
            let kind = match meta.file_type {
                FileType::Directory => dir(),
                FileType::Regular => {
                    let content = node.content.as_ref().and_then(|c| c.bytes.as_ref());
                    file(content.ok_or(Errno::EINVAL)?, meta.size)
                }
                FileType::Symlink => Kind::Symlink(node.target.clone().ok_or(Errno::EINVAL)?),
                other => Kind::Special(other, meta.rdev),
            };
            let id = model.seed(&mut inodes, path, (meta.dev, meta.ino), kind)?;
            let seeded = &mut model.nodes[id];
            seeded.mode = meta.mode;
            (seeded.uid, seeded.gid) = (meta.uid, meta.gid);
            (seeded.atime, seeded.mtime, seeded.ctime) = (meta.atime, meta.mtime, meta.ctime);
            (seeded.nlink, seeded.lower) = (meta.nlink, lower(path));
            seeded.xattrs = node.xattrs.clone();
        }
        Ok(model)
    }

    /// Adds a node at `path`, parents first; a further name if its inode is known. Times of
    /// directories are set by the caller, after what is in them.
    fn seed<K: Ord>(
        &mut self,
        inodes: &mut BTreeMap<K, Id>,
        path: &Path,
        inode: K,
        kind: Kind,
    ) -> Result<Id, Errno> {
        if path == Path::new("/") {
            return Ok(ROOT);
        }
        let parent = self.resolve(path.parent().ok_or(Errno::EINVAL)?, false)?;
        let name = Name::try_from(path.file_name().ok_or(Errno::EINVAL)?)?;
        let known = match &kind {
            Kind::Dir { .. } => None,
            _ => inodes.get(&inode).copied(),
        };
        let id = match known {
            Some(id) => {
                self.nodes[id].names += 1;
                id
            }
            None => {
                let id = self.add(kind, 0);
                inodes.insert(inode, id);
                id
            }
        };
        let times = (self.nodes[parent].mtime, self.nodes[parent].ctime);
        self.set_entry(parent, &name, Some(id));
        (self.nodes[parent].mtime, self.nodes[parent].ctime) = times;
        Ok(id)
    }

    /// The whole tree as it is now.
    pub(super) fn to_snapshot(&self, options: &SnapshotOptions) -> Result<TreeSnapshot, Errno> {
        let mut tree = TreeSnapshot::new(options);
        let mut todo = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = todo.pop() {
            let node = &self.nodes[id];
            let mut shown = NodeSnapshot::new(node.metadata());
            if id != ROOT {
                shown.listed_type = Some(node.file_type());
                shown.listed_ino = Some(node.ino);
            }
            shown.xattrs = node.xattrs.clone();
            match &node.kind {
                Kind::Dir { entries, .. } => {
                    todo.extend(entries.iter().map(|(name, id)| (join(&path, name), *id)));
                }
                Kind::File(data) if options.content => {
                    let read = content::read(data, data.size(), options.inline_bytes_max)?;
                    shown.content = Some(read);
                }
                Kind::Symlink(target) => shown.target = Some(target.clone()),
                Kind::File(_) | Kind::Special(..) => {}
            }
            tree.insert(path, Entry::Node(Box::new(shown)));
        }
        Ok(tree)
    }

    /// The clock's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock
    }
}

fn dir() -> Kind {
    Kind::Dir {
        entries: BTreeMap::new(),
        parent: ROOT,
    }
}

fn file(bytes: &[u8], size: u64) -> Kind {
    let mut data = Data::default();
    data.write(0, bytes);
    data.resize(size);
    Kind::File(data)
}

fn kind_of(node: &MergedNode) -> Result<Kind, Errno> {
    Ok(match &node.node.kind {
        NodeKind::Directory => dir(),
        NodeKind::File(_) => {
            let mut data = Data::default();
            for piece in node.data.as_ref().map_err(|_| Errno::EINVAL)? {
                let at = data.size();
                match piece {
                    Piece::Bytes(bytes) => data.write(at, bytes),
                    Piece::Fill(byte, len) => data.write(at, &vec![*byte; *len as usize]),
                    Piece::Hole(len) => data.resize(at + u64::from(*len)),
                }
            }
            Kind::File(data)
        }
        NodeKind::Symlink(target) => Kind::Symlink(target.clone()),
        NodeKind::Fifo => Kind::Special(FileType::Fifo, crate::meta::DeviceId::default()),
        NodeKind::Socket => Kind::Special(FileType::Socket, crate::meta::DeviceId::default()),
        NodeKind::CharDevice(device) => Kind::Special(FileType::CharDevice, *device),
        NodeKind::BlockDevice(device) => Kind::Special(FileType::BlockDevice, *device),
        NodeKind::Whiteout(_) | NodeKind::HardLink(_) => return Err(Errno::EINVAL),
    })
}
