//! The stack being checked: its layers, and the engine's answers about them.

use std::sync::Arc;

use crate::backend::{
    BackendError, Capabilities, Entry, FileHandle, FsIdentity, LayerBackend, NodeRef,
};
use crate::errno::Errno;
use crate::error::{LayerId, Result};
use crate::meta::{FileType, Metadata, StatFs};
use crate::overlay::core::{Core, Fail, Res};
use crate::overlay::inode::{Inode, Object, Place, State};
use crate::overlay::lookup::Seen;
use crate::overlay::options::OverlayOptions;
use crate::overlay::stack::Layers;
use crate::path::Name;
use crate::rules::Features;
use crate::rules::check::hints::Recorded;
use crate::rules::config::{Fsync, RedirectDir, UuidMode};
use crate::rules::index;
use crate::rules::origin::{self, Decoded};
use crate::rules::redirect;
use crate::rules::resolve::Observed;
use crate::xattr_name::{OverlayAttr, XattrNamespace};

/// The stack, opened for looking: nothing here writes.
pub(super) struct Context {
    pub(super) lowers: Vec<Arc<dyn LayerBackend>>,
    /// Data-only layers.
    data: Vec<Arc<dyn LayerBackend>>,
    pub(super) upper: Option<Arc<dyn LayerBackend>>,
    /// As a mount with the user's options shows it, without its index.
    pub(super) mounted: Arc<Core>,
    /// With every redirect and every metadata-only copy followed, so far as the attribute namespace
    /// permits.
    pub(super) core: Arc<Core>,
    /// What the user's options come to.
    pub(super) features: Features,
    /// The work directory is known, though there may be nothing in it.
    pub(super) knows_work: bool,
    /// The staging directory, if there is one.
    pub(super) staging: Option<NodeRef>,
    /// Something that is no directory is there instead.
    pub(super) no_staging: bool,
    /// The index, if there is one.
    pub(super) index: Option<NodeRef>,
    /// Directories that must not be met inside a layer, beside the roots (rule R016).
    beside: Vec<(usize, u64)>,
}

/// The upper as it is looked at: nothing can write through this.
#[derive(Debug)]
struct ReadOnly(Arc<dyn LayerBackend>);

impl LayerBackend for ReadOnly {
    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }
    fn identity(&self) -> &FsIdentity {
        self.0.identity()
    }
    fn root(&self) -> std::result::Result<NodeRef, BackendError> {
        self.0.root()
    }
    fn statfs(&self) -> std::result::Result<StatFs, BackendError> {
        self.0.statfs()
    }
    fn by_handle(&self, handle: &FileHandle) -> std::result::Result<Option<NodeRef>, BackendError> {
        self.0.by_handle(handle)
    }
    fn ancestors(&self) -> std::result::Result<Vec<u64>, BackendError> {
        self.0.ancestors()
    }
    fn label(&self) -> String {
        self.0.label()
    }
}

/// What a name stands for.
pub(super) struct Peeked {
    pub(super) inode: Arc<Inode>,
    pub(super) state: State,
    /// A redirect was met on the way.
    pub(super) redirected: bool,
}

/// An object of a lower that an origin names.
#[derive(Clone, Debug)]
pub(super) struct LowerObject {
    pub(super) key: ObjectKey,
    pub(super) meta: Metadata,
}

/// A filesystem of the stack, by the engine's number, and an inode number on it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ObjectKey {
    pub(super) fs: usize,
    pub(super) ino: u64,
}

impl Context {
    /// Opens the layers as a stack.
    ///
    /// # Errors
    /// Why these layers make no stack.
    pub(super) fn open(layers: &Layers, options: &OverlayOptions) -> Result<Context> {
        let read_only = |upper: &Arc<dyn LayerBackend>| -> Arc<dyn LayerBackend> {
            Arc::new(ReadOnly(upper.clone()))
        };
        let view = Layers {
            upper: layers.upper.as_ref().map(read_only),
            ..layers.clone()
        };
        let open = |options| Core::new(view.clone(), options);
        // Neither is anything a union does when it is opened: an identity, a mark.
        let uuid = match options.requested.uuid {
            Some(UuidMode::Off) => UuidMode::Off,
            _ => UuidMode::Null,
        };
        let quiet = options.clone().uuid(uuid).fsync(Fsync::Auto);
        let features = Core::features_of(&view, &quiet)?;
        // The index decides nothing about which names exist, and is judged by itself.
        let asked = quiet.index(false).nfs_export(false);
        let all = asked.clone().redirect_dir(RedirectDir::On).metacopy(true);
        let mounted = open(asked)?;
        // Where attributes are nobody's to vouch for, nothing is followed (rules R029, R032).
        let core = match open(all) {
            Err(e) if matches!(e.errno(), Errno::EINVAL | Errno::EPERM) => mounted.clone(),
            opened => opened?,
        };
        Ok(Context {
            lowers: layers.lowers.clone(),
            data: layers.data.clone(),
            upper: layers.upper.clone(),
            mounted,
            core,
            features,
            knows_work: false,
            staging: None,
            no_staging: false,
            index: None,
            beside: Vec::new(),
        })
    }

