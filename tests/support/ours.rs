//! This crate as a system: real directories or memory, through the engine.

use std::path::PathBuf;
use std::rc::Rc;

use layerstack::backend::LayerBackend;
use layerstack::backend::memory::MemLayer;
use layerstack::check::{Check, Report};
use layerstack::testing::{Case, LayerSpec, SnapshotOptions, TreeSnapshot};
use layerstack::{
    DirLayerOptions, Errno, LayerStack, Op, Outcome, Overlay, OverlayOptions, Session, Timestamp,
    XattrNamespace,
};
use std::sync::Arc;

use super::checker;
use super::index::{IndexEntry, index_of_layer};
use super::options::overlay_options;
use super::system::{Dirs, Stack, System, upper_snapshot};

type Layer = Arc<dyn LayerBackend>;

/// A union of one layer is useful without a mount; the kernel refuses to mount it (rule R004,
/// deviation STACK-1), so the comparison does too.
fn mountable(dirs: &Dirs) -> Result<(), Errno> {
    match dirs.upper.is_none() && dirs.lowers.len() + dirs.data.len() < 2 {
        true => Err(Errno::EINVAL),
        false => Ok(()),
    }
}

fn case_started() -> Timestamp {
    let now = std::time::SystemTime::now();
    let now = now
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    Timestamp::new(now.as_secs().try_into().unwrap(), now.subsec_nanos())
}

fn errno(e: layerstack::Error) -> Errno {
    e.errno()
}

/// The engine on real directories.
pub struct DirSystem {
    session: Option<Session>,
    dirs: Dirs,
    layers: DirLayerOptions,
    options: OverlayOptions,
    merged: SnapshotOptions,
    layer: SnapshotOptions,
    namespace: XattrNamespace,
}

impl DirSystem {
    /// Opens the stack's directories.
    pub fn open(dirs: &Dirs, stack: &Rc<Stack>) -> Result<Box<dyn System>, Errno> {
        mountable(dirs)?;
        let mut system = DirSystem {
            session: None,
            dirs: dirs.clone(),
            layers: DirLayerOptions::new().namespace(stack.namespace),
            options: overlay_options(&stack.options),
            merged: stack.merged_options(),
            layer: stack.layer_options(),
            namespace: stack.namespace,
        };
        system.remount()?;
        Ok(Box::new(system))
    }

    fn try_open(&self) -> Result<Overlay, Errno> {
        let open = |paths: &[PathBuf]| -> Result<Vec<Layer>, Errno> {
            let open = |path| Ok(Arc::new(self.layers.open_lower(path).map_err(errno)?) as Layer);
            paths.iter().map(open).collect()
        };
        let stack = LayerStack::from_top(open(&self.dirs.lowers)?)
            .map_err(errno)?
            .with_data_layers(open(&self.dirs.data)?)
            .map_err(errno)?;
        match (&self.dirs.upper, &self.dirs.work) {
            (Some(upper), Some(work)) => {
                let upper = self.layers.open_upper(upper, work).map_err(errno)?;
                Overlay::with_options(&stack, upper, self.options.clone()).map_err(errno)
            }
            _ => {
                let stack = stack.with_options(self.options.clone()).map_err(errno)?;
                Overlay::read_only(&stack).map_err(errno)
            }
        }
    }

    fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("open")
    }
}

impl System for DirSystem {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        self.session().apply(op).map_err(errno)
    }

    fn merged(&mut self) -> TreeSnapshot {
        let overlay = self.session.as_ref().expect("open").overlay();
        TreeSnapshot::of_backend(&**overlay, &self.merged).expect("merged tree")
    }

    fn upper(&mut self) -> TreeSnapshot {
        upper_snapshot(&self.dirs, &self.layer)
    }

    fn index(&mut self) -> Vec<IndexEntry> {
        self.dirs.index(self.namespace)
    }

    fn remount(&mut self) -> Result<(), Errno> {
        self.session = None;
        self.session = Some(Session::new(self.try_open()?));
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), Errno> {
        self.session = None;
        self.dirs.rotate()?;
        self.remount()
    }

    fn check(mut self: Box<Self>) -> Report {
        self.session = None;
        checker::check(&self.dirs, self.namespace, self.options.clone())
    }
}

/// The engine in memory: the directories are read once.
pub struct MemSystem {
    session: Option<Session>,
    /// Topmost first.
    lowers: Vec<Arc<MemLayer>>,
    data: Vec<Arc<MemLayer>>,
    upper: Option<Arc<MemLayer>>,
    options: OverlayOptions,
    merged: SnapshotOptions,
    layer: SnapshotOptions,
    namespace: layerstack::XattrNamespace,
}

