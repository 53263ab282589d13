//! The heart of a union: its layers, locks and caches.
//!
//! # Locks, in the order in which they are taken
//!
//! 1. [`Object::copy_up`](crate::overlay::inode::Object) of the object being copied up (data are staged under it, nothing else is
//!    held, so neither readers nor writers elsewhere wait).
//! 2. `tree`: read for looking things up, write for changing them. Not held while file data are
//!    read, written or staged, but for small files that are neither synced nor watched while they are copied.
//!    Never taken twice by one thread.
//! 3. [`Object::append`](crate::overlay::inode::Object).
//! 4. The small locks inside an [`Inode`], the table of objects and the cache, each held for a few instructions and never
//!    while another is taken (parent and child places are read one after the other).
//!
//! Backends lock for themselves below all of these.
//!
//! One room, so that every lock of the list above is seen where it is declared and taken.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::backend::{BackendError, FsId, FsIdentity, LayerBackend, NodeRef, UpperBackend};
use crate::credentials::Credentials;
use crate::errno::Errno;
use crate::error::{Error, LayerId, Result};
use crate::meta::DeviceId;
use crate::overlay::handles::Handles;
use crate::overlay::inode::{Inode, Lower, Place, State};
use crate::overlay::meter::Meter;
use crate::overlay::objects::Objects;
use crate::overlay::open::Roots;
use crate::overlay::options::OverlayOptions;
use crate::overlay::recent::Recent;
use crate::overlay::stack::Layers;
use crate::overlay::watch::Watchers;
use crate::path::Name;
use crate::rules::Features;
use crate::rules::config::facts::Facts;
use crate::rules::config::settle::Settled;
use crate::rules::config::{Fsync, Settings};
use crate::rules::index;
use crate::rules::inode::Numbering;
use crate::rules::warning::Warning;
use crate::rules::whiteout::{Opacity, opacity};
use crate::xattr_name::{OverlayAttr, XattrNamespace};

/// A failure inside the engine: an errno, and what is known about its cause. The facade adds
/// operation and path.
#[derive(Debug)]
pub(crate) struct Fail {
    pub(crate) errno: Errno,
    pub(crate) layer: Option<LayerId>,
    pub(crate) rule: Option<&'static str>,
    pub(crate) detail: Option<String>,
    pub(crate) source: Option<BackendError>,
}

/// Result inside the engine.
pub(crate) type Res<T> = std::result::Result<T, Fail>;

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Self {
        Fail {
            errno,
            layer: None,
            rule: None,
            detail: None,
            source: None,
        }
    }
}

impl From<Fail> for Errno {
    fn from(fail: Fail) -> Self {
        fail.errno
    }
}

impl Fail {
    /// A failure that a rule demands.
    pub(crate) fn rule(errno: Errno, rule: &'static str) -> Self {
        Fail {
            rule: Some(rule),
            ..errno.into()
        }
    }

    /// A layer failed, and it was no refusal; no rule made an error of what it holds.
    pub(crate) fn is_disk(&self) -> bool {
        self.source.is_some() && !crate::rules::merge::is_refusal(self.errno)
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The public error of operation `op` on `path`.
    pub(crate) fn into_error(self, op: &'static str, path: impl Into<std::path::PathBuf>) -> Error {
        let mut error = Error::new(op, path, self.errno);
        if let Some(layer) = self.layer {
            error = error.with_layer(layer);
        }
        if let Some(rule) = self.rule {
            error = error.with_rule(rule);
        }
        if let Some(detail) = self.detail {
            error = error.with_detail(detail);
        }
        match self.source {
            Some(source) => error.with_backend(source),
            None => error,
        }
    }
}

/// Adds the layer to a backend's answer.
pub(crate) trait InLayer<T> {
    fn in_layer(self, layer: LayerId) -> Res<T>;
}

impl<T> InLayer<T> for std::result::Result<T, BackendError> {
    fn in_layer(self, layer: LayerId) -> Res<T> {
        self.map_err(|e| Fail {
            errno: e.errno(),
            layer: Some(layer),
            rule: None,
            detail: None,
            source: Some(e),
        })
    }
}

/// A read-only layer of a union.
#[derive(Debug)]
pub(crate) struct LowerLayer {
    pub(crate) backend: Arc<dyn LayerBackend>,
    /// Which filesystem it is on: 0 is the upper's.
    pub(crate) fs: usize,
    /// A directory marked as holding xattr whiteouts was met in this layer (rule R073).
    pub(crate) has_xattr_whiteouts: AtomicBool,
}

/// A layer that has only data.
#[derive(Debug)]
pub(crate) struct DataLayer {
    pub(crate) layer: LowerLayer,
    pub(crate) root: NodeRef,
}

/// One caller's view of a union: what the engine's operations are methods of. Views of one union
/// share everything but the caller.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    shared: Arc<Shared>,
    /// On whose behalf operations run; `None`: the mounter, who may do anything (rule R286).
    pub(crate) caller: Option<Arc<Credentials>>,
}

