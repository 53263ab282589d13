//! A layer in memory.
//!
//! [`MemLayer`] holds every type of node, owners, times to the nanosecond, extended attributes,
//! hard links and holes, and serves as a lower or as an upper. [`MemLayer::clone`] takes O(1) and
//! gives an independent layer: nodes, directories and file content are shared until either side
//! changes them. Copies of file content between `MemLayer`s share it too.
//!
//! It behaves as a filesystem used by root: nothing is refused for lack of permission, and a write
//! does not take set-id bits away (it does take `security.capability`, as filesystems do even for
//! root). Reading does not change access times.
//!
//! Locks: one reader-writer lock for the tree of a layer, then one shard of the handle table. Two
//! layers' locks are never held together. A lock poisoned by a panic elsewhere is used all the
//! same: every change of the tables is complete before anything that could panic.

mod attr;
mod builder;
mod chunks;
mod clock;
mod file;
mod handles;
mod import;
mod node;
mod rename;
mod state;
#[cfg(test)]
mod tests;
mod upper;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use builder::{BuildError, MemLayerBuilder};
pub use clock::{Clock, ManualClock, SystemClock};

use self::handles::Handles;
use self::node::MemNode;
use self::state::{Inode, ROOT, State};
use super::{
    Capabilities, FileHandle, FsId, FsIdentity, LayerBackend, NodeRef, Result, UpperBackend,
};
use crate::meta::{DeviceId, Metadata, StatFs, Timestamp, fs_id};
use crate::path::NAME_BYTES_MAX;
use crate::xattr_name::{OverlayAttr, XattrName, XattrNamespace};

/// Added to the layer's number to make the minor number of its device: behind the 20 bits that a
/// kernel's minor numbers have, so that no mounted filesystem shows the same device.
const MINOR_BASE: u32 = 1 << 20;

/// What [`MemLayer`] tells as its size, in blocks of 4 KiB (16 TiB), and in inodes. There is no such
/// limit; programs that look for free space should find some.
const STATFS_BLOCKS: u64 = 1 << 32;
const STATFS_FILES: u64 = 1 << 32;

/// `TMPFS_MAGIC`: what is nearest to this layer among the kernel's filesystems.
const STATFS_TYPE: u64 = 0x0102_1994;

/// A layer in memory; see the [module](self).
///
/// # Examples
/// ```
/// use layerstack::Name;
/// use layerstack::backend::memory::MemLayer;
/// use layerstack::backend::{Entry, LayerBackend, Result};
///
/// # fn main() -> Result<()> {
/// let layer = MemLayer::builder()
///     .file("etc/passwd", b"root:x:0:0")
///     .whiteout("gone")
///     .build()?;
/// let root = layer.root()?;
/// // `etc` was made because `etc/passwd` needs it.
/// let etc = root.lookup(&Name::new("etc")?)?;
/// assert!(matches!(etc, Some(Entry::Node(_, meta)) if meta.mode == 0o755));
/// let gone = root.lookup(&Name::new("gone")?)?;
/// assert!(matches!(gone, Some(Entry::Whiteout(_))));
/// # Ok(())
/// # }
/// ```
pub struct MemLayer {
    shared: Arc<Shared>,
}

/// What a layer and the handles into it share.
#[derive(Debug)]
struct Shared {
    identity: FsIdentity,
    capabilities: Capabilities,
    label: String,
    clock: Arc<dyn Clock>,
    dev: DeviceId,
    /// The layer's own number within the process.
    number: u64,
    /// Full names of the overlay attributes, in the order of [`OverlayAttr::ALL`].
    attrs: [XattrName; OverlayAttr::ALL.len()],
    state: RwLock<State>,
    handles: Handles,
}

impl Shared {
    fn new(config: Config, state: impl FnOnce(u64, Timestamp, &Handles) -> State) -> Arc<Shared> {
        let fs = FsId::unique();
        let number = match fs {
            FsId::Process(number) => number,
            FsId::Device(_) => 0,
        };
        let mut identity = FsIdentity::new(fs, config.namespace);
        identity.uuid = Some(config.uuid.unwrap_or_else(|| uuid_of(number)));
        let mut capabilities = Capabilities::full();
        capabilities.reflink = Some(true);
        let handles = Handles::default();
        let state = state(number, config.clock.now(), &handles);
        Arc::new(Shared {
            identity,
            capabilities,
            label: config.label,
            clock: config.clock,
            dev: DeviceId::new(0, MINOR_BASE.wrapping_add(number as u32)),
            number,
            attrs: OverlayAttr::ALL.map(|attr| attr.full_name(config.namespace)),
            state: RwLock::new(state),
            handles,
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn metadata(&self, inode: &Inode) -> Metadata {
        Metadata {
            dev: self.dev,
            ..inode.meta.clone()
        }
    }

    /// The full name of an overlay attribute.
    fn attr(&self, attr: OverlayAttr) -> &XattrName {
        // The array is the table of all variants in their order, so the first is never used.
        let [first, ..] = &self.attrs;
        self.attrs.get(attr as usize).unwrap_or(first)
    }
}

/// The UUID of the layer with this number: a fixed head and the number, so that runs agree.
fn uuid_of(number: u64) -> [u8; 16] {
    let mut uuid = *b"MemLayer\0\0\0\0\0\0\0\0";
    for (to, from) in uuid.iter_mut().skip(8).zip(number.to_be_bytes()) {
        *to = from;
    }
    uuid
}

/// What is chosen when a layer is made.
#[derive(Clone, Debug)]
struct Config {
    namespace: XattrNamespace,
    label: String,
    clock: Arc<dyn Clock>,
    uuid: Option<[u8; 16]>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            namespace: XattrNamespace::default(),
            label: String::from("memory"),
            clock: Arc::new(SystemClock),
            uuid: None,
        }
    }
}

impl Config {
    fn make(self) -> MemLayer {
        MemLayer {
            shared: Shared::new(self, |number, now, _| State::new(number, now)),
        }
    }
}

impl MemLayer {
    /// An empty layer: system clock, `trusted.` namespace, root `0:0` with mode 0755.
    #[must_use]
    pub fn new() -> Self {
        Config::default().make()
    }