    /// Finds staging directory and index: those of a writable upper, or in `work`.
    ///
    /// # Errors
    /// What the layer gives, and of which path. `ENOTDIR`: something else is there instead of the index.
    pub(super) fn find_work(
        &mut self,
        work: Option<&Arc<dyn LayerBackend>>,
    ) -> std::result::Result<(), (&'static str, BackendError)> {
        let index = if let Some(upper) = self.upper.as_ref().and_then(|u| u.upper()) {
            self.staging = Some(upper.work().map_err(|e| ("/work", e))?);
            self.knows_work = true;
            let reserved = upper.reserved().map_err(|e| ("/", e))?;
            self.beside = reserved.into_iter().map(|ino| (0, ino)).collect();
            upper.index(false)
        } else if let Some(work) = work {
            let root = work.root().map_err(|e| ("/", e))?;
            // Upper and work directory share a filesystem (rule R007).
            let meta = root.metadata().map_err(|e| ("/", e))?;
            self.beside.push((0, meta.ino));
            self.knows_work = true;
            self.staging = match directory(&root, "work") {
                Err(e) if e.errno() == Errno::ENOTDIR => {
                    self.no_staging = true;
                    None
                }
                found => found.map_err(|e| ("/work", e))?,
            };
            directory(&root, "index")
        } else {
            return Ok(());
        };
        self.index = match index {
            // Without an index nobody asks for it.
            Err(e) if e.errno() == Errno::ENOTDIR && !self.features.index => None,
            found => found.map_err(|e| ("/index", e))?,
        };
        Ok(())
    }

    pub(super) fn namespace(&self) -> XattrNamespace {
        self.core.namespace
    }

    /// True for the work directory, met inside a layer.
    pub(super) fn is_beside(&self, layer: LayerId, meta: &Metadata) -> bool {
        let key = (self.core.fs_of(layer), meta.ino);
        meta.is_dir() && layer != LayerId::Upper && self.beside.contains(&key)
    }

    /// The layer with this number.
    pub(super) fn layer(&self, id: LayerId) -> Option<&Arc<dyn LayerBackend>> {
        match id {
            LayerId::Lower(i) => self.lowers.iter().chain(&self.data).nth(i),
            LayerId::Upper | LayerId::Work => self.upper.as_ref(),
        }
    }

