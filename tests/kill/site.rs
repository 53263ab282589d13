//! Layers on a real filesystem.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use layerstack::backend::LayerBackend;
use layerstack::backend::memory::MemLayer;
use layerstack::testing::LayerSpec;
use layerstack::{DirLayer, LayerStack, Overlay, OverlayOptions, XattrNamespace};

use crate::support::fs::{Fs, Mounted, Workspace};
use crate::support::mount::{OverlayConfig, OverlayMount};
use crate::support::options::overlay_options;

/// How many lowers there are.
pub const LOWERS: usize = 2;

pub struct Site {
    path: PathBuf,
    options: Vec<String>,
    _space: Option<Workspace>,
}

impl Site {
    /// Layers that are there already.
    pub fn at<'a>(path: PathBuf, options: impl Iterator<Item = &'a str>) -> Self {
        Site {
            path,
            options: options.map(String::from).collect(),
            _space: None,
        }
    }

    pub fn make(mounted: &Mounted, lowers: &[LayerSpec; LOWERS], options: &[&str]) -> Self {
        let space = Workspace::new(mounted, Fs::Ext4);
        for name in ["upper", "work", "mount"] {
            space.dir(name);
        }
        for (i, spec) in lowers.iter().enumerate() {
            let dir = space.dir(&format!("lower{i}"));
            spec.write_to_dir(&dir, XattrNamespace::Trusted).unwrap();
        }
        let mut site = Site::at(space.path().into(), options.iter().copied());
        site._space = Some(space);
        site
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn options(&self) -> &[String] {
        &self.options
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    fn lowers(&self) -> Vec<PathBuf> {
        let lower = |i| self.path.join(format!("lower{i}"));
        (0..LOWERS).map(lower).collect()
    }

    fn overlay_options(&self) -> OverlayOptions {
        overlay_options(&self.options)
    }

    /// The union, as a new process finds it.
    pub fn open(&self) -> Overlay {
        let lowers = self
            .lowers()
            .into_iter()
            .map(|l| DirLayer::open_lower(l).unwrap());
        let stack = LayerStack::from_top(lowers).unwrap();
        let (upper, work) = (self.path.join("upper"), self.path.join("work"));
        let upper = DirLayer::open_upper(upper, work).unwrap();
        Overlay::with_options(&stack, upper, self.overlay_options()).unwrap()
    }

    /// The same layers in memory.
    pub fn import(&self) -> Imported {
        let read = |path: PathBuf| Arc::new(MemLayer::from_dir(path).unwrap());
        Imported {
            lowers: self.lowers().into_iter().map(read).collect(),
            upper: read(self.path.join("upper")),
            options: self.overlay_options(),
        }
    }

    /// What the lowers hold.
    pub fn lower_layers(&self) -> Vec<Arc<dyn LayerBackend>> {
        let open = |l| Arc::new(DirLayer::open_lower(l).unwrap()) as Arc<dyn LayerBackend>;
        self.lowers().into_iter().map(open).collect()
    }

    pub fn mount(&self) -> OverlayMount {
        let config = OverlayConfig {
            lowers: self.lowers(),
            upper: Some(self.path.join("upper")),
            work: Some(self.path.join("work")),
            data: Vec::new(),
            options: self.options.clone(),
        };
        OverlayMount::new(&self.path.join("mount"), &config).unwrap()
    }

    /// Names in the work directory after it was opened, and temporary ones in the index, apart from the whiteout
    /// that all are links to (rule R075).
    pub fn leftovers(&self, overlay: &Overlay) -> Vec<String> {
        let layer = overlay.upper_layer().unwrap();
        let left = layer.upper().unwrap().work().unwrap().list().unwrap();
        let mut left: Vec<_> = left.iter().map(|e| e.name.to_string()).collect();
        if let Ok(index) = self.path.join("work/index").read_dir() {
            let names = index.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
            left.extend(names.filter(|name| name.starts_with('#')));
        }
        left.retain(|name| name != "#layerstack-whiteout");
        left
    }
}

/// Layers in memory.
pub struct Imported {
    lowers: Vec<Arc<MemLayer>>,
    upper: Arc<MemLayer>,
    options: OverlayOptions,
}

impl Imported {
    pub fn overlay(&self) -> Overlay {
        let stack = LayerStack::from_top(self.lowers.clone()).unwrap();
        Overlay::with_options(&stack, self.upper.clone(), self.options.clone()).unwrap()
    }

    /// A copy, as another process would find it.
    pub fn reopened(&self) -> Imported {
        Imported {
            lowers: self.lowers.clone(),
            upper: Arc::new(MemLayer::clone(&self.upper)),
            options: self.options.clone(),
        }
    }
}
