//! The engine behind a mount point, as a system of the differential runner.

use std::rc::Rc;

use layerstack::check::Report;
use layerstack::fuse::{FuseOptions, Session, mount};
use layerstack::testing::mount_point::RealFs;
use layerstack::testing::{SnapshotOptions, TreeSnapshot};
use layerstack::{
    DirLayerOptions, Errno, LayerStack, Op, Outcome, Overlay, OverlayOptions, XattrNamespace,
};

use crate::support::checker;
use crate::support::fs::{Fs, require_fs};
use crate::support::index::IndexEntry;
use crate::support::namespace::{require_kernel, skip};
use crate::support::options::overlay_options;
use crate::support::system::{Dirs, Stack, System, upper_snapshot};

/// True if tests that mount can run here.
pub fn require_fuse(kinds: &[Fs]) -> bool {
    if !std::path::Path::new("/dev/fuse").exists() {
        return skip("there is no /dev/fuse");
    }
    require_kernel() && require_fs(kinds)
}

/// Opens the directories of `dirs` as a union.
pub fn open_union(
    dirs: &Dirs,
    layers: &DirLayerOptions,
    options: &OverlayOptions,
) -> Result<LayerStack, Errno> {
    let errno = |e: layerstack::Error| e.errno();
    let lowers = dirs
        .lowers
        .iter()
        .map(|path| layers.open_lower(path).map_err(errno))
        .collect::<Result<Vec<_>, _>>()?;
    let stack = LayerStack::from_top(lowers).map_err(errno)?;
    let overlay = match (&dirs.upper, &dirs.work) {
        (Some(upper), Some(work)) => {
            let upper = layers.open_upper(upper, work).map_err(errno)?;
            Overlay::with_options(&stack, upper, options.clone()).map_err(errno)?
        }
        _ => {
            let stack = stack.with_options(options.clone()).map_err(errno)?;
            Overlay::read_only(&stack).map_err(errno)?
        }
    };
    Ok((*overlay).clone())
}

/// System calls on a mount of the engine.
pub struct FuseSystem {
    fs: Option<RealFs>,
    session: Option<Session>,
    dirs: Dirs,
    layers: DirLayerOptions,
    options: OverlayOptions,
    merged: SnapshotOptions,
    layer: SnapshotOptions,
    namespace: XattrNamespace,
}

impl FuseSystem {
    /// Mounts the stack.
    pub fn open(dirs: &Dirs, stack: &Rc<Stack>) -> Result<Box<dyn System>, Errno> {
        // The kernel needs two lowers where there is no upper.
        if dirs.upper.is_none() && dirs.lowers.len() < 2 {
            return Err(Errno::EINVAL);
        }
        let mut system = FuseSystem {
            fs: None,
            session: None,
            dirs: dirs.clone(),
            layers: DirLayerOptions::new().namespace(stack.namespace),
            options: overlay_options(&stack.options).umask(0),
            merged: stack.merged_options(),
            layer: stack.layer_options(),
            namespace: stack.namespace,
        };
        system.mount()?;
        Ok(Box::new(system))
    }

    fn mount(&mut self) -> Result<(), Errno> {
        let union = open_union(&self.dirs, &self.layers, &self.options)?;
        let options = FuseOptions::new().dev(false);
        let session = mount(&union, &self.dirs.mount, &options).map_err(|e| e.errno())?;
        self.session = Some(session);
        self.fs = Some(RealFs::new(&self.dirs.mount)?);
        Ok(())
    }

    /// Unmounts; `EBUSY` would show that something is left open. A process that another thread starts
    /// has all descriptors for a moment, so that is waited for.
    fn close(&mut self) -> Result<(), Errno> {
        self.fs = None;
        let Some(mut session) = self.session.take() else {
            return Ok(());
        };
        for _ in 0..200 {
            match session.unmount().map_err(|e| e.errno()) {
                Err(Errno::EBUSY) => std::thread::sleep(std::time::Duration::from_millis(10)),
                other => return other,
            }
        }
        Err(Errno::EBUSY)
    }
}

impl System for FuseSystem {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        self.fs.as_mut().expect("mounted").apply(op)
    }

    fn merged(&mut self) -> TreeSnapshot {
        TreeSnapshot::of_dir(&self.dirs.mount, &self.merged).expect("merged tree")
    }

    fn upper(&mut self) -> TreeSnapshot {
        upper_snapshot(&self.dirs, &self.layer)
    }

    fn index(&mut self) -> Vec<IndexEntry> {
        self.dirs.index(self.namespace)
    }

    fn remount(&mut self) -> Result<(), Errno> {
        self.close()?;
        self.mount()
    }

    fn rotate(&mut self) -> Result<(), Errno> {
        self.close()?;
        self.dirs.rotate()?;
        self.mount()
    }

    fn check(mut self: Box<Self>) -> Report {
        self.close().expect("unmount");
        checker::check(&self.dirs, self.namespace, self.options.clone())
    }
}

impl Drop for FuseSystem {
    fn drop(&mut self) {
        let closed = self.close();
        if !std::thread::panicking() {
            closed.expect("unmount");
        }
    }
}