impl MemSystem {
    /// Reads the stack's directories into memory.
    pub fn open(dirs: &Dirs, stack: &Rc<Stack>) -> Result<Box<dyn System>, Errno> {
        mountable(dirs)?;
        let import = |path: &std::path::PathBuf| {
            let builder = MemLayer::builder().namespace(stack.namespace).import(path);
            builder.build().map(Arc::new).map_err(|e| e.errno())
        };
        let lowers = dirs
            .lowers
            .iter()
            .map(import)
            .collect::<Result<Vec<_>, _>>()?;
        let data = dirs
            .data
            .iter()
            .map(import)
            .collect::<Result<Vec<_>, _>>()?;
        let upper = dirs.upper.as_ref().map(import).transpose()?;
        let mut system = MemSystem {
            session: None,
            lowers,
            data,
            upper,
            options: overlay_options(&stack.options),
            merged: stack.merged_options(),
            layer: stack.layer_options(),
            namespace: stack.namespace,
        };
        system.reopen()?;
        Ok(Box::new(system))
    }

    /// Writes the layers of `case` into memory: no real filesystem is involved.
    pub fn of_case(case: &Case, namespace: XattrNamespace) -> Result<Box<dyn System>, Errno> {
        let write = |spec: &LayerSpec| {
            let layer = MemLayer::with_namespace(namespace);
            spec.write_to_upper(&layer).map(|()| Arc::new(layer))
        };
        let started = case_started();
        let mut system = MemSystem {
            session: None,
            lowers: case.lowers.iter().map(write).collect::<Result<_, _>>()?,
            data: case.data.iter().map(write).collect::<Result<_, _>>()?,
            upper: case.upper.as_ref().map(write).transpose()?,
            options: overlay_options(&case.options),
            merged: SnapshotOptions::merged().started(started),
            layer: SnapshotOptions::layer(namespace).started(started),
            namespace,
        };
        system.reopen()?;
        Ok(Box::new(system))
    }

    fn reopen(&mut self) -> Result<(), Errno> {
        self.session = None;
        let stack = LayerStack::from_top(self.lowers.clone())
            .and_then(|stack| stack.with_data_layers(self.data.clone()))
            .map_err(errno)?;
        let options = self.options.clone();
        let overlay = match &self.upper {
            Some(upper) => Overlay::with_options(&stack, upper.clone(), options),
            None => stack
                .with_options(options)
                .and_then(|stack| Overlay::read_only(&stack)),
        };
        self.session = Some(Session::new(overlay.map_err(errno)?));
        Ok(())
    }

    /// The upper as a new open would find it: a clone has swept its work directory.
    fn save(&mut self) {
        self.session = None;
        self.upper = self.upper.take().map(|upper| Arc::new((*upper).clone()));
    }
}

impl System for MemSystem {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        self.session
            .as_mut()
            .expect("open")
            .apply(op)
            .map_err(errno)
    }

    fn merged(&mut self) -> TreeSnapshot {
        let overlay = self.session.as_ref().expect("open").overlay();
        TreeSnapshot::of_backend(&**overlay, &self.merged).expect("merged tree")
    }

    fn upper(&mut self) -> TreeSnapshot {
        match &self.upper {
            Some(upper) => TreeSnapshot::of_backend(upper, &self.layer).expect("upper"),
            None => TreeSnapshot::default(),
        }
    }

    fn index(&mut self) -> Vec<IndexEntry> {
        let upper = self.upper.as_ref();
        upper.map_or_else(Vec::new, |upper| index_of_layer(&**upper))
    }

    fn remount(&mut self) -> Result<(), Errno> {
        self.save();
        self.reopen()
    }

    fn rotate(&mut self) -> Result<(), Errno> {
        self.save();
        if let Some(old) = self.upper.take() {
            self.lowers.insert(0, old);
            self.upper = Some(Arc::new(MemLayer::with_namespace(self.namespace)));
        }
        self.reopen()
    }

    fn check(mut self: Box<Self>) -> Report {
        self.session = None;
        let mut check = Check::from_top(self.lowers.clone())
            .data_layers(self.data.clone())
            .options(self.options.clone())
            .portability(false);
        if let Some(upper) = &self.upper {
            check = check.upper(upper.clone());
        }
        check.run()
    }
}