impl Deref for Core {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.shared
    }
}

/// The layers, locks and caches of one union.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) lowers: Vec<LowerLayer>,
    /// Layers that have data of metacopy files only, the first to be asked first.
    pub(crate) data: Vec<DataLayer>,
    pub(crate) upper: Option<Arc<dyn LayerBackend>>,
    /// Where objects are staged.
    pub(crate) work: Option<NodeRef>,
    /// The index, if there is one; then it is `work` too.
    pub(crate) index: Option<NodeRef>,
    pub(crate) options: OverlayOptions,
    pub(crate) features: Features,
    /// The options in force.
    pub(crate) settings: Settings,
    /// What was adjusted when the union was opened.
    pub(crate) warnings: Vec<Warning>,
    pub(crate) namespace: XattrNamespace,
    /// What the union is as a layer of another one.
    pub(crate) identity: FsIdentity,
    /// How inode numbers are made unique.
    pub(crate) numbering: Numbering,
    /// The identity of the union, where it is not its upper filesystem's (rule R037).
    pub(crate) uuid: Option<[u8; 16]>,
    /// Filesystems of which no origin is decoded (rule R268).
    pub(crate) bad_uuids: Vec<usize>,
    /// Device of the union; those of its layers' filesystems follow in `minor`.
    dev_minor: u32,
    root: Arc<Inode>,
    tree: RwLock<()>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) objects: Arc<Objects>,
    next_id: AtomicU64,
    next_temp: AtomicU64,
    exclusive: AtomicU64,
    pub(crate) meter: Meter,
    pub(crate) watchers: Arc<Watchers>,
    /// Layer roots; meeting one inside another layer is a loop (rule R016).
    traps: HashSet<(usize, u64)>,
}

/// How many filesystems there are, and which of them each lower is on.
fn filesystems(
    lowers: &[Arc<dyn LayerBackend>],
    upper: Option<&Arc<dyn LayerBackend>>,
) -> (usize, Vec<usize>) {
    // Place 0 is the upper's, also where there is none (rule R254).
    let mut all = vec![upper.map(|u| u.identity().fs)];
    let mut index = |fs: FsId| match all.iter().position(|f| *f == Some(fs)) {
        Some(at) => at,
        None => {
            all.push(Some(fs));
            all.len() - 1
        }
    };
    let of_lowers = lowers.iter().map(|l| index(l.identity().fs)).collect();
    (all.len(), of_lowers)
}

/// A stack that can be opened, before anything is written.
struct Checked {
    namespace: XattrNamespace,
    filesystems: usize,
    fs_of_lowers: Vec<usize>,
    roots: Roots,
    work: Option<NodeRef>,
    settled: Settled,
}

impl Checked {
    /// Of `lowers` those beyond `merged` are data-only.
    fn new(
        merged: usize,
        lowers: &[Arc<dyn LayerBackend>],
        upper: Option<&Arc<dyn LayerBackend>>,
        options: &OverlayOptions,
    ) -> Result<Checked> {
        use crate::overlay::open as checks;
        let namespace = checks::namespace(lowers.get(..merged).unwrap_or_default(), upper)?;
        checks::count(merged, lowers)?;
        let (filesystems, fs_of_lowers) = filesystems(lowers, upper);
        let roots = checks::roots(lowers, upper, &fs_of_lowers)?;
        let work = checks::work(upper)?;
        let facts = Facts {
            namespace,
            permitted: checks::permitted(lowers, upper),
            upper: checks::upper_facts(upper, &roots)?,
            lowers: checks::lower_facts(lowers, &fs_of_lowers),
            data_layers: lowers.len().saturating_sub(merged),
            defaults: options.defaults,
        };
        let settled = checks::settle(options, &facts)?;
        Ok(Checked {
            namespace,
            filesystems,
            fs_of_lowers,
            roots,
            work,
            settled,
        })
    }
}

