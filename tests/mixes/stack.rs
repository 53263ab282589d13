//! A stack of one mix.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use layerstack::backend::LayerBackend;
use layerstack::backend::memory::MemLayer;
use layerstack::testing::{Case, LayerSpec, SnapshotOptions, TreeSnapshot};
use layerstack::{
    DirLayer, DirLayerOptions, Errno, LayerStack, Op, Outcome, Overlay, OverlayOptions, Session,
    Timestamp, XattrNamespace,
};

use crate::support::child::scratch;

type Layer = Arc<dyn LayerBackend>;

/// Where overlay attributes are kept.
pub const NAMESPACE: XattrNamespace = XattrNamespace::Trusted;

/// Where layers are kept.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Directory,
}

/// How a stack is made.
#[derive(Copy, Clone, Debug)]
pub struct Mix {
    pub lower: Kind,
    pub upper: Kind,
    /// All lowers are one lower: a union of them.
    pub nested: bool,
}

pub const fn mix(lower: Kind, upper: Kind, nested: bool) -> Mix {
    Mix {
        lower,
        upper,
        nested,
    }
}

/// A stack of one mix.
pub struct Mixed {
    pub mix: Mix,
    dir: tempfile::TempDir,
    dirs: usize,
    lowers: Vec<Layer>,
    upper: Option<Upper>,
    pub session: Option<Session>,
    started: Timestamp,
}

#[derive(Clone)]
pub enum Upper {
    Memory(Arc<MemLayer>),
    /// Upper and work directory.
    Directory(PathBuf, PathBuf),
}

impl Mixed {
    pub fn new(mix: Mix, case: &Case, started: Timestamp) -> Self {
        let mut mixed = Mixed {
            mix,
            dir: scratch(),
            dirs: 0,
            lowers: Vec::new(),
            upper: None,
            session: None,
            started,
        };
        mixed.lowers = case.lowers.iter().map(|spec| mixed.lower(spec)).collect();
        mixed.upper = case.upper.as_ref().map(|spec| mixed.upper(spec));
        mixed.open();
        mixed
    }

    fn new_dir(&mut self) -> PathBuf {
        self.dirs += 1;
        let path = self.dir.path().join(self.dirs.to_string());
        std::fs::create_dir(&path).unwrap();
        path
    }

    fn memory(spec: &LayerSpec) -> Arc<MemLayer> {
        let layer = MemLayer::with_namespace(NAMESPACE);
        spec.write_to_upper(&layer).unwrap();
        Arc::new(layer)
    }

    fn directory(&mut self, spec: &LayerSpec) -> PathBuf {
        let path = self.new_dir();
        spec.write_to_dir(&path, NAMESPACE).unwrap();
        path
    }

    fn lower(&mut self, spec: &LayerSpec) -> Layer {
        match self.mix.lower {
            Kind::Memory => Mixed::memory(spec),
            Kind::Directory => Arc::new(open_lower(&self.directory(spec))),
        }
    }

    fn upper(&mut self, spec: &LayerSpec) -> Upper {
        match self.mix.upper {
            Kind::Memory => Upper::Memory(Mixed::memory(spec)),
            Kind::Directory => Upper::Directory(self.directory(spec), self.new_dir()),
        }
    }

    pub fn open(&mut self) {
        let mut lowers = LayerStack::from_top(self.lowers.clone()).unwrap();
        if self.mix.nested {
            lowers = LayerStack::from_top([lowers]).unwrap();
        }
        let options = OverlayOptions::new().fsync(layerstack::Fsync::Off);
        let overlay = match &self.upper {
            None => Overlay::read_only(&lowers),
            Some(Upper::Memory(layer)) => Overlay::with_options(&lowers, layer.clone(), options),
            Some(Upper::Directory(upper, work)) => {
                let layers = DirLayerOptions::new().namespace(NAMESPACE);
                let layer = layers.open_upper(upper, work).unwrap();
                Overlay::with_options(&lowers, layer, options)
            }
        };
        self.session = Some(Session::new(overlay.unwrap()));
    }

    /// Closes and opens again; `rotate`: the upper as the topmost lower below a new one.
    pub fn reopen(&mut self, rotate: bool) {
        self.session = None;
        // The upper as a new open would find it: a clone has swept its work directory.
        if let Some(Upper::Memory(layer)) = &mut self.upper {
            *layer = Arc::new((**layer).clone());
        }
        if rotate && self.upper.is_some() {
            let new = self.upper(&LayerSpec::new());
            let old: Layer = match self.upper.replace(new).unwrap() {
                Upper::Memory(layer) => layer,
                Upper::Directory(path, _) => Arc::new(open_lower(&path)),
            };
            self.lowers.insert(0, old);
        }
        self.open();
    }

    pub fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        let done = self.session.as_mut().unwrap().apply(op);
        done.map_err(|e| e.errno())
    }

    /// The size of what `path` names.
    pub fn size(&self, path: &Path) -> Option<u64> {
        let overlay = self.session.as_ref().unwrap().overlay();
        overlay.metadata(path).ok().map(|m| m.size)
    }

    pub fn merged(&self) -> TreeSnapshot {
        let options = SnapshotOptions::merged().started(self.started);
        let overlay = self.session.as_ref().unwrap().overlay();
        TreeSnapshot::of_backend(&**overlay, &options).unwrap()
    }

    pub fn upper_tree(&self) -> TreeSnapshot {
        let options = SnapshotOptions::layer(NAMESPACE).started(self.started);
        match &self.upper {
            None => TreeSnapshot::default(),
            Some(Upper::Memory(layer)) => TreeSnapshot::of_backend(layer, &options).unwrap(),
            Some(Upper::Directory(path, _)) => TreeSnapshot::of_dir(path, &options).unwrap(),
        }
    }
}

fn open_lower(path: &Path) -> DirLayer {
    let layers = DirLayerOptions::new().namespace(NAMESPACE);
    layers.open_lower(path).unwrap()
}
