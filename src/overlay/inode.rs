//! The engine's nodes: an [`Inode`] for each visible name that is in use, an [`Object`] for what it
//! names.
//!
//! Names of one file share its object, so what happens through one of them shows through all; which
//! names are of one file, [`Objects`](crate::overlay::objects::Objects) tells. Both keep their identity
//! across rename, removal and copy-up. A directory has one name. Who may change what:
//! - `state`, `place` and `linked`: only under the tree's write lock (or before the inode is shared).
//! - `children`: under its own lock; an entry is a hint that may be dead, never a wrong answer, as
//!   every change of the directory through the engine updates it under the tree's write lock.

use std::collections::HashMap;
use std::ffi::OsString;
use std::ops::Deref;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};

use crate::backend::NodeRef;
use crate::meta::{FileType, InodeFlags};
use crate::overlay::data::DataPath;
use crate::path::{Name, join};

/// Bytes of most paths.
const PATH_BYTES_GUESS: usize = 64;

/// A node of a lower layer.
#[derive(Clone, Debug)]
pub(crate) struct Lower {
    /// Index into the stack's lowers, 0 the topmost.
    pub(crate) layer: usize,
    pub(crate) node: NodeRef,
}

/// What a visible object is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The upper object, if there is one.
    pub(crate) upper: Option<NodeRef>,
    /// Directory: the lowers that it merges, topmost first. Non-directory: the lower that supplies
    /// it, or that it was copied up from while in use; for a metacopy also those below.
    pub(crate) lowers: Arc<[Lower]>,
    /// The upper directory is opaque.
    pub(crate) opaque: bool,
    /// The upper directory is marked as holding copied-up entries.
    pub(crate) impure: bool,
    /// The directory may hold whiteouts although it is not merged: it has the origin mark (rule R080).
    pub(crate) origin_mark: bool,
    /// It is known that the merged upper directory records its origin. The kernel stores a missing one
    /// when the directory is looked up; here reading never writes, so the next change in the
    /// directory does (rule R065).
    pub(crate) origin_recorded: bool,
    /// A lower in the stack is marked as holding xattr whiteouts.
    pub(crate) xattr_whiteouts: bool,
    /// The file that gives the attributes has no data; they are in the last of `lowers`, or where
    /// `data` says.
    pub(crate) metacopy: bool,
    /// Where in the data-only layers the data of a metacopy are.
    pub(crate) data: Option<Arc<DataPath>>,
    /// `lowers[0]` of a non-directory has several names, so it is no origin unless indexed
    /// (rule R255).
    pub(crate) hard_linked: bool,
    /// The index has an entry for it (rules R262, R269).
    pub(crate) indexed: bool,
    /// How many names an indexed non-directory has in the union (rule R258).
    pub(crate) nlink: u64,
    /// The redirect of the upper directory or metacopy.
    pub(crate) redirect: Option<Arc<[u8]>>,
    /// What the metacopy says of the digest of its data.
    pub(crate) digest: Option<Arc<[u8]>>,
}

impl State {
    /// The object that gives the attributes.
    pub(crate) fn real(&self) -> Option<&NodeRef> {
        self.upper
            .as_ref()
            .or_else(|| self.lowers.first().map(|l| &l.node))
    }

    /// Several layers' directories make it up, or lowers are below an upper (rule R257).
    pub(crate) fn is_merged(&self, is_dir: bool) -> bool {
        match &self.upper {
            Some(_) => !self.lowers.is_empty() && (is_dir || self.metacopy),
            None => self.lowers.len() > 1,
        }
    }

    /// The data of a file are in the upper.
    pub(crate) fn has_upper_data(&self) -> bool {
        self.upper.is_some() && !self.metacopy
    }

    /// A directory read through the merge path (rules R080, R095).
    pub(crate) fn lists_merged(&self) -> bool {
        self.origin_mark || usize::from(self.upper.is_some()).saturating_add(self.lowers.len()) > 1
    }

    /// An upper directory without lowers and without the origin mark (rule R127).
    pub(crate) fn is_pure_upper(&self) -> bool {
        self.lowers.is_empty() && !self.origin_mark
    }
}

/// Where a name is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// The root of the union.
    Root,
    /// A name in a directory.
    At(Arc<Inode>, Name),
    /// Nowhere: removed, or never named. Keeps the place it had, where a late copy-up would go.
    Gone(Option<(Arc<Inode>, Name)>),
}

