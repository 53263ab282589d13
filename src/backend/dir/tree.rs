//! The nodes of a directory layer: identity, place in the tree, and the tables that keep both true
//! while the layer is changed through this backend.
//!
//! # Locks, in this order
//!
//! 1. `Children::gate` of one or two directories (two: by ascending node id). The names in a
//!    directory of a writable layer change only under its gate held for writing; whoever uses a
//!    (directory, name) pair for a node holds it for reading during the system call.
//! 2. `Children::map` of one directory.
//! 3. `Writable::dirs`.
//! 4. `DirNode::location` of one node. It changes only under the gate of the directory that it names
//!    before, or for a node without a place, of the one that it names after.
//!
//! Dropping a node takes no lock. Lower-only layers have no gates and tables: nothing changes there.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};

use super::fds::FdSlot;
use crate::backend::{Capabilities, FsIdentity, LayerNode, NodeRef, Result};
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType};
use crate::path::Name;

/// What tells one inode from another.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) dev: DeviceId,
    pub(super) ino: u64,
}

/// One opened layer. Nodes hold it; it holds no node.
pub(super) struct Tree {
    /// Of its own within the process.
    pub(super) id: u64,
    pub(super) path: PathBuf,
    /// The root, open for reading.
    pub(super) root: Arc<OwnedFd>,
    pub(super) root_key: Key,
    /// The directories above the root on its filesystem, where they cannot be reached from it.
    pub(super) above: Option<Vec<u64>>,
    /// Mount that the root lies on; `None` where the kernel does not tell (before 5.8).
    pub(super) mount: Option<u64>,
    /// No device can be opened on that mount (`nodev`), whoever asks.
    pub(super) nodev: bool,
    /// False on overlayfs, whose inode numbers of directories may change with cache pressure.
    pub(super) stable_ids: bool,
    pub(super) capabilities: Capabilities,
    pub(super) identity: FsIdentity,
    /// The content of files found by handle may be opened.
    pub(super) content_by_handle: bool,
    /// Counts renames, so that who meets a moved ancestor knows to look again.
    pub(super) moves: AtomicU64,
    pub(super) writable: Option<Writable>,
}

impl Tree {
    /// A number that no layer of the process has had.
    pub(super) fn new_id() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("path", &self.path)
            .field("root", &self.root_key)
            .field("writable", &self.writable.is_some())
            .finish_non_exhaustive()
    }
}

/// What a layer with a work directory has in addition.
pub(super) struct Writable {
    pub(super) workdir_path: PathBuf,
    /// The work directory that the user gave.
    pub(super) workdir: Arc<OwnedFd>,
    /// Its child `work`, the staging directory.
    pub(super) work: Arc<OwnedFd>,
    pub(super) work_key: Key,
    /// Its child `index`, once it is known to exist.
    pub(super) index: Mutex<Option<(Arc<OwnedFd>, Key)>>,
    /// Every live node that is a directory.
    dirs: Mutex<WeakTable<Key>>,
    /// True while the shared whiteout lies in `work`.
    pub(super) shared_whiteout: Mutex<bool>,
    /// False once linking the shared whiteout failed for good.
    pub(super) share_whiteouts: AtomicBool,
    pub(super) ignore_ownership: bool,
    /// New nodes take the group of their directory (mount option `grpid`).
    pub(super) inherits_group: bool,
    /// `RENAME_WHITEOUT` works.
    pub(super) rename_whiteout: bool,
}

impl Writable {
    pub(super) fn new(workdir: (PathBuf, Arc<OwnedFd>), work: (Arc<OwnedFd>, Key)) -> Self {
        Writable {
            workdir_path: workdir.0,
            workdir: workdir.1,
            work: work.0,
            work_key: work.1,
            index: Mutex::default(),
            dirs: Mutex::default(),
            shared_whiteout: Mutex::default(),
            share_whiteouts: AtomicBool::new(true),
            ignore_ownership: false,
            inherits_group: false,
            rename_whiteout: true,
        }
    }

    /// True for the directories in which nobody but this process looks: the staging directory and the
    /// index.
    pub(super) fn stages_in(&self, dir: Key) -> bool {
        dir == self.work_key
            || lock(&self.index)
                .as_ref()
                .is_some_and(|(_, key)| *key == dir)
    }
}

/// Where a node is.
#[derive(Clone, Debug)]
pub(super) enum Location {
    /// It has this name in this directory.
    At(Arc<DirNode>, Name),
    /// It has no known name (a root, a removed node, one found by handle): this descriptor keeps it.
    Pinned(Arc<OwnedFd>),
    /// A file that never had a name.
    Unnamed(Arc<Unnamed>),
    /// Only while it is being dropped.
    Gone,
}

/// What is known of a file that never had a name.
#[derive(Debug)]
pub(super) struct Unnamed {
    /// Keeps it; open for reading and writing, whatever its mode says.
    pub(super) fd: Arc<OwnedFd>,
    /// This process owns it, and may read and write it as its mode is.
    pub(super) is_permitted: AtomicBool,
}

