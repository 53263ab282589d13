//! A union with a big file in its lower, and an observer that stops its copy-up.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use layerstack::backend::LayerBackend;
use layerstack::backend::memory::MemLayer;
use layerstack::testing::{Compare, LayerSpec, NodeSpec, SnapshotOptions, TreeSnapshot};
use layerstack::{
    CopyObserver, CopyProgress, DirLayer, LayerStack, Overlay, OverlayOptions, XattrNamespace,
};

use crate::support::child::scratch;

/// How long something may take that takes no time at all unless threads wait for each other.
const DEADLOCK: Duration = Duration::from_secs(120);

/// Bytes of the big file: several chunks of a copy.
pub const BIG: usize = 20 << 20;

/// Waits for a message that another thread sends whatever happens, unless it is stuck.
pub fn wait<T>(what: &str, from: &Receiver<T>) -> T {
    let got = from.recv_timeout(DEADLOCK);
    got.unwrap_or_else(|e| panic!("{what}: {e}"))
}

/// Stops the first copy of `/dir/big` when it begins, until it is told how to go on.
pub struct Gate {
    reached: Sender<()>,
    go_on: Mutex<Option<Receiver<ControlFlow<()>>>>,
    /// What was reported: path, bytes done, size.
    pub log: Mutex<Vec<(String, u64, u64)>>,
}

impl Gate {
    /// The gate, what it says when a copy stands before it, and what opens it.
    pub fn new() -> (Arc<Self>, Receiver<()>, Sender<ControlFlow<()>>) {
        let (reached, stands) = channel();
        let (open, go_on) = channel();
        let gate = Gate {
            reached,
            go_on: Mutex::new(Some(go_on)),
            log: Mutex::new(Vec::new()),
        };
        (Arc::new(gate), stands, open)
    }

    /// How many copies of `path` began.
    pub fn copies(&self, path: &str) -> usize {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|(p, done, _)| p == path && *done == 0)
            .count()
    }
}

impl CopyObserver for Gate {
    fn progress(&self, progress: &CopyProgress<'_>) -> ControlFlow<()> {
        let path = progress.path.to_str().unwrap().to_owned();
        let big = path == "/dir/big";
        let entry = (path, progress.bytes_done, progress.size);
        self.log.lock().unwrap().push(entry);
        let gate = match big {
            true => self.go_on.lock().unwrap().take(),
            false => None,
        };
        let Some(go_on) = gate else {
            return ControlFlow::Continue(());
        };
        self.reached.send(()).unwrap();
        wait("nobody opens the gate", &go_on)
    }
}

/// A union on directories or in memory.
pub struct Stage {
    dir: tempfile::TempDir,
    memory: Option<Arc<MemLayer>>,
    lower: Arc<dyn LayerBackend>,
    before: TreeSnapshot,
    pub overlay: Overlay,
}

fn lower_spec() -> LayerSpec {
    LayerSpec::new()
        .with("/dir/big", NodeSpec::file(b""))
        .with("/dir/small", NodeSpec::file(b"small"))
        .with("/dir/other", NodeSpec::file(b"other"))
        .with("/dir/sub/leaf", NodeSpec::file(b"leaf"))
        .with("/away/small", NodeSpec::file(b"away"))
        .with("/away/gone", NodeSpec::file(b"gone"))
}

/// What the big file holds.
pub fn big() -> Vec<u8> {
    (0..BIG).map(|i| (i / 4096 % 251) as u8).collect()
}

impl Stage {
    /// Both kinds, with the observer.
    pub fn both(observer: impl Fn() -> Option<Arc<dyn CopyObserver>>) -> [Stage; 2] {
        [
            Stage::new(true, &lower_spec(), observer()),
            Stage::new(false, &lower_spec(), observer()),
        ]
    }