/// What one or several visible names stand for.
pub(crate) struct Object {
    /// Unique within the union for as long as the object is in use.
    pub(crate) id: u64,
    pub(crate) file_type: FileType,
    state: RwLock<State>,
    /// Held while the object is copied up; taken before the tree's lock.
    pub(crate) copy_up: Mutex<()>,
    /// The name in the work directory that an unnamed file kept when giving it a real one failed.
    kept: Mutex<Option<Name>>,
    /// Held from finding the end of the file to writing there, by writes that append.
    pub(crate) append: Mutex<()>,
    /// The inode flags that the union minds, found when first asked for.
    flags: Mutex<Option<InodeFlags>>,
    /// The decoded origin of an upper non-directory, found when first asked for.
    pub(crate) origin: OnceLock<Option<Lower>>,
    /// The one name in use of a directory.
    dir: Mutex<Weak<Inode>>,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object")
            .field("id", &self.id)
            .field("file_type", &self.file_type)
            .finish_non_exhaustive()
    }
}

impl Object {
    pub(crate) fn new(id: u64, file_type: FileType, state: State) -> Arc<Self> {
        Arc::new(Object {
            id,
            file_type,
            state: RwLock::new(state),
            copy_up: Mutex::new(()),
            kept: Mutex::new(None),
            append: Mutex::new(()),
            flags: Mutex::new(None),
            origin: OnceLock::new(),
            dir: Mutex::new(Weak::new()),
        })
    }

    /// The name in use of a directory.
    pub(crate) fn dir(&self) -> Option<Arc<Inode>> {
        let dir = self.dir.lock().unwrap_or_else(PoisonError::into_inner);
        dir.upgrade()
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.file_type.is_dir()
    }

    /// A copy of the state; cheap.
    pub(crate) fn state(&self) -> State {
        self.with_state(State::clone)
    }

    /// The upper object, if there is one.
    pub(crate) fn upper(&self) -> Option<NodeRef> {
        self.with_state(|state| state.upper.clone())
    }

    /// Looks at the state without copying it. `look` asks nothing of this object.
    pub(crate) fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The directory of the lower `layer` that this one merges, if the upper has none there.
    pub(crate) fn lower_only(&self, layer: usize) -> Option<NodeRef> {
        self.with_state(|state| {
            let lower = state.lowers.iter().find(|lower| lower.layer == layer)?;
            state.upper.is_none().then(|| lower.node.clone())
        })
    }

    pub(crate) fn kept(&self) -> Option<Name> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    pub(crate) fn keep_name(&self, name: Option<Name>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A visible name in use. It dereferences to the object that it stands for.
pub(crate) struct Inode {
    object: Arc<Object>,
    /// The upper has this name. An object that is in the upper can have names there that are yet to be
    /// linked (rule R262).
    linked: AtomicBool,
    place: Mutex<Place>,
    children: Mutex<HashMap<Name, Weak<Inode>>>,
    /// Where among the recent ones it may be; theirs.
    pub(crate) kept_at: AtomicUsize,
}

impl Deref for Inode {
    type Target = Object;
    fn deref(&self) -> &Object {
        &self.object
    }
}

impl std::fmt::Debug for Inode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inode")
            .field("id", &self.id)
            .field("path", &self.path())
            .finish()
    }
}

impl Inode {
    /// A name of an object that has no other in use.
    pub(crate) fn new(id: u64, file_type: FileType, state: State, place: Place) -> Arc<Self> {
        let linked = state.upper.is_some();
        Inode::of(Object::new(id, file_type, state), place, linked)
    }

    /// A name of an object. `linked`: the upper has it.
    pub(crate) fn of(object: Arc<Object>, place: Place, linked: bool) -> Arc<Self> {
        let inode = Arc::new(Inode {
            object,
            linked: AtomicBool::new(linked),
            place: Mutex::new(place),
            children: Mutex::new(HashMap::new()),
            kept_at: AtomicUsize::new(0),
        });
        if inode.is_dir() {
            let mut dir = inode.dir.lock().unwrap_or_else(PoisonError::into_inner);
            *dir = Arc::downgrade(&inode);
        }
        inode
    }

    /// The object is in the upper, under this name.
    pub(crate) fn in_upper(&self) -> bool {
        self.linked.load(Ordering::Relaxed)
    }

    /// The upper has this name from now on.
    pub(crate) fn set_in_upper(&self) {
        self.linked.store(true, Ordering::Relaxed);
    }

    pub(crate) fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// True if both are names of one object.
    pub(crate) fn is_same(&self, other: &Inode) -> bool {
        Arc::ptr_eq(&self.object, &other.object)
    }