/// How a node was come by.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// From the tree.
    Tree,
    /// By handle: it may lie outside the layer's root, so its content is not opened unless the layer
    /// was opened to allow it.
    Handle,
}

/// The live nodes below one directory of a writable layer.
#[derive(Debug, Default)]
pub(super) struct Children {
    gate: RwLock<()>,
    map: Mutex<WeakTable<Name>>,
}

/// One node of a directory layer.
pub(super) struct DirNode {
    this: Weak<DirNode>,
    pub(super) tree: Arc<Tree>,
    /// Orders gates.
    id: u64,
    pub(super) key: Key,
    pub(super) file_type: FileType,
    pub(super) origin: Origin,
    location: RwLock<Location>,
    slot: FdSlot,
    children: Option<Box<Children>>,
    /// See `DirNode::listed`.
    pub(super) listed: OnceLock<Option<Box<[u8]>>>,
}

impl fmt::Debug for DirNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("DirNode");
        s.field("type", &self.file_type).field("key", &self.key);
        match self.location() {
            Location::At(dir, name) => s.field("in", &dir.key.ino).field("name", &name),
            Location::Pinned(fd) => s.field("fd", &fd),
            Location::Unnamed(file) => s.field("fd", &file.fd),
            Location::Gone => &mut s,
        };
        s.finish_non_exhaustive()
    }
}

impl Drop for DirNode {
    /// Lets go of the ancestors one by one: a chain thousands of directories long must not recurse.
    fn drop(&mut self) {
        let mut next = self.take_location();
        while let Location::At(parent, _) = next {
            match Arc::into_inner(parent) {
                Some(mut parent) => next = parent.take_location(),
                None => break,
            }
        }
    }
}

/// Gates of one or two directories, held for changing names.
pub(super) struct Gates<'a> {
    _first: Option<RwLockWriteGuard<'a, ()>>,
    _second: Option<RwLockWriteGuard<'a, ()>>,
}