    /// What a name stands for with everything followed, whatever other names stand for: the engine
    /// itself refuses a directory that it has met elsewhere (rule R169).
    pub(super) fn peek(&self, dir: &Arc<Inode>, name: &Name) -> Res<Option<Peeked>> {
        let _tree = self.core.read();
        let mut taken = Vec::new();
        let mut see = |seen: Seen<'_>| {
            if let (Observed::Take, Some(Entry::Node(node, _))) = (seen.observed, seen.entry) {
                taken.push((seen.layer, node.clone()));
            }
        };
        let answer = self.core.lookup_layers(dir, name, &mut see);
        let (lookup, found) = answer.map_err(|fail| {
            // A redirect out of the tree is refused by the layer that is asked for it, and is in another.
            let bearer = taken.iter().rfind(|(_, node)| leads_out(node));
            let refused = fail.errno == Errno::EACCES && fail.rule == Some("R162");
            match bearer.filter(|_| refused) {
                Some((layer, _)) => Fail {
                    layer: Some(*layer),
                    ..fail
                },
                None => fail,
            }
        })?;
        let Some(made) = found else { return Ok(None) };
        let object = Object::new(self.core.new_id(), made.real.file_type, made.state.clone());
        let place = Place::At(dir.clone(), name.clone());
        Ok(Some(Peeked {
            inode: Inode::of(object, place, made.in_upper),
            state: made.state,
            redirected: lookup.redirect_seen,
        }))
    }

    /// Why a mount with the user's options refuses a name; the directory may come from `core`.
    pub(super) fn is_refused(&self, dir: &Arc<Inode>, name: &Name) -> bool {
        let _tree = self.mounted.read();
        let answer = self.mounted.lookup_layers(dir, name, &mut |_| {});
        answer.is_err_and(|fail| fail.errno == Errno::EPERM)
    }

    /// What the recorded `origin` of an upper object of type `wanted` turns out to be.
    pub(super) fn recorded(
        &self,
        value: &[u8],
        wanted: FileType,
    ) -> (Recorded, Option<LowerObject>) {
        match origin::decode(value) {
            Decoded::Unknown => (Recorded::Unknown, None),
            Decoded::Malformed => (Recorded::Malformed, None),
            Decoded::Known(_) => match self.find(value) {
                Lookup::Unknown => (Recorded::Unknown, None),
                Lookup::Gone => (Recorded::Gone, None),
                Lookup::Found(object) if object.meta.file_type != wanted => {
                    (Recorded::OtherType, None)
                }
                Lookup::Found(object) => (Recorded::Right, Some(object)),
            },
        }
    }

    /// Whether objects of a layer are found by their handles.
    pub(super) fn decodes(&self, id: LayerId) -> bool {
        let layer = self.layer(id);
        let fs = self.core.fs_of(id);
        layer.is_some_and(|l| l.capabilities().file_handles) && !self.core.bad_uuids.contains(&fs)
    }

    /// The lower object that an encoded handle names.
    pub(super) fn find(&self, handle: &[u8]) -> Lookup {
        let Decoded::Known(origin) = origin::decode(handle) else {
            return Lookup::Unknown;
        };
        let mut unknown = false;
        for (i, layer) in self.lowers.iter().enumerate() {
            let id = LayerId::Lower(i);
            if origin.uuid != self.core.handles().uuid(&**layer) {
                continue;
            }
            if !self.decodes(id) {
                unknown = true;
                continue;
            }
            match layer.by_handle(&origin.handle) {
                Ok(None) => {}
                Ok(Some(node)) => {
                    let Ok(meta) = node.metadata() else {
                        return Lookup::Unknown;
                    };
                    let fs = self.core.fs_of(id);
                    let key = ObjectKey { fs, ino: meta.ino };
                    return Lookup::Found(LowerObject { key, meta });
                }
                Err(_) => return Lookup::Unknown,
            }
        }
        match unknown {
            true => Lookup::Unknown,
            false => Lookup::Gone,
        }
    }

    /// The value that records `node` of `layer` as an origin: its encoded handle, zero length where
    /// handles say nothing (rule R233).
    ///
    /// # Errors
    /// What the layer gives.
    pub(super) fn origin_value(
        &self,
        layer: LayerId,
        node: &NodeRef,
    ) -> std::result::Result<Vec<u8>, BackendError> {
        let backend = self.layer(layer);
        match backend.filter(|l| l.capabilities().file_handles) {
            Some(backend) => {
                let handle = self.core.handles().encode(&**backend, &**node, layer);
                Ok(handle.map_err(|fail| fail.errno)?.unwrap_or_default())
            }
            None => Ok(Vec::new()),
        }
    }

    /// Longest name that the upper can hold, in bytes.
    pub(super) fn upper_name_bytes_max(&self) -> u64 {
        let stat = self.upper.as_ref().and_then(|u| u.statfs().ok());
        stat.map_or(u64::MAX, |s| s.name_bytes_max)
    }
}

/// The answer of [`Context::find`].
pub(super) enum Lookup {
    /// A lower is in question whose objects cannot be found by handle.
    Unknown,
    Gone,
    Found(LowerObject),
}

/// A subdirectory, if there is something of this name.
fn directory(root: &NodeRef, name: &str) -> std::result::Result<Option<NodeRef>, BackendError> {
    match root.lookup(&Name::new(name)?)? {
        Some(Entry::Node(node, meta)) if meta.is_dir() => Ok(Some(node)),
        Some(_) => Err(Errno::ENOTDIR.into()),
        None => Ok(None),
    }
}

/// What a recorded origin is where the right one is known, zero length if it cannot be told.
pub(super) fn compare(value: &[u8], right: &[u8]) -> Recorded {
    match origin::decode(value) {
        Decoded::Unknown => Recorded::Unknown,
        Decoded::Malformed => Recorded::Malformed,
        Decoded::Known(_) if right.is_empty() => Recorded::Unknown,
        Decoded::Known(_) => match index::recorded(Some(value), right) {
            index::Recorded::Same => Recorded::Right,
            index::Recorded::Other | index::Recorded::Nothing => Recorded::Another,
        },
    }
}

/// True if a redirect leads out of the tree.
fn leads_out(node: &NodeRef) -> bool {
    let value = node.overlay_attr(OverlayAttr::Redirect);
    let value = value.ok().flatten().unwrap_or_default();
    let parsed = redirect::parse(&value);
    let out = |part: &&[u8]| redirect::component(part) == Err(Errno::EACCES);
    parsed.is_ok_and(|r| r.parts.iter().any(out))
}