    /// The inode flags, if they are known.
    pub(crate) fn flags(&self) -> Option<InodeFlags> {
        *self.flags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the inode flags; `None`: to be found again.
    pub(crate) fn set_flags(&self, flags: Option<InodeFlags>) {
        *self.flags.lock().unwrap_or_else(PoisonError::into_inner) = flags;
    }

    pub(crate) fn place(&self) -> Place {
        self.place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_place(&self, place: Place) {
        let old = std::mem::replace(
            &mut *self.place.lock().unwrap_or_else(PoisonError::into_inner),
            place,
        );
        drop(old);
    }

    /// The directory that holds the object; itself for the root; `None` if it is nowhere.
    pub(crate) fn parent(self: &Arc<Self>) -> Option<Arc<Inode>> {
        match self.place() {
            Place::Root => Some(self.clone()),
            Place::At(parent, _) => Some(parent),
            Place::Gone(_) => None,
        }
    }

    /// True once the object has lost this name.
    pub(crate) fn is_gone(&self) -> bool {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*place, Place::Gone(_))
    }

    /// The path in the union, for people.
    pub(crate) fn path(&self) -> PathBuf {
        // Backwards, as the names are come by: joining name by name copies the path so far for each.
        let mut path = Vec::with_capacity(PATH_BYTES_GUESS);
        let mut place = self.place();
        loop {
            match place {
                Place::Root => break,
                Place::At(parent, name) | Place::Gone(Some((parent, name))) => {
                    path.extend(name.as_bytes().iter().rev());
                    path.push(b'/');
                    place = parent.place();
                }
                Place::Gone(None) => return PathBuf::from("(unnamed)"),
            }
        }
        if path.is_empty() {
            path.push(b'/');
        }
        path.reverse();
        PathBuf::from(OsString::from_vec(path))
    }

    /// True if `self` is `other` or lies somewhere below it.
    pub(crate) fn is_within(self: &Arc<Self>, other: &Arc<Inode>) -> bool {
        let mut at = self.clone();
        loop {
            if Arc::ptr_eq(&at, other) {
                return true;
            }
            match at.place() {
                Place::At(parent, _) => at = parent,
                _ => return false,
            }
        }
    }

    pub(crate) fn child(&self, name: &Name) -> Option<Arc<Inode>> {
        self.children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)?
            .upgrade()
    }

    /// As [`Inode::child`], by the name's bytes.
    pub(crate) fn known_child(&self, name: &[u8]) -> Option<Arc<Inode>> {
        self.children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)?
            .upgrade()
    }

    /// The directories in this one that are in use.
    pub(crate) fn dirs_in_use(&self) -> Vec<Arc<Inode>> {
        let children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let mut in_use: Vec<_> = children.values().filter_map(Weak::upgrade).collect();
        // Whose last use ends here looks for its own entry.
        drop(children);
        in_use.retain(|child| child.is_dir());
        in_use
    }

    /// Records a child; if another thread was faster, answers its inode.
    pub(crate) fn adopt(&self, name: &Name, child: &Arc<Inode>) -> Arc<Inode> {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let known = children.entry(name.clone()).or_default();
        if let Some(existing) = known.upgrade() {
            return existing;
        }
        *known = Arc::downgrade(child);
        child.clone()
    }

    /// Makes `child` what the name stands for.
    pub(crate) fn set_child(&self, name: &Name, child: &Arc<Inode>) {
        self.children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.clone(), Arc::downgrade(child));
    }

    pub(crate) fn forget(&self, name: &Name) {
        self.children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }

    fn forget_dead(&self, name: &Name) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        if children.get(name).is_some_and(|c| c.strong_count() == 0) {
            children.remove(name);
        }
    }

    fn take_parent(&self) -> Option<Arc<Inode>> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *place, Place::Gone(None)) {
            Place::At(parent, name) => {
                parent.forget_dead(&name);
                Some(parent)
            }
            Place::Gone(Some((parent, _))) => Some(parent),
            Place::Root | Place::Gone(None) => None,
        }
    }
}

impl Drop for Inode {
    /// Lets go of the chain of parents one by one: it may be thousands of directories deep, too deep
    /// for nested drops.
    fn drop(&mut self) {
        let mut next = self.take_parent();
        while let Some(parent) = next {
            next = match Arc::try_unwrap(parent) {
                Ok(mut inode) => inode.take_parent_mut(),
                Err(_) => None,
            };
        }
    }
}

impl Inode {
    fn take_parent_mut(&mut self) -> Option<Arc<Inode>> {
        self.take_parent()
    }
}

/// The path of `dir` for messages.
pub(crate) fn path_of(dir: &Inode, name: &Name) -> PathBuf {
    join(Path::new(&dir.path()), name)
}