    pub fn new(memory: bool, spec: &LayerSpec, observer: Option<Arc<dyn CopyObserver>>) -> Self {
        let dir = scratch();
        for name in ["lower", "upper", "work"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let lower: Arc<dyn LayerBackend> = match memory {
            true => {
                let layer = MemLayer::new();
                spec.write_to_upper(&layer).unwrap();
                if spec.nodes().contains_key(std::path::Path::new("/dir/big")) {
                    let whole =
                        Overlay::new(&LayerStack::from_top([MemLayer::new()]).unwrap(), layer);
                    whole.as_ref().unwrap().write("/dir/big", big()).unwrap();
                    whole.unwrap().upper_layer().unwrap()
                } else {
                    Arc::new(layer)
                }
            }
            false => {
                let path = dir.path().join("lower");
                for (at, node) in spec.effective() {
                    let at = path.join(at.strip_prefix("/").unwrap());
                    match node.file_type() {
                        Some(t) if t.is_dir() => std::fs::create_dir_all(at).unwrap(),
                        _ => {
                            let name = at.file_name().unwrap().to_os_string();
                            std::fs::write(at, name.as_encoded_bytes()).unwrap();
                        }
                    }
                }
                if path.join("dir/big").exists() {
                    std::fs::write(path.join("dir/big"), big()).unwrap();
                }
                Arc::new(DirLayer::open_lower(path).unwrap())
            }
        };
        let before = snapshot(&*lower);
        let upper = memory.then(|| Arc::new(MemLayer::new()));
        let overlay = open(&dir, &lower, upper.clone(), observer);
        Stage {
            dir,
            memory: upper,
            lower,
            before,
            overlay,
        }
    }

    /// The merged tree.
    pub fn shown(&self) -> TreeSnapshot {
        let options = SnapshotOptions::merged();
        TreeSnapshot::of_backend(&*self.overlay, &options).unwrap()
    }

    /// What lies in the upper.
    pub fn upper(&self) -> TreeSnapshot {
        snapshot(&*self.overlay.upper_layer().unwrap())
    }

    /// Nothing is left over, the lower is as it was, and opened again the union shows the same.
    pub fn finish(self) {
        let layer = self.overlay.upper_layer().unwrap();
        let work = layer.upper().unwrap().work().unwrap();
        let mut left = work.list().unwrap();
        // All whiteouts of a real directory are links to this one (rule R075).
        left.retain(|e| e.name.as_bytes() != b"#layerstack-whiteout");
        assert!(left.is_empty(), "left over in the work directory: {left:?}");
        let after = snapshot(&*self.lower);
        assert_eq!(
            self.before.diff_text(&after, &Compare::unchanged(), 9),
            None
        );
        let shown = self.shown();
        let Stage {
            dir,
            memory,
            lower,
            overlay,
            ..
        } = self;
        drop((work, layer, overlay));
        let again = open(&dir, &lower, memory, None);
        let reopened = TreeSnapshot::of_backend(&*again, &SnapshotOptions::merged()).unwrap();
        let mut compare = Compare::merged();
        compare.mtime = layerstack::testing::snapshot::TimeCompare::Exact;
        // See tests/mixes.rs: further names of a copied-up file.
        compare.link_groups = false;
        compare.listed_inodes = false;
        assert_eq!(shown.diff_text(&reopened, &compare, 9), None);
    }
}

fn snapshot(layer: &dyn LayerBackend) -> TreeSnapshot {
    let options = SnapshotOptions::layer(XattrNamespace::Trusted);
    TreeSnapshot::of_backend(layer, &options).unwrap()
}

fn open(
    dir: &tempfile::TempDir,
    lower: &Arc<dyn LayerBackend>,
    memory: Option<Arc<MemLayer>>,
    observer: Option<Arc<dyn CopyObserver>>,
) -> Overlay {
    let lowers = LayerStack::from_top([lower.clone()]).unwrap();
    let mut options = OverlayOptions::new().fsync(layerstack::Fsync::Off);
    if let Some(observer) = observer {
        options = options.copy_observer(observer);
    }
    match memory {
        Some(upper) => Overlay::with_options(&lowers, upper, options),
        None => {
            let (upper, work) = (dir.path().join("upper"), dir.path().join("work"));
            let upper = DirLayer::open_upper(upper, work).unwrap();
            Overlay::with_options(&lowers, upper, options)
        }
    }
    .unwrap()
}