    /// An empty layer that takes its times from `clock`.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let config = Config {
            clock,
            ..Config::default()
        };
        config.make()
    }

    /// An empty layer that keeps overlay attributes in `namespace`.
    #[must_use]
    pub fn with_namespace(namespace: XattrNamespace) -> Self {
        let config = Config {
            namespace,
            ..Config::default()
        };
        config.make()
    }

    /// An empty layer that people see as `label`.
    #[must_use]
    pub fn with_label(label: impl Into<String>) -> Self {
        let config = Config {
            label: label.into(),
            ..Config::default()
        };
        config.make()
    }

    /// Starts the description of a layer with content.
    pub fn builder() -> MemLayerBuilder {
        MemLayerBuilder::default()
    }

    /// Reads the tree under a real directory; see [`MemLayerBuilder::import`].
    ///
    /// # Errors
    /// What reading it gives, with the path.
    pub fn from_dir(path: impl AsRef<Path>) -> std::result::Result<Self, BuildError> {
        Self::builder().import(path).build()
    }

    /// How many inodes there are: those with names, the work directory and the index with what is
    /// in them, and nameless ones that a handle keeps.
    #[must_use]
    pub fn inode_count(&self) -> u64 {
        self.shared.read().count()
    }
}

impl Default for MemLayer {
    fn default() -> Self {
        MemLayer::new()
    }
}

/// A clone is a layer of its own, as if it were a copy on another filesystem: it has another
/// [`FsId`], and later changes of either do not show in the other. As when a layer is opened, its
/// work directory is empty, and nodes that were unlinked but still held are not in it. Inode
/// numbers, UUID and file handles given before are the same, so origins recorded on layers that
/// were cloned together stay valid.
///
/// Takes O(1) in the size of the tree.
impl Clone for MemLayer {
    fn clone(&self) -> Self {
        let config = Config {
            namespace: self.shared.identity.namespace,
            label: self.shared.label.clone(),
            clock: Arc::clone(&self.shared.clock),
            uuid: self.shared.identity.uuid,
        };
        let mut copy = self.shared.read().clone();
        let shared = Shared::new(config, |_, now, handles| {
            copy.sweep(handles, now);
            copy
        });
        MemLayer { shared }
    }
}

impl fmt::Debug for MemLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemLayer")
            .field("label", &self.shared.label)
            .field("identity", &self.shared.identity)
            .field("inodes", &self.inode_count())
            .finish_non_exhaustive()
    }
}

impl LayerBackend for MemLayer {
    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    fn identity(&self) -> &FsIdentity {
        &self.shared.identity
    }

    fn root(&self) -> Result<NodeRef> {
        let state = self.shared.read();
        Ok(MemNode::make(&self.shared, state.inode(ROOT)?))
    }

    fn statfs(&self) -> Result<StatFs> {
        let files = self.inode_count();
        Ok(StatFs {
            fs_type: STATFS_TYPE,
            block_size: 4096,
            blocks: STATFS_BLOCKS,
            blocks_free: STATFS_BLOCKS,
            blocks_available: STATFS_BLOCKS,
            files: STATFS_FILES,
            files_free: STATFS_FILES.saturating_sub(files),
            name_bytes_max: NAME_BYTES_MAX as u64,
            fs_id: fs_id(self.shared.identity.uuid.unwrap_or_default()),
        })
    }

    fn by_handle(&self, handle: &FileHandle) -> Result<Option<NodeRef>> {
        let Some((ino, generation)) = node::parse_handle(handle) else {
            return Ok(None);
        };
        let state = self.shared.read();
        let whiteout = self.shared.attr(OverlayAttr::Whiteout);
        let found = state
            .get(ino)
            .filter(|inode| inode.generation == generation && inode.whiteout(whiteout).is_none());
        Ok(found.map(|inode| MemNode::make(&self.shared, inode)))
    }

    fn upper(&self) -> Option<&dyn UpperBackend> {
        Some(self)
    }

    fn label(&self) -> String {
        self.shared.label.clone()
    }
}