impl Core {
    /// What a union of these layers with these options would do; nothing is written or kept open.
    pub(crate) fn features_of(layers: &Layers, options: &OverlayOptions) -> Result<Features> {
        let all = [layers.lowers.as_slice(), &layers.data].concat();
        let checked = Checked::new(layers.lowers.len(), &all, layers.upper.as_ref(), options)?;
        Ok(checked.settled.settings.features())
    }

    /// Checks a stack and makes a union of it. An upper that is read-only makes a union that cannot be
    /// changed.
    pub(crate) fn new(layers: Layers, options: OverlayOptions) -> Result<Arc<Core>> {
        use crate::overlay::open as checks;
        let Layers {
            upper,
            mut lowers,
            data,
        } = layers;
        let merged = lowers.len();
        lowers.extend(data);
        let Checked {
            namespace,
            filesystems,
            fs_of_lowers,
            mut roots,
            mut work,
            mut settled,
        } = Checked::new(merged, &lowers, upper.as_ref(), &options)?;
        if settled.settings.fsync == Fsync::Volatile {
            checks::leave_mark(upper.as_ref(), work.as_ref())?;
        }
        let uuid = checks::identify(&mut settled, upper.as_ref(), &roots)?;
        static NEXT_DEV: AtomicU64 = AtomicU64::new(1);
        let devices = u64::try_from(filesystems).unwrap_or(0) + 1;
        let dev_minor = NEXT_DEV.fetch_add(devices, Ordering::Relaxed);
        let mut lowers: Vec<LowerLayer> = lowers
            .into_iter()
            .zip(fs_of_lowers)
            .map(|(backend, fs)| LowerLayer {
                backend,
                fs,
                has_xattr_whiteouts: AtomicBool::new(false),
            })
            .collect();
        let data_roots = roots.lowers.split_off(merged);
        let data = lowers.split_off(merged).into_iter().zip(data_roots);
        let data = data.map(|(layer, root)| DataLayer { layer, root });
        let root = root_inode(&lowers, upper.as_ref(), &roots)?;
        let features = settled.settings.features();
        let mut index = None;
        if features.index {
            let handles = Handles {
                lowers: &lowers,
                upper: upper.as_ref(),
                uuid: settled.settings.uuid,
                bad_uuids: &settled.bad_uuids,
            };
            index = Some(crate::overlay::index::open(handles, features, &roots)?);
            // It is where objects are staged too (rule R046).
            work = index.clone();
        }
        let shared = Shared {
            lowers,
            data: data.collect(),
            upper,
            work,
            index,
            features,
            settings: settled.settings,
            numbering: settled.numbering,
            bad_uuids: settled.bad_uuids,
            uuid,
            warnings: settled.warnings,
            options,
            namespace,
            identity: FsIdentity::new(FsId::unique(), namespace),
            dev_minor: u32::try_from(dev_minor & u64::from(u32::MAX)).unwrap_or(0),
            root,
            tree: RwLock::new(()),
            recent: Arc::default(),
            objects: Arc::default(),
            next_id: AtomicU64::new(2),
            next_temp: AtomicU64::new(1),
            exclusive: AtomicU64::new(0),
            meter: Meter::default(),
            watchers: Arc::default(),
            traps: roots.traps,
        };
        Ok(Arc::new(Core {
            shared: Arc::new(shared),
            caller: None,
        }))
    }

    /// The same union for another caller.
    pub(crate) fn for_caller(&self, caller: Option<&Credentials>) -> Arc<Core> {
        Arc::new(Core {
            shared: self.shared.clone(),
            caller: caller.map(|c| Arc::new(c.clone())),
        })
    }