impl DirNode {
    fn make(
        tree: &Arc<Tree>,
        key: Key,
        file_type: FileType,
        location: Location,
        origin: Origin,
    ) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let children = tree.writable.is_some() && file_type.is_dir();
        Arc::new_cyclic(|this| DirNode {
            this: this.clone(),
            tree: tree.clone(),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            key,
            file_type,
            origin,
            location: RwLock::new(location),
            slot: FdSlot::default(),
            children: children.then(Box::default),
            listed: OnceLock::new(),
        })
    }

    /// The node without a name that `fd` holds; the one that lives already if it is a directory.
    pub(super) fn pinned(
        tree: &Arc<Tree>,
        fd: Arc<OwnedFd>,
        key: Key,
        file_type: FileType,
        origin: Origin,
    ) -> Arc<Self> {
        let make = || DirNode::make(tree, key, file_type, Location::Pinned(fd), origin);
        match &tree.writable {
            Some(w) if file_type.is_dir() => {
                let mut dirs = lock(&w.dirs);
                if let Some(node) = dirs.get(&key) {
                    return node;
                }
                let node = make();
                dirs.insert(key, &node);
                node
            }
            _ => make(),
        }
    }

    /// A new file without a name.
    pub(super) fn unnamed(tree: &Arc<Tree>, file: Unnamed, key: Key) -> Arc<Self> {
        let location = Location::Unnamed(Arc::new(file));
        DirNode::make(tree, key, FileType::Regular, location, Origin::Tree)
    }

    /// The node that `name` in this directory stands for, given what it was found to be. In a
    /// writable layer the caller holds this directory's gate.
    pub(super) fn child(
        self: &Arc<Self>,
        name: &Name,
        key: Key,
        file_type: FileType,
    ) -> Arc<DirNode> {
        let at = || Location::At(self.clone(), name.clone());
        let make = || DirNode::make(&self.tree, key, file_type, at(), Origin::Tree);
        let (Some(w), Some(children)) = (&self.tree.writable, &self.children) else {
            return make();
        };
        let mut map = lock(&children.map);
        if let Some(node) = map.get(name)
            && node.key == key
            && node.file_type == file_type
        {
            return node;
        }
        if !file_type.is_dir() {
            let node = make();
            map.insert(name.clone(), &node);
            return node;
        }
        let mut dirs = lock(&w.dirs);
        if let Some(node) = dirs.get(&key) {
            // Moved behind our back, or found by handle before. Its old place is no longer true;
            // its descriptor, if it has one, still is.
            return node;
        }
        let node = make();
        dirs.insert(key, &node);
        map.insert(name.clone(), &node);
        node
    }

    pub(super) fn arc(&self) -> Result<Arc<DirNode>> {
        self.this.upgrade().ok_or_else(|| Errno::ESTALE.into())
    }

    pub(super) fn slot(&self) -> &FdSlot {
        &self.slot
    }

    pub(super) fn location(&self) -> Location {
        self.look_location().clone()
    }

    pub(super) fn look_location(&self) -> RwLockReadGuard<'_, Location> {
        self.location.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its owner or mode changes: what opening a file without a name may do is not known any more.
    pub(super) fn permissions_change(&self) {
        if let Location::Unnamed(file) = &*self.look_location() {
            file.is_permitted.store(false, Ordering::Relaxed);
        }
    }

    fn take_location(&mut self) -> Location {
        let location = self
            .location
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(location, Location::Gone)
    }

    pub(super) fn is_at(&self, dir: &Arc<DirNode>, name: &Name) -> bool {
        match &*self.look_location() {
            Location::At(d, n) => Arc::ptr_eq(d, dir) && n == name,
            _ => false,
        }
    }

    /// Changes where the node is. What was there before is dropped outside the lock.
    pub(super) fn set_location(&self, location: Location) {
        let old = std::mem::replace(
            &mut *self
                .location
                .write()
                .unwrap_or_else(PoisonError::into_inner),
            location,
        );
        drop(old);
    }

    /// True if `self` is `other` or lies below it, as far as this process knows.
    pub(super) fn is_within(self: &Arc<Self>, other: &DirNode) -> bool {
        let mut node = self.clone();
        loop {
            if std::ptr::eq(Arc::as_ptr(&node), other) {
                return true;
            }
            match node.location() {
                Location::At(parent, _) => node = parent,
                _ => return false,
            }
        }
    }

    /// Keeps the names in this directory as they are; nothing to do in a lower-only layer.
    pub(super) fn hold_names(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let children = self.children.as_ref()?;
        Some(children.gate.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_names(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        let children = self.children.as_ref()?;
        Some(
            children
                .gate
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// The live node known under `name`, if any. The caller holds the gate.
    pub(super) fn known(&self, name: &Name) -> Option<Arc<DirNode>> {
        let node = lock(&self.children.as_ref()?.map).get(name)?;
        // A directory that was found elsewhere in the meantime is not this name's any more.
        let here = match &*node.look_location() {
            Location::At(d, n) => std::ptr::eq(Arc::as_ptr(d), self) && n == name,
            _ => false,
        };
        here.then_some(node)
    }

    /// Records that `node` is known under `name`, or that nobody is. The caller holds the gate.
    pub(super) fn set_known(&self, name: &Name, node: Option<&Arc<DirNode>>) {
        if let Some(children) = &self.children {
            let mut map = lock(&children.map);
            match node {
                Some(node) => map.insert(name.clone(), node),
                None => map.remove(name),
            }
        }
    }
}

/// Takes the gates of two directories (which may be one) for changing names.
pub(super) fn change_names<'a>(a: &'a DirNode, b: &'a DirNode) -> Gates<'a> {
    if std::ptr::eq(a, b) {
        return Gates {
            _first: a.change_names(),
            _second: None,
        };
    }
    let (first, second) = if a.id < b.id { (a, b) } else { (b, a) };
    Gates {
        _first: first.change_names(),
        _second: second.change_names(),
    }
}

/// The node behind a handle, if it is of `tree`; `EXDEV` otherwise.
pub(super) fn own<'a>(tree: &Arc<Tree>, node: &'a NodeRef) -> Result<&'a DirNode> {
    let node: &dyn LayerNode = node.as_ref();
    let any: &dyn std::any::Any = node;
    match any.downcast_ref::<DirNode>() {
        Some(node) if Arc::ptr_eq(&node.tree, tree) => Ok(node),
        _ => Err(Errno::EXDEV.into()),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Weak references by key. Dead ones are swept when the table has doubled, so it stays within twice
/// the number of live nodes, and dropping a node need not look for its table.
#[derive(Debug)]
struct WeakTable<K> {
    map: HashMap<K, Weak<DirNode>>,
    sweep_at: usize,
}

/// No sweep below this size.
const WEAK_TABLE_SWEEP_MIN: usize = 32;

impl<K> Default for WeakTable<K> {
    fn default() -> Self {
        WeakTable {
            map: HashMap::new(),
            sweep_at: WEAK_TABLE_SWEEP_MIN,
        }
    }
}

impl<K: Hash + Eq> WeakTable<K> {
    fn get(&self, key: &K) -> Option<Arc<DirNode>> {
        self.map.get(key)?.upgrade()
    }

    fn insert(&mut self, key: K, node: &Arc<DirNode>) {
        if self.map.len() >= self.sweep_at {
            self.map.retain(|_, node| node.strong_count() > 0);
            self.sweep_at = (self.map.len() * 2).max(WEAK_TABLE_SWEEP_MIN);
        }
        self.map.insert(key, Arc::downgrade(node));
    }

    fn remove(&mut self, key: &K) {
        self.map.remove(key);
    }
}
