//! Where the layers of a situation lie: in memory or in directories.

use std::path::PathBuf;
use std::sync::Arc;

use layerstack::backend::LayerBackend;
use layerstack::backend::memory::{ManualClock, MemLayer};
use layerstack::testing::{FaultLayer, Faults, LayerSpec, SnapshotOptions, TreeSnapshot};
use layerstack::{DirLayerOptions, LayerStack, Overlay, Timestamp, XattrNamespace};

use crate::situation::Situation;

/// The time in memory.
pub const NOW: Timestamp = Timestamp::new(2_000_000_000, 0);

/// Layers that can be opened, with faults or without.
pub trait Disk {
    /// The union, every call of it subject to `faults`.
    fn open(&self, situation: &Situation, faults: &Faults) -> Overlay;
    /// What another process finds, once this one is gone. In memory it may still be there: what is
    /// found is a copy.
    fn reopen(&self, situation: &Situation) -> Overlay;
    /// Whether the layers can be opened again while they are open.
    fn is_copied(&self) -> bool;
    /// How trees are captured here.
    fn snapshot_options(&self) -> SnapshotOptions;
    /// Everything in the lowers.
    fn lowers(&self) -> Vec<TreeSnapshot>;
}

/// Makes a disk anew, as it is at the beginning.
pub trait Ground: Sync {
    fn prepare(&self, situation: &Situation) -> Box<dyn Fn() -> Box<dyn Disk>>;
}

fn named(i: usize) -> String {
    format!("lower{i}")
}

fn wrapped(
    lowers: Vec<Arc<dyn LayerBackend>>,
    upper: Arc<dyn LayerBackend>,
    situation: &Situation,
    faults: &Faults,
) -> Overlay {
    let lowers = lowers
        .into_iter()
        .enumerate()
        .map(|(i, lower)| FaultLayer::named(named(i), lower, faults));
    let stack = stack(lowers, situation);
    let upper = FaultLayer::named("upper", upper, faults);
    Overlay::with_options(&stack, upper, situation.overlay_options()).unwrap()
}

fn stack<B: LayerBackend + 'static>(
    lowers: impl IntoIterator<Item = B>,
    situation: &Situation,
) -> LayerStack {
    match situation.nested {
        false => LayerStack::from_top(lowers).unwrap(),
        true => {
            let inner = lowers
                .into_iter()
                .map(|l| LayerStack::from_top([l]).unwrap());
            LayerStack::from_top(inner).unwrap()
        }
    }
}

pub struct Memory;

struct MemDisk {
    lowers: Vec<Arc<MemLayer>>,
    upper: Arc<MemLayer>,
}

fn in_memory(spec: &LayerSpec) -> MemLayer {
    let clock = Arc::new(ManualClock::new(NOW));
    let layer = MemLayer::builder().clock(clock).build().unwrap();
    spec.write_to_upper(&layer).unwrap();
    layer
}

impl Ground for Memory {
    fn prepare(&self, situation: &Situation) -> Box<dyn Fn() -> Box<dyn Disk>> {
        let write = |spec| Arc::new(in_memory(spec));
        let lowers: Vec<_> = situation.lowers.iter().map(write).collect();
        let upper = in_memory(&situation.upper);
        Box::new(move || {
            Box::new(MemDisk {
                lowers: lowers.clone(),
                upper: Arc::new(upper.clone()),
            })
        })
    }
}

impl MemDisk {
    fn lowers(&self) -> Vec<Arc<dyn LayerBackend>> {
        let lowers = self.lowers.iter();
        lowers.map(|l| l.clone() as Arc<dyn LayerBackend>).collect()
    }
}

impl Disk for MemDisk {
    fn open(&self, situation: &Situation, faults: &Faults) -> Overlay {
        wrapped(self.lowers(), self.upper.clone(), situation, faults)
    }

    fn reopen(&self, situation: &Situation) -> Overlay {
        let stack = stack(self.lowers.clone(), situation);
        let upper = MemLayer::clone(&self.upper);
        Overlay::with_options(&stack, upper, situation.overlay_options()).unwrap()
    }

    fn is_copied(&self) -> bool {
        true
    }

    fn snapshot_options(&self) -> SnapshotOptions {
        SnapshotOptions::merged().started(NOW)
    }

    fn lowers(&self) -> Vec<TreeSnapshot> {
        captured(&self.lowers())
    }
}

fn captured(lowers: &[Arc<dyn LayerBackend>]) -> Vec<TreeSnapshot> {
    let options = SnapshotOptions::layer(XattrNamespace::Trusted);
    let capture = |l: &Arc<dyn LayerBackend>| TreeSnapshot::of_backend(l, &options).unwrap();
    lowers.iter().map(capture).collect()
}

/// Directories on a real filesystem; needs root, for the devices and attributes of the situations.
pub struct Directories;

struct DirDisk {
    lowers: Arc<Vec<PathBuf>>,
    started: Timestamp,
    dir: tempfile::TempDir,
    _lower_dir: Arc<tempfile::TempDir>,
}

fn now() -> Timestamp {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::new(now.as_secs().try_into().unwrap(), now.subsec_nanos())
}

impl Ground for Directories {
    fn prepare(&self, situation: &Situation) -> Box<dyn Fn() -> Box<dyn Disk>> {
        let situation = situation.clone();
        let lower_dir = Arc::new(crate::child::scratch());
        let write = |(i, spec): (usize, &LayerSpec)| {
            let path = lower_dir.path().join(named(i));
            std::fs::create_dir(&path).unwrap();
            spec.write_to_dir(&path, XattrNamespace::Trusted).unwrap();
            path
        };
        let lowers = Arc::new(situation.lowers.iter().enumerate().map(write).collect());
        Box::new(move || {
            let dir = crate::child::scratch();
            let upper = dir.path().join("upper");
            std::fs::create_dir(&upper).unwrap();
            std::fs::create_dir(dir.path().join("work")).unwrap();
            let spec = &situation.upper;
            spec.write_to_dir(&upper, XattrNamespace::Trusted).unwrap();
            Box::new(DirDisk {
                lowers: Arc::clone(&lowers),
                started: now(),
                dir,
                _lower_dir: lower_dir.clone(),
            })
        })
    }
}

impl DirDisk {
    fn layers(&self) -> (Vec<Arc<dyn LayerBackend>>, Arc<dyn LayerBackend>) {
        let options = DirLayerOptions::new().namespace(XattrNamespace::Trusted);
        let open = |path| Arc::new(options.open_lower(path).unwrap()) as Arc<dyn LayerBackend>;
        let lowers = self.lowers.iter().map(open).collect();
        let (upper, work) = (self.dir.path().join("upper"), self.dir.path().join("work"));
        (lowers, Arc::new(options.open_upper(upper, work).unwrap()))
    }
}

impl Disk for DirDisk {
    fn open(&self, situation: &Situation, faults: &Faults) -> Overlay {
        let (lowers, upper) = self.layers();
        wrapped(lowers, upper, situation, faults)
    }

    fn reopen(&self, situation: &Situation) -> Overlay {
        let (lowers, upper) = self.layers();
        let stack = stack(lowers, situation);
        Overlay::with_options(&stack, upper, situation.overlay_options()).unwrap()
    }

    fn is_copied(&self) -> bool {
        false
    }

    fn snapshot_options(&self) -> SnapshotOptions {
        SnapshotOptions::merged().started(self.started)
    }

    fn lowers(&self) -> Vec<TreeSnapshot> {
        captured(&self.layers().0)
    }
}