    /// Whether both are views of one union.
    pub(crate) fn is_view_of(&self, other: &Core) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Shared {
    pub(crate) fn root(&self) -> &Arc<Inode> {
        &self.root
    }

    /// A lower layer by its number; data-only ones count on after the others.
    pub(crate) fn read_only_layer(&self, i: usize) -> Option<&LowerLayer> {
        let data = i.checked_sub(self.lowers.len());
        self.lowers
            .get(i)
            .or_else(|| self.data.get(data?).map(|d| &d.layer))
    }

    /// The layers that this is a union of.
    pub(crate) fn layers(&self) -> Layers {
        Layers {
            upper: self.upper.clone(),
            lowers: self.lowers.iter().map(|l| l.backend.clone()).collect(),
            data: self.data.iter().map(|d| d.layer.backend.clone()).collect(),
        }
    }

    /// The writable half, or `EROFS`.
    pub(crate) fn upper(&self) -> Res<&dyn UpperBackend> {
        self.upper
            .as_ref()
            .filter(|_| !self.options.read_only)
            .and_then(|u| u.upper())
            .ok_or_else(|| Fail::rule(Errno::EROFS, "R215"))
    }

    /// Whether there is an upper that can store overlay attributes (rule R033).
    pub(crate) fn stores_overlay_attrs(&self) -> bool {
        let upper = self.upper.as_ref();
        upper.is_some_and(|u| u.capabilities().overlay_attrs)
    }

    pub(crate) fn work(&self) -> Res<&NodeRef> {
        self.work
            .as_ref()
            .ok_or_else(|| Fail::rule(Errno::EROFS, "R215"))
    }

    /// Shared access to the tree's shape.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, ()> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exclusive access to the tree's shape.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, ()> {
        let tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        self.exclusive.fetch_add(1, Ordering::Relaxed);
        tree
    }

    /// How often there was exclusive access so far. While it is held, or shared access, this stays the same.
    pub(crate) fn exclusive(&self) -> u64 {
        self.exclusive.load(Ordering::Relaxed)
    }

    /// Nobody had exclusive access between when that was `before` and the present one,
    /// so nothing of the tree was changed. Call with the tree's write lock held.
    pub(crate) fn is_unchanged_since(&self, before: u64) -> bool {
        self.exclusive() == before + 1
    }

    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// A free name in the work directory, in the kernel's form (rule R047).
    pub(crate) fn temp_name(&self) -> Res<Name> {
        let n = self.next_temp.fetch_add(1, Ordering::Relaxed);
        Ok(index::temporary(n)?)
    }

    pub(crate) fn is_trap(&self, fs: usize, ino: u64) -> bool {
        self.traps.contains(&(fs, ino))
    }

    /// The device number of the union, or of one of its layers' filesystems.
    pub(crate) fn device(&self, of: crate::rules::inode::Device) -> DeviceId {
        let offset = match of {
            crate::rules::inode::Device::Union => 0,
            crate::rules::inode::Device::Layer(fs) => u32::try_from(fs).unwrap_or(0) + 1,
        };
        DeviceId::new(0, self.dev_minor.wrapping_add(offset))
    }

    /// The layer that gives an object's attributes.
    pub(crate) fn real_layer(&self, state: &State) -> LayerId {
        match (&state.upper, state.lowers.first()) {
            (None, Some(lower)) => LayerId::Lower(lower.layer),
            _ => LayerId::Upper,
        }
    }
}

/// The root: always a merge of all layer roots (rule R058).
fn root_inode(
    lowers: &[LowerLayer],
    upper: Option<&Arc<dyn LayerBackend>>,
    roots: &crate::overlay::open::Roots,
) -> Result<Arc<Inode>> {
    let fail = |layer: LayerId, label: String| {
        move |e: BackendError| {
            Error::config("open overlay", label, e.errno(), layer, "layer root").with_backend(e)
        }
    };
    let mut xattr_whiteouts = false;
    let bottom = lowers.len().saturating_sub(1);
    let mut stack = Vec::with_capacity(lowers.len());
    for (i, (layer, node)) in lowers.iter().zip(&roots.lowers).enumerate() {
        if i != bottom {
            let value = node
                .overlay_attr(OverlayAttr::Opaque)
                .map_err(fail(LayerId::Lower(i), layer.backend.label()))?;
            if opacity(value.as_deref()) == Opacity::HoldsXattrWhiteouts {
                layer.has_xattr_whiteouts.store(true, Ordering::Relaxed);
                xattr_whiteouts = true;
            }
        }
        stack.push(Lower {
            layer: i,
            node: node.clone(),
        });
    }
    let mut impure = false;
    if let (Some(node), Some(upper)) = (&roots.upper, upper) {
        let value = node
            .overlay_attr(OverlayAttr::Impure)
            .map_err(fail(LayerId::Upper, upper.label()))?;
        impure = value.as_deref() == Some(b"y");
    }
    let state = State {
        upper: roots.upper.clone(),
        lowers: stack.into(),
        opaque: false,
        impure,
        origin_mark: true,
        origin_recorded: true,
        xattr_whiteouts,
        metacopy: false,
        data: None,
        hard_linked: false,
        indexed: false,
        nlink: 0,
        redirect: None,
        digest: None,
    };
    Ok(Inode::new(
        1,
        crate::meta::FileType::Directory,
        state,
        Place::Root,
    ))
}
